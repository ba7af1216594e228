#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    const Conv2dParams *p = k->params;
    int64_t N = K_DIM(k, 0, 0), H = K_DIM(k, 0, 1), W = K_DIM(k, 0, 2), C = K_DIM(k, 0, 3);
    int64_t O = K_DIM(k, 1, 0), kh = K_DIM(k, 1, 1), kw = K_DIM(k, 1, 2);
    int64_t OH = (H + 2 * p->pad - kh) / p->stride + 1, OW = (W + 2 * p->pad - kw) / p->stride + 1;
    for (int64_t i = 0; i < N * OH * OW * O; i++) {
        int64_t o = i % O, ow = i / O % OW, oh = i / O / OW % OH, n = i / O / OW / OH;
        double sum = in[2] ? in[2][o] : 0;
        for (int64_t a = 0; a < kh; a++)
            for (int64_t b = 0; b < kw; b++) {
                int64_t h = oh * p->stride - p->pad + a, w = ow * p->stride - p->pad + b;
                if (h < 0 || h >= H || w < 0 || w >= W) continue;
                const double *x = in[0] + ((n * H + h) * W + w) * C;
                const double *weight = in[1] + ((o * kh + a) * kw + b) * C;
                for (int64_t c = 0; c < C; c++) sum += x[c] * weight[c];
            }
        y[i] = sum;
    }
}

#define NO                                                                                                     \
    {                                                                                                          \
        {0}, FILL_NONE                                                                                         \
    }
#define P(p) &p, sizeof p
static const Conv2dParams s1 = {1, 0}, s2 = {2, 0}, s1p1 = {1, 1}, s2p1 = {2, 1}, s2p3 = {2, 3}, s3p2 = {3, 2};

/* A 3x3, 1x1 or 7x7 layer of a ResNet on 64 images, for timing. */
#define LAYER(text, N, in, C, O, kernel, params, out)                                                          \
    {                                                                                                          \
        text, {{{N, in, in, C}}, {{O, kernel, kernel, C}}, NO}, P(params),                                     \
            .bench = true, .bench_only = true, .flops = 2.0 * N * out * out * O * C * kernel * kernel,         \
            .bytes = 4.0 * N * (1.0 * in * in * C + 1.0 * out * out * O)                                       \
    }

static const KernelCase cases[] = {
    {"one element", {{{1, 1, 1, 1}}, {{1, 1, 1, 1}}, {{1}}}, P(s1)},
    {"one output", {{{1, 3, 2, 3}}, {{2, 3, 2, 3}}, {{2}}}, P(s1)},
    {"stem 7x7 s2 p3, grey", {{{2, 33, 33, 1}}, {{16, 7, 7, 1}}, NO}, P(s2p3)},
    {"stem 7x7 s2 p3, colour, smaller than the kernel", {{{1, 6, 5, 3}}, {{5, 7, 7, 3}}, {{5}}}, P(s2p3)},
    {"3x3 s1 p1, 7", {{{2, 7, 7, 16}}, {{16, 3, 3, 16}}, {{16}}}, P(s1p1)},
    {"3x3 s1 p1, ragged channels", {{{2, 15, 14, 5}}, {{7, 3, 3, 5}}, {{7}}}, P(s1p1)},
    {"3x3 s2 p1, even", {{{2, 14, 14, 8}}, {{16, 3, 3, 8}}, NO}, P(s2p1)},
    {"3x3 s2 p1, odd", {{{1, 15, 15, 6}}, {{3, 3, 3, 6}}, {{3}}}, P(s2p1)},
    {"3x3, 37 channels", {{{1, 5, 6, 37}}, {{37, 3, 3, 37}}, {{37}}}, P(s1p1)},
    {"1x1 s1", {{{2, 7, 5, 19}}, {{37, 1, 1, 19}}, {{37}}}, P(s1)},
    {"1x1 s1, many rows", {{{3, 33, 33, 8}}, {{16, 1, 1, 8}}, NO}, P(s1)},
    {"1x1 s2, odd", {{{2, 15, 15, 16}}, {{32, 1, 1, 16}}, NO}, P(s2)},
    {"1x1 s2, even", {{{2, 14, 14, 5}}, {{3, 1, 1, 5}}, {{3}}}, P(s2)},
    {"2x2 s2", {{{2, 14, 14, 8}}, {{8, 2, 2, 8}}, {{8}}}, P(s2)},
    {"2x2 s2, odd", {{{1, 15, 7, 3}}, {{5, 2, 2, 3}}, NO}, P(s2)},
    {"kernel not square, stride 3", {{{2, 11, 8, 3}}, {{4, 3, 2, 3}}, {{4}}}, P(s3p2)},
    {"over one batch of patches", {{{3, 48, 47, 2}}, {{3, 3, 3, 2}}, {{3}}}, P(s1p1)},
    {"one output channel", {{{1, 5, 6, 15}}, {{1, 3, 3, 15}}, {{1}}}, P(s1p1)},
    {"3x3 s1 p1, many pixels", {{{2, 17, 17, 5}}, {{18, 3, 3, 5}}, {{18}}}, P(s1p1)},
    {"1x2 s2, over one block", {{{2, 20, 20, 68}}, {{68, 1, 2, 68}}, {{68}}}, P(s2)},
    {"1x1 s2, over one block, ragged", {{{2, 19, 19, 67}}, {{69, 1, 1, 67}}, NO}, P(s2)},
    LAYER("stem, grey, 128 px", 64, 128, 1, 16, 7, s2p3, 64),
    LAYER("3x3, 16 wide, 32x32", 64, 32, 16, 16, 3, s1p1, 32),
    LAYER("1x1, 16 to 64, 32x32", 64, 32, 16, 64, 1, s1, 32),
    LAYER("1x1, 64 to 16, 32x32", 64, 32, 64, 16, 1, s1, 32),
    LAYER("3x3, 32 wide, 16x16", 64, 16, 32, 32, 3, s1p1, 16),
    LAYER("1x1, 32 to 128, 16x16", 64, 16, 32, 128, 1, s1, 16),
    LAYER("1x1 s2, 64 to 128, 32x32", 64, 32, 64, 128, 1, s2, 16),
    LAYER("ResNet 3x3, 256 wide, 14x14", 24, 14, 256, 256, 3, s1p1, 14),
    LAYER("ResNet 1x1, 1024 to 256, 14x14", 24, 14, 1024, 256, 1, s1, 14),
    LAYER("ResNet stem, 224 px", 4, 224, 3, 64, 7, s2p3, 112),
};

KERNEL_TEST(conv2d, .n_in = 3, .diff = 7, .bf16 = 1, .tol = 2e-4);
