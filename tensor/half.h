/* IEEE 754 half precision (fp16) and bfloat16 as 16 bits, to float and back. One source for every compiler. */
#ifndef TENSOR_HALF_H
#define TENSOR_HALF_H
#include <stdint.h>
#include <string.h>
#ifdef __CUDACC__
#define HALF_FUNCTION static inline __host__ __device__
#else
#define HALF_FUNCTION static inline
#endif

/* Exact. */
HALF_FUNCTION float bf16_to_float(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Rounds to nearest, ties to even; a NaN stays one. */
HALF_FUNCTION uint16_t bf16_from_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Exact: every half is a float. */
HALF_FUNCTION float half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 1023, bits;
    float x;
    if (!exponent) { /* subnormal or zero */
        x = (float)fraction * 0x1p-24f;
        return sign ? -x : x;
    }
    bits = sign | (exponent == 31 ? 0x7f800000 : (exponent + 112) << 23) | fraction << 13;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Rounds to nearest, ties to even; infinite from 65520 up. */
HALF_FUNCTION uint16_t half_from_float(float x)
{
    uint32_t bits, sign;
    memcpy(&bits, &x, sizeof bits);
    sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return (uint16_t)(sign | 0x7e00);  /* NaN */
    if (bits >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* 65520 */
    if (bits <
        0x38800000) { /* below 2^-14, subnormal: the neighbours of 0.5 are 2^-24 apart too, so its sum rounds */
        float y;
        memcpy(&y, &bits, sizeof y);
        y += 0.5f;
        memcpy(&bits, &y, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3f000000));
    }
    return (uint16_t)(sign | (bits - 0x38000000 + 0xfff + (bits >> 13 & 1)) >> 13);
}
#endif
