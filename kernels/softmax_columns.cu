/* y = softmax over t of scale x[b,t,h,s] + bias[b,t,h]: a thread takes four neighbours in s (columns.cuh) down
 * all t, in two walks: the maximum so far and the sum of exponentials less it, rescaled whenever the maximum
 * rises; then the quotients. Warps move whole lines; rows lie H*S apart.
 *
 * Bytes: 8 an element (bf16 4; the second read comes from a cache). Floor: bytes over bandwidth. Log: never
 * timed on a GPU. */
#include "kernels/columns.cuh"
#include <float.h>

typedef struct ColumnsShape {
    int64_t B, T, H, S;
    float scale;
} ColumnsShape;

template <int V, class T>
__global__ void __launch_bounds__(256, 4)
    softmax_columns_kernel(const T *__restrict__ x, const float *__restrict__ bias, T *__restrict__ y,
                           ColumnsShape d)
{
    const int64_t s = first_column<V>(), step = d.H * d.S;
    if (s >= d.S) return;
    for (int64_t b = blockIdx.z; b < d.B; b += gridDim.z)
        for (int64_t h = first_row(); h < d.H; h += row_step()) {
            const int64_t at = (b * d.T * d.H + h) * d.S + s, row = b * d.T * d.H + h;
            Pack<V> top, sum;
            for (int j = 0; j < V; j++) {
                top.v[j] = -FLT_MAX; /* finite: -inf less it is -inf, not NaN */
                sum.v[j] = 0;
            }
            for (int64_t t = 0; t < d.T; t++) {
                Pack<V> v = load_f32<V>(x + at + t * step);
                const float add = bias ? bias[row + t * d.H] : 0;
#pragma unroll
                for (int j = 0; j < V; j++) {
                    const float score = v.v[j] * d.scale + add, most = fmaxf(top.v[j], score);
                    sum.v[j] = sum.v[j] * expf(top.v[j] - most) + expf(score - most);
                    top.v[j] = most;
                }
            }
            for (int64_t t = 0; t < d.T; t++) {
                Pack<V> v = load_f32<V>(x + at + t * step);
                const float add = bias ? bias[row + t * d.H] : 0;
#pragma unroll
                for (int j = 0; j < V; j++) v.v[j] = expf(v.v[j] * d.scale + add - top.v[j]) / sum.v[j];
                store(y + at + t * step, v);
            }
        }
}

extern "C" void softmax_columns_forward_cuda(Tape *, Node *n)
{
    const Tensor *x = n->in[0], *bias = n->in[1];
    const ColumnsShape d = {x->dim[0], x->dim[1], x->dim[2], x->dim[3], NODE_AS(SoftmaxParams, n)->scale};
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        const T *in = elements<T>(x);
        T *out = elements<T>(n->out);
        LAUNCH_COLUMNS_OF((softmax_columns_kernel<V, T>), wide_rows(d.S, in, out), d.B, d.H, d.S, in,
                          bias ? f32(bias) : NULL, out, d);
    });
}
