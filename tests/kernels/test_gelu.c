#include "tests/kernels/kernel_test.h"
#include <math.h>

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    for (int64_t i = 0; i < case_len(k, 0); i++) y[i] = in[0][i] / 2 * erfc(-in[0][i] * sqrt(0.5));
}

static const KernelCase cases[] = {
    {"one element", {{{1}, FILL_WIDE}}},
    {"ragged row", {{{3, 37}}}},
    {"four dims", {{{2, 3, 5, 7}, FILL_WIDE}}},
    {"over one block", {{{1023}}}},
    {"two threads", {{{33, 1025}, FILL_WIDE}}},
    {"view of ragged rows", {{{41, 37}}}, .view = true},
    {"of a block of ViT-B",
     {{{4096, 3072}}},
     .bench = true,
     .bench_only = true,
     .flops = 30.0 * 4096 * 3072,
     .bytes = 8.0 * 4096 * 3072},
};

KERNEL_TEST(gelu, .n_in = 1, .diff = 1, .bf16 = 1, .tol = 1e-6);
