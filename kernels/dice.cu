/* Dice loss of M regions of K elements, and the slopes that backward needs (see dice.c).
 *
 * Mapping: a block sums p y, p or p^2, y or y^2 over a chunk of one row (4,096 elements, more where that would
 * be over 64 chunks a row), in two floats each; a second launch of one block, a row a thread, adds the chunks,
 * makes loss and slopes of the sums (in double: a few operations a row) and adds the rows. Backward: a block a
 * chunk.
 *
 * Bytes: forward 8 an element; backward 16, 12 with smooth. Floor: bytes over bandwidth. Log: never timed on a
 * GPU. */
#include "kernels/elements.cuh"
#include "kernels/two_float.cuh"

enum { DICE_THREADS = 256, DICE_CHUNK = 4096 /* at least */, DICE_CHUNKS = 64 /* a row, at most */ };

struct DiceSums {
    TwoFloat both, p, y;
};

/* A row's chunks, one a block. */
struct DiceShape {
    int64_t K, chunk;
    int chunks;

    __device__ int64_t row() const { return blockIdx.x / chunks; }
    __device__ int64_t from() const { return row() * K + blockIdx.x % chunks * chunk; }
    __device__ int64_t to() const { return min(from() + chunk, (row() + 1) * K); }
};

__global__ void __launch_bounds__(DICE_THREADS)
    dice_part_kernel(const float *__restrict__ p, const float *__restrict__ y, DiceShape shape, bool smooth,
                     DiceSums *__restrict__ part)
{
    DiceSums s = {};
    const int64_t to = shape.to();
#pragma unroll 4
    for (int64_t i = shape.from() + threadIdx.x; i < to; i += DICE_THREADS) {
        const float a = p[i], b = y[i];
        s.both.add_product(a, b);
        s.p.add_product(a, smooth ? 1 : a);
        s.y.add_product(b, smooth ? 1 : b);
    }
    s = {block_sum<DICE_THREADS>(s.both), block_sum<DICE_THREADS>(s.p), block_sum<DICE_THREADS>(s.y)};
    if (threadIdx.x == 0) part[blockIdx.x] = s;
}

__global__ void __launch_bounds__(DICE_THREADS)
    dice_finish_kernel(const DiceSums *__restrict__ part, int chunks, int64_t M, bool smooth,
                       float2 *__restrict__ slope, float *loss)
{
    TwoFloat total = {};
    for (int64_t i = threadIdx.x; i < M; i += DICE_THREADS) {
        DiceSums s = {};
        for (int k = 0; k < chunks; k++) {
            s.both.merge(part[i * chunks + k].both);
            s.p.merge(part[i * chunks + k].p);
            s.y.merge(part[i * chunks + k].y);
        }
        const double top = smooth ? 2 * s.both.exact() + 1 : 2 * s.both.exact(),
                     D = s.p.exact() + s.y.exact() + (smooth ? 1 : 1e-6), share = 1 / (D * (double)M);
        slope[i] = {(float)(-2 * share), (float)((smooth ? top : 2 * top) / D * share)};
        total.merge(two_floats((D - top) / D));
    }
    total = block_sum<DICE_THREADS>(total);
    if (threadIdx.x == 0) *loss = (float)(total.exact() / (double)M);
}

__global__ void __launch_bounds__(DICE_THREADS)
    dice_backward_kernel(const float *__restrict__ p, const float *__restrict__ y,
                         const float2 *__restrict__ slope, const float *__restrict__ dloss, DiceShape shape,
                         bool smooth, float *__restrict__ dp)
{
    const float a = *dloss * slope[shape.row()].x, b = *dloss * slope[shape.row()].y;
    const int64_t to = shape.to();
#pragma unroll 4
    for (int64_t i = shape.from() + threadIdx.x; i < to; i += DICE_THREADS)
        dp[i] += a * y[i] + (smooth ? b : b * p[i]);
}

static DiceShape dice_chunks(const Tensor *p)
{
    const int64_t K = tensor_len(p) / p->dim[0];
    int64_t chunks = ceil_div(K, (int64_t)DICE_CHUNK);
    if (chunks > DICE_CHUNKS) chunks = DICE_CHUNKS;
    const int64_t chunk = ceil_div(K, chunks);
    return {K, chunk, (int)ceil_div(K, chunk)};
}

extern "C" void dice_forward_cuda(Tape *t, Node *n)
{
    const bool smooth = NODE_AS(DiceParams, n)->smooth;
    const int64_t M = n->in[0]->dim[0];
    const DiceShape s = dice_chunks(n->in[0]);
    DiceSums *part = (DiceSums *)scratch(t, (size_t)(M * s.chunks) * sizeof *part);
    KERNEL_LAUNCH(dice_part_kernel, (unsigned)(M * s.chunks), DICE_THREADS, 0, f32(n->in[0]), f32(n->in[1]), s,
                  smooth, part);
    KERNEL_LAUNCH(dice_finish_kernel, 1, DICE_THREADS, 0, part, s.chunks, M, smooth,
                  (float2 *)n->saved[0]->data, f32(n->out));
}

extern "C" void dice_backward_cuda(Tape *, Node *n)
{
    if (!n->in[0]->grad) return;
    const DiceShape s = dice_chunks(n->in[0]);
    KERNEL_LAUNCH(dice_backward_kernel, (unsigned)(n->in[0]->dim[0] * s.chunks), DICE_THREADS, 0, f32(n->in[0]),
                  f32(n->in[1]), (const float2 *)n->saved[0]->data, f32(n->out->grad), s,
                  NODE_AS(DiceParams, n)->smooth, f32(n->in[0]->grad));
}
