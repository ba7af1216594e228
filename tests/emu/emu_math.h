/* CUDA's arithmetic for the host compiler: what cuda_runtime.h and cuda_bf16.h declare for devices only. */
#ifndef TESTS_EMU_EMU_MATH_H
#define TESTS_EMU_EMU_MATH_H
#include <cuda_bf16.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <type_traits>

template <class T> inline T __ldg(const T *p) { return *p; }
template <class T> inline T __ldcs(const T *p) { return *p; }
template <class T> inline T __ldcg(const T *p) { return *p; }
template <class T> inline T __ldca(const T *p) { return *p; }
template <class T> inline void __stcs(T *p, T v) { *p = v; }
template <class T> inline void __stcg(T *p, T v) { *p = v; }

/* ---- bits ---- */

#define EMU_CAST(name, To, From)                                                                               \
    static inline To name(From from)                                                                           \
    {                                                                                                          \
        To to;                                                                                                 \
        static_assert(sizeof to == sizeof from, "");                                                           \
        memcpy(&to, &from, sizeof to);                                                                         \
        return to;                                                                                             \
    }
EMU_CAST(__uint_as_float, float, unsigned)
EMU_CAST(__int_as_float, float, int)
EMU_CAST(__float_as_uint, unsigned, float)
EMU_CAST(__float_as_int, int, float)
EMU_CAST(__double_as_longlong, long long, double)
EMU_CAST(__longlong_as_double, double, long long)
#undef EMU_CAST

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline unsigned __brev(unsigned x)
{
    unsigned y = 0;
    for (int i = 0; i < 32; i++) y |= (x >> i & 1) << (31 - i);
    return y;
}
/* Byte i of the result is byte (nibble i of s, modulo 8) of y:x; a nibble's top bit copies that byte's sign. */
static inline unsigned __byte_perm(unsigned x, unsigned y, unsigned s)
{
    uint64_t bytes = (uint64_t)y << 32 | x;
    unsigned r = 0;
    for (int i = 0; i < 4; i++) {
        unsigned b = (unsigned)(bytes >> (s >> (4 * i) & 7) * 8) & 0xff;
        if (s >> (4 * i) & 8) b = b & 0x80 ? 0xff : 0;
        r |= b << (8 * i);
    }
    return r;
}
static inline unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned n)
{
    return (unsigned)(((uint64_t)hi << 32 | lo) << (n & 31) >> 32);
}
static inline unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned n)
{
    return (unsigned)(((uint64_t)hi << 32 | lo) >> (n & 31));
}
static inline unsigned __funnelshift_lc(unsigned lo, unsigned hi, unsigned n)
{
    return n >= 32 ? lo : __funnelshift_l(lo, hi, n);
}
static inline unsigned __funnelshift_rc(unsigned lo, unsigned hi, unsigned n)
{
    return n >= 32 ? hi : __funnelshift_r(lo, hi, n);
}
static inline int __dp4a(int a, int b, int c)
{
    for (int i = 0; i < 32; i += 8) c += (int8_t)(a >> i) * (int8_t)(b >> i);
    return c;
}
static inline unsigned __dp4a(unsigned a, unsigned b, unsigned c)
{
    for (int i = 0; i < 32; i += 8) c += (a >> i & 0xff) * (b >> i & 0xff);
    return c;
}
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
static inline int __mulhi(int a, int b) { return (int)((int64_t)a * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

/* ---- floating point ---- */

/* glibc declares these names. */
#define __expf(x)     expf(x)
#define __exp10f(x)   powf(10.0f, x)
#define __logf(x)     logf(x)
#define __log2f(x)    log2f(x)
#define __log10f(x)   log10f(x)
#define __sinf(x)     sinf(x)
#define __cosf(x)     cosf(x)
#define __tanf(x)     tanf(x)
#define __powf(x, y)  powf(x, y)
#define __sincosf     sincosf
#define __fsqrt_rn(x) sqrtf(x)

static inline float rsqrtf(float x) { return 1 / sqrtf(x); }
static inline double rsqrt(double x) { return 1 / sqrt(x); }
static inline float fdividef(float a, float b) { return a / b; }
static inline float __frsqrt_rn(float x) { return (float)(1 / sqrt((double)x)); }
static inline float __frcp_rn(float x) { return 1 / x; }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline float __saturatef(float x) { return x > 0 ? x < 1 ? x : 1 : 0; }

/* A device's conversions saturate and turn NaN into 0. */
static inline int __float2int_rz(float x)
{
    return x != x ? 0 : x >= 2147483648.0f ? INT32_MAX : x <= -2147483648.0f ? INT32_MIN : (int)x;
}
static inline int __float2int_rn(float x) { return __float2int_rz(rintf(x)); }
static inline int __float2int_rd(float x) { return __float2int_rz(floorf(x)); }
static inline int __float2int_ru(float x) { return __float2int_rz(ceilf(x)); }
static inline unsigned __float2uint_rz(float x)
{
    return !(x > 0) ? 0 : x >= 4294967296.0f ? UINT32_MAX : (unsigned)x;
}
static inline unsigned __float2uint_rn(float x) { return __float2uint_rz(rintf(x)); }
static inline float __int2float_rn(int x) { return (float)x; }
static inline float __uint2float_rn(unsigned x) { return (float)x; }
static inline float __ll2float_rn(long long x) { return (float)x; }
static inline float __double2float_rn(double x) { return (float)x; }

/* max and min of two numbers of any types or enumerators, as CUDA overloads them; a NaN loses against a number.
 */
template <class A, class B> using EmuCommon = std::common_type_t<decltype(+A()), decltype(+B())>;
template <class A, class B, class T = EmuCommon<A, B>>
inline std::enable_if_t<std::is_arithmetic_v<T>, T> max(A a, B b)
{
    if constexpr (std::is_same_v<T, float>) return fmaxf((T)a, (T)b);
    if constexpr (std::is_same_v<T, double>) return fmax((T)a, (T)b);
    return (T)a > (T)b ? (T)a : (T)b;
}
template <class A, class B, class T = EmuCommon<A, B>>
inline std::enable_if_t<std::is_arithmetic_v<T>, T> min(A a, B b)
{
    if constexpr (std::is_same_v<T, float>) return fminf((T)a, (T)b);
    if constexpr (std::is_same_v<T, double>) return fmin((T)a, (T)b);
    return (T)a < (T)b ? (T)a : (T)b;
}

/* ---- bf16 ---- */

static inline __nv_bfloat16 __hfma(__nv_bfloat16 a, __nv_bfloat16 b, __nv_bfloat16 c)
{
    /* exact in double up to the last rounding, then rounded once */
    double exact = fma((double)__bfloat162float(a), (double)__bfloat162float(b), (double)__bfloat162float(c));
    return __double2bfloat16(exact);
}
static inline __nv_bfloat162 __hfma2(__nv_bfloat162 a, __nv_bfloat162 b, __nv_bfloat162 c)
{
    return __halves2bfloat162(__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y));
}
#define EMU_BF16(name, f)                                                                                      \
    static inline __nv_bfloat16 h##name(__nv_bfloat16 x) { return __float2bfloat16(f(__bfloat162float(x))); }  \
    static inline __nv_bfloat162 h2##name(__nv_bfloat162 x)                                                    \
    {                                                                                                          \
        return __halves2bfloat162(h##name(x.x), h##name(x.y));                                                 \
    }
EMU_BF16(exp, expf)
EMU_BF16(exp2, exp2f)
EMU_BF16(log, logf)
EMU_BF16(sqrt, sqrtf)
EMU_BF16(rsqrt, rsqrtf)
EMU_BF16(rcp, __frcp_rn)
EMU_BF16(tanh, tanhf)
#undef EMU_BF16
#endif
