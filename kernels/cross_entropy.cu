/* Language-model head and cross-entropy in one: loss = sum or mean over rows with label >= 0 of
 * lse(h w^T) - h . w[label].
 *
 * Mapping: counted rows are numbered first (one block), so that ignored ones cost nothing; the host does not
 * know how many there are, tiles behind the last one end at once. Forward: the tiles of gemm.cuh, whose logits
 * never leave shared memory: a tile leaves each row's maximum and sum of exponentials, and the label's logit; a
 * warp a row joins them. Backward: the same tiles again, ROWS rows and WORDS words at a time; what they leave
 * is P = g (exp(logit - lse) - onehot), g = dy or dy / count; then dh += P w, dw += P^T h. No order depends on
 * chance. Where h or w is bf16, an f32 other one is rounded, and so is P: all products are bf16's.
 *
 * Bytes: forward w (R/128 times, from L2), h, 8 bytes for 128 logits; backward w twice, P three times, dh a
 * time for each piece of words. Floor: 2 R V D forward (6 in f32), and as much for each of logits, dh and dw
 * backward, over the tensor cores' bf16 rate; or the bytes of w over bandwidth. Log: never timed on a GPU. */
#include "kernels/elements.cuh"
#include "kernels/gemm.cuh"

enum { CE_ROWS = 1024, CE_WORDS = 4096 };

/* The counted rows from `first` on. */
struct CeCounted {
    const int *rows, *count;
    int first;

    /* row of h and label; -1 behind the last one */
    __device__ int row(int i) const { return first + i < *count ? rows[first + i] : -1; }
};

/* Counted rows of h as lines. */
template <class T> struct CeRows : GemmOperand<T> {
    static constexpr bool DEPTH = true;
    typedef int Line, Spot;
    CeCounted counted;
    int ld;

    CeRows(const T *h, int D, CeCounted counted)
        : GemmOperand<T>{h, 0, gemm_groups(h, D, 0, D)}, counted(counted), ld(D)
    {
    }
    __device__ int line(int i) const { return counted.row(i); }
    __device__ int spot(int k) const { return k; }
    __device__ const T *at(int row, int k) const
    {
        return row >= 0 && k < ld ? this->p + (int64_t)row * ld + k : NULL;
    }
};

/* Counted rows of h as depth. */
template <class T> struct CeColumns : GemmOperand<T> {
    static constexpr bool DEPTH = false;
    typedef int Line, Spot;
    CeCounted counted;
    int ld, depth;

    CeColumns(const T *h, int D, CeCounted counted, int depth)
        : GemmOperand<T>{h, 0, gemm_groups(h, D, 0, D)}, counted(counted), ld(D), depth(depth)
    {
    }
    __device__ int line(int i) const { return i; }
    __device__ int spot(int k) const { return k < depth ? counted.row(k) : -1; }
    __device__ const T *at(int i, int row) const
    {
        return row >= 0 && i < ld ? this->p + (int64_t)row * ld + i : NULL;
    }
};

/* What forward leaves of the logits of counted row m: the maximum and the sum of exponentials of a tile's
 * words, seen (m,tile); the label's logit, picked (m). */
struct CeSeen : GemmOutput {
    static constexpr bool SPLITS = false;
    CeCounted counted;
    const int *label;
    float2 *seen;
    float *picked;

    CeSeen(CeCounted counted, const int *label, float2 *seen, float *picked)
        : GemmOutput((float *)NULL, 0, false), counted(counted), label(label), seen(seen), picked(picked)
    {
    }
    __device__ bool wants(int m0) const { return counted.row(m0) >= 0; }
};

/* A warp a row. */
template <class S>
static __device__ inline void gemm_finish(const CeSeen &c, const float *tile, int m0, int n0,
                                          const GemmExtent &e)
{
    constexpr int EACH = S::N / 32;
    int lane = threadIdx.x % 32;
    for (int r = threadIdx.x / 32; r < S::HEIGHT; r += S::THREADS / 32) {
        int row = m0 + r < e.M ? c.counted.row(m0 + r) : -1;
        if (row < 0) continue;
        float x[EACH], top = -INFINITY, sum = 0;
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            int n = lane + j * 32;
            x[j] = n0 + n < e.N ? tile[gemm_tile_offset<S>(r, n)] : -INFINITY;
            top = fmaxf(top, x[j]);
        }
        top = warp_max(top);
#pragma unroll
        for (int j = 0; j < EACH; j++) sum += expf(x[j] - top);
        sum = warp_sum(sum);
        if (lane) continue;
        int word = c.label[row] - n0;
        c.seen[(int64_t)(m0 + r) * e.across + n0 / S::N] = float2{top, sum};
        if (word >= 0 && word < S::N) c.picked[m0 + r] = tile[gemm_tile_offset<S>(r, word)];
    }
}

/* P of some words, of which the first is `from`. */
struct CeGradient : GemmOutput {
    CeCounted counted;
    const int *label;
    const float *lse, *dy;
    bool mean;
    int from;

    template <class T>
    CeGradient(T *P, int ld, CeCounted counted, const Node *n, int from)
        : GemmOutput(P, ld, false), counted(counted), label((const int *)n->in[2]->data), lse(f32(n->saved[0])),
          dy(f32(n->out->grad)), mean(NODE_AS(CrossEntropyParams, n)->mean), from(from)
    {
    }
    __device__ bool wants(int m0) const { return counted.row(m0) >= 0; }
    __device__ float value(int m, int n, float logit) const
    {
        int row = counted.row(m);
        if (row < 0) return 0;
        float g = mean ? *dy / (float)*counted.count : *dy;
        return g * (expf(logit - lse[row]) - (label[row] == from + n ? 1.0f : 0.0f));
    }
};

/* dh, at the counted rows. */
struct CeScatter : GemmOutput {
    CeCounted counted;

    CeScatter(float *dh, int D, CeCounted counted) : GemmOutput(dh, D, true), counted(counted) {}
    __device__ bool wants(int m0) const { return counted.row(m0) >= 0; }
    __device__ int64_t row(int m) const
    {
        int row = counted.row(m);
        return row < 0 ? -1 : row * ld;
    }
};

/* Numbers the rows that count; one block. */
__global__ void __launch_bounds__(256)
    cross_entropy_rows_kernel(const int *__restrict__ label, int R, int V, int *__restrict__ rows,
                              int *__restrict__ count, CudaFault *fault, int op)
{
    SHARED_ARRAY(int, warps, [8]);
    int before = 0, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int first = 0; first < R; first += 256) {
        int i = first + (int)threadIdx.x, l = i < R ? label[i] : -1;
        bool counts = l >= 0 && in_range(fault, op, l, V);
        unsigned vote = __ballot_sync(~0u, counts);
        if (lane == 0) warps[warp] = __popc(vote);
        __syncthreads();
        int at = before + __popc(vote & ((1u << lane) - 1));
        for (int w = 0; w < 8; w++) {
            if (w < warp) at += warps[w];
            before += warps[w];
        }
        if (counts) rows[at] = i;
        __syncthreads();
    }
    if (threadIdx.x == 0) *count = before;
}

/* lse and loss of the counted rows from counted.first on; a warp a row. */
__global__ void __launch_bounds__(256)
    cross_entropy_join_kernel(CeCounted counted, int M, int tiles, const float2 *__restrict__ seen,
                              const float *__restrict__ picked, float *__restrict__ lse,
                              float *__restrict__ loss)
{
    int m = (int)blockIdx.x * 8 + (int)threadIdx.x / 32, lane = threadIdx.x % 32;
    int row = m < M ? counted.row(m) : -1;
    if (row < 0) return;
    seen += (int64_t)m * tiles;
    float top = -INFINITY, sum = 0;
    for (int i = lane; i < tiles; i += 32) top = fmaxf(top, seen[i].x);
    top = warp_max(top);
    for (int i = lane; i < tiles; i += 32) sum += seen[i].y * expf(seen[i].x - top);
    sum = warp_sum(sum);
    if (lane) return;
    lse[row] = top + logf(sum);
    loss[counted.first + m] = lse[row] - picked[m];
}

/* One block. */
__global__ void __launch_bounds__(256)
    cross_entropy_sum_kernel(const int *__restrict__ count, const float *__restrict__ loss, bool mean,
                             float *__restrict__ out)
{
    float sum = 0;
    for (int i = threadIdx.x; i < *count; i += 256) sum += loss[i];
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0) *out = mean && *count ? sum / (float)*count : sum;
}

static CeCounted count_rows(Tape *t, const Node *n, int R, int V)
{
    int *rows = (int *)scratch(t, (size_t)R * sizeof *rows), *count = (int *)scratch(t, sizeof *count);
    KERNEL_LAUNCH(cross_entropy_rows_kernel, 1, 256, 0, (const int *)n->in[2]->data, R, V, rows, count,
                  cuda_fault, n->op->id);
    return {rows, count, 0};
}

static int least(int a, int b) { return a < b ? a : b; }

/* f(h, w), both of the type that they are multiplied in. */
template <class F> static void with_factors(const GemmRoom &room, const Node *n, F f)
{
    const Tensor *h = n->in[0], *w = n->in[1];
    if (h->dtype == DTYPE_f32 && w->dtype == DTYPE_f32) {
        f(f32(h), f32(w));
        return;
    }
    with_type(h, [&](auto a) {
        const Bf16 *x = gemm_rounded(room, elements<decltype(a)>(h), tensor_len(h));
        with_type(w, [&](auto b) { f(x, gemm_rounded(room, elements<decltype(b)>(w), tensor_len(w))); });
    });
}

template <class T> static void forward(const GemmRoom &room, Node *n, const T *h, const T *w)
{
    int R = gemm_int(n->in[0]->dim[0]), D = gemm_int(n->in[0]->dim[1]), V = gemm_int(n->in[1]->dim[0]);
    float *lse = f32(n->saved[0]);
    CeCounted counted = count_rows(room.t, n, R, V);
    typedef GemmShapes<T> S;
    int most = least(R, CE_ROWS), small = ceil_div(V, S::Small::N);
    float2 *seen = (float2 *)scratch(room.t, (size_t)most * small * sizeof *seen);
    float *picked = (float *)scratch(room.t, (size_t)most * sizeof *picked);
    float *loss = (float *)scratch(room.t, (size_t)R * sizeof *loss);
    cuda_check(cudaMemsetAsync(lse, 0, (size_t)R * sizeof *lse, cuda_stream), "zeroing", "cross_entropy's lse");
    for (; counted.first < R; counted.first += CE_ROWS) {
        int M = least(CE_ROWS, R - counted.first);
        int tiles = ceil_div(V, gemm_large(M, V, 1) ? S::Large::N : S::Small::N);
        gemm_tiles(room, CeRows<T>(h, D, counted), GemmRows<T>(w, D, 0, V, D),
                   CeSeen(counted, (const int *)n->in[2]->data, seen, picked), M, V, D);
        KERNEL_LAUNCH(cross_entropy_join_kernel, (unsigned)ceil_div(M, 8), 256, 0, counted, M, tiles, seen,
                      picked, lse, loss);
    }
    KERNEL_LAUNCH(cross_entropy_sum_kernel, 1, 256, 0, counted.count, loss,
                  NODE_AS(CrossEntropyParams, n)->mean, f32(n->out));
}

extern "C" void cross_entropy_forward_cuda(Tape *t, Node *n)
{
    GemmRoom room(t);
    with_factors(room, n, [&](auto h, auto w) { forward(room, n, h, w); });
}

template <class T> static void backward(const GemmRoom &room, Node *n, const T *h, const T *w)
{
    int R = gemm_int(n->in[0]->dim[0]), D = gemm_int(n->in[0]->dim[1]), V = gemm_int(n->in[1]->dim[0]);
    float *dh = n->in[0]->grad ? f32(n->in[0]->grad) : NULL, *dw = n->in[1]->grad ? f32(n->in[1]->grad) : NULL;
    CeCounted counted = count_rows(room.t, n, R, V);
    int ld = ceil_div(least(V, CE_WORDS), 8) * 8;
    T *P = (T *)scratch(room.t, (size_t)least(R, CE_ROWS) * ld * sizeof *P);
    for (; counted.first < R; counted.first += CE_ROWS) {
        int M = least(CE_ROWS, R - counted.first);
        for (int from = 0; from < V; from += CE_WORDS) {
            int words = least(CE_WORDS, V - from);
            const T *piece = w + (int64_t)from * D;
            gemm_tiles(room, CeRows<T>(h, D, counted), GemmRows<T>(piece, D, 0, words, D),
                       CeGradient(P, ld, counted, n, from), M, words, D);
            if (dh)
                gemm_tiles(room, GemmRows<T>(P, ld, 0, M, words), GemmColumns<T>(piece, D, 0, D, words),
                           CeScatter(dh, D, counted), M, D, words);
            if (dw)
                gemm_tiles(room, GemmColumns<T>(P, ld, 0, words, M), CeColumns<T>(h, D, counted, M),
                           GemmOutput(dw + (int64_t)from * D, D, true), words, D, M);
        }
    }
}

extern "C" void cross_entropy_backward_cuda(Tape *t, Node *n)
{
    GemmRoom room(t);
    with_factors(room, n, [&](auto h, auto w) { backward(room, n, h, w); });
}
