#include "tests/kernels/kernel_test.h"
#include <math.h>

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    double sum = 0;
    for (int64_t i = 0; i < case_len(k, 0); i++) {
        double x = in[0][i], p = 1 / (1 + exp(-x));
        sum -= (in[2] ? in[2][i] : 1) * (in[1][i] * log(p) + (1 - in[1][i]) * log(1 - p));
    }
    *y = (double)((const MultilabelParams *)k->params)->k * sum;
}

static const MultilabelParams one = {1}, mean = {1 / 111.0f};

static const KernelCase cases[] = {
    {"one element", {{{1}}, {{1}, FILL_MASK01}, {{1}, FILL_NONE}}, &one, sizeof one},
    {"ragged row", {{{3, 37}}, {{3, 37}, FILL_MASK01}, {{3, 37}, FILL_NONE}}, &mean, sizeof mean},
    {"weights, soft targets", {{{3, 37}}, {{3, 37}, FILL_PROB}, {{3, 37}, FILL_POSITIVE}}, &mean, sizeof mean},
    {"some weights are 0", {{{5, 7, 3}}, {{5, 7, 3}, FILL_MASK01}, {{5, 7, 3}, FILL_MASK01}}, &one, sizeof one},
    {"over one chunk", {{{4097}}, {{4097}, FILL_MASK01}, {{4097}, FILL_NONE}}, &mean, sizeof mean},
    {"three chunks, weights",
     {{{3, 4095}}, {{3, 4095}, FILL_MASK01}, {{3, 4095}, FILL_PROB}},
     &mean,
     sizeof mean},
    {"views that begin anywhere", {{{7, 37}}, {{7, 37}}, {{7, 37}, FILL_NONE}}, &one, sizeof one, .view = true},
    {"views that begin anywhere, weights", {{{7, 37}}, {{7, 37}}, {{7, 37}}}, &one, sizeof one, .view = true},
    {"grid cells",
     {{{96, 14, 14, 40}}, {{96, 14, 14, 40}, FILL_MASK01}, {{96, 14, 14, 40}, FILL_PROB}},
     &mean,
     sizeof mean,
     .bench = true,
     .bench_only = true,
     .flops = 8.0 * 96 * 196 * 40,
     .bytes = 12.0 * 96 * 196 * 40},
};

KERNEL_TEST(multilabel, .n_in = 3, .diff = 1, .tol = 1e-6);
