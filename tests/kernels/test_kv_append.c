#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    int64_t B = K_DIM(k, 0, 0), S = K_DIM(k, 0, 1), row = K_DIM(k, 0, 2) * K_DIM(k, 0, 3), T = K_DIM(k, 1, 1);
    for (int64_t b = 0; b < B; b++)
        for (int64_t i = 0; i < T * row; i++)
            in[0][(b * S + (int64_t)in[2][b]) * row + i] = in[1][b * T * row + i];
    for (int64_t i = 0; i < B * S * row; i++) y[i] = in[0][i];
}

/* The last position that is drawn still leaves room for all rows. */
static const KernelCase cases[] = {
    {"one element", {{{1, 1, 1, 1}}, {{1, 1, 1, 1}}, {{1}, FILL_IDS, 1}}},
    {"decode step", {{{3, 37, 2, 10}}, {{3, 1, 2, 10}}, {{3}, FILL_IDS, 37}}},
    {"prefill", {{{2, 100, 2, 64}}, {{2, 91, 2, 64}}, {{2}, FILL_IDS, 10}}},
    {"ragged heads", {{{2, 9, 3, 5}}, {{2, 4, 3, 5}}, {{2}, FILL_IDS, 6}}},
    {"many sequences", {{{1030, 3, 1, 3}}, {{1030, 2, 1, 3}}, {{1030}, FILL_IDS, 2}}},
    {"over all blocks down", {{{1, 1200, 1, 129}}, {{1, 1100, 1, 129}}, {{1}, FILL_IDS, 101}}},
    {"views of ragged rows", {{{3, 37, 3, 5}}, {{3, 7, 3, 5}}, {{3}, FILL_IDS, 31}}, .view = true},
    {"past the end", {{{3, 37, 3, 5}}, {{3, 7, 3, 5}}, {{3}, FILL_LENGTHS, 1000000}}, .dies = true},
    {"8B decode step",
     {{{8, 512, 8, 128}}, {{8, 1, 8, 128}}, {{8}, FILL_IDS, 512}},
     .bench = true,
     .bench_only = true,
     .bytes = 8.0 * 8 * 8 * 128},
};
KERNEL_TEST(kv_append, .n_in = 3, .updates = 1, .bf16 = 3, .tol = 1e-6);
