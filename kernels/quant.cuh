/* 4-bit weights on the device: what kernels get of a weight, its scales, and its codes eight at a time. Element
 * by element they go through kernels/quant_<format>.h.
 *
 * Where rows are whole blocks of 64 weights (K % 64 == 0), a block's codes are eight words of four bytes. The
 * eight codes of a word are counted in the order 0..7 in which they stand for two runs of four neighbours, from
 * run(word, 0) and run(word, 1) on, of the block:
 *   nf4, fp4   word i holds weights 8i..8i+7, two a byte, the even one high; 32 bytes, aligned as such
 *   q4_0       a block of 64 is a pair of its blocks, 36 bytes, aligned to 4. Words 0 to 3 are the codes of the
 *              first, at 2, words 4 to 7 of the second, at 20; word i (mod 4) holds 4i..4i+3 low, 16 more high
 * Loading and unpacking are apart, so that loads can be on their way while others are worked on. */
#ifndef KERNELS_QUANT_CUH
#define KERNELS_QUANT_CUH
#include "kernels/cuda.cuh"
#include "kernels/quant_fp4.h"
#include "kernels/quant_nf4.h"
#include "kernels/quant_q4_0.h"

enum { QUANT_BLOCK = 64, QUANT_WORDS = 8, QUANT_LEVELS = 16, QUANT_NESTED_BLOCK = 256 };

/* A weight (N,K) as kernels take it, by value: codes and, planar, one of the two forms of its scales. */
struct QuantWeight {
    const uint8_t *codes;
    const float *absmax;
    const uint8_t *nested;
    const float *nested_absmax;
    float offset;
    int64_t N, K;
};

static inline QuantWeight quant_weight(const Tensor *w)
{
    Quant q = w->quant ? *w->quant : Quant{};
    return {(const uint8_t *)w->data, q.absmax, q.nested, q.nested_absmax, q.offset, w->dim[0], w->dim[1]};
}

/* ---- planar scales ---- */

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

/* absmax of a block in two steps: the bits that are its own, then the number. Those that 256 blocks share are
 * near by the time of the second. */
static __device__ inline unsigned quant_load_scale(const QuantWeight &w, int block)
{
    return w.absmax ? __float_as_uint(__ldg(w.absmax + block)) : __ldg(w.nested + block);
}
static __device__ inline float quant_scale(const QuantWeight &w, unsigned loaded, int block)
{
    if (w.absmax) return __uint_as_float(loaded);
    return quant_map.value[loaded] * __ldg(w.nested_absmax + block / QUANT_NESTED_BLOCK) + w.offset;
}

/* ---- formats ---- */

/* A row of dtype.def does not compile without its own:
 *   element(w, i)      weight i, whatever K
 *   level(code)        a weight is its level times its scale
 *   EXACT              a factor with which each level is a bf16; 0 where there is none
 *   run, code          see above
 *   Half, Lane, Word   what is loaded at once: the codes of half a block; of a quarter q, a word for each half;
 *                      one word. Their word() and scale() unpack
 *   lane_place(i)      the runs of a block in the order of the quarters' codes, first codes 0..3 of word 0 of
 *                      quarters 0 to 3, then codes 4..7, then those of word 1: where weights 4i.. stand */
template <DType dtype> struct QuantFormat;

template <class Levels> struct QuantPlanar {
    static __device__ float level(int code) { return Levels::level(code); }
    static __device__ float element(const QuantWeight &w, int64_t i)
    {
        int block = (int)(i / NF4_BLOCK);
        return level(nf4_code(w.codes, i)) * quant_scale(w, quant_load_scale(w, block), block);
    }

    static __device__ constexpr int run(int word, int half) { return 8 * word + 4 * half; }
    static __device__ constexpr int lane_place(int i) { return i % 4 * 4 + i / 4; }
    static __device__ unsigned code(unsigned word, int i) { return word >> (4 * (i ^ 1)) & 15; }

    struct Half {
        uint4 words;
        unsigned absmax;
        __device__ unsigned word(int i) const
        {
            return i < 2 ? i ? words.y : words.x : i == 2 ? words.z : words.w;
        }
        __device__ float scale(const QuantWeight &w, int block) const { return quant_scale(w, absmax, block); }
    };
    static __device__ Half load_half(const QuantWeight &w, int block, int half)
    {
        return {__ldg((const uint4 *)w.codes + (int64_t)block * 2 + half), quant_load_scale(w, block)};
    }

    struct Lane {
        uint2 words;
        unsigned absmax;
        __device__ unsigned word(int half) const { return half ? words.y : words.x; }
        __device__ float scale(const QuantWeight &w, int, int block) const
        {
            return quant_scale(w, absmax, block);
        }
    };
    static __device__ Lane load_lane(const QuantWeight &w, int block, int q)
    {
        return {__ldg((const uint2 *)w.codes + (int64_t)block * 4 + q), quant_load_scale(w, block)};
    }

    struct Word {
        unsigned codes;
        unsigned absmax;
        __device__ unsigned word(int) const { return codes; }
        __device__ float scale(const QuantWeight &w, int, int block) const
        {
            return quant_scale(w, absmax, block);
        }
    };
    static __device__ Word load_word(const QuantWeight &w, int block, int i)
    {
        return {__ldg((const unsigned *)w.codes + (int64_t)block * QUANT_WORDS + i),
                quant_load_scale(w, block)};
    }
};

static __device__ const float quant_nf4[] = NF4_LEVEL_TABLE, quant_fp4[] = FP4_LEVEL_TABLE;

struct QuantNf4Levels {
    static __device__ float level(int code) { return quant_nf4[code]; }
};
template <> struct QuantFormat<DTYPE_nf4> : QuantPlanar<QuantNf4Levels> {
    static constexpr float EXACT = 0;
};

struct QuantFp4Levels {
    static __device__ float level(int code) { return quant_fp4[code]; }
};
template <> struct QuantFormat<DTYPE_fp4> : QuantPlanar<QuantFp4Levels> {
    static constexpr float EXACT = 12; /* 0, 1/16, 8, 12, 4, 6, 2, 3 */
};

/* Nine aligned words hold a pair of blocks; the first block's codes begin in the middle of one. */
template <> struct QuantFormat<DTYPE_q4_0> {
    static constexpr float EXACT = 1;
    static __device__ float level(int code) { return (float)(code - 8); }
    static __device__ float element(const QuantWeight &w, int64_t i) { return q4_0_decode(w.codes, i); }

    static __device__ constexpr int run(int word, int half)
    {
        return 32 * (word / 4) + 4 * (word % 4) + 16 * half;
    }
    static __device__ constexpr int lane_place(int i) { return i; }
    static __device__ unsigned code(unsigned word, int i) { return word >> (8 * (i % 4) + i / 4 * 4) & 15; }

    static __device__ const unsigned *pair(const QuantWeight &w, int block)
    {
        return (const unsigned *)(w.codes + (int64_t)block * (2 * Q4_0_BYTES));
    }
    /* Of aligned words i and i + 1 of the pair. */
    static __device__ unsigned word_of(unsigned low, unsigned high, int half)
    {
        return __funnelshift_rc(low, high, half ? 32 : 16);
    }
    /* Of aligned word 0 or 4. */
    static __device__ float scale_of(unsigned word, int half)
    {
        return half_to_float((uint16_t)(half ? word >> 16 : word & 0xffff));
    }

    struct Half {
        unsigned aligned[5];
        int half;
        __device__ unsigned word(int i) const { return word_of(aligned[i], aligned[i + 1], half); }
        __device__ float scale(const QuantWeight &, int) const { return scale_of(aligned[0], half); }
    };
    static __device__ Half load_half(const QuantWeight &w, int block, int half)
    {
        const unsigned *p = pair(w, block) + 4 * half;
        return {{__ldg(p), __ldg(p + 1), __ldg(p + 2), __ldg(p + 3), __ldg(p + 4)}, half};
    }

    struct Lane {
        unsigned aligned[4], scales[2];
        __device__ unsigned word(int half) const
        {
            return half ? aligned[3] : word_of(aligned[0], aligned[1], 0);
        }
        __device__ float scale(const QuantWeight &, int half, int) const
        {
            return scale_of(half ? scales[1] : scales[0], half);
        }
    };
    static __device__ Lane load_lane(const QuantWeight &w, int block, int q)
    {
        const unsigned *p = pair(w, block);
        return {{__ldg(p + q), __ldg(p + q + 1), __ldg(p + q + 4), __ldg(p + q + 5)}, {__ldg(p), __ldg(p + 4)}};
    }

    struct Word {
        unsigned aligned[2], first;
        __device__ unsigned word(int i) const { return word_of(aligned[0], aligned[1], i / 4); }
        __device__ float scale(const QuantWeight &, int i, int) const { return scale_of(first, i / 4); }
    };
    static __device__ Word load_word(const QuantWeight &w, int block, int i)
    {
        const unsigned *p = pair(w, block);
        return {{__ldg(p + i), __ldg(p + i + 1)}, __ldg(p + i / 4 * 4)};
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
