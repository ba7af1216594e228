#include "tests/kernels/kernel_test.h"
#include <math.h>

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    double scale = (double)((const SoftmaxParams *)k->params)->scale;
    int64_t B = K_DIM(k, 0, 0), T = K_DIM(k, 0, 1), H = K_DIM(k, 0, 2), S = K_DIM(k, 0, 3);
    for (int64_t i = 0; i < B * H * S; i++) {
        int64_t b = i / (H * S), h = i / S % H, s = i % S;
        double top = -INFINITY, sum = 0;
#define AT(t)    (((b * T + (t)) * H + h) * S + s)
#define SCORE(t) (scale * in[0][AT(t)] + (in[1] ? in[1][(b * T + (t)) * H + h] : 0))
        for (int64_t t = 0; t < T; t++) top = fmax(top, SCORE(t));
        for (int64_t t = 0; t < T; t++) sum += exp(SCORE(t) - top);
        for (int64_t t = 0; t < T; t++) y[AT(t)] = exp(SCORE(t) - top) / sum;
    }
}

static const SoftmaxParams plain = {1}, sharp = {5}, huge = {60}, negative = {-2};
#define P(p) .params = &(p), .params_bytes = sizeof(p)
#define NO_BIAS                                                                                                \
    {                                                                                                          \
        .fill = FILL_NONE                                                                                      \
    }
static const KernelCase cases[] = {
    {"one element", {{{1, 1, 1, 1}}, NO_BIAS}, P(plain)},
    {"ragged columns", {{{2, 7, 3, 37}}, {{2, 7, 3}}}, P(sharp)},
    {"no bias", {{{2, 7, 3, 37}}, NO_BIAS}, P(plain)},
    {"far apart: no overflow", {{{1, 3, 2, 20}}, {{1, 3, 2}}}, P(huge)},
    {"negative scale", {{{1, 4, 1, 16}}, {{1, 4, 1}}}, P(negative)},
    {"wide bias", {{{1, 5, 4, 18}}, {{1, 5, 4}, FILL_WIDE}}, P(plain)},
    {"above one block", {{{2, 9, 4, 1028}}, {{2, 9, 4}}}, P(sharp)},
    {"view of aligned columns", {{{3, 7, 2, 32}}, {{3, 7, 2}}}, P(sharp), .view = true},
    {"view of ragged columns", {{{3, 7, 1, 33}}, {{3, 7, 1}}}, P(sharp), .view = true},
    {"SAM: 7 tokens, 8 heads, 64 x 64 cells",
     {{{8, 7, 8, 4096}}, {{8, 7, 8}}},
     P(plain),
     .bench = true,
     .bench_only = true,
     .flops = 5.0 * 8 * 7 * 8 * 4096,
     .bytes = 8.0 * 8 * 7 * 8 * 4096},
};
KERNEL_TEST(softmax_columns, .n_in = 2, .bf16 = 1, .tol = 1e-4);
