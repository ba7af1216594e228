/* C (M,N) = alpha op(A) op(B) + beta C, row-major.
 *
 * Own loops: a task is a block of C of MC x NC. Per KC of the depth it packs its part of B into panels of 16
 * columns and its part of A into panels of 12 rows, padded with zeros, and multiplies panel by panel; a 12 x 16
 * tile lives in twelve AVX-512 registers (twice 6 x 16 with AVX2). Every element of C is made by one task with
 * its depth in order, so the result does not depend on the number of threads. */
#include "kernels/gemm.h"
#include "kernels/dnnl.h"
#include "kernels/vec.h"
#include <string.h>

enum { MR = 12, NR = VEC, KC = 256, MC = 384, NC = 256 };

typedef struct {
    bool transpose_a, transpose_b;
    int64_t M, N, K, lda, ldb, ldc;
    float alpha, beta;
    const float *A, *B;
    float *C;
} Product;

/* c (MR,NR) = sum over k of a[k]^T b[k], rows from..from+rows-1; a (K,MR), b (K,NR). */
static inline __attribute__((always_inline)) void tile_rows(int64_t K, const float *a, const float *b, float *c,
                                                            int from, const int rows)
{
    Vec sum[MR] = {0};
    for (int64_t k = 0; k < K; k++) {
        Vec bk = VEC_LOAD(b + k * NR);
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++) sum[i] += a[k * MR + from + i] * bk;
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) VEC_STORE(c + (from + i) * NR, sum[i]);
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))) static void tile_avx512(int64_t K,
                                                                                               const float *a,
                                                                                               const float *b,
                                                                                               float *c)
{
    tile_rows(K, a, b, c, 0, MR);
}

__attribute__((target("avx2,fma"))) static void tile_avx2(int64_t K, const float *a, const float *b, float *c)
{
    tile_rows(K, a, b, c, 0, MR / 2);
    tile_rows(K, a, b, c, MR / 2, MR / 2);
}
#endif

static void tile_plain(int64_t K, const float *a, const float *b, float *c)
{
    for (int i = 0; i < MR; i += 2) tile_rows(K, a, b, c, i, 2);
}

static void tile(int level, int64_t K, const float *a, const float *b, float *c)
{
#if defined(__x86_64__)
    if (level >= 2) {
        tile_avx512(K, a, b, c);
        return;
    }
    if (level == 1) {
        tile_avx2(K, a, b, c);
        return;
    }
#endif
    (void)level;
    tile_plain(K, a, b, c);
}

/* `width` lines of x, `depth` long, into panels (depth,room): line i starts at x + i * line, its elements are
 * `step` apart; lines beyond `width` become 0. */
static void pack(float *panel, const float *x, int64_t width, int64_t room, int64_t depth, int64_t line,
                 int64_t step)
{
    if (width < room) memset(panel, 0, (size_t)(room * depth) * sizeof *panel);
    if (line == 1) {
        for (int64_t k = 0; k < depth; k++) memcpy(panel + k * room, x + k * step, (size_t)width * sizeof *x);
        return;
    }
    for (int64_t i = 0; i < width; i++)
        for (int64_t k = 0; k < depth; k++) panel[k * room + i] = x[i * line + k * step];
}

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void store_tile(const Product *p, const float *c, int64_t i0, int64_t j0, int64_t k0)
{
    int64_t rows = least(MR, p->M - i0), columns = least(NR, p->N - j0);
    bool fresh = k0 == 0 && p->beta == 0;
    for (int64_t i = 0; i < rows; i++) {
        float *out = p->C + (i0 + i) * p->ldc + j0;
        const float *from = c + i * NR;
        if (fresh)
            for (int64_t j = 0; j < columns; j++) out[j] = p->alpha * from[j];
        else
            for (int64_t j = 0; j < columns; j++) out[j] += p->alpha * from[j];
    }
}

/* The block of C at (m0,n0). */
static void block(const Product *p, int level, int64_t m0, int64_t n0, float *a, float *b)
{
    int64_t rows = least(MC, p->M - m0), columns = least(NC, p->N - n0);
    int64_t a_line = p->transpose_a ? 1 : p->lda, a_step = p->transpose_a ? p->lda : 1;
    int64_t b_line = p->transpose_b ? p->ldb : 1, b_step = p->transpose_b ? 1 : p->ldb;
    for (int64_t k0 = 0; k0 < p->K; k0 += KC) {
        int64_t depth = least(KC, p->K - k0);
        for (int64_t j = 0; j < columns; j += NR)
            pack(b + j * KC, p->B + (n0 + j) * b_line + k0 * b_step, least(NR, columns - j), NR, depth, b_line,
                 b_step);
        for (int64_t i = 0; i < rows; i += MR) {
            pack(a, p->A + (m0 + i) * a_line + k0 * a_step, least(MR, rows - i), MR, depth, a_line, a_step);
            for (int64_t j = 0; j < columns; j += NR) {
                float c[MR * NR];
                tile(level, depth, a, b + j * KC, c);
                store_tile(p, c, m0 + i, n0 + j, k0);
            }
        }
    }
}

void gemm_loops(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, float alpha,
                const float *A, int64_t lda, const float *B, int64_t ldb, float beta, float *C, int64_t ldc)
{
    Product p = {transpose_a, transpose_b, M, N, K, lda, ldb, ldc, alpha, beta, A, B, C};
    int64_t down = (M + MC - 1) / MC, across = (N + NC - 1) / NC;
    int level = vec_level();
#pragma omp parallel for schedule(static) if (M * N * K > 1 << 16)
    for (int64_t i = 0; i < down * across; i++) {
        float a[MR * KC], b[NC * KC];
        block(&p, level, i / across * MC, i % across * NC, a, b);
    }
}

void gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, float alpha, const float *A,
          int64_t lda, const float *B, int64_t ldb, float beta, float *C, int64_t ldc)
{
    if (!onednn_gemm(transpose_a, transpose_b, M, N, K, alpha, A, lda, B, ldb, beta, C, ldc))
        gemm_loops(transpose_a, transpose_b, M, N, K, alpha, A, lda, B, ldb, beta, C, ldc);
}

/* ---- rows ---- */

enum { CHUNK = 1 << 14 /* elements a task */, SUM_ROWS = 256 };

VEC_BODY(add_part, (float *y, const float *x, int64_t n), {
    int64_t i = 0;
    for (; i + VEC <= n; i += VEC) VEC_STORE(y + i, VEC_LOAD(y + i) + VEC_LOAD(x + i));
    for (; i < n; i++) y[i] += x[i];
})
VEC_FUNCTION(add_part, (float *y, const float *x, int64_t n), (y, x, n))

void add_into(float *y, const float *x, int64_t n)
{
#pragma omp parallel for schedule(static) if (n > CHUNK)
    for (int64_t i = 0; i < n; i += CHUNK) add_part(y + i, x + i, least(CHUNK, n - i));
}

VEC_BODY(widen, (const uint16_t *x, int64_t n, float *y), {
    uint32_t *bits = (uint32_t *)y;
    for (int64_t i = 0; i < n; i++) bits[i] = (uint32_t)x[i] << 16;
})
VEC_FUNCTION(widen, (const uint16_t *x, int64_t n, float *y), (x, n, y))

void bf16_row(const uint16_t *x, int64_t n, float *y)
{
#pragma omp parallel for schedule(static) if (n > CHUNK)
    for (int64_t i = 0; i < n; i += CHUNK) widen(x + i, least(CHUNK, n - i), y + i);
}

void rows_fill(float *y, const float *bias, int64_t rows, int64_t C)
{
#pragma omp parallel for schedule(static) if (rows * C > CHUNK)
    for (int64_t i = 0; i < rows; i++) memcpy(y + i * C, bias, (size_t)C * sizeof *y);
}

/* sum (C) = column sums of x (rows,C): strips of 64, 16 and 1 columns. */
VEC_BODY(rows_sum, (float *sum, const float *x, int64_t rows, int64_t C), {
    int64_t c = 0;
    for (; c + 4 * VEC <= C; c += 4 * VEC) {
        Vec s0 = {0};
        Vec s1 = {0};
        Vec s2 = {0};
        Vec s3 = {0};
        for (const float *p = x + c; p < x + rows * C; p += C) {
            s0 += VEC_LOAD(p);
            s1 += VEC_LOAD(p + VEC);
            s2 += VEC_LOAD(p + 2 * VEC);
            s3 += VEC_LOAD(p + 3 * VEC);
        }
        VEC_STORE(sum + c, s0);
        VEC_STORE(sum + c + VEC, s1);
        VEC_STORE(sum + c + 2 * VEC, s2);
        VEC_STORE(sum + c + 3 * VEC, s3);
    }
    for (; c + VEC <= C; c += VEC) {
        Vec s = {0};
        for (int64_t i = 0; i < rows; i++) s += VEC_LOAD(x + i * C + c);
        VEC_STORE(sum + c, s);
    }
    for (; c < C; c++) {
        float s = 0;
        for (int64_t i = 0; i < rows; i++) s += x[i * C + c];
        sum[c] = s;
    }
})
VEC_FUNCTION(rows_sum, (float *sum, const float *x, int64_t rows, int64_t C), (sum, x, rows, C))

void rows_sum_add(Tape *t, float *sum, const float *x, int64_t rows, int64_t C)
{
    int64_t blocks = (rows + SUM_ROWS - 1) / SUM_ROWS;
    float *part = tape_scratch(t, (size_t)(blocks * C) * sizeof *part); /* (blocks,C) */
#pragma omp parallel for schedule(static) if (rows * C > CHUNK)
    for (int64_t b = 0; b < blocks; b++)
        rows_sum(part + b * C, x + b * SUM_ROWS * C, least(SUM_ROWS, rows - b * SUM_ROWS), C);
    for (int64_t c = 0; c < C; c++) {
        double total = 0;
        for (int64_t b = 0; b < blocks; b++) total += (double)part[b * C + c];
        sum[c] += (float)total;
    }
}
