#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    int64_t C = case_len(k, 1);
    for (int64_t i = 0; i < case_len(k, 0); i++) y[i] = in[0][i] + in[1][i % C];
}

static const KernelCase cases[] = {
    {"one element", {{{1}}, {{1}}}},
    {"ragged row", {{{3, 37}}, {{37}}}},
    {"position embedding", {{{5, 3, 8}}, {{3, 8}}}},
    {"bias as large as x", {{{3, 5}}, {{3, 5}}}},
    {"over one block", {{{2, 7, 19, 23}}, {{23}}}},
    {"two threads", {{{1025, 33}}, {{33}}}},
    {"sums of many rows", {{{40000, 3}}, {{3}}}},
    {"rows in fours", {{{201, 96}}, {{96}}}},
    {"over one block, in fours", {{{5, 1028}}, {{1028}}}},
    {"over one block, ragged", {{{17, 1023}}, {{1023}}}},
    {"over all blocks down", {{{2100, 129}}, {{129}}}},
    {"views of ragged rows", {{{41, 37}}, {{37}}}, .view = true},
    {"of one tensor", {{{3, 8}}, {{3, 8}}}, .twin = true},
    {"activations",
     {{{4, 112, 112, 256}}, {{256}}},
     .bench = true,
     .bench_only = true,
     .flops = 4.0 * 112 * 112 * 256,
     .bytes = 8.0 * 4 * 112 * 112 * 256},
};

KERNEL_TEST(add_bias, .n_in = 2, .diff = 3, .bf16 = 1, .tol = 1e-6);
