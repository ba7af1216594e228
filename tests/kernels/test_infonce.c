#include "tests/kernels/kernel_test.h"
#include <math.h>

enum { MOST = 144 };

/* The rule for a vector of length 0 reaches further than the step of the differences, which then find its
 * gradient, 0. */
static void cosines(double (*c)[MOST], const double *v, const double *w, int64_t n, int64_t D)
{
    double length[2][MOST];
    for (int64_t i = 0; i < 2 * n; i++) {
        const double *x = i < n ? v + i * D : w + (i - n) * D;
        double square = 0;
        for (int64_t d = 0; d < D; d++) square += x[d] * x[d];
        length[i / n][i % n] = square > 1e-10 ? sqrt(square) : INFINITY;
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double dot = 0;
            for (int64_t d = 0; d < D; d++) dot += v[i * D + d] * w[j * D + d];
            c[i][j] = dot / length[0][i] / length[1][j];
        }
}

/* As printed: minus a half of alpha times the logarithm of a quotient of exponentials. */
static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    const InfonceParams *p = k->params;
    int64_t n = K_DIM(k, 0, 0);
    double factor = in[2] ? exp(fmin(in[2][0], log(100))) : 1 / (double)p->tau;
    static double c[MOST][MOST];
    cosines(c, in[0], in[1], n, K_DIM(k, 0, 1));
    *y = 0;
    for (int64_t i = 0; i < n; i++) {
        double row = 0, column = 0, self = exp(factor * c[i][i]);
        for (int64_t j = 0; j < n; j++) {
            if (j == i ? !p->include_self : in[3] && in[3][i] == in[3][j]) continue;
            row += exp(factor * c[i][j]);
            column += exp(factor * c[j][i]);
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
    {"vectors of length 0", {{{13, 2}, FILL_MASK01}, {{13, 2}, FILL_MASK01}, NO_SCALE, NO_SAME}, P(self_sum)},
    {"views", {{{9, 13}}, {{9, 13}}, {{1}}, {{9}, FILL_IDS, 4}}, P(learnt), .view = true},
    {"several rounds of dimensions", {{{5, 133}}, {{5, 133}}, NO_SCALE, NO_SAME}, P(uneven)},
    {"over one block of pairs", {{{131, 2}}, {{131, 2}}, NO_SCALE, {{131}, FILL_IDS, 100}}, P(standard)},
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
KERNEL_TEST(infonce, .n_in = 4, .diff = 7, .tol = 5e-6);
