/* Matrix products of plain row-major f32 arrays, for the ops that are made of them. */
#ifndef KERNELS_GEMM_H
#define KERNELS_GEMM_H
#include "tensor/tape.h"

/* C (M,N) = alpha op(A) op(B) + beta C, beta 0 or 1. op(A) is (M,K): A is stored (M,K), or (K,M) with
 * transpose_a; op(B) is (K,N): B is stored (K,N), or (N,K) with transpose_b. lda, ldb, ldc: elements from one
 * stored row to the next. With beta 0 what C held does not matter. Through oneDNN where it is built in. */
void gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, float alpha, const float *A,
          int64_t lda, const float *B, int64_t ldb, float beta, float *C, int64_t ldc);

/* The same on our own blocked loops: tiles of 12 x 16 from packed panels. The same bits for any number of
 * threads. */
void gemm_loops(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, float alpha,
                const float *A, int64_t lda, const float *B, int64_t ldb, float beta, float *C, int64_t ldc);

/* y[i] += x[i]. */
void add_into(float *y, const float *x, int64_t n);

/* Each of the rows of y (rows,C) becomes bias (C). */
void rows_fill(float *y, const float *bias, int64_t rows, int64_t C);

/* y (n) f32 = x (n) bf16. */
void bf16_row(const uint16_t *x, int64_t n, float *y);

/* sum[c] += sum over rows of x (rows,C): the gradient of a bias. Blocks of rows are summed in f32, the blocks
 * in double, in a fixed order. */
void rows_sum_add(Tape *t, float *sum, const float *x, int64_t rows, int64_t C);
#endif
