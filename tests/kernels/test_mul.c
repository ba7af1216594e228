#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    for (int64_t i = 0; i < case_len(k, 0); i++) y[i] = in[0][i] * in[1][i];
}

static const KernelCase cases[] = {
    {"one element", {{{1}}, {{1}}}},
    {"ragged row", {{{3, 37}}, {{3, 37}}}},
    {"four dims", {{{2, 3, 5, 7}}, {{2, 3, 5, 7}}}},
    {"over one block", {{{1023}}, {{1023}}}},
    {"two threads", {{{33, 1025}}, {{33, 1025}}}},
    {"views of ragged rows", {{{41, 37}}, {{41, 37}}}, .view = true},
    {"of one tensor", {{{3, 37}}, {{3, 37}}}, .twin = true},
    {"activations",
     {{{16, 1024, 1024}}, {{16, 1024, 1024}}},
     .bench = true,
     .bench_only = true,
     .flops = 16 << 20,
     .bytes = 12.0 * (16 << 20)},
};

KERNEL_TEST(mul, .n_in = 2, .diff = 3, .bf16 = 3, .tol = 1e-6);
