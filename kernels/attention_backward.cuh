/* Attention, backward (kernels/attention.cuh: units, tiles, biases): p is made again from the saved
 * log-sum-exp.
 *
 * With delta = sum dy y of a row: p = exp(scale q k^T + bias - lse), dp = dy v^T, ds = p (dp - delta), dq =
 * scale ds k, dk = scale ds^T q, dv = p^T dy. A small kernel, a warp a row, leaves lse, delta and number of
 * keys of each query row. Then one kernel in two directions, without atomics and in fixed order: a block keeps
 * a tile of 64 rows a, b in shared memory, a warp 16 of them, and goes through tiles x, y of the other side, 32
 * rows (16 where Dp > 64; of bf16 twice as many, but with a bias the same), two stages:
 *
 *     own a, b = k, v   others x, y = q, dy of all heads of the group   sums: dk += ds^T x, dv += p^T y
 *     own a, b = q, dy  others x, y = k, v                              sum: dq += ds x
 *
 * Scores come as a x^T, own rows down: their accumulators become the a fragments of the sums as they stand, and
 * neither p nor ds leaves the registers, but for a bias that wants ds: it goes through the tiles just used. 99
 * KiB of shared memory at Dp = 128, which is why x, y have 16 rows; 68 KiB of bf16. The longest blocks under a
 * causal mask start first. Of bf16 dy is a rounded copy that the small kernel makes, and delta goes with that.
 *
 * Bytes: q, k, v, y (4 a number, bf16 2), dy read, gradients read and written (4); tiles again from L2.
 * Floor: 33 = 4 6 + 3 3 times 2 T S H Dp operations (half of it if causal) over the bf16 rate, of bf16 7 times;
 * scores and dp are made twice, which spares a third kernel that adds up partial dq. Log: never timed on a GPU.
 */
#ifndef KERNELS_ATTENTION_BACKWARD_CUH
#define KERNELS_ATTENTION_BACKWARD_CUH
#include "kernels/attention.cuh"

struct alignas(16) RowInfo {
    float lse, delta; /* log-sum-exp to the base 2; sum dy y */
    int keys;         /* that the row may see */
    int unused;
};

/* rounded: where dy goes, or it is dy. */
template <class T>
__global__ void __launch_bounds__(256)
    attention_rows_kernel(RowInfo *__restrict__ info, T *rounded, const T *__restrict__ y, const float *dy,
                          const float *__restrict__ lse, const int *__restrict__ length, AttentionDims d)
{
    int64_t i = ((int64_t)blockIdx.x * 256 + threadIdx.x) / 32;
    if (i >= (int64_t)d.units * d.rows) return;
    int unit = (int)(i / d.rows), r = (int)(i % d.rows), lane = (int)threadIdx.x % 32;
    int64_t at = query_at(d, unit, r);
    float delta = 0;
    for (int c = lane; c < d.D; c += 32) {
        float g = dy[at + c];
        if constexpr (sizeof(T) != sizeof g) {
            put(rounded + at + c, g);
            g = number(__float2bfloat16_rn(g));
        }
        delta += number(y[at + c]) * g;
    }
    delta = warp_sum(delta);
    if (lane == 0)
        info[i] = {lse[lse_at(d, unit, r)] * LOG2_E, delta, row_keys(d, unit_keys(d, length, unit), r), 0};
}

/* Rows of x and y in a tile; in bf16 with a bias registers would not do for more. */
template <class T, int Dp, class Bias>
constexpr int other_rows = (Dp > 64 ? 64 : 128) / (int)sizeof(T) / (sizeof(T) == 4 || Bias::none ? 1 : 2);

/* Elements of a tile with room for its rows' infos: of f32 they take the 16 bytes behind each, of bf16 they lie
 * behind all. */
template <class T, int Dp, int rows> constexpr int tile_size = rows *(Dp + chunk<T>);
template <int Dp, int rows> static __device__ __forceinline__ RowInfo *info_at(float *tile, int r)
{
    return (RowInfo *)(tile + r * row_stride<float, Dp> + Dp);
}
template <int Dp, int rows> static __device__ __forceinline__ RowInfo *info_at(Bf16 *tile, int r)
{
    return (RowInfo *)(tile + rows * row_stride<Bf16, Dp>)+r;
}

/* Begins to copy a tile's infos; keys = 0 from d.rows on. */
template <int Dp, int rows, class T>
static inline __device__ void copy_infos(T *tile, const RowInfo *info, const AttentionDims &d, int unit,
                                         int first)
{
    int r = (int)threadIdx.x;
    bool there = r < rows && first + r < d.rows;
    if (r < rows)
        tc::cp_async16(info_at<Dp, rows>(tile, r), info + (there ? (int64_t)unit * d.rows + first + r : 0),
                       there);
}

/* s = a x^T and dp = b y^T of the warp's 16 rows. */
template <int Dp, class Bias, class T>
static __device__ __forceinline__ void products(float (*s)[4], float (*dp)[4], T *a, T *b, T *x, T *y)
{
    int row = (int)threadIdx.x / 32 * 16;
    typename Fragments<T>::Tile own, other;
#pragma unroll
    for (int c = 0; c < Dp; c += 16) {
        load_a<Dp>(own, a, row, c);
#pragma unroll
        for (int i = 0; i < other_rows<T, Dp, Bias> / 8; i += 2) {
            load_bt<Dp>(other, x, i * 8, c);
            multiply(s + i, own, other);
        }
        load_a<Dp>(own, b, row, c);
#pragma unroll
        for (int i = 0; i < other_rows<T, Dp, Bias> / 8; i += 2) {
            load_bt<Dp>(other, y, i * 8, c);
            multiply(dp + i, own, other);
        }
    }
}

template <class Bias>
static __device__ __forceinline__ void to_gradient(float &s, float &dp, float factor, const RowInfo &query,
                                                   int key, float bias)
{
    float x = s * factor;
    if constexpr (!Bias::none) x += bias;
    s = key < query.keys ? power_of_2(x - query.lse) : 0;
    dp = s * (dp - query.delta);
}

/* s becomes p, dp becomes ds. The thread's own rows are keys from `key` and the queries' infos lie in x, the
 * first of them row `query`; or they are queries from there with these infos and the others are keys from
 * `key`. */
template <int Dp, bool to_keys, class T, class Bias>
static __device__ __forceinline__ void gradients(float (*s)[4], float (*dp)[4], float factor, T *x,
                                                 const RowInfo *own, int unit, int query, int key,
                                                 const Bias &bias)
{
    constexpr int others = other_rows<T, Dp, Bias>;
    int t = (int)threadIdx.x % 4 * 2;
    if (to_keys) query &= -others; /* as it is: the compiler sees which columns are of one group */
#pragma unroll
    for (int i = 0; i < others / 8; i += 2)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            int column = i * 8 + t + e;
            Pack<2> b[2] =
                {}; /* of columns `column` and column + 8: two rows each, or of own rows: two columns */
            if constexpr (Bias::none) {
            } else if constexpr (to_keys) {
                const auto rows = bias.template query<2>(unit, query + column);
                b[0] = bias.at(rows, bias.key(key)), b[1] = bias.at(rows, bias.key(key + 8));
            } else {
                const auto rows = bias.template query<2>(unit, query);
                b[0] = bias.at(rows, bias.key(key + column)), b[1] = bias.at(rows, bias.key(key + column + 8));
            }
#pragma unroll
            for (int u = 0; u < 2; u++) {
                if constexpr (to_keys) {
                    RowInfo info = *info_at<Dp, others>(x, column + u * 8);
                    to_gradient<Bias>(s[i + u][e], dp[i + u][e], factor, info, key, b[0].v[u]);
                    to_gradient<Bias>(s[i + u][2 + e], dp[i + u][2 + e], factor, info, key + 8, b[1].v[u]);
                } else {
                    int j = key + column + u * 8;
                    to_gradient<Bias>(s[i + u][e], dp[i + u][e], factor, own[0], j, b[u].v[0]);
                    to_gradient<Bias>(s[i + u][2 + e], dp[i + u][2 + e], factor, own[1], j, b[u].v[1]);
                }
            }
        }
}

/* sum += w x */
template <int Dp, class Bias, class T>
static __device__ __forceinline__ void add_product(float (*sum)[4], const float (*w)[4], T *x)
{
    typename Fragments<T>::Weight a, b;
#pragma unroll
    for (int j = 0; j < other_rows<T, Dp, Bias>; j += 16) {
        make_a(a, w + j / 8);
#pragma unroll
        for (int c = 0; c < Dp; c += 16) {
            load_b<Dp>(b, x, j, c);
            multiply(sum + c / 8, a, b);
        }
    }
}

/* Hands the warp's ds to the bias, through memory that nobody needs. */
template <int Dp, class T, class Bias>
static __device__ __forceinline__ void bias_gradients(const float (*ds)[4], T *memory, const Bias &bias,
                                                      float *sums, int unit, int query, int key)
{
    constexpr int others = other_rows<T, Dp, Bias>, room = 2 * tile_size<T, Dp, others> * (int)sizeof(T),
                  columns = others < 32 || room < ATTENTION_TILE * 33 * 4 ? 16 : 32, stride = columns + 1;
    static_assert(ATTENTION_TILE * stride * 4 <= room, "room");
    int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4 * 2;
    float *tile = (float *)memory + threadIdx.x / 32 * 16 * stride;
#pragma unroll
    for (int c = 0; c < others; c += columns) {
        __syncwarp();
#pragma unroll
        for (int i = 0; i < columns / 8; i++)
#pragma unroll
            for (int e = 0; e < 4; e++) tile[(g + e / 2 * 8) * stride + i * 8 + t + e % 2] = ds[c / 8 + i][e];
        __syncwarp();
        bias.template accumulate<columns>(sums, unit, query, key + c, tile);
    }
}

/* Adds a thread's sums to the rows row and row + 8 that are below `rows`. */
template <int Dp, bool to_keys>
static __device__ __forceinline__ void add_rows(float *to, float (*sum)[4], float factor,
                                                const AttentionDims &d, int unit, int row, int rows)
{
    int t = (int)threadIdx.x % 4 * 2;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int r = row + h * 8;
        if (r >= rows) continue;
        float *at = to + (to_keys ? key_at(d, unit, r) : query_at(d, unit, r));
#pragma unroll
        for (int i = 0; i < Dp / 8; i++)
            add2(at, i * 8 + t, d.D, sum[i][2 * h] * factor, sum[i][2 * h + 1] * factor);
    }
}

/* da, db: where sums of ds x and p y are added, NULL where they are not wanted; the same where k is v. sums:
 * the bias's, or NULL. */
template <class T, int Dp, bool to_keys, class Bias>
__global__ void __launch_bounds__(ATTENTION_THREADS, 2)
    attention_backward_kernel(float *da, float *db, const T *__restrict__ a, const T *__restrict__ b,
                              const T *__restrict__ x, const T *__restrict__ y,
                              const RowInfo *__restrict__ info, const int *__restrict__ length, AttentionDims d,
                              Bias bias, float *sums)
{
    constexpr int others = other_rows<T, Dp, Bias>, stage = tile_size<T, Dp, others>,
                  own_size = tile_size<T, Dp, ATTENTION_TILE>;
    DYN_SHARED(T, own_a);
    T *own_b = own_a + own_size, *tiles = own_b + own_size;
    int unit = (int)blockIdx.x % d.units,
        tile = (int)(to_keys ? blockIdx.x : gridDim.x - 1 - blockIdx.x) / d.units, from = tile * ATTENTION_TILE,
        own_row = (int)threadIdx.x / 32 * 16 + (int)threadIdx.x % 32 / 4;
    int keys = unit_keys(d, length, unit), own_rows = to_keys ? keys : d.rows, other = to_keys ? d.rows : keys;
    int begin = to_keys && d.causal ? from * d.group / others * others : 0,
        end = to_keys ? from < keys ? d.rows : 0 : row_keys(d, keys, min(from + ATTENTION_TILE, d.rows) - 1);
    if (begin >= end) return;
    auto fetch = [&](T *to, int row) {
        copy_rows<Dp, !to_keys>(to, x, d, unit, row, others, other);
        copy_rows<Dp, !to_keys>(to + stage, y, d, unit, row, others, other);
        if (to_keys) copy_infos<Dp, others>(to, info, d, unit, row);
        tc::cp_async_commit();
    };
    copy_rows<Dp, to_keys>(own_a, a, d, unit, from, ATTENTION_TILE, own_rows);
    copy_rows<Dp, to_keys>(own_b, b, d, unit, from, ATTENTION_TILE, own_rows);
    if (!to_keys) copy_infos<Dp, ATTENTION_TILE>(own_a, info, d, unit, from);
    fetch(tiles, begin);
    float sum_a[Dp / 8][4] = {}, sum_b[to_keys ? Dp / 8 : 1][4] = {};
    for (int row = begin, now = 0; row < end; row += others, now ^= 1) {
        float p[others / 8][4] = {}, ds[others / 8][4] = {};
        T *xs = tiles + now * 2 * stage, *ys = xs + stage;
        RowInfo own[2] = {};
        tc::cp_async_wait<0>();
        __syncthreads(); /* the tile is there, and nobody reads the one before */
        if (row + others < end) fetch(tiles + (now ^ 1) * 2 * stage, row + others);
        products<Dp, Bias>(p, ds, own_a, own_b, xs, ys);
        if (!to_keys)
            for (int h = 0; h < 2; h++) own[h] = *info_at<Dp, ATTENTION_TILE>(own_a, own_row + h * 8);
        gradients<Dp, to_keys>(p, ds, d.scale * LOG2_E, xs, own, unit, to_keys ? row : from + own_row,
                               to_keys ? from + own_row : row, bias);
        if (da) add_product<Dp, Bias>(sum_a, ds, xs);
        if constexpr (to_keys)
            if (db) add_product<Dp, Bias>(sum_b, p, ys);
        if constexpr (!to_keys && !Bias::none)
            if (sums) {
                __syncthreads(); /* nobody reads this stage any more */
                bias_gradients<Dp>(ds, xs, bias, sums, unit, from + (int)threadIdx.x / 32 * 16, row);
            }
    }
    if (da) add_rows<Dp, to_keys>(da, sum_a, d.scale, d, unit, from + own_row, own_rows);
    if constexpr (to_keys)
        if (db) add_rows<Dp, to_keys>(db, sum_b, 1, d, unit, from + own_row, own_rows);
}

template <class T, int Dp, bool to_keys, class Bias>
static void launch(float *da, float *db, const T *a, const T *b, const T *x, const T *y, const RowInfo *info,
                   const int *length, const AttentionDims &d, const Bias &bias, float *sums)
{
    const size_t shared =
        sizeof(T) * 2 * (tile_size<T, Dp, ATTENTION_TILE> + 2 * tile_size<T, Dp, other_rows<T, Dp, Bias>>);
    if (!da && !db && !sums) return;
    ALLOW_DYN_SHARED((attention_backward_kernel<T, Dp, to_keys, Bias>), shared);
    KERNEL_LAUNCH((attention_backward_kernel<T, Dp, to_keys, Bias>),
                  (unsigned)(d.units * ceil_div(to_keys ? d.S : d.rows, (int)ATTENTION_TILE)),
                  ATTENTION_THREADS, shared, da, db, a, b, x, y, info, length, d, bias, sums);
}

/* What all rows need; of bf16 dy is rounded. */
template <class T> struct BackwardRows {
    const RowInfo *info;
    const T *dy;
};
template <class T>
static BackwardRows<T> backward_rows(Tape *t, const Node *n, const AttentionDims &d, const int *length)
{
    size_t rows = (size_t)d.units * d.rows;
    RowInfo *info = (RowInfo *)scratch(t, sizeof *info * rows);
    T *dy = (T *)n->out->grad->data;
    if (n->out->dtype != DTYPE_f32) dy = (T *)scratch(t, sizeof *dy * rows * d.D);
    KERNEL_LAUNCH((attention_rows_kernel<T>), (unsigned)ceil_div((int64_t)rows, (int64_t)8), 256, 0, info, dy,
                  (const T *)n->out->data, (const float *)n->out->grad->data, (const float *)n->saved[0]->data,
                  length, d);
    return {info, dy};
}

template <class T, int Dp, class Bias>
static void attention_backward(const Node *n, const BackwardRows<T> &r, const AttentionDims &d,
                               const int *length, const Bias &bias, float *sums)
{
    const T *q = (const T *)n->in[0]->data, *k = (const T *)n->in[1]->data, *v = (const T *)n->in[2]->data;
    float *grad[3];
    for (int i = 0; i < 3; i++) grad[i] = n->in[i]->grad ? (float *)n->in[i]->grad->data : NULL;
    launch<T, Dp, true>(grad[1], grad[2], k, v, q, r.dy, r.info, length, d, bias, (float *)NULL);
    launch<T, Dp, false>(grad[0], (float *)NULL, q, r.dy, k, v, r.info, length, d, bias, sums);
}
#endif
