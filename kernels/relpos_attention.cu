/* Attention with decomposed relative positions: the kernels of attention with a bias (attention_forward.cuh,
 * attention_backward.cuh). A query has H + W terms, q.rel_h with each row of keys and q.rel_w with each column;
 * a score's bias is two of them.
 *
 * Mapping: the terms are made before, in f32, and lie as threads need them: a thread's 2 or 4 rows, 8 apart,
 * side by side, so that it gets a key's terms for all its rows in one access of 8 or 16 bytes and a warp reads
 * whole lines; 64 or 128 rows by H + W floats stay in L1. Backward sums ds up to terms' gradients, which lie
 * alike: a warp has its rows for itself, half its lanes sum along columns, half along rows. Queries of one row
 * of the image see the same H rows of rel_h, of one column the same W of rel_w: terms, their part of dq and the
 * tables' gradients are one plain product a line for all units together (relpos_product_kernel: blocks of 128
 * threads, tiles of 64 x 16, a thread 4 x 2 of them, f32). Tables' gradients leave one part a line and 2048
 * rows; a last kernel adds those up in their order.
 *
 * Bytes: attention's; terms written and read once, 4 (H + W) a row and head, in backward twice as many.
 * Floor: attention's; 2 (H + W) D operations a row and head in f32 more, in backward three times. Log: never
 * timed on a GPU. */
#include "kernels/attention_backward.cuh"
#include "kernels/attention_forward.cuh"

enum { GROUP = 32, ROWS_A_BLOCK = 128 }; /* rows side by side; the most that a block of any kernel has */

struct RelposBias {
    static constexpr bool none = false;
    const float *terms; /* (units, groups, H + W, GROUP) */
    int S, H, W, groups;
    uint64_t by_w;

    struct Key {
        int h, w;
    };
    template <int n> struct Query {
        const float *terms;
    };

    /* Row r's place among its group's. */
    static __device__ int place(int r) { return r % 8 * 4 + r / 8 % 4; }
    __device__ int64_t at_row(int unit, int row) const
    {
        return ((int64_t)unit * groups + row / GROUP) * (H + W) * GROUP + place(row);
    }
    __device__ Key key(int j) const
    {
        j = min(j, S - 1);
        int r = divide(j, by_w);
        return {r * GROUP, (H + j - r * W) * GROUP};
    }
    template <int n> __device__ Query<n> query(int unit, int row) const { return {terms + at_row(unit, row)}; }
    template <int n> __device__ Pack<n> at(Query<n> q, Key k) const
    {
        Pack<n> x = load<n>(q.terms + k.h), y = load<n>(q.terms + k.w);
#pragma unroll
        for (int i = 0; i < n; i++) x.v[i] += y.v[i];
        return x;
    }
    template <int columns>
    __device__ void accumulate(float *sums, int unit, int row, int j, const float *ds) const
    {
        int mine = (int)threadIdx.x % 16, end = min(columns, S - j), r = divide(j, by_w), c = j - r * W;
        bool down = (int)threadIdx.x % 32 < 16; /* along columns of keys */
        float sum = 0, *to = sums + at_row(unit, row + mine);
        for (int i = 0; i < end; i++) {
            float x = ds[mine * (columns + 1) + i];
            if (down) to[(H + c) * GROUP] += x;
            sum += x;
            if (++c < W && i + 1 < end) continue;
            if (!down) to[r * GROUP] += sum;
            c = 0, sum = 0, r++;
        }
    }
};

/* One side's lines: rows of the image with rel_h, or columns with rel_w. A line has `length` queries; each has
 * `lines` terms, which are neighbours from `first` on. */
struct Side {
    int lines, length, line_step, token_step, first;
    const float *rel;
    int units, heads, T, D;
    RelposBias at;

    __device__ int token(int line, int i) const { return line * line_step + i % length * token_step; }
    /* Offset of query i of a line of all units; of its term k. */
    __device__ int64_t row(int line, int i) const
    {
        int unit = i / length;
        return (((int64_t)(unit / heads) * T + token(line, i)) * heads + unit % heads) * D;
    }
    __device__ int64_t term(int line, int i, int k) const
    {
        return at.at_row(i / length, token(line, i)) + (first + k) * GROUP;
    }
    __device__ const float *rel_row(int line, int k) const { return rel + (line - k + lines - 1) * D; }
};

/* F says M, N, K and a(line, i, k), b(line, k, j), and what becomes of the sum over k (of a part of them): put.
 */
template <class T> struct MakeTerms {
    Side s;
    float *terms;
    const T *q;
    int M, N, K;
    static constexpr bool along_k = true; /* neighbours of a in memory */
    __device__ float a(int line, int i, int k) const { return number(q[s.row(line, i) + k]); }
    __device__ float b(int line, int k, int j) const { return s.rel_row(line, j)[k]; }
    __device__ void put(int line, int, int i, int j, float x) const { terms[s.term(line, i, j)] = x * LOG2_E; }
};
struct AddToQueries {
    Side s;
    float *dq;
    const float *dterms;
    int M, N, K;
    static constexpr bool along_k = false;
    __device__ float a(int line, int i, int k) const { return dterms[s.term(line, i, k)]; }
    __device__ float b(int line, int k, int j) const { return s.rel_row(line, k)[j]; }
    __device__ void put(int line, int, int i, int j, float x) const { dq[s.row(line, i) + j] += x; }
};
template <class T> struct TableParts {
    Side s;
    float *parts; /* (parts, lines, terms, D) */
    const float *dterms;
    const T *q;
    int M, N, K;
    static constexpr bool along_k = true;
    __device__ float a(int line, int i, int k) const { return dterms[s.term(line, k, i)]; }
    __device__ float b(int line, int k, int j) const { return number(q[s.row(line, k) + j]); }
    __device__ void put(int line, int part, int i, int j, float x) const
    {
        parts[(((int64_t)part * s.lines + line) * s.lines + i) * s.D + j] = x;
    }
};

enum { PRODUCT_M = 64, PRODUCT_N = 16, PRODUCT_K = 16, PRODUCT_THREADS = 128, PART = 2048 };

/* Block (tile of M and part of K, line, tile of N). */
template <class F> __global__ void __launch_bounds__(PRODUCT_THREADS) relpos_product_kernel(F f, int tiles)
{
    SHARED_ARRAY(float, a, [PRODUCT_K][PRODUCT_M + 4]);
    SHARED_ARRAY(float, b, [PRODUCT_K][PRODUCT_N]);
    const int line = (int)blockIdx.y, part = (int)blockIdx.x / tiles, i0 = (int)blockIdx.x % tiles * PRODUCT_M,
              j0 = (int)blockIdx.z * PRODUCT_N, from = part * PART, to = min(f.K, from + PART),
              x = (int)threadIdx.x % 8 * 2, y = (int)threadIdx.x / 8 * 4;
    float sum[4][2] = {};
    for (int k0 = from; k0 < to; k0 += PRODUCT_K) {
        __syncthreads();
        for (int e = (int)threadIdx.x; e < PRODUCT_M * PRODUCT_K; e += PRODUCT_THREADS) {
            int i = F::along_k ? e / PRODUCT_K : e % PRODUCT_M, k = F::along_k ? e % PRODUCT_K : e / PRODUCT_M;
            a[k][i] = i0 + i < f.M && k0 + k < to ? f.a(line, i0 + i, k0 + k) : 0;
        }
        for (int e = (int)threadIdx.x; e < PRODUCT_N * PRODUCT_K; e += PRODUCT_THREADS) {
            int j = e % PRODUCT_N, k = e / PRODUCT_N;
            b[k][j] = j0 + j < f.N && k0 + k < to ? f.b(line, k0 + k, j0 + j) : 0;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < PRODUCT_K; k++) {
            Pack<4> p = load<4>(&a[k][y]);
            Pack<2> q = load<2>(&b[k][x]);
#pragma unroll
            for (int i = 0; i < 8; i++) sum[i / 2][i % 2] += p.v[i / 2] * q.v[i % 2];
        }
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (i0 + y + i / 2 < f.M && j0 + x + i % 2 < f.N)
            f.put(line, part, i0 + y + i / 2, j0 + x + i % 2, sum[i / 2][i % 2]);
}

template <class F> static void launch_product(const F &f, int parts)
{
    int tiles = ceil_div(f.M, (int)PRODUCT_M);
    KERNEL_LAUNCH((relpos_product_kernel<F>),
                  dim3((unsigned)(tiles * parts), (unsigned)f.s.lines, (unsigned)ceil_div(f.N, (int)PRODUCT_N)),
                  PRODUCT_THREADS, 0, f, tiles);
}

/* grad (2 lines - 1,D) += the parts of its terms, by lines, then parts. */
__global__ void __launch_bounds__(256)
    relpos_table_kernel(float *__restrict__ grad, const float *__restrict__ parts, int n_parts, int lines,
                        int D)
{
    int at = (int)(blockIdx.x * 256 + threadIdx.x), row = at / D;
    if (row >= 2 * lines - 1) return;
    float sum = 0;
    for (int line = 0; line < lines; line++) {
        int i = line + lines - 1 - row;
        for (int p = 0; p < n_parts && i >= 0 && i < lines; p++)
            sum += parts[(((int64_t)p * lines + line) * lines + i) * D + at % D];
    }
    grad[at] += sum;
}

/* ---- both ways ---- */

struct Relpos {
    AttentionDims d;
    RelposBias bias;
    Side h, w;
    size_t bytes; /* of terms */
};

/* With the terms of all queries. */
template <class T> static Relpos relpos_make(Tape *t, const Node *n)
{
    const Tensor *rel_h = n->in[3], *rel_w = n->in[4];
    Relpos r = {};
    AttentionDims d = r.d = attention_dims(n, NODE_AS(RelposAttentionParams, n)->scale, false);
    int H = (int)(rel_h->dim[0] + 1) / 2, W = (int)(rel_w->dim[0] + 1) / 2,
        groups = ceil_div(d.T, (int)ROWS_A_BLOCK) * (ROWS_A_BLOCK / GROUP);
    r.bytes = (size_t)d.units * groups * (H + W) * GROUP * sizeof(float);
    float *terms = (float *)scratch(t, r.bytes);
    r.bias = {terms, d.S, H, W, groups, divisor(W)};
    r.h = {H, W, W, 1, 0, f32(rel_h), d.units, d.H, d.T, d.D, r.bias};
    r.w = {W, H, 1, W, H, f32(rel_w), d.units, d.H, d.T, d.D, r.bias};
    if (d.T < groups * GROUP) /* rows that no query has are read too */
        cuda_check(cudaMemsetAsync(terms, 0, r.bytes, cuda_stream), "zeroing", "relpos_attention's terms");
    const T *q = elements<T>(n->in[0]);
    launch_product(MakeTerms<T>{r.h, terms, q, d.units * W, H, d.D}, 1);
    launch_product(MakeTerms<T>{r.w, terms, q, d.units * H, W, d.D}, 1);
    return r;
}

extern "C" void relpos_attention_forward_cuda(Tape *t, Node *n)
{
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        Relpos r = relpos_make<T>(t, n);
        (r.d.D <= 32   ? attention_forward<T, 32, RelposBias>
         : r.d.D <= 64 ? attention_forward<T, 64, RelposBias>
         : r.d.D <= 96 ? attention_forward<T, 96, RelposBias>
                       : attention_forward<T, 128, RelposBias>)(n, r.d, r.bias, (const int *)NULL);
    });
}

/* From the gradients of one side's terms to dq and the table. */
template <class T> static void add_side(Tape *t, const Node *n, const Side &s, const float *dterms, Tensor *rel)
{
    int rows = s.units * s.length, parts = ceil_div(rows, (int)PART);
    if (n->in[0]->grad) launch_product(AddToQueries{s, f32(n->in[0]->grad), dterms, rows, s.D, s.lines}, 1);
    if (!rel->grad) return;
    float *sums = (float *)scratch(t, (size_t)parts * s.lines * s.lines * s.D * sizeof *sums);
    launch_product(TableParts<T>{s, sums, dterms, elements<T>(n->in[0]), s.lines, s.D, rows}, parts);
    KERNEL_LAUNCH(relpos_table_kernel, (unsigned)ceil_div((2 * s.lines - 1) * s.D, 256), 256, 0, f32(rel->grad),
                  sums, parts, s.lines, s.D);
}

extern "C" void relpos_attention_backward_cuda(Tape *t, Node *n)
{
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        Relpos r = relpos_make<T>(t, n);
        float *dterms = NULL;
        if (n->in[0]->grad || n->in[3]->grad || n->in[4]->grad) {
            dterms = (float *)scratch(t, r.bytes);
            cuda_check(cudaMemsetAsync(dterms, 0, r.bytes, cuda_stream), "zeroing", "relpos_attention's sums");
        }
        (r.d.D <= 32   ? attention_backward<T, 32, RelposBias>
         : r.d.D <= 64 ? attention_backward<T, 64, RelposBias>
         : r.d.D <= 96 ? attention_backward<T, 96, RelposBias>
                       : attention_backward<T, 128, RelposBias>)(n, backward_rows<T>(t, n, r.d, NULL), r.d,
                                                                 (const int *)NULL, r.bias, dterms);
        if (!dterms) return;
        add_side<T>(t, n, r.h, dterms, n->in[3]);
        add_side<T>(t, n, r.w, dterms, n->in[4]);
    });
}
