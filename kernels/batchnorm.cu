/* y = (x - mean) r gamma + beta per channel, the last dim. Training: mean and variance down the columns
 * (column_sums.cuh): a thread's rows by Welford's method, threads and parts merged pairwise by Chan's; then y.
 * Otherwise the running statistics, and y alone. Backward: sums of dy and dy (x - mean) down the columns, then
 * dx = gamma r (dy - mean(dy) - (x - mean) r^2 mean(dy (x - mean))), or gamma r dy.
 *
 * Mapping of y and dx (columns.cuh): a thread keeps the factors of four neighbouring channels, or of one, and
 * strides over rows.
 *
 * Bytes an element: forward 12 (bf16 6), 8 (4) with running statistics; backward 24 (20) with dx, or 12 without
 * statistics of the batch. Floor: bytes over bandwidth; 4 less each where the second read hits the L2. Log:
 * never timed on a GPU.
 */
#include "kernels/column_sums.cuh"
#include "kernels/columns.cuh"

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

/* Of x less its first row: a mean far from 0 costs no digits. */
template <class T> struct BatchnormStatistics {
    typedef Moments Sum;
    const T *x;
    float *mean, *r, *running_mean, *running_var;
    BatchnormParams p;
    int C;

    __device__ void add(Sum &s, int64_t row, int c) const { s.add(number(x[row * C + c]) - number(x[c])); }
    __device__ void finish(int c, const Sum &s) const
    {
        const float var = s.m2 / s.n, unbiased = s.n > 1 ? s.m2 / (s.n - 1) : var, keep = 1 - p.momentum;
        const float m = number(x[c]) + s.mean;
        mean[c] = m;
        r[c] = 1 / sqrtf(var + p.eps);
        running_mean[c] = keep * running_mean[c] + p.momentum * m;
        running_var[c] = keep * running_var[c] + p.momentum * unbiased;
    }
};

/* slope (C,2): what dx takes of (x - mean) and of 1, before gamma r; NULL where dx is not wanted. */
template <class T> struct BatchnormGradients {
    struct Sum {
        float level, slope;
        __device__ void merge(const Sum &s)
        {
            level += s.level;
            slope += s.slope;
        }
    };
    const T *x;
    const float *dy, *mean, *r;
    float *dgamma, *dbeta;
    float2 *slope;
    float rows;
    int C;

    __device__ void add(Sum &s, int64_t row, int c) const
    {
        float d = dy[row * C + c];
        s.level += d;
        s.slope += d * (number(x[row * C + c]) - mean[c]);
    }
    __device__ void finish(int c, const Sum &s) const
    {
        if (dgamma) dgamma[c] += s.slope * r[c];
        if (dbeta) dbeta[c] += s.level;
        if (slope) slope[c] = {s.slope * r[c] * r[c] / rows, s.level / rows};
    }
};

/* ---- row by row ---- */

/* var: the running variance, from which r (saved) is made; NULL: mean and r are there. */
template <int width, class T>
__global__ void __launch_bounds__(COLUMNS)
    batchnorm_forward_kernel(const T *__restrict__ x, const float *__restrict__ gamma,
                             const float *__restrict__ beta, const float *running_mean, const float *var,
                             float *mean, float *r, T *__restrict__ y, int64_t rows, int C, float eps)
{
    const int c = (int)first_column<width>();
    if (c >= C) return;
    const int64_t first = first_row(), step = row_step();
    Pack<width> m, k, b = load<width>(beta + c), scale;
    m = load<width>(var ? running_mean + c : mean + c);
    k = load<width>(var ? var + c : r + c);
    if (var)
        for (int j = 0; j < width; j++) k.v[j] = 1 / sqrtf(k.v[j] + eps);
    if (var && first == 0) {
        store(mean + c, m);
        store(r + c, k);
    }
    scale = load<width>(gamma + c);
    for (int j = 0; j < width; j++) k.v[j] *= scale.v[j];
#pragma unroll 4
    for (int64_t i = first; i < rows; i += step) {
        Pack<width> out = load_f32<width>(x + i * C + c);
        for (int j = 0; j < width; j++) out.v[j] = (out.v[j] - m.v[j]) * k.v[j] + b.v[j];
        store(y + i * C + c, out);
    }
}

/* slope NULL: the statistics did not depend on x. */
template <int width, class T>
__global__ void __launch_bounds__(COLUMNS)
    batchnorm_backward_kernel(const T *__restrict__ x, const float *__restrict__ dy,
                              const float *__restrict__ gamma, const float *__restrict__ mean,
                              const float *__restrict__ r, const float2 *__restrict__ slope,
                              float *__restrict__ dx, int64_t rows, int C)
{
    const int c = (int)first_column<width>();
    if (c >= C) return;
    const int64_t first = first_row(), step = row_step();
    Pack<width> k, tilt, level;
    for (int j = 0; j < width; j++) {
        k.v[j] = gamma[c + j] * r[c + j];
        tilt.v[j] = slope ? k.v[j] * slope[c + j].x : 0;
        level.v[j] = slope ? k.v[j] * slope[c + j].y : 0;
    }
    if (!slope) {
        for (int64_t i = first; i < rows; i += step) {
            Pack<width> d = load<width>(dy + i * C + c), out = load<width>(dx + i * C + c);
            for (int j = 0; j < width; j++) out.v[j] += k.v[j] * d.v[j];
            store(dx + i * C + c, out);
        }
        return;
    }
    const Pack<width> m = load<width>(mean + c);
    for (int64_t i = first; i < rows; i += step) {
        Pack<width> d = load<width>(dy + i * C + c), out = load<width>(dx + i * C + c),
                    v = load_f32<width>(x + i * C + c);
        for (int j = 0; j < width; j++)
            out.v[j] += k.v[j] * d.v[j] - (v.v[j] - m.v[j]) * tilt.v[j] - level.v[j];
        store(dx + i * C + c, out);
    }
}

/* ---- host ---- */

extern "C" void batchnorm_forward_cuda(Tape *t, Node *n)
{
    const BatchnormParams p = *NODE_AS(BatchnormParams, n);
    const int64_t rows = tensor_rows(n->in[0]);
    const int C = (int)tensor_last(n->in[0]);
    float *mean = f32(n->saved[0]), *r = f32(n->saved[1]), *running_mean = f32(n->in[3]),
          *running_var = f32(n->in[4]);
    const float *gamma = f32(n->in[1]), *beta = f32(n->in[2]), *var = p.train ? NULL : running_var;
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        const T *x = elements<T>(n->in[0]);
        T *y = elements<T>(n->out);
        if (p.train)
            reduce_columns(t, BatchnormStatistics<T>{x, mean, r, running_mean, running_var, p, C}, rows, C);
        LAUNCH_COLUMNS_OF((batchnorm_forward_kernel<V, T>),
                          wide_rows(C, x, gamma, beta, running_mean, var, mean, r, y), 1, rows, C, x, gamma,
                          beta, running_mean, var, mean, r, y, rows, C, p.eps);
    });
}

extern "C" void batchnorm_backward_cuda(Tape *t, Node *n)
{
    const bool train = NODE_AS(BatchnormParams, n)->train;
    const int64_t rows = tensor_rows(n->in[0]);
    const int C = (int)tensor_last(n->in[0]);
    Tensor *dx = n->in[0]->grad, *dgamma = n->in[1]->grad, *dbeta = n->in[2]->grad;
    const float *dy = f32(n->out->grad), *mean = f32(n->saved[0]), *r = f32(n->saved[1]);
    float2 *slope = train && dx ? (float2 *)scratch(t, (size_t)C * sizeof *slope) : NULL;
    const float *gamma = f32(n->in[1]);
    with_type(n->in[0], [&](auto type) {
        typedef decltype(type) T;
        const T *x = elements<T>(n->in[0]);
        if (slope || dgamma || dbeta)
            reduce_columns(t,
                           BatchnormGradients<T>{x, dy, mean, r, dgamma ? f32(dgamma) : NULL,
                                                 dbeta ? f32(dbeta) : NULL, slope, (float)rows, C},
                           rows, C);
        if (dx)
            LAUNCH_COLUMNS_OF((batchnorm_backward_kernel<V, T>), wide_rows(C, x, dy, mean, f32(dx)), 1, rows, C,
                              x, dy, gamma, mean, r, slope, f32(dx), rows, C);
    });
}
