/* 4-bit weights on the CPU: rows decoded to f32, and products with few rows straight from the packed codes. */
#ifndef KERNELS_QUANT_CPU_H
#define KERNELS_QUANT_CPU_H
#include "tensor/tensor.h"

/* Rows from..to-1 of W (N,K) as f32 into out (to-from,K). */
void quant_cpu_decode(const Tensor *w, int64_t from, int64_t to, float *out);

/* The weights k..k+count-1 of row n as f32 into out. */
void quant_cpu_decode_part(const Tensor *w, int64_t n, int64_t k, int64_t count, float *out);

/* The most rows of x that quant_cpu_product takes. */
enum { QUANT_CPU_ROWS = 4 };
/* Bytes of scratch that quant_cpu_product needs for W (N,K) and M rows. */
size_t quant_cpu_scratch(const Tensor *w, int64_t M);
/* y[m,n] = sum_k x[m,k] W[n,k], M <= QUANT_CPU_ROWS: every byte of W is read once. x (M,K), y (M,N). */
void quant_cpu_product(const Tensor *w, const float *x, int64_t M, float *y, void *scratch);
#endif
