#include "tests/kernels/kernel_test.h"
#include <math.h>

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    double eps = (double)((const LayernormParams *)k->params)->eps;
    int64_t C = K_DIM(k, 1, 0), rows = case_len(k, 0) / C;
    for (int64_t i = 0; i < rows; i++) {
        const double *x = in[0] + i * C;
        double mean = 0, var = 0;
        for (int64_t c = 0; c < C; c++) mean += x[c] / (double)C;
        for (int64_t c = 0; c < C; c++) var += (x[c] - mean) * (x[c] - mean) / (double)C;
        for (int64_t c = 0; c < C; c++) y[i * C + c] = (x[c] - mean) / sqrt(var + eps) * in[1][c] + in[2][c];
    }
}

static const LayernormParams eps5 = {1e-5f}, eps1 = {0.1f};
#define P(p) .params = &(p), .params_bytes = sizeof(p)
#define LAYER(text, rows, C)                                                                                   \
    {                                                                                                          \
        text, {{{rows, C}}, {{C}, FILL_POSITIVE}, {{C}}}, P(eps5),                                             \
            .bench = true, .bench_only = true, .flops = 8.0 * rows * C, .bytes = 8.0 * rows * C                \
    }
static const KernelCase cases[] = {
    {"one element", {{{1, 1}}, {{1}}, {{1}}}, P(eps1)},
    {"ragged row", {{{3, 37}}, {{37}}, {{37}}}, P(eps5)},
    {"above one block", {{{70, 130}}, {{130}, FILL_POSITIVE}, {{130}}}, P(eps5)},
    {"aligned rows", {{{9, 64}}, {{64}, FILL_POSITIVE}, {{64}}}, P(eps5)},
    {"a block a row", {{{5, 1029}}, {{1029}}, {{1029}}}, P(eps5)},
    {"a block a row, aligned, several rounds", {{{3, 4100}}, {{4100}, FILL_POSITIVE}, {{4100}}}, P(eps5)},
    {"rows in parts", {{{300, 7}}, {{7}}, {{7}}}, P(eps5)},
    {"pixels of few channels", {{{2, 9, 8, 4}}, {{4}}, {{4}}}, P(eps5)},
    {"many rows of few channels", {{{53, 32}}, {{32}, FILL_POSITIVE}, {{32}}}, P(eps5)},
    {"a channel in each lane", {{{16, 16}}, {{16}}, {{16}}}, P(eps5)},
    {"not around 0", {{{5, 48}, FILL_POSITIVE}, {{48}}, {{48}}}, P(eps5)},
    {"views, the weights begin anywhere", {{{9, 64}}, {{64}, FILL_POSITIVE}, {{64}}}, P(eps5), .view = true},
    LAYER("tokens of ViT-B", 4096, 768),
    LAYER("tokens of ViT-H", 4096, 1280),
    LAYER("upscaled pixels of a mask decoder", 16384, 64),
    LAYER("image cells of a small mask decoder", 3136, 32),
};
KERNEL_TEST(layernorm, .n_in = 3, .diff = 7, .bf16 = 1, .tol = 1e-5);
