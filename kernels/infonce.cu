/* Contrast of n pairs of vectors, its slopes g = dL/dc in the cosines c, and the gradients (see infonce.c).
 *
 * Forward, five launches: a warp a vector for its length, as two floats; a block for 8 x 8 cosines from tiles
 * in shared memory, four threads each, as two floats too (s = c / tau is up to 100 times c: in one float the
 * differences of s would lose what the tolerance asks for), stored also transposed; a warp a row of either for
 * maximum and sum of its lse; a block a row of g; one block for the sums. Backward: a block a vector, a thread
 * every so many-th dimension, over all j.
 *
 * Bytes: 8 n D in, a few n^2; 2 n^2 D products forward and 4 n^2 D backward: all in cache, so launches are the
 * floor for n up to some hundred. Log: never timed on a GPU. */
#include "kernels/rows.cuh"
#include "kernels/two_float.cuh"
#include <math.h>

enum { INFONCE_THREADS = 128, INFONCE_TILE = 8, INFONCE_DEPTH = 128, INFONCE_SUM_THREADS = 64 };

/* x^ = x scale r: scale is a power of two. */
struct InfonceUnit {
    float scale;
    TwoFloat r; /* 0 for a vector of length 0 */
};

/* Of row i: exp(s_ij - top) share is the share of j, others that of all but i (1 less that of i would have no
 * digits left where i has nearly all); all 0: nothing is in the lse. */
struct InfonceLse {
    float top, share, others;
};

struct InfonceMask {
    const int *same; /* or NULL */
    bool include_self;

    __device__ bool counts(int i, int j) const { return i == j ? include_self : !same || same[i] != same[j]; }
};

static inline __device__ bool infonce_clamped(const float *log_scale)
{
    return *log_scale > 4.6051702f; /* ln 100 */
}

/* Rows of v, then of w. log_scale NULL: k = 1 / tau. k NULL: not wanted. */
__global__ void __launch_bounds__(256)
    infonce_units_kernel(const float *__restrict__ v, const float *__restrict__ w,
                         const float *__restrict__ log_scale, float tau, InfonceUnit *__restrict__ unit,
                         TwoFloat *__restrict__ k, int n, int D)
{
    if (k && blockIdx.x == 0 && threadIdx.x == 0)
        *k = two_floats(!log_scale ? 1 / (double)tau
                                   : exp((double)(infonce_clamped(log_scale) ? 4.6051702f : *log_scale)));
    const int64_t i = row_index<32>();
    if (i >= 2 * (int64_t)n) return;
    const float *x = i < n ? v + i * D : w + (i - n) * D;
    float top = 0;
    row_read<32>(
        D, [&](int, float a) { top = fmaxf(top, fabsf(a)); }, x);
    const float scale = power_near(warp_max(top));
    TwoFloat sum = {};
    row_read<32>(
        D, [&](int, float a) { sum.add_product(a * scale, a * scale); }, x);
    const double square = lane_sum<32>(sum).exact();
    if (threadIdx.x % 32 == 0) unit[i] = {scale, square == 0 ? TwoFloat{} : two_floats(1 / sqrt(square))};
}

/* c (n,n) and its transpose. Thread (row of the tile, column, quarter of the depth). */
__global__ void __launch_bounds__(256)
    infonce_cosine_kernel(const float *__restrict__ v, const float *__restrict__ w,
                          const InfonceUnit *__restrict__ unit, TwoFloat *__restrict__ c,
                          TwoFloat *__restrict__ transposed, int n, int D)
{
    SHARED_ARRAY(float, tile, [2][INFONCE_TILE][INFONCE_DEPTH + 4]);
    const int quarter = (int)threadIdx.x % 4, column = (int)threadIdx.x / 4 % INFONCE_TILE,
              row = (int)threadIdx.x / 4 / INFONCE_TILE, i0 = (int)blockIdx.y * INFONCE_TILE,
              j0 = (int)blockIdx.x * INFONCE_TILE;
    TwoFloat sum = {};
    for (int d0 = 0; d0 < D; d0 += INFONCE_DEPTH) {
        __syncthreads();
        for (int e = (int)threadIdx.x; e < 2 * INFONCE_TILE * INFONCE_DEPTH; e += 256) {
            const int d = e % INFONCE_DEPTH, r = e / INFONCE_DEPTH % INFONCE_TILE,
                      side = e / INFONCE_DEPTH / INFONCE_TILE;
            const int64_t i = (side ? j0 : i0) + r;
            tile[side][r][d] =
                i < n && d0 + d < D ? (side ? w : v)[i * D + d0 + d] * unit[side * n + i].scale : 0;
        }
        __syncthreads();
#pragma unroll 4
        for (int d = quarter; d < INFONCE_DEPTH; d += 4) sum.add_product(tile[0][row][d], tile[1][column][d]);
    }
    sum = lane_sum<4>(sum);
    const int64_t i = i0 + row, j = j0 + column;
    if (i >= n || j >= n || quarter > 1) return;
    sum = product(product(sum, unit[i].r), unit[n + j].r);
    if (quarter == 0)
        c[i * n + j] = sum;
    else
        transposed[j * n + i] = sum;
}

/* s - top where s = k c. */
static inline __device__ float infonce_above(TwoFloat s, float top) { return (s.hi - top) + s.lo; }

/* Rows of c, then of its transpose. term: lse - s_ii. */
__global__ void __launch_bounds__(256)
    infonce_lse_kernel(const TwoFloat *__restrict__ c, const TwoFloat *__restrict__ transposed,
                       const TwoFloat *__restrict__ factor, InfonceMask mask, InfonceLse *__restrict__ lse,
                       float *__restrict__ term, int n)
{
    const int64_t row = row_index<32>();
    if (row >= 2 * (int64_t)n) return;
    const int i = (int)(row % n), lane = (int)threadIdx.x % 32;
    const TwoFloat k = *factor, *ci = (row < n ? c : transposed) + (int64_t)i * n;
    float top = -INFINITY, others = 0, self = 0;
    bool any = false;
    for (int j = lane; j < n; j += 32) {
        if (!mask.counts(i, j)) continue;
        any = true;
        top = fmaxf(top, product(k, ci[j]).hi);
    }
    any = __any_sync(~0u, any);
    top = warp_max(top);
    for (int j = lane; j < n; j += 32)
        if (mask.counts(i, j)) (i == j ? self : others) += expf(infonce_above(product(k, ci[j]), top));
    others = warp_sum(others);
    self = warp_sum(self);
    const float sum = others + self;
    if (lane) return;
    lse[row] = any ? InfonceLse{top, 1 / sum, others / sum} : InfonceLse{};
    /* Where i has a good part, 1 + others / self has digits that the sum lost: of one pair alone it is 0. */
    term[row] = !any           ? 0
                : self > 0.25f ? log1pf(others / self)
                               : logf(sum) - infonce_above(product(k, ci[i]), top);
}

/* Row i of g = k [weight_v (P - 1 where i = j) + weight_w (Q - 1 where i = j)], and sum_j g_ij c_ij. */
__global__ void __launch_bounds__(INFONCE_THREADS)
    infonce_slope_kernel(const TwoFloat *__restrict__ c, const TwoFloat *__restrict__ factor,
                         const InfonceLse *__restrict__ lse, InfonceMask mask, float weight_v, float weight_w,
                         float *__restrict__ g, TwoFloat *__restrict__ along, int n)
{
    const int i = (int)blockIdx.x;
    const TwoFloat k = *factor;
    const InfonceLse across = lse[i];
    TwoFloat sum = {};
    for (int j = (int)threadIdx.x; j < n; j += INFONCE_THREADS) {
        const TwoFloat cosine = c[(int64_t)i * n + j], s = product(k, cosine);
        const InfonceLse down = lse[n + j];
        float p = 0, q = 0;
        if (i == j) {
            p = -across.others;
            q = -down.others;
        } else if (mask.counts(i, j)) {
            p = expf(infonce_above(s, across.top)) * across.share;
            q = expf(infonce_above(s, down.top)) * down.share;
        }
        const float slope = k.hi * (weight_v * p + weight_w * q);
        g[(int64_t)i * n + j] = slope;
        sum.add_product(slope, cosine.hi);
    }
    sum = block_sum<INFONCE_THREADS>(sum);
    if (threadIdx.x == 0) along[i] = sum;
}

__global__ void __launch_bounds__(INFONCE_SUM_THREADS)
    infonce_finish_kernel(const float *__restrict__ term, const TwoFloat *__restrict__ along,
                          const float *__restrict__ log_scale, float weight_v, float weight_w, float *loss,
                          float *dscale, int n)
{
    TwoFloat total = {}, slope = {};
    for (int i = (int)threadIdx.x; i < n; i += INFONCE_SUM_THREADS) {
        total.add_product(weight_v, term[i]);
        total.add_product(weight_w, term[n + i]);
        slope.merge(along[i]);
    }
    total = block_sum<INFONCE_SUM_THREADS>(total);
    slope = block_sum<INFONCE_SUM_THREADS>(slope);
    if (threadIdx.x) return;
    *loss = total.value();
    *dscale = log_scale && infonce_clamped(log_scale) ? 0 : slope.value();
}

/* dx_i += dloss (u_i - (u_i . x^_i) x^_i) / |x_i|, u_i = sum_j g_ij other^_j; g_ij lies at i * row + j *
 * column. u (n,D) is where a thread keeps its dimensions of u_i. */
__global__ void __launch_bounds__(INFONCE_THREADS)
    infonce_backward_kernel(const float *__restrict__ g, int row, int column, const float *__restrict__ x,
                            const float *__restrict__ other, const InfonceUnit *__restrict__ unit,
                            const InfonceUnit *__restrict__ other_unit, const float *__restrict__ dloss,
                            float *u, float *__restrict__ dx, int n, int D)
{
    SHARED_ARRAY(float2, weight, [INFONCE_THREADS]); /* of other_j's elements: scale, then r g_ij */
    const int thread = (int)threadIdx.x;
    const int64_t i = blockIdx.x;
    const float scale = unit[i].scale, r = unit[i].r.hi;
    float along = 0;
    x += i * D;
    u += i * D;
    for (int d0 = 0; d0 < D; d0 += INFONCE_THREADS) {
        const int d = d0 + thread;
        float sum = 0;
        for (int j0 = 0; j0 < n; j0 += INFONCE_THREADS) {
            __syncthreads();
            if (j0 + thread < n) {
                const InfonceUnit to = other_unit[j0 + thread];
                weight[thread] = {to.scale, to.r.hi * g[i * row + (int64_t)(j0 + thread) * column]};
            }
            __syncthreads();
            const int count = min(n - j0, (int)INFONCE_THREADS);
            if (d < D)
#pragma unroll 4
                for (int j = 0; j < count; j++)
                    sum += other[(int64_t)(j0 + j) * D + d] * weight[j].x * weight[j].y;
        }
        if (d >= D) continue;
        u[d] = sum;
        along += sum * (x[d] * scale * r);
    }
    along = block_sum<INFONCE_THREADS>(along);
    for (int d = thread; d < D; d += INFONCE_THREADS)
        dx[i * D + d] += *dloss * (u[d] - along * (x[d] * scale * r)) * r * scale;
}

struct InfonceScaleGradient {
    const float *dloss;
    __device__ float operator()(float slope) const { return *dloss * slope; }
};

extern "C" void infonce_forward_cuda(Tape *t, Node *node)
{
    const InfonceParams *p = NODE_AS(InfonceParams, node);
    const int n = (int)node->in[0]->dim[0], D = (int)node->in[0]->dim[1];
    const float *v = f32(node->in[0]), *w = f32(node->in[1]),
                *log_scale = node->in[2] ? f32(node->in[2]) : NULL;
    const InfonceMask mask = {node->in[3] ? (const int *)node->in[3]->data : NULL, p->include_self};
    const float half = p->mean ? 0.5f / (float)n : 0.5f, weight_v = half * p->alpha_v,
                weight_w = half * p->alpha_w;
    const size_t pairs = (size_t)n * (size_t)n;
    InfonceUnit *unit = (InfonceUnit *)scratch(t, 2 * (size_t)n * sizeof *unit);
    TwoFloat *k = (TwoFloat *)scratch(t, sizeof *k), *c = (TwoFloat *)scratch(t, pairs * sizeof *c),
             *transposed = (TwoFloat *)scratch(t, pairs * sizeof *c),
             *along = (TwoFloat *)scratch(t, (size_t)n * sizeof *along);
    InfonceLse *lse = (InfonceLse *)scratch(t, 2 * (size_t)n * sizeof *lse);
    float *term = (float *)scratch(t, 2 * (size_t)n * sizeof *term);
    const unsigned tiles = (unsigned)ceil_div(n, (int)INFONCE_TILE), warps = (unsigned)ceil_div(2 * n, 8);
    KERNEL_LAUNCH(infonce_units_kernel, warps, 256, 0, v, w, log_scale, p->tau, unit, k, n, D);
    KERNEL_LAUNCH(infonce_cosine_kernel, dim3(tiles, tiles), 256, 0, v, w, unit, c, transposed, n, D);
    KERNEL_LAUNCH(infonce_lse_kernel, warps, 256, 0, c, transposed, k, mask, lse, term, n);
    KERNEL_LAUNCH(infonce_slope_kernel, (unsigned)n, INFONCE_THREADS, 0, c, k, lse, mask, weight_v, weight_w,
                  f32(node->saved[0]), along, n);
    KERNEL_LAUNCH(infonce_finish_kernel, 1, INFONCE_SUM_THREADS, 0, term, along, log_scale, weight_v, weight_w,
                  f32(node->out), f32(node->saved[1]), n);
}

extern "C" void infonce_backward_cuda(Tape *t, Node *node)
{
    const int n = (int)node->in[0]->dim[0], D = (int)node->in[0]->dim[1];
    const float *v = f32(node->in[0]), *w = f32(node->in[1]), *g = f32(node->saved[0]),
                *dloss = f32(node->out->grad);
    Tensor *dv = node->in[0]->grad, *dw = node->in[1]->grad, *dscale = node->in[2] ? node->in[2]->grad : NULL;
    if (dscale) add_elements(f32(dscale), InfonceScaleGradient{dloss}, 1, (const float *)f32(node->saved[1]));
    if (!dv && !dw) return;
    InfonceUnit *unit = (InfonceUnit *)scratch(t, 2 * (size_t)n * sizeof *unit);
    float *u = (float *)scratch(t, (size_t)n * (size_t)D * sizeof *u);
    KERNEL_LAUNCH(infonce_units_kernel, (unsigned)ceil_div(2 * n, 8), 256, 0, v, w, NULL, 1, unit, NULL, n, D);
    if (dv)
        KERNEL_LAUNCH(infonce_backward_kernel, (unsigned)n, INFONCE_THREADS, 0, g, n, 1, v, w, unit, unit + n,
                      dloss, u, f32(dv), n, D);
    if (dw)
        KERNEL_LAUNCH(infonce_backward_kernel, (unsigned)n, INFONCE_THREADS, 0, g, 1, n, w, v, unit + n, unit,
                      dloss, u, f32(dw), n, D);
}
