/* Products of plain matrices, f32 or bf16: which kernel takes which shape. Mapping, bytes, floors and logs:
 * gemm.cuh (tiles on tensor cores) and gemm_thin.cuh (at most 16 rows, columns or depth). cuBLAS has what is
 * large and bf16 (vendor.h). */
#include "kernels/gemm_thin.cuh"
#include "kernels/vendor.h"

struct GemmRound {
    __device__ float operator()(float x) const { return x; }
};

const Bf16 *gemm_rounded(const GemmRoom &room, const float *x, int64_t n)
{
    for (int i = 0; i < room.copies; i++)
        if (room.copy[i].from == x && room.copy[i].n >= n) return room.copy[i].to;
    Bf16 *y = (Bf16 *)scratch(room.t, (size_t)n * sizeof *y);
    map_elements(y, GemmRound{}, n, x);
    if (room.copies < (int)(sizeof room.copy / sizeof *room.copy)) {
        room.copy[room.copies].from = x;
        room.copy[room.copies].n = n;
        room.copy[room.copies++].to = y;
    }
    return y;
}

/* f(T{}) with T the type of x's elements. */
template <class F> static void with_type(const GemmMatrix &x, F f)
{
    if (x.bf16)
        f(Bf16{});
    else
        f(float{});
}

/* f(lines): those of x, along the depth where it lies side by side. */
template <class T, class F> static void with_lines(const GemmMatrix &x, bool depth, int lines, int K, F f)
{
    if (depth)
        f(GemmRows<T>((const T *)x.p, gemm_int(x.ld), x.step, lines, K));
    else
        f(GemmColumns<T>((const T *)x.p, gemm_int(x.ld), x.step, lines, K));
}

/* w's lines (rows of op(a), or columns of op(b)) are many, f's few. */
static void few_lines(const GemmRoom &room, GemmMatrix w, bool w_depth, GemmFew f, GemmOutput c, int lines,
                      int few, int K, bool across, int products)
{
    with_type(w, [&](auto type) {
        with_lines<decltype(type)>(w, w_depth, lines, K, [&](auto many) {
            gemm_few(room, many, f, c, lines, few, K, across, products);
        });
    });
}

static GemmFew few_of(const GemmMatrix &x, bool depth)
{
    int64_t line = depth ? x.ld : 1, k = depth ? 1 : x.ld;
    return x.bf16 ? GemmFew((const Bf16 *)x.p, line, k, x.step) : GemmFew((const float *)x.p, line, k, x.step);
}

/* All of it, stored (outer,inner). */
static void round_matrix(const GemmRoom &room, GemmMatrix &x, int64_t outer, int64_t inner, int64_t products)
{
    if (x.bf16) return;
    int64_t n = (products - 1) * x.step + (outer - 1) * x.ld + inner;
    x = GemmMatrix(gemm_rounded(room, (const float *)x.p, n), x.ld, x.transposed, x.step);
}

template <class T>
static void tiles(const GemmRoom &room, const GemmMatrix &a, const GemmMatrix &b, const GemmOutput &c, int M,
                  int N, int K, int products)
{
    with_lines<T>(a, !a.transposed, M, K, [&](auto x) {
        with_lines<T>(b, b.transposed, N, K, [&](auto y) { gemm_tiles(room, x, y, c, M, N, K, products); });
    });
}

void gemm_cuda(const GemmRoom &room, int64_t rows, int64_t columns, int64_t depth, GemmMatrix a, GemmMatrix b,
               GemmOutput c, int64_t products)
{
    int M = gemm_int(rows), N = gemm_int(columns), K = gemm_int(depth), n = gemm_int(products);
    bool a_depth = !a.transposed, b_depth = b.transposed;
    if (N <= GEMM_FEW && M >= N) {
        few_lines(room, a, a_depth, few_of(b, b_depth), c, M, N, K, false, n);
    } else if (M <= GEMM_FEW) {
        few_lines(room, b, b_depth, few_of(a, a_depth), c, N, M, K, true, n);
    } else if (K <= GEMM_FEW) {
        with_type(b, [&](auto type) {
            with_lines<decltype(type)>(b, b_depth, N, K,
                                       [&](auto y) { gemm_shallow(few_of(a, a_depth), y, c, M, N, K, n); });
        });
    } else if (a.bf16 || b.bf16 || room.rounds) {
        round_matrix(room, a, a_depth ? M : K, a_depth ? K : M, n);
        round_matrix(room, b, b_depth ? N : K, b_depth ? K : N, n);
        if (n > 1 || !vendor_gemm(room.t, M, N, K, a, b, c)) tiles<Bf16>(room, a, b, c, M, N, K, n);
    } else {
        tiles<float>(room, a, b, c, M, N, K, n);
    }
}

void gemm_column_sums(const GemmRoom &room, float *sum, const float *x, int64_t rows, int64_t C)
{
    int lines = gemm_int(C), K = gemm_int(rows);
    gemm_few(room, GemmColumns(x, lines, 0, lines, K), GemmFew((const float *)NULL, 0, 0, 0),
             GemmOutput(sum, C, true), lines, 1, K, true);
}
