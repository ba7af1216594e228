/* Attention, forward (kernels/attention.cuh: units, tiles, biases). Flash attention (Dao et al. 2022): scores
 * exist in registers only.
 *
 * Mapping: a block has 64 rows of a unit, a warp 16 of them; of bf16 twice as many, because what a warp reads
 * of keys and values must serve 32 rows, or shared memory bounds it. Keys and values come in tiles of 32 (64
 * where bf16 has the room; with a bias half as many), one buffer each, on turns: v is on its way while scores
 * are made, the next k while p v is. That is half the shared memory of two whole stages (at most 48 KiB, so
 * that two blocks fit everywhere) and two barriers a tile. q is in registers as f32, in shared memory as bf16.
 * The accumulators of s become the a fragments of p as they stand. Blocks of late rows, long under a causal
 * mask, start first, and a warp is done with its own last key.
 *
 * Bytes: q, k, v read, y written, 4 a number (bf16 2); every block of rows reads its keys again, from L2.
 * Floor: (6 + 3) 2 T S H Dp operations (half of it if causal) over the bf16 rate; of bf16 (1 + 1). Log: never
 * timed on a GPU. */
#ifndef KERNELS_ATTENTION_FORWARD_CUH
#define KERNELS_ATTENTION_FORWARD_CUH
#include "kernels/attention.cuh"

/* Of keys in a tile, of 16 rows that a warp has, of the block's rows that lie in shared memory. In bf16 with a
 * bias registers would not do for more keys. */
template <class T, int Dp, class Bias>
constexpr int tile_keys = sizeof(T) == 4 ? 32
                          : Bias::none   ? (Dp > 96 ? 32 : 64)
                                         : (Dp > 64 ? 16 : 32);
template <class T> constexpr int sixteens = 4 / sizeof(T);
template <class T> constexpr int block_rows = ATTENTION_TILE *sixteens<T>;
template <class T> constexpr int shared_rows = sizeof(T) == 4 ? 0 : block_rows<T>;

/* A thread's part of 16 rows: g and g + 8. */
template <int Dp> struct Rows {
    float out[Dp / 8][4], top[2], sum[2];
    int keys[2];
};

/* q of the warp's rows. */
template <class T, int Dp> struct Queries;
template <int Dp> struct Queries<float, Dp> {
    Pack<4> q[Dp / 16][2];

    __device__ __forceinline__ void fetch(float *, const float *from, const AttentionDims &d, int unit,
                                          int first)
    {
        int lane = (int)threadIdx.x % 32, row = first + (int)threadIdx.x / 32 * 16 + lane / 4;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            bool there = row + h * 8 < d.rows;
            const float *at = from + (there ? query_at(d, unit, row + h * 8) : 0);
#pragma unroll
            for (int c = 0; c < Dp; c += 16) q[c / 16][h] = load_chunk(at, c + lane % 4 * 4, there ? d.D : 0);
        }
    }
    __device__ __forceinline__ void load(Triple &a, int, int c) const { make_a(a, q[c / 16][0], q[c / 16][1]); }
};
template <int Dp> struct Queries<Bf16, Dp> {
    Bf16 *tile;

    __device__ __forceinline__ void fetch(Bf16 *to, const Bf16 *from, const AttentionDims &d, int unit,
                                          int first)
    {
        copy_rows<Dp, false>(tile = to, from, d, unit, first, block_rows<Bf16>, d.rows);
    }
    __device__ __forceinline__ void load(Whole &a, int m, int c) const
    {
        load_a<Dp>(a, tile, (int)threadIdx.x / 32 * 32 + m * 16, c);
    }
};

/* s = factor q k^T + bias, -inf for key j + column where the row may not see it. */
template <class T, int Dp, int columns, class Bias, class Row>
static __device__ __forceinline__ void scores(float (*s)[columns][4], const Queries<T, Dp> &q,
                                              const Rows<Dp> *r, T *k, float factor, int j, bool masked,
                                              const Bias &bias, const Row &row)
{
    typename Fragments<T>::Tile a[sixteens<T>], b;
#pragma unroll
    for (int c = 0; c < Dp; c += 16) {
#pragma unroll
        for (int m = 0; m < sixteens<T>; m++) q.load(a[m], m, c);
#pragma unroll
        for (int i = 0; i < columns; i += 2) {
            load_bt<Dp>(b, k, i * 8, c);
#pragma unroll
            for (int m = 0; m < sixteens<T>; m++) multiply(s[m] + i, a[m], b);
        }
    }
    j += (int)threadIdx.x % 4 * 2;
    if constexpr (Bias::none) {
#pragma unroll
        for (int i = 0; i < sixteens<T> * columns * 4; i++) {
            int m = i / (columns * 4), n = i / 4 % columns, e = i % 4;
            s[m][n][e] = masked && j + n * 8 + e % 2 >= r[m].keys[e / 2] ? -INFINITY : s[m][n][e] * factor;
        }
    } else {
#pragma unroll
        for (int i = 0; i < columns * 2; i++) {
            int n = i / 2, e = i % 2, key = j + n * 8 + e;
            Pack<2 * sixteens<T>> b = bias.at(row, bias.key(key));
#pragma unroll
            for (int m = 0; m < 2 * sixteens<T>; m++) {
                float &x = s[m / 2][n][e + m % 2 * 2];
                x = masked && key >= r[m / 2].keys[m % 2] ? -INFINITY : x * factor + b.v[m];
            }
        }
    }
}

/* Scores to 2^(s - top); what was summed before is scaled to the new top. The first tile has a key for every
 * row, so top is finite. */
template <int Dp, int columns> static __device__ __forceinline__ void softmax_tile(Rows<Dp> &r, float (*s)[4])
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float top = r.top[h], sum = 0;
#pragma unroll
        for (int i = 0; i < columns; i++) top = fmaxf(top, fmaxf(s[i][2 * h], s[i][2 * h + 1]));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
        float old = power_of_2(r.top[h] - top);
        r.top[h] = top;
#pragma unroll
        for (int i = 0; i < columns; i++)
#pragma unroll
            for (int e = 2 * h; e < 2 * h + 2; e++) sum += s[i][e] = power_of_2(s[i][e] - top);
        r.sum[h] = r.sum[h] * old + sum;
#pragma unroll
        for (int i = 0; i < Dp / 8; i++) r.out[i][2 * h] *= old, r.out[i][2 * h + 1] *= old;
    }
}

/* out += p v */
template <class T, int Dp, int columns>
static __device__ __forceinline__ void mix(Rows<Dp> *r, const float (*p)[columns][4], T *v)
{
    typename Fragments<T>::Weight a[sixteens<T>], b;
#pragma unroll
    for (int j = 0; j < columns; j += 2) {
#pragma unroll
        for (int m = 0; m < sixteens<T>; m++) make_a(a[m], p[m] + j);
#pragma unroll
        for (int c = 0; c < Dp; c += 16) {
            load_b<Dp>(b, v, j * 8, c);
#pragma unroll
            for (int m = 0; m < sixteens<T>; m++) multiply(r[m].out + c / 8, a[m], b);
        }
    }
}

template <int Dp, class T>
static __device__ __forceinline__ void finish(Rows<Dp> &r, const AttentionDims &d, int unit, int row, T *y,
                                              float *lse)
{
    int t = (int)threadIdx.x % 4 * 2;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float sum = r.sum[h];
        sum += __shfl_xor_sync(~0u, sum, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        if (row + h * 8 >= d.rows) continue;
        float factor = sum == 0 ? 0 : 1 / sum;
        T *to = y + query_at(d, unit, row + h * 8);
#pragma unroll
        for (int i = 0; i < Dp / 8; i++)
            store2(to, i * 8 + t, d.D, r.out[i][2 * h] * factor, r.out[i][2 * h + 1] * factor);
        if (t == 0) lse[lse_at(d, unit, row + h * 8)] = (r.top[h] + log2f(sum)) * LN_2;
    }
}

template <class T, int Dp, class Bias>
__global__ void __launch_bounds__(ATTENTION_THREADS, 2)
    attention_forward_kernel(T *__restrict__ y, float *__restrict__ lse, const T *__restrict__ q,
                             const T *__restrict__ k, const T *__restrict__ v, const int *__restrict__ length,
                             AttentionDims d, Bias bias, CudaFault *fault, int op)
{
    constexpr int count = tile_keys<T, Dp, Bias>, tile = count * row_stride<T, Dp>, mine = 16 * sixteens<T>,
                  size = 2 * tile + shared_rows<T> * row_stride<T, Dp>;
    SHARED_ARRAY(T, k_tile, [size]);
    T *v_tile = k_tile + tile, *q_tile = v_tile + tile;
    int unit = (int)blockIdx.x % d.units, from = (int)(gridDim.x - 1 - blockIdx.x) / d.units * block_rows<T>,
        warp_row = from + (int)threadIdx.x / 32 * mine, row = warp_row + (int)threadIdx.x % 32 / 4;
    if (length && from == 0 && threadIdx.x == 0) in_range(fault, op, length[unit / d.G], d.S + 1);
    int all = unit_keys(d, length, unit), first = row_keys(d, all, warp_row),
        last = row_keys(d, all, min(from + block_rows<T>, d.rows) - 1),
        warp_last = warp_row < d.rows ? row_keys(d, all, min(warp_row + mine, d.rows) - 1) : 0;
    Queries<T, Dp> queries;
    Rows<Dp> r[sixteens<T>] = {};
    const auto biased = bias.template query<2 * sixteens<T>>(unit, row);
    if (last > 0) copy_rows<Dp, true>((T *)k_tile, k, d, unit, 0, count, all);
    queries.fetch(q_tile, q, d, unit, from);
    tc::cp_async_commit();
#pragma unroll
    for (int h = 0; h < 2 * sixteens<T>; h++) {
        r[h / 2].top[h % 2] = -INFINITY;
        r[h / 2].keys[h % 2] = row_keys(d, all, row + h * 8);
    }
    for (int j = 0; j < last; j += count) {
        float s[sixteens<T>][count / 8][4] = {};
        tc::cp_async_wait<0>();
        __syncthreads(); /* k is there, and nobody reads v any more */
        copy_rows<Dp, true>(v_tile, v, d, unit, j, count, all);
        tc::cp_async_commit();
        if (j < warp_last) {
            scores<T, Dp>(s, queries, r, k_tile, d.scale * LOG2_E, j, j + count > first, bias, biased);
#pragma unroll
            for (int m = 0; m < sixteens<T>; m++) softmax_tile<Dp, count / 8>(r[m], s[m]);
        }
        tc::cp_async_wait<0>();
        __syncthreads(); /* the other way round */
        if (j + count < last) copy_rows<Dp, true>((T *)k_tile, k, d, unit, j + count, count, all);
        tc::cp_async_commit();
        if (j < warp_last) mix<T, Dp>(r, s, v_tile);
    }
    tc::cp_async_wait<0>();
#pragma unroll
    for (int m = 0; m < sixteens<T>; m++) finish<Dp>(r[m], d, unit, row + m * 16, y, lse);
}

template <class T, int Dp, class Bias>
static void attention_forward(Node *n, const AttentionDims &d, const Bias &bias, const int *length)
{
    KERNEL_LAUNCH((attention_forward_kernel<T, Dp, Bias>),
                  (unsigned)(d.units * ceil_div(d.rows, block_rows<T>)), ATTENTION_THREADS, 0,
                  (T *)n->out->data, (float *)n->saved[0]->data, (const T *)n->in[0]->data,
                  (const T *)n->in[1]->data, (const T *)n->in[2]->data, length, d, bias, cuda_fault, n->op->id);
}
#endif
