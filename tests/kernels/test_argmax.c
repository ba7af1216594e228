#include "tests/kernels/kernel_test.h"
#include <math.h>

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    int64_t R = K_DIM(k, 0, 0), V = K_DIM(k, 0, 1);
    for (int64_t r = 0; r < R; r++) {
        const double *x = in[0] + r * V;
        int64_t best = -1;
        for (int64_t j = 0; j < V; j++)
            if (!isnan(x[j]) && (best < 0 || x[j] > x[best])) best = j;
        y[r] = best < 0 ? 0 : (double)best;
    }
}

static const KernelCase cases[] = {
    {"one element", {{{1, 1}}}},
    {"ragged row", {{{3, 37}}}},
    {"ties", {{{9, 1023}, FILL_MASK01}}},
    {"two threads", {{{33, 1025}}}},
    {"ties in fours", {{{5, 4100}, FILL_MASK01}}},
    {"views of ragged rows", {{{9, 1023}}}, .view = true},
    {"holes", {{{9, 1024}, FILL_HOLES}}},
    {"nothing but holes, some of them", {{{99, 2}, FILL_HOLES}}},
    {"logits",
     {{{8, 128256}}},
     .bench = true,
     .bench_only = true,
     .flops = 8.0 * 128256,
     .bytes = 4.0 * 8 * 128256},
};

KERNEL_TEST(argmax, .n_in = 1, .tol = 0);
