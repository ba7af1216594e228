#include "tests/kernels/kernel_test.h"
#include <math.h>

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    double scale = (double)((const SoftmaxParams *)k->params)->scale;
    int64_t rows = K_DIM(k, 0, 0), C = K_DIM(k, 0, 1);
    for (int64_t i = 0; i < rows; i++) {
        const double *x = in[0] + i * C;
        double top = -INFINITY, sum = 0;
        for (int64_t c = 0; c < C; c++) top = fmax(top, scale * x[c]);
        for (int64_t c = 0; c < C; c++) sum += exp(scale * x[c] - top);
        for (int64_t c = 0; c < C; c++) y[i * C + c] = exp(scale * x[c] - top) / sum;
    }
}

static const SoftmaxParams plain = {1}, sharp = {5}, huge = {500}, negative = {-2};
#define P(p) .params = &(p), .params_bytes = sizeof(p)
static const KernelCase cases[] = {
    {"one element", {{{1, 1}}}, P(plain)},
    {"ragged row", {{{3, 37}}}, P(sharp)},
    {"far apart: no overflow", {{{2, 5}}}, P(huge)},
    {"negative scale", {{{3, 10}}}, P(negative)},
    {"above one block", {{{9, 1023}}}, P(sharp)},
    {"aligned rows", {{{9, 128}}}, P(sharp)},
    {"view of ragged rows", {{{9, 37}}}, P(sharp), .view = true},
    {"a block a row", {{{3, 1029}}}, P(plain)},
    {"a block a row, aligned, several rounds", {{{2, 4500}}}, P(sharp)},
    {"vocabulary of 8B",
     {{{4, 128256}}},
     P(plain),
     .bench = true,
     .bench_only = true,
     .flops = 5.0 * 4 * 128256,
     .bytes = 8.0 * 4 * 128256},
};
KERNEL_TEST(softmax, .n_in = 1, .diff = 1, .bf16 = 1, .tol = 1e-4);
