#include "tests/kernels/kernel_test.h"
#include <math.h>

/* The angle is rounded to f32 where the reference rounds it. */
static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    float theta = ((const RopeParams *)k->params)->theta;
    int64_t tokens = K_DIM(k, 0, 0) * K_DIM(k, 0, 1), H = K_DIM(k, 0, 2), D = K_DIM(k, 0, 3), half = D / 2;
    for (int64_t i = 0; i < tokens * H; i++)
        for (int64_t j = 0; j < half; j++) {
            float frequency = 1 / powf(theta, (float)(2 * j) / (float)D);
            double angle = (double)((float)in[1][i / H] * frequency);
            double a = in[0][i * D + j], b = in[0][i * D + j + half];
            y[i * D + j] = a * cos(angle) - b * sin(angle);
            y[i * D + j + half] = b * cos(angle) + a * sin(angle);
        }
}

static const RopeParams llama = {500000}, short_waves = {100};
#define P(p) .params = &(p), .params_bytes = sizeof(p)
static const KernelCase cases[] = {
    {"one pair", {{{1, 1, 1, 2}}, {{1, 1}, FILL_IDS, 9}}, P(llama)},
    {"ragged", {{{2, 37, 3, 10}}, {{2, 37}, FILL_IDS, 100}}, P(short_waves)},
    {"above one block", {{{3, 20, 4, 64}}, {{3, 20}, FILL_IDS, 8192}}, P(llama)},
    {"head dim and context of LLaMA", {{{1, 2, 5, 128}}, {{1, 2}, FILL_IDS, 131072}}, P(llama)},
    {"long heads", {{{2, 1, 2, 1030}}, {{2, 1}, FILL_IDS, 8192}}, P(llama)},
    {"view", {{{2, 3, 3, 10}}, {{2, 3}, FILL_IDS, 100}}, P(short_waves), .view = true},
    {"8B prefill",
     {{{1, 512, 32, 128}}, {{1, 512}, FILL_IDS, 512}},
     P(llama),
     .bench = true,
     .bench_only = true,
     .flops = 3.0 * 512 * 4096,
     .bytes = 8.0 * 512 * 4096},
};
KERNEL_TEST(rope, .n_in = 2, .diff = 1, .bf16 = 1, .tol = 1e-4);
