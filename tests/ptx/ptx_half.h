/* 16-bit floating point by its bits, and exact rounding. */
#ifndef TESTS_PTX_PTX_HALF_H
#define TESTS_PTX_PTX_HALF_H
#include <stdint.h>
#include <string.h>

static inline uint32_t float_bits(float v)
{
    uint32_t u;
    memcpy(&u, &v, 4);
    return u;
}

static inline float bits_float(uint32_t u)
{
    float v;
    memcpy(&v, &u, 4);
    return v;
}

static inline uint64_t double_bits(double v)
{
    uint64_t u;
    memcpy(&u, &v, 8);
    return u;
}

static inline double bits_double(uint64_t u)
{
    double v;
    memcpy(&v, &u, 8);
    return v;
}

/* a + b, the last bit set where it is not exact: rounding the result again to fewer bits rounds the exact sum.
 */
static inline double sum_odd(double a, double b)
{
    const double s = a + b, t = s - a, rest = (a - (s - t)) + (b - t);
    if ((rest < 0 || rest > 0) && !(double_bits(s) & 1))
        return bits_double(double_bits(s) + ((rest > 0) == (s > 0) ? 1 : -1));
    return s;
}

/* The same for a sum that will be rounded down, where a zero of opposite terms is -0. */
static inline double sum_down(double a, double b)
{
    const double s = sum_odd(a, b);
    return s == 0 && (double_bits(a) | double_bits(b)) >> 63 ? -0.0 : s;
}

static inline float float_odd(double v)
{
    const float f = (float)v;
    if (f == v || v != v || (float_bits(f) & 1)) return f;
    return bits_float(float_bits(f) + ((v > f) == (v > 0) ? 1 : -1));
}

/* To the float below ('m'), above ('p'), towards zero ('z'), or to nearest. */
static inline float round_float(double v, char how)
{
    const float f = (float)v;
    const int up = how == 'p' || (how == 'z' && v < 0), down = how == 'm' || (how == 'z' && v > 0);
    if (f == v || v != v || (!up && !down) || (up && f > v) || (down && f < v)) return f;
    if (f == 0) return bits_float(up ? 1 : 0x80000001u);
    return bits_float(float_bits(f) + (up == (f > 0) ? 1 : -1));
}

static inline float bf16_float(uint16_t v) { return bits_float((uint32_t)v << 16); }

static inline uint16_t float_bf16(float v)
{
    const uint32_t u = float_bits(v);
    return v != v ? 0x7FFF : (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

static inline float f16_float(uint16_t v)
{
    _Float16 h;
    memcpy(&h, &v, 2);
    return (float)h;
}

static inline uint16_t float_f16(float v)
{
    const _Float16 h = (_Float16)v;
    uint16_t u;
    memcpy(&u, &h, 2);
    return v != v ? 0x7FFF : u;
}

/* Subnormals to zero (.ftz). */
static inline float flushed(float v)
{
    return (float_bits(v) & 0x7F800000u) ? v : bits_float(float_bits(v) & 0x80000000u);
}

#endif
