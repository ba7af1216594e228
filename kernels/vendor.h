/* cuBLAS, where it is: opened on first use, never needed. */
#ifndef KERNELS_VENDOR_H
#define KERNELS_VENDOR_H
#include "kernels/gemm.cuh"

/* c = op(a) op(b) as gemm_cuda(), a and b bf16, in f32 sums: same bits every run, nothing allocated but
 * scratch. False, and nothing done: there is no library, or the product is not for it (few rows, more to add,
 * rows that are not aligned). */
bool vendor_gemm(Tape *t, int M, int N, int K, const GemmMatrix &a, const GemmMatrix &b, const GemmOutput &c);
#endif
