#include "tests/kernels/kernel_test.h"

static float least(float a, float b) { return a < b ? a : b; }
static float most(float a, float b) { return a > b ? a : b; }

/* A decision is a comparison, so that rounding counts: f32, each product rounded. */
static bool overlaps(const double *p, const double *q, double threshold)
{
    float a[4], b[4];
    for (int i = 0; i < 4; i++) a[i] = (float)p[i], b[i] = (float)q[i];
    volatile float w = least(a[2], b[2]) - most(a[0], b[0]), h = least(a[3], b[3]) - most(a[1], b[1]);
    volatile float both = most(w, 0) * most(h, 0), A = (a[2] - a[0]) * (a[3] - a[1]),
                   B = (b[2] - b[0]) * (b[3] - b[1]);
    volatile float sum = A + B;
    return (double)(both / (sum - both)) > threshold;
}

/* The other way round than the op: each kept box strikes out what comes after it. */
static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    int64_t n = K_DIM(k, 0, 0);
    const double threshold = ((const NmsParams *)k->params)->threshold;
    for (int64_t i = 0; i < n; i++) y[i] = 1;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i + 1; j < n && y[i] == 1; j++)
            if (overlaps(in[0] + 4 * i, in[0] + 4 * j, threshold)) y[j] = 0;
}

static const NmsParams loose = {0.7}, strict = {0.1}, none = {1}, any = {0};
#define P(name) .params = &name, .params_bytes = sizeof name

static const KernelCase cases[] = {
    {"one element", {{{1, 4}}}, P(loose)},
    {"boxes of any corners", {{{37, 4}}}, P(strict)},
    {"boxes in the positive", {{{1023, 4}, FILL_PROB}}, P(strict)},
    {"equal boxes and boxes without area", {{{300, 4}, FILL_MASK01}}, P(loose)},
    {"nothing overlaps by more than all", {{{65, 4}, FILL_MASK01}}, P(none)},
    {"anything overlaps", {{{129, 4}}}, P(any)},
    {"no numbers", {{{64, 4}, FILL_HOLES}}, P(strict)},
    {"over one block", {{{1500, 4}}}, P(strict)},
    {"views", {{{70, 4}, FILL_PROB}}, P(strict), .view = true},
    {"1024 boxes",
     {{{1024, 4}}},
     P(loose),
     .bench = true,
     .bench_only = true,
     .flops = 1024.0 * 512 * 14,
     .bytes = 20.0 * 1024},
};

KERNEL_TEST(nms, .n_in = 1, .tol = 0);
