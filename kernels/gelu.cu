/* y = x F(x), F(x) = 1/2 (1 + erf(x / sqrt 2)); dx = dy (F(x) + x f(x)), f(x) = exp(-x^2/2) / sqrt(2 pi).
 *
 * Mapping: a thread takes four neighbours (elements.cuh); F is computed again in backward. Bytes an element:
 * forward 8 (bf16 4), backward 16 (14). Floor: bytes over bandwidth; about 25 operations an element for erf and
 * the exponential hide behind them. Log: never timed on a GPU. */
#include "kernels/elements.cuh"

static inline __device__ float normal_mass(float x) { return 0.5f * (1 + erff(x * 0.7071067812f)); }

struct gelu_y {
    __device__ float operator()(float x) const { return x * normal_mass(x); }
};
struct gelu_dx {
    __device__ float operator()(float x, float dy) const
    {
        return dy * (normal_mass(x) + x * (0.3989422804f * expf(-0.5f * x * x)));
    }
};

extern "C" void gelu_forward_cuda(Tape *, Node *n)
{
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        map_elements(elements<T>(n->out), gelu_y{}, tensor_len(n->out), (const T *)n->in[0]->data);
    });
}

extern "C" void gelu_backward_cuda(Tape *, Node *n)
{
    if (!n->in[0]->grad) return;
    with_type(n->in[0], [&](auto type) {
        const decltype(type) *x = elements<decltype(type)>(n->in[0]);
        add_elements(f32(n->in[0]->grad), gelu_dx{}, tensor_len(n->out), x, (const float *)f32(n->out->grad));
    });
}
