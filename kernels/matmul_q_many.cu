/* y = x W^T (+ bias) and dx += dy W for many rows, on tensor cores.
 *
 * Both make out (rows, columns) from in (rows, depth): forward the depth is k and the columns are n, backward
 * the other way round. W is the left operand of the m16n8k16 product, in the order of its codes in memory, and
 * in the right one, eight rows at a time: codes go straight from device memory into registers, to the lane
 * whose fragments need them, and few rows waste little.
 *
 * Mapping: a block makes 8 TILES rows with 16 / TILES warps: up to 16 rows eight, more rows four. A warp makes
 * 32 columns (backward the 64 of a block of W) and goes 64 deep at a time. Where that gives few blocks, `parts`
 * warps share their columns, each with its part of the depth; their sums meet in shared memory at the end, in
 * order. in goes to shared memory by cp.async, two stages deep; the next codes are on their way while these are
 * multiplied. Blocks of the same rows run together, so in is read once from memory and codes stay in L2.
 *
 * Numbers: in becomes hi + lo, two bf16, as it leaves shared memory. Forward, W's fragments are levels, as they
 * come from the table in shared memory (16 banks: no conflicts), and scales multiply the sums of half a block
 * in f32: fp4 and q4_0, whose levels (times 12) are bf16, cost two products (hi, lo), nf4 three (hi lo,
 * lo hi, hi hi). Backward the scale changes along the depth, so weights are multiplied by it, then split:
 * three. 16 bits of each factor count, an infinity gives NaN.
 *
 * Bytes: codes a time each 8 TILES rows; in a time each 32 (64) columns of the block's warps, most of it from
 * L2; out once. Floor: 4 M N K (nf4, and backward: 6) over the tensor cores' bf16 rate. Beside its products, 16
 * deep cost a warp with TILES 4 about 110 instructions to 24 of nf4's products, backward 270 to 48; a product
 * takes a 4090 32 cycles of a quarter of a processor, an H100 8. Repacked at load, in the order of the
 * fragments, a lane's codes of 256 deep would come in one load of 16 bytes instead of four of 8 (q4_0: of 4),
 * its scale with them; as bf16 fragments they would cost no instructions and four to eight times the bytes.
 * Log: never timed on a GPU. */
#include "kernels/gemm.cuh"
#include "kernels/matmul_q.cuh"

enum {
    DEEP = 64,  /* a warp's share of a stage */
    ACROSS = 2, /* tiles of 16 columns, forward */
    COLUMNS = 16 * ACROSS,
    BACKWARD = 4, /* such tiles, backward: a block of W */
};

/* Warps of a block for 8 TILES rows. */
template <int TILES> constexpr int WARPS = 16 / TILES;

/* ---- in, through shared memory ---- */

/* 16 bytes number i of row m: groups of four lanes (q) and of rows (even, odd) read 128 bytes of different
 * banks. */
static __device__ inline int spot(int m, int i) { return m * DEEP + (i ^ (m % 2 * 4)) * 4; }

/* A stage from depth d0 on, for each part: 64 of the depth of 8 TILES rows from m0 on. place(i): where 16 bytes
 * number i go. */
template <int TILES, class Place>
static __device__ inline void stage_in(float *to, const float *in, int m0, int M, int d0, int depth, int parts,
                                       Place place)
{
    int i = threadIdx.x % (DEEP / 4);
    for (int row = threadIdx.x / (DEEP / 4); row < 8 * TILES * parts; row += 32 * WARPS<TILES> / (DEEP / 4)) {
        int m = row % (8 * TILES), d = d0 + row / (8 * TILES) * DEEP + i * 4;
        bool ok = m0 + m < M && d < depth;
        tc::cp_async16(to + row / (8 * TILES) * (8 * TILES * DEEP) + spot(m, place(i)),
                       in + (ok ? (int64_t)(m0 + m) * depth + d : 0), ok);
    }
    tc::cp_async_commit();
}

/* The right operand of step s: rows of in 8j.. . Of the lanes of a row, lane q holds four neighbours. */
static __device__ inline void in_fragment(const float *stage, int j, int s, unsigned *hi, unsigned *lo)
{
    int lane = threadIdx.x % 32;
    float4 v = *(const float4 *)(stage + spot(8 * j + lane / 4, 4 * s + lane % 4));
    gemm_split(v.x, v.y, hi[0], lo[0]);
    gemm_split(v.z, v.w, hi[1], lo[1]);
}

/* ---- the depth in parts ---- */

struct Split {
    int parts, part, group; /* warps that share columns, which of them, which columns */
    __device__ Split(int parts) : parts(parts), part(threadIdx.x / 32 % parts), group(threadIdx.x / 32 / parts)
    {
    }
};

/* Into part 0's acc the sum over the parts. room: (parts - 1) x groups x 32 SIZE floats. */
template <int SIZE> static __device__ inline void add_parts(float *acc, const Split &s, float *room)
{
    if (s.parts == 1) return;
    int lane = threadIdx.x % 32, groups = (int)blockDim.x / 32 / s.parts;
    __syncthreads(); /* room is what the stages were in */
    if (s.part)
#pragma unroll
        for (int i = 0; i < SIZE; i++)
            room[(((s.part - 1) * groups + s.group) * SIZE + i) * 32 + lane] = acc[i];
    __syncthreads();
    if (s.part) return;
    for (int p = 1; p < s.parts; p++)
#pragma unroll
        for (int i = 0; i < SIZE; i++) acc[i] += room[(((p - 1) * groups + s.group) * SIZE + i) * 32 + lane];
}

template <int TILES> static __host__ __device__ constexpr size_t stage_floats(int parts)
{
    return (size_t)parts * 8 * TILES * DEEP;
}

/* ---- forward ---- */

/* The levels as bf16, hi in the lower half, lo in the upper one. */
template <class Format> static __device__ inline void make_pairs(unsigned *pairs)
{
    if (threadIdx.x >= QUANT_LEVELS) return;
    unsigned hi, lo;
    gemm_split(Format::level(threadIdx.x) * (Format::EXACT ? Format::EXACT : 1), 0, hi, lo);
    pairs[threadIdx.x] = __byte_perm(hi, lo, 0x5410);
}

/* The left operand of half a word: codes 4t..4t+3 of two rows. */
template <class Format>
static __device__ inline void level_fragment(const unsigned *pairs, unsigned top, unsigned bottom, int t,
                                             unsigned *hi, unsigned *lo)
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        unsigned word = i % 2 ? bottom : top;
        unsigned x = pairs[Format::code(word, 4 * t + i / 2 * 2)],
                 y = pairs[Format::code(word, 4 * t + i / 2 * 2 + 1)];
        hi[i] = __byte_perm(x, y, 0x5410);
        if (!Format::EXACT) lo[i] = __byte_perm(x, y, 0x7632);
    }
}

/* acc += half a block of W's rows (8i + lane / 4: words[i], scales[i]) times in. */
template <class Format, int TILES>
static __device__ inline void multiply_half(float (&acc)[ACROSS][TILES][4], const unsigned *words,
                                            const float *scales, const unsigned *pairs, const float *stage,
                                            int half)
{
    unsigned hi[ACROSS][2][4], lo[ACROSS][2][4];
#pragma unroll
    for (int i = 0; i < ACROSS; i++)
#pragma unroll
        for (int t = 0; t < 2; t++)
            level_fragment<Format>(pairs, words[2 * i], words[2 * i + 1], t, hi[i][t], lo[i][t]);
#pragma unroll
    for (int j = 0; j < TILES; j++) {
        float sum[ACROSS][4] = {};
#pragma unroll
        for (int t = 0; t < 2; t++) {
            unsigned x_hi[2], x_lo[2];
            in_fragment(stage, j, 2 * half + t, x_hi, x_lo);
#pragma unroll
            for (int i = 0; i < ACROSS; i++) {
                tc::mma_bf16(sum[i], hi[i][t], x_lo);
                if (!Format::EXACT) tc::mma_bf16(sum[i], lo[i][t], x_hi);
                tc::mma_bf16(sum[i], hi[i][t], x_hi);
            }
        }
#pragma unroll
        for (int i = 0; i < ACROSS; i++)
#pragma unroll
            for (int e = 0; e < 4; e++) acc[i][j][e] += scales[2 * i + e / 2] * sum[i][e];
    }
}

template <class Format, int TILES>
__global__ void __launch_bounds__(32 * WARPS<TILES>, TILES == 2 ? 2 : 3)
    matmul_q_many_kernel(float *__restrict__ y, const float *__restrict__ x, QuantWeight w,
                         const float *__restrict__ bias, int M, int parts)
{
    DYN_SHARED(float, stages);
    SHARED_ARRAY(unsigned, pairs, [QUANT_LEVELS]);
    Split split(parts);
    int lane = threadIdx.x % 32, g = lane / 4, q = lane % 4, N = (int)w.N, K = (int)w.K,
        blocks = K / QUANT_BLOCK;
    int m0 = (int)blockIdx.y * (8 * TILES),
        n0 = ((int)blockIdx.x * (WARPS<TILES> / parts) + split.group) * COLUMNS;
    auto place = [](int i) { return Format::lane_place(i); };
    typename Format::Lane next[2 * ACROSS];
    auto at = [&](int i, int block) { return min(n0 + i * 8 + g, N - 1) * blocks + block; };
    auto load = [&](int block) {
#pragma unroll
        for (int i = 0; i < 2 * ACROSS; i++) next[i] = Format::load_lane(w, at(i, min(block, blocks - 1)), q);
    };
    float acc[ACROSS][TILES][4] = {};
    int block = split.part, stage = (int)stage_floats<TILES>(parts);
    load(block);
    stage_in<TILES>(stages, x, m0, M, 0, K, parts, place);
    make_pairs<Format>(pairs);
    for (int k0 = 0, now = 0; k0 < K; k0 += parts * DEEP, block += parts, now = stage - now) {
        tc::cp_async_wait<0>();
        __syncthreads(); /* this stage is there, and nobody reads the other one any more */
        if (k0 + parts * DEEP < K)
            stage_in<TILES>(stages + stage - now, x, m0, M, k0 + parts * DEEP, K, parts, place);
        if (block >= blocks) continue;
        unsigned words[2][2 * ACROSS];
        float scales[2][2 * ACROSS];
#pragma unroll
        for (int i = 0; i < 4 * ACROSS; i++) {
            words[i % 2][i / 2] = next[i / 2].word(i % 2);
            scales[i % 2][i / 2] =
                next[i / 2].scale(w, i % 2, at(i / 2, block)) * (Format::EXACT ? 1 / Format::EXACT : 1);
        }
        load(block + parts);
        const float *mine = stages + now + split.part * (8 * TILES * DEEP);
#pragma unroll 1
        for (int half = 0; half < 2; half++) {
            multiply_half<Format, TILES>(acc, words[0], scales[0], pairs, mine, half);
#pragma unroll
            for (int i = 0; i < 2 * ACROSS; i++) {
                words[0][i] = words[1][i];
                scales[0][i] = scales[1][i];
            }
        }
    }
    add_parts<ACROSS * TILES * 4>(&acc[0][0][0], split, stages);
    if (split.part) return;
#pragma unroll
    for (int i = 0; i < 2 * ACROSS; i++) {
        int n = n0 + i * 8 + g;
        if (n >= N) break;
        float b = bias ? bias[n] : 0;
#pragma unroll
        for (int j = 0; j < 2 * TILES; j++) {
            int m = m0 + j / 2 * 8 + 2 * q + j % 2;
            if (m < M) y[(int64_t)m * N + n] = acc[i / 2][j / 2][i % 2 * 2 + j % 2] + b;
        }
    }
}

/* ---- backward ---- */

/* acc += 16 of the depth: rows 4q.. of W, a word of each (words, scales). */
template <class Format, int TILES>
static __device__ inline void multiply_rows(float (&acc)[BACKWARD][TILES][4], const unsigned *words,
                                            const float *scales, const float *level, const float *stage, int s)
{
    unsigned in_hi[TILES][2], in_lo[TILES][2];
#pragma unroll
    for (int j = 0; j < TILES; j++) in_fragment(stage, j, s, in_hi[j], in_lo[j]);
#pragma unroll
    for (int i = 0; i < BACKWARD; i++) {
        unsigned hi[4], lo[4];
#pragma unroll
        for (int f = 0; f < 4; f++) {
            int r = f / 2 * 2, code = 2 * i + f % 2;
            gemm_split(level[Format::code(words[r], code)] * scales[r],
                       level[Format::code(words[r + 1], code)] * scales[r + 1], hi[f], lo[f]);
        }
#pragma unroll
        for (int j = 0; j < TILES; j++) {
            tc::mma_bf16(acc[i][j], hi, in_lo[j]);
            tc::mma_bf16(acc[i][j], lo, in_hi[j]);
            tc::mma_bf16(acc[i][j], hi, in_hi[j]);
        }
    }
}

/* The fragments' columns are those of a word's codes: lane group g holds word g of the rows of a block. */
template <class Format, int TILES>
__global__ void __launch_bounds__(32 * WARPS<TILES>, 2)
    matmul_q_dx_kernel(float *__restrict__ dx, const float *__restrict__ dy, QuantWeight w, int M, int parts)
{
    DYN_SHARED(float, stages);
    SHARED_ARRAY(float, level, [QUANT_LEVELS]);
    Split split(parts);
    int lane = threadIdx.x % 32, g = lane / 4, q = lane % 4, N = (int)w.N, blocks = (int)w.K / QUANT_BLOCK;
    int m0 = (int)blockIdx.y * (8 * TILES), block = (int)blockIdx.x * (WARPS<TILES> / parts) + split.group;
    bool idle = block >= blocks;
    if (idle) block = 0;
    auto place = [](int i) { return i; };
    typename Format::Word next[4];
    auto at = [&](int n, int r) { return min(n + 4 * q + r, N - 1) * blocks + block; };
    auto load = [&](int n) {
#pragma unroll
        for (int r = 0; r < 4; r++) next[r] = Format::load_word(w, at(n, r), g);
    };
    float acc[BACKWARD][TILES][4] = {};
    int stage = (int)stage_floats<TILES>(parts);
    load(split.part * DEEP);
    stage_in<TILES>(stages, dy, m0, M, 0, N, parts, place);
    if (threadIdx.x < QUANT_LEVELS) level[threadIdx.x] = Format::level(threadIdx.x);
    for (int n0 = 0, now = 0; n0 < N; n0 += parts * DEEP, now = stage - now) {
        tc::cp_async_wait<0>();
        __syncthreads(); /* this stage is there, and nobody reads the other one any more */
        if (n0 + parts * DEEP < N)
            stage_in<TILES>(stages + stage - now, dy, m0, M, n0 + parts * DEEP, N, parts, place);
        const float *mine = stages + now + split.part * (8 * TILES * DEEP);
        int n = n0 + split.part * DEEP;
#pragma unroll 1
        for (int s = 0; s < DEEP / 16 && n < N && !idle; s++, n += 16) {
            unsigned words[4];
            float scales[4];
#pragma unroll
            for (int r = 0; r < 4; r++) {
                words[r] = next[r].word(g);
                scales[r] = next[r].scale(w, g, at(n, r));
            }
            load(s + 1 < DEEP / 16 ? n + 16 : n + 16 + (parts - 1) * DEEP);
            multiply_rows<Format, TILES>(acc, words, scales, level, mine, s);
        }
    }
    add_parts<BACKWARD * TILES * 4>(&acc[0][0][0], split, stages);
    if (split.part || idle) return;
#pragma unroll
    for (int j = 0; j < 2 * TILES; j++) {
        int m = m0 + j / 2 * 8 + 2 * q + j % 2;
        if (m >= M) continue;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float4 *p = (float4 *)(dx + (int64_t)m * w.K + block * QUANT_BLOCK + Format::run(g, half)), v = *p;
            v.x += acc[2 * half][j / 2][j % 2];
            v.y += acc[2 * half][j / 2][2 + j % 2];
            v.z += acc[2 * half + 1][j / 2][j % 2];
            v.w += acc[2 * half + 1][j / 2][2 + j % 2];
            *p = v;
        }
    }
}

/* ---- host ---- */

/* launch(parts, grid, bytes) for `columns` columns, so many a warp, and tiles of so many rows. */
template <int TILES, class F> static void with_parts(int64_t M, int64_t columns, int warp_columns, F launch)
{
    int64_t down = ceil_div(M, (int64_t)8 * TILES);
    int parts = matmul_q_parts(ceil_div(columns, (int64_t)WARPS<TILES> * warp_columns) * down, WARPS<TILES>);
    dim3 grid((unsigned)ceil_div(columns, (int64_t)WARPS<TILES> / parts * warp_columns), (unsigned)down);
    launch(parts, grid, 2 * stage_floats<TILES>(parts) * sizeof(float));
}

template <class Format, int TILES>
static void forward(const Tensor *w, const float *x, const float *bias, int64_t M, float *y)
{
    with_parts<TILES>(M, w->dim[0], COLUMNS, [&](int parts, dim3 grid, size_t bytes) {
        ALLOW_DYN_SHARED((matmul_q_many_kernel<Format, TILES>), bytes);
        KERNEL_LAUNCH((matmul_q_many_kernel<Format, TILES>), grid, 32 * WARPS<TILES>, bytes, y, x,
                      quant_weight(w), bias, M, parts);
    });
}

void matmul_q_many(const Tensor *w, const float *x, const float *bias, int64_t M, float *y)
{
    quant_dispatch(w->dtype, [&](auto format) {
        if (M <= 16)
            forward<decltype(format), 2>(w, x, bias, M, y);
        else
            forward<decltype(format), 4>(w, x, bias, M, y);
    });
}

template <class Format, int TILES> static void backward(const Tensor *w, const float *dy, int64_t M, float *dx)
{
    with_parts<TILES>(M, w->dim[1], QUANT_BLOCK, [&](int parts, dim3 grid, size_t bytes) {
        ALLOW_DYN_SHARED((matmul_q_dx_kernel<Format, TILES>), bytes);
        KERNEL_LAUNCH((matmul_q_dx_kernel<Format, TILES>), grid, 32 * WARPS<TILES>, bytes, dx, dy,
                      quant_weight(w), M, parts);
    });
}

void matmul_q_dx(const Tensor *w, const float *dy, int64_t M, float *dx)
{
    quant_dispatch(w->dtype, [&](auto format) {
        if (M <= 16)
            backward<decltype(format), 2>(w, dy, M, dx);
        else
            backward<decltype(format), 4>(w, dy, M, dx);
    });
}
