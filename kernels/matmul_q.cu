/* y = x W^T (+ bias) (+ LoRA) with a 4-bit frozen W (N,K), and dx += dy W (+ LoRA) from the same codes. What
 * LoRA adds goes into y and dx as they are written (LoraTerm).
 *
 * This file: the op, and the product for whatever the tuned kernels do not take: any format, any K, weights
 * decoded one by one. Mapping there: a block makes 32 x 32 of the output, a thread four rows of one column; 32
 * of the depth at a time lie in shared memory, each weight decoded once a block. Bytes: x N/32 times, codes
 * M/32 times. Floor: 2 M N K over the f32 rate. Log: never timed on a GPU. */
#include "kernels/gemm.cuh"
#include "kernels/matmul_q.cuh"

enum { SIDE = 32, ROWS = 8 /* of threads */, EACH = SIDE / ROWS };

/* out[m,j] = sum over d of in[m,d] W(j,d) (+ bias[j]) (+ lora), in (M,D), out (M,J), W(j,d) = weight j D + d;
 * backward: weight d J + j, and added to out. */
template <class Format, bool backward, class T>
__global__ void __launch_bounds__(SIDE *ROWS)
    matmul_q_any_kernel(T *__restrict__ out, const T *__restrict__ in, QuantWeight w,
                        const float *__restrict__ bias, LoraTerm lora, int64_t M, int64_t J, int64_t D)
{
    SHARED_ARRAY(float, xs, [SIDE][SIDE + 1]);
    SHARED_ARRAY(float, ws, [SIDE][SIDE + 1]);
    int64_t m0 = (int64_t)blockIdx.x * SIDE, j0 = (int64_t)blockIdx.y * SIDE;
    int across = threadIdx.x, down = threadIdx.y;
    float acc[EACH] = {};
    for (int64_t d0 = 0; d0 < D; d0 += SIDE) {
        for (int i = down; i < SIDE; i += ROWS) {
            xs[i][across] = m0 + i < M && d0 + across < D ? number(in[(m0 + i) * D + d0 + across]) : 0;
            /* Threads across run along the codes. */
            int64_t j = j0 + (backward ? across : i), d = d0 + (backward ? i : across);
            float value = j < J && d < D ? quant_element<Format>(w, backward ? d * J + j : j * D + d) : 0;
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
        T *p = out + m * J + j;
        if (backward)
            put(p, number(*p) + (acc[e] + lora.dx(m, j)));
        else
            put(p, acc[e] + ((bias ? bias[j] : 0) + lora.y(m, j)));
    }
}

template <bool backward, class T> static void product_any(const MatmulQ<T> &q)
{
    int64_t J = q.w->dim[backward], D = q.w->dim[!backward];
    dim3 grid((unsigned)ceil_div(q.M, (int64_t)SIDE), (unsigned)ceil_div(J, (int64_t)SIDE));
    quant_dispatch(q.w->dtype, [&](auto format) {
        KERNEL_LAUNCH((matmul_q_any_kernel<decltype(format), backward, T>), grid, dim3(SIDE, ROWS), 0, q.out,
                      q.in, quant_weight(q.w), q.bias, q.lora, q.M, J, D);
    });
}

/* Whether the tuned kernels take it. They count blocks in int, and 32 rows are one of at most 65535 in a grid.
 */
static bool tuned(const Tensor *w, int64_t M, const void *in, const void *out)
{
    return w->dim[1] % QUANT_BLOCK == 0 && ((uintptr_t)in | (uintptr_t)out) % 16 == 0 && M <= 65535 * 32 &&
           tensor_len(w) / QUANT_BLOCK <= INT32_MAX / 2;
}

static void forward(const MatmulQ<float> &q)
{
    if (q.M <= MATMUL_Q_FEW)
        matmul_q_few(q);
    else
        matmul_q_many(q);
}

/* Tiles of many rows where they keep half of the processors busy. */
static void forward(const MatmulQ<Bf16> &q)
{
    if (q.M <= 64 || 2 * matmul_q_tiles_blocks(q.M, q.w->dim[0]) < gemm_processors())
        matmul_q_many(q);
    else
        matmul_q_tiles(q);
}

extern "C" void matmul_q_forward_cuda(Tape *t, Node *n)
{
    LoraTerm lora = lora_forward_term(t, n);
    with_type(n->in[0], [&](auto type) {
        typedef decltype(type) T;
        MatmulQ<T> q = {n->in[1], elements<T>(n->in[0]), n->in[2] ? f32(n->in[2]) : NULL,
                        lora,     tensor_rows(n->in[0]), elements<T>(n->out)};
        if (tuned(q.w, q.M, q.in, q.out))
            forward(q);
        else
            product_any<false>(q);
    });
}

static void backward(Tape *t, const MatmulQ<float> &q, bool bf16)
{
    int64_t N = q.w->dim[0];
    if (!tuned(q.w, q.M, q.in, q.out) || N % (bf16 ? 8 : 4))
        product_any<true>(q);
    else if (bf16)
        matmul_q_tiles_dx({q.w, gemm_rounded(t, q.in, q.M * N), NULL, q.lora, q.M, q.out});
    else
        matmul_q_dx(q);
}

extern "C" void matmul_q_backward_cuda(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *w = n->in[1], *bias = n->in[2];
    const float *dy = f32(n->out->grad);
    int64_t M = tensor_rows(x);
    LoraTerm lora = lora_backward_term(t, n);
    if (x->grad) backward(t, {w, dy, NULL, lora, M, f32(x->grad)}, x->dtype == DTYPE_bf16);
    if (bias && bias->grad) gemm_column_sums(t, f32(bias->grad), dy, M, w->dim[0]);
}
