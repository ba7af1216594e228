#include "tests/kernels/mask_oracle.h"
#include <string.h>

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    const MaskParams *p = k->params;
    int64_t M = K_DIM(k, 0, 0), h = K_DIM(k, 0, 1), w = K_DIM(k, 0, 2);
    for (int64_t m = 0; m < M; m++) {
        double *s = y + MASK_STATS * m;
        memset(s, 0, MASK_STATS * sizeof *s);
        for (int64_t i = 0; i < p->height; i++)
            for (int64_t j = 0; j < p->width; j++) {
                float v = mask_pixel(in[0] + m * h * w, h, w, p, i, j);
                s[0] += v > p->threshold + p->offset;
                s[1] += v > p->threshold - p->offset;
                if (!(v > p->threshold)) continue;
                double at[4] = {(double)j, (double)i, (double)j, (double)i};
                for (int b = 0; b < 4; b++)
                    if (s[2] == 0 || (b < 2 ? at[b] < s[3 + b] : at[b] > s[3 + b])) s[3 + b] = at[b];
                s[2]++;
            }
    }
}

static const MaskParams one = {1, 1, 1, 1, 1, 0, 0.5f}, same = {9, 9, 9, 9, 9, 0.25f, 0.25f},
                        twice = {74, 74, 74, 74, 74, 0, 0.5f}, sam = {128, 128, 128, 64, 64, 0.5f, 0.125f},
                        ragged = {64, 41, 64, 33, 51, 0, 1}, up = {40, 40, 23, 131, 67, 0.1f, 0.3f},
                        down = {64, 64, 50, 5, 7, 0, 0.1f}, rare = {96, 96, 80, 100, 83, 0.97f, 0.02f},
                        never = {32, 32, 32, 32, 32, 2, 0.5f}, shard = {16, 1, 16, 1, 9, 0, 0.25f},
                        wide = {40, 40, 20, 19, 300, 0, 0.5f}, vit = {1024, 1024, 1024, 512, 512, 0, 1};
#define P(name) .params = &name, .params_bytes = sizeof name

static const KernelCase cases[] = {
    {"one element", {{{1, 1, 1}}}, P(one)},
    {"as they are", {{{3, 9, 9}}}, P(same)},
    {"twice the side", {{{2, 37, 37}}}, P(twice)},
    {"four times, then half", {{{5, 32, 32}}}, P(sam)},
    {"up, cut and down", {{{3, 17, 17}}}, P(ragged)},
    {"up, cut and up", {{{3, 13, 29}}}, P(up)},
    {"far down", {{{4, 16, 16}}}, P(down)},
    {"few pixels", {{{9, 24, 24}}}, P(rare)},
    {"none", {{{2, 8, 8}}}, P(never)},
    {"one row", {{{2, 2, 4}}}, P(shard)},
    {"ties", {{{2, 9, 9}, FILL_MASK01}}, P(same)},
    {"holes", {{{2, 17, 17}, FILL_HOLES}}, P(ragged)},
    {"many", {{{40, 32, 32}}}, P(sam)},
    {"wide", {{{2, 10, 10}}}, P(wide)},
    {"views", {{{3, 13, 29}}}, P(up), .view = true},
    {"three masks of 64 points of SAM ViT",
     {{{192, 256, 256}}},
     P(vit),
     .bench = true,
     .bench_only = true,
     .flops = 192.0 * 512 * 512 * 9,
     .bytes = 4.0 * 192 * 256 * 256},
};

KERNEL_TEST(mask_stats, .n_in = 1, .tol = 0);
