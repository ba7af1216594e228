/* Attention, forward for few query rows a unit (kernels/attention.cuh): a token against the caches, a few
 * prompts against an image. Bound by reading k and v, so plain f32 arithmetic on rows as they lie; keys are
 * split over blocks, or few units would leave most of the device idle.
 *
 * Mapping: a block has a chunk of keys of a unit and 4 or 8 of its rows. Its threads form groups of lanes that
 * together load a row, 16 bytes a lane (of f32 four columns, of bf16 eight); the groups share the keys, four in
 * flight each. Three passes with barriers between them: scores to shared memory, of a row four keys' summed up
 * over the lanes at once; the chunk's maximum and sum, a warp a row; sum p v in registers, added up over the
 * groups of a warp, each step halving what a lane keeps, then over the warps. A second kernel, a block a row,
 * merges the chunks (max, sum, sum p v) in their order. A chunk has 32 keys, or a multiple up to 256 where 32
 * would make more than 1024 blocks or more than 64 chunks to merge: shapes alone decide, so that the bits do
 * not depend on the card, and a chunk behind a sequence's end does nothing, so that a captured graph serves all
 * lengths.
 *
 * Bytes: k and v once for each 8 rows (twice at most, then from L2), (D + 2) floats a row and chunk written and
 * read. Floor: 8 S G D bytes (bf16 4) a sequence over the bandwidth. Log: never timed on a GPU. */
#include "kernels/attention.cuh"

enum { DECODE_ROWS = 16, CHUNK = 32, MOST_CHUNKS = 8, FLIGHT = 4 };

bool attention_decodes(const AttentionDims &d) { return d.rows <= DECODE_ROWS; }

/* Where a chunk leaves sum p v (Dp columns), max and sum of a row. */
template <int Dp>
static inline __device__ int64_t part_at(const AttentionDims &d, int unit, int chunk, int chunks, int r)
{
    return (((int64_t)unit * chunks + chunk) * d.rows + r) * (Dp + 4);
}

/* The row's 16 bytes from column c on, as f32. */
template <class T> static inline __device__ Pack<chunk<T>> load_columns(const T *row, int c, int D)
{
    Pack<chunk<T>, T> x = load_chunk(row, c, D);
    Pack<chunk<T>> y;
#pragma unroll
    for (int i = 0; i < chunk<T>; i++) y.v[i] = number(x.v[i]);
    return y;
}

/* n floats, aligned to 16 bytes. */
template <int n> static inline __device__ void copy_fours(float *to, const float *from)
{
#pragma unroll
    for (int i = 0; i < n; i += 4) store(to + i, load<4>(from + i));
}

/* Of four values the sum over `lanes` lanes: value u to lanes u lanes/4 .. */
template <int lanes> static inline __device__ float sum_four(const float *v)
{
    bool second = threadIdx.x & lanes / 2;
    float a = (second ? v[2] : v[0]) + __shfl_xor_sync(~0u, second ? v[0] : v[2], lanes / 2);
    float b = (second ? v[3] : v[1]) + __shfl_xor_sync(~0u, second ? v[1] : v[3], lanes / 2);
    second = threadIdx.x & lanes / 4;
    float s = (second ? b : a) + __shfl_xor_sync(~0u, second ? a : b, lanes / 4);
#pragma unroll
    for (int i = lanes / 8; i; i /= 2) s += __shfl_xor_sync(~0u, s, i);
    return s;
}

/* p[j][r] = scale log2(e) q[r] k[j], -inf where row r may not see the key. */
template <int Dp, int rows, class T>
static inline __device__ void chunk_scores(float (*p)[rows], const float (*q)[Dp], const T *k, int from, int n,
                                           const AttentionDims &d, int unit, const int *limit)
{
    constexpr int lanes = Dp / chunk<T>, groups = ATTENTION_THREADS / lanes;
    int group = (int)threadIdx.x / lanes, lane = (int)threadIdx.x % lanes, c = lane * chunk<T>,
        mine = lane / (lanes / 4) * groups;
    for (int j = group; j - group < n; j += groups * FLIGHT) {
        Pack<chunk<T>> x[FLIGHT] = {};
#pragma unroll
        for (int u = 0; u < FLIGHT; u++)
            if (j + u * groups < n) x[u] = load_columns(k + key_at(d, unit, from + j + u * groups), c, d.D);
        for (int r = 0; r < rows; r++) {
            float s[FLIGHT] = {};
            Pack<chunk<T>> y;
            copy_fours<chunk<T>>(y.v, q[r] + c);
#pragma unroll
            for (int u = 0; u < FLIGHT; u++)
#pragma unroll
                for (int i = 0; i < chunk<T>; i++) s[u] += x[u].v[i] * y.v[i];
            float sum = sum_four<lanes>(s);
            int at = j + mine;
            if (lane % (lanes / 4) == 0 && at < n) p[at][r] = from + at < limit[r] ? sum : -INFINITY;
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

/* sum = the group's part of sum over j of p[j][r] v[j], the lane's columns of row after row. */
template <int Dp, int rows, class T>
static inline __device__ void chunk_mix(float *sum, const float (*p)[rows], const T *v, int from, int n,
                                        const AttentionDims &d, int unit)
{
    constexpr int lanes = Dp / chunk<T>, groups = ATTENTION_THREADS / lanes;
    int c = (int)threadIdx.x % lanes * chunk<T>;
    for (int j = (int)threadIdx.x / lanes; j < n; j += groups * FLIGHT) {
        Pack<chunk<T>> x[FLIGHT] = {};
#pragma unroll
        for (int u = 0; u < FLIGHT; u++)
            if (j + u * groups < n) x[u] = load_columns(v + key_at(d, unit, from + j + u * groups), c, d.D);
#pragma unroll
        for (int u = 0; u < FLIGHT; u++)
#pragma unroll
            for (int r = 0; r < rows; r++) {
                float w = j + u * groups < n ? p[j + u * groups][r] : 0;
#pragma unroll
                for (int i = 0; i < chunk<T>; i++) sum[r * chunk<T> + i] += w * x[u].v[i];
            }
    }
}

/* Adds up x of the warp's groups of lanes: of its n values a lane keeps as many as there are groups less, the
 * first of them value `return`. */
template <int lanes, int n, int step = 16> static inline __device__ int sum_groups(float *x)
{
    if constexpr (step < lanes) {
        return 0;
    } else {
        bool second = threadIdx.x & step;
#pragma unroll
        for (int j = 0; j < n / 2; j++)
            x[j] = (second ? x[j + n / 2] : x[j]) + __shfl_xor_sync(~0u, second ? x[j] : x[j + n / 2], step);
        return (second ? n / 2 : 0) + sum_groups<lanes, n / 2, step / 2>(x);
    }
}

template <class T, int Dp, int rows>
__global__ void __launch_bounds__(ATTENTION_THREADS, 4)
    attention_decode_kernel(float *__restrict__ part, const T *__restrict__ q, const T *__restrict__ k,
                            const T *__restrict__ v, const int *__restrict__ length, AttentionDims d,
                            int chunk_keys, int chunks, CudaFault *fault, int op)
{
    constexpr int lanes = Dp / chunk<T>, groups = ATTENTION_THREADS / lanes, warps = ATTENTION_THREADS / 32,
                  kept = rows * chunk<T> * lanes / 32;
    SHARED_ARRAY(float, q_rows, [rows][Dp]);
    SHARED_ARRAY(float, p, [CHUNK * MOST_CHUNKS][rows]);
    SHARED_ARRAY(float, sums, [warps][rows][Dp]);
    SHARED_ARRAY(int, limit, [rows]);
    int unit = (int)blockIdx.x / chunks, chunk = (int)blockIdx.x % chunks, row = (int)blockIdx.y * rows,
        i = (int)threadIdx.x, group = i / lanes, lane = i % lanes;
    if (length && chunk == 0 && row == 0 && i == 0) in_range(fault, op, length[unit / d.G], d.S + 1);
    int keys = unit_keys(d, length, unit), from = chunk * chunk_keys, n = min(keys - from, chunk_keys);
    if (n <= 0) return;
    for (int r = group; r < rows; r += groups) {
        Pack<::chunk<T>> x = {};
        if (row + r < d.rows) x = load_columns(q + query_at(d, unit, row + r), lane * ::chunk<T>, d.D);
#pragma unroll
        for (float &e : x.v) e *= d.scale * LOG2_E;
        copy_fours<::chunk<T>>(q_rows[r] + lane * ::chunk<T>, x.v);
        if (lane == 0) limit[r] = row_keys(d, keys, row + r);
    }
    __syncthreads();
    chunk_scores<Dp, rows>(p, q_rows, k, from, n, d, unit, limit);
    __syncthreads();
    for (int r = i / 32; r < rows; r += warps)
        chunk_softmax<rows>(p, n, r,
                            row + r < d.rows ? part + part_at<Dp>(d, unit, chunk, chunks, row + r) + Dp : NULL);
    __syncthreads();
    float sum[rows * ::chunk<T>] = {};
    chunk_mix<Dp, rows>(sum, p, v, from, n, d, unit);
    int first = sum_groups<lanes, rows * ::chunk<T>>(sum);
#pragma unroll
    for (int j = 0; j < kept; j++) {
        int r = (first + j) / ::chunk<T>, c = lane * ::chunk<T> + (first + j) % ::chunk<T>;
        sums[i / 32][r][c] = sum[j];
    }
    __syncthreads();
    for (int j = i; j < rows * Dp; j += ATTENTION_THREADS) {
        int r = j / Dp, c = j % Dp;
        float all = sums[0][r][c];
        for (int w = 1; w < warps; w++) all += sums[w][r][c];
        if (row + r < d.rows) part[part_at<Dp>(d, unit, chunk, chunks, row + r) + c] = all;
    }
}

template <class T, int Dp>
__global__ void __launch_bounds__(128)
    attention_merge_kernel(T *__restrict__ y, float *__restrict__ lse, const float *__restrict__ part,
                           const int *__restrict__ length, AttentionDims d, int chunk_keys, int chunks)
{
    int unit = (int)blockIdx.x / d.rows, r = (int)blockIdx.x % d.rows, c = (int)threadIdx.x;
    int used = ceil_div(unit_keys(d, length, unit), chunk_keys);
    float top = -INFINITY, sum = 0, out = 0;
    for (int i = 0; i < used; i++) top = fmaxf(top, part[part_at<Dp>(d, unit, i, chunks, r) + Dp]);
    for (int i = 0; i < used; i++) {
        const float *from = part + part_at<Dp>(d, unit, i, chunks, r);
        float w = exp2f(from[Dp] - top);
        sum += w * from[Dp + 1];
        out += w * from[c];
    }
    if (c < d.D) put(y + query_at(d, unit, r) + c, sum == 0 ? 0 : out / sum);
    if (c == 0) lse[lse_at(d, unit, r)] = (top + log2f(sum)) * LN_2;
}

template <class T, int Dp, int rows> static void decode(Tape *t, Node *n, const AttentionDims &d)
{
    int row_blocks = ceil_div(d.rows, rows), wholes = ceil_div(d.S, (int)CHUNK),
        multiple =
            max((int)ceil_div((int64_t)d.units * row_blocks * wholes, (int64_t)1024), ceil_div(wholes, 64)),
        chunk_keys = CHUNK * min(multiple, (int)MOST_CHUNKS), chunks = ceil_div(d.S, chunk_keys);
    float *part = (float *)scratch(t, sizeof(float) * (size_t)d.units * chunks * d.rows * (Dp + 4));
    KERNEL_LAUNCH((attention_decode_kernel<T, Dp, rows>),
                  dim3((unsigned)(d.units * chunks), (unsigned)row_blocks), ATTENTION_THREADS, 0, part,
                  (const T *)n->in[0]->data, (const T *)n->in[1]->data, (const T *)n->in[2]->data,
                  attention_length(n), d, chunk_keys, chunks, cuda_fault, n->op->id);
    KERNEL_LAUNCH((attention_merge_kernel<T, Dp>), (unsigned)(d.units * d.rows), Dp, 0, (T *)n->out->data,
                  (float *)n->saved[0]->data, part, attention_length(n), d, chunk_keys, chunks);
}

template <class T, int rows> static void decode(Tape *t, Node *n, const AttentionDims &d)
{
    (d.D <= 32 ? decode<T, 32, rows> : d.D <= 64 ? decode<T, 64, rows> : decode<T, 128, rows>)(t, n, d);
}

void attention_decode(Tape *t, Node *n, const AttentionDims &d)
{
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        (d.rows <= 4 ? decode<T, 4> : decode<T, 8>)(t, n, d);
    });
}
