/* Element by element: y[i] = f(x[i]...), or added. What unary, binary, swiglu and their kind are made of.
 *
 * Mapping: a thread takes four neighbours, one access an input and one for the output (16 bytes, of bf16 8), so
 * that a warp moves whole lines; the ragged end goes one by one. Tensors are aligned to 256 bytes, and views to
 * whole rows: where a row is no multiple of four elements, all go one by one. Whatever the type in memory,
 * formulas and sums are f32. */
#ifndef KERNELS_ELEMENTS_CUH
#define KERNELS_ELEMENTS_CUH
#include "kernels/cuda.cuh"

static inline float *f32(Tensor *x) { return (float *)x->data; }
static inline const float *f32(const Tensor *x) { return (const float *)x->data; }

static inline int64_t at_most(int64_t n, int64_t limit) { return n < limit ? n : limit; }

/* Activations are f32 or bf16 (Tape.compute), gradients f32. */
typedef __nv_bfloat16 Bf16;

/* f(T{}) with T the type of x's elements; host.die for any other. */
template <class F> static inline void with_type(const Tensor *x, F f)
{
    if (x->dtype == DTYPE_f32)
        f(float{});
    else if (x->dtype == DTYPE_bf16)
        f(Bf16{});
    else
        host.die("cuda: a tensor of type %d where an activation was expected", (int)x->dtype);
}
template <class T> static inline T *elements(Tensor *x) { return (T *)x->data; }
template <class T> static inline const T *elements(const Tensor *x) { return (const T *)x->data; }

static inline __device__ float number(float x) { return x; }
static inline __device__ float number(Bf16 x) { return __bfloat162float(x); }
static inline __device__ void put(float *p, float x) { *p = x; }
static inline __device__ void put(Bf16 *p, float x) { *p = __float2bfloat16_rn(x); }

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
/* As f32, from and to either type. */
template <int V> static inline __device__ Pack<V> load_f32(const float *p) { return load<V>(p); }
template <int V> static inline __device__ Pack<V> load_f32(const Bf16 *p)
{
    Pack<V, Bf16> x = load<V>(p);
    Pack<V> y;
#pragma unroll
    for (int j = 0; j < V; j++) y.v[j] = number(x.v[j]);
    return y;
}
template <int V> static inline __device__ void store(Bf16 *p, const Pack<V> &x)
{
    Pack<V, Bf16> y;
#pragma unroll
    for (int j = 0; j < V; j++) y.v[j] = __float2bfloat16_rn(x.v[j]);
    store(p, y);
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
template <class... P> static inline __host__ __device__ bool wide(const P *...p)
{
    return (0 | ... | ((uintptr_t)p & (4 * sizeof(P) - 1))) == 0;
}
/* Whether two gradients of length n share nothing: one kernel may then add to both. */
static inline bool apart(const float *a, const float *b, int64_t n) { return a + n <= b || b + n <= a; }

/* y = f(x...), or y += f(x...). */
template <int V, bool add, class F, class Y, class... X>
__global__ void __launch_bounds__(256) elements_kernel(Y *__restrict__ y, F f, int64_t n, X... x)
{
    int64_t i = ((int64_t)blockIdx.x * 256 + threadIdx.x) * V;
    if (i + V <= n) {
        Pack<V> out = {};
        if (add) out = load_f32<V>(y + i);
        auto each = [&](auto... p) {
#pragma unroll
            for (int j = 0; j < V; j++) out.v[j] = add ? out.v[j] + f(p.v[j]...) : f(p.v[j]...);
        };
        each(load_f32<V>(x + i)...);
        store(y + i, out);
        return;
    }
    for (; i < n; i++) put(y + i, add ? number(y[i]) + f(number(x[i])...) : f(number(x[i])...));
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
        each(load_f32<V>(x + i)...);
        add_to(y + i, a);
        add_to(z + i, b);
        return;
    }
    for (; i < n; i++) {
        float2 both = f(number(x[i])...);
        y[i] += both.x;
        z[i] += both.y;
    }
}

template <bool add, class F, class Y, class... X>
static inline void launch_elements(Y *y, F f, int64_t n, const X *...x)
{
    if (wide(y, x...))
        KERNEL_LAUNCH((elements_kernel<4, add, F, Y, const X *...>), (unsigned)ceil_div(n, (int64_t)1024), 256,
                      0, y, f, n, x...);
    else
        KERNEL_LAUNCH((elements_kernel<1, add, F, Y, const X *...>), (unsigned)ceil_div(n, (int64_t)256), 256,
                      0, y, f, n, x...);
}
template <class F, class Y, class... X> static inline void map_elements(Y *y, F f, int64_t n, const X *...x)
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

/* y = f(a, b) of an op of two inputs of y's type. */
template <class F> static inline void map_pairs(Node *n, F f)
{
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        map_elements(elements<T>(n->out), f, tensor_len(n->out), (const T *)n->in[0]->data,
                     (const T *)n->in[1]->data);
    });
}

/* Its gradients: `both` gives the pair, da and db one alone. */
template <class Both, class A, class B> static inline void add_gradients(Node *n, Both both, A da, B db)
{
    Tensor *a = n->in[0], *b = n->in[1];
    int64_t len = tensor_len(n->out);
    const float *dy = f32(n->out->grad);
    with_type(n->out, [&](auto type) {
        const decltype(type) *x = elements<decltype(type)>(a), *y = elements<decltype(type)>(b);
        if (a->grad && b->grad && apart(f32(a->grad), f32(b->grad), len)) {
            add_element_pairs(f32(a->grad), f32(b->grad), both, len, x, y, dy);
            return;
        }
        if (a->grad) add_elements(f32(a->grad), da, len, x, y, dy);
        if (b->grad) add_elements(f32(b->grad), db, len, x, y, dy);
    });
}
#endif
