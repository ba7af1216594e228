/* One number from all elements, y = k sum x or k sum x^2: sum and sqnorm.
 *
 * Mapping: up to 1024 blocks, a thread takes four neighbours at a time, 16 bytes, and strides over x with two
 * floats of its own (two_float.cuh); a block leaves one partial sum, and a second launch of one block adds
 * those up. Which element goes where depends on n and alignment alone. Up to 8192 elements one block does it
 * all. Bytes: 4 an element. */
#ifndef KERNELS_SUMS_CUH
#define KERNELS_SUMS_CUH
#include "kernels/elements.cuh"
#include "kernels/two_float.cuh"

enum { SUM_BLOCKS = 1024 };

/* part: one a block; where there is but one block it writes y. */
template <int V, bool square>
__global__ void __launch_bounds__(256) sum_forward_kernel(TwoFloat *__restrict__ part, float *__restrict__ y,
                                                          float k, const float *__restrict__ x, int64_t n)
{
    TwoFloat t = {};
    auto take = [&](float v) { square ? t.add_product(v, v) : t.add(v); };
    int64_t i = ((int64_t)blockIdx.x * 256 + threadIdx.x) * V, step = (int64_t)gridDim.x * 256 * V;
#pragma unroll 4
    for (; i + V <= n; i += step) {
        Pack<V> p = load<V>(x + i);
#pragma unroll
        for (int j = 0; j < V; j++) take(p.v[j]);
    }
    for (; i < n; i++) take(x[i]);
    t = block_sum<256>(t);
    if (threadIdx.x) return;
    if (gridDim.x == 1)
        *y = (float)((double)k * t.exact());
    else
        part[blockIdx.x] = t;
}

template <int threads>
__global__ void __launch_bounds__(threads)
    sum_finish_kernel(float *__restrict__ y, float k, const TwoFloat *__restrict__ part, int n)
{
    TwoFloat t = {};
    for (int i = (int)threadIdx.x; i < n; i += threads) t.merge(part[i]);
    t = block_sum<threads>(t);
    if (threadIdx.x == 0) *y = (float)((double)k * t.exact());
}

template <bool square> static inline void sum_all(Tape *tape, float *y, float k, const float *x, int64_t n)
{
    unsigned blocks = (unsigned)at_most(ceil_div(n, (int64_t)8192), SUM_BLOCKS);
    TwoFloat *part = (TwoFloat *)scratch(tape, blocks * sizeof *part);
    if (wide(x))
        KERNEL_LAUNCH((sum_forward_kernel<4, square>), blocks, 256, 0, part, y, k, x, n);
    else
        KERNEL_LAUNCH((sum_forward_kernel<1, square>), blocks, 256, 0, part, y, k, x, n);
    if (blocks > 1) KERNEL_LAUNCH((sum_finish_kernel<256>), 1, 256, 0, y, k, part, (int)blocks);
}
#endif
