/* Products of few rows with a planar 4-bit weight (nf4, fp4), straight from its codes. */
#ifndef KERNELS_QUANT_PLANAR_H
#define KERNELS_QUANT_PLANAR_H
#include "tensor/tensor.h"

/* The absmax of blocks first..first+n-1: where they lie, or unpacked into room (n). */
const float *quant_planar_scales(const Quant *q, int64_t first, int64_t n, float *room);

/* Floats of scratch that quant_planar_product needs. */
int64_t quant_planar_scratch(const Tensor *w, int64_t M);
/* y[m,n] = sum_k x[m,k] W[n,k] for W (N,K), K a multiple of 64, x (M,K), M <= QUANT_CPU_ROWS. */
void quant_planar_product(const Tensor *w, const float *x, int64_t M, float *y, float *scratch);
#endif
