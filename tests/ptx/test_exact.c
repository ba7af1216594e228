/* Integer, bit, conversion and rounding instructions against plain C, to the bit: the expressions of exact.def.
 */
#include "tests/ptx/kernels/exact.h"
#include "tests/ptx/test_ptx.h"
#include <fenv.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int32_t quotient(int32_t a, int32_t b) { return (int32_t)((int64_t)a / b); }
static int64_t long_quotient(int64_t a, int64_t b) { return b == -1 ? (int64_t) - (uint64_t)a : a / b; }

static uint32_t dot4(uint32_t a, uint32_t b, bool is_signed)
{
    uint32_t y = 0;
    for (int k = 0; k < 4; k++) {
        const uint8_t u = (uint8_t)(a >> 8 * k), v = (uint8_t)(b >> 8 * k);
        y += is_signed ? (uint32_t)((int8_t)u * (int8_t)v) : (uint32_t)u * v;
    }
    return y;
}

static uint32_t logic(uint32_t a, uint32_t b, uint32_t c, int table)
{
    uint32_t y = 0;
    for (int k = 0; k < 32; k++) {
        const int at = (int)((a >> k & 1) << 2 | (b >> k & 1) << 1 | (c >> k & 1));
        y |= (uint32_t)(table >> at & 1) << k;
    }
    return y;
}

static uint64_t reversed(uint64_t v)
{
    uint64_t y = 0;
    for (int k = 0; k < 64; k++) y |= (v >> k & 1) << (63 - k);
    return y;
}

static uint32_t permuted(uint32_t a, uint32_t b, uint32_t selectors)
{
    uint8_t byte[8], y[4];
    memcpy(byte, &a, 4), memcpy(byte + 4, &b, 4);
    for (int k = 0; k < 4; k++) {
        const int s = selectors >> 4 * k & 15;
        y[k] = s & 8 ? (uint8_t)((int8_t)byte[s & 7] >> 7) : byte[s & 7];
    }
    uint32_t v;
    memcpy(&v, y, 4);
    return v;
}

static uint64_t field(uint64_t v, int at, int n, int width, bool is_signed)
{
    const int last = at + n - 1 < width - 1 ? at + n - 1 : width - 1;
    const uint64_t sign = is_signed && n ? v >> last & 1 : 0;
    uint64_t y = 0;
    for (int k = 0; k < width; k++) y |= (k < n && at + k < width ? v >> (at + k) & 1 : sign) << k;
    return y;
}

static uint64_t inserted(uint64_t v, uint64_t into, int at, int n, int width)
{
    for (int k = 0; k < n && at + k < width; k++) {
        const uint64_t bit = (uint64_t)1 << (at + k);
        into = v >> k & 1 ? into | bit : into & ~bit;
    }
    return into;
}

static double bounded(double v, double low, double high)
{
    return v != v ? 0 : v < low ? low : v > high ? high : v;
}
static int64_t to_long(double v)
{
    return v >= 0x1p63 ? INT64_MAX : v != v || v < -0x1p63 ? INT64_MIN : (int64_t)v;
}
static uint64_t to_ulong(double v)
{
    return v != v ? (uint64_t)1 << 63 : v >= 0x1p64 ? UINT64_MAX : v < 0 ? 0 : (uint64_t)v;
}

/* The host's arithmetic in another rounding mode; volatile keeps it between the switches. */
#define IN_MODE(T, y)                                                                                          \
    fesetround(mode);                                                                                          \
    volatile T result = (y);                                                                                   \
    fesetround(FE_TONEAREST);                                                                                  \
    return result;
static float int_float(int64_t v, int mode)
{
    volatile int64_t n = v;
    IN_MODE(float, (float)n)
}
static float narrowed(double v, int mode)
{
    volatile double x = v;
    IN_MODE(float, (float)x)
}
static float directed(float f, float g, float h, int mode)
{
    volatile float a = f, b = g, c = h;
    IN_MODE(float, fmaf(a, b, c))
}

static uint32_t a_of(float v)
{
    uint32_t u;
    memcpy(&u, &v, 4);
    return u;
}

static float bf16(uint16_t v)
{
    const uint32_t u = (uint32_t)v << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* Holds every sum of a product and a number of 16 bits. */
typedef _Float128 Exact;

/* The nearest of the neighbours, the even one of two. */
static uint16_t nearest_bf16(Exact v)
{
    if (v != v) return 0x7FFF;
    const uint16_t sign = __builtin_signbit(v) ? 0x8000 : 0;
    const Exact x = v < 0 ? -v : v;
    uint16_t low = 0;
    for (int bit = 14; bit >= 0; bit--) {
        const uint16_t next = (uint16_t)(low | 1 << bit);
        if (next <= 0x7F80 && (Exact)bf16(next) <= x) low = next;
    }
    if (low == 0x7F80) return (uint16_t)(sign | low);
    /* beyond the largest, the next step would have been 2^128 */
    const Exact below = (Exact)bf16(low),
                above = low == 0x7F7F ? 2 * (Exact)0x1p127f : (Exact)bf16((uint16_t)(low + 1));
    const bool up = x - below > above - x || (x - below == above - x && (low & 1));
    return (uint16_t)(sign | (low + up));
}

static uint32_t fma_pair(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t y = 0;
    for (int k = 0; k < 32; k += 16)
        y |= (uint32_t)nearest_bf16((Exact)bf16((uint16_t)(a >> k)) * (Exact)bf16((uint16_t)(b >> k)) +
                                    (Exact)bf16((uint16_t)(c >> k)))
             << k;
    return y;
}

static _Float16 half(uint16_t v)
{
    _Float16 h;
    memcpy(&h, &v, 2);
    return h;
}

static uint16_t half_bits(_Float16 h)
{
    uint16_t v;
    memcpy(&v, &h, 2);
    return h != h ? 0x7FFF : v;
}

static uint64_t bits_float(float v) { return v != v ? 0x7FFFFFFF : a_of(v); }
static uint64_t bits_double(double v)
{
    uint64_t u;
    memcpy(&u, &v, 8);
    return v != v ? 0x7FFFFFFFFFFFFFFF : u;
}
static uint64_t bits_int(int32_t v) { return (uint64_t)v; }
static uint64_t bits_uint(uint32_t v) { return v; }
static uint64_t bits_long(uint64_t v) { return v; }
#define BITS(v)                                                                                                \
    _Generic((v), float                                                                                        \
             : bits_float, double                                                                              \
             : bits_double, uint32_t                                                                           \
             : bits_uint, uint64_t                                                                             \
             : bits_long, int64_t                                                                              \
             : bits_long, long long                                                                            \
             : bits_long, unsigned long long                                                                   \
             : bits_long, default                                                                              \
             : bits_int)(v)

static const char *const texts[] = {
#define CASE(device, host) #device,
#define SAME(both)         #both,
#include "tests/ptx/kernels/exact.def"
#undef CASE
#undef SAME
};
enum { CASES = sizeof texts / sizeof *texts };

#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wparentheses"
static void expected(const ExactInput *in, uint64_t *out)
{
    const uint32_t a = in->a, b = in->b, c = in->c;
    const uint64_t p = in->p, q = in->q;
    const int32_t s = (int32_t)a, t = (int32_t)b;
    const int64_t i = (int64_t)p, j = (int64_t)q;
    const float f = in->f, g = in->g, h = in->h;
    const double d = in->d, e = in->e;
    const uint16_t x = (uint16_t)a, y = (uint16_t)b, z = (uint16_t)c;
#define CASE(device, host) *out++ = BITS(host);
#define SAME(both)         *out++ = BITS(both);
#include "tests/ptx/kernels/exact.def"
#undef CASE
#undef SAME
}

static uint64_t random_bits(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 29 ^ *state >> 7) * 0x9E3779B97F4A7C15u;
}

static float any_float(uint64_t r)
{
    static const float special[] = {0,        -0.0f,    1,         -1,    0.5f,      -0.5f,      1.5f,
                                    2.5f,     INFINITY, -INFINITY, NAN,   0x1p-149f, -0x1p-130f, 0x1p31f,
                                    -0x1p31f, 0x1p32f,  0x1p63f,   65504, 65520,     1e30f,      -3e38f};
    const uint32_t u = (uint32_t)r;
    float v;
    memcpy(&v, &u, 4);
    switch (r >> 61) {
    case 0: return special[(r >> 32) % (sizeof special / sizeof *special)];
    case 1: return v; /* any bits */
    case 2: return (float)(int32_t)u / 2;
    default: return ldexpf((float)(int32_t)u, -28 - (int)(r >> 40 & 7));
    }
}

static void fill(ExactInput *in, int n)
{
    static const uint32_t special[] = {0,  1,  0xFFFFFFFF, 0x80000000, 0x7FFFFFFF,
                                       31, 32, 0x8000,     0x7F80,     0x3C003F80};
    uint64_t r = 7;
    for (int k = 0; k < n; k++) {
        ExactInput *v = &in[k];
        v->a = (uint32_t)random_bits(&r), v->b = (uint32_t)random_bits(&r), v->c = (uint32_t)random_bits(&r);
        v->p = random_bits(&r), v->q = random_bits(&r) >> (random_bits(&r) & 63);
        if (k % 3 == 0) v->a = special[random_bits(&r) % 10], v->p = v->a * 0x100000001u;
        if (k % 5 == 0) v->b = special[random_bits(&r) % 10], v->q = (uint64_t)(int64_t)(int32_t)v->b;
        if (k % 7 == 0) v->c = special[random_bits(&r) % 10];
        v->f = any_float(random_bits(&r)), v->g = any_float(random_bits(&r)), v->h = any_float(random_bits(&r));
        if (k % 4 == 0) v->g = v->f;
        if (k % 9 == 0) v->h = -v->f * v->g;
        v->d = (double)any_float(random_bits(&r)) * (1 + 0x1p-40 * (double)(v->a & 255)),
        v->e = (double)v->g / 3;
    }
}

START_TEST(exact)
{
    enum { N = 1500 };
    ExactInput *in = malloc(N * sizeof *in);
    uint64_t *out = malloc((size_t)N * CASES * sizeof *out), want[CASES];
    fill(in, N);
    test_open("kernels");
    LAUNCH("_Z12exact_kernelPK10ExactInputiPm", DIM((N + 95) / 96), DIM(96), 0, POINTER(in), INT(N),
           POINTER(out));
    int bad = 0, told[CASES] = {0};
    for (int k = 0; k < N; k++) {
        expected(&in[k], want);
        for (int r = 0; r < CASES; r++) {
            const uint64_t got = out[(size_t)r * N + k];
            if (got != want[r] && ++bad && !told[r]++)
                printf("%s: 0x%llx, expected 0x%llx (a %#x b %#x c %#x p %#llx q %#llx f %a g %a h %a d %a e "
                       "%a)\n",
                       texts[r], (unsigned long long)got, (unsigned long long)want[r], in[k].a, in[k].b,
                       in[k].c, (unsigned long long)in[k].p, (unsigned long long)in[k].q, (double)in[k].f,
                       (double)in[k].g, (double)in[k].h, in[k].d, in[k].e);
        }
    }
    free(in);
    free(out);
    ck_assert_int_eq(bad, 0);
}
END_TEST

void test_exact(TCase *c) { tcase_add_test(c, exact); }
