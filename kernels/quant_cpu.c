/* The inner loops of matmul_q: rows decoded to f32. Products with few rows of planar weights are in
 * kernels/quant_planar.c. q4_0, and rows whose length is no multiple of 64 (they share blocks with their
 * neighbours): a row is decoded into scratch and multiplied from there.
 *
 * Every output row belongs to one thread: bits do not depend on the thread count.
 */
#include "kernels/quant_cpu.h"
#include "kernels/quant.h"
#include "kernels/quant_bytes.h"
#include "kernels/quant_nf4.h"
#include "kernels/quant_planar.h"
#include "kernels/quant_q4_0.h"
#include "kernels/vec.h"
#include <omp.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { HALF = NF4_BLOCK / 2, STRIP = 64 /* blocks whose scales are unpacked at once */ };

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
    if (vec_level() >= 2) return decode_block_avx512;
    if (vec_level() == 1) return decode_block_avx2;
#endif
    return decode_block_plain;
}

/* K weights from weight `from` on. */
static void decode_planar(const Tensor *w, int64_t from, int64_t K, float *out)
{
    const uint8_t *codes = w->data;
    const float *level = quant_levels(w->dtype);
    if (K % NF4_BLOCK || from % NF4_BLOCK) {
        for (int64_t k = 0; k < K; k++)
            out[k] = level[nf4_code(codes, from + k)] * quant_absmax(w->quant, (from + k) / NF4_BLOCK);
        return;
    }
    DecodeBlock *block = decode_block();
    for (int64_t b = 0, blocks = K / NF4_BLOCK; b < blocks; b += STRIP) {
        int64_t count = blocks - b < STRIP ? blocks - b : STRIP;
        float room[STRIP];
        const float *scale = quant_planar_scales(w->quant, from / NF4_BLOCK + b, count, room);
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
    if (vec_level() >= 2) return decode_q4_0_avx512;
    if (vec_level() == 1) return decode_q4_0_avx2;
#endif
    return decode_q4_0_plain;
}

static void decode_blocked(const Tensor *w, int64_t from, int64_t K, float *out)
{
    const uint8_t *blocks = w->data;
    if (K % Q4_0_BLOCK || from % Q4_0_BLOCK) {
        for (int64_t k = 0; k < K; k++) out[k] = q4_0_decode(blocks, from + k);
        return;
    }
    DecodeQ4_0 *block = decode_q4_0();
    for (int64_t k = 0; k < K; k += Q4_0_BLOCK) block(blocks + (from + k) / Q4_0_BLOCK * Q4_0_BYTES, out + k);
}

void quant_cpu_decode_part(const Tensor *w, int64_t n, int64_t k, int64_t count, float *out)
{
    (dtype_is_planar(w->dtype) ? decode_planar : decode_blocked)(w, n * w->dim[1] + k, count, out);
}

void quant_cpu_decode(const Tensor *w, int64_t from, int64_t to, float *out)
{
    int64_t K = w->dim[1];
#pragma omp parallel for schedule(static) if ((to - from) * K > 1 << 14)
    for (int64_t n = from; n < to; n++) quant_cpu_decode_part(w, n, 0, K, out + (n - from) * K);
}

/* ---- products with few rows ---- */

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
    quant_cpu_decode_part(w, n, 0, K, room);
    for (int64_t m = 0; m < M; m++) dot(room, x + m * K, K, y + m);
}

static bool is_packed(const Tensor *w) { return dtype_is_planar(w->dtype) && w->dim[1] % NF4_BLOCK == 0; }

/* Sorted x, or K floats a thread: a decoded row. */
size_t quant_cpu_scratch(const Tensor *w, int64_t M)
{
    if (quant_bytes_fit(w)) return quant_bytes_scratch(w, M);
    int64_t floats = is_packed(w) ? quant_planar_scratch(w, M) : w->dim[1] * omp_get_max_threads();
    return (size_t)floats * sizeof(float);
}

void quant_cpu_product(const Tensor *w, const float *x, int64_t M, float *y, void *scratch)
{
    if (is_packed(w)) {
        quant_planar_product(w, x, M, y, scratch);
        return;
    }
    if (quant_bytes_fit(w)) {
        quant_bytes_product(w, x, M, y, scratch);
        return;
    }
    int64_t N = w->dim[0], K = w->dim[1];
    float *rooms = scratch;
#pragma omp parallel for schedule(static) if (N * K > 1 << 14)
    for (int64_t n = 0; n < N; n++) {
        float out[QUANT_CPU_ROWS];
        product_row_decoded(w, n, x, M, rooms + omp_get_thread_num() * K, out);
        for (int64_t m = 0; m < M; m++) y[m * N + n] = out[m];
    }
}
