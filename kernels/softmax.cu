/* y = softmax(scale x) over rows: a warp or a block a row (rows.cuh), in two walks. The first keeps, in each
 * thread, the maximum so far and the sum of exponentials less it, rescaled whenever the maximum rises; the
 * second writes. dx = scale y (dy - sum dy y), likewise. A row of y that was rounded to bf16 does not sum up to
 * 1: with sum dy y / sum y its dx is that of neighbouring logits.
 *
 * Bytes: forward 8 an element (bf16 4; the second read comes from a cache), backward 16 (14). Floor: bytes over
 * bandwidth; fewer long rows than multiprocessors leave the others idle. Log: never timed on a GPU. */
#include "kernels/rows.cuh"
#include <float.h>

template <int threads, class T>
__global__ void ROW_BOUNDS(threads)
    softmax_forward_kernel(const T *__restrict__ x, T *__restrict__ y, int64_t rows, int C, float scale)
{
    int64_t row = row_index<threads>();
    if (row >= rows) return;
    x += row * C;
    y += row * C;
    float top = -FLT_MAX, sum = 0; /* finite: -inf less it is -inf, not NaN */
    row_read<threads>(
        C,
        [&](int, float v) {
            v *= scale;
            if (v > top) {
                sum = sum * expf(top - v) + 1;
                top = v;
            } else {
                sum += expf(v - top);
            }
        },
        x);
    float most = row_max<threads>(top);
    sum = row_sum<threads>(sum * expf(top - most));
    const float share = 1 / sum;
    row_write<threads, false>(
        y, C, [&](int, float v) { return expf(v * scale - most) * share; }, x);
}

template <int threads, class T>
__global__ void ROW_BOUNDS(threads)
    softmax_backward_kernel(const T *__restrict__ y, const float *__restrict__ dy, float *__restrict__ dx,
                            int64_t rows, int C, float scale)
{
    int64_t row = row_index<threads>();
    if (row >= rows) return;
    y += row * C;
    dy += row * C;
    float sum = 0, all = 0;
    auto add = [&](int, float v, float d) {
        sum += v * d;
        all += v;
    };
    row_read<threads>(C, add, y, dy);
    sum = row_sum<threads>(sum);
    if (sizeof(T) < sizeof(float)) sum /= row_sum<threads>(all);
    row_write<threads, true>(
        dx + row * C, C, [&](int, float v, float d) { return scale * v * (d - sum); }, y, dy);
}

extern "C" void softmax_forward_cuda(Tape *, Node *n)
{
    int64_t rows = tensor_rows(n->out);
    int C = (int)tensor_last(n->out);
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        LAUNCH_ROWS(softmax_forward_kernel, T, rows, C, elements<T>(n->in[0]), elements<T>(n->out), rows, C,
                    NODE_AS(SoftmaxParams, n)->scale);
    });
}

extern "C" void softmax_backward_cuda(Tape *, Node *n)
{
    if (!n->in[0]->grad) return;
    int64_t rows = tensor_rows(n->out);
    int C = (int)tensor_last(n->out);
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        LAUNCH_ROWS(softmax_backward_kernel, T, rows, C, elements<T>(n->out), f32(n->out->grad),
                    f32(n->in[0]->grad), rows, C, NODE_AS(SoftmaxParams, n)->scale);
    });
}
