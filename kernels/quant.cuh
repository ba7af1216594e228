/* 4-bit weights on the device: what kernels get of a weight, its scales, and its codes eight at a time. Element
 * by element they go through kernels/quant_<format>.h.
 *
 * The eight codes of a word (four bytes of codes, aligned or not) stand for two runs of four neighbours in k,
 * at run(word, 0) and run(word, 1) of the piece that the words belong to: the order in which x is read. Words
 * of a piece are numbered in the order of their bytes; a piece is nf4, fp4   the 32 bytes of a block of 64;
 * word i holds k = 8i..8i+7, pairs in a byte, the even one high q4_0       the 16 bytes of a block of 32; word
 * i holds k = 4i..4i+3 in low nibbles, 16 + those in high ones */
#ifndef KERNELS_QUANT_CUH
#define KERNELS_QUANT_CUH
#include "kernels/cuda.cuh"
#include "kernels/quant_fp4.h"
#include "kernels/quant_nf4.h"
#include "kernels/quant_q4_0.h"

enum { QUANT_NESTED_BLOCK = 256 };

/* A weight as kernels take it, by value: codes and, planar, one of the two forms of its scales. */
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

/* ---- scales ---- */

/* The dynamic map in closed form (kernels/quant.c makes it by sorting): 127 negative values, 0, 127 positive
 * ones, 1. Positive value p = 2^i - 1 + j is the middle of part j of 2^i of [0.1, 1], times 10^(i-6). */
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

/* absmax of planar block b. */
static inline __device__ float quant_scale(const QuantWeight &w, int64_t b)
{
    if (w.absmax) return w.absmax[b];
    return quant_map.value[w.nested[b]] * w.nested_absmax[b / QUANT_NESTED_BLOCK] + w.offset;
}

/* ---- formats ---- */

/* A row of dtype.def does not compile without its QuantFormat. */
template <DType dtype> struct QuantFormat;

template <> struct QuantFormat<DTYPE_nf4> {
    static __device__ float element(const QuantWeight &w, int64_t i)
    {
        return nf4_decode(w.codes, i, quant_scale(w, i / NF4_BLOCK));
    }
};

template <> struct QuantFormat<DTYPE_fp4> {
    static __device__ float element(const QuantWeight &w, int64_t i)
    {
        return fp4_level(nf4_code(w.codes, i)) * quant_scale(w, i / FP4_BLOCK);
    }
};

template <> struct QuantFormat<DTYPE_q4_0> {
    static __device__ float element(const QuantWeight &w, int64_t i) { return q4_0_decode(w.codes, i); }
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
