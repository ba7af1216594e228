/* Multi-label cross-entropy on logits, k sum weight (max(x,0) - x y + log(1 + exp(-|x|))).
 *
 * Mapping: a block sums a chunk (of 4,096 elements, more where that would be over 256 chunks), in two floats a
 * thread, then over the block; a second launch of one block adds the chunks, a thread each, in a fixed order.
 * dx = k weight (sigmoid(x) - y) dy is one element-wise pass (elements.cuh).
 *
 * Bytes: forward 8 an element, 12 with weights; backward 8 more, for dx. Floor: bytes over bandwidth. Log:
 * never timed on a GPU. */
#include "kernels/elements.cuh"
#include "kernels/two_float.cuh"

enum { MULTILABEL_THREADS = 256 /* and chunks at most */, MULTILABEL_CHUNK = 4096 /* at least */ };

__global__ void __launch_bounds__(MULTILABEL_THREADS)
    multilabel_part_kernel(const float *__restrict__ x, const float *__restrict__ y,
                           const float *__restrict__ weight, int64_t n, int64_t chunk,
                           TwoFloat *__restrict__ part)
{
    const int64_t from = blockIdx.x * chunk, to = min(n, from + chunk);
    TwoFloat sum = {};
#pragma unroll 4
    for (int64_t i = from + threadIdx.x; i < to; i += MULTILABEL_THREADS) {
        const float v = x[i], w = weight ? weight[i] : 1;
        sum.add_product(w, fmaxf(v, 0) - v * y[i] + log1pf(expf(-fabsf(v))));
    }
    sum = block_sum<MULTILABEL_THREADS>(sum);
    if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(MULTILABEL_THREADS)
    multilabel_finish_kernel(const TwoFloat *__restrict__ part, int parts, float k, float *loss)
{
    TwoFloat sum = (int)threadIdx.x < parts ? part[threadIdx.x] : TwoFloat{};
    sum = block_sum<MULTILABEL_THREADS>(sum);
    if (threadIdx.x == 0) *loss = k * sum.value();
}

/* dloss lies on the device. */
struct MultilabelGradient {
    float k;
    const float *dloss;

    __device__ float operator()(float x, float y) const { return k * *dloss * (1 / (1 + expf(-x)) - y); }
    __device__ float operator()(float x, float y, float weight) const { return weight * (*this)(x, y); }
};

extern "C" void multilabel_forward_cuda(Tape *t, Node *n)
{
    const int64_t len = tensor_len(n->in[0]), chunks = ceil_div(len, (int64_t)MULTILABEL_CHUNK);
    const int64_t chunk = ceil_div(len, chunks < MULTILABEL_THREADS ? chunks : (int64_t)MULTILABEL_THREADS);
    const int parts = (int)ceil_div(len, chunk);
    TwoFloat *part = (TwoFloat *)scratch(t, (size_t)parts * sizeof *part);
    KERNEL_LAUNCH(multilabel_part_kernel, (unsigned)parts, MULTILABEL_THREADS, 0, f32(n->in[0]), f32(n->in[1]),
                  n->in[2] ? f32(n->in[2]) : NULL, len, chunk, part);
    KERNEL_LAUNCH(multilabel_finish_kernel, 1, MULTILABEL_THREADS, 0, part, parts,
                  NODE_AS(MultilabelParams, n)->k, f32(n->out));
}

extern "C" void multilabel_backward_cuda(Tape *, Node *n)
{
    if (!n->in[0]->grad) return;
    const MultilabelGradient g = {NODE_AS(MultilabelParams, n)->k, f32(n->out->grad)};
    const float *x = f32(n->in[0]), *y = f32(n->in[1]);
    float *dx = f32(n->in[0]->grad);
    if (n->in[2])
        add_elements(dx, g, tensor_len(n->in[0]), x, y, (const float *)f32(n->in[2]));
    else
        add_elements(dx, g, tensor_len(n->in[0]), x, y);
}
