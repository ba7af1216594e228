/* Products of many rows with 4-bit weights, in f32. */
#ifndef KERNELS_QUANT_GEMM_H
#define KERNELS_QUANT_GEMM_H
#include "tensor/tensor.h"

/* Bytes of scratch that quant_gemm needs: 512 rows of x once more, and 200 KiB a thread. */
size_t quant_gemm_scratch(const Tensor *w, int64_t M);
/* y[m,n] = (add ? y[m,n] : 0) + sum_k x[m,k] W[n,k], any format, x (M,K), W (N,K), y (M,N). The decoded weight
 * never exists whole. Bits do not depend on the thread count. */
void quant_gemm(const Tensor *w, const float *x, int64_t M, bool add, float *y, void *scratch);
#endif
