#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    int64_t M = K_DIM(k, 1, 0), C = case_len(k, 0) / K_DIM(k, 0, 0);
    for (int64_t i = 0; i < M; i++)
        for (int64_t c = 0; c < C; c++) y[i * C + c] = in[0][(int64_t)in[1][i] * C + c];
}

static const KernelCase cases[] = {
    {"one element", {{{1}}, {{1}, FILL_IDS, 1}}},
    {"one row of many", {{{37, 5}}, {{1}, FILL_IDS, 37}}},
    {"repeats", {{{3, 37}}, {{11}, FILL_IDS, 3}}},
    {"four dims", {{{7, 2, 3, 5}}, {{4}, FILL_IDS, 7}}},
    {"over one strip", {{{5, 1023}}, {{37}, FILL_IDS, 5}}},
    {"rows in fours, mostly once", {{{1000, 8}}, {{700}, FILL_IDS, 1000}}},
    {"repeats over one span", {{{3, 37}}, {{300}, FILL_IDS, 3}}},
    {"repeats over one span, in fours", {{{4, 1028}}, {{150}, FILL_IDS, 4}}},
    {"one row over many spans", {{{2, 12}}, {{257}, FILL_IDS, 1}}},
    {"over all blocks down", {{{7, 129}}, {{1100}, FILL_IDS, 7}}},
    {"views of ragged rows", {{{9, 37}}, {{70}, FILL_IDS, 9}}, .view = true},
    {"an index outside", {{{5, 37}}, {{40}, FILL_IDS, 50}}, .dies = true},
    {"an index below", {{{5, 37}}, {{400}, FILL_LABELS, 5}}, .dies = true},
    {"rows of hidden states",
     {{{4096, 4096}}, {{2048}, FILL_IDS, 4096}},
     .bench = true,
     .bench_only = true,
     .bytes = 8.0 * 2048 * 4096},
};

/* Repeats are sums of up to 257 numbers in f32. */
KERNEL_TEST(select, .n_in = 2, .diff = 1, .bf16 = 1, .tol = 1e-5);
