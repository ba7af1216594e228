/* What the attention kernels share: numbering of rows, tiles, fragments.
 *
 * As on the CPU, the T*(H/G) query rows that share one key/value head are a unit u = (b,g): row r is token
 * r / group of head g * group + r % group. A tile of neighbouring rows then needs few keys under a causal mask,
 * wastes little where T is short, and all heads of the group use a tile of keys while it is in shared memory.
 *
 * f32 goes through the tensor cores in parts of bf16. Where a number is multiplied with p or ds it is hi + lo,
 * and a product hi hi + hi lo + lo hi: an error of 2^-17 of the terms' size. Scores and dp are differences of
 * larger terms, and what is wrong in them scale multiplies: three parts, exact by truncation, and the six
 * products down to 2^-16, an error near f32's own. (With pairs there too, "above one block, sharp" missed its
 * 1e-4 for two seeds of three.)
 *
 * Tiles are f32 and split where fragments are made: they are read by several warps, but as parts they would
 * take one and a half times the shared memory. A row has Dp = 32, 64, 96 or 128 columns, zero from D on, and 16
 * bytes that keep loads of columns free of bank conflicts and hold the RowInfo of a query. */
#ifndef KERNELS_ATTENTION_CUH
#define KERNELS_ATTENTION_CUH
#include "kernels/mma.cuh"

enum { ATTENTION_TILE = 64, ATTENTION_THREADS = 128 }; /* a warp has 16 of a tile's rows */
#define LOG2_E 1.4426950408889634f
#define LN_2   0.6931471805599453f

typedef struct AttentionDims {
    int T, S, H, G, D, group, units, rows; /* rows = T * group, of a unit */
    float scale;
    bool causal;
} AttentionDims;

struct alignas(16) RowInfo {
    float lse, delta; /* log-sum-exp to the base 2; sum dy y */
    int keys;         /* that the row may see */
    int unused;
};

template <int Dp> constexpr int row_stride = Dp + 4; /* floats */

/* attention_decode.cu: forward for few rows; whether there are few. */
bool attention_decodes(const AttentionDims &d);
void attention_decode(Tape *t, Node *n, const AttentionDims &d);

static inline AttentionDims attention_dims(const Node *n)
{
    const Tensor *q = n->in[0], *k = n->in[1];
    const AttentionParams *p = NODE_AS(AttentionParams, n);
    AttentionDims d = {};
    d.T = (int)q->dim[1], d.H = (int)q->dim[2], d.D = (int)q->dim[3];
    d.S = (int)k->dim[1], d.G = (int)k->dim[2];
    d.group = d.H / d.G;
    d.units = (int)q->dim[0] * d.G;
    d.rows = d.T * d.group;
    d.scale = p->scale;
    d.causal = p->causal;
    if (d.D > 128) host.die("attention: head dim %d, on a CUDA device it is at most 128", d.D);
    return d;
}
static inline const int *attention_length(const Node *n)
{
    return n->in[3] ? (const int *)n->in[3]->data : NULL;
}

static inline __device__ int64_t query_at(const AttentionDims &d, int unit, int r)
{
    int b = unit / d.G, g = unit % d.G;
    return (((int64_t)b * d.T + r / d.group) * d.H + g * d.group + r % d.group) * d.D;
}
static inline __device__ int64_t key_at(const AttentionDims &d, int unit, int j)
{
    return (((int64_t)(unit / d.G) * d.S + j) * d.G + unit % d.G) * d.D;
}
static inline __device__ int64_t lse_at(const AttentionDims &d, int unit, int r)
{
    return ((int64_t)unit * d.group + r % d.group) * d.T + r / d.group;
}

/* Keys of the unit's sequence; of its row r. */
static inline __device__ int unit_keys(const AttentionDims &d, const int *length, int unit)
{
    return length ? min(max(length[unit / d.G], 0), d.S) : d.S;
}
static inline __device__ int row_keys(const AttentionDims &d, int keys, int r)
{
    return d.causal ? min(r / d.group + 1, keys) : keys;
}

/* Columns c..c+3 of a row, 0 outside D. */
static inline __device__ float4 load4(const float *row, int c, int D)
{
    if (D % 4 == 0) return c < D ? *(const float4 *)(row + c) : float4{};
    return {c < D ? row[c] : 0, c + 1 < D ? row[c + 1] : 0, c + 2 < D ? row[c + 2] : 0,
            c + 3 < D ? row[c + 3] : 0};
}

/* to[c], to[c + 1] = or += x, y, inside D. */
template <bool add> static inline __device__ void store2(float *to, int c, int D, float x, float y)
{
    if (c + 1 < D && D % 2 == 0) {
        float2 old = add ? *(const float2 *)(to + c) : float2{};
        *(float2 *)(to + c) = float2{old.x + x, old.y + y};
        return;
    }
    if (c < D) to[c] = (add ? to[c] : 0) + x;
    if (c + 1 < D) to[c + 1] = (add ? to[c + 1] : 0) + y;
}

/* Begins to copy the unit's rows (of keys or of queries) first..first+count-1 of `from` to a tile, zeros from
 * `limit` on. The block's threads share the work; it is done after cp_async_wait<0> and a barrier. Rows that
 * are not aligned to 16 bytes go through registers. */
template <int Dp, bool keys>
static inline __device__ void copy_rows(float *to, const float *from, const AttentionDims &d, int unit,
                                        int first, int count, int limit)
{
    for (int i = (int)threadIdx.x; i < count * (Dp / 4); i += ATTENTION_THREADS) {
        int r = i / (Dp / 4), c = i % (Dp / 4) * 4, row = first + r;
        bool there = row < limit && c < d.D;
        const float *src = from + (there ? keys ? key_at(d, unit, row) : query_at(d, unit, row) : 0);
        float *dst = to + r * row_stride<Dp> + c;
        if (d.D % 4 == 0)
            tc::cp_async16(dst, src + (there ? c : 0), there);
        else
            *(float4 *)dst = there ? load4(src, c, d.D) : float4{};
    }
}

/* ---- parts of numbers, as fragments of m16n8k16: one a (16,16), or two b (16,8) ---- */

struct Pair {
    unsigned hi[4], lo[4];
};
struct Triple {
    unsigned hi[4], mid[4], lo[4];
};

static __device__ __forceinline__ void split(float x, float y, unsigned &hi, unsigned &lo)
{
    __nv_bfloat162 h = __floats2bfloat162_rn(x, y);
    float2 f = __bfloat1622float2(h);
    __nv_bfloat162 l = __floats2bfloat162_rn(x - f.x, y - f.y);
    hi = *(const unsigned *)&h;
    lo = *(const unsigned *)&l;
}

/* The upper halves of x and y; what is left of them stays. */
static __device__ __forceinline__ unsigned cut(float &x, float &y)
{
    unsigned a = __float_as_uint(x), b = __float_as_uint(y);
    x -= __uint_as_float(a & 0xffff0000u);
    y -= __uint_as_float(b & 0xffff0000u);
    return __byte_perm(a, b, 0x7632);
}
static __device__ __forceinline__ void split(float x, float y, Triple &to, int i)
{
    to.hi[i] = cut(x, y);
    to.mid[i] = cut(x, y);
    to.lo[i] = cut(x, y);
}

/* a: columns c..c+15 of rows g and g + 8 of 16, of which a lane has c + 4 (lane % 4)..: the order of the
 * summands differs from the fragment's, alike in a and b. b: the same of the rows' transpose. */
static __device__ __forceinline__ void make_a(Triple &a, const float4 &x, const float4 &y)
{
    split(x.x, x.y, a, 0), split(x.z, x.w, a, 2);
    split(y.x, y.y, a, 1), split(y.z, y.w, a, 3);
}
template <int Dp> static __device__ __forceinline__ const float *lane_columns(const float *tile, int row, int c)
{
    int lane = (int)threadIdx.x % 32;
    return tile + (row + lane / 4) * row_stride<Dp> + c + lane % 4 * 4;
}
template <int Dp> static __device__ __forceinline__ void load_a(Triple &a, const float *tile, int row, int c)
{
    const float *from = lane_columns<Dp>(tile, row, c);
    make_a(a, *(const float4 *)from, *(const float4 *)(from + 8 * row_stride<Dp>));
}
template <int Dp> static __device__ __forceinline__ void load_b(Triple &b, const float *tile, int row, int c)
{
    const float *from = lane_columns<Dp>(tile, row, c);
    float4 x = *(const float4 *)from, y = *(const float4 *)(from + 8 * row_stride<Dp>);
    split(x.x, x.y, b, 0), split(x.z, x.w, b, 1);
    split(y.x, y.y, b, 2), split(y.z, y.w, b, 3);
}

/* b = rows row..row+15, columns c..c+15. */
template <int Dp> static __device__ __forceinline__ void load_b(Pair &b, const float *tile, int row, int c)
{
    constexpr int stride = row_stride<Dp>;
    int lane = (int)threadIdx.x % 32;
    const float *from = tile + (row + lane % 4 * 2) * stride + c + lane / 4;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float *x = from + i % 2 * 8 * stride + i / 2 * 8;
        split(x[0], x[stride], b.hi[i], b.lo[i]);
    }
}
/* a = two neighbouring accumulators. */
static __device__ __forceinline__ void make_a(Pair &a, const float (*d)[4])
{
#pragma unroll
    for (int i = 0; i < 4; i++) split(d[i / 2][i % 2 * 2], d[i / 2][i % 2 * 2 + 1], a.hi[i], a.lo[i]);
}

/* d[0] += a b[0], d[1] += a b[1]. */
static __device__ __forceinline__ void multiply(float (*d)[4], const unsigned *a, const unsigned *b)
{
    tc::mma_bf16(d[0], a, b);
    tc::mma_bf16(d[1], a, b + 2);
}
static __device__ __forceinline__ void multiply(float (*d)[4], const Pair &a, const Pair &b)
{
    multiply(d, a.hi, b.lo);
    multiply(d, a.lo, b.hi);
    multiply(d, a.hi, b.hi);
}
static __device__ __forceinline__ void multiply(float (*d)[4], const Triple &a, const Triple &b)
{
    multiply(d, a.hi, b.lo);
    multiply(d, a.lo, b.hi);
    multiply(d, a.mid, b.mid);
    multiply(d, a.hi, b.mid);
    multiply(d, a.mid, b.hi);
    multiply(d, a.hi, b.hi);
}
#endif
