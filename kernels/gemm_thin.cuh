/* Thin products, multiplied and added in f32: at most 16 rows, 16 columns, or 16 of depth.
 *
 * Few lines: `few` lines of one operand, f[i,k], against many lines of the other, w[l,k], read once. Mapping:
 * gemm_dots_kernel, where the depth of w lies side by side: a warp has four lines, its lanes go along the
 * depth, 16 bytes a lane, and add up at the end. gemm_sums_kernel, where the lines lie side by side: a lane has
 * four lines, the eight warps of a block share the depth. Either way the few lines come through shared memory.
 * The depth is split over blocks where there would be too few. Bytes: w once; the few lines once a block, from
 * L2.
 *
 * Shallow: gemm_shallow_kernel. A lane keeps all of four columns of B in registers, its warp goes down 16 rows
 * of C. Bytes: C.
 *
 * Floor: these bytes over bandwidth. Log: never timed on a GPU. */
#ifndef KERNELS_GEMM_THIN_CUH
#define KERNELS_GEMM_THIN_CUH
#include "kernels/gemm.cuh"

enum {
    GEMM_FEW = 16,
    GEMM_DOTS_DEPTH = 256,
    GEMM_DOTS_LINES = 4,
    GEMM_SUMS_DEPTH = 64,
    GEMM_SHALLOW_ROWS = 128
};

/* p[i * line + k * depth], f32 or bf16; p NULL: all are 1. */
struct GemmFew {
    const void *p;
    bool bf16;
    int64_t line, depth, step;

    template <class T>
    GemmFew(const T *p, int64_t line, int64_t depth, int64_t step)
        : p(p), bf16(sizeof(T) == 2), line(line), depth(depth), step(step)
    {
    }
    __device__ void advance(int products)
    {
        if (p) p = (const char *)p + products * step * (int)(bf16 ? sizeof(Bf16) : sizeof(float));
    }
    __device__ float at(int i, int k) const
    {
        int64_t j = i * line + k * depth;
        return bf16 ? number(((const Bf16 *)p)[j]) : ((const float *)p)[j];
    }
};

struct GemmFewExtent {
    int lines, few, K;
    int blocks, part; /* blocks of one product; depth of a split */
    bool across;      /* the many lines are columns of C */
    float *parts;     /* as GemmExtent's */
};

/* Four neighbours of w, along the depth or over lines; 0 where there is nothing. */
template <class W> static __device__ inline float4 gemm_four(const W &w, typename W::Line line, int i, int k)
{
    if (w.vector) {
        const typename W::Element *from = w.at(line, w.spot(k));
        return from ? w.four(from) : float4{0, 0, 0, 0};
    }
    float v[4];
#pragma unroll
    for (int e = 0; e < 4; e++) {
        const typename W::Element *from = w.at(W::DEPTH ? line : w.line(i + e), w.spot(W::DEPTH ? k + e : k));
        v[e] = from ? w.one(from) : 0;
    }
    return float4{v[0], v[1], v[2], v[3]};
}

/* The few lines from depth k on, FEW x DEPTH (or the other way round), zeros behind their ends. */
template <int FEW, int DEPTH, bool DEPTH_INSIDE>
static __device__ inline void gemm_load_few(float *to, const GemmFew &f, const GemmFewExtent &e, int k)
{
    for (int j = threadIdx.x; j < FEW * DEPTH; j += 256) {
        /* neighbouring threads read neighbouring elements */
        int i = f.depth == 1 ? j / DEPTH : j % FEW, d = f.depth == 1 ? j % DEPTH : j / FEW;
        float v = 0;
        if (i < e.few && k + d < e.K) v = f.p ? f.at(i, k + d) : 1;
        to[DEPTH_INSIDE ? i * DEPTH + d : d * FEW + i] = v;
    }
}

template <class C>
static __device__ inline void gemm_put_few(C c, const GemmFewExtent &e, int product, int line, int i, float v)
{
    if (line >= e.lines || i >= e.few) return;
    int m = e.across ? i : line, n = e.across ? line : i, N = e.across ? e.lines : e.few;
    if (e.parts) {
        int64_t products = gridDim.x / e.blocks;
        e.parts[(((int64_t)blockIdx.y * products + product) * e.lines * e.few) + (int64_t)m * N + n] = v;
        return;
    }
    c.advance(product);
    int64_t at = c.row(m);
    if (at >= 0) gemm_put_one(c, at + n, c.value(m, n, v));
}

/* Grid: blocks of 32 lines of all products, splits. */
template <int FEW, class W, class C>
__global__ void __launch_bounds__(256, 1) gemm_dots_kernel(W w, GemmFew f, C c, GemmFewExtent e)
{
    constexpr int LINES = GEMM_DOTS_LINES, DEPTH = GEMM_DOTS_DEPTH;
    SHARED_ARRAY(float, few, [FEW * DEPTH]);
    int product = (int)blockIdx.x / e.blocks, lane = threadIdx.x % 32;
    int first = ((int)blockIdx.x % e.blocks * 8 + (int)threadIdx.x / 32) * LINES;
    w.p += product * w.step;
    f.advance(product);
    typename W::Line line[LINES];
#pragma unroll
    for (int l = 0; l < LINES; l++) line[l] = w.line(first + l);
    float acc[LINES][FEW] = {};
    int to = e.K - (int)blockIdx.y * e.part < e.part ? e.K : ((int)blockIdx.y + 1) * e.part;
    for (int k = (int)blockIdx.y * e.part; k < to; k += DEPTH) {
        __syncthreads();
        gemm_load_few<FEW, DEPTH, true>(few, f, e, k);
        __syncthreads();
#pragma unroll 1
        for (int d = lane * 4; d < DEPTH; d += 128) {
            float4 x[LINES];
#pragma unroll
            for (int l = 0; l < LINES; l++) x[l] = gemm_four(w, line[l], first + l, k + d);
#pragma unroll
            for (int i = 0; i < FEW; i++) {
                float4 y = *(const float4 *)(few + i * DEPTH + d);
#pragma unroll
                for (int l = 0; l < LINES; l++)
                    acc[l][i] += x[l].x * y.x + x[l].y * y.y + x[l].z * y.z + x[l].w * y.w;
            }
        }
    }
#pragma unroll
    for (int l = 0; l < LINES; l++)
#pragma unroll
        for (int i = 0; i < FEW; i++) {
            float sum = warp_sum(acc[l][i]);
            if (lane == 0) gemm_put_few(c, e, product, first + l, i, sum);
        }
}

/* Grid: blocks of 128 lines of all products, splits. */
template <int FEW, class W, class C>
__global__ void __launch_bounds__(256, 1) gemm_sums_kernel(W w, GemmFew f, C c, GemmFewExtent e)
{
    constexpr int DEPTH = GEMM_SUMS_DEPTH;
    SHARED_ARRAY(float, few, [DEPTH * FEW]);
    SHARED_ARRAY(float, sums, [8][128]);
    int product = (int)blockIdx.x / e.blocks, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int first = (int)blockIdx.x % e.blocks * 128;
    w.p += product * w.step;
    f.advance(product);
    typename W::Line line = w.line(first + lane * 4);
    float acc[FEW][4] = {};
    int to = e.K - (int)blockIdx.y * e.part < e.part ? e.K : ((int)blockIdx.y + 1) * e.part;
    for (int k = (int)blockIdx.y * e.part; k < to; k += DEPTH) {
        __syncthreads();
        gemm_load_few<FEW, DEPTH, false>(few, f, e, k);
        __syncthreads();
#pragma unroll 4
        for (int d = warp; d < DEPTH; d += 8) {
            float4 x = gemm_four(w, line, first + lane * 4, k + d);
#pragma unroll
            for (int i = 0; i < FEW; i++) {
                float y = few[d * FEW + i];
                acc[i][0] += x.x * y;
                acc[i][1] += x.y * y;
                acc[i][2] += x.z * y;
                acc[i][3] += x.w * y;
            }
        }
    }
#pragma unroll
    for (int i = 0; i < FEW; i++) {
        __syncthreads();
        *(float4 *)&sums[warp][lane * 4] = float4{acc[i][0], acc[i][1], acc[i][2], acc[i][3]};
        __syncthreads();
        if (threadIdx.x >= 128) continue;
        float sum = 0;
#pragma unroll
        for (int s = 0; s < 8; s++) sum += sums[s][threadIdx.x];
        gemm_put_few(c, e, product, first + (int)threadIdx.x, i, sum);
    }
}

/* Columns n..n+3 of b, all of the depth. */
template <class B> static __device__ inline void gemm_load_shallow(float (&to)[GEMM_FEW][4], const B &b, int n)
{
    if constexpr (B::DEPTH) {
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int k = 0; k < GEMM_FEW; k += 4) {
                float4 v = gemm_four(b, b.line(n + j), n + j, k);
                to[k][j] = v.x;
                to[k + 1][j] = v.y;
                to[k + 2][j] = v.z;
                to[k + 3][j] = v.w;
            }
    } else {
#pragma unroll
        for (int k = 0; k < GEMM_FEW; k++) {
            float4 v = gemm_four(b, b.line(n), n, k);
            to[k][0] = v.x;
            to[k][1] = v.y;
            to[k][2] = v.z;
            to[k][3] = v.w;
        }
    }
}

/* Grid: GEMM_SHALLOW_ROWS x 128 of C a block, of all products. */
template <class B, class C>
__global__ void __launch_bounds__(256, 1)
    gemm_shallow_kernel(GemmFew a, B b, C c, int M, int N, int K, int across)
{
    int blocks = across * ceil_div(M, (int)GEMM_SHALLOW_ROWS), block = (int)blockIdx.x % blocks;
    int product = (int)blockIdx.x / blocks, n = block % across * 128 + (int)threadIdx.x % 32 * 4;
    int m = block / across * GEMM_SHALLOW_ROWS + (int)threadIdx.x / 32, to = m + GEMM_SHALLOW_ROWS;
    a.advance(product);
    b.p += product * b.step;
    c.advance(product);
    if (n >= N) return;
    float y[GEMM_FEW][4];
    gemm_load_shallow(y, b, n);
    for (to = to < M ? to : M; m < to; m += 8) {
        float4 sum = {0, 0, 0, 0};
#pragma unroll
        for (int k = 0; k < GEMM_FEW; k++) {
            if (k >= K) break;
            float x = a.at(m, k);
            sum.x += x * y[k][0];
            sum.y += x * y[k][1];
            sum.z += x * y[k][2];
            sum.w += x * y[k][3];
        }
        gemm_put(c, m, n, N, sum);
    }
}

/* ---- host ---- */

template <int FEW, class W, class C>
static inline void gemm_few_launch(W w, GemmFew f, C c, const GemmFewExtent &e, dim3 grid)
{
    if constexpr (W::DEPTH)
        KERNEL_LAUNCH((gemm_dots_kernel<FEW, W, C>), grid, 256, 0, w, f, c, e);
    else
        KERNEL_LAUNCH((gemm_sums_kernel<FEW, W, C>), grid, 256, 0, w, f, c, e);
}

/* C (lines, few), or (few, lines) with across. few <= GEMM_FEW. */
template <class W, class C>
static inline void gemm_few(const GemmRoom &room, W w, GemmFew f, C c, int lines, int few, int K, bool across,
                            int products = 1)
{
    GemmFewExtent e = {lines, few, K, ceil_div(lines, W::DEPTH ? 8 * GEMM_DOTS_LINES : 128), 0, across, NULL};
    int64_t blocks = (int64_t)e.blocks * products;
    e.part = gemm_part(blocks, K, W::DEPTH ? GEMM_DOTS_DEPTH : GEMM_SUMS_DEPTH);
    int splits = ceil_div(K, e.part);
    if (splits > 1) e.parts = room.parts((int64_t)splits * products * lines * few);
    dim3 grid((unsigned)gemm_int(blocks), (unsigned)splits);
    if (few == 1)
        gemm_few_launch<1>(w, f, c, e, grid);
    else if (few <= 4)
        gemm_few_launch<4>(w, f, c, e, grid);
    else
        gemm_few_launch<GEMM_FEW>(w, f, c, e, grid);
    if (splits > 1) gemm_add_parts(c, e.parts, splits, across ? few : lines, across ? lines : few, products);
}

/* K <= GEMM_FEW. */
template <class B, class C>
static inline void gemm_shallow(GemmFew a, B b, C c, int M, int N, int K, int products = 1)
{
    int across = ceil_div(N, 128);
    int64_t blocks = (int64_t)across * ceil_div(M, (int)GEMM_SHALLOW_ROWS) * products;
    KERNEL_LAUNCH((gemm_shallow_kernel<B, C>), (unsigned)gemm_int(blocks), 256, 0, a, b, c, M, N, K, across);
}
#endif
