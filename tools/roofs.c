/* The read roof: every thread sums its part of an array of eight times the last-level cache, 16 floats at a
 * time in eight chains, on huge pages where the system has them, as arenas are. The FMA roof: every thread runs
 * twelve independent chains x = x a + b on vectors of the widest kind (latency 4 at two a cycle asks for
 * eight). Both take the best of several runs: disturbances only take away. The peaks of dot products have
 * twelve chains as well. */
#include "tools/roofs.h"
#include "kernels/vec.h"
#include "tools/cli.h"
#include <omp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

static const double SECONDS = 0.7; /* on each roof */
enum { CHAINS = 12, FMA_TURNS = 1 << 20, RUNS_LEAST = 5, HUGE_PAGE = 2 << 20 };

VEC_BODY(sum_floats, (const float *x, int64_t n, float *out), {
    Vec s[8];
    for (int k = 0; k < 8; k++) s[k] = VEC_LOAD(x + k * VEC);
    for (int64_t i = 8 * VEC; i + 8 * VEC <= n; i += 8 * VEC)
        for (int k = 0; k < 8; k++) s[k] += VEC_LOAD(x + i + k * VEC);
    for (int k = 1; k < 8; k++) s[0] += s[k];
    *out = vec_sum(&s[0]);
})
VEC_FUNCTION(sum_floats, (const float *x, int64_t n, float *out), (x, n, out))

#if defined(__x86_64__)
#define FMA_TARGET(features) __attribute__((target(features)))
#else
#define FMA_TARGET(features)
#endif

/* The chains are named one by one so that they stay in registers. */
#define FMA_LOOP(name, features, width)                                                                        \
    typedef float name##_vector __attribute__((vector_size(width)));                                           \
    FMA_TARGET(features) static void name(float start, float *out)                                             \
    {                                                                                                          \
        name##_vector z = {0}, a = z + (1 - start), b = z + start;                                             \
        name##_vector x0 = b, x1 = b * 2, x2 = b * 3, x3 = b * 4, x4 = b * 5, x5 = b * 6, x6 = b * 7,          \
                      x7 = b * 8, x8 = b * 9, x9 = b * 10, x10 = b * 11, x11 = b * 12;                         \
        for (int i = 0; i < FMA_TURNS; i++) {                                                                  \
            x0 = x0 * a + b, x1 = x1 * a + b, x2 = x2 * a + b, x3 = x3 * a + b;                                \
            x4 = x4 * a + b, x5 = x5 * a + b, x6 = x6 * a + b, x7 = x7 * a + b;                                \
            x8 = x8 * a + b, x9 = x9 * a + b, x10 = x10 * a + b, x11 = x11 * a + b;                            \
        }                                                                                                      \
        x0 = x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7 + x8 + x9 + x10 + x11;                                      \
        *out = x0[0] + x0[(width) / 4 - 1];                                                                    \
    }
#if defined(__x86_64__)
FMA_LOOP(fma_avx512, "avx512f", 64)
FMA_LOOP(fma_avx2, "avx2,fma", 32)
#endif
FMA_LOOP(fma_plain, "sse2", 16)

#if defined(__x86_64__)
#define DOT_LOOP(name, features, type, dot, a, b)                                                              \
    FMA_TARGET(features) static void name(float start, float *out)                                             \
    {                                                                                                          \
        type x[CHAINS], u = (type)_mm512_set1_ps(start), z = u;                                                \
        _Pragma("GCC unroll 12") for (int k = 0; k < CHAINS; k++) x[k] = (type)_mm512_set1_epi32(k);           \
        for (int i = 0; i < FMA_TURNS; i++) {                                                                  \
            _Pragma("GCC unroll 12") for (int k = 0; k < CHAINS; k++) x[k] = dot(x[k], a, b);                  \
        }                                                                                                      \
        _Pragma("GCC unroll 12") for (int k = 0; k < CHAINS; k++) z = (type)((__m512i)z ^ (__m512i)x[k]);      \
        *out = ((__m512)z)[0];                                                                                 \
    }
DOT_LOOP(dot_bf16, "avx512f,avx512bf16", __m512, _mm512_dpbf16_ps, (__m512bh)u, (__m512bh)u)
DOT_LOOP(dot_vnni, "avx512f,avx512vnni", __m512i, _mm512_dpbusd_epi32, u, u)
#endif

typedef void PeakLoop(float start, float *out);

/* NULL where there is none. *width: multiply-adds of one instruction. */
static PeakLoop *peak_loop(Peak peak, double *width, const char **vectors)
{
    *vectors = "plain";
#if defined(__x86_64__)
    if (vec_level() >= 2) {
        *vectors = "AVX-512";
        *width = peak == PEAK_FMA ? 16 : peak == PEAK_BF16 ? 32 : 64;
        if (peak == PEAK_BF16) return __builtin_cpu_supports("avx512bf16") ? dot_bf16 : NULL;
        if (peak == PEAK_VNNI) return __builtin_cpu_supports("avx512vnni") ? dot_vnni : NULL;
        return fma_avx512;
    }
    if (vec_level() == 1 && peak == PEAK_FMA) {
        *vectors = "AVX2";
        *width = 8;
        return fma_avx2;
    }
#endif
    *width = 4;
    return peak == PEAK_FMA ? fma_plain : NULL;
}

double roofs_peak(Peak peak)
{
    double width;
    const char *vectors;
    PeakLoop *loop = peak_loop(peak, &width, &vectors);
    if (!loop) return 0;
    volatile float start = 0.001f;
    int threads = 1;
    double from = cli_seconds();
#pragma omp parallel
    {
        float out;
        loop(start, &out);
        volatile float keep = out;
        (void)keep;
#pragma omp single
        threads = omp_get_num_threads();
    }
    return 2.0 * CHAINS * FMA_TURNS * width * threads / (cli_seconds() - from);
}

static double measure_fma(const char **vectors)
{
    double width, best = 0, until = cli_seconds() + SECONDS;
    peak_loop(PEAK_FMA, &width, vectors);
    for (int k = 0; k < RUNS_LEAST || cli_seconds() < until; k++) {
        double speed = roofs_peak(PEAK_FMA);
        if (speed > best) best = speed;
    }
    return best;
}

double roofs_read_once(const Roofs *r, size_t from, size_t bytes)
{
    const float *x = (const float *)r->memory + from / sizeof *x;
    double start = cli_seconds();
#pragma omp parallel
    {
        int64_t n = (int64_t)(bytes / sizeof *x), threads = omp_get_num_threads(), me = omp_get_thread_num();
        int64_t first = me * n / threads / VEC * VEC;
        float out;
        sum_floats(x + first, (me + 1) * n / threads / VEC * VEC - first, &out);
        volatile float keep = out;
        (void)keep;
    }
    return cli_seconds() - start;
}

void roofs_flush(const Roofs *r) { roofs_read_once(r, 0, r->bytes / 4); }

bool roofs_measure(Roofs *r, Error *e)
{
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    *r = (Roofs){.bytes = 8 * (size_t)(cache > 0 ? cache : 16 << 20)};
    float *x = r->memory = aligned_alloc(HUGE_PAGE, r->bytes);
    if (!x) return error_set(e, ERROR_MEMORY, "no memory for the read test (%zu bytes)", r->bytes);
    madvise(x, r->bytes, MADV_HUGEPAGE);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < r->bytes / sizeof *x; i++) x[i] = (float)(i & 1023);
    double until = cli_seconds() + SECONDS;
    for (int k = 0; k < RUNS_LEAST || cli_seconds() < until; k++) {
        double speed = (double)r->bytes / roofs_read_once(r, 0, r->bytes);
        if (speed > r->read) r->read = speed;
    }
    r->fma = measure_fma(&r->vectors);
    return true;
}

void roofs_close(Roofs *r)
{
    free(r->memory);
    r->memory = NULL;
}
