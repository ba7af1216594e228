#include "tests/kernels/kernel_test.h"

/* Pads, rolls and cuts, one after the other. */
static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    const WindowParams *p = k->params;
    int64_t N = K_DIM(k, 0, 0), H = K_DIM(k, 0, 1), W = K_DIM(k, 0, 2), C = K_DIM(k, 0, 3), S = p->size;
    int64_t h = 0, w = 0, next = 0;
    while (h * S < H) h++;
    while (w * S < W) w++;
    for (int64_t n = 0; n < N; n++)
        for (int64_t top = 0; top < h * S; top += S)
            for (int64_t left = 0; left < w * S; left += S)
                for (int64_t r = top; r < top + S; r++)
                    for (int64_t c = left; c < left + S; c++, next++) {
                        int64_t row = r + p->shift, column = c + p->shift;
                        if (row >= h * S) row -= h * S;
                        if (column >= w * S) column -= w * S;
                        for (int64_t d = 0; d < C; d++)
                            y[next * C + d] =
                                row < H && column < W ? in[0][((n * H + row) * W + column) * C + d] : 0;
                    }
}

#define P(p) .params = &(p), .params_bytes = sizeof(p)
static const WindowParams one = {1, 0}, two = {2, 0}, five = {5, 0}, four1 = {4, 1}, five4 = {5, 4},
                          seven = {7, 0}, seven3 = {7, 3}, fourteen = {14, 0};
static const KernelCase cases[] = {
    {"one element", {{{1, 1, 1, 1}}}, P(one)},
    {"a window larger than the image", {{{2, 3, 2, 3}}}, P(five)},
    {"the same, shifted", {{{2, 3, 2, 3}}}, P(five4)},
    {"whole windows", {{{2, 4, 6, 5}}}, P(two)},
    {"whole windows, shifted", {{{2, 8, 12, 3}}}, P(four1)},
    {"padded", {{{2, 16, 9, 4}}}, P(seven)},
    {"padded, shifted", {{{2, 16, 9, 4}}}, P(seven3)},
    {"padded, shifted, ragged channels", {{{1, 11, 13, 37}}}, P(five4)},
    {"several blocks", {{{3, 20, 22, 24}}}, P(seven3)},
    {"view", {{{3, 9, 7, 3}}}, P(four1), .view = true},
    {"ViT-B, 64 x 64 to 14 x 14",
     {{{1, 64, 64, 768}}},
     P(fourteen),
     .bench = true,
     .bench_only = true,
     .bytes = 4.0 * 768 * (4096 + 4900)},
    {"Swin-T, 24 slices, stage 1, shifted",
     {{{24, 56, 56, 96}}},
     P(seven3),
     .bench = true,
     .bench_only = true,
     .bytes = 8.0 * 24 * 56 * 56 * 96},
};
KERNEL_TEST(window, .n_in = 1, .diff = 1, .bf16 = 1, .tol = 1e-6);
