/* Element by element: y[i] = f(x[i]...), or added. What unary, binary, swiglu and their kind are made of.
 *
 * Mapping: a thread takes four neighbours, one 16-byte load an input and one store, so that a warp moves whole
 * 512-byte lines; the ragged end goes one by one. Tensors are aligned to 256 bytes, and views to whole rows:
 * where a row is no multiple of four floats, all go one by one. */
#ifndef KERNELS_ELEMENTS_CUH
#define KERNELS_ELEMENTS_CUH
#include "kernels/cuda.cuh"

static inline float *f32(Tensor *x) { return (float *)x->data; }
static inline const float *f32(const Tensor *x) { return (const float *)x->data; }

/* y = f(x...) , or y += f(x...). */
template <bool add, class F, class... X>
__global__ void __launch_bounds__(256) elements_kernel(float *__restrict__ y, F f, int64_t n, X... x)
{
    int64_t i = ((int64_t)blockIdx.x * 256 + threadIdx.x) * 4;
    if (i + 4 <= n) {
        float4 out = add ? *(const float4 *)(y + i) : float4{};
        float v[4];
        auto one = [&](int j, auto... p) { v[j] = f(p[j]...); };
        auto all = [&](auto... q) {
            for (int j = 0; j < 4; j++) one(j, (const float *)&q...);
        };
        all(*(const float4 *)(x + i)...);
        out = add ? float4{out.x + v[0], out.y + v[1], out.z + v[2], out.w + v[3]}
                  : float4{v[0], v[1], v[2], v[3]};
        *(float4 *)(y + i) = out;
        return;
    }
    for (; i < n; i++) y[i] = (add ? y[i] : 0) + f(x[i]...);
}

/* The same, an element a thread. */
template <bool add, class F, class... X>
__global__ void __launch_bounds__(256) elements_single_kernel(float *__restrict__ y, F f, int64_t n, X... x)
{
    int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x;
    if (i < n) y[i] = (add ? y[i] : 0) + f(x[i]...);
}

template <bool add, class F, class... X>
static inline void launch_elements(float *y, F f, int64_t n, const X *...x)
{
    bool aligned = (((uintptr_t)y | ... | (uintptr_t)x) & 15) == 0;
    if (aligned)
        KERNEL_LAUNCH((elements_kernel<add, F, const X *...>), (unsigned)ceil_div(n, (int64_t)1024), 256, 0, y,
                      f, n, x...);
    else
        KERNEL_LAUNCH((elements_single_kernel<add, F, const X *...>), (unsigned)ceil_div(n, (int64_t)256), 256,
                      0, y, f, n, x...);
}
template <class F, class... X> static inline void map_elements(float *y, F f, int64_t n, const X *...x)
{
    launch_elements<false>(y, f, n, x...);
}
template <class F, class... X> static inline void add_elements(float *y, F f, int64_t n, const X *...x)
{
    launch_elements<true>(y, f, n, x...);
}
#endif
