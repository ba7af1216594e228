/* Every expression of exact.def, for many inputs: out[case][input], 64 bits each; a NaN is one pattern. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>
#include "tests/ptx/kernels/exact.h"

__device__ static uint32_t shl_clamped(uint32_t a, uint32_t n)
{
    uint32_t y;
    asm("shl.b32 %0, %1, %2;" : "=r"(y) : "r"(a), "r"(n));
    return y;
}

__device__ static int32_t shr_clamped(int32_t a, uint32_t n)
{
    int32_t y;
    asm("shr.s32 %0, %1, %2;" : "=r"(y) : "r"(a), "r"(n));
    return y;
}

template <int TABLE> __device__ static uint32_t lop3(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t y;
    asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(y) : "r"(a), "r"(b), "r"(c), "n"(TABLE));
    return y;
}

__device__ static uint32_t prmt(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t y;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(y) : "r"(a), "r"(b), "r"(c));
    return y;
}

#define EXTRACT(T, type, letter)                                                                               \
    __device__ static T bfe_##type(T v, uint32_t at, uint32_t n)                                               \
    {                                                                                                          \
        T y;                                                                                                   \
        asm("bfe." #type " %0, %1, %2, %3;" : "=" letter(y) : letter(v), "r"(at), "r"(n));                     \
        return y;                                                                                              \
    }
EXTRACT(uint32_t, u32, "r")
EXTRACT(int32_t, s32, "r")
EXTRACT(uint64_t, u64, "l")
EXTRACT(int64_t, s64, "l")

#define INSERT(T, type, letter)                                                                                \
    __device__ static T bfi_##type(T v, T into, uint32_t at, uint32_t n)                                       \
    {                                                                                                          \
        T y;                                                                                                   \
        asm("bfi." #type " %0, %1, %2, %3, %4;" : "=" letter(y) : letter(v), letter(into), "r"(at), "r"(n));   \
        return y;                                                                                              \
    }
INSERT(uint32_t, b32, "r")
INSERT(uint64_t, b64, "l")

__device__ static int32_t bfind(uint32_t a)
{
    int32_t y;
    asm("bfind.u32 %0, %1;" : "=r"(y) : "r"(a));
    return y;
}

__device__ static int32_t bfind_shift(uint32_t a)
{
    int32_t y;
    asm("bfind.shiftamt.u32 %0, %1;" : "=r"(y) : "r"(a));
    return y;
}

template <typename T> __device__ static uint32_t pair_bits(T v) { return *reinterpret_cast<uint32_t *>(&v); }
__device__ static __nv_bfloat162 pair_of(uint32_t v) { return *reinterpret_cast<__nv_bfloat162 *>(&v); }

__device__ static uint64_t bits(float v) { return isnan(v) ? 0x7FFFFFFF : __float_as_uint(v); }
__device__ static uint64_t bits(double v)
{
    return isnan(v) ? 0x7FFFFFFFFFFFFFFF : (uint64_t)__double_as_longlong(v);
}
template <typename T> __device__ static uint64_t bits(T v) { return (uint64_t)v; }

__global__ void exact_kernel(const ExactInput *in, int n, uint64_t *out)
{
    const int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= n) return;
    const uint32_t a = in[k].a, b = in[k].b, c = in[k].c;
    const uint64_t p = in[k].p, q = in[k].q;
    const int32_t s = (int32_t)a, t = (int32_t)b;
    const int64_t i = (int64_t)p, j = (int64_t)q;
    const float f = in[k].f, g = in[k].g, h = in[k].h;
    const double d = in[k].d, e = in[k].e;
    const uint16_t x = (uint16_t)a, y = (uint16_t)b, z = (uint16_t)c;
    int row = 0;
#define CASE(device, host) out[(size_t)row++ * n + k] = bits(device);
#define SAME(both)         CASE(both, both)
#include "tests/ptx/kernels/exact.def"
}
