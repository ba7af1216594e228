/* Attention within windows with a table of biases: the kernels of attention with a bias (attention_forward.cuh,
 * attention_backward.cuh).
 *
 * Mapping: a window and a head are a unit. The table is copied before, a head's entries side by side (they stay
 * in L1; a warp's 8 rows and 8 columns need two or three lines of them), reversed and times log2(e): a row's
 * and a key's part of an entry's place are then added. Backward sums ds up to a table of each warp, 16 rows by
 * 16 or 32 columns at a time, a row after the other: within one no two keys have the same entry. The tables are
 * added up by columns (column_sums.cuh).
 *
 * Bytes: attention's; in backward 64 rows' tables, 4 times (2s-1)^2 floats, written and read. Floor:
 * attention's. Log: never timed on a GPU. */
#include "kernels/attention_backward.cuh"
#include "kernels/attention_forward.cuh"
#include "kernels/column_sums.cuh"

enum { SUMS_A_BLOCK = ATTENTION_THREADS / 32 };

struct WindowBias {
    static constexpr bool none = false;
    const float *tables; /* (heads, wide^2) */
    int S, side, wide, heads, rows, columns, late,
        sums_a_unit; /* late: where a shifted window's last region begins */
    uint64_t by_side;

    struct Key {
        int at, region; /* bit 0: below, bit 1: to the right */
    };
    template <int n> struct Query {
        const float *table;
        int row[n], apart; /* 4 times the place, and the region; the bits that count in this window */
    };

    /* A token's part of its entry's place, and its region. */
    __device__ Key key(int j) const
    {
        j = min(j, S - 1);
        int r = divide(j, by_side), c = j - r * side;
        return {r * wide + c, (r >= late) + (c >= late) * 2};
    }
    template <int n> __device__ Query<n> query(int unit, int row) const
    {
        int window = unit / heads % (rows * columns);
        Query<n> q;
        q.table = tables + unit % heads * wide * wide;
        q.apart = late == side ? 0 : (window / columns == rows - 1) + (window % columns == columns - 1) * 2;
#pragma unroll
        for (int i = 0; i < n; i++) {
            Key k = key(row + i * 8);
            q.row[i] = ((side - 1) * (wide + 1) - k.at) * 4 + k.region;
        }
        return q;
    }
    template <int n> __device__ Pack<n> at(const Query<n> &q, Key k) const
    {
        Pack<n> x;
#pragma unroll
        for (int i = 0; i < n; i++) {
            x.v[i] = q.table[q.row[i] / 4 + k.at];
            if ((q.row[i] ^ k.region) & q.apart) x.v[i] -= 100 * LOG2_E;
        }
        return x;
    }
    template <int columns>
    __device__ void accumulate(float *sums, int unit, int row, int j, const float *ds) const
    {
        int lane = (int)threadIdx.x % 32;
        float *to = sums + ((int64_t)unit * sums_a_unit + row / 16) * wide * wide;
        int at = (side - 1) * (wide + 1) + key(j + lane).at;
        for (int i = 0; i < 16 && row + i < S; i++) {
            if (lane < columns && j + lane < S) to[at - key(row + i).at] += ds[i * (columns + 1) + lane];
            __syncwarp();
        }
    }
};

/* to (heads, n): each head's table (n, heads) from behind, times log2(e). */
__global__ void __launch_bounds__(256)
    window_tables_kernel(float *__restrict__ to, const float *__restrict__ table, int n, int heads)
{
    int i = (int)(blockIdx.x * 256 + threadIdx.x);
    if (i < n * heads) to[i] = table[(n - 1 - i % n) * heads + i / n] * LOG2_E;
}

/* A row has a window's sums of one block and warp, reversed, of all heads: column i is entry i / heads. */
struct TableGradient {
    float *grad;
    const float *sums;
    int entries, heads, sums_a_unit;

    struct Sum {
        float x;
        __device__ void merge(const Sum &s) { x += s.x; }
    };
    __device__ void add(Sum &s, int64_t row, int i) const
    {
        int64_t unit = row / sums_a_unit * heads + i % heads;
        s.x += sums[(unit * sums_a_unit + row % sums_a_unit) * entries + entries - 1 - i / heads];
    }
    __device__ void finish(int i, const Sum &s) const { grad[i] += s.x; }
};

static WindowBias window_bias(Tape *t, const Node *n, const AttentionDims &d)
{
    const WindowAttentionParams *p = NODE_AS(WindowAttentionParams, n);
    int side = 1;
    while (side * side < d.T) side++;
    int wide = 2 * side - 1, entries = wide * wide;
    float *tables = (float *)scratch(t, (size_t)entries * d.H * sizeof *tables);
    KERNEL_LAUNCH(window_tables_kernel, (unsigned)ceil_div(entries * d.H, 256), 256, 0, tables, f32(n->in[3]),
                  entries, d.H);
    return {tables,
            d.S,
            side,
            wide,
            d.H,
            p->rows,
            p->columns,
            side - p->shift,
            ceil_div(d.T, (int)ATTENTION_TILE) * SUMS_A_BLOCK,
            divisor(side)};
}

static AttentionDims window_dims(const Node *n)
{
    return attention_dims(n, NODE_AS(WindowAttentionParams, n)->scale, false);
}

extern "C" void window_attention_forward_cuda(Tape *t, Node *n)
{
    AttentionDims d = window_dims(n);
    WindowBias bias = window_bias(t, n, d);
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        (d.D <= 32   ? attention_forward<T, 32, WindowBias>
         : d.D <= 64 ? attention_forward<T, 64, WindowBias>
                     : attention_forward<T, 128, WindowBias>)(n, d, bias, (const int *)NULL);
    });
}

extern "C" void window_attention_backward_cuda(Tape *t, Node *n)
{
    AttentionDims d = window_dims(n);
    WindowBias bias = window_bias(t, n, d);
    Tensor *table = n->in[3];
    int entries = bias.wide * bias.wide;
    float *sums = NULL;
    if (table->grad) {
        size_t bytes = (size_t)d.units * bias.sums_a_unit * entries * sizeof *sums;
        sums = (float *)scratch(t, bytes);
        cuda_check(cudaMemsetAsync(sums, 0, bytes, cuda_stream), "zeroing", "window_attention's sums");
    }
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        (d.D <= 32   ? attention_backward<T, 32, WindowBias>
         : d.D <= 64 ? attention_backward<T, 64, WindowBias>
                     : attention_backward<T, 128, WindowBias>)(n, backward_rows<T>(t, n, d, NULL), d,
                                                               (const int *)NULL, bias, sums);
    });
    if (sums)
        reduce_columns(t, TableGradient{f32(table->grad), sums, entries, d.H, bias.sums_a_unit},
                       (int64_t)(d.units / d.H) * bias.sums_a_unit, entries * d.H);
}
