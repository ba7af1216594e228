/* y = h w + b, h = (x - mean) r, r = 1/sqrt(var + eps): a warp or a block a row (rows.cuh), which takes the
 * mean, then the variance around it, then writes. dx = r (g - mean(g) - h mean(g h)), g = w dy, likewise; dw =
 * sum over rows of dy h and db = sum of dy in one pass down the columns (column_sums.cuh).
 *
 * Bytes: forward 8 an element (bf16 4), backward 16 (14) for dx, which is added to, and 8 (6) for dw and db;
 * further walks hit a cache. Floor: bytes over bandwidth; rows of less than 128 channels leave lanes of their
 * warp idle. Log: never timed on a GPU. */
#include "kernels/column_sums.cuh"
#include "kernels/rows.cuh"

template <int threads, class T>
__global__ void ROW_BOUNDS(threads)
    layernorm_forward_kernel(const T *__restrict__ x, const float *__restrict__ w, const float *__restrict__ b,
                             T *__restrict__ y, float *__restrict__ mean, float *__restrict__ r, int64_t rows,
                             int C, float eps)
{
    int64_t row = row_index<threads>();
    if (row >= rows) return;
    x += row * C;
    float sum = 0, square = 0;
    row_read<threads>(
        C, [&](int, float v) { sum += v; }, x);
    const float m = row_sum<threads>(sum) / (float)C;
    row_read<threads>(
        C, [&](int, float v) { square += (v - m) * (v - m); }, x);
    const float k = 1 / sqrtf(row_sum<threads>(square) / (float)C + eps);
    row_write<threads, false>(
        y + row * C, C, [&](int, float v, float scale, float bias) { return (v - m) * k * scale + bias; }, x, w,
        b);
    if (threadIdx.x % threads) return;
    mean[row] = m;
    r[row] = k;
}

template <int threads, class T>
__global__ void ROW_BOUNDS(threads)
    layernorm_backward_kernel(const T *__restrict__ x, const float *__restrict__ w,
                              const float *__restrict__ dy, const float *__restrict__ mean,
                              const float *__restrict__ r, float *__restrict__ dx, int64_t rows, int C)
{
    int64_t row = row_index<threads>();
    if (row >= rows) return;
    x += row * C;
    dy += row * C;
    const float m = mean[row], k = r[row];
    float sum = 0, along = 0;
    row_read<threads>(
        C,
        [&](int, float v, float scale, float d) {
            sum += scale * d;
            along += scale * d * (v - m);
        },
        x, w, dy);
    const float level = row_sum<threads>(sum) / (float)C, slope = row_sum<threads>(along) * k * k / (float)C;
    row_write<threads, true>(
        dx + row * C, C,
        [&](int, float v, float scale, float d) { return k * (scale * d - level - (v - m) * slope); }, x, w,
        dy);
}

/* dw, db: NULL where not wanted. */
template <class T> struct LayernormWeights {
    struct Sum {
        float w, b;
        __device__ void merge(const Sum &s)
        {
            w += s.w;
            b += s.b;
        }
    };
    const T *x;
    const float *dy, *mean, *r;
    float *dw, *db;
    int C;

    __device__ void add(Sum &s, int64_t row, int c) const
    {
        float d = dy[row * C + c];
        s.w += d * ((number(x[row * C + c]) - mean[row]) * r[row]);
        s.b += d;
    }
    __device__ void finish(int c, const Sum &s) const
    {
        if (dw) dw[c] += s.w;
        if (db) db[c] += s.b;
    }
};

extern "C" void layernorm_forward_cuda(Tape *, Node *n)
{
    int64_t rows = tensor_rows(n->in[0]);
    int C = (int)tensor_last(n->in[0]);
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        LAUNCH_ROWS(layernorm_forward_kernel, T, rows, C, elements<T>(n->in[0]), f32(n->in[1]), f32(n->in[2]),
                    elements<T>(n->out), f32(n->saved[0]), f32(n->saved[1]), rows, C,
                    NODE_AS(LayernormParams, n)->eps);
    });
}

extern "C" void layernorm_backward_cuda(Tape *t, Node *n)
{
    int64_t rows = tensor_rows(n->in[0]);
    int C = (int)tensor_last(n->in[0]);
    Tensor *dx = n->in[0]->grad, *dw = n->in[1]->grad, *db = n->in[2]->grad;
    const float *dy = f32(n->out->grad), *mean = f32(n->saved[0]), *r = f32(n->saved[1]);
    with_type(n->in[0], [&](auto type) {
        typedef decltype(type) T;
        const T *x = elements<T>(n->in[0]);
        if (dx)
            LAUNCH_ROWS(layernorm_backward_kernel, T, rows, C, x, f32(n->in[1]), dy, mean, r, f32(dx), rows, C);
        if (dw || db)
            reduce_columns(t, LayernormWeights<T>{x, dy, mean, r, dw ? f32(dw) : NULL, db ? f32(db) : NULL, C},
                           rows, C);
    });
}
