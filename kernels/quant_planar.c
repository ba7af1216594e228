/* A block of 64 weights is 32 bytes of codes and one scale; formats differ in the table of 16 levels only.
 *
 * x is first put in the order in which codes come out. A task is ROWS rows of W; it walks over x in strips that
 * stay in the first cache, and asks for the next strip's codes, or the next task's, into the second.
 *
 * AVX-512: 64 bytes of codes, two blocks, are 16 words of eight nibbles. vpermps looks at the low four bits of
 * each index only, so nibble s of each word is a shift by 4 s away from its level: for 16 weights a shift, a
 * look-up, a multiply-add, which have different ports. The two blocks' scales, eight lanes each, multiply the
 * sum of the eight. AVX2: x's blocks as evens, then odds; tables of 8, so two look-ups and a blend.
 *
 * What bounds it: 8 look-ups, 8 multiply-adds, 7 shifts and 2 for the scales are 25 instructions of 512 bits
 * for 72 bytes (two halves each, four ports): 12.5 cycles if ports were never mistaken, 15 measured in cache on
 * Zen 4, 17 GB/s a core. Tried there, cycles for 128 weights: bytes widened by vpmovzxbd, table scaled for each
 * block 17.3; this 15.4; scales by two broadcasts to masks 15.8, by two multiply-adds of all lanes 15.6; codes
 * loaded again at byte offsets instead of shifted 16.9; two pairs of blocks at once 15.6; four rows of W at a
 * time 15.0, but adjacent ones come from memory half as fast, and two that are pages apart no faster than one.
 * Counted only: bytes (VNNI) need levels and x in three parts each to stay within 1e-6, six products, 28
 * instructions; bf16 six products as well.
 * From memory, one thread, GB/s of rows of 4096 and 14336: nothing fetched ahead 12.6, 6.7; the next row, into
 * the first cache, 13.4, 8.7; the next strip and task, into the second, 14.4, 12.5 with strips of 28 KiB, 13.9,
 * 9.4 with 16; 1 to 2 KiB ahead, into the first, as well 14.6, 13.0. Two threads that took turns by 16 rows
 * fetched each other's codes: 16 instead of 25 GB/s where they share no third cache.
 *
 * Every output belongs to one thread: bits do not depend on the thread count.
 */
#include "kernels/quant_planar.h"
#include "kernels/quant.h"
#include "kernels/quant_cpu.h"
#include "kernels/quant_nf4.h"
#include "kernels/vec.h"
#include <omp.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

enum {
    BLOCK = NF4_BLOCK,
    HALF = BLOCK / 2,
    NESTED_BLOCK = 256,
    STRIP = 112, /* blocks times rows of x: 28 KiB of x */
    ROWS = 16,
    NEAR = 2048, /* bytes ahead that are fetched into the first cache */
};

/* to[i] = value[code[i]] * scale + offset. */
static void unnest(const float *value, const uint8_t *code, int64_t n, float scale, float offset, float *to)
{
    for (int64_t i = 0; i < n; i++) to[i] = value[code[i]] * scale + offset;
}

#ifdef __x86_64__
/* Sixteen at once: looked up in each eighth of the 256 values, then chosen by the upper three bits. */
__attribute__((target("avx512f"), always_inline)) static inline __m512 sixteen(const float *value,
                                                                               __m128i codes, float scale,
                                                                               float offset)
{
    __m512i at = _mm512_cvtepu8_epi32(codes);
    __m512 x[8];
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++)
        x[k] = _mm512_permutex2var_ps(_mm512_loadu_ps(value + 2 * k * VEC), at,
                                      _mm512_loadu_ps(value + (2 * k + 1) * VEC));
    __mmask16 bit5 = _mm512_test_epi32_mask(at, _mm512_set1_epi32(32)),
              bit6 = _mm512_test_epi32_mask(at, _mm512_set1_epi32(64)),
              bit7 = _mm512_test_epi32_mask(at, _mm512_set1_epi32(128));
#pragma GCC unroll 4
    for (int k = 0; k < 8; k += 2) x[k] = _mm512_mask_blend_ps(bit5, x[k], x[k + 1]);
    x[0] = _mm512_mask_blend_ps(bit7, _mm512_mask_blend_ps(bit6, x[0], x[2]),
                                _mm512_mask_blend_ps(bit6, x[4], x[6]));
    x[0] = _mm512_mul_ps(x[0], _mm512_set1_ps(scale));
    __asm__("" : "+v"(x[0])); /* rounded here, as without AVX-512: no multiply-add */
    return _mm512_add_ps(x[0], _mm512_set1_ps(offset));
}

__attribute__((target("avx512f"))) static void unnest_avx512(const float *value, const uint8_t *code, int64_t n,
                                                             float scale, float offset, float *to)
{
    for (; n >= VEC; n -= VEC, code += VEC, to += VEC)
        _mm512_storeu_ps(to,
                         sixteen(value, _mm_loadu_si128((const __m128i *)(const void *)code), scale, offset));
    if (!n) return;
    uint8_t rest[VEC] = {0};
    for (int64_t i = 0; i < n; i++) rest[i] = code[i];
    _mm512_mask_storeu_ps(to, (__mmask16)((1 << n) - 1),
                          sixteen(value, _mm_loadu_si128((const __m128i *)(const void *)rest), scale, offset));
}
#endif

const float *quant_planar_scales(const Quant *q, int64_t first, int64_t n, float *room)
{
    if (q->absmax) return q->absmax + first;
    const float *value = quant_dynamic_map();
    void (*part)(const float *, const uint8_t *, int64_t, float, float, float *) = unnest;
#ifdef __x86_64__
    if (vec_level() >= 2) part = unnest_avx512;
#endif
    for (int64_t b = 0, end; b < n; b = end) { /* one outer scale at a time */
        int64_t outer = (first + b) / NESTED_BLOCK;
        end = (outer + 1) * NESTED_BLOCK - first;
        if (end > n) end = n;
        part(value, q->nested + first + b, end - b, q->nested_absmax[outer], q->offset, room + b);
    }
    return room;
}

/* ---- a strip of one row ---- */

/* sum (M,VEC): += lane by lane what `blocks` blocks of a row of W give with x, whose rows are `line` apart. The
 * next strip's codes are `ahead` bytes on; the next row's begin `wrap` bytes behind the end of this one's. M is
 * a constant wherever a body is inlined. */
typedef void Strip(const float *level, const uint8_t *codes, int64_t ahead, int64_t wrap, const float *scale,
                   int64_t blocks, const float *x, int64_t line, int64_t M, float *sum);

static void strip_plain(const float *level, const uint8_t *codes, int64_t ahead, int64_t wrap,
                        const float *scale, int64_t blocks, const float *x, int64_t line, int64_t M, float *sum)
{
    (void)ahead, (void)wrap;
    for (int64_t m = 0; m < M; m++)
        for (int64_t b = 0; b < blocks; b++) {
            const uint8_t *c = codes + b * HALF;
            const float *even = x + m * line + b * BLOCK, *odd = even + HALF;
            for (int i = 0; i < HALF; i++)
                sum[m * VEC + i % VEC] +=
                    level[c[i] >> 4] * scale[b] * even[i] + level[c[i] & 15] * scale[b] * odd[i];
        }
}

#ifdef __x86_64__
/* The levels of eight indices; only their low four bits count. */
#define LOOK_UP_AVX2(index, low, high)                                                                         \
    _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, index), _mm256_permutevar8x32_ps(high, index),              \
                     _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)))

__attribute__((target("avx2,fma"), always_inline)) static inline void strip_avx2_body(
    const float *level, const uint8_t *codes, int64_t ahead, int64_t wrap, const float *scale, int64_t blocks,
    const float *x, int64_t line, const int M, float *sum)
{
    (void)ahead;
    __m256 all[QUANT_CPU_ROWS];
#pragma GCC unroll 4
    for (int m = 0; m < M; m++) all[m] = _mm256_loadu_ps(sum + m * VEC);
    for (int64_t b = 0; b < blocks; b++, codes += HALF) {
        _mm_prefetch((const char *)codes + NEAR + ((blocks - b) * HALF > NEAR ? 0 : wrap), _MM_HINT_T0);
        __m256 s = _mm256_set1_ps(scale[b]);
        __m256 low = _mm256_mul_ps(_mm256_loadu_ps(level), s),
               high = _mm256_mul_ps(_mm256_loadu_ps(level + 8), s);
        for (int i = 0; i < HALF; i += 8) {
            __m256i odds = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(codes + i)));
            __m256i evens = _mm256_srli_epi32(odds, 4);
            __m256 even = LOOK_UP_AVX2(evens, low, high), odd = LOOK_UP_AVX2(odds, low, high);
#pragma GCC unroll 4
            for (int m = 0; m < M; m++) {
                const float *v = x + m * line + b * BLOCK + i;
                all[m] = _mm256_fmadd_ps(even, _mm256_loadu_ps(v), all[m]);
                all[m] = _mm256_fmadd_ps(odd, _mm256_loadu_ps(v + HALF), all[m]);
            }
        }
    }
#pragma GCC unroll 4
    for (int m = 0; m < M; m++) _mm256_storeu_ps(sum + m * VEC, all[m]);
}

/* all[m] += two * the sum over the 128 weights of v. */
__attribute__((target("avx512f"), always_inline)) static inline void pair_avx512(__m512 table, __m512i v,
                                                                                 __m512 two, const float *x,
                                                                                 int64_t line, const int M,
                                                                                 __m512 *all)
{
    __m512 part[QUANT_CPU_ROWS];
#pragma GCC unroll 8
    for (int s = 0; s < 8; s++) {
        __m512 w = _mm512_permutexvar_ps(s ? _mm512_srli_epi32(v, 4 * (unsigned)s) : v, table);
#pragma GCC unroll 4
        for (int m = 0; m < M; m++) {
            __m512 xs = _mm512_loadu_ps(x + m * line + s * VEC);
            part[m] = s ? _mm512_fmadd_ps(w, xs, part[m]) : _mm512_mul_ps(w, xs);
        }
    }
#pragma GCC unroll 4
    for (int m = 0; m < M; m++) all[m] = _mm512_fmadd_ps(part[m], two, all[m]);
}

__attribute__((target("avx512f"), always_inline)) static inline void strip_avx512_body(
    const float *level, const uint8_t *codes, int64_t ahead, int64_t wrap, const float *scale, int64_t blocks,
    const float *x, int64_t line, const int M, float *sum)
{
    const __m512i pick = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    __m512 all[QUANT_CPU_ROWS], table = _mm512_loadu_ps(level);
    int64_t b = 0;
#pragma GCC unroll 4
    for (int m = 0; m < M; m++) all[m] = _mm512_loadu_ps(sum + m * VEC);
    for (; b + 2 <= blocks; b += 2, codes += BLOCK, x += 2 * BLOCK) {
        __m128i scales = _mm_loadl_epi64((const __m128i *)(const void *)(scale + b));
        __m512 two = _mm512_permutexvar_ps(pick, _mm512_castsi512_ps(_mm512_castsi128_si512(scales)));
        _mm_prefetch((const char *)codes + ahead, _MM_HINT_T1);
        _mm_prefetch((const char *)codes + NEAR + ((blocks - b) * HALF > NEAR ? 0 : wrap), _MM_HINT_T0);
        pair_avx512(table, _mm512_loadu_si512(codes), two, x, line, M, all);
    }
    if (b < blocks) /* a row's last block, alone: beside it x is 0 */
        pair_avx512(table, _mm512_maskz_loadu_epi32(0xff, codes), _mm512_set1_ps(scale[b]), x, line, M, all);
#pragma GCC unroll 4
    for (int m = 0; m < M; m++) _mm512_storeu_ps(sum + m * VEC, all[m]);
}

#define STRIP_FUNCTION(isa, features)                                                                          \
    __attribute__((target(features))) static void strip_##isa(                                                 \
        const float *level, const uint8_t *codes, int64_t ahead, int64_t wrap, const float *scale,             \
        int64_t blocks, const float *x, int64_t line, int64_t M, float *sum)                                   \
    {                                                                                                          \
        switch (M) {                                                                                           \
        case 1: strip_##isa##_body(level, codes, ahead, wrap, scale, blocks, x, line, 1, sum); break;          \
        case 2: strip_##isa##_body(level, codes, ahead, wrap, scale, blocks, x, line, 2, sum); break;          \
        case 3: strip_##isa##_body(level, codes, ahead, wrap, scale, blocks, x, line, 3, sum); break;          \
        default: strip_##isa##_body(level, codes, ahead, wrap, scale, blocks, x, line, 4, sum);                \
        }                                                                                                      \
    }
STRIP_FUNCTION(avx512, "avx512f")
STRIP_FUNCTION(avx2, "avx2,fma")
#endif

static Strip *strip_function(void)
{
#ifdef __x86_64__
    if (vec_level() >= 2) return strip_avx512;
    if (vec_level() == 1) return strip_avx2;
#endif
    return strip_plain;
}

/* ---- the product ---- */

/* A row of x in the order of the codes, `line` long: what is beyond K is 0. */
static void sort(const float *x, int64_t K, int64_t line, float *to)
{
    if (line > K) memset(to + line - 2 * BLOCK, 0, 2 * BLOCK * sizeof *to);
    if (vec_level() < 2) {
        for (int64_t b = 0; b < K; b += BLOCK)
            for (int i = 0; i < BLOCK; i++) to[b + i % 2 * HALF + i / 2] = x[b + i];
        return;
    }
    for (int64_t g = 0; g < K; g += 2 * BLOCK) /* nibble s of word j: the high one of a byte is the even one */
        for (int64_t i = 0; i < 2 * BLOCK && g + i < K; i++) to[g + (i % 8 ^ 1) * VEC + i / 8] = x[g + i];
}

static int64_t line_of(int64_t K) { return (K + 2 * BLOCK - 1) / (2 * BLOCK) * (2 * BLOCK); }

int64_t quant_planar_scratch(const Tensor *w, int64_t M) { return line_of(w->dim[1]) * M; }

typedef struct {
    const Tensor *w;
    const float *level, *x;
    int64_t M, line;
    Strip *strip;
    float *y;
} Product;

static void product_rows(const Product *p, int64_t from, int64_t to)
{
    int64_t N = p->w->dim[0], blocks = p->w->dim[1] / BLOCK, step = STRIP / p->M & ~1;
    float sum[ROWS][QUANT_CPU_ROWS * VEC] = {{0}}, room[STRIP];
    for (int64_t b = 0; b < blocks; b += step) {
        int64_t count = blocks - b < step ? blocks - b : step;
        int64_t ahead = b + step < blocks ? count * HALF : (ROWS * blocks - b) * HALF; /* next strip, task */
        for (int64_t n = from; n < to; n++)
            p->strip(p->level, (const uint8_t *)p->w->data + (n * blocks + b) * HALF, ahead,
                     (blocks - count) * HALF, quant_planar_scales(p->w->quant, n * blocks + b, count, room),
                     count, p->x + b * BLOCK, p->line, p->M, sum[n - from]);
    }
    for (int64_t n = from; n < to; n++)
        for (int64_t m = 0; m < p->M; m++) p->y[m * N + n] = vec_sum((const Vec *)(sum[n - from] + m * VEC));
}

void quant_planar_product(const Tensor *w, const float *x, int64_t M, float *y, float *scratch)
{
    int64_t N = w->dim[0], K = w->dim[1];
    const Product p = {w, quant_levels(w->dtype), scratch, M, line_of(K), strip_function(), y};
    for (int64_t m = 0; m < M; m++) sort(x + m * K, K, p.line, scratch + m * p.line);
    /* A few long runs of tasks a thread: what is fetched ahead must be its own. */
    int64_t run = 1 + N / ROWS / (4 * omp_get_max_threads());
#pragma omp parallel for schedule(dynamic, run) if (N * K > 1 << 14)
    for (int64_t n = 0; n < N; n += ROWS) product_rows(&p, n, n + ROWS < N ? n + ROWS : N);
}
