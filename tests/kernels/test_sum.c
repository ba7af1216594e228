#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    double sum = 0;
    for (int64_t i = 0; i < case_len(k, 0); i++) sum += in[0][i];
    *y = (double)((const SumParams *)k->params)->k * sum;
}

static const SumParams one = {1}, mean = {1 / 111.0f};

static const KernelCase cases[] = {
    {"one element", {{{1}}}, &one, sizeof one},
    {"ragged row", {{{3, 37}}}, &mean, sizeof mean},
    {"four dims", {{{2, 3, 5, 7}}}, &one, sizeof one},
    {"over one chunk", {{{16385}}}, &mean, sizeof mean},
    {"two threads", {{{1023, 77}}}, &mean, sizeof mean},
    {"view that begins anywhere", {{{20001}}}, &mean, sizeof mean, .view = true},
    {"activations",
     {{{32, 1024, 1024}}},
     &one,
     sizeof one,
     .bench = true,
     .bench_only = true,
     .flops = 32 << 20,
     .bytes = 4.0 * (32 << 20)},
};

KERNEL_TEST(sum, .n_in = 1, .diff = 1, .tol = 1e-6);
