#include "tests/kernels/kernel_test.h"
#include <math.h>

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    const AdaptivePoolParams *p = k->params;
    int64_t N = K_DIM(k, 0, 0), H = K_DIM(k, 0, 1), W = K_DIM(k, 0, 2), C = K_DIM(k, 0, 3);
    int OH = p->height, OW = p->width;
    for (int64_t i = 0; i < N * OH * OW * C; i++) {
        int64_t c = i % C, ow = i / C % OW, oh = i / C / OW % OH, n = i / C / OW / OH, area = 0;
        double sum = 0;
        for (int64_t h = (int64_t)floor((double)(oh * H) / OH); h < ceil((double)((oh + 1) * H) / OH); h++)
            for (int64_t w = (int64_t)floor((double)(ow * W) / OW); w < ceil((double)((ow + 1) * W) / OW);
                 w++) {
                sum += in[0][((n * H + h) * W + w) * C + c];
                area++;
            }
        y[i] = sum / (double)area;
    }
}

#define P(p) &p, sizeof p
static const AdaptivePoolParams one = {1, 1}, seven = {7, 7}, fourteen = {14, 14}, oblong = {3, 5};

static const KernelCase cases[] = {
    {"one element", {{{1, 1, 1, 1}}}, P(one)},
    {"global", {{{3, 7, 7, 37}}}, P(one)},
    {"global, 1023 channels", {{{1, 3, 2, 1023}}}, P(one)},
    {"even bins", {{{2, 14, 14, 16}}}, P(seven)},
    {"ragged bins", {{{2, 16, 33, 5}}}, P(seven)},
    {"oblong", {{{1, 7, 14, 19}}}, P(oblong)},
    {"as it is", {{{2, 14, 14, 3}}}, P(fourteen)},
    {"more bins than pixels", {{{1, 7, 5, 4}}}, P(fourteen)},
    {"two threads", {{{3, 33, 33, 16}}}, P(one)},
    {"large bins in fours", {{{2, 33, 29, 132}}}, P(seven)},
    {"many images", {{{1030, 3, 2, 4}}}, P(one)},
    {"view of ragged images", {{{3, 7, 9, 5}}}, P(oblong), .view = true},
    {"global, 14x14x2048",
     {{{24, 14, 14, 2048}}},
     P(one),
     .bench = true,
     .bench_only = true,
     .bytes = 4.0 * 24 * 197 * 2048},
    {"14x14 to 7x7",
     {{{24, 14, 14, 2048}}},
     P(seven),
     .bench = true,
     .bench_only = true,
     .bytes = 4.0 * 24 * 245 * 2048},
};

KERNEL_TEST(adaptive_pool, .n_in = 1, .diff = 1, .bf16 = 1, .tol = 1e-5);
