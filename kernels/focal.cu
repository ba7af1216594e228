/* Sigmoid focal loss, k sum a m^gamma e, as in focal.c.
 *
 * Mapping: a block sums a chunk (of 4,096 elements, more where that would be over 256 chunks), in two floats a
 * thread, then over the block; a second launch of one block adds the chunks, a thread each, in a fixed order.
 * dx is one element-wise pass (elements.cuh).
 *
 * Bytes: forward 8 an element, backward 16. Floor: bytes over bandwidth; some 60 operations an element, five of
 * them in the special-function unit, hide behind them. Log: never timed on a GPU. */
#include "kernels/elements.cuh"
#include "kernels/two_float.cuh"

enum { FOCAL_THREADS = 256 /* and chunks at most */, FOCAL_CHUNK = 4096 /* at least */ };

struct FocalTerms {
    float p, q, a, e, m, power; /* q = 1 - p; power = m^gamma */
};

static inline __device__ FocalTerms focal_terms(float x, float y, const FocalParams &f)
{
    const float small = expf(-fabsf(x)), large = 1 / (1 + small), rest = small * large;
    FocalTerms s;
    s.p = x < 0 ? rest : large;
    s.q = x < 0 ? large : rest;
    s.a = f.alpha * y + (1 - f.alpha) * (1 - y);
    s.e = fmaxf(x, 0) - x * y + log1pf(small);
    s.m = s.p * (1 - y) + s.q * y;
    s.power = f.gamma == 2 ? s.m * s.m : powf(s.m, f.gamma);
    return s;
}

__global__ void __launch_bounds__(FOCAL_THREADS)
    focal_part_kernel(const float *__restrict__ x, const float *__restrict__ y, FocalParams f, int64_t n,
                      int64_t chunk, TwoFloat *__restrict__ part)
{
    const int64_t from = blockIdx.x * chunk, to = min(n, from + chunk);
    TwoFloat sum = {};
#pragma unroll 4
    for (int64_t i = from + threadIdx.x; i < to; i += FOCAL_THREADS) {
        const FocalTerms s = focal_terms(x[i], y[i], f);
        sum.add_product(s.a * s.power, s.e);
    }
    sum = block_sum<FOCAL_THREADS>(sum);
    if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(FOCAL_THREADS)
    focal_finish_kernel(const TwoFloat *__restrict__ part, int parts, float k, float *loss)
{
    TwoFloat sum = (int)threadIdx.x < parts ? part[threadIdx.x] : TwoFloat{};
    sum = block_sum<FOCAL_THREADS>(sum);
    if (threadIdx.x == 0) *loss = k * sum.value();
}

/* dloss lies on the device. */
struct FocalGradient {
    FocalParams f;
    const float *dloss;

    __device__ float operator()(float x, float y) const
    {
        const FocalTerms s = focal_terms(x, y, f);
        const float ratio = s.m > 0 ? s.p * s.q / s.m : 0;
        return f.k * *dloss * s.a * s.power * (s.p - y + f.gamma * ratio * (1 - 2 * y) * s.e);
    }
};

extern "C" void focal_forward_cuda(Tape *t, Node *n)
{
    const FocalParams f = *NODE_AS(FocalParams, n);
    const int64_t len = tensor_len(n->in[0]), chunks = ceil_div(len, (int64_t)FOCAL_CHUNK);
    const int64_t chunk = ceil_div(len, at_most(chunks, FOCAL_THREADS));
    const int parts = (int)ceil_div(len, chunk);
    TwoFloat *part = (TwoFloat *)scratch(t, (size_t)parts * sizeof *part);
    KERNEL_LAUNCH(focal_part_kernel, (unsigned)parts, FOCAL_THREADS, 0, f32(n->in[0]), f32(n->in[1]), f, len,
                  chunk, part);
    KERNEL_LAUNCH(focal_finish_kernel, 1, FOCAL_THREADS, 0, part, parts, f.k, f32(n->out));
}

extern "C" void focal_backward_cuda(Tape *, Node *n)
{
    if (!n->in[0]->grad) return;
    const FocalGradient g = {*NODE_AS(FocalParams, n), f32(n->out->grad)};
    const float *x = f32(n->in[0]), *y = f32(n->in[1]);
    add_elements(f32(n->in[0]->grad), g, tensor_len(n->in[0]), x, y);
}
