/* Ops of the language model beyond the generic kernel test: goldens of RMSNorm and RoPE, rows without any key,
 * decoding against prefill, the vocabulary in pieces, and what they say to misuse. */
#include "kernels/ops.h"
#include "kernels/quant.h"
#include "tensor/rng.h"
#include "tests/tensor/death.h"
#include "tests/tensor/tape_fixture.h"
#include <math.h>

static Tensor *filled(const char *name, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
    Tensor *x = tensor_f32(&step, d0, d1, d2, d3);
    rng_fill(x->data, tensor_len(x), 11, name, 1);
    return x;
}

static Tensor *whole(int ndim, const int64_t *dim, const int32_t *value)
{
    Tensor *x = tensor_new(&step, DTYPE_i32, ndim, dim);
    tensor_upload(x, value);
    return x;
}

static Tensor *whole1(int64_t n, const int32_t *value) { return whole(1, &n, value); }

START_TEST(rmsnorm_golden)
{
    static const double want[8] = {0,          0.57909906,  1.08269191,  1.12082362,
                                   0.50187838, -0.59561485, -1.65400350, -2.06067085};
    Tensor *x = tensor_f32(&step, 8, 0, 0, 0), *w = tensor_f32(&step, 8, 0, 0, 0);
    for (int k = 0; k < 8; k++) {
        ((float *)x->data)[k] = sinf(0.7f * (float)k);
        ((float *)w->data)[k] = 0.5f + (float)k / 7;
    }
    const float *y = op_rmsnorm(&tape, x, w, 1e-5f)->data;
    for (int k = 0; k < 8; k++) ck_assert_double_eq_tol((double)y[k], want[k], 5e-7);
}
END_TEST

START_TEST(rope_golden)
{
    static const double want[8] = {5.07828379, 0.84320390, 2.95042801, 3.99787259,
                                   0.45938671, 6.26809454, 7.02103806, 8.00106335};
    Tensor *x = tensor_f32(&step, 1, 1, 1, 8);
    for (int k = 0; k < 8; k++) ((float *)x->data)[k] = (float)(k + 1);
    const int64_t one[2] = {1, 1};
    const float *y = op_rope(&tape, x, whole(2, one, (int32_t[]){5}), 5e5f)->data;
    for (int k = 0; k < 8; k++) ck_assert_double_eq_tol((double)y[k], want[k], 1e-6);
}
END_TEST

/* A sequence of length 0: zeros out, no gradient, whatever the memory held; its neighbour is not touched. */
START_TEST(attention_without_keys)
{
    for (int T = 1; T <= 5; T += 4) {
        tape_reset(&tape);
        tape.recording = true;
        Tensor *q = filled("q", 2, T, 2, 8), *k = filled("k", 2, 5, 1, 8), *v = filled("v", 2, 5, 1, 8);
        q->needs_grad = k->needs_grad = v->needs_grad = true;
        Tensor *in[3] = {q, k, v};
        for (int i = 0; i < 3; i++) in[i]->grad = tensor_zeros(&weights, DTYPE_f32, 4, in[i]->dim);
        Tensor *y = op_attention(&tape, q, k, v, whole1(2, (int32_t[]){0, 3}), 0.3f, false);
        const float *out = y->data;
        for (int64_t i = 0; i < tensor_len(y) / 2; i++) ck_assert(out[i] == 0);
        float second = 0;
        for (int64_t i = tensor_len(y) / 2; i < tensor_len(y); i++) second += fabsf(out[i]);
        ck_assert(second > 0.1f);
        tape_backward(&tape, op_sum(&tape, op_mul(&tape, y, y), 1));
        for (int i = 0; i < 3; i++) {
            const float *g = in[i]->grad->data;
            int64_t half = tensor_len(in[i]) / 2;
            float sum = 0;
            for (int64_t j = 0; j < half; j++)
                ck_assert_msg(g[j] == 0, "input %d: gradient %g", i, (double)g[j]);
            for (int64_t j = half; j < 2 * half; j++) sum += fabsf(g[j]);
            ck_assert(sum > 1e-3f && isfinite(sum));
        }
        for (int64_t j = 3; j < 5; j++) /* masked keys of the second sequence */
            for (int64_t d = 0; d < 8; d++) ck_assert(((float *)k->grad->data)[(5 + j) * 8 + d] == 0);
    }
}
END_TEST

/* Token by token through the cache gives what one causal pass gives. */
START_TEST(decode_equals_prefill)
{
    enum { B = 2, T = 9, H = 4, G = 2, D = 20 };
    Tensor *q = filled("q", B, T, H, D), *k = filled("k", B, T, G, D), *v = filled("v", B, T, G, D);
    const float *want = op_attention(&tape, q, k, v, NULL, 0.25f, true)->data;
    const int64_t dim[4] = {B, T + 3, G, D};
    Tensor *keys = tensor_zeros(&step, DTYPE_f32, 4, dim), *values = tensor_zeros(&step, DTYPE_f32, 4, dim);
    for (int32_t i = 0; i < T; i++) {
        Tensor *one[3];
        for (int j = 0; j < 3; j++) {
            const Tensor *from = (Tensor *[]){q, k, v}[j];
            int64_t row = from->dim[2] * D;
            one[j] = tensor_f32(&step, B, 1, from->dim[2], D);
            for (int b = 0; b < B; b++)
                memcpy((float *)one[j]->data + b * row, (float *)from->data + (b * T + i) * row,
                       (size_t)row * sizeof(float));
        }
        Tensor *position = whole1(B, (int32_t[]){i, i}), *length = whole1(B, (int32_t[]){i + 1, i + 1});
        op_kv_append(&tape, keys, one[1], position);
        op_kv_append(&tape, values, one[2], position);
        const float *got = op_attention(&tape, one[0], keys, values, length, 0.25f, false)->data;
        for (int b = 0; b < B; b++)
            for (int j = 0; j < H * D; j++)
                ck_assert_float_eq_tol(got[b * H * D + j], want[(b * T + i) * H * D + j], 1e-5f);
    }
}
END_TEST

/* Extreme scores: the largest key wins, nothing overflows. */
START_TEST(attention_far_apart)
{
    Tensor *q = filled("q", 1, 3, 1, 4), *k = filled("k", 1, 3, 1, 4), *v = filled("v", 1, 3, 1, 4);
    const float *y = op_attention(&tape, q, k, v, NULL, 3000, false)->data;
    for (int i = 0; i < 3; i++) {
        const float *a = (float *)q->data + 4 * i, *b = k->data;
        int best = 0;
        double top = -INFINITY;
        for (int j = 0; j < 3; j++) {
            double s = 0;
            for (int d = 0; d < 4; d++) s += (double)a[d] * b[4 * j + d];
            if (s > top) top = s, best = j;
        }
        for (int d = 0; d < 4; d++)
            ck_assert_float_eq_tol(y[4 * i + d], ((float *)v->data)[4 * best + d], 1e-3f);
    }
}
END_TEST

/* Ignored rows: no part in the mean, no gradient; none counted: 0 and no gradient at all. */
START_TEST(cross_entropy_ignores)
{
    for (int counted = 0; counted < 2; counted++) {
        tape_reset(&tape);
        tape.recording = true;
        Tensor *h = filled("h", 3, 4, 0, 0), *w = filled("w", 5, 4, 0, 0);
        h->needs_grad = true;
        h->grad = tensor_zeros(&weights, DTYPE_f32, 2, h->dim);
        Tensor *loss = op_cross_entropy(&tape, h, w, whole1(3, (int32_t[]){-100, counted ? 2 : -1, -1}), true);
        float value = *(float *)loss->data, sum = 0;
        tape_backward(&tape, loss);
        const float *g = h->grad->data;
        for (int i = 0; i < 12; i++) {
            if (i / 4 != 1) ck_assert(g[i] == 0);
            sum += fabsf(g[i]);
        }
        ck_assert(counted ? value > 0.1f && sum > 0.01f : value == 0 && sum == 0);
    }
}
END_TEST

/* ---- misuse ---- */

static void append_past_the_end(void)
{
    setup();
    op_kv_append(&tape, filled("c", 1, 4, 1, 2), filled("x", 1, 2, 1, 2), whole1(1, (int32_t[]){3}));
}
static void id_outside(void)
{
    setup();
    op_embed(&tape, filled("t", 4, 2, 0, 0), whole1(2, (int32_t[]){3, 4}));
}
static void label_outside(void)
{
    setup();
    op_cross_entropy(&tape, filled("h", 2, 3, 0, 0), filled("w", 4, 3, 0, 0), whole1(2, (int32_t[]){0, 4}),
                     true);
}
static void length_outside(void)
{
    setup();
    Tensor *k = filled("k", 1, 4, 1, 2);
    op_attention(&tape, filled("q", 1, 1, 1, 2), k, k, whole1(1, (int32_t[]){5}), 1, false);
}
static void heads_do_not_divide(void)
{
    setup();
    Tensor *k = filled("k", 1, 4, 2, 2);
    op_attention(&tape, filled("q", 1, 4, 3, 2), k, k, NULL, 1, true);
}
static void odd_head(void)
{
    setup();
    const int64_t dim[2] = {1, 1};
    op_rope(&tape, filled("x", 1, 1, 1, 3), whole(2, dim, (int32_t[]){0}), 100);
}
static void wrong_width(void)
{
    setup();
    float w[4 * 64] = {0};
    op_matmul_q(&tape, filled("x", 2, 32, 0, 0), quant_tensor(&weights, DTYPE_nf4, 4, 64, w, false), NULL,
                NULL);
}

static const DeathCase deaths[] = {
    {"append", append_past_the_end}, {"id", id_outside},
    {"label", label_outside},        {"length", length_outside},
    {"heads", heads_do_not_divide},  {"odd head", odd_head},
    {"width", wrong_width},
};

START_TEST(misuse_dies)
{
    static const char *const said[][2] = {
        {"append", "fatal: kv_append: rows 3 to 5 of sequence 0 do not fit the cache f32 (1,4,1,2)\n"},
        {"id", "fatal: embed: id 4 at 1 is outside the table f32 (4,2)\n"},
        {"label", "fatal: cross_entropy: label 4 at row 1 of a vocabulary of 4\n"},
        {"length", "fatal: attention: length 5 of sequence 0 with 4 keys\n"},
        {"heads", "fatal: attention: q f32 (1,4,3,2) does not go with k f32 (1,4,2,2) and v f32 (1,4,2,2)\n"},
        {"odd head", "fatal: rope: x f32 (1,1,1,3) is not f32 or bf16 (B,T,H,D) with even D\n"},
        {"width", "fatal: matmul_q: cannot multiply f32 (2,32) by the 4-bit weight nf4 (4,64)\n"},
    };
    assert_death(said[_i][0], DEATH_ABORT, said[_i][1]);
}
END_TEST

static void fill(TCase *c, TCase *alone)
{
    tcase_add_test(c, rmsnorm_golden);
    tcase_add_test(c, rope_golden);
    tcase_add_test(c, attention_without_keys);
    tcase_add_test(c, decode_equals_prefill);
    tcase_add_test(c, attention_far_apart);
    tcase_add_test(c, cross_entropy_ignores);
    tcase_add_loop_test(alone, misuse_dies, 0, 7);
}

int main(int argc, char **argv)
{
    DEATH_MAIN(deaths, argc, argv);
    return fixture_main("sequence", fill);
}
