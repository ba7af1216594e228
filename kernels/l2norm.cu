/* y = x / |x|, dx = (dy - y (y . dy)) / |x|, a row of zeros gives zeros: a warp or a block a row (rows.cuh).
 * Squares are those of x times a power of two near 1 / max |x|, so that none leaves f32's range.
 *
 * Bytes: forward 8 an element (bf16 4), backward 16 (14); further walks hit a cache. Floor: bytes over
 * bandwidth. Log: never timed on a GPU. */
#include "kernels/rows.cuh"

template <int threads, class T>
__global__ void ROW_BOUNDS(threads) l2norm_forward_kernel(const T *__restrict__ x, T *__restrict__ y,
                                                          float *__restrict__ saved, int64_t rows, int C)
{
    int64_t row = row_index<threads>();
    if (row >= rows) return;
    x += row * C;
    float top = 0, square = 0;
    row_read<threads>(
        C, [&](int, float v) { top = fmaxf(top, fabsf(v)); }, x);
    const float unit = power_near(row_max<threads>(top));
    row_read<threads>(
        C, [&](int, float v) { square += v * unit * (v * unit); }, x);
    const float length = sqrtf(row_sum<threads>(square)), k = length > 0 ? 1 / length : 0;
    row_write<threads, false>(
        y + row * C, C, [&](int, float v) { return v * unit * k; }, x);
    if (threadIdx.x % threads == 0) saved[row] = length / unit;
}

template <int threads, class T>
__global__ void ROW_BOUNDS(threads)
    l2norm_backward_kernel(const T *__restrict__ y, const float *__restrict__ dy,
                           const float *__restrict__ saved, float *__restrict__ dx, int64_t rows, int C)
{
    int64_t row = row_index<threads>();
    if (row >= rows || saved[row] == 0) return; /* all of the row's threads */
    y += row * C;
    dy += row * C;
    float sum = 0;
    row_read<threads>(
        C, [&](int, float v, float d) { sum += v * d; }, y, dy);
    const float along = row_sum<threads>(sum), length = saved[row];
    row_write<threads, true>(
        dx + row * C, C, [&](int, float v, float d) { return (d - along * v) / length; }, y, dy);
}

extern "C" void l2norm_forward_cuda(Tape *, Node *n)
{
    int64_t rows = tensor_rows(n->in[0]);
    int C = (int)tensor_last(n->in[0]);
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        LAUNCH_ROWS(l2norm_forward_kernel, T, rows, C, elements<T>(n->in[0]), elements<T>(n->out),
                    f32(n->saved[0]), rows, C);
    });
}

extern "C" void l2norm_backward_cuda(Tape *, Node *n)
{
    if (!n->in[0]->grad) return;
    int64_t rows = tensor_rows(n->in[0]);
    int C = (int)tensor_last(n->in[0]);
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        LAUNCH_ROWS(l2norm_backward_kernel, T, rows, C, elements<T>(n->out), f32(n->out->grad),
                    f32(n->saved[0]), f32(n->in[0]->grad), rows, C);
    });
}
