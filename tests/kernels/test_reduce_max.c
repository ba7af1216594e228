#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    int64_t B = K_DIM(k, 0, 0), N = K_DIM(k, 0, 1), D = K_DIM(k, 0, 2);
    for (int64_t i = 0; i < B * D; i++) {
        const double *x = in[0] + i / D * N * D + i % D;
        int64_t winner = 0;
        for (int64_t j = 1; j < N; j++)
            if (x[j * D] > x[winner * D]) winner = j;
        y[i] = x[winner * D];
        saved[0][i] = (double)winner;
    }
}

static const KernelCase cases[] = {
    {"one element", {{{1, 1, 1}}}},
    {"ragged row", {{{3, 5, 37}}}},
    {"many to one", {{{2, 1023, 1}}}},
    {"one to one", {{{2, 1, 130}}}},
    {"over one strip, two threads", {{{5, 24, 1023}}}},
    {"many to one, in fours", {{{2, 40, 132}}}},
    {"many batches", {{{1100, 2, 129}}}},
    {"many batches, many to one", {{{1030, 17, 3}}}},
    {"view of ragged rows", {{{3, 5, 37}}}, .view = true},
    {"24 slices of 4096", {{{4, 24, 4096}}}, .bench = true, .bytes = 4.0 * 4 * 25 * 4096},
};

KERNEL_TEST(reduce_max, .n_in = 1, .diff = 1, .bf16 = 1, .saved = 1, .tol = 1e-6);
