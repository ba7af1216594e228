#include "tests/kernels/kernel_test.h"

/* Scatters, as the formula says. */
static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    const Conv2dParams *p = k->params;
    int64_t N = K_DIM(k, 0, 0), H = K_DIM(k, 0, 1), W = K_DIM(k, 0, 2), C = K_DIM(k, 0, 3);
    int64_t kh = K_DIM(k, 1, 1), kw = K_DIM(k, 1, 2), O = K_DIM(k, 1, 3);
    int64_t OH = (H - 1) * p->stride - 2 * p->pad + kh, OW = (W - 1) * p->stride - 2 * p->pad + kw;
    for (int64_t i = 0; i < N * OH * OW * O; i++) y[i] = in[2] ? in[2][i % O] : 0;
    for (int64_t i = 0; i < N * H * W; i++)
        for (int64_t j = 0; j < kh * kw; j++) {
            int64_t oh = i / W % H * p->stride - p->pad + j / kw, ow = i % W * p->stride - p->pad + j % kw;
            if (oh < 0 || oh >= OH || ow < 0 || ow >= OW) continue;
            double *out = y + ((i / W / H * OH + oh) * OW + ow) * O;
            for (int64_t c = 0; c < C; c++)
                for (int64_t o = 0; o < O; o++) out[o] += in[0][i * C + c] * in[1][(c * kh * kw + j) * O + o];
        }
}

#define NO                                                                                                     \
    {                                                                                                          \
        {0}, FILL_NONE                                                                                         \
    }
#define P(p) &p, sizeof p
static const Conv2dParams s1 = {1, 0}, s2 = {2, 0}, s2p1 = {2, 1}, s3p2 = {3, 2};

/* The 2x2 stride 2 layer of a segmentation head on N maps of 7x7, for timing. */
#define LAYER(text, N, C)                                                                                      \
    {                                                                                                          \
        text, {{{N, 7, 7, C}}, {{C, 2, 2, C}}, {{C}}}, P(s2), .bench = true, .bench_only = true,               \
                                                              .flops = 2.0 * N * 49 * C * C * 4,               \
                                                              .bytes = 4.0 * (N * 49.0 * C * 5 + 4.0 * C * C)  \
    }

static const KernelCase cases[] = {
    {"one element", {{{1, 1, 1, 1}}, {{1, 1, 1, 1}}, {{1}}}, P(s1)},
    {"one patch", {{{1, 1, 1, 3}}, {{3, 3, 2, 2}}, {{2}}}, P(s1)},
    {"2x2 s2, 7", {{{2, 7, 7, 16}}, {{16, 2, 2, 16}}, {{16}}}, P(s2)},
    {"2x2 s2, ragged", {{{3, 5, 3, 19}}, {{19, 2, 2, 37}}, NO}, P(s2)},
    {"1x1 s1", {{{2, 7, 5, 5}}, {{5, 1, 1, 7}}, {{7}}}, P(s1)},
    {"gaps: 1x1 s2", {{{2, 4, 3, 5}}, {{5, 1, 1, 3}}, {{3}}}, P(s2)},
    {"gaps: 2x2 s3, cropped", {{{1, 6, 5, 3}}, {{3, 2, 2, 4}}, NO}, P(s3p2)},
    {"overlap: 3x3 s1", {{{1, 7, 8, 5}}, {{5, 3, 3, 6}}, {{6}}}, P(s1)},
    {"overlap: 4x4 s2 p1", {{{2, 7, 7, 8}}, {{8, 4, 4, 3}}, {{3}}}, P(s2p1)},
    {"kernel not square, stride 3", {{{2, 4, 3, 3}}, {{3, 5, 4, 7}}, {{7}}}, P(s3p2)},
    {"over one batch of patches", {{{3, 48, 47, 2}}, {{2, 2, 2, 3}}, {{3}}}, P(s2)},
    LAYER("ResNet, 24 slices, 2048 to 2048", 24, 2048),
    LAYER("mini, 384 slices, 128 to 128", 384, 128),
};

KERNEL_TEST(deconv2d, .n_in = 3, .diff = 7, .bf16 = 1, .tol = 2e-4);
