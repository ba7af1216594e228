/* The low-rank term (kernels/lora.h) in its plainest form: a thread an element of each product. */
#ifndef KERNELS_MATMUL_Q_LORA_CUH
#define KERNELS_MATMUL_Q_LORA_CUH
#include "kernels/cuda.cuh"
#include "tensor/rng.h"

/* Element (i,k) at p[i row + k step]. */
struct LoraMatrix {
    const float *p;
    int64_t row, step;
};

/* c[i,j] = (add: c[i,j] +) alpha sum_k a[i,k] b[j,k], c (I,J). drop: element e of x is multiplied by its mask,
 * where x is a (1) or b (2), or is the result (3). */
__global__ void __launch_bounds__(256)
    matmul_q_lora_kernel(float *c, LoraMatrix a, LoraMatrix b, int64_t I, int64_t J, int64_t K, float alpha,
                         bool add, int drop, MatmulParams p)
{
    int64_t at = (int64_t)blockIdx.x * 256 + threadIdx.x, i = at / J, j = at % J;
    if (i >= I) return;
    float sum = 0;
    for (int64_t k = 0; k < K; k++) {
        int64_t ea = i * a.row + k * a.step, eb = j * b.row + k * b.step;
        float mask = drop == 1   ? dropout_scale(p.seed, p.call, (uint64_t)ea, p.dropout)
                     : drop == 2 ? dropout_scale(p.seed, p.call, (uint64_t)eb, p.dropout)
                                 : 1;
        sum += mask * a.p[ea] * b.p[eb];
    }
    if (drop == 3) sum *= dropout_scale(p.seed, p.call, (uint64_t)at, p.dropout);
    c[at] = (add ? c[at] : 0) + alpha * sum;
}

static inline void lora_product(float *c, LoraMatrix a, LoraMatrix b, int64_t I, int64_t J, int64_t K,
                                float alpha, bool add, int drop, const MatmulParams *p)
{
    KERNEL_LAUNCH(matmul_q_lora_kernel, (unsigned)ceil_div(I * J, (int64_t)256), 256, 0, c, a, b, I, J, K,
                  alpha, add, p->dropout > 0 ? drop : 0, *p);
}

static inline void lora_forward_cuda(Tape *, Node *n)
{
    if (!n->in[3]) return;
    const MatmulParams *p = NODE_AS(MatmulParams, n);
    const float *x = (const float *)n->in[0]->data, *A = (const float *)n->in[3]->data,
                *B = (const float *)n->in[4]->data;
    float *u = (float *)n->saved[0]->data;
    int64_t M = tensor_rows(n->in[0]), K = n->in[3]->dim[1], r = n->in[3]->dim[0], N = n->in[4]->dim[0];
    lora_product(u, {x, K, 1}, {A, K, 1}, M, r, K, 1, false, 1, p);
    lora_product((float *)n->out->data, {u, r, 1}, {B, r, 1}, M, N, r, p->lora_scale, true, 0, p);
}

static inline void lora_backward_cuda(Tape *t, Node *n)
{
    if (!n->in[3]) return;
    const MatmulParams *p = NODE_AS(MatmulParams, n);
    Tensor *dx = n->in[0]->grad, *dA = n->in[3]->grad, *dB = n->in[4]->grad;
    const float *x = (const float *)n->in[0]->data, *A = (const float *)n->in[3]->data,
                *B = (const float *)n->in[4]->data, *dy = (const float *)n->out->grad->data,
                *u = (const float *)n->saved[0]->data;
    int64_t M = tensor_rows(n->in[0]), K = n->in[3]->dim[1], r = n->in[3]->dim[0], N = n->in[4]->dim[0];
    if (dB) lora_product((float *)dB->data, {dy, 1, N}, {u, 1, r}, N, r, M, p->lora_scale, true, 0, p);
    if (!dA && !dx) return;
    float *du = (float *)scratch(t, (size_t)(M * r) * sizeof *du);
    lora_product(du, {dy, N, 1}, {B, 1, r}, M, r, N, p->lora_scale, false, 0, p);
    if (dA) lora_product((float *)dA->data, {du, 1, r}, {x, 1, K}, r, K, M, 1, true, 2, p);
    if (dx) lora_product((float *)dx->data, {du, r, 1}, {A, 1, K}, M, K, r, 1, true, 3, p);
}
#endif
