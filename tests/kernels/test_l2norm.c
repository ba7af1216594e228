#include "tests/kernels/kernel_test.h"
#include <math.h>

/* The rule for a row of zeros reaches further than the step of the differences, which then find its gradient,
 * 0. */
static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    int64_t len = case_len(k, 0), C = 1;
    for (int d = 0; d < TENSOR_DIMS && K_DIM(k, 0, d); d++) C = K_DIM(k, 0, d);
    for (int64_t i = 0; i < len / C; i++) {
        const double *x = in[0] + i * C;
        double square = 0;
        for (int64_t c = 0; c < C; c++) square += x[c] * x[c];
        saved[0][i] = sqrt(square);
        for (int64_t c = 0; c < C; c++) y[i * C + c] = square > 1e-10 ? x[c] / sqrt(square) : 0;
    }
}

static const KernelCase cases[] = {
    {"one element", {{{1}}}},
    {"ragged row", {{{3, 37}}}},
    {"rows of zeros", {{{33, 2}, FILL_MASK01}}},
    {"four dims, long rows", {{{2, 3, 2, 1023}}}},
    {"two threads", {{{70, 512}}}},
    {"a block a row", {{{3, 1029}}}},
    {"a block a row, aligned, several rounds", {{{2, 2, 4100}}}},
    {"view that begins anywhere", {{{64}}}, .view = true},
    {"embeddings", {{{28, 512}}}, .bench = true, .flops = 3.0 * 28 * 512, .bytes = 8.0 * 28 * 512},
};

KERNEL_TEST(l2norm, .n_in = 1, .diff = 1, .saved = 1, .bf16 = 1, .tol = 1e-5);
