/* The parts of matmul_q on the device. The tuned ones need K % 64 == 0 and arrays aligned to 16 bytes. */
#ifndef KERNELS_MATMUL_Q_CUH
#define KERNELS_MATMUL_Q_CUH
#include "kernels/quant.cuh"

enum { MATMUL_Q_FEW = 8 };

/* y (M,N) = x (M,K) W^T (+ bias), at most MATMUL_Q_FEW rows. */
void matmul_q_few(const Tensor *w, const float *x, const float *bias, int64_t M, float *y);

/* The same for any number of rows. */
void matmul_q_many(const Tensor *w, const float *x, const float *bias, int64_t M, float *y);

/* dx (M,K) += dy (M,N) W, N % 4 == 0. */
void matmul_q_dx(const Tensor *w, const float *dy, int64_t M, float *dx);

/* How many warps of a block's eight share what they make, each with its part of the depth: the fewer, the more
 * often what is read serves; but at least 128 blocks should come of it. blocks: with one warp a part. */
static inline int matmul_q_parts(int64_t blocks, int most)
{
    int parts = 1;
    while (parts < most && blocks * parts < 128) parts *= 2;
    return parts;
}
#endif
