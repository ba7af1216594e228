/* y = r x w, r = 1/sqrt(mean(x^2) + eps): a warp or a block a row (rows.cuh), which sums and then writes.
 * dx = r (w dy - x r^2 mean(w dy x)) likewise; dw = sum over rows of dy x r down the columns (column_sums.cuh).
 *
 * Bytes: forward 8 an element (bf16 4), backward 16 (14) for dx, which is added to, and 8 (6) for dw; second
 * walks hit a cache.
 * Floor: bytes over bandwidth. Log: never timed on a GPU. */
#include "kernels/column_sums.cuh"
#include "kernels/rows.cuh"

template <int threads, class T>
__global__ void ROW_BOUNDS(threads)
    rmsnorm_forward_kernel(const T *__restrict__ x, const float *__restrict__ w, T *__restrict__ y,
                           float *__restrict__ saved, int64_t rows, int C, float eps)
{
    int64_t row = row_index<threads>();
    if (row >= rows) return;
    x += row * C;
    float square = 0;
    row_read<threads>(
        C, [&](int, float v) { square += v * v; }, x);
    const float r = 1 / sqrtf(row_sum<threads>(square) / (float)C + eps);
    row_write<threads, false>(
        y + row * C, C, [&](int, float v, float k) { return v * r * k; }, x, w);
    if (threadIdx.x % threads == 0) saved[row] = r;
}

template <int threads, class T>
__global__ void ROW_BOUNDS(threads)
    rmsnorm_backward_kernel(const T *__restrict__ x, const float *__restrict__ w, const float *__restrict__ dy,
                            const float *__restrict__ saved, float *__restrict__ dx, int64_t rows, int C)
{
    int64_t row = row_index<threads>();
    if (row >= rows) return;
    x += row * C;
    dy += row * C;
    float sum = 0;
    row_read<threads>(
        C, [&](int, float v, float k, float d) { sum += v * k * d; }, x, w, dy);
    const float r = saved[row], along = row_sum<threads>(sum) * r * r / (float)C;
    row_write<threads, true>(
        dx + row * C, C, [&](int, float v, float k, float d) { return r * (k * d - along * v); }, x, w, dy);
}

template <class T> struct RmsnormWeight {
    struct Sum {
        float v;
        __device__ void merge(const Sum &s) { v += s.v; }
    };
    const T *x;
    const float *dy, *saved;
    float *dw;
    int C;

    __device__ void add(Sum &s, int64_t row, int c) const
    {
        s.v += dy[row * C + c] * number(x[row * C + c]) * saved[row];
    }
    __device__ void finish(int c, const Sum &s) const { dw[c] += s.v; }
};

extern "C" void rmsnorm_forward_cuda(Tape *, Node *n)
{
    int64_t rows = tensor_rows(n->in[0]);
    int C = (int)tensor_last(n->in[0]);
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        LAUNCH_ROWS(rmsnorm_forward_kernel, T, rows, C, elements<T>(n->in[0]), f32(n->in[1]),
                    elements<T>(n->out), f32(n->saved[0]), rows, C, NODE_AS(RmsnormParams, n)->eps);
    });
}

extern "C" void rmsnorm_backward_cuda(Tape *t, Node *n)
{
    int64_t rows = tensor_rows(n->in[0]);
    int C = (int)tensor_last(n->in[0]);
    const float *dy = f32(n->out->grad), *saved = f32(n->saved[0]);
    with_type(n->in[0], [&](auto type) {
        typedef decltype(type) T;
        const T *x = elements<T>(n->in[0]);
        if (n->in[0]->grad)
            LAUNCH_ROWS(rmsnorm_backward_kernel, T, rows, C, x, f32(n->in[1]), dy, saved, f32(n->in[0]->grad),
                        rows, C);
        if (n->in[1]->grad) reduce_columns(t, RmsnormWeight<T>{x, dy, saved, f32(n->in[1]->grad), C}, rows, C);
    });
}
