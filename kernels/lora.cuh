/* The low-rank term of matmul and matmul_q on CUDA: what kernels/lora.h says of lora_forward and lora_backward;
 * and, for kernels that have the rest of an output at hand, the term by itself. In lora.cu. */
#ifndef KERNELS_LORA_CUH
#define KERNELS_LORA_CUH
#include "kernels/elements.cuh"
#include "tensor/rng.h"

/* The mask: what dropout_scale (tensor/rng.h) says of elements of x, four at a time. */
struct LoraMask {
    uint64_t seed, call;
    float dropout;

    /* of i..i+3, i a multiple of 4 */
    __device__ float4 four(uint64_t i) const
    {
        uint64_t block = i / 4;
        Philox r = philox4x32((uint32_t)block, (uint32_t)(block >> 32), (uint32_t)call, (uint32_t)(call >> 32),
                              (uint32_t)seed, (uint32_t)(seed >> 32));
        float keep = 1.0f / (1.0f - dropout), v[4];
#pragma unroll
        for (int j = 0; j < 4; j++) v[j] = philox_unit(r.v[j]) < dropout ? 0.0f : keep;
        return float4{v[0], v[1], v[2], v[3]};
    }
    __device__ float one(uint64_t i) const
    {
        float4 v = four(i & ~(uint64_t)3);
        return i & 2 ? (i & 1 ? v.w : v.z) : (i & 1 ? v.y : v.x);
    }
};

/* What is still to be added to y (u = dropout(x) A^T, w = B) or to dx (u = s dy B, w = A), in f32 throughout.
 * rank 0: nothing. */
struct LoraTerm {
    const float *u, *w;
    int rank;
    int64_t K; /* of x */
    float scale;
    LoraMask mask;

    /* To y[m,n]. */
    __device__ float y(int64_t m, int64_t n) const
    {
        float sum = 0;
#pragma unroll 1
        for (int j = 0; j < rank; j++) sum += u[m * rank + j] * w[n * rank + j];
        return scale * sum;
    }
    /* sum(i,j) += what is to be added to y[m[i],n[j]]. */
    template <int I, int J, class Sum>
    __device__ void add_y(const int (&m)[I], const int (&n)[J], Sum sum) const
    {
#pragma unroll 1
        for (int r = 0; r < rank; r++) {
            float b[J];
#pragma unroll
            for (int j = 0; j < J; j++) b[j] = scale * w[(int64_t)n[j] * rank + r];
#pragma unroll
            for (int i = 0; i < I; i++) {
                float a = u[(int64_t)m[i] * rank + r];
#pragma unroll
                for (int j = 0; j < J; j++) sum(i, j) += a * b[j];
            }
        }
    }
    /* To dx[m,k]. */
    __device__ float dx(int64_t m, int64_t k) const
    {
        float sum = 0;
#pragma unroll 1
        for (int j = 0; j < rank; j++) sum += u[m * rank + j] * w[j * K + k];
        return mask.dropout == 0 ? sum : sum * mask.one((uint64_t)(m * K + k));
    }
    /* To dx[m,k..k+3] and dx[m,l..l+3], all multiples of 4. */
    __device__ void dx_fours(int64_t m, int64_t k, int64_t l, float (&first)[4], float (&second)[4]) const
    {
#pragma unroll
        for (int e = 0; e < 4; e++) first[e] = second[e] = 0;
#pragma unroll 1
        for (int j = 0; j < rank; j++) {
            float a = u[m * rank + j];
            Pack<4> b = load<4>(w + j * K + k), c = load<4>(w + j * K + l);
#pragma unroll
            for (int e = 0; e < 4; e++) {
                first[e] += a * b.v[e];
                second[e] += a * c.v[e];
            }
        }
        if (mask.dropout == 0 || !rank) return;
        float4 b = mask.four((uint64_t)(m * K + k)), c = mask.four((uint64_t)(m * K + l));
        const float keep[2][4] = {{b.x, b.y, b.z, b.w}, {c.x, c.y, c.z, c.w}};
#pragma unroll
        for (int e = 0; e < 4; e++) {
            first[e] *= keep[0][e];
            second[e] *= keep[1][e];
        }
    }
};

/* All but y += the term: writes saved[0]. */
LoraTerm lora_forward_term(Tape *t, Node *n);

/* All but dx += the term: adds into the gradients of A and B where they exist. */
LoraTerm lora_backward_term(Tape *t, Node *n);

/* Writes saved[0] and adds the term to n->out, which already holds the rest. Nothing to do without LoRA. */
void lora_forward_cuda(Tape *t, Node *n);

/* Adds into the gradients of x, A and B where they exist. Nothing to do without LoRA. */
void lora_backward_cuda(Tape *t, Node *n);
#endif
