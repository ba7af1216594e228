#include "tests/kernels/kernel_test.h"
#include <math.h>

static int64_t windows(int64_t size, const PoolParams *p)
{
    double room = (double)(size + 2 * p->pad - p->kernel) / p->stride;
    int64_t n = (int64_t)(p->ceil_mode ? ceil(room) : floor(room)) + 1;
    return p->ceil_mode && (n - 1) * p->stride - p->pad >= size ? n - 1 : n;
}

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    const PoolParams *p = k->params;
    int64_t N = K_DIM(k, 0, 0), H = K_DIM(k, 0, 1), W = K_DIM(k, 0, 2), C = K_DIM(k, 0, 3);
    int64_t OH = windows(H, p), OW = windows(W, p);
    for (int64_t i = 0; i < N * OH * OW * C; i++) {
        int64_t c = i % C, ow = i / C % OW, oh = i / C / OW % OH, n = i / C / OW / OH, winner = -1;
        double best = -INFINITY;
        for (int64_t h = oh * p->stride - p->pad; h < oh * p->stride - p->pad + p->kernel; h++)
            for (int64_t w = ow * p->stride - p->pad; w < ow * p->stride - p->pad + p->kernel; w++) {
                if (h < 0 || h >= H || w < 0 || w >= W) continue;
                double v = in[0][((n * H + h) * W + w) * C + c];
                if (v <= best) continue;
                best = v;
                winner = h * W + w;
            }
        y[i] = best;
        saved[0][i] = (double)winner;
    }
}

#define P(p) &p, sizeof p
static const PoolParams k1 = {1, 1, 0, false}, k3s2p1 = {3, 2, 1, false}, k3s2 = {3, 2, 0, false},
                        k3s2ceil = {3, 2, 0, true}, k3s2p1ceil = {3, 2, 1, true}, k2s2 = {2, 2, 0, false},
                        k2s3ceil = {2, 3, 0, true}, k2s8 = {2, 8, 0, false}, k3s1p1 = {3, 1, 1, false},
                        k4s4 = {4, 4, 0, false}, k4s16 = {4, 16, 0, false}, k5s1p2 = {5, 1, 2, false},
                        k5s3p2 = {5, 3, 2, false};

static const KernelCase cases[] = {
    {"one element", {{{1, 1, 1, 1}}}, P(k1)},
    {"stem, odd", {{{2, 15, 15, 16}}}, P(k3s2p1)},
    {"stem, even", {{{2, 14, 14, 5}}}, P(k3s2p1)},
    {"no pad", {{{1, 7, 14, 37}}}, P(k3s2)},
    {"hanging over, even", {{{2, 14, 14, 3}}}, P(k3s2ceil)},
    {"hanging over, odd", {{{1, 15, 7, 17}}}, P(k3s2ceil)},
    {"hanging over, padded", {{{1, 14, 33, 4}}}, P(k3s2p1ceil)},
    {"last window dropped", {{{1, 6, 7, 2}}}, P(k2s3ceil)},
    {"disjoint", {{{3, 8, 8, 16}}}, P(k2s2)},
    {"ties", {{{1, 18, 18, 19}, FILL_MASK01}}, P(k2s8)},
    {"over one strip", {{{1, 9, 9, 131}}}, P(k3s2p1)},
    {"two threads", {{{3, 33, 33, 16}}}, P(k3s2p1)},
    {"large windows", {{{2, 11, 12, 5}}}, P(k5s3p2)},
    {"large windows in fours", {{{1, 11, 12, 132}}}, P(k5s3p2)},
    {"large windows, ties", {{{1, 36, 36, 5}, FILL_MASK01}}, P(k4s16)},
    {"over all blocks down", {{{1, 33, 34, 129}}}, P(k3s1p1)},
    {"over all blocks down, large windows", {{{1, 33, 34, 3}}}, P(k5s1p2)},
    {"many images", {{{1030, 2, 2, 3}}}, P(k2s2)},
    {"many images, large windows", {{{1030, 4, 4, 1}}}, P(k4s4)},
    {"view of ragged images", {{{3, 7, 9, 5}}}, P(k3s2p1), .view = true},
    {"mini stem, 64x64x16",
     {{{64, 64, 64, 16}}},
     P(k3s2p1),
     .bench = true,
     .bench_only = true,
     .bytes = 4.0 * 64 * 64 * 64 * 16 * 1.5},
    {"stem, 112x112x64",
     {{{8, 112, 112, 64}}},
     P(k3s2p1),
     .bench = true,
     .bench_only = true,
     .bytes = 4.0 * 8 * 112 * 112 * 64 * 1.5},
};

KERNEL_TEST(max_pool, .n_in = 1, .diff = 1, .bf16 = 1, .saved = 1, .tol = 3e-6);
