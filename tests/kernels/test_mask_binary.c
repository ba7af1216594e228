#include "tests/kernels/mask_oracle.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    const MaskParams *p = k->params;
    int64_t h = K_DIM(k, 0, 1), w = K_DIM(k, 0, 2);
    for (int64_t m = 0; m < K_DIM(k, 0, 0); m++)
        for (int64_t i = 0; i < p->height; i++)
            for (int64_t j = 0; j < p->width; j++)
                *y++ = mask_pixel(in[0] + m * h * w, h, w, p, i, j) > p->threshold;
}

static const MaskParams one = {1, 1, 1, 1, 1, 0, 0}, same = {9, 9, 9, 9, 9, 0.25f, 0},
                        sam = {128, 128, 128, 64, 64, 0.5f, 1}, ragged = {64, 41, 64, 33, 51, 0, 1},
                        down = {64, 64, 50, 5, 7, 0, 0}, rare = {96, 96, 80, 100, 83, 0.97f, 0},
                        wide = {40, 40, 20, 19, 300, 0, 0.5f}, vit = {1024, 1024, 1024, 512, 512, 0, 1};
#define P(name) .params = &name, .params_bytes = sizeof name

static const KernelCase cases[] = {
    {"one element", {{{1, 1, 1}}}, P(one)},
    {"as they are", {{{3, 9, 9}}}, P(same)},
    {"four times, then half", {{{5, 32, 32}}}, P(sam)},
    {"up, cut and down", {{{3, 17, 17}}}, P(ragged)},
    {"far down", {{{4, 16, 16}}}, P(down)},
    {"few pixels", {{{9, 24, 24}}}, P(rare)},
    {"ties", {{{2, 9, 9}, FILL_MASK01}}, P(same)},
    {"holes", {{{2, 17, 17}, FILL_HOLES}}, P(ragged)},
    {"many", {{{40, 32, 32}}}, P(sam)},
    {"wide", {{{2, 10, 10}}}, P(wide)},
    {"views", {{{3, 17, 17}}}, P(ragged), .view = true},
    {"64 masks of SAM ViT",
     {{{64, 256, 256}}},
     P(vit),
     .bench = true,
     .bench_only = true,
     .flops = 64.0 * 512 * 512 * 6,
     .bytes = 64.0 * (4 * 256 * 256 + 512 * 512)},
};

KERNEL_TEST(mask_binary, .n_in = 1, .tol = 0);
