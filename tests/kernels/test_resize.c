#include "tests/kernels/kernel_test.h"
#include <math.h>

/* Input `at` of `from` in output i of `to`: nearest in f32, as the rule says, bilinear as a hat around where i
 * lies. */
static double share(ResizeMode mode, int64_t from, int64_t to, int64_t i, int64_t at)
{
    if (mode == RESIZE_NEAREST) {
        float scale = (float)from / (float)to;
        return at == fmin(floorf((float)i * scale), (double)(from - 1));
    }
    double s = ((double)i + 0.5) * (double)from / (double)to - 0.5;
    s = fmin(fmax(s, 0), (double)(from - 1));
    return fmax(0, 1 - fabs(s - (double)at));
}

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    const ResizeParams *p = k->params;
    int64_t N = K_DIM(k, 0, 0), H = K_DIM(k, 0, 1), W = K_DIM(k, 0, 2), C = K_DIM(k, 0, 3);
    int64_t OH = p->height, OW = p->width;
    for (int64_t i = 0; i < N * OH * OW * C; i++) {
        int64_t c = i % C, ow = i / C % OW, oh = i / C / OW % OH, n = i / C / OW / OH;
        /* Only the inputs under the output and one on either side can have a share. */
        int64_t top = oh * H / OH - 1, bottom = (oh + 1) * H / OH + 1;
        int64_t left = ow * W / OW - 1, right = (ow + 1) * W / OW + 1;
        double sum = 0;
        for (int64_t h = top < 0 ? 0 : top; h < H && h <= bottom; h++) {
            double row = share(p->mode, H, OH, oh, h);
            for (int64_t w = left < 0 ? 0 : left; row > 0 && w < W && w <= right; w++)
                sum += row * share(p->mode, W, OW, ow, w) * in[0][((n * H + h) * W + w) * C + c];
        }
        y[i] = sum;
    }
}

#define P(p) &p, sizeof p
static const ResizeParams one = {1, 1, RESIZE_NEAREST}, near14 = {14, 14, RESIZE_NEAREST},
                          near_oblong = {3, 37, RESIZE_NEAREST}, near70 = {70, 70, RESIZE_NEAREST};
static const ResizeParams line1 = {1, 1, RESIZE_BILINEAR}, line14 = {14, 14, RESIZE_BILINEAR},
                          line_oblong = {3, 37, RESIZE_BILINEAR}, line70 = {70, 70, RESIZE_BILINEAR};
static const ResizeParams near32 = {3, 2, RESIZE_NEAREST}, line32 = {3, 2, RESIZE_BILINEAR},
                          near34 = {34, 33, RESIZE_NEAREST}, line34 = {34, 33, RESIZE_BILINEAR};
static const ResizeParams line512 = {512, 512, RESIZE_BILINEAR}, line1024 = {1024, 1024, RESIZE_BILINEAR};

#define LAYER(text, N, in, C, params, out)                                                                     \
    {                                                                                                          \
        text, {{{N, in, in, C}}}, P(params), .bench = true, .bench_only = true,                                \
                                             .bytes = 4.0 * N * C * (1.0 * in * in + 1.0 * out * out)          \
    }

static const KernelCase cases[] = {
    {"one element, nearest", {{{1, 1, 1, 1}}}, P(one)},
    {"one element, bilinear", {{{1, 1, 1, 1}}}, P(line1)},
    {"to one, nearest", {{{2, 7, 5, 3}}}, P(one)},
    {"to one, bilinear", {{{2, 7, 5, 3}}}, P(line1)},
    {"as it is, nearest", {{{2, 14, 14, 3}}}, P(near14)},
    {"as it is, bilinear", {{{2, 14, 14, 3}}}, P(line14)},
    {"twice, nearest", {{{2, 7, 7, 5}}}, P(near14)},
    {"twice, bilinear", {{{2, 7, 7, 5}}}, P(line14)},
    {"half, bilinear", {{{1, 28, 28, 2}}}, P(line14)},
    {"ragged, smaller, nearest", {{{1, 37, 33, 1}}}, P(near14)},
    {"ragged, smaller, bilinear", {{{1, 37, 33, 1}}}, P(line14)},
    {"oblong, nearest", {{{2, 11, 13, 3}}}, P(near_oblong)},
    {"oblong, bilinear", {{{2, 11, 13, 3}}}, P(line_oblong)},
    {"one column, bilinear", {{{2, 9, 1, 4}}}, P(line14)},
    {"two threads, nearest", {{{3, 33, 15, 2}}}, P(near70)},
    {"two threads, bilinear", {{{3, 33, 15, 2}}}, P(line70)},
    {"in fours, nearest", {{{2, 7, 7, 8}}}, P(near14)},
    {"in fours, bilinear", {{{2, 7, 7, 8}}}, P(line14)},
    {"over all blocks down, nearest", {{{1, 33, 34, 129}}}, P(near34)},
    {"over all blocks down, bilinear", {{{1, 33, 34, 129}}}, P(line34)},
    {"many images, nearest", {{{1030, 2, 3, 1}}}, P(near32)},
    {"many images, bilinear", {{{1030, 2, 3, 1}}}, P(line32)},
    {"view of ragged images, nearest", {{{2, 5, 7, 3}}}, P(near14), .view = true},
    {"view of ragged images, bilinear", {{{2, 5, 7, 3}}}, P(line14), .view = true},
    LAYER("masks, 512 to 14, nearest", 24, 512, 1, near14, 14),
    LAYER("attention, 14 to 512, bilinear", 24, 14, 1, line512, 512),
    LAYER("mask logits, 256 to 1024, bilinear", 16, 256, 1, line1024, 1024),
    LAYER("mask logits, 1024 to 512, bilinear", 16, 1024, 1, line512, 512),
};

KERNEL_TEST(resize, .n_in = 1, .diff = 1, .bf16 = 1, .tol = 1e-5);
