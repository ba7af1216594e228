#include "tests/kernels/kernel_test.h"
#include <math.h>

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    double eps = (double)((const RmsnormParams *)k->params)->eps;
    int64_t rows = K_DIM(k, 0, 0), C = K_DIM(k, 1, 0);
    for (int64_t i = 0; i < rows; i++) {
        const double *x = in[0] + i * C;
        double square = 0;
        for (int64_t c = 0; c < C; c++) square += x[c] * x[c];
        for (int64_t c = 0; c < C; c++) y[i * C + c] = x[c] / sqrt(square / (double)C + eps) * in[1][c];
    }
}

static const RmsnormParams eps5 = {1e-5f}, eps1 = {0.1f};
#define P(p) .params = &(p), .params_bytes = sizeof(p)
static const KernelCase cases[] = {
    {"one element", {{{1, 1}}, {{1}}}, P(eps1)},
    {"ragged row", {{{3, 37}}, {{37}}}, P(eps5)},
    {"above one block", {{{70, 130}}, {{130}, FILL_POSITIVE}}, P(eps5)},
    {"aligned rows", {{{9, 64}}, {{64}, FILL_POSITIVE}}, P(eps5)},
    {"a block a row", {{{5, 1029}}, {{1029}}}, P(eps5)},
    {"a block a row, aligned, several rounds", {{{3, 4100}}, {{4100}, FILL_POSITIVE}}, P(eps5)},
    {"rows in parts", {{{300, 7}}, {{7}}}, P(eps5)},
    {"views, the weight's begins anywhere", {{{9, 64}}, {{64}, FILL_POSITIVE}}, P(eps5), .view = true},
    {"8B prefill",
     {{{512, 4096}}, {{4096}, FILL_POSITIVE}},
     P(eps5),
     .bench = true,
     .bench_only = true,
     .flops = 4.0 * 512 * 4096,
     .bytes = 8.0 * 512 * 4096},
};
KERNEL_TEST(rmsnorm, .n_in = 2, .diff = 3, .bf16 = 1, .tol = 1e-4);
