/* y = x W^T (+ bias) (+ LoRA) in f32 for at most eight rows of x: decoding reports.
 *
 * Mapping: a block of eight warps; a warp makes eight outputs of every row of x, two in each quarter of its
 * lanes. The eight lanes of a quarter lie along k: each takes half a block of 64 weights, one load of 16 bytes,
 * so that a quarter reads 128 bytes in a row and a warp goes 256 along k at a time. Where there are few
 * outputs, `parts` warps share theirs, each with its part of k. x goes to shared memory by cp.async, two stages
 * deep; the next codes are on their way while these are multiplied. A weight is one look-up of its level in
 * shared memory (16 levels lie in 16 banks: no conflicts) and one multiply-add a row of x; a scale is applied
 * once in 32 weights. x lies with a gap of 16 bytes in 128, so that the float4 of the eight lanes are in
 * different banks; the quarters read the same ones.
 *
 * Bytes: codes and scales once, x a time each 64 / parts outputs, from L2. Floor: codes and scales over
 * bandwidth. Issue slots of a weight: shift, mask, look-up, a multiply-add a row of x, and a read of x in eight
 * for each: 32 weights a cycle and processor at M = 1, 10 at M = 8, where a 4090 needs 6 to keep up with its
 * memory and an H100 29. In bf16 all of this is for the tensor cores (matmul_q_many.cu); f32, whose products
 * cost three there, stays. Log: never timed on a GPU. */
#include "kernels/matmul_q.cuh"
#include "kernels/mma.cuh"

enum {
    THREADS = 256,
    WARPS = THREADS / 32,
    ROWS = 2, /* of W, a lane */
    WARP_ROWS = 4 * ROWS,
    HALF = QUANT_BLOCK / 2,
    STEP = 8 * HALF,       /* along k, a warp */
    ROOM = 8 * (HALF + 4), /* floats that a step of x takes in shared memory */
    MOST = 32,             /* M * parts: 72 KiB of shared memory */
};

/* A step of x for each part, from k0 on: xs[m][part][k / HALF][k % HALF]. */
template <int M>
static __device__ inline void stage_x(float *xs, const float *x, int rows, int k0, int K, int parts)
{
    int i = threadIdx.x % (STEP / 4) * 4;
    for (int step = threadIdx.x / (STEP / 4); step < M * parts; step += THREADS / (STEP / 4)) {
        int m = step / parts, k = k0 + step % parts * STEP + i;
        bool ok = m < rows && k < K;
        tc::cp_async16(xs + step * ROOM + i / HALF * (HALF + 4) + i % HALF, x + (ok ? (int64_t)m * K + k : 0),
                       ok);
    }
    tc::cp_async_commit();
}

/* acc += half a block of two rows of W times x, xs[m * stride ..]. */
template <class Format, int M>
static __device__ inline void multiply(float (&acc)[ROWS][M], const QuantHalf<Format> *codes,
                                       const float *scales, const float *level, const float *xs, int stride)
{
    float part[ROWS][M] = {};
#pragma unroll
    for (int i = 0; i < QUANT_WORDS / 2; i++) {
        float v[ROWS][8];
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int j = 0; j < 8; j++) v[r][j] = level[quant_code(codes[r].word(i), j)];
#pragma unroll
        for (int m = 0; m < M; m++) {
            float4 a = *(const float4 *)(xs + m * stride + 8 * i);
            float4 b = *(const float4 *)(xs + m * stride + 8 * i + 4);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                part[r][m] += v[r][0] * a.x + v[r][1] * a.y + v[r][2] * a.z + v[r][3] * a.w;
                part[r][m] += v[r][4] * b.x + v[r][5] * b.y + v[r][6] * b.z + v[r][7] * b.w;
            }
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int m = 0; m < M; m++) acc[r][m] += scales[r] * part[r][m];
}

/* M: rows, rounded up to a power of two. */
template <class Format, int M>
__global__ void __launch_bounds__(THREADS, M == 1   ? 4
                                           : M == 2 ? 3
                                                    : 2)
    matmul_q_few_kernel(float *__restrict__ y, const float *__restrict__ x, QuantWeight w,
                        const float *__restrict__ bias, LoraTerm lora, int rows, int parts)
{
    DYN_SHARED(float, xs);
    SHARED_ARRAY(float, level, [QUANT_LEVELS]);
    SHARED_ARRAY(float, sums, [WARPS][WARP_ROWS][M]);
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, along = lane % 8, part = warp % parts;
    int N = (int)w.N, K = (int)w.K, stride = parts * ROOM, stage = M * stride,
        across = WARPS / parts * WARP_ROWS;
    int first = (int)blockIdx.x * across, n0 = first + warp / parts * WARP_ROWS + lane / 8 * ROWS;
    QuantHalf<Format> codes[ROWS], next[ROWS];
    auto at = [&](int r, int k) { return min(n0 + r, N - 1) * (K / QUANT_BLOCK) + k / QUANT_BLOCK; };
    auto load = [&](int k) {
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            if (k < K) next[r] = QuantHalf<Format>(w, at(r, k), k / HALF % 2);
    };
    float acc[ROWS][M] = {};
    int k = part * STEP + along * HALF;
    load(k);
    stage_x<M>(xs, x, rows, 0, K, parts);
    if (threadIdx.x < QUANT_LEVELS) level[threadIdx.x] = Format::level(threadIdx.x);
    for (int k0 = 0, now = 0; k0 < K; k0 += parts * STEP, k += parts * STEP, now = stage - now) {
        tc::cp_async_wait<0>();
        __syncthreads(); /* this stage is there, and nobody reads the other one any more */
        if (k0 + parts * STEP < K) stage_x<M>(xs + stage - now, x, rows, k0 + parts * STEP, K, parts);
        if (k >= K) continue;
        float scales[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            codes[r] = next[r];
            scales[r] = codes[r].scale(w, at(r, k));
        }
        load(k + parts * STEP);
        multiply<Format, M>(acc, codes, scales, level, xs + now + part * ROOM + along * (HALF + 4), stride);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int m = 0; m < M; m++) {
            float v = acc[r][m];
#pragma unroll
            for (int d = 4; d; d /= 2) v += __shfl_xor_sync(~0u, v, d);
            if (along == 0) sums[warp][lane / 8 * ROWS + r][m] = v;
        }
    __syncthreads();
    for (int i = threadIdx.x; i < rows * across; i += THREADS) {
        int m = i / across, n = i % across;
        if (first + n >= N) continue;
        float sum = bias ? bias[first + n] : 0;
        for (int p = 0; p < parts; p++) sum += sums[n / WARP_ROWS * parts + p][n % WARP_ROWS][m];
        y[(int64_t)m * N + first + n] = sum + lora.y(m, first + n);
    }
}

template <class Format, int M> static void launch(const MatmulQ<float> &q)
{
    int64_t N = q.w->dim[0];
    int parts = matmul_q_parts(ceil_div(N, (int64_t)WARPS * WARP_ROWS), M * WARPS > MOST ? MOST / M : WARPS);
    size_t bytes = 2 * (size_t)(M * parts * ROOM) * sizeof(float);
    ALLOW_DYN_SHARED((matmul_q_few_kernel<Format, M>), bytes);
    KERNEL_LAUNCH((matmul_q_few_kernel<Format, M>), (unsigned)ceil_div(N, (int64_t)(WARPS / parts * WARP_ROWS)),
                  THREADS, bytes, q.out, q.in, quant_weight(q.w), q.bias, q.lora, (int)q.M, parts);
}

void matmul_q_few(const MatmulQ<float> &q)
{
    quant_dispatch(q.w->dtype, [&](auto format) {
        typedef decltype(format) Format;
        if (q.M == 1) return launch<Format, 1>(q);
        if (q.M == 2) return launch<Format, 2>(q);
        if (q.M <= 4) return launch<Format, 4>(q);
        launch<Format, 8>(q);
    });
}
