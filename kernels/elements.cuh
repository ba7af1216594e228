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

static inline int64_t at_most(int64_t n, int64_t limit) { return n < limit ? n : limit; }

/* V neighbours, moved by one access. */
template <int V, class T = float> struct alignas(V * sizeof(T)) Pack {
    T v[V];
};
template <int V, class T> static inline __device__ Pack<V, T> load(const T *p)
{
    return *(const Pack<V, T> *)p;
}
template <int V, class T> static inline __device__ void store(T *p, const Pack<V, T> &x)
{
    *(Pack<V, T> *)p = x;
}
/* p += k x */
template <int V> static inline __device__ void add_to(float *p, const Pack<V> &x, float k = 1)
{
    Pack<V> y = load<V>(p);
#pragma unroll
    for (int j = 0; j < V; j++) y.v[j] += k * x.v[j];
    store(p, y);
}

/* Whether all may be moved in fours (NULL does not object). */
template <class... P> static inline bool wide(const P *...p) { return ((0 | ... | (uintptr_t)p) & 15) == 0; }
/* Whether two gradients of length n share nothing: one kernel may then add to both. */
static inline bool apart(const float *a, const float *b, int64_t n) { return a + n <= b || b + n <= a; }

/* y = f(x...), or y += f(x...). */
template <int V, bool add, class F, class... X>
__global__ void __launch_bounds__(256) elements_kernel(float *__restrict__ y, F f, int64_t n, X... x)
{
    int64_t i = ((int64_t)blockIdx.x * 256 + threadIdx.x) * V;
    if (i + V <= n) {
        Pack<V> out = {};
        if (add) out = load<V>(y + i);
        auto each = [&](auto... p) {
#pragma unroll
            for (int j = 0; j < V; j++) out.v[j] = add ? out.v[j] + f(p.v[j]...) : f(p.v[j]...);
        };
        each(load<V>(x + i)...);
        store(y + i, out);
        return;
    }
    for (; i < n; i++) y[i] = add ? y[i] + f(x[i]...) : f(x[i]...);
}

/* Two sums from one pass over their inputs: y += f(x...).x, z += f(x...).y. */
template <int V, class F, class... X>
__global__ void __launch_bounds__(256)
    elements_pair_kernel(float *__restrict__ y, float *__restrict__ z, F f, int64_t n, X... x)
{
    int64_t i = ((int64_t)blockIdx.x * 256 + threadIdx.x) * V;
    if (i + V <= n) {
        Pack<V> a, b;
        auto each = [&](auto... p) {
#pragma unroll
            for (int j = 0; j < V; j++) {
                float2 both = f(p.v[j]...);
                a.v[j] = both.x;
                b.v[j] = both.y;
            }
        };
        each(load<V>(x + i)...);
        add_to(y + i, a);
        add_to(z + i, b);
        return;
    }
    for (; i < n; i++) {
        float2 both = f(x[i]...);
        y[i] += both.x;
        z[i] += both.y;
    }
}

template <bool add, class F, class... X>
static inline void launch_elements(float *y, F f, int64_t n, const X *...x)
{
    if (wide(y, x...))
        KERNEL_LAUNCH((elements_kernel<4, add, F, const X *...>), (unsigned)ceil_div(n, (int64_t)1024), 256, 0,
                      y, f, n, x...);
    else
        KERNEL_LAUNCH((elements_kernel<1, add, F, const X *...>), (unsigned)ceil_div(n, (int64_t)256), 256, 0,
                      y, f, n, x...);
}
template <class F, class... X> static inline void map_elements(float *y, F f, int64_t n, const X *...x)
{
    launch_elements<false>(y, f, n, x...);
}
template <class F, class... X> static inline void add_elements(float *y, F f, int64_t n, const X *...x)
{
    launch_elements<true>(y, f, n, x...);
}
/* y and z must be apart. */
template <class F, class... X>
static inline void add_element_pairs(float *y, float *z, F f, int64_t n, const X *...x)
{
    if (wide(y, z, x...))
        KERNEL_LAUNCH((elements_pair_kernel<4, F, const X *...>), (unsigned)ceil_div(n, (int64_t)1024), 256, 0,
                      y, z, f, n, x...);
    else
        KERNEL_LAUNCH((elements_pair_kernel<1, F, const X *...>), (unsigned)ceil_div(n, (int64_t)256), 256, 0,
                      y, z, f, n, x...);
}

/* The gradients of an op of two inputs: `both` gives the pair, da and db one alone. */
template <class Both, class A, class B> static inline void add_gradients(Node *n, Both both, A da, B db)
{
    Tensor *a = n->in[0], *b = n->in[1];
    int64_t len = tensor_len(n->out);
    const float *dy = f32(n->out->grad);
    if (a->grad && b->grad && apart(f32(a->grad), f32(b->grad), len)) {
        add_element_pairs(f32(a->grad), f32(b->grad), both, len, f32(a), f32(b), dy);
        return;
    }
    if (a->grad) add_elements(f32(a->grad), da, len, f32(a), f32(b), dy);
    if (b->grad) add_elements(f32(b->grad), db, len, f32(a), f32(b), dy);
}
#endif
