/* Three arenas and a tape, opened and closed around every test; small tensors whose gradients are known by
 * hand. */
#ifndef TESTS_TENSOR_TAPE_FIXTURE_H
#define TESTS_TENSOR_TAPE_FIXTURE_H
#include "kernels/ops.h"
#include "tensor/rng.h"
#include "tests/golden/device.h"
#include "tests/tensor/death.h"

static Arena weights, step, scratch;
static Tape tape;

static inline void open_arena(Arena *a, const char *name, const Backend *backend, size_t bytes)
{
    Error e = {0};
    if (!arena_open(a, name, backend, bytes, &e)) die("%s", e.msg);
}

static inline void setup(void)
{
    open_arena(&weights, "weights", test_device(), 1 << 20);
    open_arena(&step, "step", test_device(), 1 << 20);
    open_arena(&scratch, "scratch", test_device(), 1 << 20);
    tape_init(&tape, &step, &scratch, 1);
}

static inline void teardown(void)
{
    arena_close(&weights);
    arena_close(&step);
    arena_close(&scratch);
}

/* n values from, from + 1, ... outside the step, wanting a gradient, which starts at 0. */
static inline Tensor *leaf(int64_t n, float from)
{
    Tensor *x = tensor_f32(&weights, n, 0, 0, 0);
    for (int64_t i = 0; i < n; i++) host_set(x, i, from + (float)i);
    x->needs_grad = true;
    x->grad = tensor_zeros(&weights, DTYPE_f32, 1, &n);
    return x;
}

static inline float at(const Tensor *x, int64_t i) { return host_get(x, i); }

static inline int fixture_main(const char *name, void (*fill)(TCase *with_fixture, TCase *alone))
{
    unsetenv("TENSOR_DEBUG");
    unsetenv("TENSOR_TRACE");
    Suite *s = suite_create(name);
    TCase *c = tcase_create("with the fixture"), *alone = tcase_create("alone");
    tcase_add_checked_fixture(c, setup, teardown);
    fill(c, alone);
    suite_add_tcase(s, c);
    suite_add_tcase(s, alone);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}

#endif
