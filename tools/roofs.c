/* The read roof: every thread sums its part of an array of eight times the last-level cache, 16 floats at a
 * time in eight chains. The FMA roof: every thread runs twelve independent chains x = x a + b on vectors of the
 * widest kind (latency 4 at two a cycle asks for eight). Both take the best of several runs: disturbances only
 * take away. */
#include "tools/roofs.h"
#include "kernels/vec.h"
#include "tools/cli.h"
#include <omp.h>
#include <stdlib.h>
#include <unistd.h>

static const double SECONDS = 0.7; /* on each roof */
enum { CHAINS = 12, FMA_TURNS = 1 << 20, RUNS_LEAST = 5 };

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

typedef void FmaLoop(float start, float *out);

static double measure_fma(const char **vectors)
{
    FmaLoop *loop = fma_plain;
    double width = 4, best = 0;
    *vectors = "plain";
#if defined(__x86_64__)
    if (vec_level() == 2) loop = fma_avx512, width = 16, *vectors = "AVX-512";
    if (vec_level() == 1) loop = fma_avx2, width = 8, *vectors = "AVX2";
#endif
    double until = cli_seconds() + SECONDS;
    for (int k = 0; k < RUNS_LEAST || cli_seconds() < until; k++) {
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
        double flops = 2.0 * CHAINS * FMA_TURNS * width * threads / (cli_seconds() - from);
        if (flops > best) best = flops;
    }
    return best;
}

static double read_bytes(const Roofs *r, size_t bytes)
{
    const float *x = r->memory;
    double from = cli_seconds();
#pragma omp parallel
    {
        int64_t n = (int64_t)(bytes / sizeof *x), threads = omp_get_num_threads(), me = omp_get_thread_num();
        int64_t start = me * n / threads / VEC * VEC;
        float out;
        sum_floats(x + start, (me + 1) * n / threads / VEC * VEC - start, &out);
        volatile float keep = out;
        (void)keep;
    }
    return (double)bytes / (cli_seconds() - from);
}

void roofs_flush(const Roofs *r) { read_bytes(r, r->bytes / 4); }

bool roofs_measure(Roofs *r, Error *e)
{
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    *r = (Roofs){.bytes = 8 * (size_t)(cache > 0 ? cache : 16 << 20)};
    float *x = r->memory = aligned_alloc(4096, r->bytes);
    if (!x) return error_set(e, ERROR_MEMORY, "no memory for the read test (%zu bytes)", r->bytes);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < r->bytes / sizeof *x; i++) x[i] = (float)(i & 1023);
    double until = cli_seconds() + SECONDS;
    for (int k = 0; k < RUNS_LEAST || cli_seconds() < until; k++) {
        double speed = read_bytes(r, r->bytes);
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
