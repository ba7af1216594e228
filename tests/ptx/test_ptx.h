/* Between the tests of the interpreter. */
#ifndef TESTS_PTX_TEST_PTX_H
#define TESTS_PTX_TEST_PTX_H
#include "tests/ptx/ptx.h"
#ifdef __cplusplus
extern "C" {
#else
#include <check.h>

typedef struct TestArg {
    const void *value;
    size_t bytes;
} TestArg;

/* LAUNCH("_Z1kifPf", DIM(2), DIM(64, 2), 0, INT(n), FLOAT(a), POINTER(y)) */
#define LAUNCH(symbol, grid, block, dynamic_bytes, ...)                                                        \
    test_launch(symbol, grid, block, dynamic_bytes, (const TestArg[]){__VA_ARGS__},                            \
                sizeof((const TestArg[]){__VA_ARGS__}) / sizeof(TestArg))
#define DIM(...) ((const unsigned[3]){__VA_ARGS__})
#define INT(v)                                                                                                 \
    {                                                                                                          \
        &(int){v}, sizeof(int)                                                                                 \
    }
#define FLOAT(v)                                                                                               \
    {                                                                                                          \
        &(float){v}, sizeof(float)                                                                             \
    }
#define POINTER(v)                                                                                             \
    {                                                                                                          \
        &(const void *){v}, sizeof(void *)                                                                     \
    }
#define VALUE(v)                                                                                               \
    {                                                                                                          \
        &(v), sizeof(v)                                                                                        \
    }
void test_launch(const char *symbol, const unsigned grid[3], const unsigned block[3], size_t dynamic_bytes,
                 const TestArg *args, size_t n);

/* Opens the PTX of tests/ptx/<name>; the test fails if it does not open. */
void test_open(const char *name);

/* In [-1, 1), by seed and index. */
float test_float(unsigned seed, unsigned i);

/* Runs the open folder's product: how many elements of C are wrong; NaN is. */
int test_gemm(bool half, int M, int N, int K);

void test_kernels(TCase *c); /* add their tests */
void test_exact(TCase *c);
void test_paths(TCase *c);
void test_faults(TCase *c);

/* The case of test_faults.c that must not come back. */
int test_fault_run(const char *name);
#endif

/* test_names.cpp: launches by the host's names. */
bool test_names_run(void);
#ifdef __cplusplus
}
#endif
#endif
