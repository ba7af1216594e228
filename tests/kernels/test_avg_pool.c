#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    const PoolParams *p = k->params;
    int64_t N = K_DIM(k, 0, 0), H = K_DIM(k, 0, 1), W = K_DIM(k, 0, 2), C = K_DIM(k, 0, 3);
    int64_t OH = (H - p->kernel) / p->stride + 1, OW = (W - p->kernel) / p->stride + 1;
    for (int64_t i = 0; i < N * OH * OW * C; i++) {
        int64_t c = i % C, ow = i / C % OW, oh = i / C / OW % OH, n = i / C / OW / OH;
        double sum = 0;
        for (int64_t h = oh * p->stride; h < oh * p->stride + p->kernel; h++)
            for (int64_t w = ow * p->stride; w < ow * p->stride + p->kernel; w++)
                sum += in[0][((n * H + h) * W + w) * C + c];
        y[i] = sum / (p->kernel * p->kernel);
    }
}

#define P(p) &p, sizeof p
static const PoolParams k1 = {.kernel = 1, .stride = 1}, k2s2 = {.kernel = 2, .stride = 2},
                        k3s2 = {.kernel = 3, .stride = 2}, k2s3 = {.kernel = 2, .stride = 3},
                        k7 = {.kernel = 7, .stride = 7}, k5s1 = {.kernel = 5, .stride = 1};

static const KernelCase cases[] = {
    {"one element", {{{1, 1, 1, 1}}}, P(k1)},
    {"disjoint", {{{2, 14, 14, 16}}}, P(k2s2)},
    {"disjoint, a row left over", {{{2, 15, 7, 5}}}, P(k2s2)},
    {"overlapping", {{{2, 15, 14, 37}}}, P(k3s2)},
    {"gaps", {{{1, 14, 33, 3}}}, P(k2s3)},
    {"whole image", {{{3, 7, 7, 131}}}, P(k7)},
    {"two threads", {{{3, 33, 33, 16}}}, P(k2s2)},
    {"whole image in fours", {{{3, 7, 7, 132}}}, P(k7)},
    {"over all blocks down", {{{1, 33, 34, 129}}}, P(k1)},
    {"over all blocks down, large windows", {{{1, 38, 39, 3}}}, P(k5s1)},
    {"many images", {{{1030, 2, 3, 3}}}, P(k2s2)},
    {"many images, large windows", {{{1030, 5, 5, 1}}}, P(k5s1)},
    {"view of ragged images", {{{3, 7, 9, 5}}}, P(k3s2), .view = true},
    {"shortcut, 32x32x64",
     {{{64, 32, 32, 64}}},
     P(k2s2),
     .bench = true,
     .bench_only = true,
     .bytes = 4.0 * 64 * 32 * 32 * 64 * 1.25},
};

KERNEL_TEST(avg_pool, .n_in = 1, .diff = 1, .bf16 = 1, .tol = 1e-5);
