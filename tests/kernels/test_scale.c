#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    for (int64_t i = 0; i < case_len(k, 0); i++) y[i] = (double)((const UnaryParams *)k->params)->k * in[0][i];
}

static const UnaryParams factor = {-1.75f};

static const KernelCase cases[] = {
    {"one element", {{{1}}}, .params = &factor, .params_bytes = sizeof factor},
    {"ragged row", {{{3, 37}}}, .params = &factor, .params_bytes = sizeof factor},
    {"four dims", {{{2, 3, 5, 7}}}, .params = &factor, .params_bytes = sizeof factor},
    {"over one block", {{{1023}}}, .params = &factor, .params_bytes = sizeof factor},
    {"two threads", {{{33, 1025}}}, .params = &factor, .params_bytes = sizeof factor},
    {"view of ragged rows", {{{41, 37}}}, .params = &factor, .params_bytes = sizeof factor, .view = true},
    {"activations",
     {{{32, 1024, 1024}}},
     .params = &factor,
     .params_bytes = sizeof factor,
     .bench = true,
     .bench_only = true,
     .flops = 32 << 20,
     .bytes = 8.0 * (32 << 20)},
};

KERNEL_TEST(scale, .n_in = 1, .diff = 1, .bf16 = 1, .tol = 1e-6);
