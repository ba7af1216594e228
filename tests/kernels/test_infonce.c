#include "tests/kernels/kernel_test.h"
#include <math.h>

static double cosine(const double *a, const double *b, int64_t D)
{
    double ab = 0, aa = 0, bb = 0;
    for (int64_t d = 0; d < D; d++) {
        ab += a[d] * b[d];
        aa += a[d] * a[d];
        bb += b[d] * b[d];
    }
    return ab / sqrt(aa * bb);
}

/* As printed: minus a half of alpha times the logarithm of a quotient of exponentials. */
static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    const InfonceParams *p = k->params;
    int64_t n = K_DIM(k, 0, 0), D = K_DIM(k, 0, 1);
    double factor = in[2] ? exp(fmin(in[2][0], log(100))) : 1 / (double)p->tau;
    *y = 0;
    for (int64_t i = 0; i < n; i++) {
        double row = 0, column = 0, self = exp(factor * cosine(in[0] + i * D, in[1] + i * D, D));
        for (int64_t j = 0; j < n; j++) {
            if (j == i ? !p->include_self : in[3] && in[3][i] == in[3][j]) continue;
            row += exp(factor * cosine(in[0] + i * D, in[1] + j * D, D));
            column += exp(factor * cosine(in[0] + j * D, in[1] + i * D, D));
        }
        if (row > 0) *y -= (double)p->alpha_v / 2 * log(self / row);
        if (column > 0) *y -= (double)p->alpha_w / 2 * log(self / column);
    }
    if (p->mean) *y /= (double)n;
}

static const InfonceParams printed = {1, 1, 0.07f, false, false}, standard = {1, 1, 0.07f, true, true},
                           uneven = {0.7f, 1.3f, 0.07f, false, false}, one_way = {1, 0, 0.5f, true, false},
                           self_sum = {0.7f, 1.3f, 0.07f, true, false}, mean = {0.7f, 1.3f, 0.2f, false, true},
                           learnt = {1, 1, 0, true, true}, learnt_printed = {1, 0.5f, 0, false, false};
#define P(p) .params = &(p), .params_bytes = sizeof(p)
#define NO_SCALE                                                                                               \
    {                                                                                                          \
        {1}, FILL_NONE                                                                                         \
    }
#define NO_SAME                                                                                                \
    {                                                                                                          \
        {1}, FILL_NONE                                                                                         \
    }
static const KernelCase cases[] = {
    {"one element", {{{1, 1}}, {{1, 1}}, NO_SCALE, NO_SAME}, P(printed)},
    {"one pair: no denominator", {{{1, 37}}, {{1, 37}}, {{1}}, NO_SAME}, P(learnt_printed)},
    {"one pair, standard", {{{1, 37}}, {{1, 37}}, NO_SCALE, NO_SAME}, P(standard)},
    {"two pairs", {{{2, 5}}, {{2, 5}}, NO_SCALE, NO_SAME}, P(printed)},
    {"ragged", {{{7, 37}}, {{7, 37}}, NO_SCALE, NO_SAME}, P(uneven)},
    {"ragged, include_self", {{{7, 37}}, {{7, 37}}, NO_SCALE, NO_SAME}, P(self_sum)},
    {"ragged, mean", {{{7, 37}}, {{7, 37}}, NO_SCALE, NO_SAME}, P(mean)},
    {"one direction", {{{5, 11}}, {{5, 11}}, NO_SCALE, NO_SAME}, P(one_way)},
    {"scale, standard", {{{9, 13}}, {{9, 13}}, {{1}}, NO_SAME}, P(learnt)},
    {"scale, printed", {{{9, 13}}, {{9, 13}}, {{1}}, NO_SAME}, P(learnt_printed)},
    {"groups", {{{11, 13}}, {{11, 13}}, NO_SCALE, {{11}, FILL_IDS, 4}}, P(uneven)},
    {"groups, scale, standard", {{{11, 13}}, {{11, 13}}, {{1}}, {{11}, FILL_IDS, 4}}, P(learnt)},
    {"all one group: no denominator", {{{6, 5}}, {{6, 5}}, {{1}}, {{6}, FILL_IDS, 1}}, P(learnt_printed)},
    {"all one group, standard", {{{6, 5}}, {{6, 5}}, {{1}}, {{6}, FILL_IDS, 1}}, P(learnt)},
    {"the paper's, printed", {{{28, 512}}, {{28, 512}}, NO_SCALE, NO_SAME}, P(printed)},
    {"the paper's, standard", {{{28, 512}}, {{28, 512}}, NO_SCALE, {{28}, FILL_IDS, 20}}, P(standard)},
    {"many pairs", {{{101, 3}}, {{101, 3}}, {{1}}, {{101}, FILL_IDS, 60}}, P(learnt_printed)},
    {"slices of a batch",
     {{{28, 512}}, {{28, 512}}, NO_SCALE, NO_SAME},
     P(printed),
     .bench = true,
     .bench_only = true,
     .flops = 2.0 * 28 * 28 * 512,
     .bytes = 8.0 * 28 * 512},
    {"all slices, scale, groups",
     {{{96, 512}}, {{96, 512}}, {{1}}, {{96}, FILL_IDS, 60}},
     P(learnt),
     .bench = true,
     .bench_only = true,
     .flops = 2.0 * 96 * 96 * 512,
     .bytes = 8.0 * 96 * 512},
};
KERNEL_TEST(infonce, .n_in = 4, .diff = 7, .tol = 1e-6);
