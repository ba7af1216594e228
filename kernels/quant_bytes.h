/* Products with q4_0 weights by integer dot products of bytes (VNNI), to the accuracy of floats. */
#ifndef KERNELS_QUANT_BYTES_H
#define KERNELS_QUANT_BYTES_H
#include "tensor/tensor.h"

/* Whether this processor, and VEC_LEVEL, and W (N,K) allow it: K a multiple of 32. */
bool quant_bytes_fit(const Tensor *w);

/* Bytes of scratch that quant_bytes_product needs. */
size_t quant_bytes_scratch(const Tensor *w, int64_t M);
/* y[m,n] = sum_k x[m,k] W[n,k], x (M,K), M <= QUANT_CPU_ROWS. A block of 32 of x is 24-bit integers times a
 * power of two: what is under 2^-24 of its largest magnitude is rounded off, as is everything of a block that
 * is under 2^-126 whole. Infinities and NaNs of x give NaN. */
void quant_bytes_product(const Tensor *w, const float *x, int64_t M, float *y, void *scratch);
#endif
