/* What the products of gemm.cuh and gemm_thin.cuh read and write: operands and outputs, f32 or bf16.
 *
 * An operand has lines (rows of A, columns of B) along the depth: line(i) is what all of line i's elements
 * share, spot(k) what all elements at depth k share, at(line, spot) the element's address or NULL where it is
 * 0. DEPTH: neighbours along the depth lie side by side in memory, else neighbouring lines do. vector: so lie
 * groups of 16 bytes, one after the other from the first on, aligned, all of a group or none NULL. */
#ifndef KERNELS_GEMM_OPERANDS_CUH
#define KERNELS_GEMM_OPERANDS_CUH
#include "kernels/elements.cuh"

/* ---- operands ---- */

static __host__ __device__ inline bool gemm_aligned(const void *p, size_t bytes)
{
    return ((uintptr_t)p & (bytes - 1)) == 0;
}

/* What all operands have; T: float or Bf16. GROUP: elements in 16 bytes. four and one: what is at an address,
 * for kernels that read to registers. */
template <class T> struct GemmOperand {
    typedef T Element;
    static constexpr int GROUP = 16 / sizeof(T);
    const T *p;
    int64_t step; /* elements from one product's operand to the next's */
    bool vector;

    __device__ float4 four(const T *from) const
    {
        Pack<4> x = load_f32<4>(from);
        return float4{x.v[0], x.v[1], x.v[2], x.v[3]};
    }
    __device__ float one(const T *from) const { return number(*from); }
};

/* Whether groups of 16 bytes lie aligned in rows of `length` elements that are `ld` apart. */
template <class T> static inline bool gemm_groups(const T *p, int64_t ld, int64_t step, int length)
{
    return gemm_aligned(p, 16) && (ld | step | length) % GemmOperand<T>::GROUP == 0;
}

/* p[i ld + k] */
template <class T> struct GemmRows : GemmOperand<T> {
    static constexpr bool DEPTH = true;
    typedef int Line, Spot;
    int ld, lines, depth;

    GemmRows(const T *p, int ld, int64_t step, int lines, int depth)
        : GemmOperand<T>{p, step, gemm_groups(p, ld, step, depth)}, ld(ld), lines(lines), depth(depth)
    {
    }
    __device__ int line(int i) const { return i; }
    __device__ int spot(int k) const { return k; }
    __device__ const T *at(int i, int k) const
    {
        return i < lines && k < depth ? this->p + (int64_t)i * ld + k : NULL;
    }
};

/* p[k ld + i] */
template <class T> struct GemmColumns : GemmOperand<T> {
    static constexpr bool DEPTH = false;
    typedef int Line, Spot;
    int ld, lines, depth;

    GemmColumns(const T *p, int ld, int64_t step, int lines, int depth)
        : GemmOperand<T>{p, step, gemm_groups(p, ld, step, lines)}, ld(ld), lines(lines), depth(depth)
    {
    }
    __device__ int line(int i) const { return i; }
    __device__ int spot(int k) const { return k; }
    __device__ const T *at(int i, int k) const
    {
        return i < lines && k < depth ? this->p + (int64_t)k * ld + i : NULL;
    }
};

/* ---- result ---- */

/* C[m,n] = (add: C[m,n] +) alpha * product (+ bias[n]) (+ plus[m,n]), f32 or bf16; plus lies as C does. Others
 * derive from it: row(m), elements from p on, is negative to leave row m out; wants(m0) false: the products of
 * the tile that begins at row m0 are 0 and need not be computed; SPLITS false: it needs them whole. */
struct GemmOutput {
    static constexpr bool SPLITS = true;
    void *p;
    int64_t ld, step;
    const float *bias, *plus;
    float alpha;
    bool add, bf16, vector; /* vector: every fourth element is aligned to four */

    template <class T>
    __host__ __device__ GemmOutput(T *p, int64_t ld, bool add, float alpha = 1, const float *bias = NULL,
                                   int64_t step = 0)
        : GemmOutput((void *)p, sizeof(T) == 2, ld, add, alpha, bias, step)
    {
    }
    GemmOutput(Tensor *y, int64_t ld, bool add, float alpha = 1, const float *bias = NULL, int64_t step = 0)
        : GemmOutput(y->data, y->dtype == DTYPE_bf16, ld, add, alpha, bias, step)
    {
    }
    __device__ void advance(int products)
    {
        p = (char *)p + products * step * (int)(bf16 ? sizeof(Bf16) : sizeof(float));
    }
    __device__ bool wants(int) const { return true; }
    __device__ int64_t row(int m) const { return m * ld; }
    __device__ float value(int m, int n, float product) const
    {
        return alpha * product + (bias ? bias[n] : 0) + (plus ? plus[m * ld + n] : 0);
    }

  private:
    __host__ __device__ GemmOutput(void *p, bool bf16, int64_t ld, bool add, float alpha, const float *bias,
                                   int64_t step)
        : p(p), ld(ld), step(step), bias(bias), plus(NULL), alpha(alpha), add(add), bf16(bf16),
          vector(gemm_aligned(p, bf16 ? 8 : 16) && ld % 4 == 0 && step % 4 == 0)
    {
    }
};

/* What the products at (m,n) to (m,n+3) make of C; an output that knows better has its own. */
template <class C> static __device__ inline float4 gemm_values(const C &c, int m, int n, float4 v)
{
    return float4{c.value(m, n, v.x), c.value(m, n + 1, v.y), c.value(m, n + 2, v.z), c.value(m, n + 3, v.w)};
}

static __device__ inline void gemm_put_one(const GemmOutput &c, int64_t at, float v)
{
    if (c.bf16) {
        Bf16 *y = (Bf16 *)c.p + at;
        put(y, c.add ? number(*y) + v : v);
    } else {
        float *y = (float *)c.p + at;
        *y = c.add ? *y + v : v;
    }
}
template <class T> static __device__ inline void gemm_put_four(T *y, bool add, float4 v)
{
    Pack<4> x = {};
    if (add) x = load_f32<4>(y);
    store(y, Pack<4>{x.v[0] + v.x, x.v[1] + v.y, x.v[2] + v.z, x.v[3] + v.w});
}

/* Hands out the products at (m,n) to (m,n+3), as far as there are columns; n is a multiple of 4. */
template <class C> static __device__ inline void gemm_put(const C &c, int m, int n, int N, float4 v)
{
    int64_t at = c.row(m);
    if (at < 0) return;
    at += n;
    if (c.vector && n + 4 <= N) {
        v = gemm_values(c, m, n, v);
        if (c.bf16)
            gemm_put_four((Bf16 *)c.p + at, c.add, v);
        else
            gemm_put_four((float *)c.p + at, c.add, v);
        return;
    }
    const float product[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int e = 0; e < 4; e++)
        if (n + e < N) gemm_put_one(c, at + e, c.value(m, n + e, product[e]));
}
#endif
