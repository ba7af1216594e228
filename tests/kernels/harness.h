/* Runs the cases of an op and checks everything that can be checked without knowing the op (see kernel_test.h).
 */
#ifndef TESTS_KERNELS_HARNESS_H
#define TESTS_KERNELS_HARNESS_H
#include "tests/kernels/kernel_test.h"

typedef struct Harness {
    const Backend *backend;
    uint64_t seed;
    Arena step, scratch, state; /* guarded */
    int passed, failed;         /* cases */
    int skipped;                /* ops whose kernel is still to be written for this backend */
} Harness;

/* Opens the arenas. Prints and returns false when there is no memory. */
bool harness_open(Harness *h, const Backend *backend, uint64_t seed);
void harness_close(Harness *h);

/* Every case of the op that is neither bench_only nor dies. The first fault of a case is printed as one line
 * naming op, backend, case, tensor, element, what came and what was wanted. */
void harness_op(Harness *h, const KernelTest *test);

/* The case's forward alone, and its output fetched: does not return where the case dies. */
void harness_forward(Harness *h, const KernelTest *test, const KernelCase *kase);

#endif
