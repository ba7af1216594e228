/* The cases of every op and how their inputs are made: shared by the tests (harness.c) and by pcrl-bench, so
 * that what is timed is what is tested. */
#ifndef TESTS_KERNELS_KERNEL_CASE_H
#define TESTS_KERNELS_KERNEL_CASE_H
#include "tests/kernels/kernel_test.h"

/* One for each row of ops.def, in its order; NULL ends the list. */
extern const KernelTest *const kernel_tests[];

/* The inputs of a case in host memory. raw[i] holds what a tensor of the input's type holds (for a 4-bit
 * weight: the f32 values before quantisation); value[i] the same in double, as the oracle sees it (a 4-bit
 * weight: after quantisation). NULL where the input is absent. */
typedef struct CaseInputs {
    const KernelTest *test;
    const KernelCase *kase;
    unsigned bf16; /* bit i: input i is in bf16 */
    void *raw[NODE_INPUTS];
    double *value[NODE_INPUTS]; /* all NULL unless asked for */
    int64_t len[NODE_INPUTS];
} CaseInputs;

/* The same numbers for the same seed, op, case and input, on every machine. bf16: bit i: input i is in bf16;
 * with any, all floats are values that bf16 has. with_values: for the oracle. Dies when out of memory.
 * case_inputs_free gives them back. */
void case_inputs_make(CaseInputs *c, const KernelTest *test, const KernelCase *kase, uint64_t seed,
                      unsigned bf16, bool with_values);
void case_inputs_free(CaseInputs *c);

/* Input i as a new tensor in a; NULL where it is absent. */
Tensor *case_tensor(const CaseInputs *c, int i, Arena *a);

/* A slice of a tensor with one more row, from row 1 on. */
Tensor *case_view(Arena *a, DType dtype, int ndim, const int64_t *dim);

/* n values uniform in [-1,1), a function of seed and name alone. */
void case_uniform(float *x, int64_t n, uint64_t seed, const char *name);

#endif
