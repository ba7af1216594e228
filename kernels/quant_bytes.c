/* Codes are unsigned bytes 0..15; x, block by block of 32, becomes integers of 24 bits in three signed bytes,
 * X = 65536 p2 + 256 p1 + p0, times a power of two. Each byte meets the codes in vpdpbusd (four products onto
 * an int32); the sum over p2 is shifted by 8 before p1's comes on top, and again before p0's: 8 products of 15
 * times 2^23 stay under 2^31, so all of it is exact until it becomes a float, once a block. The -8 of (code -
 * 8) is one addition, of -8 times the sum of X.
 *
 * Four blocks are one register: 72 bytes, of which a permutation takes the 64 of codes, and a second one the
 * four scales; low nibbles are the blocks' first halves. For 128 weights 2 permutations, a conversion from
 * half, a shift, 2 masks, 6 dot products, 2 shifts, an addition, a conversion, 2 multiplications.
 *
 * Two rows of W at a time, pages apart, share the loads of x. Zen 4, cycles for 128 weights in cache: one row
 * 16; two rows, of which the compiler loaded x twice, 14.1; loaded once 12.6 (21 GB/s a core; the permutation
 * of two registers shares its ports with the dot products, 10.7 without it; one register and a masked
 * load 13.1). From memory, one thread, GB/s of rows of 4096 and 14336: fetched ahead into the second
 * cache 11.9, 10.7; into the first as well, 768 bytes on, 14.5, 13.5; 1536 bytes on, from row to row in a
 * strip, 16.0, 16.4.
 *
 * Every output belongs to one thread: bits do not depend on the thread count.
 */
#include "kernels/quant_bytes.h"
#include "kernels/quant_cpu.h"
#include "kernels/quant_q4_0.h"
#include "kernels/vec.h"
#include "tensor/error.h"
#include <math.h>
#include <omp.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

enum {
    BLOCK = Q4_0_BLOCK,
    BYTES = Q4_0_BYTES,
    GROUP = 4,        /* blocks of a register */
    STRIP = 56,       /* groups times rows of x: 28 KiB of x */
    ROWS = 16,        /* of W in a task */
    NEAR = 1536,      /* bytes ahead that are fetched into the first cache */
    LARGEST = 8355711 /* 127 in each byte */
};

/* Four blocks of a row of x. */
typedef struct {
    int8_t part[3][2][GROUP * BLOCK / 2]; /* highest byte first; first halves of the blocks, second halves */
    int32_t offset[VEC];                  /* -8 times the sum of the eight X that end in this lane */
    float scale[VEC];
} Group;

bool quant_bytes_fit(const Tensor *w)
{
    return w->dtype == DTYPE_q4_0 && w->dim[1] % BLOCK == 0 && vec_level() >= 3;
}

static int64_t groups_of(int64_t K) { return (K + GROUP * BLOCK - 1) / (GROUP * BLOCK); }

size_t quant_bytes_scratch(const Tensor *w, int64_t M)
{
    return (size_t)(groups_of(w->dim[1]) * M) * sizeof(Group);
}

#ifdef __x86_64__
#define TARGET "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni"

/* ---- x ---- */

/* A block's scale 2^e from the bits of its largest magnitude: the least e for which |x| 2^-e is at most
 * LARGEST. -1 for infinities and NaNs. */
static int biased_exponent(int32_t most)
{
    int32_t up = most >> 23, whole = (most & 0x7fffff) | 0x800000; /* twice X where e is up - 149 */
    if (up == 255) return -1;
    up += 127 - 149 + (whole > 2 * LARGEST);
    return up < 1 ? 1 : up;
}

static float power(int biased)
{
    float x;
    int32_t bits = biased << 23;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Block b of four, of x (32). */
__attribute__((target(TARGET))) static void fill_block(Group *g, int b, const float *x)
{
    const __m512i size = _mm512_set1_epi32(0x7fffffff);
    __m512 half[2] = {_mm512_loadu_ps(x), _mm512_loadu_ps(x + BLOCK / 2)};
    int e = biased_exponent(
        _mm512_reduce_max_epi32(_mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(half[0]), size),
                                                 _mm512_and_si512(_mm512_castps_si512(half[1]), size))));
    __m512i all = _mm512_setzero_si512();
    int32_t sum[VEC];
    for (int h = 0; h < 2; h++) {
        __m512 wide = _mm512_mul_ps(half[h], _mm512_set1_ps(power(254 - e)));
        __m512i X = e < 0 ? _mm512_setzero_si512() : _mm512_cvtps_epi32(wide);
        all = _mm512_add_epi32(all, X);
        for (int p = 2; p >= 0; p--) { /* the low byte, signed, and what is left */
            __m512i low = _mm512_srai_epi32(_mm512_slli_epi32(X, 24), 24);
            _mm_storeu_si128((__m128i *)(void *)(g->part[p][h] + b * (BLOCK / 2)), _mm512_cvtepi32_epi8(X));
            X = _mm512_srai_epi32(_mm512_sub_epi32(X, low), 8);
        }
    }
    _mm512_storeu_si512(sum, all);
    for (int i = 0; i < GROUP; i++) {
        g->offset[b * GROUP + i] = -8 * (sum[4 * i] + sum[4 * i + 1] + sum[4 * i + 2] + sum[4 * i + 3]);
        g->scale[b * GROUP + i] = e < 0 ? NAN : power(e);
    }
}

/* A row of x; blocks beyond K are 0. */
static void fill_row(Group *g, const float *x, int64_t K)
{
    int64_t blocks = K / BLOCK;
    if (blocks % GROUP) memset(&g[blocks / GROUP], 0, sizeof *g);
    for (int64_t b = 0; b < blocks; b++) fill_block(&g[b / GROUP], (int)(b % GROUP), x + b * BLOCK);
}

/* ---- a strip of one row of W ---- */

/* Loaded once: the compiler would make it an operand from memory of each of its uses, and loads are scarce. */
#define KEEP(vector) __asm__("" : "+v"(vector))

typedef struct {
    __m512i low, high; /* codes of first and second halves */
    __m512 scale;
} Four;

/* `first`: bytes 0..63, `second`: bytes 8..71 of four blocks. */
__attribute__((target(TARGET), always_inline)) static inline Four unpack(__m512i first, __m512i second)
{
    const __m512i byte =
        _mm512_set_epi8(127, 126, 125, 124, 123, 122, 121, 120, 119, 118, 117, 116, 115, 114, 113, 112, 53, 52,
                        51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 35, 34, 33, 32, 31, 30, 29, 28,
                        27, 26, 25, 24, 23, 22, 21, 20, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2);
    const __m512i half =
        _mm512_castsi256_si512(_mm256_set_epi16(27, 27, 27, 27, 18, 18, 18, 18, 9, 9, 9, 9, 0, 0, 0, 0));
    const __m512i nibble = _mm512_set1_epi8(15);
    KEEP(first);
    __m512i codes = _mm512_permutex2var_epi8(first, byte, second);
    __m256i scale = _mm512_castsi512_si256(_mm512_permutexvar_epi16(half, first));
    return (Four){_mm512_and_si512(codes, nibble), _mm512_and_si512(_mm512_srli_epi16(codes, 4), nibble),
                  _mm512_cvtph_ps(scale)};
}

/* *first, *second += four blocks of two rows of W times those of x. */
__attribute__((target(TARGET), always_inline)) static inline void times(const Four *w, const Group *x,
                                                                        __m512 *first, __m512 *second)
{
    __m512i a = _mm512_setzero_si512(), b = a, offset = _mm512_loadu_si512(x->offset);
    __m512 scale = _mm512_loadu_ps(x->scale);
    KEEP(offset);
    KEEP(scale);
#pragma GCC unroll 3
    for (int p = 0; p < 3; p++) {
        __m512i low = _mm512_loadu_si512(x->part[p][0]), high = _mm512_loadu_si512(x->part[p][1]);
        KEEP(low);
        KEEP(high);
        if (p) a = _mm512_slli_epi32(a, 8), b = _mm512_slli_epi32(b, 8);
        a = _mm512_dpbusd_epi32(a, w[0].low, low);
        b = _mm512_dpbusd_epi32(b, w[1].low, low);
        a = _mm512_dpbusd_epi32(a, w[0].high, high);
        b = _mm512_dpbusd_epi32(b, w[1].high, high);
    }
    a = _mm512_add_epi32(a, offset);
    b = _mm512_add_epi32(b, offset);
    *first = _mm512_fmadd_ps(_mm512_cvtepi32_ps(a), _mm512_mul_ps(w[0].scale, scale), *first);
    *second = _mm512_fmadd_ps(_mm512_cvtepi32_ps(b), _mm512_mul_ps(w[1].scale, scale), *second);
}

/* sum[r] (M,VEC): += lane by lane what `blocks` blocks of two rows of W, at w[0] and w[1], give with x, whose
 * rows are `line` groups apart. The next strip's are `ahead` bytes on; the next row's begin
 * `wrap` bytes behind the end of this one's. */
__attribute__((target(TARGET), always_inline)) static inline void strip_body(const uint8_t *const *w,
                                                                             int64_t ahead, int64_t wrap,
                                                                             int64_t blocks, const Group *x,
                                                                             int64_t line, const int M,
                                                                             float *const *sum)
{
    __m512 all[2][QUANT_CPU_ROWS];
    const uint8_t *at[2] = {w[0], w[1]};
#pragma GCC unroll 4
    for (int m = 0; m < M; m++)
        for (int r = 0; r < 2; r++) all[r][m] = _mm512_loadu_ps(sum[r] + m * VEC);
    for (; blocks >= GROUP; blocks -= GROUP, x++) {
        Four four[2];
#pragma GCC unroll 2
        for (int r = 0; r < 2; r++) {
            _mm_prefetch((const char *)at[r] + ahead, _MM_HINT_T1);
            _mm_prefetch((const char *)at[r] + NEAR + (blocks * BYTES > NEAR ? 0 : wrap), _MM_HINT_T0);
            four[r] = unpack(_mm512_loadu_si512(at[r]), _mm512_loadu_si512(at[r] + 8));
            at[r] += GROUP * BYTES;
        }
#pragma GCC unroll 4
        for (int m = 0; m < M; m++) times(four, x + m * line, &all[0][m], &all[1][m]);
    }
    if (blocks) { /* at a row's end: the scales of what is not there are 0 */
        __mmask64 first = ((__mmask64)1 << blocks * BYTES) - 1;
        Four four[2];
#pragma GCC unroll 2
        for (int r = 0; r < 2; r++)
            four[r] =
                unpack(_mm512_maskz_loadu_epi8(first, at[r]), _mm512_maskz_loadu_epi8(first >> 8, at[r] + 8));
#pragma GCC unroll 4
        for (int m = 0; m < M; m++) times(four, x + m * line, &all[0][m], &all[1][m]);
    }
#pragma GCC unroll 4
    for (int m = 0; m < M; m++)
        for (int r = 0; r < 2; r++) _mm512_storeu_ps(sum[r] + m * VEC, all[r][m]);
}

__attribute__((target(TARGET))) static void strip(const uint8_t *const *w, int64_t ahead, int64_t wrap,
                                                  int64_t blocks, const Group *x, int64_t line, int64_t M,
                                                  float *const *sum)
{
    switch (M) {
    case 1: strip_body(w, ahead, wrap, blocks, x, line, 1, sum); break;
    case 2: strip_body(w, ahead, wrap, blocks, x, line, 2, sum); break;
    case 3: strip_body(w, ahead, wrap, blocks, x, line, 3, sum); break;
    default: strip_body(w, ahead, wrap, blocks, x, line, 4, sum);
    }
}
#else
static void fill_row(Group *g, const float *x, int64_t K) { (void)g, (void)x, (void)K; }

static void strip(const uint8_t *const *w, int64_t ahead, int64_t wrap, int64_t blocks, const Group *x,
                  int64_t line, int64_t M, float *const *sum)
{
    (void)w, (void)ahead, (void)blocks, (void)x, (void)line, (void)M, (void)sum;
    die("q4_0: this processor multiplies no bytes");
}
#endif

/* Rows from..to-1, in pairs that are half of them apart: two streams on different pages. */
static void product_rows(const Tensor *w, const Group *x, int64_t M, int64_t from, int64_t to, float *y)
{
    int64_t N = w->dim[0], blocks = w->dim[1] / BLOCK, line = groups_of(w->dim[1]), step = STRIP / M * GROUP;
    int64_t half = (to - from + 1) / 2;
    float sum[ROWS + 1][QUANT_CPU_ROWS * VEC] = {{0}}; /* the last one: of an odd row's pair, itself */
    for (int64_t b = 0; b < blocks; b += step) {
        int64_t count = blocks - b < step ? blocks - b : step;
        int64_t ahead = b + step < blocks ? count * BYTES : (ROWS * blocks - b) * BYTES; /* next strip, task */
        for (int64_t i = 0; i < half; i++) {
            bool pair = from + half + i < to;
            const uint8_t *row = (const uint8_t *)w->data + ((from + i) * blocks + b) * BYTES;
            strip((const uint8_t *[]){row, pair ? row + half * blocks * BYTES : row}, ahead,
                  (blocks - count) * BYTES, count, x + b / GROUP, line, M,
                  (float *[]){sum[i], sum[pair ? half + i : ROWS]});
        }
    }
    for (int64_t n = from; n < to; n++)
        for (int64_t m = 0; m < M; m++) y[m * N + n] = vec_sum((const Vec *)(sum[n - from] + m * VEC));
}

void quant_bytes_product(const Tensor *w, const float *x, int64_t M, float *y, void *scratch)
{
    int64_t N = w->dim[0], K = w->dim[1];
    Group *groups = scratch;
    for (int64_t m = 0; m < M; m++) fill_row(groups + m * groups_of(K), x + m * K, K);
    /* A few long runs of tasks a thread: what is fetched ahead must be its own. */
    int64_t run = 1 + N / ROWS / (4 * omp_get_max_threads());
#pragma omp parallel for schedule(dynamic, run) if (N * K > 1 << 14)
    for (int64_t n = 0; n < N; n += ROWS) product_rows(w, groups, M, n, n + ROWS < N ? n + ROWS : N, y);
}
