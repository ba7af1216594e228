/* What the attention kernels share: numbering of rows, tiles, fragments.
 *
 * As on the CPU, the T*(H/G) query rows that share one key/value head are a unit u = (b,g): row r is token
 * r / group of head g * group + r % group. A tile of neighbouring rows then needs few keys under a causal mask,
 * wastes little where T is short, and all heads of the group use a tile of keys while it is in shared memory.
 *
 * bf16 goes through the tensor cores as it is, p and ds rounded to it: one product. Its tiles come by cp.async
 * and leave by ldmatrix, p and ds stay in registers.
 *
 * f32 goes through them in parts of bf16. Where a number is multiplied with p or ds it is hi + lo, and a
 * product hi hi + hi lo + lo hi: an error of 2^-17 of the terms' size. Scores and dp are differences of larger
 * terms, and what is wrong in them scale multiplies: three parts, exact by truncation, and the six products
 * down to 2^-16, an error near f32's own. (With pairs there too, "above one block, sharp" missed its 1e-4 for
 * two seeds of three.)
 *
 * Tiles are split where fragments are made: they are read by several warps, but as parts they would take one
 * and a half times the shared memory. A row has Dp = 32, 64, 96 or 128 columns, zero from D on. That loads of
 * columns are free of bank conflicts, a row of f32 has 16 bytes more; in one of bf16, which ldmatrix reads in
 * chunks of 16 bytes, these are permuted, so that two blocks' tiles fit into sm_89's shared memory. */
#ifndef KERNELS_ATTENTION_CUH
#define KERNELS_ATTENTION_CUH
#include "kernels/elements.cuh"
#include "kernels/mma.cuh"

enum { ATTENTION_TILE = 64, ATTENTION_THREADS = 128 }; /* a warp has 16 of a tile's rows */
#define LOG2_E 1.4426950408889634f
#define LN_2   0.6931471805599453f

typedef struct AttentionDims {
    int T, S, H, G, D, group, units, rows; /* rows = T * group, of a unit */
    float scale;
    bool causal;
} AttentionDims;

template <class T> constexpr int chunk = 16 / sizeof(T); /* elements of 16 bytes */

/* attention_decode.cu: forward for few rows; whether there are few. */
bool attention_decodes(const AttentionDims &d);
void attention_decode(Tape *t, Node *n, const AttentionDims &d);

/* Of a node with inputs q, k, v, ... */
static inline AttentionDims attention_dims(const Node *n, float scale, bool causal)
{
    const Tensor *q = n->in[0], *k = n->in[1];
    AttentionDims d = {};
    d.T = (int)q->dim[1], d.H = (int)q->dim[2], d.D = (int)q->dim[3];
    d.S = (int)k->dim[1], d.G = (int)k->dim[2];
    d.group = d.H / d.G;
    d.units = (int)q->dim[0] * d.G;
    d.rows = d.T * d.group;
    d.scale = scale;
    d.causal = causal;
    if (d.D > 128) host.die("%s: head dim %d, on a CUDA device it is at most 128", n->op->name, d.D);
    return d;
}
static inline AttentionDims attention_dims(const Node *n)
{
    const AttentionParams *p = NODE_AS(AttentionParams, n);
    return attention_dims(n, p->scale, p->causal);
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

/* ---- biases: what is added to scores, times log2(e) ----
 *
 * A Bias says of key j what it needs (key(j), any j >= 0), of the n query rows row, row + 8, ... of a unit
 * (query<n>(unit, row), row / 8 a multiple of n, any row of the grid's blocks), and gives the biases of these
 * rows for that key (at). In backward, where the rows' gradients of the scores go by, a warp hands over those
 * of 16 rows and `columns` keys from j on, ds[row][columns + 1], and the Bias adds up in `sums` what it wants
 * (accumulate); no other warp has these rows. */
struct NoBias {
    static constexpr bool none = true;
    template <int n> __device__ int query(int, int) const { return 0; }
};

/* n / d of non-negative numbers below 2^31 with n d < 2^32: n * divisor(d) >> 32. */
static inline uint64_t divisor(int d) { return ((uint64_t(1) << 32) + (unsigned)d - 1) / (unsigned)d; }
static inline __device__ int divide(int n, uint64_t by) { return (int)((unsigned)n * by >> 32); }

/* Of a row its columns from c, a multiple of `chunk`, on; 0 outside D. */
template <class T> static inline __device__ Pack<chunk<T>, T> load_chunk(const T *row, int c, int D)
{
    Pack<chunk<T>, T> x = {};
    if (D % chunk<T> == 0) {
        if (c < D) x = load<chunk<T>>(row + c);
    } else {
#pragma unroll
        for (int i = 0; i < chunk<T>; i++)
            if (c + i < D) x.v[i] = row[c + i];
    }
    return x;
}

/* to[c], to[c + 1] = x, y, inside D; c is even. */
template <class T> static inline __device__ void store2(T *to, int c, int D, float x, float y)
{
    if (c + 1 < D && D % 2 == 0) {
        store(to + c, Pack<2>{x, y});
        return;
    }
    if (c < D) put(to + c, x);
    if (c + 1 < D) put(to + c + 1, y);
}
static inline __device__ void add2(float *to, int c, int D, float x, float y)
{
    if (c + 1 < D && D % 2 == 0) {
        add_to(to + c, Pack<2>{x, y});
        return;
    }
    if (c < D) to[c] += x;
    if (c + 1 < D) to[c + 1] += y;
}

/* 2^x; 0 where that is no normal number. */
static __device__ __forceinline__ float power_of_2(float x)
{
#ifdef __CUDACC__
    asm("ex2.approx.ftz.f32 %0, %0;" : "+f"(x));
    return x;
#else
    return exp2f(x);
#endif
}

/* ---- tiles ---- */

template <class T, int Dp> constexpr int row_stride = sizeof(T) == 4 ? Dp + 4 : Dp; /* elements */

/* Where a row's chunk of columns c.. lies. */
template <int Dp> static __device__ __forceinline__ float *chunk_at(float *tile, int row, int c)
{
    return tile + row * row_stride<float, Dp> + c;
}
template <int Dp> static __device__ __forceinline__ Bf16 *chunk_at(Bf16 *tile, int row, int c)
{
    return tile + row * Dp + (c ^ (Dp % 64 == 0 ? row & 7 : row >> 1 & 3) * chunk<Bf16>);
}

/* Begins to copy the unit's rows (of keys or of queries) first..first+count-1 of `from` to a tile, zeros from
 * `limit` on. The block's threads share the work; it is done after cp_async_wait<0> and a barrier. Rows that
 * are not aligned to 16 bytes go through registers. */
template <int Dp, bool keys, class T>
static inline __device__ void copy_rows(T *to, const T *from, const AttentionDims &d, int unit, int first,
                                        int count, int limit)
{
    constexpr int chunks = Dp / chunk<T>;
    for (int i = (int)threadIdx.x; i < count * chunks; i += ATTENTION_THREADS) {
        int r = i / chunks, c = i % chunks * chunk<T>, row = first + r;
        bool there = row < limit && c < d.D;
        const T *src = from + (there ? keys ? key_at(d, unit, row) : query_at(d, unit, row) : 0);
        T *dst = chunk_at<Dp>(to, r, c);
        if (d.D % chunk<T> == 0)
            tc::cp_async16(dst, src + (there ? c : 0), there);
        else
            store(dst, load_chunk(src, c, there ? d.D : 0));
    }
}

/* ---- numbers and their parts as fragments of m16n8k16: one a (16,16), or two b (16,8) ---- */

struct Whole {
    unsigned v[4];
};
struct Pair {
    unsigned hi[4], lo[4];
};
struct Triple {
    unsigned hi[4], mid[4], lo[4];
};
/* What numbers of a tile become for a product with another tile; with p or ds. */
template <class T> struct Fragments;
template <> struct Fragments<float> {
    typedef Triple Tile;
    typedef Pair Weight;
};
template <> struct Fragments<Bf16> {
    typedef Whole Tile, Weight;
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

/* load_a: a = rows row..row+15, columns c..c+15 of a tile; load_bt: two b, the transpose of these rows. A lane
 * has columns c + 4 (lane % 4).. of rows g and g + 8: the order of the summands differs from the fragment's,
 * alike in a and b. */
static __device__ __forceinline__ void make_a(Triple &a, const Pack<4> &x, const Pack<4> &y)
{
    split(x.v[0], x.v[1], a, 0), split(x.v[2], x.v[3], a, 2);
    split(y.v[0], y.v[1], a, 1), split(y.v[2], y.v[3], a, 3);
}
template <int Dp> static __device__ __forceinline__ const float *lane_columns(const float *tile, int row, int c)
{
    int lane = (int)threadIdx.x % 32;
    return tile + (row + lane / 4) * row_stride<float, Dp> + c + lane % 4 * 4;
}
template <int Dp> static __device__ __forceinline__ void load_a(Triple &a, const float *tile, int row, int c)
{
    const float *from = lane_columns<Dp>(tile, row, c);
    make_a(a, load<4>(from), load<4>(from + 8 * row_stride<float, Dp>));
}
template <int Dp> static __device__ __forceinline__ void load_bt(Triple &b, const float *tile, int row, int c)
{
    const float *from = lane_columns<Dp>(tile, row, c);
    Pack<4> x = load<4>(from), y = load<4>(from + 8 * row_stride<float, Dp>);
    split(x.v[0], x.v[1], b, 0), split(x.v[2], x.v[3], b, 1);
    split(y.v[0], y.v[1], b, 2), split(y.v[2], y.v[3], b, 3);
}

/* b = rows row..row+15, columns c..c+15. */
template <int Dp> static __device__ __forceinline__ void load_b(Pair &b, const float *tile, int row, int c)
{
    constexpr int stride = row_stride<float, Dp>;
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

/* The same of bf16. A lane names one row of an 8x8 matrix. */
template <int Dp> static __device__ __forceinline__ void load_a(Whole &a, Bf16 *tile, int row, int c)
{
    int lane = (int)threadIdx.x % 32;
    tc::ldmatrix_x4(a.v, chunk_at<Dp>(tile, row + lane % 16, c + lane / 16 * 8));
}
template <int Dp> static __device__ __forceinline__ void load_bt(Whole &b, Bf16 *tile, int row, int c)
{
    int lane = (int)threadIdx.x % 32;
    tc::ldmatrix_x4(b.v, chunk_at<Dp>(tile, row + lane / 16 * 8 + lane % 8, c + lane / 8 % 2 * 8));
}
template <int Dp> static __device__ __forceinline__ void load_b(Whole &b, Bf16 *tile, int row, int c)
{
    int lane = (int)threadIdx.x % 32;
    tc::ldmatrix_x4_trans(b.v, chunk_at<Dp>(tile, row + lane % 16, c + lane / 16 * 8));
}
static __device__ __forceinline__ void make_a(Whole &a, const float (*d)[4])
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        __nv_bfloat162 x = __floats2bfloat162_rn(d[i / 2][i % 2 * 2], d[i / 2][i % 2 * 2 + 1]);
        a.v[i] = *(const unsigned *)&x;
    }
}

/* d[0] += a b[0], d[1] += a b[1]. */
static __device__ __forceinline__ void multiply(float (*d)[4], const unsigned *a, const unsigned *b)
{
    tc::mma_bf16(d[0], a, b);
    tc::mma_bf16(d[1], a, b + 2);
}
static __device__ __forceinline__ void multiply(float (*d)[4], const Whole &a, const Whole &b)
{
    multiply(d, a.v, b.v);
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
