/* 512 rows of x at a time are packed, in panels of 8 rows for each DEPTH of k. A task is 64 columns of their y:
 * for each DEPTH of k the columns' rows of W are decoded into two panels (DEPTH,32), which stay in the second
 * cache, as do the sums, while x passes by (y itself, a page from row to row, would not stay). Tiles are 8 x
 * 32: x comes from the third cache, and wider tiles ask for less of it (12 x 16: 0.93 of the peak, 8 x 32:
 * 0.99). With AVX-512 a panel is decoded across its rows: eight codes of each of 16 rows are a register, from
 * which a shift and a look-up give the 16 levels of one k in the order the panel wants them.
 *
 * Tried for q4_0: x in three bytes, as in kernels/quant_bytes.c, and vpdpbusd on tiles of 8 x 16: three dot
 * products do four times the work of a multiply-add, with what a block's scale takes 26 instructions instead of
 * 32; measured 1.05 to 1.1 times as fast, not worth a second layout.
 *
 * Each element of y adds up its k in order within a DEPTH, and then the DEPTHs. */
#include "kernels/quant_gemm.h"
#include "kernels/quant.h"
#include "kernels/quant_cpu.h"
#include "kernels/quant_nf4.h"
#include "kernels/quant_planar.h"
#include "kernels/quant_q4_0.h"
#include "kernels/vec.h"
#include <omp.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

enum {
    MR = 8,
    NR = 2 * VEC,
    DEPTH = 256,
    PANELS = 2, /* of W in a task */
    BLOCK = 64, /* panels of x in a task */
    WORD = 8    /* codes */
};

/* c (MR,NR) = (add ? c : 0) + the sum over k of a[k]^T b[k]; a (K,MR), b (K,NR). */
typedef void Tile(int64_t K, const float *a, const float *b, bool add, float *c);

typedef struct {
    const Tensor *w;
    const float *x;
    int64_t M, N, K;
    bool add;
    float *y, *packed;
    Tile *tile;
} Product;

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t panels_of(int64_t M) { return (M + MR - 1) / MR; }

/* x's panel p of the DEPTH from k0 on. */
static float *packed_panel(const Product *p, int64_t panel, int64_t k0)
{
    return p->packed + (k0 * panels_of(p->M) + panel * least(DEPTH, p->K - k0)) * MR;
}

static void pack(const Product *p, int64_t panel, int64_t k0)
{
    int64_t depth = least(DEPTH, p->K - k0), rows = least(MR, p->M - panel * MR);
    float *to = packed_panel(p, panel, k0);
    if (rows < MR) memset(to, 0, (size_t)(depth * MR) * sizeof *to);
    for (int64_t i = 0; i < rows; i++) {
        const float *from = p->x + (panel * MR + i) * p->K + k0;
        for (int64_t k = 0; k < depth; k++) to[k * MR + i] = from[k];
    }
}

/* ---- panels of W ---- */

/* Half a panel, any format and place: decoded row by row. */
static void fill_rows(const Product *p, int64_t n0, int64_t k0, int64_t depth, float *panel)
{
    float row[DEPTH];
    for (int64_t j = 0; j < VEC; j++) {
        if (n0 + j < p->N)
            quant_cpu_decode_part(p->w, n0 + j, k0, depth, row);
        else
            memset(row, 0, sizeof row);
        for (int64_t k = 0; k < depth; k++) panel[k * NR + j] = row[k];
    }
}

#ifdef __x86_64__
/* Codes and scales of 16 rows of W, words of eight codes and blocks outermost. */
typedef struct {
    uint32_t code[DEPTH / WORD][VEC];
    float scale[DEPTH / Q4_0_BLOCK][VEC];
} Columns;

static void gather_planar(const Product *p, int64_t n, int64_t k0, int64_t depth, Columns *c, int64_t j)
{
    float room[DEPTH / NF4_BLOCK];
    const uint8_t *from = (const uint8_t *)p->w->data + (n * p->K + k0) / 2;
    const float *scale = quant_planar_scales(p->w->quant, (n * p->K + k0) / NF4_BLOCK, depth / NF4_BLOCK, room);
    for (int64_t i = 0; i < depth / WORD; i++) memcpy(&c->code[i][j], from + 4 * i, 4);
    for (int64_t b = 0; b < depth / NF4_BLOCK; b++) c->scale[b][j] = scale[b];
}

static void gather_q4_0(const Product *p, int64_t n, int64_t k0, int64_t depth, Columns *c, int64_t j)
{
    const uint8_t *block = (const uint8_t *)p->w->data + (n * p->K + k0) / Q4_0_BLOCK * Q4_0_BYTES;
    for (int64_t b = 0; b < depth / Q4_0_BLOCK; b++, block += Q4_0_BYTES) {
        c->scale[b][j] = q4_0_scale(block);
        for (int64_t i = 0; i < 4; i++) memcpy(&c->code[4 * b + i][j], block + 2 + 4 * i, 4);
    }
}

/* Where the nibble s of word i of a block lies in it: planar, the high one of a byte is the even one; q4_0, the
 * high ones are the second half. */
#define PLANAR_K(i, s) (WORD * (i) + ((s) ^ 1))
#define Q4_0_K(i, s)   (4 * (i) + (s) / 2 + (s) % 2 * (Q4_0_BLOCK / 2))

#define SPREAD(name, block, at)                                                                                \
    __attribute__((target("avx512f"))) static void name(const Columns *c, const float *level, int64_t depth,   \
                                                        float *panel)                                          \
    {                                                                                                          \
        const __m512 table = _mm512_loadu_ps(level);                                                           \
        for (int64_t b = 0; b < depth / (block); b++, panel += (block)*NR) {                                   \
            const __m512 scale = _mm512_loadu_ps(c->scale[b]);                                                 \
            for (int64_t i = 0; i < (block) / WORD; i++) {                                                     \
                __m512i code = _mm512_loadu_si512(c->code[b * ((block) / WORD) + i]);                          \
                _Pragma("GCC unroll 8") for (int s = 0; s < WORD; s++)                                         \
                {                                                                                              \
                    __m512 w = _mm512_permutexvar_ps(_mm512_srli_epi32(code, 4 * (unsigned)s), table);         \
                    _mm512_storeu_ps(panel + at(i, s) * NR, _mm512_mul_ps(w, scale));                          \
                }                                                                                              \
            }                                                                                                  \
        }                                                                                                      \
    }
SPREAD(spread_planar, NF4_BLOCK, PLANAR_K)
SPREAD(spread_q4_0, Q4_0_BLOCK, Q4_0_K)

static const float q4_0_level[16] = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};

/* Half a panel, its 16 columns from n0 on, where that is possible. */
static bool fill_half(const Product *p, int64_t n0, int64_t k0, int64_t depth, float *panel)
{
    bool planar = dtype_is_planar(p->w->dtype);
    if (vec_level() < 2 || p->K % (planar ? NF4_BLOCK : Q4_0_BLOCK)) return false;
    Columns c;
    int64_t rows = least(VEC, p->N - n0);
    if (rows < VEC) memset(&c, 0, sizeof c);
    for (int64_t j = 0; j < rows; j++) (planar ? gather_planar : gather_q4_0)(p, n0 + j, k0, depth, &c, j);
    if (planar)
        spread_planar(&c, quant_levels(p->w->dtype), depth, panel);
    else
        spread_q4_0(&c, q4_0_level, depth, panel);
    return true;
}
#else
static bool fill_half(const Product *p, int64_t n0, int64_t k0, int64_t depth, float *panel)
{
    (void)p, (void)n0, (void)k0, (void)depth, (void)panel;
    return false;
}
#endif

/* ---- tiles ---- */

/* Of a tile `rows` rows from `row` on, and `vecs` times 16 columns from `column` on. */
static inline __attribute__((always_inline)) void part(int64_t K, const float *a, const float *b, bool add,
                                                       float *c, int row, int column, const int rows,
                                                       const int vecs)
{
    Vec sum[MR][2];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < vecs; j++) sum[i][j] = (Vec){0};
    for (int64_t k = 0; k < K; k++) {
        Vec bk[2];
#pragma GCC unroll 2
        for (int j = 0; j < vecs; j++) bk[j] = VEC_LOAD(b + k * NR + column + j * VEC);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int j = 0; j < vecs; j++) sum[i][j] += a[k * MR + row + i] * bk[j];
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int j = 0; j < vecs; j++) {
            float *to = c + (row + i) * NR + column + j * VEC;
            if (add) sum[i][j] += VEC_LOAD(to);
            VEC_STORE(to, sum[i][j]);
        }
}

#ifdef __x86_64__
__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))) static void tile_avx512(
    int64_t K, const float *a, const float *b, bool add, float *c)
{
    part(K, a, b, add, c, 0, 0, MR, 2);
}

__attribute__((target("avx2,fma"))) static void tile_avx2(int64_t K, const float *a, const float *b, bool add,
                                                          float *c)
{
    for (int i = 0; i < 4; i++) part(K, a, b, add, c, i / 2 * 4, i % 2 * VEC, 4, 1);
}
#endif

static void tile_plain(int64_t K, const float *a, const float *b, bool add, float *c)
{
    for (int i = 0; i < MR; i++) part(K, a, b, add, c, i / 2 * 2, i % 2 * VEC, 2, 1);
}

static Tile *tile_function(void)
{
#ifdef __x86_64__
    if (vec_level() >= 2) return tile_avx512;
    if (vec_level() == 1) return tile_avx2;
#endif
    return tile_plain;
}

/* ---- the product ---- */

/* The tile of y at (m0,n0). */
static void store(const Product *p, const float *sum, int64_t m0, int64_t n0)
{
    int64_t rows = least(MR, p->M - m0), columns = least(NR, p->N - n0);
    for (int64_t i = 0; i < rows; i++) {
        float *y = p->y + (m0 + i) * p->N + n0;
        for (int64_t j = 0; j < columns; j++) y[j] = (p->add ? y[j] : 0) + sum[i * NR + j];
    }
}

/* A thread's room. */
typedef struct {
    float b[PANELS][DEPTH * NR];
    float sum[BLOCK][PANELS][MR * NR];
} Room;

/* All of x with the columns of y from n0 on. */
static void task(const Product *p, int64_t n0, Room *r)
{
    int64_t rows = panels_of(p->M), columns = least(PANELS, (p->N - n0 + NR - 1) / NR);
    for (int64_t k0 = 0; k0 < p->K; k0 += DEPTH) {
        int64_t depth = least(DEPTH, p->K - k0);
        for (int64_t j = 0; j < columns; j++)
            for (int64_t h = 0; h < NR; h += VEC)
                if (!fill_half(p, n0 + j * NR + h, k0, depth, r->b[j] + h))
                    fill_rows(p, n0 + j * NR + h, k0, depth, r->b[j] + h);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++)
                p->tile(depth, packed_panel(p, i, k0), r->b[j], k0 > 0, r->sum[i][j]);
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) store(p, r->sum[i][j], i * MR, n0 + j * NR);
}

size_t quant_gemm_scratch(const Tensor *w, int64_t M)
{
    int64_t rows = panels_of(least(M, BLOCK * MR)) * MR;
    return (size_t)(rows * w->dim[1]) * sizeof(float) + (size_t)omp_get_max_threads() * sizeof(Room);
}

void quant_gemm(const Tensor *w, const float *x, int64_t M, bool add, float *y, void *scratch)
{
    int64_t N = w->dim[0], K = w->dim[1], depths = (K + DEPTH - 1) / DEPTH;
    Room *rooms = (Room *)(void *)((float *)scratch + panels_of(least(M, BLOCK * MR)) * MR * K);
#pragma omp parallel if (M * N * K > 1 << 16)
    for (int64_t m = 0; m < M; m += BLOCK * MR) {
        const Product p = {w,         x + m * K, least(BLOCK * MR, M - m), N, K, add,
                           y + m * N, scratch,   tile_function()};
#pragma omp for schedule(static)
        for (int64_t i = 0; i < panels_of(p.M) * depths; i++) pack(&p, i / depths, i % depths * DEPTH);
#pragma omp for schedule(dynamic)
        for (int64_t n = 0; n < N; n += PANELS * NR) task(&p, n, &rooms[omp_get_thread_num()]);
    }
}
