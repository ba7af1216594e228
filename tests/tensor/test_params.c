/* The block of trainables: layout, names, zeroing, and that tensors and their gradients are windows on the flat
 * blocks. */
#include "tensor/params.h"
#include "kernels/ops.h"
#include "tests/tensor/death.h"

static Arena state, step, scratch;
static Params params;

static void open_arena(Arena *a, const char *name)
{
    Error e = {0};
    if (!arena_open(a, name, &backend_cpu, 1 << 24, &e)) die("%s", e.msg);
}

static void setup(void)
{
    open_arena(&state, "state");
    open_arena(&step, "step");
    open_arena(&scratch, "scratch");
    params_init(&params, &state);
}

static void teardown(void)
{
    params_close(&params);
    arena_close(&state);
    arena_close(&step);
    arena_close(&scratch);
}

START_TEST(one_flat_block)
{
    Tensor *a = params_add(&params, "a", 2, (int64_t[]){3, 5}),
           *b = params_add(&params, "b", 1, (int64_t[]){64}), *c = params_add(&params, "c", 1, (int64_t[]){1});
    ck_assert_ptr_null(a->data);
    ck_assert(a->needs_grad);
    params_alloc(&params);
    ck_assert_int_eq(params.len, 3 * 64); /* each padded to 64 */
    ck_assert_int_eq(params_count(&params), 15 + 64 + 1);
    float *w = params.weight->data, *g = params.grad->data;
    ck_assert_ptr_eq(a->data, w);
    ck_assert_ptr_eq(b->data, w + 64);
    ck_assert_ptr_eq(c->data, w + 128);
    ck_assert_ptr_eq(c->grad->data, g + 128);
    ck_assert(tensor_same_shape(a, a->grad));
    ck_assert(!a->grad->needs_grad);
    const Tensor *block[] = {params.weight, params.grad, params.m, params.v};
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(tensor_len(block[i]), params.len);
        for (int64_t j = 0; j < params.len; j++) ck_assert_float_eq(((float *)block[i]->data)[j], 0);
    }
    ck_assert_ptr_eq(params_find(&params, "b"), b);
    ck_assert_ptr_null(params_find(&params, "d"));
}
END_TEST

START_TEST(many_names)
{
    char name[32];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "layers.%d.weight", i);
        params_add(&params, name, 1, (int64_t[]){i + 1});
    }
    params_alloc(&params);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "layers.%d.weight", i);
        ck_assert_int_eq(tensor_len(params_find(&params, name)), i + 1);
        ck_assert_ptr_eq(params_find(&params, name)->data,
                         (float *)params.weight->data + params.entry[i].offset);
        ck_assert_int_eq(params.entry[i].offset % 64, 0);
    }
}
END_TEST

/* Backward adds into the block; one AdamW call on the flat block changes every tensor; padding stays 0. */
START_TEST(a_step_on_the_flat_block)
{
    Tensor *a = params_add(&params, "a", 1, (int64_t[]){3}), *b = params_add(&params, "b", 1, (int64_t[]){3});
    params_alloc(&params);
    tensor_fill(a, 2);
    tensor_fill(b, 5);
    Tape t;
    tape_init(&t, &step, &scratch, 1);
    for (int i = 0; i < 2; i++) {
        t.recording = true;
        tape_backward(&t, op_sum(&t, op_mul(&t, a, b), 1));
        tape_reset(&t);
    }
    ck_assert_float_eq(((float *)params.grad->data)[2], 10);
    ck_assert_float_eq(((float *)params.grad->data)[64], 4);
    ck_assert_float_eq(((float *)params.grad->data)[3], 0);
    t.recording = false;
    op_adamw(
        &t, params.weight, params.grad, params.m, params.v,
        (AdamwParams){.lr = 0.5f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .grad_scale = 1, .step = 1});
    for (int i = 0; i < 3; i++) { /* the first step is lr, whatever the gradient's size */
        ck_assert_float_eq_tol(((float *)a->data)[i], 1.5f, 1e-5f);
        ck_assert_float_eq_tol(((float *)b->data)[i], 4.5f, 1e-5f);
    }
    ck_assert_float_eq(((float *)params.weight->data)[3], 0);
    params_zero_grad(&params);
    for (int64_t j = 0; j < params.len; j++) ck_assert_float_eq(((float *)params.grad->data)[j], 0);
}
END_TEST

START_TEST(nothing_to_train)
{
    params_alloc(&params);
    params_zero_grad(&params);
    ck_assert_int_eq(params_count(&params), 0);
    ck_assert_uint_eq(state.used, 0);
}
END_TEST

static void die_twice(void)
{
    setup();
    params_add(&params, "head.weight", 1, (int64_t[]){1});
    params_add(&params, "head.weight", 1, (int64_t[]){1});
}

static void die_late(void)
{
    setup();
    params_alloc(&params);
    params_add(&params, "head.weight", 1, (int64_t[]){1});
}

static void die_alloc_twice(void)
{
    setup();
    params_alloc(&params);
    params_alloc(&params);
}

static void die_long_name(void)
{
    setup();
    char name[PARAMS_NAME + 1];
    memset(name, 'x', PARAMS_NAME);
    name[PARAMS_NAME] = 0;
    params_add(&params, name, 1, (int64_t[]){1});
}

static const DeathCase deaths[] = {
    {"twice", die_twice}, {"late", die_late}, {"alloc twice", die_alloc_twice}, {"long name", die_long_name}};

START_TEST(misuse_dies)
{
    assert_death("twice", DEATH_ABORT, "fatal: params: head.weight declared twice\n");
    assert_death("late", DEATH_ABORT, "fatal: params: head.weight declared after params_alloc\n");
    assert_death("alloc twice", DEATH_ABORT, "fatal: params: allocated twice\n");
    assert_death("long name", DEATH_ABORT, "fatal: params: name of 160 bytes: xxx");
}
END_TEST

int main(int argc, char **argv)
{
    DEATH_MAIN(deaths, argc, argv);
    Suite *s = suite_create("params");
    TCase *c = tcase_create("params"), *d = tcase_create("misuse");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, one_flat_block);
    tcase_add_test(c, many_names);
    tcase_add_test(c, a_step_on_the_flat_block);
    tcase_add_test(c, nothing_to_train);
    tcase_add_test(d, misuse_dies);
    suite_add_tcase(s, c);
    suite_add_tcase(s, d);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
