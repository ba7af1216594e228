/* y = x W^T (+ bias) (+ LoRA) and dx += dy W (+ LoRA) in bf16 for many rows.
 *
 * Both make out (rows, columns) from in (rows, depth), as in matmul_q_many.cu; backward in is dy rounded to
 * bf16 beforehand, so that it is read again and again at half the size. Mapping: a block of eight warps makes
 * DOWN (64 or 128) rows of 128 columns, a warp DOWN / 2 x 32, and goes 64 deep at a time. in comes to shared
 * memory by cp.async, two stages deep. A thread has half a block of W in registers by then, 32 codes and their
 * scale; it decodes them once for all rows of the block, rounds them to bf16 and leaves them in shared memory,
 * and its next ones are on their way while these are multiplied. Two blocks a processor: one decodes while the
 * other multiplies. Fragments come by ldmatrix. Of two tiles of eight columns, a lane's two columns of either
 * are four neighbours in memory, so that outputs go 8 bytes (backward 16) at a time and a mask is one Philox
 * block.
 *
 * Numbers: W rounded to bf16 once, after its scale; in as it is; sums and the LoRA term in f32.
 *
 * Bytes: codes a time each DOWN rows, in a time each 128 columns, both from L2 mostly; out once (backward read
 * and written). Floor: 2 M N K over the tensor cores' bf16 rate. Beside its 64 products (DOWN 128), a warp's 64
 * of depth cost about 190 instructions to decode 1024 weights, 24 to read fragments, 20 to load. Log: never
 * timed on a GPU. */
#include "kernels/matmul_q.cuh"
#include "kernels/gemm.cuh"

enum {
    THREADS = 256,
    COLUMNS = 128,
    DEEP = QUANT_BLOCK,
    WARPS_ACROSS = 4,
    WARP_COLUMNS = 32,
    W_LENGTH = COLUMNS * DEEP
};

/* ---- shared memory: rows in chunks of 16 bytes, whose numbers are flipped by bits of the row's so that the
 * lanes that read a fragment or write a row meet different banks ---- */

/* in: row m of 64 deep. */
static __device__ inline int in_spot(int m, int chunk) { return m * DEEP + (chunk ^ m % 8) * 8; }

/* W: forward row n of 64 deep, backward 128 columns of depth n. */
template <bool backward> static __device__ inline int w_spot(int n, int chunk)
{
    return backward ? n * COLUMNS + (chunk ^ n % 8) * 8 : n * DEEP + (chunk ^ (n % 8 ^ (n / 4 & 2))) * 8;
}

template <int DOWN>
static __device__ inline void stage_in(Bf16 *to, const Bf16 *in, int m0, int M, int d0, int depth)
{
#pragma unroll
    for (int i = threadIdx.x; i < DOWN * DEEP / 8; i += THREADS) {
        int m = i / (DEEP / 8), d = d0 + i % (DEEP / 8) * 8;
        bool ok = m0 + m < M && d < depth;
        tc::cp_async16(to + in_spot(m, i % (DEEP / 8)), in + (ok ? (int64_t)(m0 + m) * depth + d : 0), ok);
    }
    tc::cp_async_commit();
}

/* This thread's half block of W to shared memory. Forward: half thread % 2 of row thread / 2. Backward: quarter
 * thread % 4 of the columns at depth thread / 4, columns in the order 0 1 4 5 8 9 12 13, 2 3 6 7 10 ... */
template <bool backward, class Format>
static __device__ inline void decode(Bf16 *to, const QuantHalf<Format> &codes, float scale, const float *level)
{
    constexpr int PARTS = backward ? 4 : 2;
    int row = threadIdx.x / PARTS, chunk = threadIdx.x % PARTS * 4;
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
        unsigned v[2][4];
#pragma unroll
        for (int p = 0; p < 8; p++) {
            unsigned word = codes.word(i + p / 4);
            __nv_bfloat162 pair = __floats2bfloat162_rn(level[quant_code(word, p % 4 * 2)] * scale,
                                                        level[quant_code(word, p % 4 * 2 + 1)] * scale);
            v[backward ? p % 2 : p / 4][backward ? p / 2 : p % 4] = *(const unsigned *)&pair;
        }
#pragma unroll
        for (int c = 0; c < 2; c++)
            *(uint4 *)(to + w_spot<backward>(row, chunk + i + c)) = uint4{v[c][0], v[c][1], v[c][2], v[c][3]};
    }
}

/* ---- products ---- */

/* acc[i][2p + t]: rows 16i.., columns 16p + 4q + 2t.. of lane q, of the warp's. */
template <int TILES> struct Sums {
    float v[TILES][4][4];
};

template <bool backward, int TILES>
static __device__ inline void multiply(Sums<TILES> &acc, const Bf16 *in, const Bf16 *w)
{
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, i8 = lane % 8, second = lane / 8 % 2,
        third = lane / 16;
    int m = warp / WARPS_ACROSS * (TILES * 16), n = warp % WARPS_ACROSS * WARP_COLUMNS;
#pragma unroll 2
    for (int k = 0; k < DEEP / 16; k++) {
        unsigned b[2][4];
#pragma unroll
        for (int p = 0; p < 2; p++)
            if (backward)
                tc::ldmatrix_x4_trans(b[p],
                                      w + w_spot<true>(16 * k + 8 * second + i8, (n + 16 * p) / 8 + third));
            else
                tc::ldmatrix_x4(
                    b[p], w + w_spot<false>(n + 16 * p + i8 / 2 * 4 + i8 % 2 + 2 * third, 2 * k + second));
#pragma unroll
        for (int i = 0; i < TILES; i++) {
            unsigned a[4];
            tc::ldmatrix_x4(a, in + in_spot(m + 16 * i + 8 * second + i8, 2 * k + third));
#pragma unroll
            for (int j = 0; j < 4; j++) tc::mma_bf16(acc.v[i][j], a, b[j / 2] + j % 2 * 2);
        }
    }
}

/* Where a lane's outputs are: rows row + 8i, of each of them four columns from column on and 16 further. */
template <int TILES> struct Place {
    int row, column;
    __device__ Place(int m0, int n0)
    {
        int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        row = m0 + warp / WARPS_ACROSS * (TILES * 16) + lane / 4;
        column = n0 + warp % WARPS_ACROSS * WARP_COLUMNS + lane % 4 * 4;
    }
};
/* Output e of four p in row i. */
template <int TILES> static __device__ inline float &output(Sums<TILES> &acc, int i, int p, int e)
{
    return acc.v[i / 2][2 * p + e / 2][i % 2 * 2 + e % 2];
}

/* in (M,depth), W from blocks of 64 weights, `blocks` a row. Forward the depth is K and columns are N. */
template <class Format, int DOWN, bool backward>
static __device__ inline void tile(Sums<DOWN / 32> &acc, const Bf16 *in, const QuantWeight &w, int m0, int n0,
                                   int M)
{
    DYN_SHARED(Bf16, shared);
    SHARED_ARRAY(float, level, [QUANT_LEVELS]);
    Bf16 *weights = shared + 2 * DOWN * DEEP;
    int N = (int)w.N, blocks = (int)w.K / QUANT_BLOCK, depth = (int)(backward ? w.N : w.K);
    int mine = backward ? threadIdx.x / 4 : min(n0 + (int)threadIdx.x / 2, N - 1) * blocks;
    auto at = [&](int step) {
        if (!backward) return mine + min(step, blocks - 1);
        return min(step * DEEP + mine, N - 1) * blocks +
               min(n0 / QUANT_BLOCK + (int)threadIdx.x / 2 % 2, blocks - 1);
    };
    QuantHalf<Format> codes(w, at(0), threadIdx.x % 2);
    stage_in<DOWN>(shared, in, m0, M, 0, depth);
    if (threadIdx.x < QUANT_LEVELS) level[threadIdx.x] = Format::level(threadIdx.x);
    for (int step = 0; step * DEEP < depth; step++) {
        Bf16 *now = shared + step % 2 * (DOWN * DEEP), *other = shared + (step + 1) % 2 * (DOWN * DEEP);
        tc::cp_async_wait<0>();
        __syncthreads(); /* this stage of in is there; nobody reads the other one or W any more */
        if ((step + 1) * DEEP < depth) stage_in<DOWN>(other, in, m0, M, (step + 1) * DEEP, depth);
        decode<backward>(weights, codes, codes.scale(w, at(step)), level);
        codes = QuantHalf<Format>(w, at(step + 1), threadIdx.x % 2);
        __syncthreads();
        multiply<backward>(acc, now, weights);
    }
}

template <class Format, int DOWN>
__global__ void __launch_bounds__(THREADS, 2)
    matmul_q_tiles_kernel(Bf16 *__restrict__ y, const Bf16 *__restrict__ x, QuantWeight w,
                          const float *__restrict__ bias, LoraTerm lora, int M)
{
    int m0 = (int)blockIdx.y * DOWN, n0 = (int)blockIdx.x * COLUMNS, N = (int)w.N;
    constexpr int TILES = DOWN / 32;
    Sums<TILES> acc = {};
    tile<Format, DOWN, false>(acc, x, w, m0, n0, M);
    Place<TILES> at(m0, n0);
    int m[2 * TILES], n[8];
#pragma unroll
    for (int i = 0; i < 2 * TILES; i++) m[i] = min(at.row + 8 * i, M - 1);
#pragma unroll
    for (int j = 0; j < 8; j++) n[j] = min(at.column + j / 4 * 16 + j % 4, N - 1);
    lora.add_y(m, n, [&](int i, int j) -> float & { return output(acc, i, j / 4, j % 4); });
#pragma unroll
    for (int p = 0; p < 2; p++) {
        int first = at.column + 16 * p;
        float b[4];
#pragma unroll
        for (int e = 0; e < 4; e++) b[e] = bias ? bias[n[4 * p + e]] : 0;
#pragma unroll
        for (int i = 0; i < 2 * TILES; i++) {
            if (at.row + 8 * i >= M || first >= N) break;
            Bf16 *to = y + (int64_t)m[i] * N + first;
            Pack<4> v;
#pragma unroll
            for (int e = 0; e < 4; e++) v.v[e] = output(acc, i, p, e) + b[e];
            if (N % 4 == 0) {
                store(to, v);
                continue;
            }
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (first + e < N) put(to + e, v.v[e]);
        }
    }
}

template <class Format, int DOWN>
__global__ void __launch_bounds__(THREADS, 2)
    matmul_q_tiles_dx_kernel(float *__restrict__ dx, const Bf16 *__restrict__ dy, QuantWeight w, LoraTerm lora,
                             int M)
{
    int m0 = (int)blockIdx.y * DOWN, k0 = (int)blockIdx.x * COLUMNS, K = (int)w.K;
    constexpr int TILES = DOWN / 32;
    Sums<TILES> acc = {};
    tile<Format, DOWN, true>(acc, dy, w, m0, k0, M);
    Place<TILES> at(m0, k0);
    if (at.column >= K) return; /* whole blocks: the second four are beyond it too */
#pragma unroll
    for (int i = 0; i < 2 * TILES; i++) {
        int m = at.row + 8 * i;
        if (m >= M) break;
        float add[2][4];
        lora.dx_fours(m, at.column, at.column + 16, add[0], add[1]);
        float *to = dx + (int64_t)m * K + at.column;
#pragma unroll
        for (int p = 0; p < 2; p++) {
#pragma unroll
            for (int e = 0; e < 4; e++) add[p][e] += output(acc, i, p, e);
            add_to(to + 16 * p, Pack<4>{add[p][0], add[p][1], add[p][2], add[p][3]});
        }
    }
}

/* ---- host ---- */

/* f(rows of a block as a constant): 128 where that leaves no processor without one. */
template <class F> static void with_rows(int64_t M, int64_t columns, F f)
{
    int64_t across = ceil_div(columns, (int64_t)COLUMNS);
    if (M > 64 && ceil_div(M, (int64_t)128) * across >= gemm_processors())
        f(std::integral_constant<int, 128>());
    else
        f(std::integral_constant<int, 64>());
}
static dim3 grid_of(int64_t M, int64_t columns, int rows)
{
    return dim3((unsigned)ceil_div(columns, (int64_t)COLUMNS), (unsigned)ceil_div(M, (int64_t)rows));
}
static constexpr size_t bytes_of(int rows) { return (2 * rows * DEEP + W_LENGTH) * sizeof(Bf16); }

void matmul_q_tiles(const MatmulQ<Bf16> &q)
{
    quant_dispatch(q.w->dtype, [&](auto format) {
        with_rows(q.M, q.w->dim[0], [&](auto rows) {
            constexpr int DOWN = decltype(rows)::value;
            ALLOW_DYN_SHARED((matmul_q_tiles_kernel<decltype(format), DOWN>), bytes_of(DOWN));
            KERNEL_LAUNCH((matmul_q_tiles_kernel<decltype(format), DOWN>), grid_of(q.M, q.w->dim[0], DOWN),
                          THREADS, bytes_of(DOWN), q.out, q.in, quant_weight(q.w), q.bias, q.lora, (int)q.M);
        });
    });
}

void matmul_q_tiles_dx(const MatmulQ<Bf16, float> &q)
{
    quant_dispatch(q.w->dtype, [&](auto format) {
        with_rows(q.M, q.w->dim[1], [&](auto rows) {
            constexpr int DOWN = decltype(rows)::value;
            ALLOW_DYN_SHARED((matmul_q_tiles_dx_kernel<decltype(format), DOWN>), bytes_of(DOWN));
            KERNEL_LAUNCH((matmul_q_tiles_dx_kernel<decltype(format), DOWN>), grid_of(q.M, q.w->dim[1], DOWN),
                          THREADS, bytes_of(DOWN), q.out, q.in, quant_weight(q.w), q.lora, (int)q.M);
        });
    });
}
