/* The nf4 format (Dettmers et al. 2023): 16 levels, the quantiles of a normal distribution scaled to [-1,1];
 * one absmax per block of 64 elements; element i's code is in the high nibble of byte i/2 when i is even, in
 * the low one when it is odd. value = level[code] * absmax. One source for every compiler. */
#ifndef KERNELS_QUANT_NF4_H
#define KERNELS_QUANT_NF4_H
#include <stdint.h>
#ifdef __CUDACC__
#define NF4_FUNCTION static inline __host__ __device__
#else
#define NF4_FUNCTION static inline
#endif

enum { NF4_BLOCK = 64, NF4_LEVELS = 16 };

#define NF4_LEVEL_TABLE                                                                                        \
    {                                                                                                          \
        -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,       \
            -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,    \
            0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,             \
            0.7229568362236023f, 1.0f                                                                          \
    }

/* Between level i and i + 1; x above it takes the upper. */
#define NF4_THRESHOLD_TABLE                                                                                    \
    {                                                                                                          \
        -0.8480964004993439f, -0.6106329262256622f, -0.4599952697753906f, -0.33967943489551544f,               \
            -0.23460740596055984f, -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f,        \
            0.1202552504837513f, 0.2035212516784668f, 0.2920137718319893f, 0.3893125355243683f,                \
            0.5016634166240692f, 0.6427869200706482f, 0.8614784181118011f                                      \
    }

NF4_FUNCTION float nf4_level(int code)
{
    const float level[NF4_LEVELS] = NF4_LEVEL_TABLE;
    return level[code];
}

/* The code of x, which is w * (1/absmax) clipped to [-1,1]. */
NF4_FUNCTION int nf4_encode(float x)
{
    const float threshold[NF4_LEVELS - 1] = NF4_THRESHOLD_TABLE;
    int low = 0, high = NF4_LEVELS - 1; /* the code is in low..high */
    while (low < high) {
        int middle = (low + high) / 2;
        if (x > threshold[middle])
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The code of element i. */
NF4_FUNCTION int nf4_code(const uint8_t *codes, int64_t i)
{
    return i & 1 ? codes[i / 2] & 15 : codes[i / 2] >> 4;
}

NF4_FUNCTION float nf4_decode(const uint8_t *codes, int64_t i, float absmax)
{
    return nf4_level(nf4_code(codes, i)) * absmax;
}
#endif
