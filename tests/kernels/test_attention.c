#include "tests/kernels/kernel_test.h"
#include <math.h>
#include <stdlib.h>

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    const AttentionParams *p = k->params;
    int64_t B = K_DIM(k, 0, 0), T = K_DIM(k, 0, 1), H = K_DIM(k, 0, 2), D = K_DIM(k, 0, 3), S = K_DIM(k, 1, 1),
            G = K_DIM(k, 1, 2);
    double *s = malloc((size_t)S * sizeof *s);
    for (int64_t row = 0; row < B * T * H; row++) {
        int64_t b = row / (T * H), i = row / H % T, g = row % H / (H / G), keys = S;
        const double *q = in[0] + row * D;
        double top = -INFINITY, sum = 0;
        if (in[3]) keys = (int64_t)in[3][b];
        if (p->causal && i + 1 < keys) keys = i + 1;
        for (int64_t j = 0; j < keys; j++) {
            s[j] = 0;
            for (int64_t d = 0; d < D; d++)
                s[j] += (double)p->scale * q[d] * in[1][((b * S + j) * G + g) * D + d];
            top = fmax(top, s[j]);
        }
        for (int64_t j = 0; j < keys; j++) sum += s[j] = exp(s[j] - top);
        for (int64_t d = 0; d < D; d++) {
            y[row * D + d] = 0;
            for (int64_t j = 0; j < keys; j++)
                y[row * D + d] += s[j] / sum * in[2][((b * S + j) * G + g) * D + d];
        }
    }
    free(s);
}

static const AttentionParams all = {0.7f, false}, causal = {0.5f, true}, sharp = {8, true},
                             llama = {0.0883883f, true}, decode = {0.0883883f, false};
#define P(p) .params = &(p), .params_bytes = sizeof(p)
#define NO                                                                                                     \
    {                                                                                                          \
        .fill = FILL_NONE                                                                                      \
    }
static const KernelCase cases[] = {
    {"one element", {{{1, 1, 1, 1}}, {{1, 1, 1, 1}}, {{1, 1, 1, 1}}, NO}, P(all)},
    {"ragged, lengths", {{{2, 5, 4, 10}}, {{2, 37, 2, 10}}, {{2, 37, 2, 10}}, {{2}, FILL_LENGTHS, 37}}, P(all)},
    {"ragged, causal, one key/value head", {{{2, 37, 3, 7}}, {{2, 37, 1, 7}}, {{2, 37, 1, 7}}, NO}, P(causal)},
    {"causal, lengths, groups of two",
     {{{3, 21, 4, 16}}, {{3, 21, 2, 16}}, {{3, 21, 2, 16}}, {{3}, FILL_LENGTHS, 21}},
     P(causal)},
    {"above one block, sharp", {{{1, 70, 2, 33}}, {{1, 70, 2, 33}}, {{1, 70, 2, 33}}, NO}, P(sharp)},
    {"decode, lengths, groups of three",
     {{{3, 1, 6, 20}}, {{3, 67, 2, 20}}, {{3, 67, 2, 20}}, {{3}, FILL_LENGTHS, 67}},
     P(all)},
    {"decode, wide head", {{{2, 1, 1, 83}}, {{2, 40, 1, 83}}, {{2, 40, 1, 83}}, NO}, P(all)},
    {"8B prefill",
     {{{1, 512, 32, 128}}, {{1, 512, 8, 128}}, {{1, 512, 8, 128}}, NO},
     P(llama),
     .bench = true,
     .bench_only = true,
     .flops = 2.0 * 512 * 513 * 32 * 128,
     .bytes = 4.0 * 512 * 128 * (32 + 32 + 8 + 8)},
    {"8B decode",
     {{{4, 1, 32, 128}}, {{4, 2048, 8, 128}}, {{4, 2048, 8, 128}}, NO},
     P(decode),
     .bench = true,
     .bench_only = true,
     .flops = 4.0 * 4 * 2048 * 32 * 128,
     .bytes = 4.0 * 2 * 4 * 2048 * 8 * 128},
};
KERNEL_TEST(attention, .n_in = 4, .diff = 7, .tol = 1e-4);
