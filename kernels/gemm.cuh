/* The tile product that the dense ops share: C (M,N) = sum over k of A[m,k] B[n,k], with f32 in and out.
 *
 * Mapping: a block of warps makes a tile of C, a warp WARP_M x WARP_N of it in m16n8k16 fragments. 32 of the
 * depth at a time go to shared memory, two stages deep: the next ones are on their way while these are
 * multiplied. Tensor cores take bf16, so a fragment's f32 values become pairs hi + lo as they leave shared
 * memory, and a product is hi lo + lo hi + hi hi in f32: 16 bits of each factor count, an infinity gives NaN.
 * Where a tile each would leave processors idle the depth is split over blocks, whose parts a second kernel
 * adds in order.
 *
 * What A and B are is up to two functors, each of lines (rows of A, columns of B) along the depth: line(i) is
 * what all of line i's elements share, spot(k) what all elements at depth k share, at(line, spot) the element's
 * address or NULL where it is 0. DEPTH: neighbours along the depth lie side by side in memory, else
 * neighbouring lines do. vector: so lie groups of four from every fourth on, aligned to 16 bytes, all of them
 * or none NULL; they are then copied by cp.async, otherwise one by one. What becomes of C is up to a third one
 * (GemmOutput).
 *
 * Bytes: A N/BN times and B M/BM times, most of it from L2, C once. Floor: 6 M N K over the tensor cores' bf16
 * rate, or the bytes of A, B and C over bandwidth. Log: never timed on a GPU. C written straight from fragments
 * spilled registers on sm_80 and sm_89; through shared memory it does not. __launch_bounds__ without its second
 * argument, or with 2, spills too: one large block a processor. */
#ifndef KERNELS_GEMM_CUH
#define KERNELS_GEMM_CUH
#include "kernels/elements.cuh"
#include "kernels/mma.cuh"

enum { GEMM_DEPTH = 32, GEMM_STAGES = 2 };

/* ---- operands ---- */

static __host__ __device__ inline bool gemm_aligned(const void *p, size_t bytes)
{
    return ((uintptr_t)p & (bytes - 1)) == 0;
}

/* What all operands have; T: float or Bf16. GROUP: elements in 16 bytes. four and one: what is at an address,
 * for kernels that read to registers. */
template <class T> struct GemmOperand {
    typedef T Element;
    static constexpr int GROUP = 16 / sizeof(T);
    const T *p;
    int64_t step; /* elements from one product's operand to the next's */
    bool vector;

    __device__ float4 four(const T *from) const
    {
        Pack<4> x = load_f32<4>(from);
        return float4{x.v[0], x.v[1], x.v[2], x.v[3]};
    }
    __device__ float one(const T *from) const { return number(*from); }
};

/* Whether groups of 16 bytes lie aligned in rows of `length` elements that are `ld` apart. */
template <class T> static inline bool gemm_groups(const T *p, int64_t ld, int64_t step, int length)
{
    return gemm_aligned(p, 16) && (ld | step | length) % GemmOperand<T>::GROUP == 0;
}

/* p[i ld + k] */
template <class T> struct GemmRows : GemmOperand<T> {
    static constexpr bool DEPTH = true;
    typedef int Line, Spot;
    int ld, lines, depth;

    GemmRows(const T *p, int ld, int64_t step, int lines, int depth)
        : GemmOperand<T>{p, step, gemm_groups(p, ld, step, depth)}, ld(ld), lines(lines), depth(depth)
    {
    }
    __device__ int line(int i) const { return i; }
    __device__ int spot(int k) const { return k; }
    __device__ const T *at(int i, int k) const
    {
        return i < lines && k < depth ? this->p + (int64_t)i * ld + k : NULL;
    }
};

/* p[k ld + i] */
template <class T> struct GemmColumns : GemmOperand<T> {
    static constexpr bool DEPTH = false;
    typedef int Line, Spot;
    int ld, lines, depth;

    GemmColumns(const T *p, int ld, int64_t step, int lines, int depth)
        : GemmOperand<T>{p, step, gemm_groups(p, ld, step, lines)}, ld(ld), lines(lines), depth(depth)
    {
    }
    __device__ int line(int i) const { return i; }
    __device__ int spot(int k) const { return k; }
    __device__ const T *at(int i, int k) const
    {
        return i < lines && k < depth ? this->p + (int64_t)k * ld + i : NULL;
    }
};

/* ---- result ---- */

/* C[m,n] = (add: C[m,n] +) alpha * product (+ bias[n]), f32 or bf16. Others derive from it: row(m), elements
 * from p on, is negative to leave row m out; wants(m0) false: the products of the tile that begins at row m0
 * are 0 and need not be computed; SPLITS false: it needs them whole. */
struct GemmOutput {
    static constexpr bool SPLITS = true;
    void *p;
    int64_t ld, step;
    const float *bias;
    float alpha;
    bool add, bf16, vector; /* vector: every fourth element is aligned to four */

    template <class T>
    __host__ __device__ GemmOutput(T *p, int64_t ld, bool add, float alpha = 1, const float *bias = NULL,
                                   int64_t step = 0)
        : p(p), ld(ld), step(step), bias(bias), alpha(alpha), add(add), bf16(sizeof(T) == 2),
          vector(gemm_aligned(p, 4 * sizeof(T)) && ld % 4 == 0 && step % 4 == 0)
    {
    }
    __device__ void advance(int products)
    {
        p = (char *)p + products * step * (int)(bf16 ? sizeof(Bf16) : sizeof(float));
    }
    __device__ bool wants(int) const { return true; }
    __device__ int64_t row(int m) const { return m * ld; }
    __device__ float value(int, int n, float product) const { return alpha * product + (bias ? bias[n] : 0); }
};

/* What the products at (m,n) to (m,n+3) make of C; an output that knows better has its own. */
template <class C> static __device__ inline float4 gemm_values(const C &c, int m, int n, float4 v)
{
    return float4{c.value(m, n, v.x), c.value(m, n + 1, v.y), c.value(m, n + 2, v.z), c.value(m, n + 3, v.w)};
}

static __device__ inline void gemm_put_one(const GemmOutput &c, int64_t at, float v)
{
    if (c.bf16) {
        Bf16 *y = (Bf16 *)c.p + at;
        put(y, c.add ? number(*y) + v : v);
    } else {
        float *y = (float *)c.p + at;
        *y = c.add ? *y + v : v;
    }
}
template <class T> static __device__ inline void gemm_put_four(T *y, bool add, float4 v)
{
    Pack<4> x = {};
    if (add) x = load_f32<4>(y);
    store(y, Pack<4>{x.v[0] + v.x, x.v[1] + v.y, x.v[2] + v.z, x.v[3] + v.w});
}

/* Hands out the products at (m,n) to (m,n+3), as far as there are columns; n is a multiple of 4. */
template <class C> static __device__ inline void gemm_put(const C &c, int m, int n, int N, float4 v)
{
    int64_t at = c.row(m);
    if (at < 0) return;
    at += n;
    if (c.vector && n + 4 <= N) {
        v = gemm_values(c, m, n, v);
        if (c.bf16)
            gemm_put_four((Bf16 *)c.p + at, c.add, v);
        else
            gemm_put_four((float *)c.p + at, c.add, v);
        return;
    }
    const float product[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int e = 0; e < 4; e++)
        if (n + e < N) gemm_put_one(c, at + e, c.value(m, n + e, product[e]));
}

/* ---- shared memory ---- */

/* LINES x GEMM_DEPTH of an operand. No padding: bits of one index are flipped by the other, so that the lanes
 * that read a fragment meet different banks. */
template <int LINES, int THREADS, class L> struct GemmStage {
    static constexpr int CHUNKS = L::DEPTH ? GEMM_DEPTH / 4 : LINES / 4, STRIDE = THREADS / CHUNKS;
    static constexpr int PASSES = LINES * GEMM_DEPTH / 4 / THREADS;
    static_assert(THREADS % CHUNKS == 0 && LINES % 32 == 0 && PASSES > 0, "whole passes");
    typename L::Line line[L::DEPTH ? PASSES : 1]; /* of the chunks that this thread copies */

    static __device__ int offset(int i, int k)
    {
        return L::DEPTH ? i * GEMM_DEPTH + (k ^ (i & 1) << 4) : k * LINES + (i ^ (k >> 2 & 3) << 3);
    }

    __device__ void begin(const L &l, int i0)
    {
        int c = threadIdx.x % CHUNKS * 4, r = threadIdx.x / CHUNKS;
#pragma unroll
        for (int j = 0; j < (L::DEPTH ? PASSES : 1); j++)
            line[j] = l.line(i0 + (L::DEPTH ? r + j * STRIDE : c));
    }

    __device__ void copy(const L &l, float *to, int k0) const
    {
        int c = threadIdx.x % CHUNKS * 4, r = threadIdx.x / CHUNKS;
#pragma unroll
        for (int j = 0; j < PASSES; j++, r += STRIDE) {
            const float *from = l.at(line[L::DEPTH ? j : 0], l.spot(k0 + (L::DEPTH ? c : r)));
            tc::cp_async16(to + (L::DEPTH ? offset(r, c) : offset(c, r)), from ? from : l.p, from != NULL);
        }
    }

    /* Neighbouring threads take neighbours in memory. */
    __device__ void copy_singly(const L &l, float *to, int i0, int k0) const
    {
#pragma unroll 4
        for (int x = threadIdx.x; x < LINES * GEMM_DEPTH; x += THREADS) {
            int i = L::DEPTH ? x / GEMM_DEPTH : x % LINES, k = L::DEPTH ? x % GEMM_DEPTH : x / LINES;
            const float *from = l.at(l.line(i0 + i), l.spot(k0 + k));
            to[offset(i, k)] = from ? *from : 0;
        }
    }

    __device__ void load(const L &l, float *to, int i0, int k0) const
    {
        if (l.vector)
            copy(l, to, k0);
        else
            copy_singly(l, to, i0, k0);
    }
};

/* (x, y) = hi + lo, two bf16 a register. */
static __device__ inline void gemm_split(float x, float y, unsigned &hi, unsigned &lo)
{
    __nv_bfloat162 h = __floats2bfloat162_rn(x, y);
    float2 rest = __bfloat1622float2(h);
    __nv_bfloat162 l = __floats2bfloat162_rn(x - rest.x, y - rest.y);
    hi = *(const unsigned *)&h;
    lo = *(const unsigned *)&l;
}

/* Four of line i's values, from depth k on: a lane's share of 16. The lanes of a quad take neighbouring fours
 * where the fragment has them take two pairs 8 apart: another order of the depth, the same one for A and B. */
template <class Stage, class L>
static __device__ inline void gemm_fragment(const float *stage, int i, int k, unsigned *hi, unsigned *lo)
{
    float4 v;
    if (L::DEPTH)
        v = *(const float4 *)(stage + Stage::offset(i, k));
    else
        v = float4{stage[Stage::offset(i, k)], stage[Stage::offset(i, k + 1)], stage[Stage::offset(i, k + 2)],
                   stage[Stage::offset(i, k + 3)]};
    gemm_split(v.x, v.y, hi[0], lo[0]);
    gemm_split(v.z, v.w, hi[1], lo[1]);
}

/* ---- the kernel ---- */

struct GemmExtent {
    int M, N, K;
    int down, across; /* tiles of one product */
    int part;         /* depth of a split, a multiple of GEMM_DEPTH */
    float *parts;     /* (splits, products, M, N), or NULL */
};

/* What the tile shapes have in common: threads, and fragments of a warp. */
template <int BM, int BN, int DOWN, int ACROSS> struct GemmShape {
    static constexpr int M = BM, N = BN, WARPS_DOWN = DOWN, WARPS_ACROSS = ACROSS, THREADS = DOWN * ACROSS * 32;
    static constexpr int WARP_M = BM / DOWN, WARP_N = BN / ACROSS, MT = WARP_M / 16, NT = WARP_N / 8;
    static constexpr size_t BYTES = GEMM_STAGES * (BM + BN) * GEMM_DEPTH * sizeof(float);
    static_assert(BM * BN * sizeof(float) <= BYTES, "a finished tile takes the place of the stages");
};
typedef GemmShape<128, 128, 2, 4> GemmLarge;
typedef GemmShape<64, 64, 2, 2> GemmSmall;

/* acc += the products of one stage. */
template <class S, class SA, class SB, class A, class B>
static __device__ inline void gemm_multiply(const float *a, const float *b, float (&acc)[S::MT][S::NT][4])
{
    int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, q = threadIdx.x % 4 * 4;
    int m = warp / S::WARPS_ACROSS * S::WARP_M + g, n = warp % S::WARPS_ACROSS * S::WARP_N + g;
#pragma unroll 1
    for (int k = 0; k < GEMM_DEPTH; k += 16) {
        unsigned b_hi[S::NT][2], b_lo[S::NT][2];
#pragma unroll
        for (int j = 0; j < S::NT; j++) gemm_fragment<SB, B>(b, n + j * 8, k + q, b_hi[j], b_lo[j]);
#pragma unroll
        for (int i = 0; i < S::MT; i++) {
            unsigned top[2], bottom[2], top_lo[2], bottom_lo[2];
            gemm_fragment<SA, A>(a, m + i * 16, k + q, top, top_lo);
            gemm_fragment<SA, A>(a, m + i * 16 + 8, k + q, bottom, bottom_lo);
            const unsigned hi[4] = {top[0], bottom[0], top[1], bottom[1]};
            const unsigned lo[4] = {top_lo[0], bottom_lo[0], top_lo[1], bottom_lo[1]};
#pragma unroll
            for (int j = 0; j < S::NT; j++) tc::mma_bf16(acc[i][j], lo, b_hi[j]);
#pragma unroll
            for (int j = 0; j < S::NT; j++) tc::mma_bf16(acc[i][j], hi, b_lo[j]);
#pragma unroll
            for (int j = 0; j < S::NT; j++) tc::mma_bf16(acc[i][j], hi, b_hi[j]);
        }
    }
}

/* A finished tile in shared memory, in place of the stages: row r, column n of the block's. Bits of n are
 * flipped by r, so that the lanes that write a fragment meet different banks; fours stay together. */
template <class S> static __device__ inline int gemm_tile_offset(int r, int n)
{
    return r * S::N + (n ^ (r & 3) << 3);
}
template <class S>
static __device__ inline void gemm_tile_write(float *tile, const float (&acc)[S::MT][S::NT][4] CALLER)
{
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int r = warp / S::WARPS_ACROSS * S::WARP_M + lane / 4,
        n = warp % S::WARPS_ACROSS * S::WARP_N + lane % 4 * 2;
    CALLERS_SYNC(); /* the last stage has been read */
#pragma unroll
    for (int i = 0; i < S::MT * 2; i++)
#pragma unroll
        for (int j = 0; j < S::NT; j++)
            *(float2 *)(tile + gemm_tile_offset<S>(r + i * 8, n + j * 8)) =
                float2{acc[i / 2][j][i % 2 * 2], acc[i / 2][j][i % 2 * 2 + 1]};
    CALLERS_SYNC();
}

/* Hands the block's tile at (m0,n0) to c, a row after the other. An output that wants whole rows has its own.
 */
template <class S, class C>
static __device__ inline void gemm_finish(const C &c, const float *tile, int m0, int n0, const GemmExtent &e)
{
#pragma unroll 2
    for (int i = threadIdx.x; i < S::M * S::N / 4; i += S::THREADS) {
        int r = i / (S::N / 4), n = i % (S::N / 4) * 4;
        if (m0 + r < e.M && n0 + n < e.N)
            gemm_put(c, m0 + r, n0 + n, e.N, *(const float4 *)(tile + gemm_tile_offset<S>(r, n)));
    }
}

/* Tile `block` of a product: eight rows of tiles at a time, column by column, so that blocks that run together
 * share what they read. */
template <class S> static __device__ inline void gemm_tile(const GemmExtent &e, int block, int &m0, int &n0)
{
    int first = block / (8 * e.across) * 8, within = block % (8 * e.across);
    int height = e.down - first < 8 ? e.down - first : 8;
    m0 = (first + within % height) * S::M;
    n0 = within / height * S::N;
}

/* Grid: tiles of all products, splits. */
template <class S, class A, class B, class C>
__global__ void __launch_bounds__(S::THREADS, 1) gemm_tile_kernel(A a, B b, C c, GemmExtent e)
{
    typedef GemmStage<S::M, S::THREADS, A> StageA;
    typedef GemmStage<S::N, S::THREADS, B> StageB;
    constexpr int B_AT = S::M * GEMM_DEPTH, STAGE = (S::M + S::N) * GEMM_DEPTH;
    DYN_SHARED(float, shared);
    int tiles = e.down * e.across, product = (int)blockIdx.x / tiles, m0, n0;
    gemm_tile<S>(e, (int)blockIdx.x % tiles, m0, n0);
    a.p += product * a.step;
    b.p += product * b.step;
    c.advance(product);
    StageA stage_a;
    StageB stage_b;
    stage_a.begin(a, m0);
    stage_b.begin(b, n0);
    int from = (int)blockIdx.y * e.part, to = e.K - from < e.part ? e.K : from + e.part;
    if (!c.wants(m0)) to = from;
    float acc[S::MT][S::NT][4] = {};
    if (from < to) {
        stage_a.load(a, shared, m0, from);
        stage_b.load(b, shared + B_AT, n0, from);
    }
    tc::cp_async_commit();
    for (int k = from, now = 0; k < to; k += GEMM_DEPTH, now = STAGE - now) {
        tc::cp_async_wait<0>();
        __syncthreads(); /* this stage is there, and nobody reads the other one any more */
        if (k + GEMM_DEPTH < to) {
            stage_a.load(a, shared + STAGE - now, m0, k + GEMM_DEPTH);
            stage_b.load(b, shared + STAGE - now + B_AT, n0, k + GEMM_DEPTH);
            tc::cp_async_commit();
        }
        gemm_multiply<S, StageA, StageB, A, B>(shared + now, shared + now + B_AT, acc);
    }
    gemm_tile_write<S>(shared, acc);
    if (C::SPLITS && e.parts) {
        int64_t products = gridDim.x / tiles, at = ((int64_t)blockIdx.y * products + product) * e.M * e.N;
        GemmOutput part(e.parts + at, e.N, false); /* as it is */
        gemm_finish<S>(part, shared, m0, n0, e);
    } else {
        gemm_finish<S>(c, shared, m0, n0, e);
    }
}

/* c = the sum of the parts; a thread an element. */
template <class C>
__global__ void __launch_bounds__(256)
    gemm_parts_kernel(C c, const float *__restrict__ parts, int splits, int M, int N, int64_t elements)
{
    int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= elements) return;
    float sum = parts[i];
    for (int s = 1; s < splits; s++) sum += parts[s * elements + i];
    int64_t row = i / N;
    int m = (int)(row % M), n = (int)(i % N);
    c.advance((int)(row / M));
    int64_t at = c.row(m);
    if (at >= 0) gemm_put_one(c, at + n, c.value(m, n, sum));
}

/* ---- host ---- */

static inline int gemm_int(int64_t n)
{
    if (n > INT32_MAX) host.die("cuda: a product with a side of %lld", (long long)n);
    return (int)n;
}

static inline int gemm_processors(void)
{
    static int n;
    if (!n)
        cuda_check(cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, 0), "the processors", "device 0");
    return n;
}

/* Scratch for parts: one product's is the next one's, for kernels run one after the other. */
struct GemmRoom {
    Tape *t;
    mutable float *p;
    mutable size_t bytes;

    GemmRoom(Tape *t) : t(t), p(NULL), bytes(0) {}
    float *parts(int64_t n) const
    {
        if (n * sizeof *p > bytes) {
            bytes = (size_t)n * sizeof *p;
            p = (float *)scratch(t, bytes);
        }
        return p;
    }
};

/* Into how many parts the depth goes when there are so many blocks; each part is a multiple of `unit`, and at
 * least four. */
static inline int gemm_part(int64_t blocks, int K, int unit)
{
    int64_t want = 2 * gemm_processors() / blocks, most = K / (4 * unit);
    int64_t splits = want < most ? want : most;
    if (splits < 1) splits = 1;
    return (int)(ceil_div(ceil_div((int64_t)K, splits), (int64_t)unit) * unit);
}

template <class C>
static inline void gemm_add_parts(C c, const float *parts, int splits, int M, int N, int products)
{
    int64_t elements = (int64_t)products * M * N;
    KERNEL_LAUNCH((gemm_parts_kernel<C>), (unsigned)ceil_div(elements, (int64_t)256), 256, 0, c, parts, splits,
                  M, N, elements);
}

template <class S, class A, class B, class C>
static inline void gemm_launch(const GemmRoom &room, A a, B b, C c, int M, int N, int K, int products)
{
    GemmExtent e = {M, N, K, ceil_div(M, S::M), ceil_div(N, S::N), 0, NULL};
    int64_t blocks = (int64_t)e.down * e.across * products;
    e.part = C::SPLITS ? gemm_part(blocks, K, GEMM_DEPTH) : ceil_div(K, (int)GEMM_DEPTH) * GEMM_DEPTH;
    int splits = K ? ceil_div(K, e.part) : 1;
    if (splits > 1) e.parts = room.parts((int64_t)splits * products * M * N);
    ALLOW_DYN_SHARED((gemm_tile_kernel<S, A, B, C>), S::BYTES);
    KERNEL_LAUNCH((gemm_tile_kernel<S, A, B, C>), dim3((unsigned)gemm_int(blocks), (unsigned)splits),
                  S::THREADS, S::BYTES, a, b, c, e);
    if constexpr (C::SPLITS)
        if (splits > 1) gemm_add_parts(c, e.parts, splits, M, N, products);
}

/* The large tile where it leaves no processor without one. */
static inline bool gemm_large(int M, int N, int products)
{
    int64_t tiles = (int64_t)ceil_div(M, GemmLarge::M) * ceil_div(N, GemmLarge::N) * products;
    return M > GemmSmall::M && N > GemmSmall::N && tiles >= gemm_processors();
}

/* `products` products; M, N > 0. */
template <class A, class B, class C>
static inline void gemm_tiles(const GemmRoom &room, A a, B b, C c, int M, int N, int K, int products = 1)
{
    if (gemm_large(M, N, products))
        gemm_launch<GemmLarge>(room, a, b, c, M, N, K, products);
    else
        gemm_launch<GemmSmall>(room, a, b, c, M, N, K, products);
}

/* ---- plain matrices ---- */

/* Elements from one stored row to the next, and from one product's matrix to the next's. */
struct GemmMatrix {
    const float *p;
    int64_t ld;
    bool transposed;
    int64_t step;
};

/* c = op(a) op(b), as gemm() of kernels/gemm.h: a is stored (M,K), or (K,M) transposed; b (K,N) or (N,K). In
 * gemm.cu. */
void gemm_cuda(const GemmRoom &room, int64_t M, int64_t N, int64_t K, GemmMatrix a, GemmMatrix b, GemmOutput c,
               int64_t products = 1);

/* sum[c] += the sum over rows of x (rows,C). */
void gemm_column_sums(const GemmRoom &room, float *sum, const float *x, int64_t rows, int64_t C);
#endif
