#include "tests/kernels/kernel_test.h"
#include <math.h>
#include <stdlib.h>

/* Query i's score of key j. */
static double score(double *const *in, const KernelCase *k, int64_t b, int64_t i, int64_t j, int64_t h)
{
    double scale = (double)((const RelposAttentionParams *)k->params)->scale, s = 0;
    int64_t T = K_DIM(k, 0, 1), heads = K_DIM(k, 0, 2), D = K_DIM(k, 0, 3), H = (K_DIM(k, 3, 0) + 1) / 2,
            W = (K_DIM(k, 4, 0) + 1) / 2, row = i / W - j / W + H - 1, column = i % W - j % W + W - 1;
    for (int64_t d = 0; d < D; d++)
        s += in[0][((b * T + i) * heads + h) * D + d] *
             (scale * in[1][((b * T + j) * heads + h) * D + d] + in[3][row * D + d] + in[4][column * D + d]);
    return s;
}

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    int64_t B = K_DIM(k, 0, 0), T = K_DIM(k, 0, 1), heads = K_DIM(k, 0, 2), D = K_DIM(k, 0, 3);
    double *s = malloc((size_t)T * sizeof *s);
    for (int64_t row = 0; row < B * T * heads; row++) {
        int64_t b = row / (T * heads), i = row / heads % T, h = row % heads;
        double top = -INFINITY, sum = 0;
        for (int64_t j = 0; j < T; j++) top = fmax(top, s[j] = score(in, k, b, i, j, h));
        for (int64_t j = 0; j < T; j++) sum += s[j] = exp(s[j] - top);
        saved[0][(b * heads + h) * T + i] = top + log(sum);
        for (int64_t d = 0; d < D; d++) {
            y[row * D + d] = 0;
            for (int64_t j = 0; j < T; j++)
                y[row * D + d] += s[j] / sum * in[2][((b * T + j) * heads + h) * D + d];
        }
    }
    free(s);
}

static const RelposAttentionParams mild = {0.3f}, base = {0.125f};
#define P(p) .params = &(p), .params_bytes = sizeof(p)
#define QKV(b, h, w, heads, d)                                                                                 \
    {{b, (h) * (w), heads, d}}, {{b, (h) * (w), heads, d}},                                                    \
    {                                                                                                          \
        {                                                                                                      \
            b, (h) * (w), heads, d                                                                             \
        }                                                                                                      \
    }
#define IN(b, h, w, heads, d)                                                                                  \
    {                                                                                                          \
        QKV(b, h, w, heads, d), {{2 * (h)-1, d}},                                                              \
        {                                                                                                      \
            {                                                                                                  \
                2 * (w)-1, d                                                                                   \
            }                                                                                                  \
        }                                                                                                      \
    }
/* One forward call: two products of T x T x D a head, and what must move. */
#define WORK(b, h, w, heads, d)                                                                                \
    .flops = 4.0 * (b) * (h) * (w) * (h) * (w) * (heads) * (d), .bytes = 16.0 * (b) * (h) * (w) * (heads) * (d)
/* In bf16 y is rounded, and with it sum dy y: a table's gradient sums up what that does to all rows, most where
 * many columns make biases large. */
#define MANY_ROWS .bf16_tol = 5e-2
static const KernelCase cases[] = {
    {"one token", IN(2, 1, 1, 2, 3), P(mild)},
    {"one row", IN(1, 1, 9, 2, 8), P(mild)},
    {"one column", IN(1, 9, 1, 1, 8), P(mild)},
    {"tall, ragged", IN(2, 7, 3, 3, 10), P(mild)},
    {"wide, ragged", IN(1, 3, 19, 2, 17), P(mild)},
    {"dim 16, several blocks", IN(2, 9, 8, 2, 16), P(mild)},
    {"dim 32, several blocks", IN(1, 8, 9, 2, 32), P(mild), MANY_ROWS},
    {"dim 64, windows", IN(2, 7, 7, 1, 64), P(base), MANY_ROWS},
    {"dim 64, 130 tokens", IN(1, 10, 13, 1, 64), P(base), MANY_ROWS},
    {"dim 80", IN(1, 9, 8, 2, 80), P(base), MANY_ROWS},
    {"rows of 16", IN(1, 2, 16, 1, 8), P(mild)},
    {"dim 101", IN(2, 3, 5, 2, 101), P(base), MANY_ROWS},
    {"513 queries a line", IN(19, 1, 27, 1, 4), P(mild)},
    {"views", IN(2, 5, 6, 2, 9), P(mild), .view = true},
    {"ViT-B windows", IN(25, 14, 14, 12, 64), P(base), .bench = true, .bench_only = true,
     WORK(25, 14, 14, 12, 64)},
    {"ViT-B global", IN(1, 64, 64, 12, 64), P(base), .bench = true, .bench_only = true,
     WORK(1, 64, 64, 12, 64)},
};
KERNEL_TEST(relpos_attention, .n_in = 5, .diff = 31, .saved = 1, .bf16 = 7, .tol = 1e-4);
