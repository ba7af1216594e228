/* The inner loops of matmul_q.
 *
 * Planar formats differ in the table of 16 levels only. A block of 64 weights is 32 bytes of codes and one
 * scale. Product: x is first sorted within each block into its even and its odd elements, so that the high
 * nibbles of 16 bytes meet 16 consecutive floats, and so do the low ones. AVX-512 then needs, for 32 weights,
 * one widening load (vpmovzxbd), one shift, two table look-ups (vpermps: it looks at the low four bits of each
 * index only, so the low nibble needs no mask) and two multiply-adds; the table is multiplied by the block's
 * scale once. AVX2 has tables of 8, so two look-ups and a blend.
 *
 * q4_0, and rows whose length is no multiple of 64 (they share blocks with their neighbours): a row is decoded
 * into scratch and multiplied from there.
 *
 * Every output row belongs to one thread: bits do not depend on the thread count.
 */
#include "kernels/quant_cpu.h"
#include "kernels/quant.h"
#include "kernels/quant_nf4.h"
#include "kernels/quant_q4_0.h"
#include "kernels/vec.h"
#include <omp.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { HALF = NF4_BLOCK / 2, NESTED_BLOCK = 256, STRIP = 64 /* blocks whose scales are unpacked at once */ };

/* The scales of blocks first..first+n-1: where they lie, or unpacked into `room`. */
static const float *scales(const Quant *q, int64_t first, int64_t n, float *room)
{
    if (q->absmax) return q->absmax + first;
    const float *value = quant_dynamic_map();
    for (int64_t b = 0, end; b < n; b = end) { /* one outer scale at a time */
        int64_t outer = (first + b) / NESTED_BLOCK;
        float scale = q->nested_absmax[outer];
        end = (outer + 1) * NESTED_BLOCK - first;
        if (end > n) end = n;
        for (int64_t i = b; i < end; i++) room[i] = value[q->nested[first + i]] * scale + q->offset;
    }
    return room;
}

/* ---- decoding ---- */

/* One block: out[i] = level[code i] * scale. */
typedef void DecodeBlock(const float *level, const uint8_t *codes, float scale, float *out);

static void decode_block_plain(const float *level, const uint8_t *codes, float scale, float *out)
{
    for (int i = 0; i < HALF; i++) {
        out[2 * i] = level[codes[i] >> 4] * scale;
        out[2 * i + 1] = level[codes[i] & 15] * scale;
    }
}

#ifdef __x86_64__
__attribute__((target("avx512f"))) static void decode_block_avx512(const float *level, const uint8_t *codes,
                                                                   float scale, float *out)
{
    __m512 table = _mm512_mul_ps(_mm512_loadu_ps(level), _mm512_set1_ps(scale));
    __m512i shift = _mm512_set_epi32(0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4);
    for (int i = 0; i < HALF; i += 8) {
        __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(codes + i));
        __m512i twice = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(bytes, bytes));
        _mm512_storeu_ps(out + 2 * i, _mm512_permutexvar_ps(_mm512_srlv_epi32(twice, shift), table));
    }
}

/* The levels of eight indices; only their low four bits count. */
#define LOOK_UP_AVX2(index, low, high)                                                                         \
    _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, index), _mm256_permutevar8x32_ps(high, index),              \
                     _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)))

__attribute__((target("avx2,fma"))) static void decode_block_avx2(const float *level, const uint8_t *codes,
                                                                  float scale, float *out)
{
    __m256 low = _mm256_mul_ps(_mm256_loadu_ps(level), _mm256_set1_ps(scale));
    __m256 high = _mm256_mul_ps(_mm256_loadu_ps(level + 8), _mm256_set1_ps(scale));
    __m256i shift = _mm256_set_epi32(0, 4, 0, 4, 0, 4, 0, 4);
    for (int i = 0; i < HALF; i += 4) {
        int32_t four;
        __builtin_memcpy(&four, codes + i, sizeof four);
        __m128i bytes = _mm_cvtsi32_si128(four);
        __m256i index = _mm256_srlv_epi32(_mm256_cvtepu8_epi32(_mm_unpacklo_epi8(bytes, bytes)), shift);
        _mm256_storeu_ps(out + 2 * i, LOOK_UP_AVX2(index, low, high));
    }
}
#endif

static DecodeBlock *decode_block(void)
{
#ifdef __x86_64__
    if (vec_level() == 2) return decode_block_avx512;
    if (vec_level() == 1) return decode_block_avx2;
#endif
    return decode_block_plain;
}

/* K weights from weight `from` on. */
static void decode_planar(const Tensor *w, int64_t from, int64_t K, float *out)
{
    const uint8_t *codes = w->data;
    const float *level = quant_levels(w->dtype);
    if (K % NF4_BLOCK) {
        for (int64_t k = 0; k < K; k++)
            out[k] = level[nf4_code(codes, from + k)] * quant_absmax(w->quant, (from + k) / NF4_BLOCK);
        return;
    }
    DecodeBlock *block = decode_block();
    for (int64_t b = 0, blocks = K / NF4_BLOCK; b < blocks; b += STRIP) {
        int64_t count = blocks - b < STRIP ? blocks - b : STRIP;
        float room[STRIP];
        const float *scale = scales(w->quant, from / NF4_BLOCK + b, count, room);
        for (int64_t i = 0; i < count; i++)
            block(level, codes + from / 2 + (b + i) * HALF, scale[i], out + (b + i) * NF4_BLOCK);
    }
}

/* One block of q4_0, of which low nibbles are elements 0..15 and high ones 16..31. */
typedef void DecodeQ4_0(const uint8_t *block, float *out);

static void decode_q4_0_plain(const uint8_t *block, float *out)
{
    for (int i = 0; i < Q4_0_BLOCK; i++) out[i] = q4_0_decode(block, i);
}

#ifdef __x86_64__
static const float q4_0_level[16] = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};

__attribute__((target("avx512f"))) static void decode_q4_0_avx512(const uint8_t *block, float *out)
{
    __m512 table = _mm512_mul_ps(_mm512_loadu_ps(q4_0_level), _mm512_set1_ps(q4_0_scale(block)));
    __m512i codes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(block + 2)));
    _mm512_storeu_ps(out, _mm512_permutexvar_ps(codes, table));
    _mm512_storeu_ps(out + VEC, _mm512_permutexvar_ps(_mm512_srli_epi32(codes, 4), table));
}

__attribute__((target("avx2,fma"))) static void decode_q4_0_avx2(const uint8_t *block, float *out)
{
    __m256 scale = _mm256_set1_ps(q4_0_scale(block));
    __m256 low = _mm256_mul_ps(_mm256_loadu_ps(q4_0_level), scale);
    __m256 high = _mm256_mul_ps(_mm256_loadu_ps(q4_0_level + 8), scale);
    for (int i = 0; i < VEC; i += 8) {
        __m256i codes = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(block + 2 + i)));
        __m256i upper = _mm256_srli_epi32(codes, 4);
        _mm256_storeu_ps(out + i, LOOK_UP_AVX2(codes, low, high));
        _mm256_storeu_ps(out + VEC + i, LOOK_UP_AVX2(upper, low, high));
    }
}
#endif

static DecodeQ4_0 *decode_q4_0(void)
{
#ifdef __x86_64__
    if (vec_level() == 2) return decode_q4_0_avx512;
    if (vec_level() == 1) return decode_q4_0_avx2;
#endif
    return decode_q4_0_plain;
}

static void decode_blocked(const Tensor *w, int64_t from, int64_t K, float *out)
{
    const uint8_t *blocks = w->data;
    if (K % Q4_0_BLOCK) {
        for (int64_t k = 0; k < K; k++) out[k] = q4_0_decode(blocks, from + k);
        return;
    }
    DecodeQ4_0 *block = decode_q4_0();
    for (int64_t k = 0; k < K; k += Q4_0_BLOCK) block(blocks + (from + k) / Q4_0_BLOCK * Q4_0_BYTES, out + k);
}

/* Row n of W. */
static void decode_row(const Tensor *w, int64_t n, float *out)
{
    (dtype_is_planar(w->dtype) ? decode_planar : decode_blocked)(w, n * w->dim[1], w->dim[1], out);
}

void quant_cpu_decode(const Tensor *w, int64_t from, int64_t to, float *out)
{
    int64_t K = w->dim[1];
#pragma omp parallel for schedule(static) if ((to - from) * K > 1 << 14)
    for (int64_t n = from; n < to; n++) decode_row(w, n, out + (n - from) * K);
}

/* ---- products with few rows ---- */

/* x's blocks as evens, then odds. */
static void sort_blocks(const float *x, int64_t n, float *to)
{
    for (int64_t b = 0; b < n; b += NF4_BLOCK)
        for (int i = 0; i < HALF; i++) {
            to[b + i] = x[b + 2 * i];
            to[b + HALF + i] = x[b + 2 * i + 1];
        }
}

/* y[m] = one row of W times row m of sorted x. M is a constant wherever this is inlined. */
typedef void ProductRow(const float *level, const uint8_t *codes, const float *scale, int64_t K, const float *x,
                        int64_t M, float *y);

static void product_row_plain(const float *level, const uint8_t *codes, const float *scale, int64_t K,
                              const float *x, int64_t M, float *y)
{
    for (int64_t m = 0; m < M; m++) {
        float sum[VEC] = {0}, all = 0;
        for (int64_t b = 0; b < K / NF4_BLOCK; b++) {
            const uint8_t *c = codes + b * HALF;
            const float *even = x + m * K + b * NF4_BLOCK, *odd = even + HALF;
            for (int i = 0; i < HALF; i++)
                sum[i % VEC] += level[c[i] >> 4] * scale[b] * even[i] + level[c[i] & 15] * scale[b] * odd[i];
        }
        for (int i = 0; i < VEC; i++) all += sum[i];
        y[m] = all;
    }
}

#ifdef __x86_64__
__attribute__((target("avx512f"), always_inline)) static inline void product_row_avx512_body(
    const float *level, const uint8_t *codes, const float *scale, int64_t K, const float *x, const int M,
    float *y)
{
    __m512 sum[QUANT_CPU_ROWS][4], base = _mm512_loadu_ps(level); /* four chains a row hide the adds' latency */
#pragma GCC unroll 4
    for (int m = 0; m < M; m++) sum[m][0] = sum[m][1] = sum[m][2] = sum[m][3] = _mm512_setzero_ps();
    for (int64_t b = 0; b < K / NF4_BLOCK; b++, codes += HALF) {
        _mm_prefetch((const char *)codes + 1024, _MM_HINT_T0);
        __m512 table = _mm512_mul_ps(base, _mm512_set1_ps(scale[b]));
        __m512i first = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)codes));
        __m512i second = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(codes + VEC)));
        __m512 w0 = _mm512_permutexvar_ps(_mm512_srli_epi32(first, 4), table);
        __m512 w1 = _mm512_permutexvar_ps(_mm512_srli_epi32(second, 4), table);
        __m512 w2 = _mm512_permutexvar_ps(first, table), w3 = _mm512_permutexvar_ps(second, table);
#pragma GCC unroll 4
        for (int m = 0; m < M; m++) {
            const float *v = x + m * K + b * NF4_BLOCK;
            sum[m][0] = _mm512_fmadd_ps(w0, _mm512_loadu_ps(v), sum[m][0]);
            sum[m][1] = _mm512_fmadd_ps(w1, _mm512_loadu_ps(v + VEC), sum[m][1]);
            sum[m][2] = _mm512_fmadd_ps(w2, _mm512_loadu_ps(v + HALF), sum[m][2]);
            sum[m][3] = _mm512_fmadd_ps(w3, _mm512_loadu_ps(v + HALF + VEC), sum[m][3]);
        }
    }
#pragma GCC unroll 4
    for (int m = 0; m < M; m++)
        y[m] = _mm512_reduce_add_ps(
            _mm512_add_ps(_mm512_add_ps(sum[m][0], sum[m][1]), _mm512_add_ps(sum[m][2], sum[m][3])));
}

__attribute__((target("avx2,fma"), always_inline)) static inline void product_row_avx2_body(
    const float *level, const uint8_t *codes, const float *scale, int64_t K, const float *x, const int M,
    float *y)
{
    __m256 sum[QUANT_CPU_ROWS];
#pragma GCC unroll 4
    for (int m = 0; m < M; m++) sum[m] = _mm256_setzero_ps();
    for (int64_t b = 0; b < K / NF4_BLOCK; b++, codes += HALF) {
        __m256 s = _mm256_set1_ps(scale[b]);
        __m256 low = _mm256_mul_ps(_mm256_loadu_ps(level), s),
               high = _mm256_mul_ps(_mm256_loadu_ps(level + 8), s);
        for (int i = 0; i < HALF; i += 8) {
            __m256i odds = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(codes + i)));
            __m256i evens = _mm256_srli_epi32(odds, 4);
            __m256 even = LOOK_UP_AVX2(evens, low, high), odd = LOOK_UP_AVX2(odds, low, high);
#pragma GCC unroll 4
            for (int m = 0; m < M; m++) {
                const float *v = x + m * K + b * NF4_BLOCK + i;
                sum[m] = _mm256_fmadd_ps(even, _mm256_loadu_ps(v), sum[m]);
                sum[m] = _mm256_fmadd_ps(odd, _mm256_loadu_ps(v + HALF), sum[m]);
            }
        }
    }
#pragma GCC unroll 4
    for (int m = 0; m < M; m++) {
        float part[8], all = 0;
        _mm256_storeu_ps(part, sum[m]);
        for (int i = 0; i < 8; i++) all += part[i];
        y[m] = all;
    }
}

#define PRODUCT_ROW(isa, features)                                                                             \
    __attribute__((target(features))) static void product_row_##isa(const float *level, const uint8_t *codes,  \
                                                                    const float *scale, int64_t K,             \
                                                                    const float *x, int64_t M, float *y)       \
    {                                                                                                          \
        switch (M) {                                                                                           \
        case 1: product_row_##isa##_body(level, codes, scale, K, x, 1, y); break;                              \
        case 2: product_row_##isa##_body(level, codes, scale, K, x, 2, y); break;                              \
        case 3: product_row_##isa##_body(level, codes, scale, K, x, 3, y); break;                              \
        default: product_row_##isa##_body(level, codes, scale, K, x, 4, y);                                    \
        }                                                                                                      \
    }
PRODUCT_ROW(avx512, "avx512f")
PRODUCT_ROW(avx2, "avx2,fma")
#endif

static ProductRow *product_row(void)
{
#ifdef __x86_64__
    if (vec_level() == 2) return product_row_avx512;
    if (vec_level() == 1) return product_row_avx2;
#endif
    return product_row_plain;
}

VEC_BODY(dot, (const float *a, const float *b, int64_t n, float *y), {
    Vec even = {0}, odd = {0};
    int64_t i = 0;
    for (; i + 2 * VEC <= n; i += 2 * VEC) {
        even += VEC_LOAD(a + i) * VEC_LOAD(b + i);
        odd += VEC_LOAD(a + i + VEC) * VEC_LOAD(b + i + VEC);
    }
    even += odd;
    float sum = vec_sum(&even);
    for (; i < n; i++) sum += a[i] * b[i];
    *y = sum;
})
VEC_FUNCTION(dot, (const float *a, const float *b, int64_t n, float *y), (a, b, n, y))

/* Any format, any K: decoded, then multiplied. */
static void product_row_decoded(const Tensor *w, int64_t n, const float *x, int64_t M, float *room, float *y)
{
    int64_t K = w->dim[1];
    decode_row(w, n, room);
    for (int64_t m = 0; m < M; m++) dot(room, x + m * K, K, y + m);
}

/* Sorted x, then K floats a thread: its row's scales, or a decoded row. */
size_t quant_cpu_scratch(const Tensor *w, int64_t M)
{
    return (size_t)(w->dim[1] * (M + omp_get_max_threads())) * sizeof(float);
}

void quant_cpu_product(const Tensor *w, const float *x, int64_t M, float *y, void *scratch)
{
    int64_t N = w->dim[0], K = w->dim[1], blocks = K / NF4_BLOCK;
    bool packed = dtype_is_planar(w->dtype) && K % NF4_BLOCK == 0;
    const float *level = packed ? quant_levels(w->dtype) : NULL;
    float *sorted = scratch, *rooms = sorted + M * K;
    ProductRow *row = product_row();
    if (packed) sort_blocks(x, M * K, sorted);
#pragma omp parallel for schedule(static) if (N * K > 1 << 14)
    for (int64_t n = 0; n < N; n++) {
        float *room = rooms + omp_get_thread_num() * K, out[QUANT_CPU_ROWS];
        if (packed)
            row(level, (const uint8_t *)w->data + n * K / 2, scales(w->quant, n * blocks, blocks, room), K,
                sorted, M, out);
        else
            product_row_decoded(w, n, x, M, room, out);
        for (int64_t m = 0; m < M; m++) y[m * N + n] = out[m];
    }
}
