#include "tests/kernels/kernel_test.h"

/* Every place of every window goes back to where the padded, rolled image had it. */
static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    const UnwindowParams *p = k->params;
    int64_t H = p->height, W = p->width, S = K_DIM(k, 0, 1), C = K_DIM(k, 0, 3);
    int64_t h = 0, w = 0;
    while (h * S < H) h++;
    while (w * S < W) w++;
    for (int64_t i = 0; i < K_DIM(k, 0, 0) * S * S; i++) {
        int64_t c = i % S, r = i / S % S, window = i / S / S;
        int64_t row = window / w % h * S + r + p->shift, column = window % w * S + c + p->shift;
        if (row >= h * S) row -= h * S;
        if (column >= w * S) column -= w * S;
        for (int64_t d = 0; row < H && column < W && d < C; d++)
            y[((window / w / h * H + row) * W + column) * C + d] = in[0][i * C + d];
    }
}

#define P(p) .params = &(p), .params_bytes = sizeof(p)
static const UnwindowParams one = {1, 1, 0}, small = {3, 2, 0}, small4 = {3, 2, 4}, whole = {4, 6, 0},
                            whole1 = {8, 12, 1}, padded = {16, 9, 0}, padded3 = {16, 9, 3},
                            ragged4 = {11, 13, 4}, several3 = {20, 22, 3}, view1 = {9, 7, 1}, vit = {64, 64, 0},
                            swin3 = {56, 56, 3};
static const KernelCase cases[] = {
    {"one element", {{{1, 1, 1, 1}}}, P(one)},
    {"a window larger than the image", {{{2, 5, 5, 3}}}, P(small)},
    {"the same, shifted", {{{2, 5, 5, 3}}}, P(small4)},
    {"whole windows", {{{12, 2, 2, 5}}}, P(whole)},
    {"whole windows, shifted", {{{12, 4, 4, 3}}}, P(whole1)},
    {"padded", {{{12, 7, 7, 4}}}, P(padded)},
    {"padded, shifted", {{{12, 7, 7, 4}}}, P(padded3)},
    {"padded, shifted, ragged channels", {{{9, 5, 5, 37}}}, P(ragged4)},
    {"several blocks", {{{36, 7, 7, 24}}}, P(several3)},
    {"view", {{{18, 4, 4, 3}}}, P(view1), .view = true},
    {"ViT-B, 14 x 14 to 64 x 64",
     {{{25, 14, 14, 768}}},
     P(vit),
     .bench = true,
     .bench_only = true,
     .bytes = 8.0 * 768 * 4096},
    {"Swin-T, 24 slices, stage 1, shifted",
     {{{1536, 7, 7, 96}}},
     P(swin3),
     .bench = true,
     .bench_only = true,
     .bytes = 8.0 * 24 * 56 * 56 * 96},
};
KERNEL_TEST(unwindow, .n_in = 1, .diff = 1, .bf16 = 1, .tol = 1e-6);
