/* y = silu(g) u, silu(g) = g s, s = 1/(1 + exp(-g)). dg = dy u s (1 + g (1 - s)), du = dy g s, in one pass.
 *
 * Mapping: a thread takes four neighbours (elements.cuh); s is computed again in backward. Bytes an element:
 * forward 12 (bf16 6), backward 28 (24). Floor: bytes over bandwidth; an exponential and a division an element
 * hide behind them. Log: never timed on a GPU. */
#include "kernels/elements.cuh"

static inline __device__ float sigmoid(float g) { return 1 / (1 + expf(-g)); }

struct swiglu_y {
    __device__ float operator()(float g, float u) const { return g * sigmoid(g) * u; }
};
struct swiglu_both {
    __device__ float2 operator()(float g, float u, float dy) const
    {
        float s = sigmoid(g);
        return float2{dy * u * s * (1 + g * (1 - s)), dy * g * s};
    }
};
struct swiglu_dg {
    __device__ float operator()(float g, float u, float dy) const { return swiglu_both()(g, u, dy).x; }
};
struct swiglu_du {
    __device__ float operator()(float g, float u, float dy) const { return swiglu_both()(g, u, dy).y; }
};

extern "C" void swiglu_forward_cuda(Tape *, Node *n) { map_pairs(n, swiglu_y{}); }

extern "C" void swiglu_backward_cuda(Tape *, Node *n)
{
    add_gradients(n, swiglu_both{}, swiglu_dg{}, swiglu_du{});
}
