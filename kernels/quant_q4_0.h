/* The q4_0 format of GGUF: 32 elements in 18 bytes. The scale d is a little-endian fp16; of the 16 bytes behind
 * it, byte j holds element j in its low nibble and element j + 16 in its high one. value = (code - 8) * d,
 * exact in f32. One source for every compiler. */
#ifndef KERNELS_QUANT_Q4_0_H
#define KERNELS_QUANT_Q4_0_H
#include "tensor/half.h"
#define Q4_0_FUNCTION HALF_FUNCTION

enum { Q4_0_BLOCK = 32, Q4_0_BYTES = 18 };

Q4_0_FUNCTION float q4_0_scale(const uint8_t *block)
{
    return half_to_float((uint16_t)(block[0] | block[1] << 8));
}

/* Element i of the blocks. */
Q4_0_FUNCTION float q4_0_decode(const uint8_t *blocks, int64_t i)
{
    const uint8_t *block = blocks + i / Q4_0_BLOCK * Q4_0_BYTES;
    int j = (int)(i % Q4_0_BLOCK), half = Q4_0_BLOCK / 2;
    int code = j < half ? block[2 + j] & 15 : block[2 + j - half] >> 4;
    return (float)(code - 8) * q4_0_scale(block);
}

/* x = w/d in [-8,8] to the nearest code; what is above 15 becomes 15. NaN gives 0. */
Q4_0_FUNCTION int q4_0_code(float x)
{
    float shifted = x + 8.5f;
    return shifted >= 15 ? 15 : shifted > 0 ? (int)shifted : 0;
}

/* One block of the n (1 to 32) values of w; elements beyond n are 0. ggml's rule: the value of largest
 * magnitude (the first of equals) becomes -8, so d = that value / -8, and codes are those of w * (1/d) with d
 * before it is rounded to fp16. d is infinite where a magnitude is 524160 or more. */
Q4_0_FUNCTION void q4_0_encode(const float *w, int n, uint8_t *block)
{
    float most = 0, d, inverse;
    int half = Q4_0_BLOCK / 2;
    for (int j = 0; j < n; j++)
        if ((w[j] < 0 ? -w[j] : w[j]) > (most < 0 ? -most : most)) most = w[j];
    d = most / -8;
    inverse = d != 0 ? 1 / d : 0;
    uint16_t scale = half_from_float(d);
    block[0] = (uint8_t)(scale & 255);
    block[1] = (uint8_t)(scale >> 8);
    for (int j = 0; j < half; j++) {
        int low = q4_0_code(j < n ? w[j] * inverse : 0),
            high = q4_0_code(half + j < n ? w[half + j] * inverse : 0);
        block[2 + j] = (uint8_t)(low | high << 4);
    }
}
#endif
