#include "tests/kernels/kernel_test.h"
#include <math.h>

/* -alpha_t (1 - p_t)^gamma log(p_t) for targets of 0 and 1; between them as the loss is defined in
 * kernels/ops.h. */
static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    const FocalParams *f = k->params;
    double alpha = (double)f->alpha;
    *y = 0;
    for (int64_t i = 0; i < case_len(k, 0); i++) {
        double target = in[1][i], p = 1 / (1 + exp(-in[0][i])), q = 1 / (1 + exp(in[0][i]));
        double entropy = -target * log(p) - (1 - target) * log(q);
        double weight = alpha * target + (1 - alpha) * (1 - target);
        *y += (double)f->k * weight * pow(q * target + p * (1 - target), (double)f->gamma) * entropy;
    }
}

static const FocalParams sam = {0.25f, 2, 20 / 111.0f}, plain = {0.5f, 0, 2}, root = {0.75f, 0.5f, 1 / 64.0f},
                         steep = {0.25f, 5, 1}, all = {1, 2, 1};
#define P(p) .params = &(p), .params_bytes = sizeof(p)
static const KernelCase cases[] = {
    {"one element", {{{1}}, {{1}, FILL_MASK01}}, P(steep)},
    {"ragged row", {{{3, 37}}, {{3, 37}, FILL_MASK01}}, P(sam)},
    {"gamma 0 is cross-entropy", {{{3, 37}}, {{3, 37}, FILL_MASK01}}, P(plain)},
    {"gamma below 1, far from 0", {{{8, 8}, FILL_WIDE}, {{8, 8}, FILL_MASK01}}, P(root)},
    {"far from 0", {{{3, 37}, FILL_WIDE}, {{3, 37}, FILL_MASK01}}, P(sam)},
    {"soft targets", {{{5, 7, 3}}, {{5, 7, 3}, FILL_PROB}}, P(sam)},
    {"one class alone", {{{5, 7, 3}}, {{5, 7, 3}, FILL_MASK01}}, P(all)},
    {"over one chunk", {{{4097}}, {{4097}, FILL_MASK01}}, P(root)},
    {"three chunks", {{{3, 4095}}, {{3, 4095}, FILL_MASK01}}, P(sam)},
    {"views that begin anywhere", {{{7, 37}}, {{7, 37}, FILL_PROB}}, P(sam), .view = true},
    {"masks of prompts",
     {{{64, 112, 112, 1}}, {{64, 112, 112, 1}, FILL_MASK01}},
     P(sam),
     .bench = true,
     .bench_only = true,
     .flops = 20.0 * 64 * 112 * 112,
     .bytes = 8.0 * 64 * 112 * 112},
};
KERNEL_TEST(focal, .n_in = 2, .diff = 1, .tol = 1e-6);
