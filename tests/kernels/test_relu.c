#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    for (int64_t i = 0; i < case_len(k, 0); i++) y[i] = in[0][i] > 0 ? in[0][i] : 0;
}

static const KernelCase cases[] = {
    {"one element", {{{1}}}},
    {"ragged row", {{{3, 37}}}},
    {"four dims", {{{2, 3, 5, 7}}}},
    {"over one block", {{{1023}}}},
    {"two threads", {{{33, 1025}}}},
    {"view of ragged rows", {{{41, 37}}}, .view = true},
    {"activations",
     {{{32, 1024, 1024}}},
     .bench = true,
     .bench_only = true,
     .flops = 32 << 20,
     .bytes = 8.0 * (32 << 20)},
};

KERNEL_TEST(relu, .n_in = 1, .diff = 1, .bf16 = 1, .tol = 1e-6);
