#include "tests/kernels/kernel_test.h"
#include <math.h>

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    const BatchnormParams *p = k->params;
    int64_t C = case_len(k, 1), R = case_len(k, 0) / C;
    for (int64_t c = 0; c < C; c++) {
        double mean = in[3][c], var = in[4][c], momentum = (double)p->momentum;
        if (p->train) {
            mean = var = 0;
            for (int64_t i = 0; i < R; i++) mean += in[0][i * C + c] / (double)R;
            for (int64_t i = 0; i < R; i++) {
                double d = in[0][i * C + c] - mean;
                var += d * d / (double)R;
            }
            in[3][c] = (1 - momentum) * in[3][c] + momentum * mean;
            in[4][c] = (1 - momentum) * in[4][c] + momentum * var * (R > 1 ? (double)R / (double)(R - 1) : 1);
        }
        double r = 1 / sqrt(var + (double)p->eps);
        for (int64_t i = 0; i < R; i++) y[i * C + c] = (in[0][i * C + c] - mean) * r * in[1][c] + in[2][c];
        saved[0][c] = mean;
        saved[1][c] = r;
    }
}

static const BatchnormParams train = {1e-5f, 0.1f, true}, eval = {1e-5f, 0.1f, false},
                             eager = {1e-3f, 1.0f, true};
#define P(p) &p, sizeof p
#define CHANNELS(C)                                                                                            \
    {{C}}, {{C}}, {{C}}, { {C}, FILL_POSITIVE }
#define LAYER(text, params, N, H, C)                                                                           \
    {                                                                                                          \
        text, {{{N, H, H, C}}, CHANNELS(C)}, P(params),                                                        \
            .bench = true, .bench_only = true, .bytes = 4.0 * N * H * H * C * ((params).train ? 3 : 2)         \
    }

static const KernelCase cases[] = {
    {"one element, running", {{{1}}, CHANNELS(1)}, P(eval)},
    {"one row", {{{1, 5}}, CHANNELS(5)}, P(train)},
    {"two rows", {{{2, 37}}, CHANNELS(37)}, P(eager)},
    {"ragged", {{{13, 37}}, CHANNELS(37)}, P(train)},
    {"ragged, running", {{{13, 37}}, CHANNELS(37)}, P(eval)},
    {"images", {{{2, 7, 7, 16}}, CHANNELS(16)}, P(train)},
    {"images, running", {{{2, 7, 7, 16}}, CHANNELS(16)}, P(eval)},
    {"strips of every width", {{{3, 5, 1, 101}}, CHANNELS(101)}, P(train)},
    {"over one block", {{{1023, 19}}, CHANNELS(19)}, P(train)},
    {"over one block, running", {{{1023, 19}}, CHANNELS(19)}, P(eval)},
    {"1023 channels", {{{3, 1023}}, CHANNELS(1023)}, P(train)},
    {"1028 channels, running", {{{5, 1028}}, CHANNELS(1028)}, P(eval)},
    {"three channels, several parts", {{{600, 3}}, CHANNELS(3)}, P(train)},
    {"views that begin anywhere", {{{9, 8}}, CHANNELS(8)}, P(train), .view = true},
    {"views that begin anywhere, running", {{{9, 8}}, CHANNELS(8)}, P(eval), .view = true},
    LAYER("stem, 64x64x16", train, 64, 64, 16),
    LAYER("64 channels, 32x32", train, 64, 32, 64),
    LAYER("128 channels, 16x16", train, 64, 16, 128),
    LAYER("1024 channels, 14x14", train, 24, 14, 1024),
    LAYER("64 channels, 32x32, running", eval, 64, 32, 64),
};

KERNEL_TEST(batchnorm, .n_in = 5, .diff = 7, .bf16 = 1, .updates = 24, .saved = 3, .tol = 2e-4);
