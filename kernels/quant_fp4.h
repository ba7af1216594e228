/* The fp4 format of bitsandbytes: sign, two bits of exponent and one of fraction, scaled so that the largest
 * level is 1; codes and absmax lie as nf4's do (quant_nf4.h). value = level[code] * absmax. One source for
 * every compiler. */
#ifndef KERNELS_QUANT_FP4_H
#define KERNELS_QUANT_FP4_H
#include "kernels/quant_nf4.h"

enum { FP4_BLOCK = NF4_BLOCK, FP4_LEVELS = 16 };

/* In order of the codes, not of the values: bit 3 is the sign. */
#define FP4_LEVEL_TABLE                                                                                        \
    {                                                                                                          \
        0.0f, 1.0f / 192, 2.0f / 3, 1.0f, 1.0f / 3, 0.5f, 1.0f / 6, 0.25f, -0.0f, -1.0f / 192, -2.0f / 3,      \
            -1.0f, -1.0f / 3, -0.5f, -1.0f / 6, -0.25f                                                         \
    }

/* Of |x|, ascending; above threshold i its code is FP4_RANK_TABLE[i + 1]. */
#define FP4_THRESHOLD_TABLE                                                                                    \
    {                                                                                                          \
        0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f, 0.4166667f, 0.583333f, 0.8333333f                   \
    }
#define FP4_RANK_TABLE                                                                                         \
    {                                                                                                          \
        0, 1, 6, 7, 4, 5, 2, 3                                                                                 \
    }

NF4_FUNCTION float fp4_level(int code)
{
    const float level[FP4_LEVELS] = FP4_LEVEL_TABLE;
    return level[code];
}

/* The code of x, which is w * (1/absmax) clipped to [-1,1]. */
NF4_FUNCTION int fp4_encode(float x)
{
    const float threshold[FP4_LEVELS / 2 - 1] = FP4_THRESHOLD_TABLE;
    const int code[FP4_LEVELS / 2] = FP4_RANK_TABLE;
    float size = x < 0 ? -x : x;
    int rank = 0;
    for (int i = 0; i < FP4_LEVELS / 2 - 1; i++) rank += size > threshold[i];
    return code[rank] | (x < 0 ? 8 : 0);
}
#endif
