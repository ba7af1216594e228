/* Masks from low-resolution logits, as in mask.c: the same sums in the same order, none fused.
 *
 * Mapping: a thread goes down a column of pixels and keeps the three rows of x that its pixel is made of, drawn
 * out to that column, in registers: a row is drawn out once, of neighbouring threads from neighbouring places.
 * Statistics: a block a mask, its counts and box joined at the end; masks: a block 256 columns of 64 rows of a
 * mask. Where rows and columns lie is worked out once, by a kernel before. Bytes: statistics 4 a logit (again
 * from L1 and L2 for the rows of pixels) and 32 a mask, masks also 1 a pixel. Floor: some 12 operations a
 * pixel, so of 192 masks at 512 x 512 about 20 us of an H100's, where the logits take 15 us to read. Skipping
 * what cannot reach a threshold, as the CPU does, is left out: threads of a warp skip together or not at all.
 * Log: never timed on a GPU. */
#include "kernels/elements.cuh"
#include "kernels/mask_taps.h"
#include <limits.h>

enum { MASK_THREADS = 256, MASK_ROWS = 64 };

typedef struct MaskPlan {
    int h, w, H, W;
    const MaskTap *row, *column; /* [H] [W] */
} MaskPlan;

__global__ void __launch_bounds__(256)
    mask_taps_kernel(MaskTap *__restrict__ tap, int low, int side, int input, int out)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < out) tap[i] = mask_tap(low, side, input, out, i);
}

/* A column of pixels on its way down. */
struct MaskColumn {
    const float *x; /* (h,w) */
    MaskTap tap;
    int w, held; /* the first row in e; -1: none */
    float e[3];

    __device__ MaskColumn(const MaskPlan &p, const float *x, int j) : x(x), tap(p.column[j]), w(p.w), held(-1)
    {
        e[0] = e[1] = e[2] = 0;
    }
    __device__ float drawn_out(int y) const
    {
        const float *row = x + (int64_t)y * w;
        float a = __fmul_rn(tap.k[0], row[tap.at[0]]), b = __fmul_rn(tap.k[1], row[tap.at[1]]),
              c = __fmul_rn(tap.k[2], row[tap.at[2]]);
        return __fadd_rn(__fadd_rn(a, b), c);
    }
    __device__ float pixel(const MaskTap &row)
    {
        if (row.at[0] != held) {
            bool next = row.at[0] == held + 1 && held >= 0;
            e[0] = next ? e[1] : drawn_out(row.at[0]);
            e[1] = next ? e[2] : drawn_out(row.at[1]);
            e[2] = drawn_out(row.at[2]);
            held = row.at[0];
        }
        float v = __fmul_rn(row.k[0], e[0]);
        if (row.k[1] != 0) v = __fadd_rn(v, __fmul_rn(row.k[1], e[1]));
        if (row.k[2] != 0) v = __fadd_rn(v, __fmul_rn(row.k[2], e[2]));
        return v;
    }
};

/* What a thread has seen; joined over warps, then over the block. */
struct MaskSeen {
    int count[3], x0, y0, x1, y1;

    __device__ void join(const MaskSeen &o)
    {
        for (int i = 0; i < 3; i++) count[i] += o.count[i];
        x0 = min(x0, o.x0);
        y0 = min(y0, o.y0);
        x1 = max(x1, o.x1);
        y1 = max(y1, o.y1);
    }
    __device__ void pixel(float v, float upper, float lower, float middle, int i, int j)
    {
        count[0] += v > upper;
        count[1] += v > lower;
        if (!(v > middle)) return;
        count[2]++;
        x0 = min(x0, j);
        x1 = max(x1, j);
        y0 = min(y0, i);
        y1 = max(y1, i);
    }
};

static inline __device__ MaskSeen seen_by_warp(MaskSeen s)
{
#pragma unroll
    for (int d = 16; d; d /= 2) {
        MaskSeen o;
        for (int i = 0; i < 3; i++) o.count[i] = __shfl_xor_sync(~0u, s.count[i], d);
        o.x0 = __shfl_xor_sync(~0u, s.x0, d);
        o.y0 = __shfl_xor_sync(~0u, s.y0, d);
        o.x1 = __shfl_xor_sync(~0u, s.x1, d);
        o.y1 = __shfl_xor_sync(~0u, s.y1, d);
        s.join(o);
    }
    return s;
}

__global__ void __launch_bounds__(MASK_THREADS)
    mask_stats_forward_kernel(int *__restrict__ stats, const float *__restrict__ x, MaskPlan p, float upper,
                              float lower, float middle)
{
    SHARED_ARRAY(MaskSeen, part, [MASK_THREADS / 32]);
    MaskSeen seen = {{0, 0, 0}, INT_MAX, INT_MAX, -1, -1};
    x += (int64_t)blockIdx.x * p.h * p.w;
    for (int j = (int)threadIdx.x; j < p.W; j += MASK_THREADS) {
        MaskColumn column(p, x, j);
        for (int i = 0; i < p.H; i++) seen.pixel(column.pixel(p.row[i]), upper, lower, middle, i, j);
    }
    seen = seen_by_warp(seen);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = seen;
    __syncthreads();
    if (threadIdx.x) return;
    for (int i = 1; i < MASK_THREADS / 32; i++) seen.join(part[i]);
    stats += (int64_t)blockIdx.x * MASK_STATS;
    for (int i = 0; i < 3; i++) stats[i] = seen.count[i];
    bool any = seen.count[2] > 0;
    stats[3] = any ? seen.x0 : 0;
    stats[4] = any ? seen.y0 : 0;
    stats[5] = any ? seen.x1 : 0;
    stats[6] = any ? seen.y1 : 0;
    stats[7] = 0;
}

__global__ void __launch_bounds__(MASK_THREADS)
    mask_binary_forward_kernel(unsigned char *__restrict__ y, const float *__restrict__ x, MaskPlan p, int M,
                               float threshold)
{
    int j = (int)(blockIdx.x * MASK_THREADS + threadIdx.x), from = (int)blockIdx.y * MASK_ROWS,
        to = min(from + MASK_ROWS, p.H);
    if (j >= p.W) return;
    for (int m = (int)blockIdx.z; m < M; m += (int)gridDim.z) {
        MaskColumn column(p, x + (int64_t)m * p.h * p.w, j);
#pragma unroll 1 /* unrolled, it spills on sm_80 */
        for (int i = from; i < to; i++)
            y[((int64_t)m * p.H + i) * p.W + j] = column.pixel(p.row[i]) > threshold;
    }
}

static MaskPlan mask_plan(Tape *t, const Node *n)
{
    const Tensor *x = n->in[0];
    const MaskParams *s = NODE_AS(MaskParams, n);
    int h = (int)x->dim[1], w = (int)x->dim[2], H = s->height, W = s->width;
    MaskTap *tap = (MaskTap *)scratch(t, (size_t)(H + W) * sizeof *tap);
    KERNEL_LAUNCH(mask_taps_kernel, ceil_div(H, 256), 256, 0, tap, h, s->side, s->input_height, H);
    KERNEL_LAUNCH(mask_taps_kernel, ceil_div(W, 256), 256, 0, tap + H, w, s->side, s->input_width, W);
    return MaskPlan{h, w, H, W, tap, tap + H};
}

extern "C" void mask_stats_forward_cuda(Tape *t, Node *n)
{
    const MaskParams *s = NODE_AS(MaskParams, n);
    MaskPlan p = mask_plan(t, n);
    KERNEL_LAUNCH(mask_stats_forward_kernel, (unsigned)n->in[0]->dim[0], MASK_THREADS, 0, (int *)n->out->data,
                  f32(n->in[0]), p, s->threshold + s->offset, s->threshold - s->offset, s->threshold);
}

extern "C" void mask_binary_forward_cuda(Tape *t, Node *n)
{
    MaskPlan p = mask_plan(t, n);
    int M = (int)n->in[0]->dim[0];
    dim3 grid(ceil_div(p.W, (int)MASK_THREADS), ceil_div(p.H, (int)MASK_ROWS), (unsigned)at_most(M, 65535));
    KERNEL_LAUNCH(mask_binary_forward_kernel, grid, MASK_THREADS, 0, (unsigned char *)n->out->data,
                  f32(n->in[0]), p, M, NODE_AS(MaskParams, n)->threshold);
}
