/* Ops of one loop beyond the generic kernel test: goldens of AdamW and top-p, the numbers that are none (NaN,
 * inf), one tensor as both inputs, long sums, and what they say to misuse. */
#include "kernels/ops.h"
#include "tests/tensor/death.h"
#include "tests/tensor/tape_fixture.h"
#include <math.h>

/* (1,n) */
static Tensor *row(int64_t n, const float *value)
{
    Tensor *x = tensor_f32(&step, 1, n, 0, 0);
    tensor_upload(x, value);
    return x;
}

static Tensor *flat(int64_t n, const float *value)
{
    Tensor *x = tensor_f32(&step, n, 0, 0, 0);
    tensor_upload(x, value);
    return x;
}

static int32_t chosen(const Tensor *x) { return *(const int32_t *)x->data; }

START_TEST(adamw_golden)
{
    Tensor *w = flat(3, (float[]){1, -2, 0.5f}), *g = flat(3, (float[]){0.1f, -0.2f, 3});
    Tensor *m = flat(3, (float[3]){0}), *v = flat(3, (float[3]){0});
    AdamwParams p = {.lr = 1e-4f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .grad_scale = 1, .step = 1};
    op_adamw(&tape, w, g, m, v, p);
    tensor_upload(g, (float[]){0.05f, 0.4f, -3});
    p.step = 2;
    op_adamw(&tape, w, g, m, v, p);
    static const double want[3] = {0.999806762, -1.999936581, 0.499905288};
    for (int i = 0; i < 3; i++)
        ck_assert_double_eq_tol((double)at(w, i), want[i], 1.2e-7 * fabs(want[i]) + 3e-8);
}
END_TEST

/* grad_scale is the gradient's; decay does not pass through the moments. */
START_TEST(adamw_decay)
{
    Tensor *w = flat(1, (float[]){2}), *g = flat(1, (float[]){8});
    Tensor *m = flat(1, (float[]){0}), *v = flat(1, (float[]){0});
    AdamwParams p = {
        .lr = 0.1f, .beta1 = 0.9f, .beta2 = 0.999f, .weight_decay = 0.5f, .grad_scale = 0.25f, .step = 1};
    op_adamw(&tape, w, g, m, v, p);
    ck_assert_float_eq_tol(at(m, 0), 0.2f, 1e-6f);
    ck_assert_float_eq_tol(at(v, 0), 0.004f, 1e-7f);
    ck_assert_float_eq_tol(at(w, 0), 2 - 0.1f - 0.1f, 1e-6f);
}
END_TEST

static const float golden_logits[7] = {2, 1, 0.5f, 0.3f, 0, -1, -2};

static Tensor *draw(uint64_t seed, int32_t at)
{
    Tensor *x = tensor_new(&step, DTYPE_i32, 1, (int64_t[]){3});
    tensor_upload(x, (int32_t[]){at, (int32_t)(uint32_t)seed, (int32_t)(uint32_t)(seed >> 32)});
    return x;
}

static Tensor *top_p(Tensor *x, TopPParams p, const float **kept)
{
    Tensor *first = draw(1, 0);
    const Node *n = (const Node *)(const void *)(step.host + step.host_used);
    Tensor *y = op_top_p(&tape, x, first, p);
    *kept = n->saved[0]->data;
    return y;
}

START_TEST(top_p_golden)
{
    const float *kept;
    top_p(row(7, golden_logits), (TopPParams){0.6f, 0.9f}, &kept);
    static const double want[7] = {0.78680646, 0.14860855, 0.06458501};
    for (int i = 0; i < 7; i++) ck_assert_double_eq_tol((double)kept[i], want[i], 1e-7);
}
END_TEST

/* 20,000 draws fall as the kept probabilities say: chi-square with two degrees of freedom under its 99.99 %
 * point. */
START_TEST(top_p_frequencies)
{
    enum { DRAWS = 20000 };
    static const double want[3] = {0.78680646, 0.14860855, 0.06458501};
    int count[7] = {0};
    double chi = 0;
    ArenaMark mark = arena_mark(&step);
    for (int32_t i = 0; i < DRAWS; i++) {
        count[chosen(op_top_p(&tape, row(7, golden_logits), draw(42, i), (TopPParams){0.6f, 0.9f}))]++;
        arena_pop(&step, mark);
    }
    for (int k = 0; k < 3; k++) chi += pow(count[k] - DRAWS * want[k], 2) / (DRAWS * want[k]);
    ck_assert_int_eq(count[0] + count[1] + count[2], DRAWS);
    ck_assert_msg(chi < 18.4, "chi-square %g", chi);
}
END_TEST

/* Draws depend on seed, row and step, and on nothing else. */
START_TEST(top_p_streams)
{
    enum { ROWS = 64, V = 64 };
    Tensor *x = tensor_zeros(&step, DTYPE_f32, 2, (int64_t[]){ROWS, V});
    const TopPParams p = {1, 1};
    const struct {
        uint64_t seed;
        int32_t step;
    } at[4] = {{5, 7}, {6, 7}, {5, 8}, {5ull << 32, 7}};
    const int32_t *first = op_top_p(&tape, x, draw(5, 7), p)->data,
                  *again = op_top_p(&tape, x, draw(5, 7), p)->data;
    ck_assert_mem_eq(first, again, ROWS * sizeof *first);
    int same_row = 0;
    for (int r = 1; r < ROWS; r++) same_row += first[r] == first[0];
    ck_assert_int_lt(same_row, ROWS / 4);
    for (int k = 1; k < 4; k++) {
        const int32_t *other = op_top_p(&tape, x, draw(at[k].seed, at[k].step), p)->data;
        int same = 0;
        for (int r = 0; r < ROWS; r++) same += first[r] == other[r];
        ck_assert_int_lt(same, ROWS / 4);
    }
}
END_TEST

START_TEST(no_numbers)
{
    const float *kept;
    const TopPParams p = {1, 0.9f};
    ck_assert_int_eq(chosen(op_argmax(&tape, row(5, (float[]){NAN, 1, NAN, 3, 3}))), 3);
    ck_assert_int_eq(chosen(op_argmax(&tape, row(3, (float[]){NAN, NAN, NAN}))), 0);
    ck_assert_int_eq(chosen(op_argmax(&tape, row(3, (float[]){NAN, -INFINITY, -INFINITY}))), 1);
    ck_assert_int_eq(chosen(op_argmax(&tape, row(3, (float[]){1, INFINITY, INFINITY}))), 1);
    float wide[37];
    for (int i = 0; i < 37; i++) wide[i] = i % 3 ? NAN : (float)-i;
    wide[0] = NAN;
    ck_assert_int_eq(chosen(op_argmax(&tape, row(37, wide))), 3);
    ck_assert_int_eq(chosen(top_p(row(3, (float[]){NAN, 5, NAN}), p, &kept)), 1);
    ck_assert_float_eq(kept[1], 1);
    ck_assert_float_eq(kept[0] + kept[2], 0);
    ck_assert_int_eq(chosen(top_p(row(3, (float[]){1, 2, INFINITY}), p, &kept)), 2);
    ck_assert_int_eq(chosen(top_p(row(3, (float[]){NAN, NAN, NAN}), p, &kept)), 0);
    ck_assert_float_eq(kept[0] + kept[1] + kept[2], 0);
    ck_assert(isnan(at(op_relu(&tape, flat(1, (float[]){NAN})), 0)));
    ck_assert_float_eq(at(op_sigmoid(&tape, flat(2, (float[]){-1000, 1000})), 0), 0);
    ck_assert_float_eq(at(op_sigmoid(&tape, flat(2, (float[]){-1000, 1000})), 1), 1);
}
END_TEST

/* Extreme logits: the loss grows linearly, the gradient saturates. */
START_TEST(multilabel_far)
{
    tape.recording = true;
    Tensor *x = leaf(2, -500);
    ((float *)x->data)[1] = 500;
    Tensor *y = op_multilabel(&tape, x, flat(2, (float[]){1, 0}), NULL, 0.5f);
    ck_assert_float_eq_tol(at(y, 0), 500, 1e-3f);
    tape_backward(&tape, y);
    ck_assert_float_eq_tol(at(x->grad, 0), -0.5f, 1e-6f);
    ck_assert_float_eq_tol(at(x->grad, 1), 0.5f, 1e-6f);
}
END_TEST

/* x + x, x - x, x x: both gradients go to one tensor. */
START_TEST(one_tensor_twice)
{
    tape.recording = true;
    Tensor *x = leaf(3, 1);
    Tensor *sum = op_sum(&tape, op_add(&tape, op_mul(&tape, x, x), op_sub(&tape, op_add(&tape, x, x), x)), 1);
    tape_backward(&tape, sum);
    for (int i = 0; i < 3; i++) ck_assert_float_eq(at(x->grad, i), 2 * (float)(i + 1) + 1);
}
END_TEST

/* In float the sum of 2^24 + 3 ones would stop at 2^24. */
START_TEST(long_sums)
{
    enum { N = (1 << 24) + 4 };
    Arena big;
    open_arena(&big, "big", &backend_cpu, (size_t)N * 4 + 4096);
    Tensor *x = tensor_f32(&big, N, 0, 0, 0);
    tensor_fill(x, 1);
    ck_assert_float_eq(at(op_sum(&tape, x, 1), 0), (float)N);
    ck_assert_float_eq(at(op_sqnorm(&tape, x), 0), (float)N);
    arena_close(&big);
}
END_TEST

/* ---- misuse ---- */

static void index_outside(void)
{
    setup();
    const int64_t two = 2;
    Tensor *index = tensor_new(&step, DTYPE_i32, 1, &two);
    tensor_upload(index, (int32_t[]){0, 3});
    op_select(&tape, row(7, golden_logits), index);
}
static void shapes_differ(void)
{
    setup();
    op_mul(&tape, row(7, golden_logits), flat(7, golden_logits));
}
static void bias_too_long(void)
{
    setup();
    op_add_bias(&tape, row(7, golden_logits), flat(6, golden_logits));
}
static void axis_outside(void)
{
    setup();
    op_concat(&tape, flat(7, golden_logits), flat(7, golden_logits), 1);
}
static void columns_differ(void)
{
    setup();
    op_concat(&tape, row(7, golden_logits), row(6, golden_logits), 0);
}
static void no_temperature(void)
{
    setup();
    op_top_p(&tape, row(7, golden_logits), draw(1, 0), (TopPParams){0, 0.9f});
}
static void step_zero(void)
{
    setup();
    Tensor *x = flat(7, golden_logits);
    op_adamw(&tape, x, x, x, x, (AdamwParams){.lr = 1});
}
static void moments_differ(void)
{
    setup();
    Tensor *x = flat(7, golden_logits);
    op_adamw(&tape, x, x, flat(6, golden_logits), x, (AdamwParams){.lr = 1, .step = 1});
}
static void targets_differ(void)
{
    setup();
    op_multilabel(&tape, flat(7, golden_logits), flat(6, golden_logits), NULL, 1);
}

static const DeathCase deaths[] = {
    {"index", index_outside}, {"shapes", shapes_differ},   {"bias", bias_too_long},
    {"axis", axis_outside},   {"columns", columns_differ}, {"temperature", no_temperature},
    {"step zero", step_zero}, {"moments", moments_differ}, {"targets", targets_differ},
};

START_TEST(misuse_dies)
{
    static const char *const said[][2] = {
        {"index", "fatal: select: index[1] = 3, but x is f32 (1,7)\n"},
        {"shapes", "fatal: mul: a f32 (1,7) and b f32 (7) are not f32 or bf16 of one shape\n"},
        {"bias", "fatal: add_bias: b f32 (6) is not the trailing part of x f32 (1,7)\n"},
        {"axis", "fatal: concat: a f32 (7) and b f32 (7) do not join along axis 1\n"},
        {"columns", "fatal: concat: a f32 (1,7) and b f32 (1,6) do not join along axis 0\n"},
        {"temperature", "fatal: top_p: temperature 0 is not above 0\n"},
        {"step zero", "fatal: adamw: step 0, but steps start at 1\n"},
        {"moments", "fatal: adamw: weight f32 (7) and m f32 (6) are not f32 of one shape\n"},
        {"targets", "fatal: multilabel: logits f32 (7) and targets f32 (6) are not f32 of one shape\n"},
    };
    assert_death(said[_i][0], DEATH_ABORT, said[_i][1]);
}
END_TEST

static void fill(TCase *c, TCase *alone)
{
    tcase_add_test(c, adamw_golden);
    tcase_add_test(c, adamw_decay);
    tcase_add_test(c, top_p_golden);
    tcase_add_test(c, top_p_frequencies);
    tcase_add_test(c, top_p_streams);
    tcase_add_test(c, no_numbers);
    tcase_add_test(c, multilabel_far);
    tcase_add_test(c, one_tensor_twice);
    tcase_add_test(c, long_sums);
    tcase_add_loop_test(alone, misuse_dies, 0, sizeof deaths / sizeof *deaths);
}

int main(int argc, char **argv)
{
    DEATH_MAIN(deaths, argc, argv);
    return fixture_main("elements", fill);
}
