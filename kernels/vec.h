/* Portable SIMD for kernels' inner loops: sixteen floats as one value (GCC's and clang's vector extension), and
 * functions compiled three times (AVX-512, AVX2, plain) of which the running CPU's is called. A vector
 * function's body is written once:
 *
 *   VEC_BODY(name, (const float *x, int64_t n), { ... })
 *   VEC_FUNCTION(name, (const float *x, int64_t n), (x, n))
 *
 * defines static void name(...). Vectors are never passed or returned by value between functions that are not
 * inlined: the calling convention differs between targets. Multiply-adds are fused in files that include this.
 */
#ifndef KERNELS_VEC_H
#define KERNELS_VEC_H
#include <stdint.h>

#ifdef __clang__
#pragma clang fp contract(fast)
#else
#pragma GCC optimize("fp-contract=fast")
#endif

enum { VEC = 16 };
typedef float Vec __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t VecInt __attribute__((vector_size(64), aligned(4), may_alias));

#define VEC_LOAD(p)     (*(const Vec *)(p))
#define VEC_STORE(p, v) (*(Vec *)(p) = (v))

#define VEC_BODY(name, params, ...)                                                                            \
    static inline __attribute__((always_inline)) void name##_body params __VA_ARGS__
#if defined(__x86_64__)
#define VEC_FUNCTION(name, params, args)                                                                       \
    __attribute__((                                                                                            \
        target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))) static inline void name##_avx512 params        \
    {                                                                                                          \
        name##_body args;                                                                                      \
    }                                                                                                          \
    __attribute__((target("avx2,fma"))) static inline void name##_avx2 params { name##_body args; }            \
    static inline void name##_plain params { name##_body args; }                                               \
    static inline void name params                                                                             \
    {                                                                                                          \
        if (vec_level() >= 2)                                                                                  \
            name##_avx512 args;                                                                                \
        else if (vec_level() == 1)                                                                             \
            name##_avx2 args;                                                                                  \
        else                                                                                                   \
            name##_plain args;                                                                                 \
    }
#else
#define VEC_FUNCTION(name, params, args)                                                                       \
    static inline void name params { name##_body args; }
#endif

/* The highest level that may be used: 3, or what the environment variable VEC_LEVEL says. */
extern int vec_limit;

/* 3: AVX-512 with dot products of bytes and permutations of bytes (VNNI, VBMI), 2: AVX-512, 1: AVX2, 0: none.
 */
static inline int vec_level(void)
{
#if defined(__x86_64__)
    if (vec_limit >= 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return vec_limit >= 3 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi")
                   ? 3
                   : 2;
    if (vec_limit >= 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
    return 0;
}

static inline __attribute__((always_inline)) float vec_sum(const Vec *v)
{
    float x[VEC];
    for (int i = 0; i < VEC; i++) x[i] = (*v)[i];
    for (int half = VEC / 2; half; half /= 2)
        for (int i = 0; i < half; i++) x[i] += x[i + half];
    return x[0];
}

/* *v = max(*v, *w), lane by lane. */
static inline __attribute__((always_inline)) void vec_max(Vec *v, const Vec *w)
{
    VecInt more = *w > *v;
    *v = (Vec)(((VecInt)*v & ~more) | ((VecInt)*w & more));
}

/* *v = exp(*v) with a relative error below 2e-7; arguments are clamped to [-87, 88]. n = round(x / ln 2), then
 * a polynomial of degree 7 (Cephes) on the rest, then n goes into the exponent. */
static inline __attribute__((always_inline)) void vec_exp(Vec *v)
{
    Vec x = *v, low = x * 0 - 87.0f, high = low + 175.0f;
    VecInt under = x<low, over = x> high;
    x = (Vec)(((VecInt)x & ~under) | ((VecInt)low & under));
    x = (Vec)(((VecInt)x & ~over) | ((VecInt)high & over));
    Vec magic = x * 0 + 12582912.0f; /* 1.5 * 2^23: adding it rounds to whole numbers */
    Vec shifted = x * 1.44269504088896341f + magic, n = shifted - magic;
    Vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    Vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    VecInt power = (((VecInt)shifted - (VecInt)magic) + 127) << 23;
    *v = p * (Vec)power;
}
#endif
