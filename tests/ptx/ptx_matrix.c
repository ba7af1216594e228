/* mma, ldmatrix, movmatrix. Fragments, for lane l = 4 g + t: of A (16 x k) register r holds row g + 8 (r & 1),
 * columns 2t + 8 (r >> 1) and the next; of B (k x 8) rows 2t + 8 r and the next, column g; of C and D (16 x 8)
 * row g + 8 (r >> 1), column 2t + (r & 1). Sums in double, rounded once. */
#include "tests/ptx/ptx_half.h"
#include "tests/ptx/ptx_code.h"

enum { M = 16, N = 8, K = 16, ROW_BYTES = 16 };

typedef float Half(uint16_t);

static void unpack(const LaneW *p, int l, Half *value, float *first, int step)
{
    first[0] = value((uint16_t)p[l]);
    first[step] = value((uint16_t)(p[l] >> 16));
}

/* k: 8 or 16; the arguments are D, A, B, C one after the other. */
static inline void mma(Warp *w, const Ins *i, Half *value, int k)
{
    float A[M][K], B[K][N], C[M][N];
    const int n_a = k / 4, n_b = k / 8, a = 4, b = a + n_a, c = b + n_b;
    for (int l = 0; l < LANES; l++) {
        const int g = l >> 2, t = 2 * (l & 3);
        for (int r = 0; r < n_a; r++)
            unpack(PTX_ARG(const LaneW, a + r), l, value, &A[g + 8 * (r & 1)][t + 8 * (r >> 1)], 1);
        for (int r = 0; r < n_b; r++) unpack(PTX_ARG(const LaneW, b + r), l, value, &B[t + 8 * r][g], N);
        for (int r = 0; r < 4; r++)
            C[g + 8 * (r >> 1)][t + (r & 1)] = bits_float(PTX_ARG(const LaneW, c + r)[l]);
    }
    for (int m = 0; m < M; m++) {
        double sum[N];
        for (int n = 0; n < N; n++) sum[n] = (double)C[m][n];
        for (int j = 0; j < k; j++)
            for (int n = 0; n < N; n++) sum[n] += (double)A[m][j] * (double)B[j][n];
        for (int n = 0; n < N; n++) C[m][n] = (float)sum[n];
    }
    for (int l = 0; l < LANES; l++)
        for (int r = 0; r < 4; r++)
            PTX_ARG(LaneW, r)[l] = float_bits(C[(l >> 2) + 8 * (r >> 1)][2 * (l & 3) + (r & 1)]);
}

static void mma_bf16(Warp *w, const Ins *i, uint32_t mask) { (void)mask, mma(w, i, bf16_float, 16); }
static void mma_f16(Warp *w, const Ins *i, uint32_t mask) { (void)mask, mma(w, i, f16_float, 16); }
static void mma_bf16_k8(Warp *w, const Ins *i, uint32_t mask) { (void)mask, mma(w, i, bf16_float, 8); }
static void mma_f16_k8(Warp *w, const Ins *i, uint32_t mask) { (void)mask, mma(w, i, f16_float, 8); }

/* What lane l gets of an 8 x 8 matrix: elements (l / 4, 2 (l % 4)) and the next, or their mirror images. */
static uint32_t fragment(uint16_t matrix[8][8], int l, bool mirrored)
{
    const int r = l >> 2, c = 2 * (l & 3);
    return mirrored ? matrix[c][r] | (uint32_t)matrix[c + 1][r] << 16
                    : matrix[r][c] | (uint32_t)matrix[r][c + 1] << 16;
}

/* {d...}, [a]: lane 8 j + r has the address of row r of matrix j. */
static inline void ldmatrix(Warp *w, const Ins *i, bool mirrored)
{
    const int n = (int)i->n_args - 1;
    uint16_t matrix[4][8][8];
    for (int l = 0; l < 8 * n; l++)
        memcpy(matrix[l / 8][l % 8], ptx_address(w, &i->arg[n], l, ROW_BYTES, SPACE_SHARED), ROW_BYTES);
    for (int j = 0; j < n; j++)
        for (int l = 0; l < LANES; l++) PTX_ARG(LaneW, j)[l] = fragment(matrix[j], l, mirrored);
}

static void ldmatrix_plain(Warp *w, const Ins *i, uint32_t mask) { (void)mask, ldmatrix(w, i, false); }
static void ldmatrix_trans(Warp *w, const Ins *i, uint32_t mask) { (void)mask, ldmatrix(w, i, true); }

static void movmatrix(Warp *w, const Ins *i, uint32_t mask)
{
    (void)mask;
    uint16_t matrix[8][8];
    for (int l = 0; l < LANES; l++) {
        const uint32_t v = PTX_ARG(const LaneW, 1)[l];
        matrix[l >> 2][2 * (l & 3)] = (uint16_t)v, matrix[l >> 2][2 * (l & 3) + 1] = (uint16_t)(v >> 16);
    }
    for (int l = 0; l < LANES; l++) PTX_ARG(LaneW, 0)[l] = fragment(matrix, l, true);
}

#define ROW(spellings, operands, run)                                                                          \
    {                                                                                                          \
        spellings, operands, run, FLOW_COLLECTIVE, MEMBERS_ALL                                                 \
    }
#define LDMATRIX(x, operands)                                                                                  \
    ROW("ldmatrix.sync.aligned.m8n8." x ".shared.b16 ldmatrix.sync.aligned.m8n8." x ".shared::cta.b16",        \
        operands, ldmatrix_plain),                                                                             \
        ROW("ldmatrix.sync.aligned.m8n8." x ".trans.shared.b16 ldmatrix.sync.aligned.m8n8." x                  \
            ".trans.shared::cta.b16",                                                                          \
            operands, ldmatrix_trans)
const Row ptx_matrix_rows[] = {
    ROW("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "{wwww}{wwww}{ww}{wwww}", mma_bf16),
    ROW("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "{wwww}{wwww}{ww}{wwww}", mma_f16),
    ROW("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32", "{wwww}{ww}{w}{wwww}", mma_bf16_k8),
    ROW("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", "{wwww}{ww}{w}{wwww}", mma_f16_k8),
    LDMATRIX("x1", "{w}a"),
    LDMATRIX("x2", "{ww}a"),
    LDMATRIX("x4", "{wwww}a"),
    ROW("movmatrix.sync.aligned.m8n8.trans.b16", "ww", movmatrix),
    {0},
};
