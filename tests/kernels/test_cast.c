#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    for (int64_t i = 0; i < case_len(k, 0); i++) y[i] = in[0][i];
}

static const CastParams same = {DTYPE_f32}, half = {DTYPE_bf16};
#define P .params = &same, .params_bytes = sizeof same
#define H .params = &half, .params_bytes = sizeof half, .device = true

static const KernelCase cases[] = {
    {"one element", {{{1}}}, P},
    {"ragged row", {{{3, 37}}}, P},
    {"over one block", {{{1023}}}, P},
    {"several blocks", {{{33, 1025}}}, P},
    {"view of ragged rows", {{{41, 37}}}, P, .view = true},
    {"to bf16, one element", {{{1}}}, H},
    {"to bf16, several blocks", {{{33, 1025}}}, H},
    {"to bf16, view of ragged rows", {{{41, 37}}}, H, .view = true},
    {"activations", {{{32, 1024, 1024}}}, P, .bench = true, .bench_only = true, .bytes = 8.0 * (32 << 20)},
};

KERNEL_TEST(cast, .n_in = 1, .diff = 1, .tol = 1e-6, .bf16 = 1);
