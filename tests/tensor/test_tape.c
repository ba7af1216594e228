/* The tape: gradients, memory popped on the way back, views, keep, taps, debugging aids, and what it says to
 * misuse. */
#include "tests/tensor/tape_fixture.h"

START_TEST(gradients_add_up)
{
    Tensor *x = leaf(3, 1), *w = leaf(3, -1); /* 1 2 3; -1 0 1 */
    tensor_fill(w->grad, 3);
    tape.recording = true;
    for (int i = 1; i <= 2; i++) {
        Tensor *y = op_mul(&tape, x, x);                                     /* used twice: 2x dy */
        Tensor *l = op_sum(&tape, op_mul(&tape, op_add(&tape, y, w), x), 2); /* 2 sum (x^2 + w) x */
        ck_assert_float_eq(at(l, 0), 2 * (36 + 2));
        tape_backward(&tape, l);
        ck_assert(tape.recording);
        for (int j = 0; j < 3; j++) {
            float a = (float)(j + 1), b = (float)(j - 1);
            ck_assert_float_eq(at(x->grad, j), (float)i * 2 * (3 * a * a + b));
            ck_assert_float_eq(at(w->grad, j), 3 + (float)i * 2 * a);
        }
        tape_reset(&tape);
    }
}
END_TEST

START_TEST(only_what_needs_a_gradient_is_recorded)
{
    Tensor *x = leaf(3, 1), *frozen = leaf(3, 2);
    frozen->needs_grad = false;
    frozen->grad = NULL;
    Tensor *y = op_mul(&tape, x, frozen);
    ck_assert_ptr_null(tape.last); /* inference */
    ck_assert(y->needs_grad);
    tape.recording = true;
    Tensor *z = op_mul(&tape, frozen, frozen);
    ck_assert(!z->needs_grad);
    ck_assert_ptr_null(tape.last);
    tape_backward(&tape, op_sum(&tape, op_mul(&tape, x, z), 1));
    ck_assert_ptr_null(frozen->grad);
    for (int i = 0; i < 3; i++) ck_assert_float_eq(at(x->grad, i), (float)((i + 2) * (i + 2)));
}
END_TEST

START_TEST(backward_from_a_given_gradient)
{
    Tensor *x = leaf(2, 5);
    tape.recording = true;
    Tensor *y = op_scale(&tape, x, 3);
    tensor_upload(tape_grad(&tape, y), (float[]){1, -2});
    tape_backward(&tape, y);
    ck_assert_float_eq(at(x->grad, 0), 3);
    ck_assert_float_eq(at(x->grad, 1), -6);
}
END_TEST

/* What was on the stack before the first op, and the pool, are as they were; the next step lives at the same
 * addresses and has the same peak. */
START_TEST(backward_pops_the_stack)
{
    enum { N = 1000, DEPTH = 6 };
    Tensor *x = leaf(N, 0.25f);
    const void *address[DEPTH] = {0};
    size_t peak = 0;
    for (int i = 0; i < 3; i++) {
        Tensor *input = tensor_f32(&step, N, 0, 0, 0);
        tensor_fill(input, 0.5f);
        tape.recording = true;
        Tensor *y = op_mul(&tape, x, input);
        for (int j = 0; j < DEPTH; j++) {
            y = op_scale(&tape, y, 0.5f);
            if (i) ck_assert_ptr_eq(y->data, address[j]);
            address[j] = y->data;
        }
        size_t full = step.used;
        tape_backward(&tape, op_sum(&tape, y, 1));
        ck_assert_ptr_null(tape.last);
        ck_assert_uint_eq(step.used, 4096); /* the input alone */
        ck_assert_int_eq(step.n_pool, 0);
        ck_assert_uint_eq(scratch.used, 0);
        ck_assert_float_eq(at(input, N - 1), 0.5f);
        /* never more than two gradients of intermediates at once, and none beside the whole forward but the
         * last's */
        ck_assert_uint_eq(step.peak, full + 256 + 2 * 4096);
        if (i) ck_assert_uint_eq(step.peak, peak);
        peak = step.peak;
        tape_reset(&tape);
        ck_assert_uint_eq(step.used, 0);
    }
    ck_assert_float_eq(at(x->grad, 7), 3 * 0.5f / 64);
}
END_TEST

/* y = x seen as (4,3); its rows 1..2 are used three times, once through a slice of the slice. */
START_TEST(views_share_the_owners_gradient)
{
    Tensor *x = leaf(12, 0);
    tape.recording = true;
    Tensor *y = op_scale(&tape, x, 2);
    Tensor *grid = tensor_reshape(&step, y, 2, (int64_t[]){4, 3});
    Tensor *rows = tensor_slice(&step, grid, 1, 2), *last = tensor_slice(&step, rows, 1, 1);
    ck_assert_ptr_eq(last->data, (float *)y->data + 6);
    ck_assert_ptr_eq(last->base, y);
    ck_assert_int_eq(last->base_offset, 6);
    ck_assert_int_eq(last->ndim, 2);
    ck_assert(last->needs_grad);
    Tensor *l = op_add(&tape, op_sum(&tape, rows, 1), op_sum(&tape, last, 10));
    l = op_add(&tape, l, op_sum(&tape, y, 100));
    tape_backward(&tape, l);
    for (int i = 0; i < 12; i++) {
        float want = 100.0f + (i >= 3 && i < 9 ? 1 : 0) + (i >= 6 && i < 9 ? 10 : 0);
        ck_assert_float_eq(at(x->grad, i), 2 * want);
    }
    ck_assert_int_eq(step.n_pool, 0);
}
END_TEST

/* A view of a trainable: its gradient is a window on the trainable's own. */
START_TEST(views_of_a_leaf)
{
    Tensor *x = leaf(6, 1);
    tensor_fill(x->grad, 3);
    tape.recording = true;
    Tensor *half = tensor_slice(&step, x, 4, 2);
    tape_backward(&tape, op_sum(&tape, op_mul(&tape, half, half), 1));
    const float want[] = {3, 3, 3, 3, 3 + 10, 3 + 12};
    for (int i = 0; i < 6; i++) ck_assert_float_eq(at(x->grad, i), want[i]);
}
END_TEST

/* A slice is used and its owner is not: the rest of the owner's gradient is 0. */
START_TEST(an_owner_used_only_through_a_view)
{
    Tensor *x = leaf(6, 1);
    tape.recording = true;
    Tensor *y = op_scale(&tape, x, 2);
    tape_backward(&tape, op_sum(&tape, tensor_slice(&step, y, 0, 2), 5));
    for (int i = 0; i < 6; i++) ck_assert_float_eq(at(x->grad, i), i < 2 ? 10 : 0);
}
END_TEST

START_TEST(keep_moves_down)
{
    enum { N = 128 };
    for (int guard = 0; guard < 2; guard++) {
        step.guard = guard;
        Tensor *x = leaf(N, 1);
        x->needs_grad = false;
        Tensor *before = op_scale(&tape, x, 1);
        ArenaMark mark = arena_mark(&step);
        op_sum(&tape, x, 2); /* so small that what is kept moves down by less than its length */
        Tensor *y = op_mul(&tape, x, x);
        y = tape_keep(&tape, mark, y);
        ck_assert_ptr_eq(y->data, step.base + mark.used);
        for (int i = 0; i < N; i++) ck_assert_float_eq(at(y, i), at(x, i) * at(x, i));
        arena_check(&step);
        size_t used = step.used;
        Tensor *z = tape_keep(&tape, arena_mark(&step), before); /* made before the mark: stays where it is */
        ck_assert_ptr_eq(z->data, before->data);
        ck_assert_uint_eq(step.used, used);
        ck_assert_float_eq(at(z, 5), 6);
        tape_reset(&tape);
    }
}
END_TEST

/* A network of any depth, kept block by block, peaks at one block. */
START_TEST(keep_bounds_the_peak)
{
    enum { N = 512 };
    size_t peak[2];
    for (int depth = 0; depth < 2; depth++) {
        step.peak = 0;
        Tensor *x = tensor_f32(&step, N, 0, 0, 0);
        tensor_fill(x, 1);
        ArenaMark mark = arena_mark(&step);
        Tensor *y = x;
        for (int i = 0; i < (depth ? 32 : 2); i++) {
            Tensor *h = op_relu(&tape, op_scale(&tape, y, 2));
            y = tape_keep(&tape, mark, op_scale(&tape, op_add(&tape, h, y), 1.0f / 3));
        }
        ck_assert_float_eq(at(y, 9), 1);
        peak[depth] = step.peak;
        tape_reset(&tape);
    }
    ck_assert_uint_eq(peak[0], peak[1]);
}
END_TEST

/* While recording nothing may be dropped. */
START_TEST(keep_is_nothing_while_recording)
{
    Tensor *x = leaf(64, 1);
    tape.recording = true;
    ArenaMark mark = arena_mark(&step);
    Tensor *y = op_scale(&tape, op_mul(&tape, x, x), 2);
    size_t used = step.used;
    ck_assert_ptr_eq(tape_keep(&tape, mark, y), y);
    ck_assert_uint_eq(step.used, used);
}
END_TEST

/* ---- taps, trace, debug ---- */

typedef struct Heard {
    int n;
    char name[4][32];
    float first[4];
} Heard;

static void listen(void *user, const char *name, Tensor *x)
{
    Heard *h = user;
    snprintf(h->name[h->n], sizeof h->name[0], "%s", name);
    h->first[h->n++] = at(x, 0);
}

START_TEST(taps)
{
    Heard h = {0};
    Tensor *x = leaf(2, 4);
    tape_tap(&tape, x, "nobody listens");
    tape.tap = listen;
    tape.tap_user = &h;
    for (int i = 0; i < 2; i++) {
        x = op_scale(&tape, x, 2);
        tape_tap(&tape, x, "layers.%d.%s", i, "out");
    }
    ck_assert_int_eq(h.n, 2);
    ck_assert_str_eq(h.name[0], "layers.0.out");
    ck_assert_str_eq(h.name[1], "layers.1.out");
    ck_assert_float_eq(h.first[0], 8);
    ck_assert_float_eq(h.first[1], 16);
}
END_TEST

static void small_step(void)
{
    setup();
    Tensor *x = leaf(6, 1);
    tape.recording = true;
    Tensor *y = tensor_reshape(&step, op_scale(&tape, x, 2), 2, (int64_t[]){2, 3});
    tape_backward(&tape, op_sum(&tape, op_mul(&tape, y, y), 1));
    if (at(x->grad, 5) != 8 * 6) die("wrong gradient");
    tape_reset(&tape);
    Tensor *z = op_mul(&tape, x, x);
    if (at(tape_keep(&tape, (ArenaMark){0, 0}, z), 2) != 9) die("wrong product");
}

/* 0 * inf: the forward pass breaks at the second op, not at the ops that read its NaN. */
static void die_nan(void)
{
    setup();
    Tensor *x = leaf(6, 0);
    ((float *)x->data)[4] = 3e38f;
    Tensor *zero = op_scale(&tape, x, 0), *huge = op_scale(&tape, x, 2);
    op_sum(&tape, op_mul(&tape, zero, huge), 1);
}

static void die_nan_gradient(void)
{
    setup();
    Tensor *x = leaf(6, 0);
    tape.recording = true;
    Tensor *y = op_scale(&tape, op_scale(&tape, x, 1e30f), 1e-30f);
    tensor_fill(tape_grad(&tape, y), 3e38f);
    tensor_fill(x->grad, 3e38f); /* and as much again is too much */
    tape_backward(&tape, y);
}

static void overrun_forward(Tape *t, Node *n)
{
    sum_forward_cpu(t, n);
    ((float *)n->out->data)[1] = 7; /* one element past the end */
}

/* A kernel that writes past its output is caught at once and by name of arena and block. */
static void die_overrun(void)
{
    setup();
    static Kernel kernels[128];
    memcpy(kernels, kernels_cpu, (size_t)kernel_count * sizeof *kernels);
    kernels[sum_op.id].forward = overrun_forward;
    Backend bad = backend_cpu;
    bad.kernels = kernels;
    weights.backend = step.backend = &bad;
    op_sum(&tape, leaf(6, 0), 1);
}

START_TEST(trace_and_debug)
{
    setenv("TENSOR_TRACE", "1", 1);
    Death d = death_of("small step");
    unsetenv("TENSOR_TRACE");
    ck_assert_int_eq(d.code, DEATH_SURVIVED);
    ck_assert_msg(strstr(d.err, "trace scale          forward "), "%s", d.err);
    ck_assert_msg(strstr(d.err, " us  f32 (2,3) <- f32 (2,3) f32 (2,3)\n"), "%s", d.err);
    ck_assert_msg(strstr(d.err, "trace mul            backward"), "%s", d.err);
    ck_assert_msg(strstr(d.err, " us  f32 (1) <- f32 (2,3)\n"), "%s", d.err);
    int lines = 0;
    for (const char *s = d.err; *s; s++) lines += *s == '\n';
    ck_assert_int_eq(lines, 7); /* three ops forward and backward, and one in inference */

    setenv("TENSOR_TRACE", "0", 1);
    ck_assert_str_eq(death_of("small step").err, "");
    unsetenv("TENSOR_TRACE");

    setenv("TENSOR_DEBUG", "1", 1);
    d = death_of("small step");
    ck_assert_int_eq(d.code, DEATH_SURVIVED);
    ck_assert_str_eq(d.err, "");
    assert_death("nan", DEATH_ABORT, "fatal: scale: output f32 (6) has inf at element 4\n");
    assert_death("nan gradient", DEATH_ABORT, "fatal: scale: gradient f32 (6) has inf at element 0\n");
    assert_death("overrun", DEATH_ABORT,
                 "fatal: arena step: byte 0 behind the block of 4 bytes at offset 0 was overwritten\n");
    unsetenv("TENSOR_DEBUG");
    ck_assert_int_eq(death_of("nan").code, DEATH_SURVIVED); /* nobody asked */
}
END_TEST

/* ---- misuse ---- */

static void die_two_backends(void)
{
    setup();
    Arena other;
    open_arena(&other, "plan", &backend_plan, 1 << 20);
    op_mul(&tape, leaf(6, 0), tensor_f32(&other, 6, 0, 0, 0));
}

static void die_add_shape(void)
{
    setup();
    op_add(&tape, tensor_f32(&weights, 2, 3, 0, 0), tensor_f32(&weights, 3, 2, 0, 0));
}

static void die_matmul_shape(void)
{
    setup();
    op_matmul(&tape, tensor_f32(&weights, 4, 24, 192, 0), tensor_f32(&weights, 64, 16, 0, 0), NULL, NULL, false,
              false);
}

static void die_dtype(void)
{
    setup();
    op_sum(&tape, tensor_new(&weights, DTYPE_i32, 2, (int64_t[]){5, 7}), 1);
}

static void die_backward_of_many(void)
{
    setup();
    tape.recording = true;
    tape_backward(&tape, op_scale(&tape, leaf(6, 0), 1));
}

static void die_no_input(void)
{
    setup();
    op_add(&tape, NULL, NULL);
}

static void die_reshape(void)
{
    setup();
    tensor_reshape(&step, leaf(6, 0), 2, (int64_t[]){2, 4});
}

static void die_slice(void)
{
    setup();
    tensor_slice(&step, leaf(6, 0), 4, 3);
}

static void die_zero_dim(void)
{
    setup();
    tensor_new(&step, DTYPE_f32, 2, (int64_t[]){3, 0});
}

static const DeathCase deaths[] = {
    {"small step", small_step},
    {"nan", die_nan},
    {"nan gradient", die_nan_gradient},
    {"overrun", die_overrun},
    {"two backends", die_two_backends},
    {"add", die_add_shape},
    {"matmul", die_matmul_shape},
    {"dtype", die_dtype},
    {"backward of many", die_backward_of_many},
    {"no input", die_no_input},
    {"reshape", die_reshape},
    {"slice", die_slice},
    {"zero dim", die_zero_dim},
};

START_TEST(misuse_dies)
{
    static const char *const said[][2] = {
        {"two backends", "fatal: mul: inputs on two backends: f32 (6) on cpu, f32 (6) on plan\n"},
        {"add", "fatal: add: a f32 (2,3) and b f32 (3,2) are not f32 or bf16 of one shape\n"},
        {"matmul", "fatal: matmul: "},
        {"matmul", "f32 (4,24,192)"},
        {"matmul", "f32 (64,16)"},
        {"dtype", "fatal: sum: x i32 (5,7) is not f32\n"},
        {"backward of many", "fatal: backward: f32 (6) is not one number and has no gradient of its own\n"},
        {"no input", "fatal: add: no input\n"},
        {"reshape", "fatal: reshape: f32 (6) to f32 (2,4)\n"},
        {"slice", "fatal: slice: rows 4..7 of f32 (6)\n"},
        {"zero dim", "fatal: a tensor's dim 1 is 0: dims start at 1\n"},
    };
    assert_death(said[_i][0], DEATH_ABORT, said[_i][1]);
}
END_TEST

static void fill(TCase *c, TCase *alone)
{
    tcase_add_test(c, gradients_add_up);
    tcase_add_test(c, only_what_needs_a_gradient_is_recorded);
    tcase_add_test(c, backward_from_a_given_gradient);
    tcase_add_test(c, backward_pops_the_stack);
    tcase_add_test(c, views_share_the_owners_gradient);
    tcase_add_test(c, views_of_a_leaf);
    tcase_add_test(c, an_owner_used_only_through_a_view);
    tcase_add_test(c, keep_moves_down);
    tcase_add_test(c, keep_bounds_the_peak);
    tcase_add_test(c, keep_is_nothing_while_recording);
    tcase_add_test(c, taps);
    tcase_add_test(alone, trace_and_debug);
    tcase_add_loop_test(alone, misuse_dies, 0, 11);
}

int main(int argc, char **argv)
{
    DEATH_MAIN(deaths, argc, argv);
    return fixture_main("tape", fill);
}
