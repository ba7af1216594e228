/* y = x W^T (+ bias) (+ LoRA) and dx += dy W (+ LoRA) on tensor cores: forward for any number of rows, in bf16
 * for up to 64 (and more where matmul_q_tiles.cu would leave processors idle); backward in f32.
 *
 * Both make out (rows, columns) from in (rows, depth): forward the depth is k and the columns are n, backward
 * the other way round. W is the left operand of the m16n8k16 product, in the order of its codes in memory, and
 * in the right one, eight rows at a time: codes go straight from device memory into registers, to the lane
 * whose fragments need them, each decoded once for all rows of the block, and few rows waste little.
 *
 * Mapping: a block makes 8 TILES rows: with eight warps up to 16, with four more (bf16: up to 8 and up to 16
 * with sixteen, for as many codes on their way as there is room for). A warp makes 32 columns (backward the 64
 * of a block of W) and goes 64 deep at a time. Where that gives few blocks, `parts` warps share their columns,
 * each with its part of the depth; their sums meet in shared memory at the end, in order. in goes to shared
 * memory by cp.async, two stages deep; the next codes are on their way while these are multiplied (those
 * sixteen: the next two). Blocks of the same rows run together, so in is read once from memory and codes stay
 * in L2.
 *
 * Numbers, bf16: one product. W's fragments are levels times FACTOR, two at a time from a table of 256 pairs
 * that is there once in each bank; scales multiply the sums of half a block in f32. So fp4 and q4_0 are exact,
 * of nf4 the levels are rounded.
 * f32: in becomes hi + lo, two bf16, as it leaves shared memory. Forward, levels come from a table in shared
 * memory (16 banks: no conflicts): fp4 and q4_0 cost two products (hi, lo), nf4 three (hi lo, lo hi, hi hi).
 * Backward the scale changes along the depth, so weights are multiplied by it, then split: three. 16 bits of
 * each factor count, an infinity gives NaN. The LoRA term is f32.
 *
 * Bytes: codes a time each 8 TILES rows: once up to 16; in a time each 32 (64) columns of the block's warps,
 * most of it from L2; out once (backward read and written). Floor: codes over bandwidth, or 2 M N K (f32: 4;
 * nf4, and backward: 6) over the tensor cores' bf16 rate. In bf16 a weight costs a lane 1.5 instructions to
 * decode whatever the rows, one of them of the integer kind, of which a processor does 64 a cycle; 64 deep cost
 * a warp 2 TILES + 8 loads, 8 TILES products and 16 TILES multiply-adds beside: 2 instructions a weight at 8
 * rows, 2.4 at 16, where a 4090 needs 6 weights a cycle and processor to keep up with its memory and an H100
 * 29. Put together from registers by byte-permutes, four codes at a time, levels were 2.9 instructions, nearly
 * all integer: 22 weights a cycle. In f32, beside its products, 16 deep cost a warp with TILES 4
 * about 110 instructions to 24 of nf4's products, backward 270 to 48; a product takes a 4090 32 cycles of a
 * quarter of a processor, an H100 8. In the order of the fragments a lane's codes of 256 deep could come in one
 * load of 16 bytes; as bf16 fragments they would cost no instructions and four times the bytes. Log: never
 * timed on a GPU. */
#include "kernels/gemm.cuh"
#include "kernels/matmul_q.cuh"

enum {
    DEEP = 64,  /* a warp's share of a stage */
    ACROSS = 2, /* tiles of 16 columns, forward */
    COLUMNS = 16 * ACROSS,
    BACKWARD = 4, /* such tiles, backward: a block of W */
    BANKS = 32,
};

/* Warps of a block for 8 TILES rows: where codes are waited for rather than products, as many as there is room
 * for. */
template <int TILES, class T> constexpr int WARPS = sizeof(T) == 2 && TILES < 4 ? 16 : 16 / TILES;

/* ---- in, through shared memory ---- */

/* 16 bytes number i of row m. f32: groups of four lanes (q) and of rows (even, odd) read 128 bytes of different
 * banks. bf16: so do eight lanes, of rows m and m + 1 each the four chunks quant_chunk(q, half). */
template <class T> static __device__ inline int spot(int m, int i)
{
    return sizeof(T) == 2 ? m * DEEP + (i ^ (m % 2 * 5)) * 8 : m * DEEP + (i ^ (m % 2 * 4)) * 4;
}

/* A stage from depth d0 on, for each part: 64 of the depth of 8 TILES rows from m0 on. place(i): where 16 bytes
 * number i go. */
template <int TILES, class T, class Place>
static __device__ inline void stage_in(T *to, const T *in, int m0, int M, int d0, int depth, int parts,
                                       Place place)
{
    constexpr int GROUP = 16 / sizeof(T), GROUPS = DEEP / GROUP;
    int i = threadIdx.x % GROUPS;
    for (int row = threadIdx.x / GROUPS; row < 8 * TILES * parts; row += 32 * WARPS<TILES, T> / GROUPS) {
        int m = row % (8 * TILES), d = d0 + row / (8 * TILES) * DEEP + i * GROUP;
        bool ok = m0 + m < M && d < depth;
        tc::cp_async16(to + row / (8 * TILES) * (8 * TILES * DEEP) + spot<T>(m, place(i)),
                       in + (ok ? (int64_t)(m0 + m) * depth + d : 0), ok);
    }
    tc::cp_async_commit();
}

/* The right operand of step s: rows of in 8j.. . Of the lanes of a row, lane q holds four neighbours. */
static __device__ inline void in_fragment(const float *stage, int j, int s, unsigned *hi, unsigned *lo)
{
    int lane = threadIdx.x % 32;
    float4 v = *(const float4 *)(stage + spot<float>(8 * j + lane / 4, 4 * s + lane % 4));
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

template <int TILES> static __host__ __device__ constexpr int stage_length(int parts)
{
    return parts * 8 * TILES * DEEP;
}

/* ---- forward ---- */

/* The levels as bf16, hi in the lower half, lo in the upper one. */
template <class Format> static __device__ inline void make_pairs(unsigned *pairs)
{
    if (threadIdx.x >= QUANT_LEVELS) return;
    unsigned hi, lo;
    gemm_split(Format::level(threadIdx.x) * Format::FACTOR, 0, hi, lo);
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
        unsigned x = pairs[quant_code(word, 4 * t + i / 2 * 2)],
                 y = pairs[quant_code(word, 4 * t + i / 2 * 2 + 1)];
        hi[i] = __byte_perm(x, y, 0x5410);
        if (!Format::EXACT) lo[i] = __byte_perm(x, y, 0x7632);
    }
}

/* The two levels of each byte as bf16, the even weight's in the lower half, once in each bank: of a byte, lane
 * i reads copy i. A thread writes an entry's 128 bytes so that eight threads meet different banks. */
template <class Format> static __device__ inline void make_bytes(unsigned *pairs)
{
    for (int i = threadIdx.x; i < 256; i += blockDim.x) {
        __nv_bfloat162 both = __floats2bfloat162_rn(Format::level(i >> 4) * Format::FACTOR,
                                                    Format::level(i & 15) * Format::FACTOR);
        unsigned v = *(const unsigned *)&both;
#pragma unroll
        for (int j = 0; j < 8; j++) *(uint4 *)(pairs + i * BANKS + (i + j) % 8 * 4) = uint4{v, v, v, v};
    }
}

/* The eight levels of a word, two a register. */
static __device__ inline void look_up(const unsigned *pairs, unsigned word, unsigned *levels)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int b = 0; b < 4; b++) {
        unsigned at = b ? word >> (8 * b - 7) : word << 7; /* byte b times 128 */
        levels[b] = *(const unsigned *)((const char *)pairs + ((at & 0x7f80) | lane * 4));
    }
}

/* sum = a word of W's rows (8i + lane / 4: words[i]) times rows 8j.. of in. */
template <class Format, int TILES, class Use>
static __device__ inline void multiply_words(const unsigned *words, const unsigned *pairs, const float *stage,
                                             int half, Use use)
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
        use(j, sum);
    }
}
template <class Format, int TILES, class Use>
static __device__ inline void multiply_words(const unsigned *words, const unsigned *pairs, const Bf16 *stage,
                                             int half, Use use)
{
    int lane = threadIdx.x % 32;
    unsigned levels[2 * ACROSS][4];
#pragma unroll
    for (int i = 0; i < 2 * ACROSS; i++) look_up(pairs, words[i], levels[i]);
#pragma unroll
    for (int j = 0; j < TILES; j++) {
        float sum[ACROSS][4] = {};
        uint4 x = *(const uint4 *)(stage + spot<Bf16>(8 * j + lane / 4, quant_chunk<Format>(lane % 4, half)));
        const unsigned right[2][2] = {{x.x, x.y}, {x.z, x.w}};
#pragma unroll
        for (int t = 0; t < 2; t++)
#pragma unroll
            for (int i = 0; i < ACROSS; i++) {
                const unsigned left[4] = {levels[2 * i][2 * t], levels[2 * i + 1][2 * t],
                                          levels[2 * i][2 * t + 1], levels[2 * i + 1][2 * t + 1]};
                tc::mma_bf16(sum[i], left, right[t]);
            }
        use(j, sum);
    }
}

/* Where 16 bytes number i of a row go: f32 in the order in which fragments want them, bf16 as they are. */
template <class Format, class T> static __device__ inline int forward_place(int i)
{
    if (sizeof(T) == 2) return i;
    int chunk = i / 2, q = Format::HALVES ? chunk % 4 : chunk / 2,
        half = Format::HALVES ? chunk / 4 : chunk % 2;
    return (2 * half + i % 2) * 4 + q;
}

/* What is left of y: the sums of rows m0 + 8j + 2q.., columns n0 + 8i + g. */
template <int TILES, class T>
static __device__ inline void put_sums(T *y, float (&acc)[ACROSS][TILES][4], const float *bias,
                                       const LoraTerm &lora, int m0, int n0, int M, int N)
{
    int g = threadIdx.x % 32 / 4, q = threadIdx.x % 4;
    auto sum = [&](int j, int i) -> float & { return acc[i / 2][j / 2][i % 2 * 2 + j % 2]; };
    int n[2 * ACROSS], m[2 * TILES];
#pragma unroll
    for (int i = 0; i < 2 * ACROSS; i++) n[i] = min(n0 + i * 8 + g, N - 1);
#pragma unroll
    for (int j = 0; j < 2 * TILES; j++) m[j] = min(m0 + j / 2 * 8 + 2 * q + j % 2, M - 1);
    lora.add_y(m, n, sum);
#pragma unroll
    for (int i = 0; i < 2 * ACROSS; i++) {
        if (n0 + i * 8 + g >= N) break;
        float b = bias ? bias[n[i]] : 0;
#pragma unroll
        for (int j = 0; j < 2 * TILES; j++)
            if (m0 + j / 2 * 8 + 2 * q + j % 2 < M) put(y + (int64_t)m[j] * N + n[i], sum(j, i) + b);
    }
}

template <class Format, int TILES, class T>
__global__ void __launch_bounds__((32 * WARPS<TILES, T>), (WARPS<TILES, T> == 16 ? 1
                                                           : TILES == 4          ? 3
                                                                                 : 2))
    matmul_q_many_kernel(T *__restrict__ y, const T *__restrict__ x, QuantWeight w,
                         const float *__restrict__ bias, LoraTerm lora, int M, int parts)
{
    constexpr bool BF16 = sizeof(T) == 2;
    constexpr int AHEAD = BF16 && TILES < 4 ? 2 : 1; /* blocks of codes on their way */
    DYN_SHARED(T, stages);
    SHARED_ARRAY(unsigned, pairs, [BF16 ? 256 * BANKS : (int) QUANT_LEVELS]);
    Split split(parts);
    int lane = threadIdx.x % 32, g = lane / 4, q = lane % 4, N = (int)w.N, K = (int)w.K,
        blocks = K / QUANT_BLOCK;
    int m0 = (int)blockIdx.y * (8 * TILES),
        n0 = ((int)blockIdx.x * (WARPS<TILES, T> / parts) + split.group) * COLUMNS;
    auto place = [](int i) { return forward_place<Format, T>(i); };
    QuantLane<Format> next[AHEAD][2 * ACROSS];
    auto at = [&](int i, int block) { return min(n0 + i * 8 + g, N - 1) * blocks + block; };
    auto load = [&](int a, int block) {
#pragma unroll
        for (int i = 0; i < 2 * ACROSS; i++)
            next[a][i] = QuantLane<Format>(w, at(i, min(block, blocks - 1)), q);
    };
    float acc[ACROSS][TILES][4] = {};
    int block = split.part, stage = stage_length<TILES>(parts);
#pragma unroll
    for (int a = 0; a < AHEAD; a++) load(a, block + a * parts);
    stage_in<TILES>(stages, x, m0, M, 0, K, parts, place);
    (BF16 ? make_bytes<Format> : make_pairs<Format>)(pairs);
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
            words[i % 2][i / 2] = next[0][i / 2].word(i % 2);
            scales[i % 2][i / 2] = next[0][i / 2].scale(w, i % 2, at(i / 2, block)) * (1 / Format::FACTOR);
        }
        if (AHEAD == 2)
#pragma unroll
            for (int i = 0; i < 2 * ACROSS; i++) next[0][i] = next[AHEAD - 1][i];
        load(AHEAD - 1, block + AHEAD * parts);
        const T *mine = stages + now + split.part * (8 * TILES * DEEP);
#pragma unroll 1
        for (int half = 0; half < 2; half++) {
            multiply_words<Format, TILES>(words[0], pairs, mine, half,
                                          [&](int j, const float(&sum)[ACROSS][4]) {
#pragma unroll
                                              for (int i = 0; i < 4 * ACROSS; i++)
                                                  acc[i / 4][j][i % 4] += scales[0][i / 2] * sum[i / 4][i % 4];
                                          });
#pragma unroll
            for (int i = 0; i < 2 * ACROSS; i++) {
                words[0][i] = words[1][i];
                scales[0][i] = scales[1][i];
            }
        }
    }
    add_parts<ACROSS * TILES * 4>(&acc[0][0][0], split, (float *)stages);
    if (split.part) return;
    put_sums<TILES>(y, acc, bias, lora, m0, n0, M, N);
}

/* ---- backward ---- */

/* acc += 16 of the depth: rows 4q.. of W, a word of each (words, scales). */
template <int TILES>
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
            gemm_split(level[quant_code(words[r], code)] * scales[r],
                       level[quant_code(words[r + 1], code)] * scales[r + 1], hi[f], lo[f]);
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
__global__ void __launch_bounds__((32 * WARPS<TILES, float>), 2)
    matmul_q_dx_kernel(float *__restrict__ dx, const float *__restrict__ dy, QuantWeight w, LoraTerm lora,
                       int M, int parts)
{
    DYN_SHARED(float, stages);
    SHARED_ARRAY(float, level, [QUANT_LEVELS]);
    Split split(parts);
    int lane = threadIdx.x % 32, g = lane / 4, q = lane % 4, N = (int)w.N, blocks = (int)w.K / QUANT_BLOCK;
    int m0 = (int)blockIdx.y * (8 * TILES),
        block = (int)blockIdx.x * (WARPS<TILES, float> / parts) + split.group;
    bool idle = block >= blocks;
    if (idle) block = 0;
    auto place = [](int i) { return i; };
    QuantWord<Format> next[4];
    auto at = [&](int n, int r) { return min(n + 4 * q + r, N - 1) * blocks + block; };
    auto load = [&](int n) {
#pragma unroll
        for (int r = 0; r < 4; r++) next[r] = QuantWord<Format>(w, at(n, r), g);
    };
    float acc[BACKWARD][TILES][4] = {};
    int stage = stage_length<TILES>(parts);
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
                words[r] = next[r].codes;
                scales[r] = next[r].scale(w, at(n, r));
            }
            load(s + 1 < DEEP / 16 ? n + 16 : n + 16 + (parts - 1) * DEEP);
            multiply_rows<TILES>(acc, words, scales, level, mine, s);
        }
    }
    add_parts<BACKWARD * TILES * 4>(&acc[0][0][0], split, stages);
    if (split.part || idle) return;
#pragma unroll
    for (int j = 0; j < 2 * TILES; j++) {
        int m = m0 + j / 2 * 8 + 2 * q + j % 2;
        if (m >= M) continue;
        int k = block * QUANT_BLOCK + 8 * g;
        float add[2][4];
        lora.dx_fours(m, k, k + 4, add[0], add[1]);
        float *to = dx + (int64_t)m * w.K + k;
#pragma unroll
        for (int half = 0; half < 2; half++) {
#pragma unroll
            for (int e = 0; e < 4; e++) add[half][e] += acc[2 * half + e / 2][j / 2][e % 2 * 2 + j % 2];
            add_to(to + 4 * half, Pack<4>{add[half][0], add[half][1], add[half][2], add[half][3]});
        }
    }
}

/* ---- host ---- */

/* launch(parts, grid, stage) for `columns` columns, so many a warp, and tiles of so many rows. */
template <int TILES, class T, class F>
static void with_parts(int64_t M, int64_t columns, int warp_columns, F launch)
{
    int64_t down = ceil_div(M, (int64_t)8 * TILES);
    int parts =
        matmul_q_parts(ceil_div(columns, (int64_t)WARPS<TILES, T> * warp_columns) * down, WARPS<TILES, T>);
    dim3 grid((unsigned)ceil_div(columns, (int64_t)WARPS<TILES, T> / parts * warp_columns), (unsigned)down);
    launch(parts, grid, (size_t)stage_length<TILES>(parts));
}

template <class Format, int TILES, class T> static void forward(const MatmulQ<T> &q)
{
    with_parts<TILES, T>(q.M, q.w->dim[0], COLUMNS, [&](int parts, dim3 grid, size_t stage) {
        size_t bytes = 2 * stage * sizeof(T);
        ALLOW_DYN_SHARED((matmul_q_many_kernel<Format, TILES, T>), bytes);
        KERNEL_LAUNCH((matmul_q_many_kernel<Format, TILES, T>), grid, (32 * WARPS<TILES, T>), bytes, q.out,
                      q.in, quant_weight(q.w), q.bias, q.lora, (int)q.M, parts);
    });
}

void matmul_q_many(const MatmulQ<float> &q)
{
    quant_dispatch(q.w->dtype, [&](auto format) {
        typedef decltype(format) Format;
        if (q.M <= 16) return forward<Format, 2>(q);
        forward<Format, 4>(q);
    });
}

void matmul_q_many(const MatmulQ<Bf16> &q)
{
    quant_dispatch(q.w->dtype, [&](auto format) {
        typedef decltype(format) Format;
        if (q.M <= 8) return forward<Format, 1>(q);
        if (q.M <= 16) return forward<Format, 2>(q);
        forward<Format, 4>(q);
    });
}

template <class Format, int TILES> static void backward(const MatmulQ<float> &q)
{
    with_parts<TILES, float>(q.M, q.w->dim[1], QUANT_BLOCK, [&](int parts, dim3 grid, size_t stage) {
        size_t bytes = 2 * stage * sizeof(float);
        ALLOW_DYN_SHARED((matmul_q_dx_kernel<Format, TILES>), bytes);
        KERNEL_LAUNCH((matmul_q_dx_kernel<Format, TILES>), grid, (32 * WARPS<TILES, float>), bytes, q.out, q.in,
                      quant_weight(q.w), q.lora, (int)q.M, parts);
    });
}

void matmul_q_dx(const MatmulQ<float> &q)
{
    quant_dispatch(q.w->dtype, [&](auto format) {
        typedef decltype(format) Format;
        if (q.M <= 16) return backward<Format, 2>(q);
        backward<Format, 4>(q);
    });
}
