/* Index of the largest element of each row, the lowest on ties; NaN is never chosen unless the row is all NaN,
 * which gives 0. x (R,V) -> i32 (R).
 *
 * Mapping: a block of 1024 threads a row, a thread takes four neighbours at a time and keeps its best; lanes,
 * then warps, compare. Bytes: 4 an element. Floor: bytes over bandwidth, but one row is one SM's: 128k logits
 * are 513 KB and, at the 64 KB that 1024 threads have in flight, about 5 us on any card. Splitting a row over
 * blocks would save most of that, 0.1 % of a decoded token. Log: never timed on a GPU. */
#include "kernels/elements.cuh"
#include <limits.h>

typedef struct Best {
    float value;
    int at;
} Best;

/* False for NaN. */
static inline __device__ Best better(Best a, Best b)
{
    return b.value > a.value || (b.value == a.value && b.at < a.at) ? b : a;
}

template <int V, int threads>
__global__ void __launch_bounds__(threads)
    argmax_forward_kernel(int *__restrict__ y, const float *__restrict__ x, int64_t n)
{
    SHARED_ARRAY(Best, part, [threads / 32]);
    const float *row = x + blockIdx.x * n;
    Best best = {-INFINITY, INT_MAX};
#pragma unroll 4
    for (int64_t i = (int64_t)threadIdx.x * V; i < n; i += threads * V) {
        Pack<V> p = load<V>(row + i);
#pragma unroll
        for (int j = 0; j < V; j++) best = better(best, Best{p.v[j], (int)i + j});
    }
#pragma unroll
    for (int d = 16; d; d /= 2)
        best = better(best, Best{__shfl_xor_sync(~0u, best.value, d), __shfl_xor_sync(~0u, best.at, d)});
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = best;
    __syncthreads();
    if (threadIdx.x) return;
    for (int i = 1; i < threads / 32; i++) best = better(best, part[i]);
    y[blockIdx.x] = best.at < INT_MAX ? best.at : 0;
}

extern "C" void argmax_forward_cuda(Tape *, Node *n)
{
    const float *x = f32(n->in[0]);
    int *y = (int *)n->out->data;
    int64_t R = n->in[0]->dim[0], V = n->in[0]->dim[1];
    if (V % 4 == 0 && wide(x))
        KERNEL_LAUNCH((argmax_forward_kernel<4, 1024>), (unsigned)R, 1024, 0, y, x, V);
    else
        KERNEL_LAUNCH((argmax_forward_kernel<1, 1024>), (unsigned)R, 1024, 0, y, x, V);
}
