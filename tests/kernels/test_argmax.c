#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    int64_t R = K_DIM(k, 0, 0), V = K_DIM(k, 0, 1);
    for (int64_t r = 0; r < R; r++) {
        int64_t best = V - 1;
        for (int64_t j = V - 1; j >= 0; j--)
            if (in[0][r * V + j] >= in[0][r * V + best]) best = j;
        y[r] = (double)best;
    }
}

static const KernelCase cases[] = {
    {"one element", {{{1, 1}}}},
    {"ragged row", {{{3, 37}}}},
    {"ties", {{{9, 1023}, FILL_MASK01}}},
    {"two threads", {{{33, 1025}}}},
    {"logits",
     {{{8, 128256}}},
     .bench = true,
     .bench_only = true,
     .flops = 8.0 * 128256,
     .bytes = 4.0 * 8 * 128256},
};

KERNEL_TEST(argmax, .n_in = 1, .tol = 0);
