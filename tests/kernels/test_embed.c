#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    int64_t rows = K_DIM(k, 1, 0) * (K_DIM(k, 1, 1) ? K_DIM(k, 1, 1) : 1), D = K_DIM(k, 0, 1);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t d = 0; d < D; d++) y[i * D + d] = in[1][i] < 0 ? 0 : in[0][(int64_t)in[1][i] * D + d];
}

static const KernelCase cases[] = {
    {"one element", {{{1, 1}}, {{1}, FILL_IDS, 1}}},
    {"ragged row", {{{9, 37}}, {{2, 11}, FILL_IDS, 9}}},
    {"empty slots", {{{5, 70}}, {{40}, FILL_LABELS, 5}}},
    {"above one block", {{{100, 129}}, {{3, 130}, FILL_IDS, 100}}},
    {"ids in spans, empty slots too", {{{3, 40}}, {{300}, FILL_LABELS, 3}}},
    {"views of ragged rows", {{{9, 37}}, {{2, 50}, FILL_LABELS, 9}}, .view = true},
    {"an id outside", {{{5, 8}}, {{40}, FILL_IDS, 50}}, .dies = true},
    {"8B prefill",
     {{{16384, 4096}}, {{512}, FILL_IDS, 16384}},
     .bench = true,
     .bench_only = true,
     .bytes = 8.0 * 512 * 4096},
};
KERNEL_TEST(embed, .n_in = 2, .diff = 1, .bf16 = BF16_BEGINS, .bf16_weights = 1, .tol = 1e-5);
