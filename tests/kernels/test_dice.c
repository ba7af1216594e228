#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    bool smooth = ((const DiceParams *)k->params)->smooth;
    int64_t M = K_DIM(k, 0, 0), K = case_len(k, 0) / M;
    *y = 0;
    for (int64_t i = 0; i < M; i++) {
        const double *p = in[0] + i * K, *mask = in[1] + i * K;
        double S = 0, sum = 0, squares = 0;
        for (int64_t j = 0; j < K; j++) {
            S += p[j] * mask[j];
            sum += p[j] + mask[j];
            squares += p[j] * p[j] + mask[j] * mask[j];
        }
        *y += (smooth ? 1 - (2 * S + 1) / (sum + 1) : 1 - 2 * S / (squares + 1e-6)) / (double)M;
    }
}

static const DiceParams printed = {false}, smooth = {true};
#define P(p) .params = &(p), .params_bytes = sizeof(p)
static const KernelCase cases[] = {
    {"one element", {{{1}, FILL_POSITIVE}, {{1}, FILL_POSITIVE}}, P(printed)},
    {"one element, smooth", {{{1}, FILL_PROB}, {{1}, FILL_MASK01}}, P(smooth)},
    {"one region", {{{1, 196}, FILL_PROB}, {{1, 196}, FILL_MASK01}}, P(printed)},
    {"ragged row", {{{3, 37}, FILL_PROB}, {{3, 37}, FILL_MASK01}}, P(printed)},
    {"ragged row, smooth", {{{3, 37}, FILL_PROB}, {{3, 37}, FILL_MASK01}}, P(smooth)},
    {"rows of one element", {{{5}, FILL_POSITIVE}, {{5}, FILL_PROB}}, P(printed)},
    {"soft masks, four dims", {{{5, 7, 3, 1}, FILL_PROB}, {{5, 7, 3, 1}, FILL_PROB}}, P(printed)},
    {"soft masks, four dims, smooth", {{{5, 7, 3, 1}, FILL_PROB}, {{5, 7, 3, 1}, FILL_PROB}}, P(smooth)},
    {"shared among threads", {{{17, 1023}, FILL_PROB}, {{17, 1023}, FILL_MASK01}}, P(printed)},
    {"over one block of rows", {{{300, 5}, FILL_PROB}, {{300, 5}, FILL_MASK01}}, P(smooth)},
    {"views", {{{3, 37}, FILL_PROB}, {{3, 37}, FILL_MASK01}}, P(printed), .view = true},
    {"rows of three chunks", {{{2, 8197}, FILL_PROB}, {{2, 8197}, FILL_MASK01}}, P(printed)},
    {"slices of a batch",
     {{{96, 14, 14, 1}, FILL_PROB}, {{96, 14, 14, 1}, FILL_MASK01}},
     P(printed),
     .bench = true,
     .bench_only = true,
     .flops = 6.0 * 96 * 196,
     .bytes = 8.0 * 96 * 196},
    {"slices in full, smooth",
     {{{24, 512, 512, 1}, FILL_PROB}, {{24, 512, 512, 1}, FILL_MASK01}},
     P(smooth),
     .bench = true,
     .bench_only = true,
     .flops = 4.0 * 24 * 512 * 512,
     .bytes = 8.0 * 24 * 512 * 512},
};
KERNEL_TEST(dice, .n_in = 2, .diff = 1, .tol = 1e-6);
