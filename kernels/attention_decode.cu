/* Attention, forward for few query rows a unit (kernels/attention.cuh): a token against the caches, a few
 * prompts against an image. Bound by reading k and v, so plain f32 arithmetic on rows as they lie; keys are
 * split over blocks, or few units would leave most of the device idle.
 *
 * Mapping: a block has a chunk of keys of a unit and 4 or 8 of its rows. Its threads form groups of 8, 16 or 32
 * lanes, four columns a lane; the groups share the keys, four in flight each. Three passes with barriers
 * between them: scores (a shuffle sum a key and row) to shared memory; the chunk's maximum and sum, a warp a
 * row; sum p v in registers, added up over the groups. A second kernel, a block a row, merges the chunks (max,
 * sum, sum p v) in their order. A chunk has 32 keys, or a multiple up to 256 where 32 would make more than 1024
 * blocks or more than 64 chunks to merge: shapes alone decide, so that the bits do not depend on the card, and
 * a chunk behind a sequence's end does nothing, so that a captured graph serves all lengths.
 *
 * Bytes: k and v once for each 8 rows (twice at most, then from L2), (D + 2) floats a row and chunk written and
 * read. Floor: 8 S G D bytes a sequence over the bandwidth. Log: never timed on a GPU. */
#include "kernels/attention.cuh"

enum { DECODE_ROWS = 16, CHUNK = 32, MOST_CHUNKS = 8, FLIGHT = 4 };

bool attention_decodes(const AttentionDims &d) { return d.rows <= DECODE_ROWS; }

/* Where a chunk leaves sum p v (4 lanes columns), max and sum of a row. */
template <int lanes>
static inline __device__ int64_t part_at(const AttentionDims &d, int unit, int chunk, int chunks, int r)
{
    return (((int64_t)unit * chunks + chunk) * d.rows + r) * (4 * lanes + 4);
}

/* p[j][r] = scale log2(e) q[r] k[j], -inf where row r may not see the key. */
template <int lanes, int rows>
static inline __device__ void chunk_scores(float (*p)[rows], const float (*q)[4 * lanes], const float *k,
                                           int from, int n, const AttentionDims &d, int unit, const int *limit)
{
    constexpr int groups = ATTENTION_THREADS / lanes;
    int group = (int)threadIdx.x / lanes, c = (int)threadIdx.x % lanes * 4;
    for (int j = group; j - group < n; j += groups * FLIGHT) {
        float4 x[FLIGHT];
#pragma unroll
        for (int u = 0; u < FLIGHT; u++)
            x[u] = j + u * groups < n ? load4(k + key_at(d, unit, from + j + u * groups), c, d.D) : float4{};
        for (int r = 0; r < rows; r++) {
            float4 y = *(const float4 *)(q[r] + c);
#pragma unroll
            for (int u = 0; u < FLIGHT; u++) {
                float s = x[u].x * y.x + x[u].y * y.y + x[u].z * y.z + x[u].w * y.w;
#pragma unroll
                for (int i = lanes / 2; i; i /= 2) s += __shfl_xor_sync(~0u, s, i);
                int at = j + u * groups;
                if (c == 0 && at < n) p[at][r] = from + at < limit[r] ? s : -INFINITY;
            }
        }
    }
}

/* p to 2^(p - max); max and sum to where the row's part ends. A warp a row. */
template <int rows> static inline __device__ void chunk_softmax(float (*p)[rows], int n, int r, float *end)
{
    int lane = (int)threadIdx.x % 32;
    float top = -INFINITY, sum = 0;
    for (int j = lane; j < n; j += 32) top = fmaxf(top, p[j][r]);
    top = warp_max(top);
    for (int j = lane; j < n; j += 32) {
        float e = top == -INFINITY ? 0 : exp2f(p[j][r] - top);
        p[j][r] = e;
        sum += e;
    }
    sum = warp_sum(sum);
    if (lane == 0 && end) *(float2 *)end = float2{top, sum};
}

/* sum[r] = the group's part of sum over j of p[j][r] v[j]. */
template <int lanes, int rows>
static inline __device__ void chunk_mix(float4 *sum, const float (*p)[rows], const float *v, int from, int n,
                                        const AttentionDims &d, int unit)
{
    constexpr int groups = ATTENTION_THREADS / lanes;
    int c = (int)threadIdx.x % lanes * 4;
    for (int j = (int)threadIdx.x / lanes; j < n; j += groups * FLIGHT) {
        float4 x[FLIGHT];
#pragma unroll
        for (int u = 0; u < FLIGHT; u++)
            x[u] = j + u * groups < n ? load4(v + key_at(d, unit, from + j + u * groups), c, d.D) : float4{};
#pragma unroll
        for (int u = 0; u < FLIGHT; u++)
#pragma unroll
            for (int r = 0; r < rows; r++) {
                float w = j + u * groups < n ? p[j + u * groups][r] : 0;
                sum[r].x += w * x[u].x, sum[r].y += w * x[u].y;
                sum[r].z += w * x[u].z, sum[r].w += w * x[u].w;
            }
    }
}

template <int lanes, int rows>
__global__ void __launch_bounds__(ATTENTION_THREADS)
    attention_decode_kernel(float *__restrict__ part, const float *__restrict__ q, const float *__restrict__ k,
                            const float *__restrict__ v, const int *__restrict__ length, AttentionDims d,
                            int chunk_keys, int chunks, CudaFault *fault, int op)
{
    constexpr int groups = ATTENTION_THREADS / lanes;
    SHARED_ARRAY(float, q_rows, [rows][4 * lanes]);
    SHARED_ARRAY(float, p, [CHUNK * MOST_CHUNKS][rows]);
    SHARED_ARRAY(float4, sums, [rows][ATTENTION_THREADS]);
    SHARED_ARRAY(int, limit, [rows]);
    int unit = (int)blockIdx.x / chunks, chunk = (int)blockIdx.x % chunks, row = (int)blockIdx.y * rows,
        i = (int)threadIdx.x, group = i / lanes, lane = i % lanes;
    if (length && chunk == 0 && row == 0 && i == 0) in_range(fault, op, length[unit / d.G], d.S + 1);
    int keys = unit_keys(d, length, unit), from = chunk * chunk_keys, n = min(keys - from, chunk_keys);
    if (n <= 0) return;
    for (int r = group; r < rows; r += groups) {
        float4 x = row + r < d.rows ? load4(q + query_at(d, unit, row + r), lane * 4, d.D) : float4{};
        float f = d.scale * LOG2_E;
        *(float4 *)(q_rows[r] + lane * 4) = float4{x.x * f, x.y * f, x.z * f, x.w * f};
        if (lane == 0) limit[r] = row_keys(d, keys, row + r);
    }
    __syncthreads();
    chunk_scores<lanes, rows>(p, q_rows, k, from, n, d, unit, limit);
    __syncthreads();
    for (int r = i / 32; r < rows; r += ATTENTION_THREADS / 32)
        chunk_softmax<rows>(
            p, n, r,
            row + r < d.rows ? part + part_at<lanes>(d, unit, chunk, chunks, row + r) + 4 * lanes : NULL);
    __syncthreads();
    float4 sum[rows] = {};
    chunk_mix<lanes, rows>(sum, p, v, from, n, d, unit);
#pragma unroll
    for (int r = 0; r < rows; r++) sums[r][i] = sum[r];
    __syncthreads();
    for (int r = group; r < rows && row + r < d.rows; r += groups) {
        float4 all = sums[r][lane];
        for (int g = 1; g < groups; g++) {
            float4 x = sums[r][g * lanes + lane];
            all = float4{all.x + x.x, all.y + x.y, all.z + x.z, all.w + x.w};
        }
        *(float4 *)(part + part_at<lanes>(d, unit, chunk, chunks, row + r) + lane * 4) = all;
    }
}

template <int lanes>
__global__ void __launch_bounds__(128)
    attention_merge_kernel(float *__restrict__ y, float *__restrict__ lse, const float *__restrict__ part,
                           const int *__restrict__ length, AttentionDims d, int chunk_keys, int chunks)
{
    int unit = (int)blockIdx.x / d.rows, r = (int)blockIdx.x % d.rows, c = (int)threadIdx.x;
    int used = ceil_div(unit_keys(d, length, unit), chunk_keys);
    float top = -INFINITY, sum = 0, out = 0;
    for (int i = 0; i < used; i++) top = fmaxf(top, part[part_at<lanes>(d, unit, i, chunks, r) + 4 * lanes]);
    for (int i = 0; i < used; i++) {
        const float *from = part + part_at<lanes>(d, unit, i, chunks, r);
        float w = exp2f(from[4 * lanes] - top);
        sum += w * from[4 * lanes + 1];
        out += w * from[c];
    }
    if (c < d.D) y[query_at(d, unit, r) + c] = sum == 0 ? 0 : out / sum;
    if (c == 0) lse[lse_at(d, unit, r)] = (top + log2f(sum)) * LN_2;
}

template <int lanes, int rows> static void decode(Tape *t, Node *n, const AttentionDims &d)
{
    int row_blocks = ceil_div(d.rows, rows), wholes = ceil_div(d.S, (int)CHUNK),
        multiple =
            max((int)ceil_div((int64_t)d.units * row_blocks * wholes, (int64_t)1024), ceil_div(wholes, 64)),
        chunk_keys = CHUNK * min(multiple, (int)MOST_CHUNKS), chunks = ceil_div(d.S, chunk_keys);
    float *part = (float *)scratch(t, sizeof(float) * (size_t)d.units * chunks * d.rows * (4 * lanes + 4));
    KERNEL_LAUNCH((attention_decode_kernel<lanes, rows>),
                  dim3((unsigned)(d.units * chunks), (unsigned)row_blocks), ATTENTION_THREADS, 0, part,
                  (const float *)n->in[0]->data, (const float *)n->in[1]->data, (const float *)n->in[2]->data,
                  attention_length(n), d, chunk_keys, chunks, cuda_fault, n->op->id);
    KERNEL_LAUNCH((attention_merge_kernel<lanes>), (unsigned)(d.units * d.rows), 4 * lanes, 0,
                  (float *)n->out->data, (float *)n->saved[0]->data, part, attention_length(n), d, chunk_keys,
                  chunks);
}

void attention_decode(Tape *t, Node *n, const AttentionDims &d)
{
    if (d.rows <= 4)
        (d.D <= 32 ? decode<8, 4> : d.D <= 64 ? decode<16, 4> : decode<32, 4>)(t, n, d);
    else
        (d.D <= 32 ? decode<8, 8> : d.D <= 64 ? decode<16, 8> : decode<32, 8>)(t, n, d);
}
