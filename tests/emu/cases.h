/* What the cases share. */
#ifndef TESTS_EMU_CASES_H
#define TESTS_EMU_CASES_H
#include "kernels/cuda.cuh"
#include "kernels/mma.cuh"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Case {
    const char *name;
    int (*run)(void); /* 0: the result is right */
};
extern const Case faults[]; /* the last has no name */

/* Undefined contents. */
template <class T> T *device_array(int n)
{
    void *p;
    cuda_check(cudaMalloc(&p, n * sizeof(T)), "cudaMalloc", "a case");
    return (T *)p;
}

template <class T, class F> T *device_array(int n, F value)
{
    T *p = device_array<T>(n), *h = (T *)malloc(n * sizeof(T));
    for (int i = 0; i < n; i++) h[i] = value(i);
    cuda_check(cudaMemcpy(p, h, n * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy", "a case");
    free(h);
    return p;
}

/* 0 where p[i] is want(i) within tol for all i; frees p. */
template <class T, class F> int compare(T *p, int n, double tol, F want)
{
    T *h = (T *)malloc(n * sizeof(T));
    int wrong = 0;
    cuda_check(cudaMemcpy(h, p, n * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy", "a case");
    for (int i = 0; i < n && !wrong; i++) {
        double got = (double)h[i], expected = (double)want(i);
        wrong = !(fabs(got - expected) <= tol);
        if (wrong) printf("wrong: element %d is %g, not %g\n", i, got, expected);
    }
    free(h);
    cuda_check(cudaFree(p), "cudaFree", "a case");
    return wrong;
}

static inline float wave(int i) { return (float)(i * 37 % 101) / 101 - 0.5f; }

#endif
