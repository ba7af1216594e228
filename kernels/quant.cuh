/* 4-bit weights on the device: what kernels get of a weight, its scales, and its codes eight at a time. Where
 * the last dim is whole blocks of 64 weights, a block's codes are eight words of four bytes, 32 bytes aligned
 * as such; word i holds weights 8i..8i+7, two a byte, the even one high. Loading and unpacking are apart, so
 * that loads can be on their way while others are worked on.
 *
 * nf4 and fp4 lie so in a file. q4_0 is repacked when it is uploaded (kernels/quant_pack.cu): a plane of codes
 * in that order, behind it a plane of scales, one fp16 for 32 weights. */
#ifndef KERNELS_QUANT_CUH
#define KERNELS_QUANT_CUH
#include "kernels/cuda.cuh"
#include "kernels/quant_fp4.h"
#include "kernels/quant_nf4.h"
#include "kernels/quant_q4_0.h"
#include <cuda_fp16.h>

enum { QUANT_BLOCK = 64, QUANT_WORDS = 8, QUANT_LEVELS = 16, QUANT_NESTED_BLOCK = 256 };

/* A weight (N,K) as kernels take it, by value: codes and one of the three forms of its scales. */
struct QuantWeight {
    const uint8_t *codes;
    const float *absmax;
    const uint8_t *nested;
    const float *nested_absmax;
    const uint16_t *halves; /* fp16 */
    float offset;
    int64_t N, K;
};

static inline QuantWeight quant_weight(const Tensor *w)
{
    Quant q = w->quant ? *w->quant : Quant{};
    const uint8_t *codes = (const uint8_t *)w->data;
    const void *halves = codes + ceil_div(tensor_len(w), (int64_t)Q4_0_BLOCK) * (Q4_0_BLOCK / 2);
    return {codes,    q.absmax,  q.nested, q.nested_absmax, w->quant ? NULL : (const uint16_t *)halves,
            q.offset, w->dim[0], w->dim[1]};
}

/* ---- nested scales ---- */

/* The dynamic map in closed form (kernels/quant.c makes it by sorting): 127 negative values, 0, 127 positive
 * ones, 1. Positive value 2^i - 1 + j is the middle of part j of 2^i of [0.1, 1], times 10^(i-6). */
struct QuantMap {
    float value[256];
};
static constexpr QuantMap quant_make_map()
{
    const double power[] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1};
    QuantMap map = {};
    for (int i = 0, p = 0; i < 7; i++)
        for (int j = 0; j < 1 << i; j++, p++) {
            double v = (0.1 + 0.9 * (j + 0.5) / (1 << i)) * power[i];
            map.value[128 + p] = (float)v;
            map.value[126 - p] = (float)-v;
        }
    map.value[255] = 1;
    return map;
}
static __device__ const QuantMap quant_map = quant_make_map();

/* ---- formats ---- */

/* A row of dtype.def does not compile without its own:
 *   level(code)   a weight is its level times its scale
 *   FACTOR        what the levels are multiplied by to be bf16
 *   EXACT         whether they then are; else FACTOR is the one in [1,2) that leaves the least squared error
 *   HALVES        scales of a block: one, or one for each half */
template <DType dtype> struct QuantFormat;

static __device__ const float quant_nf4[] = NF4_LEVEL_TABLE, quant_fp4[] = FP4_LEVEL_TABLE;

template <> struct QuantFormat<DTYPE_nf4> {
    static constexpr float FACTOR = 1.437f; /* 3.2e-4 off in the mean square; with 1 it is 5.5e-4 */
    static constexpr bool EXACT = false, HALVES = false;
    static __device__ float level(int code) { return quant_nf4[code]; }
};
template <> struct QuantFormat<DTYPE_fp4> {
    static constexpr float FACTOR = 12; /* 0, 1/16, 8, 12, 4, 6, 2, 3 */
    static constexpr bool EXACT = true, HALVES = false;
    static __device__ float level(int code) { return quant_fp4[code]; }
};
template <> struct QuantFormat<DTYPE_q4_0> {
    static constexpr float FACTOR = 1;
    static constexpr bool EXACT = true, HALVES = true;
    static __device__ float level(int code) { return (float)(code - 8); }
};

/* A scale in two steps: the bits that are its own, then the number. What 256 blocks share is near by the time
 * of the second. */
template <class Format>
static __device__ inline unsigned quant_load_scale(const QuantWeight &w, int block, int half)
{
    if (Format::HALVES) return __ldg(w.halves + 2 * (int64_t)block + half);
    return w.absmax ? __float_as_uint(__ldg(w.absmax + block)) : __ldg(w.nested + block);
}
template <class Format>
static __device__ inline float quant_scale(const QuantWeight &w, unsigned loaded, int block)
{
    if (Format::HALVES) return __half2float(__ushort_as_half((unsigned short)loaded));
    if (w.absmax) return __uint_as_float(loaded);
    return quant_map.value[loaded] * __ldg(w.nested_absmax + block / QUANT_NESTED_BLOCK) + w.offset;
}

/* Weight i, whatever K. */
template <class Format> static __device__ inline float quant_element(const QuantWeight &w, int64_t i)
{
    int block = (int)(i / QUANT_BLOCK);
    return Format::level(nf4_code(w.codes, i)) *
           quant_scale<Format>(w, quant_load_scale<Format>(w, block, i / Q4_0_BLOCK % 2), block);
}

/* Code i of a word. */
static __device__ inline unsigned quant_code(unsigned word, int i) { return word >> (4 * (i ^ 1)) & 15; }

/* Half a block. */
template <class Format> struct QuantHalf {
    uint4 words;
    unsigned loaded;

    __device__ QuantHalf() {}
    __device__ QuantHalf(const QuantWeight &w, int block, int half)
        : words(__ldg((const uint4 *)w.codes + (int64_t)block * 2 + half)),
          loaded(quant_load_scale<Format>(w, block, half))
    {
    }
    __device__ unsigned word(int i) const { return i < 2 ? i ? words.y : words.x : i == 2 ? words.z : words.w; }
    __device__ float scale(const QuantWeight &w, int block) const
    {
        return quant_scale<Format>(w, loaded, block);
    }
};

/* Quarter q's share of a block: a word for either half of it, quant_chunk(q, half). Where the halves have their
 * own scales, they are the halves of the block, else two neighbours. */
template <class Format> static __host__ __device__ constexpr int quant_chunk(int q, int half)
{
    return Format::HALVES ? q + 4 * half : 2 * q + half;
}
template <class Format> struct QuantLane {
    uint2 words;
    unsigned loaded;

    __device__ QuantLane() {}
    __device__ QuantLane(const QuantWeight &w, int block, int q)
    {
        if (Format::HALVES) {
            const unsigned *p = (const unsigned *)w.codes + (int64_t)block * QUANT_WORDS + q;
            words = uint2{__ldg(p), __ldg(p + 4)};
            loaded = __ldg((const unsigned *)w.halves + block);
        } else {
            words = __ldg((const uint2 *)w.codes + (int64_t)block * 4 + q);
            loaded = quant_load_scale<Format>(w, block, 0);
        }
    }
    __device__ unsigned word(int half) const { return half ? words.y : words.x; }
    __device__ float scale(const QuantWeight &w, int half, int block) const
    {
        return quant_scale<Format>(w, Format::HALVES && half ? loaded >> 16 : loaded, block);
    }
};

/* Word i of a block. */
template <class Format> struct QuantWord {
    unsigned codes, loaded;

    __device__ QuantWord() {}
    __device__ QuantWord(const QuantWeight &w, int block, int i)
        : codes(__ldg((const unsigned *)w.codes + (int64_t)block * QUANT_WORDS + i)),
          loaded(quant_load_scale<Format>(w, block, i / 4))
    {
    }
    __device__ float scale(const QuantWeight &w, int block) const
    {
        return quant_scale<Format>(w, loaded, block);
    }
};

/* f(QuantFormat<dtype>()) */
template <class F> static inline void quant_dispatch(DType dtype, F f)
{
    switch (dtype) {
#define DTYPE(name, id, bytes)
#define QUANT(name, id, block)                                                                                 \
    case DTYPE_##name:                                                                                         \
        return f(QuantFormat<DTYPE_##name>());
#define BLOCKED(name, id, block, bytes) QUANT(name, id, block)
#include "tensor/dtype.def"
#undef DTYPE
#undef QUANT
#undef BLOCKED
    default: host.die("cuda: type %d is not quantised", (int)dtype);
    }
}
#endif
