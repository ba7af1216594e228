#include "tests/kernels/kernel_test.h"

static void oracle(double *y, double *const *saved, double *const *in, const KernelCase *k)
{
    (void)saved;
    int axis = ((const ConcatParams *)k->params)->axis;
    int64_t outer = 1, inner = 1, A = K_DIM(k, 0, axis), B = K_DIM(k, 1, axis);
    for (int d = 0; d < axis; d++) outer *= K_DIM(k, 0, d);
    for (int d = axis + 1; d < TENSOR_DIMS && K_DIM(k, 0, d); d++) inner *= K_DIM(k, 0, d);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < A + B; i++)
            for (int64_t j = 0; j < inner; j++)
                y[(o * (A + B) + i) * inner + j] =
                    i < A ? in[0][(o * A + i) * inner + j] : in[1][(o * B + i - A) * inner + j];
}

static const ConcatParams axis0 = {0}, axis1 = {1}, axis2 = {2}, axis3 = {3};

static const KernelCase cases[] = {
    {"one element", {{{1}}, {{1}}}, &axis0, sizeof axis0},
    {"ragged rows", {{{3, 37}}, {{2, 37}}}, &axis0, sizeof axis0},
    {"columns", {{{5, 1}}, {{5, 9}}}, &axis1, sizeof axis1},
    {"prefix of a sequence", {{{2, 3, 17}}, {{2, 8, 17}}}, &axis1, sizeof axis1},
    {"third of four dims", {{{2, 3, 5, 7}}, {{2, 3, 1, 7}}}, &axis2, sizeof axis2},
    {"channels", {{{2, 3, 5, 7}}, {{2, 3, 5, 4}}}, &axis3, sizeof axis3},
    {"two threads", {{{33, 1023}}, {{33, 37}}}, &axis1, sizeof axis1},
    {"in fours", {{{2, 3, 8}}, {{2, 5, 8}}}, &axis1, sizeof axis1},
    {"over one block, in fours", {{{3, 1028}}, {{3, 8}}}, &axis1, sizeof axis1},
    {"over all blocks down", {{{1100, 90}}, {{1100, 43}}}, &axis1, sizeof axis1},
    {"views of ragged rows", {{{3, 37}}, {{2, 37}}}, &axis0, sizeof axis0, .view = true},
    {"of one tensor", {{{3, 5}}, {{3, 5}}}, &axis1, sizeof axis1, .twin = true},
    {"prefix and text",
     {{{8, 24, 4096}}, {{8, 120, 4096}}},
     &axis1,
     sizeof axis1,
     .bench = true,
     .bench_only = true,
     .bytes = 8.0 * 8 * 144 * 4096},
};

KERNEL_TEST(concat, .n_in = 2, .diff = 3, .bf16 = 3, .tol = 1e-6);
