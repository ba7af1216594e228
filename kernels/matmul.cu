/* y = op(a) op(b) (+ bias) (+ LoRA), as kernels/matmul.c: the same products, on gemm.cu's kernels.
 *
 * Mapping, bytes, floor, log: gemm.cuh. Products of a batch are one launch; only where they all add into one
 * shared gradient (a transposed, b two-dim) they go one after the other. */
#include "kernels/elements.cuh"
#include "kernels/gemm.cuh"
#include "kernels/lora.cuh"
#include "kernels/matmul.h"

extern "C" void matmul_forward_cuda(Tape *t, Node *n)
{
    MatmulDims d = matmul_dims(n);
    GemmOutput y(f32(n->out), d.N, false, 1, n->in[2] ? f32(n->in[2]) : NULL, d.step);
    gemm_cuda(t, d.M, d.N, d.K, {f32(n->in[0]), d.ta ? d.M : d.K, d.ta, d.a_step},
              {f32(n->in[1]), d.tb ? d.K : d.N, d.tb, d.b_step}, y, d.batch);
    lora_forward_cuda(t, n);
}

static void backward_a(Tape *t, const MatmulDims &d, const float *dy, const float *b, float *da)
{
    GemmMatrix by = {b, d.tb ? d.K : d.N, !d.tb, d.b_step};
    if (d.ta) { /* (K,M) += op(b) dy^T */
        by.transposed = d.tb;
        gemm_cuda(t, d.K, d.M, d.N, by, {dy, d.N, true, d.step}, GemmOutput(da, d.M, true, 1, NULL, d.a_step),
                  d.batch);
    } else {
        gemm_cuda(t, d.M, d.K, d.N, {dy, d.N, false, d.step}, by, GemmOutput(da, d.K, true, 1, NULL, d.a_step),
                  d.batch);
    }
}

static void backward_b(Tape *t, const MatmulDims &d, const float *dy, const float *a, float *db)
{
    int64_t rounds = d.b_step ? 1 : d.batch, products = d.b_step ? d.batch : 1;
    GemmRoom room(t);
    for (int64_t i = 0; i < rounds; i++) {
        GemmMatrix x = {a + i * d.a_step, d.ta ? d.M : d.K, d.ta, d.a_step};
        GemmMatrix g = {dy + i * d.step, d.N, d.tb, d.step};
        if (d.tb) { /* (N,K) += dy^T op(a) */
            gemm_cuda(room, d.N, d.K, d.M, g, x, GemmOutput(db, d.K, true, 1, NULL, d.b_step), products);
        } else {
            x.transposed = !d.ta;
            gemm_cuda(room, d.K, d.N, d.M, x, g, GemmOutput(db, d.N, true, 1, NULL, d.b_step), products);
        }
    }
}

extern "C" void matmul_backward_cuda(Tape *t, Node *n)
{
    MatmulDims d = matmul_dims(n);
    const Tensor *a = n->in[0], *b = n->in[1], *bias = n->in[2];
    const float *dy = f32(n->out->grad);
    if (a->grad) backward_a(t, d, dy, f32(b), f32(a->grad));
    if (b->grad) backward_b(t, d, dy, f32(a), f32(b->grad));
    if (bias && bias->grad) gemm_column_sums(t, f32(bias->grad), dy, d.batch * d.M, d.N);
    lora_backward_cuda(t, n);
}
