#include "tests/kernels/kernel_test.h"
#include <math.h>

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    int64_t n = K_DIM(k, 0, 0) * K_DIM(k, 0, 1);
    for (int64_t i = 0; i < n; i++) y[i] = in[0][i] / (1 + exp(-in[0][i])) * in[1][i];
}

static const KernelCase cases[] = {
    {"one element", {{{1, 1}}, {{1, 1}}}},
    {"ragged row", {{{3, 37}}, {{3, 37}}}},
    {"above one block", {{{17, 1023}}, {{17, 1023}}}},
    {"views of ragged rows", {{{41, 37}}, {{41, 37}}}, .view = true},
    {"of one tensor", {{{3, 37}}, {{3, 37}}}, .twin = true},
    {"8B prefill",
     {{{512, 14336}}, {{512, 14336}}},
     .bench = true,
     .bench_only = true,
     .flops = 5.0 * 512 * 14336,
     .bytes = 12.0 * 512 * 14336},
};
KERNEL_TEST(swiglu, .n_in = 2, .diff = 3, .bf16 = 3, .tol = 1e-4);
