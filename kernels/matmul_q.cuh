/* The parts of matmul_q on the device. The tuned ones need K % 64 == 0 and arrays aligned to 16 bytes. */
#ifndef KERNELS_MATMUL_Q_CUH
#define KERNELS_MATMUL_Q_CUH
#include "kernels/elements.cuh"
#include "kernels/lora.cuh"
#include "kernels/quant.cuh"

enum { MATMUL_Q_FEW = 8 };

/* Forward: out (M,N) = in (M,K) W^T (+ bias) (+ lora). Backward: out (M,K) += in (M,N) W (+ lora). */
template <class In, class Out = In> struct MatmulQ {
    const Tensor *w;
    const In *in;
    const float *bias;
    LoraTerm lora;
    int64_t M;
    Out *out;
};

/* Forward, at most MATMUL_Q_FEW rows. */
void matmul_q_few(const MatmulQ<float> &q);

/* Forward, for any number of rows; made for at most 64 if x is bf16. */
void matmul_q_many(const MatmulQ<float> &q);
void matmul_q_many(const MatmulQ<Bf16> &q);

/* Backward, N % 4 == 0. */
void matmul_q_dx(const MatmulQ<float> &q);

/* Forward and backward in bf16, for many rows. Backward, in is dy rounded, N % 8 == 0. */
void matmul_q_tiles(const MatmulQ<Bf16> &q);
void matmul_q_tiles_dx(const MatmulQ<Bf16, float> &q);

/* Blocks of 64 rows of the output that matmul_q_tiles makes. */
static inline int64_t matmul_q_tiles_blocks(int64_t M, int64_t columns)
{
    return ceil_div(M, (int64_t)64) * ceil_div(columns, (int64_t)128);
}

/* How many of a block's warps share what they make, each with its part of the depth: the fewer, the more
 * often what is read serves; but at least 128 blocks should come of it. blocks: with one warp a part. */
static inline int matmul_q_parts(int64_t blocks, int most)
{
    int parts = 1;
    while (parts < most && blocks * parts < 128) parts *= 2;
    return parts;
}
#endif
