/* y = (x - mean) r gamma + beta per channel, the last dim. Training: mean and variance down the columns
 * (column_sums.cuh): a thread's rows by Welford's method, threads and parts merged pairwise by Chan's; then y.
 * Otherwise the running statistics, and y alone. Backward: sums of dy and dy (x - mean) down the columns, then
 * dx = gamma r (dy - mean(dy) - (x - mean) r^2 mean(dy (x - mean))), or gamma r dy.
 *
 * Mapping of y and dx: a thread keeps the factors of four neighbouring channels (one where C is no multiple of
 * four) and walks down rows; a block's threads cover up to 256 fours of a row, and several rows of a short one.
 *
 * Bytes an element: forward 12, 8 with running statistics; backward 20 with dx, or 12 without statistics of the
 * batch. Floor: bytes over bandwidth; 4 less each where the second read hits the L2. Log: never timed on a GPU.
 */
#include "kernels/column_sums.cuh"

enum { NORMALISE_THREADS = 256, NORMALISE_ROWS = 4 /* a thread, at least */ };

/* n elements of this mean, m2 the sum of their squared distances from it. */
struct Moments {
    float n, mean, m2;

    __device__ void add(float x)
    {
        n += 1;
        float d = x - mean;
        mean += d / n;
        m2 += d * (x - mean);
    }
    __device__ void merge(const Moments &s)
    {
        if (s.n == 0) return;
        float all = n + s.n, share = s.n / all, d = s.mean - mean;
        mean += d * share;
        m2 += s.m2 + d * d * n * share;
        n = all;
    }
};

struct BatchnormStatistics {
    typedef Moments Sum;
    const float *x;
    float *mean, *r, *running_mean, *running_var;
    BatchnormParams p;
    int C;

    __device__ void add(Sum &s, int64_t row, int c) const { s.add(x[row * C + c]); }
    __device__ void finish(int c, const Sum &s) const
    {
        const float var = s.m2 / s.n, unbiased = s.n > 1 ? s.m2 / (s.n - 1) : var, keep = 1 - p.momentum;
        mean[c] = s.mean;
        r[c] = 1 / sqrtf(var + p.eps);
        running_mean[c] = keep * running_mean[c] + p.momentum * s.mean;
        running_var[c] = keep * running_var[c] + p.momentum * unbiased;
    }
};

/* slope (C,2): what dx takes of (x - mean) and of 1, before gamma r; NULL where dx is not wanted. */
struct BatchnormGradients {
    struct Sum {
        float level, slope;
        __device__ void merge(const Sum &s)
        {
            level += s.level;
            slope += s.slope;
        }
    };
    const float *x, *dy, *mean, *r;
    float *dgamma, *dbeta;
    float2 *slope;
    float rows;
    int C;

    __device__ void add(Sum &s, int64_t row, int c) const
    {
        float d = dy[row * C + c];
        s.level += d;
        s.slope += d * (x[row * C + c] - mean[c]);
    }
    __device__ void finish(int c, const Sum &s) const
    {
        if (dgamma) dgamma[c] += s.slope * r[c];
        if (dbeta) dbeta[c] += s.level;
        if (slope) slope[c] = {s.slope * r[c] * r[c] / rows, s.level / rows};
    }
};

/* ---- row by row ---- */

template <int width> struct alignas(4 * width) Channels {
    float v[width];
};

template <int width> static inline __device__ Channels<width> load_channels(const float *p)
{
    Channels<width> c;
    if constexpr (width == 4)
        *(float4 *)c.v = *(const float4 *)p;
    else
        c.v[0] = *p;
    return c;
}
template <int width> static inline __device__ void store_channels(float *p, const Channels<width> &c)
{
    if constexpr (width == 4)
        *(float4 *)p = *(const float4 *)c.v;
    else
        *p = c.v[0];
}

/* var: the running variance, from which r (saved) is made; NULL: mean and r are there. */
template <int width>
__global__ void __launch_bounds__(NORMALISE_THREADS)
    batchnorm_forward_kernel(const float *__restrict__ x, const float *__restrict__ gamma,
                             const float *__restrict__ beta, const float *running_mean, const float *var,
                             float *mean, float *r, float *__restrict__ y, int64_t rows, int C, float eps)
{
    const int c = (int)(blockIdx.x * blockDim.x + threadIdx.x) * width;
    if (c >= C) return;
    const int64_t first = (int64_t)blockIdx.y * blockDim.y + threadIdx.y, step = gridDim.y * blockDim.y;
    Channels<width> m, k, b = load_channels<width>(beta + c), scale;
    m = load_channels<width>(var ? running_mean + c : mean + c);
    k = load_channels<width>(var ? var + c : r + c);
    if (var)
        for (int j = 0; j < width; j++) k.v[j] = 1 / sqrtf(k.v[j] + eps);
    if (var && first == 0) {
        store_channels<width>(mean + c, m);
        store_channels<width>(r + c, k);
    }
    scale = load_channels<width>(gamma + c);
    for (int j = 0; j < width; j++) k.v[j] *= scale.v[j];
#pragma unroll 4
    for (int64_t i = first; i < rows; i += step) {
        Channels<width> out = load_channels<width>(x + i * C + c);
        for (int j = 0; j < width; j++) out.v[j] = (out.v[j] - m.v[j]) * k.v[j] + b.v[j];
        store_channels<width>(y + i * C + c, out);
    }
}

/* slope NULL: the statistics did not depend on x. */
template <int width>
__global__ void __launch_bounds__(NORMALISE_THREADS)
    batchnorm_backward_kernel(const float *__restrict__ x, const float *__restrict__ dy,
                              const float *__restrict__ gamma, const float *__restrict__ mean,
                              const float *__restrict__ r, const float2 *__restrict__ slope,
                              float *__restrict__ dx, int64_t rows, int C)
{
    const int c = (int)(blockIdx.x * blockDim.x + threadIdx.x) * width;
    if (c >= C) return;
    const int64_t first = (int64_t)blockIdx.y * blockDim.y + threadIdx.y, step = gridDim.y * blockDim.y;
    Channels<width> k, tilt, level;
    for (int j = 0; j < width; j++) {
        k.v[j] = gamma[c + j] * r[c + j];
        tilt.v[j] = slope ? k.v[j] * slope[c + j].x : 0;
        level.v[j] = slope ? k.v[j] * slope[c + j].y : 0;
    }
    if (!slope) {
        for (int64_t i = first; i < rows; i += step) {
            Channels<width> d = load_channels<width>(dy + i * C + c),
                            out = load_channels<width>(dx + i * C + c);
            for (int j = 0; j < width; j++) out.v[j] += k.v[j] * d.v[j];
            store_channels<width>(dx + i * C + c, out);
        }
        return;
    }
    const Channels<width> m = load_channels<width>(mean + c);
    for (int64_t i = first; i < rows; i += step) {
        Channels<width> d = load_channels<width>(dy + i * C + c), out = load_channels<width>(dx + i * C + c),
                        v = load_channels<width>(x + i * C + c);
        for (int j = 0; j < width; j++)
            out.v[j] += k.v[j] * d.v[j] - (v.v[j] - m.v[j]) * tilt.v[j] - level.v[j];
        store_channels<width>(dx + i * C + c, out);
    }
}

/* ---- host ---- */

struct NormaliseShape {
    dim3 grid, block;
};

static NormaliseShape normalise_shape(int64_t rows, int groups)
{
    unsigned across = 1;
    while (across < NORMALISE_THREADS && (int)across < groups) across *= 2;
    unsigned down = NORMALISE_THREADS / across;
    int64_t blocks = ceil_div(rows, (int64_t)down * NORMALISE_ROWS);
    if (blocks > 65535) blocks = 65535;
    return {dim3((unsigned)ceil_div(groups, (int)across), (unsigned)blocks), dim3(across, down)};
}

#define LAUNCH_NORMALISE(kernel, rows, C, ...)                                                                 \
    do {                                                                                                       \
        const int width = (C) % 4 ? 1 : 4;                                                                     \
        const NormaliseShape s = normalise_shape(rows, (C) / width);                                           \
        if (width == 4)                                                                                        \
            KERNEL_LAUNCH((kernel<4>), s.grid, s.block, 0, __VA_ARGS__);                                       \
        else                                                                                                   \
            KERNEL_LAUNCH((kernel<1>), s.grid, s.block, 0, __VA_ARGS__);                                       \
    } while (0)

extern "C" void batchnorm_forward_cuda(Tape *t, Node *n)
{
    const BatchnormParams p = *NODE_AS(BatchnormParams, n);
    const int64_t rows = tensor_rows(n->in[0]);
    const int C = (int)tensor_last(n->in[0]);
    const float *x = f32(n->in[0]);
    float *mean = f32(n->saved[0]), *r = f32(n->saved[1]), *running_mean = f32(n->in[3]),
          *running_var = f32(n->in[4]);
    if (p.train) reduce_columns(t, BatchnormStatistics{x, mean, r, running_mean, running_var, p, C}, rows, C);
    LAUNCH_NORMALISE(batchnorm_forward_kernel, rows, C, x, f32(n->in[1]), f32(n->in[2]), running_mean,
                     p.train ? NULL : running_var, mean, r, f32(n->out), rows, C, p.eps);
}

extern "C" void batchnorm_backward_cuda(Tape *t, Node *n)
{
    const bool train = NODE_AS(BatchnormParams, n)->train;
    const int64_t rows = tensor_rows(n->in[0]);
    const int C = (int)tensor_last(n->in[0]);
    Tensor *dx = n->in[0]->grad, *dgamma = n->in[1]->grad, *dbeta = n->in[2]->grad;
    const float *x = f32(n->in[0]), *dy = f32(n->out->grad), *mean = f32(n->saved[0]), *r = f32(n->saved[1]);
    float2 *slope = train && dx ? (float2 *)scratch(t, (size_t)C * sizeof *slope) : NULL;
    if (slope || dgamma || dbeta)
        reduce_columns(t,
                       BatchnormGradients{x, dy, mean, r, dgamma ? f32(dgamma) : NULL,
                                          dbeta ? f32(dbeta) : NULL, slope, (float)rows, C},
                       rows, C);
    if (dx)
        LAUNCH_NORMALISE(batchnorm_backward_kernel, rows, C, x, dy, f32(n->in[1]), mean, r, slope, f32(dx),
                         rows, C);
}
