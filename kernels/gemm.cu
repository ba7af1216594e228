/* Products of plain f32 matrices: which kernel takes which shape. Mapping, bytes, floors and logs: gemm.cuh
 * (tiles on tensor cores) and gemm_thin.cuh (at most 16 rows, columns or depth). */
#include "kernels/gemm_thin.cuh"

/* w's lines (rows of op(a), or columns of op(b)) are many, f's few. */
template <class C>
static void few_lines(const GemmRoom &room, GemmMatrix w, bool w_depth, GemmMatrix f, bool f_depth, C c,
                      int lines, int few, int K, bool across, int products)
{
    GemmFew g(f.p, f_depth ? f.ld : 1, f_depth ? 1 : f.ld, f.step);
    if (w_depth)
        gemm_few(room, GemmRows(w.p, gemm_int(w.ld), w.step, lines, K), g, c, lines, few, K, across, products);
    else
        gemm_few(room, GemmColumns(w.p, gemm_int(w.ld), w.step, lines, K), g, c, lines, few, K, across,
                 products);
}

void gemm_cuda(const GemmRoom &room, int64_t rows, int64_t columns, int64_t depth, GemmMatrix a, GemmMatrix b,
               GemmOutput c, int64_t products)
{
    int M = gemm_int(rows), N = gemm_int(columns), K = gemm_int(depth), n = gemm_int(products);
    bool a_depth = !a.transposed, b_depth = b.transposed;
    if (N <= GEMM_FEW && M >= N) {
        few_lines(room, a, a_depth, b, b_depth, c, M, N, K, false, n);
    } else if (M <= GEMM_FEW) {
        few_lines(room, b, b_depth, a, a_depth, c, N, M, K, true, n);
    } else if (K <= GEMM_FEW) {
        GemmFew x(a.p, a_depth ? a.ld : 1, a_depth ? 1 : a.ld, a.step);
        if (b_depth)
            gemm_shallow(x, GemmRows(b.p, gemm_int(b.ld), b.step, N, K), c, M, N, K, n);
        else
            gemm_shallow(x, GemmColumns(b.p, gemm_int(b.ld), b.step, N, K), c, M, N, K, n);
    } else if (a_depth) {
        GemmRows x(a.p, gemm_int(a.ld), a.step, M, K);
        if (b_depth)
            gemm_tiles(room, x, GemmRows(b.p, gemm_int(b.ld), b.step, N, K), c, M, N, K, n);
        else
            gemm_tiles(room, x, GemmColumns(b.p, gemm_int(b.ld), b.step, N, K), c, M, N, K, n);
    } else {
        GemmColumns x(a.p, gemm_int(a.ld), a.step, M, K);
        if (b_depth)
            gemm_tiles(room, x, GemmRows(b.p, gemm_int(b.ld), b.step, N, K), c, M, N, K, n);
        else
            gemm_tiles(room, x, GemmColumns(b.p, gemm_int(b.ld), b.step, N, K), c, M, N, K, n);
    }
}

void gemm_column_sums(const GemmRoom &room, float *sum, const float *x, int64_t rows, int64_t C)
{
    int lines = gemm_int(C), K = gemm_int(rows);
    gemm_few(room, GemmColumns(x, lines, 0, lines, K), GemmFew((const float *)NULL, 0, 0, 0),
             GemmOutput(sum, C, true), lines, 1, K, true);
}
