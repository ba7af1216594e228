/* The tile product that the dense ops share: C (M,N) = sum over k of A[m,k] B[n,k], A and B both f32 or both
 * bf16, sums f32. A product of which only one is bf16 has the other one rounded first (gemm_rounded).
 *
 * Mapping: a block of warps makes a tile of C, a warp WARP_M x WARP_N of it in m16n8k16 fragments. 32 of the
 * depth at a time go to shared memory, STAGES deep: the next ones are on their way while these are multiplied.
 * bf16: ldmatrix makes the fragments, one mma a product; four warps of 64 x 64 and 48 KiB, so that a processor
 * has two blocks and one of them multiplies while the other waits. f32: a fragment's values become pairs hi +
 * lo of bf16 as they leave shared memory, and a product is hi lo + lo hi + hi hi: 16 bits of each factor count,
 * an infinity gives NaN. Where a tile each would leave processors idle the depth is split over blocks, whose
 * parts a second kernel adds in order.
 *
 * What A and B are, and what becomes of C, is up to functors (gemm_operands.cuh). Operands that are `vector`
 * are copied by cp.async, others one element at a time.
 *
 * Bytes: A N/BN times and B M/BM times, most of it from L2, C once. Floor: 2 M N K over the tensor cores' bf16
 * rate, 6 M N K in f32, or the bytes of A, B and C over bandwidth. With 128 x 128 tiles of bf16 a processor
 * reads 1 byte for 64 multiplications: at the full rate 2.6 TB/s of L2 on an RTX 4090, which has them; on an
 * H100, where mma.sync alone stays below the rate of wgmma, L2 is the limit. Log: never timed on a GPU. C
 * written straight from fragments spilled registers on sm_80 and sm_89; through shared memory it does not.
 * __launch_bounds__ of f32's large tile without its second argument, or with 2, spills too: one large block a
 * processor. */
#ifndef KERNELS_GEMM_CUH
#define KERNELS_GEMM_CUH
#include "kernels/gemm_operands.cuh"
#include "kernels/mma.cuh"

enum { GEMM_DEPTH = 32 };

/* ---- shared memory ---- */

/* LINES x GEMM_DEPTH of an operand. No padding: bits of one index are flipped by the other, so that the lanes
 * that read a fragment meet different banks. */
template <int LINES, int THREADS, class L> struct GemmStage {
    typedef typename L::Element T;
    static constexpr bool DEPTH = L::DEPTH;
    static constexpr int GROUP = L::GROUP, CHUNKS = (DEPTH ? (int)GEMM_DEPTH : LINES) / GROUP;
    static constexpr int STRIDE = THREADS / CHUNKS, PASSES = LINES * GEMM_DEPTH / GROUP / THREADS;
    static_assert(THREADS % CHUNKS == 0 && LINES % 32 == 0 && PASSES > 0, "whole passes");
    typename L::Line line[DEPTH ? PASSES : 1]; /* of the chunks that this thread copies */

    static __device__ int offset(int i, int k)
    {
        if (sizeof(T) == 2) /* eight rows of 16 bytes at a time */
            return DEPTH ? i * GEMM_DEPTH + (k ^ (i >> 1 & 3) << 3) : k * LINES + (i ^ (k & 7) << 3);
        return DEPTH ? i * GEMM_DEPTH + (k ^ (i & 1) << 4) : k * LINES + (i ^ (k >> 2 & 3) << 3);
    }

    __device__ void begin(const L &l, int i0)
    {
        int c = threadIdx.x % CHUNKS * GROUP, r = threadIdx.x / CHUNKS;
#pragma unroll
        for (int j = 0; j < (DEPTH ? PASSES : 1); j++) line[j] = l.line(i0 + (DEPTH ? r + j * STRIDE : c));
    }

    __device__ void copy(const L &l, T *to, int k0) const
    {
        int c = threadIdx.x % CHUNKS * GROUP, r = threadIdx.x / CHUNKS;
#pragma unroll
        for (int j = 0; j < PASSES; j++, r += STRIDE) {
            const T *from = l.at(line[DEPTH ? j : 0], l.spot(k0 + (DEPTH ? c : r)));
            tc::cp_async16(to + (DEPTH ? offset(r, c) : offset(c, r)), from ? from : l.p, from != NULL);
        }
    }

    /* Neighbouring threads take neighbours in memory. */
    __device__ void copy_singly(const L &l, T *to, int i0, int k0) const
    {
#pragma unroll 4
        for (int x = threadIdx.x; x < LINES * GEMM_DEPTH; x += THREADS) {
            int i = DEPTH ? x / GEMM_DEPTH : x % LINES, k = DEPTH ? x % GEMM_DEPTH : x / LINES;
            const T *from = l.at(l.line(i0 + i), l.spot(k0 + k));
            to[offset(i, k)] = from ? *from : T(0);
        }
    }

    __device__ void load(const L &l, T *to, int i0, int k0) const
    {
        if (l.vector)
            copy(l, to, k0);
        else
            copy_singly(l, to, i0, k0);
    }
};

/* 16 lines from i on, 16 of the depth from k on, as four matrices: lines first in A's fragment, depth first in
 * two of B's. */
template <class Stage, bool LINES_FIRST>
static __device__ inline void gemm_matrices(unsigned *r, const Bf16 *stage, int i, int k CALLER)
{
    int lane = threadIdx.x % 32, low = lane / 8 % 2 * 8, high = lane / 16 * 8, row = lane % 8;
    i += LINES_FIRST ? low : high;
    k += LINES_FIRST ? high : low;
    if (Stage::DEPTH)
        tc::ldmatrix_x4(r, stage + Stage::offset(i + row, k) THE_CALLER);
    else
        tc::ldmatrix_x4_trans(r, stage + Stage::offset(i, k + row) THE_CALLER);
}

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
template <class Stage>
static __device__ inline void gemm_fragment(const float *stage, int i, int k, unsigned *hi, unsigned *lo)
{
    float4 v;
    if (Stage::DEPTH)
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

/* What the tile shapes have in common: threads, fragments of a warp, and HEIGHT, the rows of a finished tile
 * that find room where the stages were. */
template <class T, int BM, int BN, int DOWN, int ACROSS, int DEEP> struct GemmShape {
    static constexpr int M = BM, N = BN, WARPS_DOWN = DOWN, WARPS_ACROSS = ACROSS, THREADS = DOWN * ACROSS * 32;
    static constexpr int WARP_M = BM / DOWN, WARP_N = BN / ACROSS, MT = WARP_M / 16, NT = WARP_N / 8;
    static constexpr int STAGES = DEEP;
    static constexpr size_t BYTES = DEEP * (BM + BN) * GEMM_DEPTH * sizeof(T);
    static constexpr int HEIGHT = BM * BN * sizeof(float) <= BYTES ? BM : BM / 2;
    static_assert(HEIGHT * BN * sizeof(float) <= BYTES && HEIGHT % WARP_M == 0, "half of it, a warp whole");
};
template <class T> struct GemmShapes {
    typedef GemmShape<T, 128, 128, 2, 4, 2> Large;
    typedef GemmShape<T, 64, 64, 2, 2, 2> Small;
};
template <> struct GemmShapes<Bf16> {
    typedef GemmShape<Bf16, 128, 128, 2, 2, 3> Large;
    typedef GemmShape<Bf16, 64, 64, 2, 2, 4> Small;
};

/* acc += the products of one stage. */
template <class S, class SA, class SB>
static __device__ inline void gemm_multiply(const float *a, const float *b, float (&acc)[S::MT][S::NT][4])
{
    int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, q = threadIdx.x % 4 * 4;
    int m = warp / S::WARPS_ACROSS * S::WARP_M + g, n = warp % S::WARPS_ACROSS * S::WARP_N + g;
#pragma unroll 1
    for (int k = 0; k < GEMM_DEPTH; k += 16) {
        unsigned b_hi[S::NT][2], b_lo[S::NT][2];
#pragma unroll
        for (int j = 0; j < S::NT; j++) gemm_fragment<SB>(b, n + j * 8, k + q, b_hi[j], b_lo[j]);
#pragma unroll
        for (int i = 0; i < S::MT; i++) {
            unsigned top[2], bottom[2], top_lo[2], bottom_lo[2];
            gemm_fragment<SA>(a, m + i * 16, k + q, top, top_lo);
            gemm_fragment<SA>(a, m + i * 16 + 8, k + q, bottom, bottom_lo);
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
template <class S, class SA, class SB>
static __device__ inline void gemm_multiply(const Bf16 *a, const Bf16 *b, float (&acc)[S::MT][S::NT][4])
{
    int warp = threadIdx.x / 32, m = warp / S::WARPS_ACROSS * S::WARP_M, n = warp % S::WARPS_ACROSS * S::WARP_N;
#pragma unroll
    for (int k = 0; k < GEMM_DEPTH; k += 16) {
        unsigned y[S::NT / 2][4];
#pragma unroll
        for (int j = 0; j < S::NT / 2; j++) gemm_matrices<SB, false>(y[j], b, n + j * 16, k);
#pragma unroll
        for (int i = 0; i < S::MT; i++) {
            unsigned x[4];
            gemm_matrices<SA, true>(x, a, m + i * 16, k);
#pragma unroll
            for (int j = 0; j < S::NT; j++) tc::mma_bf16(acc[i][j], x, y[j / 2] + j % 2 * 2);
        }
    }
}

/* HEIGHT rows of a finished tile in shared memory: row r, column n. Bits of n are flipped by r, so that the
 * lanes that write a fragment meet different banks; fours stay together. */
template <class S> static __device__ inline int gemm_tile_offset(int r, int n)
{
    return r * S::N + (n ^ (r & 3) << 3);
}

/* Those from row `from` of the block's on. */
template <class S>
static __device__ inline void gemm_tile_write(float *tile, const float (&acc)[S::MT][S::NT][4], int from CALLER)
{
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int r = warp / S::WARPS_ACROSS * S::WARP_M - from, n = warp % S::WARPS_ACROSS * S::WARP_N + lane % 4 * 2;
    CALLERS_SYNC(); /* what was there has been read */
    if (r >= 0 && r < S::HEIGHT) {
        r += lane / 4;
#pragma unroll
        for (int i = 0; i < 2 * S::MT; i++)
#pragma unroll
            for (int j = 0; j < S::NT; j++)
                *(float2 *)(tile + gemm_tile_offset<S>(r + i * 8, n + j * 8)) =
                    float2{acc[i / 2][j][i % 2 * 2], acc[i / 2][j][i % 2 * 2 + 1]};
    }
    CALLERS_SYNC();
}

/* Hands those rows, the first of C's being (m0,n0), to c, one after the other. An output that wants whole rows
 * has its own. */
template <class S, class C>
static __device__ inline void gemm_finish(const C &c, const float *tile, int m0, int n0, const GemmExtent &e)
{
#pragma unroll 2
    for (int i = threadIdx.x; i < S::HEIGHT * S::N / 4; i += S::THREADS) {
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
    typedef typename A::Element T;
    typedef GemmStage<S::M, S::THREADS, A> StageA;
    typedef GemmStage<S::N, S::THREADS, B> StageB;
    constexpr int B_AT = S::M * GEMM_DEPTH, STAGE = (S::M + S::N) * GEMM_DEPTH, AHEAD = S::STAGES - 1;
    DYN_SHARED(T, shared);
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
#pragma unroll
    for (int s = 0; s < AHEAD; s++) {
        if (from + s * GEMM_DEPTH < to) {
            stage_a.load(a, shared + s * STAGE, m0, from + s * GEMM_DEPTH);
            stage_b.load(b, shared + s * STAGE + B_AT, n0, from + s * GEMM_DEPTH);
        }
        tc::cp_async_commit();
    }
    for (int k = from, now = 0, next = AHEAD; k < to; k += GEMM_DEPTH) {
        tc::cp_async_wait<AHEAD - 1>();
        __syncthreads(); /* this stage is there, and nobody reads the one before it any more */
        if (k + AHEAD * GEMM_DEPTH < to) {
            stage_a.load(a, shared + next * STAGE, m0, k + AHEAD * GEMM_DEPTH);
            stage_b.load(b, shared + next * STAGE + B_AT, n0, k + AHEAD * GEMM_DEPTH);
        }
        tc::cp_async_commit();
        gemm_multiply<S, StageA, StageB>(shared + now * STAGE, shared + now * STAGE + B_AT, acc);
        now = now == AHEAD ? 0 : now + 1;
        next = next == AHEAD ? 0 : next + 1;
    }
    float *tile = (float *)shared; /* in place of the stages */
#pragma unroll 1
    for (int r = 0; r < S::M; r += S::HEIGHT) {
        gemm_tile_write<S>(tile, acc, r);
        if (C::SPLITS && e.parts) {
            int64_t products = gridDim.x / tiles, at = ((int64_t)blockIdx.y * products + product) * e.M * e.N;
            GemmOutput part(e.parts + at, e.N, false); /* as it is */
            gemm_finish<S>(part, tile, m0 + r, n0, e);
        } else {
            gemm_finish<S>(c, tile, m0 + r, n0, e);
        }
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

/* What the products of an op share, run one after the other: scratch for parts, and copies in bf16. rounds:
 * factors that are f32 may be rounded even where both are; the op's activations are bf16. */
struct GemmRoom {
    Tape *t;
    bool rounds;
    mutable float *p;
    mutable size_t bytes;
    mutable int copies;
    mutable struct {
        const float *from;
        int64_t n;
        const Bf16 *to;
    } copy[4];

    GemmRoom(Tape *t, bool rounds = false) : t(t), rounds(rounds), p(NULL), bytes(0), copies(0) {}
    float *parts(int64_t n) const
    {
        if (n * sizeof *p > bytes) {
            bytes = (size_t)n * sizeof *p;
            p = (float *)scratch(t, bytes);
        }
        return p;
    }
};

/* The n values at x in bf16, rounded at the first call of the room's. In gemm.cu. */
const Bf16 *gemm_rounded(const GemmRoom &room, const float *x, int64_t n);
static inline const Bf16 *gemm_rounded(const GemmRoom &, const Bf16 *x, int64_t) { return x; }

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
    typedef GemmShapes<float> S; /* bf16's are as large */
    int64_t tiles = (int64_t)ceil_div(M, S::Large::M) * ceil_div(N, S::Large::N) * products;
    return M > S::Small::M && N > S::Small::N && tiles >= gemm_processors();
}

/* `products` products; M, N > 0. */
template <class A, class B, class C>
static inline void gemm_tiles(const GemmRoom &room, A a, B b, C c, int M, int N, int K, int products = 1)
{
    typedef GemmShapes<typename A::Element> S;
    if (gemm_large(M, N, products))
        gemm_launch<typename S::Large>(room, a, b, c, M, N, K, products);
    else
        gemm_launch<typename S::Small>(room, a, b, c, M, N, K, products);
}

/* ---- plain matrices ---- */

/* f32 or bf16. ld, step: elements from one stored row to the next, and from one product's matrix to the next's.
 */
struct GemmMatrix {
    const void *p;
    bool bf16;
    int64_t ld;
    bool transposed;
    int64_t step;

    template <class T>
    GemmMatrix(const T *p, int64_t ld, bool transposed, int64_t step)
        : p(p), bf16(sizeof(T) == 2), ld(ld), transposed(transposed), step(step)
    {
    }
    GemmMatrix(const Tensor *x, int64_t ld, bool transposed, int64_t step)
        : p(x->data), bf16(x->dtype == DTYPE_bf16), ld(ld), transposed(transposed), step(step)
    {
    }
    void advance(int64_t products)
    {
        p = (const char *)p + products * step * (int)(bf16 ? sizeof(Bf16) : sizeof(float));
    }
};

/* c = op(a) op(b), as gemm() of kernels/gemm.h: a is stored (M,K), or (K,M) transposed; b (K,N) or (N,K). In
 * gemm.cu. */
void gemm_cuda(const GemmRoom &room, int64_t M, int64_t N, int64_t K, GemmMatrix a, GemmMatrix b, GemmOutput c,
               int64_t products = 1);

/* sum[c] += the sum over rows of x (rows,C). */
void gemm_column_sums(const GemmRoom &room, float *sum, const float *x, int64_t rows, int64_t C);
#endif
