#include "tests/kernels/kernel_test.h"
#include <math.h>
#include <stdlib.h>

/* Of a token of a window its region of the rolled image: 0, 1 or 2 along each axis, counted over the whole
 * image. */
static int64_t region(int64_t at, int64_t size, int64_t side, int64_t shift)
{
    return at < size - side ? 0 : at < size - shift ? 1 : 2;
}

static int64_t side_of(const KernelCase *k)
{
    int64_t side = 1;
    while (side * side < K_DIM(k, 0, 1)) side++;
    return side;
}

/* Whether tokens i and j of window b are of different regions. */
static bool apart(const KernelCase *k, int64_t b, int64_t i, int64_t j)
{
    const WindowAttentionParams *p = k->params;
    int64_t side = side_of(k), window = b % (p->rows * p->columns), top = window / p->columns * side,
            left = window % p->columns * side, height = p->rows * side, width = p->columns * side;
    if (!p->shift) return false;
    return region(top + i / side, height, side, p->shift) != region(top + j / side, height, side, p->shift) ||
           region(left + i % side, width, side, p->shift) != region(left + j % side, width, side, p->shift);
}

static double score(double *const *in, const KernelCase *k, int64_t b, int64_t i, int64_t j, int64_t h)
{
    double scale = (double)((const WindowAttentionParams *)k->params)->scale, s = 0;
    int64_t T = K_DIM(k, 0, 1), heads = K_DIM(k, 0, 2), D = K_DIM(k, 0, 3), side = side_of(k),
            row = i / side - j / side + side - 1, column = i % side - j % side + side - 1;
    for (int64_t d = 0; d < D; d++)
        s += in[0][((b * T + i) * heads + h) * D + d] * scale * in[1][((b * T + j) * heads + h) * D + d];
    return s + in[3][(row * (2 * side - 1) + column) * heads + h] + (apart(k, b, i, j) ? -100 : 0);
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

static const WindowAttentionParams one = {1, 1, 0, 0.4f}, one_shifted = {1, 1, 1, 0.4f}, row = {1, 3, 2, 0.4f},
                                   column = {3, 1, 0, 0.4f}, column_shifted = {3, 1, 1, 0.4f},
                                   grid = {2, 3, 1, 0.4f}, half = {2, 2, 4, 0.2f}, swin = {2, 2, 3, 0.176777f},
                                   stage1 = {8, 8, 3, 0.176777f};
#define P(p) .params = &(p), .params_bytes = sizeof(p)
/* In bf16 ds is rounded, and a table's gradient sums it up over all windows. */
#define MANY_WINDOWS .bf16_tol = 2e-2
#define QKV(b, s, heads, d)                                                                                    \
    {                                                                                                          \
        {                                                                                                      \
            b, (s) * (s), heads, d                                                                             \
        }                                                                                                      \
    }
#define IN(b, s, heads, d)                                                                                     \
    {                                                                                                          \
        QKV(b, s, heads, d), QKV(b, s, heads, d), QKV(b, s, heads, d),                                         \
        {                                                                                                      \
            {                                                                                                  \
                (2 * (s)-1) * (2 * (s)-1), heads                                                               \
            }                                                                                                  \
        }                                                                                                      \
    }
static const KernelCase cases[] = {
    {"windows of one token", IN(3, 1, 2, 5), P(one)},
    {"one window, ragged", IN(2, 3, 3, 7), P(one)},
    {"one window, shifted", IN(2, 3, 2, 10), P(one_shifted)},
    {"a row of windows, shifted by two, two images", IN(6, 5, 1, 16), P(row), MANY_WINDOWS},
    {"a column of windows", IN(3, 4, 2, 8), P(column)},
    {"a column of windows, shifted", IN(3, 4, 2, 8), P(column_shifted)},
    {"2 x 3 windows, shifted, three images", IN(18, 2, 2, 9), P(grid), MANY_WINDOWS},
    {"shifted by half, windows of 8", IN(4, 8, 1, 16), P(half)},
    {"dim 32, windows of 7, shifted", IN(4, 7, 3, 32), P(swin)},
    {"dim 64, windows of 9", IN(1, 9, 2, 64), P(one)},
    {"dim 80, windows of 12", IN(1, 12, 1, 80), P(one_shifted)},
    {"windows of 17", IN(1, 17, 1, 8), P(one_shifted)},
    {"views", IN(4, 5, 2, 6), P(half), .view = true},
    {"Swin-T stage 1", IN(64, 7, 3, 32), P(stage1), .bench = true, .bench_only = true,
     .flops = 4.0 * 64 * 49 * 49 * 96, .bytes = 16.0 * 64 * 49 * 96},
};
KERNEL_TEST(window_attention, .n_in = 4, .diff = 15, .saved = 1, .bf16 = 7, .tol = 1e-4);
