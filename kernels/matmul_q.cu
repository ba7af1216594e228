/* y = x W^T (+ bias) (+ LoRA) with a 4-bit frozen W (N,K), and dx += dy W from the same codes.
 *
 * This file: the op, and the product for whatever the tuned kernels do not take: any format, any K, weights
 * decoded one by one. Mapping there: a block makes 32 x 32 of the output, a thread four rows of one column; 32
 * of the depth at a time lie in shared memory, each weight decoded once a block. Bytes: x N/32 times, codes
 * M/32 times. Floor: 2 M N K over the f32 rate. Log: never timed on a GPU. */
#include "kernels/elements.cuh"
#include "kernels/gemm.cuh"
#include "kernels/lora.cuh"
#include "kernels/matmul_q.cuh"

enum { SIDE = 32, ROWS = 8 /* of threads */, EACH = SIDE / ROWS };

/* out[m,j] = sum over d of x[m,d] W(j,d) (+ bias[j]), x (M,D), out (M,J), W(j,d) = weight j D + d; backward:
 * weight d J + j, and added to out. */
template <class Format, bool backward>
__global__ void __launch_bounds__(SIDE *ROWS)
    matmul_q_any_kernel(float *__restrict__ out, const float *__restrict__ x, QuantWeight w,
                        const float *__restrict__ bias, int64_t M, int64_t J, int64_t D)
{
    SHARED_ARRAY(float, xs, [SIDE][SIDE + 1]);
    SHARED_ARRAY(float, ws, [SIDE][SIDE + 1]);
    int64_t m0 = (int64_t)blockIdx.x * SIDE, j0 = (int64_t)blockIdx.y * SIDE;
    int across = threadIdx.x, down = threadIdx.y;
    float acc[EACH] = {};
    for (int64_t d0 = 0; d0 < D; d0 += SIDE) {
        for (int i = down; i < SIDE; i += ROWS) {
            xs[i][across] = m0 + i < M && d0 + across < D ? x[(m0 + i) * D + d0 + across] : 0;
            /* Threads across run along the codes. */
            int64_t j = j0 + (backward ? across : i), d = d0 + (backward ? i : across);
            float value = j < J && d < D ? Format::element(w, backward ? d * J + j : j * D + d) : 0;
            ws[backward ? i : across][backward ? across : i] = value;
        }
        __syncthreads();
        for (int d = 0; d < SIDE; d++)
#pragma unroll
            for (int e = 0; e < EACH; e++) acc[e] += xs[down + e * ROWS][d] * ws[d][across];
        __syncthreads();
    }
    int64_t j = j0 + across;
    if (j >= J) return;
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        int64_t m = m0 + down + e * ROWS;
        if (m >= M) break;
        float *p = out + m * J + j;
        *p = acc[e] + (backward ? *p : bias ? bias[j] : 0);
    }
}

template <bool backward>
static void product_any(const Tensor *w, const float *x, const float *bias, int64_t M, float *out)
{
    int64_t J = w->dim[backward], D = w->dim[!backward];
    dim3 grid((unsigned)ceil_div(M, (int64_t)SIDE), (unsigned)ceil_div(J, (int64_t)SIDE));
    quant_dispatch(w->dtype, [&](auto format) {
        KERNEL_LAUNCH((matmul_q_any_kernel<decltype(format), backward>), grid, dim3(SIDE, ROWS), 0, out, x,
                      quant_weight(w), bias, M, J, D);
    });
}

/* Whether the tuned kernels take it. They count blocks in int, and 32 rows are one of at most 65535 in a grid.
 */
static bool tuned(const Tensor *w, int64_t M, const void *in, const void *out)
{
    return w->dim[1] % QUANT_BLOCK == 0 && ((uintptr_t)in | (uintptr_t)out) % 16 == 0 && M <= 65535 * 32 &&
           tensor_len(w) / QUANT_BLOCK <= INT32_MAX / 2;
}

extern "C" void matmul_q_forward_cuda(Tape *t, Node *n)
{
    const Tensor *w = n->in[1];
    const float *x = f32(n->in[0]), *bias = n->in[2] ? f32(n->in[2]) : NULL;
    float *y = f32(n->out);
    int64_t M = tensor_rows(n->in[0]);
    if (!tuned(w, M, x, y))
        product_any<false>(w, x, bias, M, y);
    else
        (M <= MATMUL_Q_FEW ? matmul_q_few : matmul_q_many)(w, x, bias, M, y);
    lora_forward_cuda(t, n);
}

extern "C" void matmul_q_backward_cuda(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *w = n->in[1], *bias = n->in[2];
    const float *dy = f32(n->out->grad);
    int64_t M = tensor_rows(x), N = w->dim[0];
    if (x->grad) {
        float *dx = f32(x->grad);
        if (!tuned(w, M, dy, dx) || N % 4)
            product_any<true>(w, dy, NULL, M, dx);
        else
            matmul_q_dx(w, dy, M, dx);
    }
    if (bias && bias->grad) gemm_column_sums(t, f32(bias->grad), dy, M, N);
    lora_backward_cuda(t, n);
}
