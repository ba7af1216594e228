/* Floating-point instructions. The formulas are in ptx_float.def. */
#include "tests/ptx/ptx_lane.h"
#include "tests/ptx/ptx_half.h"
#include <math.h>

/* One rounding: the product of two floats is exact in double. */
static inline float fma_float(float a, float b, float c) { return (float)sum_odd((double)a * b, c); }
static inline float unit(float v) { return v > 0 ? v < 1 ? v : 1 : 0; } /* .sat; NaN is 0 */
static inline float relu(float v) { return v < 0 ? 0 : v; }

/* A NaN loses to a number, -0 is below +0. */
static inline float least(float a, float b)
{
    if (a != a) return b;
    if (b != b) return a;
    return a == b ? bits_float(float_bits(a) | float_bits(b)) : a < b ? a : b;
}

static inline float most(float a, float b)
{
    if (a != a) return b;
    if (b != b) return a;
    return a == b ? bits_float(float_bits(a) & float_bits(b)) : a > b ? a : b;
}

#define OP1(name, spellings, D, A, y)       LANE_RUN1(name, D, A, y)
#define OP2(name, spellings, D, A, B, y)    LANE_RUN2(name, D, A, B, y)
#define OP3(name, spellings, D, A, B, C, y) LANE_RUN3(name, D, A, B, C, y)
/* A formula in floats as a function on 16 bits, and what runs it on one and on two a lane. */
#define HALF_OF(name, format, y)                                                                               \
    static inline uint16_t half_##name##_##format(uint16_t a_, uint16_t b_, uint16_t c_)                       \
    {                                                                                                          \
        const float a = format##_float(a_), b = format##_float(b_), c = format##_float(c_);                    \
        (void)b, (void)c;                                                                                      \
        return float_##format(y);                                                                              \
    }
#define HALF_PAIR(f, a, b, c)                                                                                  \
    (f((uint16_t)(a), (uint16_t)(b), (uint16_t)(c)) |                                                          \
     (uint32_t)f((uint16_t)((a) >> 16), (uint16_t)((b) >> 16), (uint16_t)((c) >> 16)) << 16)
#define HALF1(name, h, h2, b16, b162, y)                                                                       \
    HALF_OF(name, f16, y)                                                                                      \
    HALF_OF(name, bf16, y)                                                                                     \
    LANE_RUN1(name##_f16, H, H, half_##name##_f16(a, 0, 0))                                                    \
    LANE_RUN1(name##_f16x2, U32, U32, HALF_PAIR(half_##name##_f16, a, 0u, 0u))                                 \
    LANE_RUN1(name##_bf16, H, H, half_##name##_bf16(a, 0, 0))                                                  \
    LANE_RUN1(name##_bf16x2, U32, U32, HALF_PAIR(half_##name##_bf16, a, 0u, 0u))
#define HALF2(name, h, h2, b16, b162, y)                                                                       \
    HALF_OF(name, f16, y)                                                                                      \
    HALF_OF(name, bf16, y)                                                                                     \
    LANE_RUN2(name##_f16, H, H, H, half_##name##_f16(a, b, 0))                                                 \
    LANE_RUN2(name##_f16x2, U32, U32, U32, HALF_PAIR(half_##name##_f16, a, b, 0u))                             \
    LANE_RUN2(name##_bf16, H, H, H, half_##name##_bf16(a, b, 0))                                               \
    LANE_RUN2(name##_bf16x2, U32, U32, U32, HALF_PAIR(half_##name##_bf16, a, b, 0u))
#define HALF3(name, h, h2, b16, b162, y)                                                                       \
    HALF_OF(name, f16, y)                                                                                      \
    HALF_OF(name, bf16, y)                                                                                     \
    LANE_RUN3(name##_f16, H, H, H, H, half_##name##_f16(a, b, c))                                              \
    LANE_RUN3(name##_f16x2, U32, U32, U32, U32, HALF_PAIR(half_##name##_f16, a, b, c))                         \
    LANE_RUN3(name##_bf16, H, H, H, H, half_##name##_bf16(a, b, c))                                            \
    LANE_RUN3(name##_bf16x2, U32, U32, U32, U32, HALF_PAIR(half_##name##_bf16, a, b, c))
#include "tests/ptx/ptx_float.def"
#undef OP1
#undef OP2
#undef OP3
#undef HALF1
#undef HALF2
#undef HALF3

#define OP1 LANE_ROW1
#define OP2 LANE_ROW2
#define OP3 LANE_ROW3
#define HALF_ROWS(name, h, h2, b16, b162, one, two)                                                            \
    {h, one, name##_f16, FLOW_NEXT, 0}, {h2, two, name##_f16x2, FLOW_NEXT, 0},                                 \
        {b16, one, name##_bf16, FLOW_NEXT, 0}, {b162, two, name##_bf16x2, FLOW_NEXT, 0},
#define HALF1(name, h, h2, b16, b162, y) HALF_ROWS(name, h, h2, b16, b162, "hh", "ww")
#define HALF2(name, h, h2, b16, b162, y) HALF_ROWS(name, h, h2, b16, b162, "hhh", "www")
#define HALF3(name, h, h2, b16, b162, y) HALF_ROWS(name, h, h2, b16, b162, "hhhh", "wwww")
const Row ptx_float_rows[] = {
#include "tests/ptx/ptx_float.def"
    {0},
};
