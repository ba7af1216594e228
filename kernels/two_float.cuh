/* A sum held as the unevaluated sum of two floats (Knuth's two-sum): what an addition rounds off is kept in
 * `rest`. Good to about 2^-47 of the sum of the absolute values, so as good as double for a result in f32.
 *
 * Why not double: an element costs a conversion and an addition there, each at 1/64 of the f32 rate on GeForce.
 * An RTX 4090 does 128 SM x 2 x 2.5 GHz / 2 = 320 G elements/s and reads 252 G from memory: it would just
 * hide; an RTX 3090 139 G of 234 G: it would not, nor anything that lies in L2. Seven f32 operations (nine for
 * a square) make 4,500 G elements/s.
 *
 * As in double, an infinity stays one. Beyond f32's range a partial sum is infinite, in double it is not. */
#ifndef KERNELS_TWO_FLOAT_CUH
#define KERNELS_TWO_FLOAT_CUH
#include "kernels/cuda.cuh"

typedef struct TwoFloat {
    float sum, rest;
} TwoFloat;

/* No multiplication is fused into these additions: they have none. */
static inline __device__ void two_add(TwoFloat *t, float x)
{
    float sum = t->sum + x, back = sum - t->sum;
    t->rest += (t->sum - (sum - back)) + (x - back);
    t->sum = sum;
}
static inline __device__ void two_add_square(TwoFloat *t, float x)
{
    float square = __fmul_rn(x, x);
    two_add(t, square);
    t->rest += __fmaf_rn(x, x, -square);
}
static inline __device__ TwoFloat two_join(TwoFloat a, TwoFloat b)
{
    two_add(&a, b.sum);
    a.rest += b.rest;
    return a;
}
static inline __device__ double two_value(TwoFloat t)
{
    return t.rest == t.rest ? (double)t.sum + (double)t.rest : (double)t.sum;
}

/* Over a block of `threads` threads in a row (x), in a fixed order; valid in thread 0. */
template <int threads> static inline __device__ TwoFloat two_block(TwoFloat t CALLER)
{
    SHARED_ARRAY(TwoFloat, part, [threads / 32]);
#pragma unroll
    for (int d = 16; d; d /= 2) {
        TwoFloat other = {__shfl_xor_sync(~0u, t.sum, d, 32 THE_CALLER),
                          __shfl_xor_sync(~0u, t.rest, d, 32 THE_CALLER)};
        t = two_join(t, other);
    }
    CALLERS_SYNC(); /* the last call's reads are done */
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = t;
    CALLERS_SYNC();
    for (int i = 1; threadIdx.x == 0 && i < threads / 32; i++) t = two_join(t, part[i]);
    return t;
}
#endif
