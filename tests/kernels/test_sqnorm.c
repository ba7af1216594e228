#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    *y = 0;
    for (int64_t i = 0; i < case_len(k, 0); i++) *y += in[0][i] * in[0][i];
}

static const KernelCase cases[] = {
    {"one element", {{{1}}}},
    {"ragged row", {{{3, 37}}}},
    {"over one chunk", {{{16385}}}},
    {"two threads", {{{1023, 77}}}},
    {"view that begins anywhere", {{{20001}}}, .view = true},
    {"over 256 blocks", {{{2100001}}}},
    {"gradient block",
     {{{32 << 20}}},
     .bench = true,
     .bench_only = true,
     .flops = 2.0 * (32 << 20),
     .bytes = 4.0 * (32 << 20)},
};

/* Half of a last place of f32 is 6e-8: the sum itself must be as good as in double. */
KERNEL_TEST(sqnorm, .n_in = 1, .tol = 1e-7);
