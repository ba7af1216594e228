/* y = op(a) op(b) (+ bias) (+ LoRA), as kernels/matmul.c: the same products, on gemm.cu's kernels. y has a's
 * type, f32 or bf16, b its own.
 *
 * Mapping, bytes, floor, log: gemm.cuh. Products of a batch are one launch; only where they all add into one
 * shared gradient (a transposed, b two-dim) they go one after the other. Where a is bf16 all products on tensor
 * cores are: dy and an f32 b are rounded once and serve them all. */
#include "kernels/elements.cuh"
#include "kernels/gemm_thin.cuh"
#include "kernels/lora.cuh"
#include "kernels/matmul.h"

/* The LoRA term by itself, which a bf16 output must have before it is rounded. 16 of the rank at a time are
 * thin products, f32 throughout. */
static const float *term(Tape *t, Node *n, const MatmulDims &d)
{
    LoraTerm lora = lora_forward_term(t, n);
    float *y = (float *)scratch(t, (size_t)(d.M * d.N) * sizeof *y);
    for (int j = 0; j < lora.rank; j += GEMM_FEW) {
        int few = lora.rank - j < GEMM_FEW ? lora.rank - j : (int)GEMM_FEW;
        gemm_cuda(t, d.M, d.N, few, {lora.u + j, lora.rank, false, 0}, {lora.w + j, lora.rank, true, 0},
                  GemmOutput(y, d.N, j > 0, lora.scale));
    }
    return y;
}

extern "C" void matmul_forward_cuda(Tape *t, Node *n)
{
    MatmulDims d = matmul_dims(n);
    const float *bias = n->in[2] ? f32(n->in[2]) : NULL;
    GemmMatrix a(n->in[0], d.ta ? d.M : d.K, d.ta, d.a_step), b(n->in[1], d.tb ? d.K : d.N, d.tb, d.b_step);
    GemmOutput y(n->out, d.N, false, 1, bias, d.step);
    bool before = n->in[3] && y.bf16;
    if (before) y.plus = term(t, n, d);
    gemm_cuda(t, d.M, d.N, d.K, a, b, y, d.batch);
    if (!before) lora_forward_cuda(t, n);
}

static void backward_a(const GemmRoom &room, const MatmulDims &d, const float *dy, const Tensor *b, float *da)
{
    GemmMatrix by(b, d.tb ? d.K : d.N, !d.tb, d.b_step);
    if (d.ta) { /* (K,M) += op(b) dy^T */
        by.transposed = d.tb;
        gemm_cuda(room, d.K, d.M, d.N, by, {dy, d.N, true, d.step},
                  GemmOutput(da, d.M, true, 1, NULL, d.a_step), d.batch);
    } else {
        gemm_cuda(room, d.M, d.K, d.N, {dy, d.N, false, d.step}, by,
                  GemmOutput(da, d.K, true, 1, NULL, d.a_step), d.batch);
    }
}

static void backward_b(const GemmRoom &room, const MatmulDims &d, const float *dy, const Tensor *a, float *db)
{
    int64_t rounds = d.b_step ? 1 : d.batch, products = d.b_step ? d.batch : 1;
    for (int64_t i = 0; i < rounds; i++) {
        GemmMatrix x(a, d.ta ? d.M : d.K, d.ta, d.a_step), g(dy, d.N, d.tb, d.step);
        x.advance(i);
        g.advance(i);
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
    GemmRoom room(t, a->dtype == DTYPE_bf16);
    if (a->grad) backward_a(room, d, dy, b, f32(a->grad));
    if (b->grad) backward_b(room, d, dy, a, f32(b->grad));
    if (bias && bias->grad) gemm_column_sums(room, f32(bias->grad), dy, d.batch * d.M, d.N);
    lora_backward_cuda(t, n);
}
