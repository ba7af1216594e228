/* Attention, forward (kernels/attention.cuh: units, tiles). Flash attention (Dao et al. 2022): scores exist in
 * registers only.
 *
 * Mapping: a block has 64 rows of a unit, a warp 16 of them, its q in registers. Keys and values come in tiles
 * of 32, one buffer each, on turns: v is on its way while scores are made, the next k while p v is. That is
 * half the shared memory of two whole stages (at most 33 KiB, so that two blocks fit everywhere) and two
 * barriers a tile. The accumulators of s become the a fragments of p as they stand. Blocks of late rows, long
 * under a causal mask, start first. Few rows go to attention_decode.cu.
 *
 * Bytes: q, k, v read, y written, 4 a number; every block of rows reads its keys again, from L2. Floor: (6 + 3)
 * 2 T S H Dp operations (half of it if causal) over the bf16 rate. Log: never timed on a GPU. */
#include "kernels/attention.cuh"

enum { KEYS = 32 };

/* A thread's part of the block's 64 rows: rows g and g + 8 of its warp's 16. */
template <int Dp> struct Rows {
    float4 q[Dp / 16][2];
    float out[Dp / 8][4], top[2], sum[2];
    int keys[2];
};

/* s = factor q k^T, -inf for key j + column where the row may not see it. */
template <int Dp>
static __device__ __forceinline__ void scores(float (*s)[4], const Rows<Dp> &r, const float *k, float factor,
                                              int j, bool masked)
{
#pragma unroll
    for (int c = 0; c < Dp; c += 16) {
        Triple a, b;
        make_a(a, r.q[c / 16][0], r.q[c / 16][1]);
#pragma unroll
        for (int i = 0; i < KEYS / 8; i += 2) {
            load_b<Dp>(b, k, i * 8, c);
            multiply(s + i, a, b);
        }
    }
    j += (int)threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < KEYS / 8; i++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            s[i][e] = masked && j + i * 8 + e % 2 >= r.keys[e / 2] ? -INFINITY : s[i][e] * factor;
}

/* Scores to 2^(s - top); what was summed before is scaled to the new top. The first tile has a key for every
 * row, so top is finite. */
template <int Dp> static __device__ __forceinline__ void softmax_tile(Rows<Dp> &r, float (*s)[4])
{
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float top = r.top[h], sum = 0;
#pragma unroll
        for (int i = 0; i < KEYS / 8; i++) top = fmaxf(top, fmaxf(s[i][2 * h], s[i][2 * h + 1]));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
        float old = exp2f(r.top[h] - top);
        r.top[h] = top;
#pragma unroll
        for (int i = 0; i < KEYS / 8; i++)
#pragma unroll
            for (int e = 2 * h; e < 2 * h + 2; e++) sum += s[i][e] = exp2f(s[i][e] - top);
        r.sum[h] = r.sum[h] * old + sum;
#pragma unroll
        for (int i = 0; i < Dp / 8; i++) r.out[i][2 * h] *= old, r.out[i][2 * h + 1] *= old;
    }
}

/* out += p v */
template <int Dp>
static __device__ __forceinline__ void mix(float (*out)[4], const float (*p)[4], const float *v)
{
#pragma unroll
    for (int j = 0; j < KEYS; j += 16) {
        Pair a, b;
        make_a(a, p + j / 8);
#pragma unroll
        for (int c = 0; c < Dp; c += 16) {
            load_b<Dp>(b, v, j, c);
            multiply(out + c / 8, a, b);
        }
    }
}

template <int Dp>
static __device__ __forceinline__ void finish(Rows<Dp> &r, const AttentionDims &d, int unit, int row, float *y,
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
        float *to = y + query_at(d, unit, row + h * 8);
#pragma unroll
        for (int i = 0; i < Dp / 8; i++)
            store2<false>(to, i * 8 + t, d.D, r.out[i][2 * h] * factor, r.out[i][2 * h + 1] * factor);
        if (t == 0) lse[lse_at(d, unit, row + h * 8)] = (r.top[h] + log2f(sum)) * LN_2;
    }
}

template <int Dp>
__global__ void __launch_bounds__(ATTENTION_THREADS, 2)
    attention_forward_kernel(float *__restrict__ y, float *__restrict__ lse, const float *__restrict__ q,
                             const float *__restrict__ k, const float *__restrict__ v,
                             const int *__restrict__ length, AttentionDims d, CudaFault *fault, int op)
{
    SHARED_ARRAY(float, k_tile, [KEYS * row_stride<Dp>]);
    SHARED_ARRAY(float, v_tile, [KEYS * row_stride<Dp>]);
    int unit = (int)blockIdx.x % d.units, from = (int)(gridDim.x - 1 - blockIdx.x) / d.units * ATTENTION_TILE,
        lane = (int)threadIdx.x % 32, row = from + (int)threadIdx.x / 32 * 16 + lane / 4;
    if (length && from == 0 && threadIdx.x == 0) in_range(fault, op, length[unit / d.G], d.S + 1);
    int all = unit_keys(d, length, unit), first = row_keys(d, all, from),
        last = row_keys(d, all, min(from + ATTENTION_TILE, d.rows) - 1);
    if (last > 0) copy_rows<Dp, true>(k_tile, k, d, unit, 0, KEYS, all);
    tc::cp_async_commit();
    Rows<Dp> r = {};
#pragma unroll
    for (int h = 0; h < 2; h++) {
        bool there = row + h * 8 < d.rows;
        const float *from = q + (there ? query_at(d, unit, row + h * 8) : 0);
#pragma unroll
        for (int c = 0; c < Dp; c += 16) r.q[c / 16][h] = load4(from, c + lane % 4 * 4, there ? d.D : 0);
        r.top[h] = -INFINITY;
        r.keys[h] = row_keys(d, all, row + h * 8);
    }
    for (int j = 0; j < last; j += KEYS) {
        float s[KEYS / 8][4] = {};
        tc::cp_async_wait<0>();
        __syncthreads(); /* k is there, and nobody reads v any more */
        copy_rows<Dp, true>(v_tile, v, d, unit, j, KEYS, all);
        tc::cp_async_commit();
        scores<Dp>(s, r, k_tile, d.scale * LOG2_E, j, j + KEYS > first);
        softmax_tile<Dp>(r, s);
        tc::cp_async_wait<0>();
        __syncthreads(); /* the other way round */
        if (j + KEYS < last) copy_rows<Dp, true>(k_tile, k, d, unit, j + KEYS, KEYS, all);
        tc::cp_async_commit();
        mix<Dp>(r.out, s, v_tile);
    }
    finish<Dp>(r, d, unit, row, y, lse);
}

template <int Dp> static void forward(Node *n, const AttentionDims &d)
{
    KERNEL_LAUNCH((attention_forward_kernel<Dp>), (unsigned)(d.units * ceil_div(d.rows, (int)ATTENTION_TILE)),
                  ATTENTION_THREADS, 0, (float *)n->out->data, (float *)n->saved[0]->data,
                  (const float *)n->in[0]->data, (const float *)n->in[1]->data, (const float *)n->in[2]->data,
                  attention_length(n), d, cuda_fault, n->op->id);
}

extern "C" void attention_forward_cuda(Tape *t, Node *n)
{
    AttentionDims d = attention_dims(n);
    if (attention_decodes(d))
        attention_decode(t, n, d);
    else
        (d.D <= 32 ? forward<32> : d.D <= 64 ? forward<64> : d.D <= 96 ? forward<96> : forward<128>)(n, d);
}
