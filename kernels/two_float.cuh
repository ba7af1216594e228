/* Sums as two floats, where the CPU sums in double: hi + lo, |lo| about half an ulp of hi, so 48 bits for a
 * handful of f32 operations each (Knuth's two-sum, Dekker's product by fused multiply-add). The intrinsics keep
 * the compiler from contracting what must round. Merging is commutative bit by bit.
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

struct TwoFloat {
    float hi, lo;

    __device__ void add(float v)
    {
        float s = __fadd_rn(hi, v), b = __fsub_rn(s, hi);
        lo = __fadd_rn(lo, __fadd_rn(__fsub_rn(hi, __fsub_rn(s, b)), __fsub_rn(v, b)));
        hi = s;
    }
    __device__ void add_product(float a, float b)
    {
        float p = __fmul_rn(a, b);
        add(p);
        lo = __fadd_rn(lo, __fmaf_rn(a, b, -p));
    }
    __device__ void merge(TwoFloat s)
    {
        float both = __fadd_rn(lo, s.lo);
        lo = 0;
        add(s.hi);
        lo = __fadd_rn(lo, both);
    }
    /* An infinite sum has no remainder. */
    __device__ float value() const { return lo == lo ? hi + lo : hi; }
    __device__ double exact() const { return lo == lo ? (double)hi + (double)lo : (double)hi; }
};

static inline __device__ TwoFloat joined(TwoFloat a, TwoFloat b)
{
    a.merge(b);
    return a;
}

static inline __device__ TwoFloat two_floats(double x)
{
    float hi = (float)x;
    return {hi, (float)(x - (double)hi)};
}

/* (a.hi + a.lo) (b.hi + b.lo) */
static inline __device__ TwoFloat product(TwoFloat a, TwoFloat b)
{
    float p = __fmul_rn(a.hi, b.hi), e = __fmaf_rn(a.hi, b.hi, -p);
    e = __fmaf_rn(a.hi, b.lo, __fmaf_rn(a.lo, b.hi, e));
    float hi = __fadd_rn(p, e);
    return {hi, __fadd_rn(e, -__fsub_rn(hi, p))};
}

/* Over `lanes` neighbouring lanes, all of the warp taking part; over a block of `threads` in a row (x). */
template <int lanes> static inline __device__ TwoFloat lane_sum(TwoFloat v CALLER)
{
#pragma unroll
    for (int d = lanes / 2; d; d /= 2) {
        TwoFloat other = {__shfl_xor_sync(~0u, v.hi, d, 32 THE_CALLER),
                          __shfl_xor_sync(~0u, v.lo, d, 32 THE_CALLER)};
        v.merge(other);
    }
    return v;
}

template <int threads> static inline __device__ TwoFloat block_sum(TwoFloat v CALLER)
{
    SHARED_ARRAY(TwoFloat, part, [threads / 32]);
    v = lane_sum<32>(v THE_CALLER);
    CALLERS_SYNC(); /* the last call's reads are done */
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    CALLERS_SYNC();
    v = part[0];
    for (int i = 1; i < threads / 32; i++) v.merge(part[i]);
    return v;
}
#endif
