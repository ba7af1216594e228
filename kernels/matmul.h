/* What a node of op_matmul multiplies, read off its tensors' shapes: for every backend. */
#ifndef KERNELS_MATMUL_H
#define KERNELS_MATMUL_H
#include "kernels/ops.h"

typedef struct MatmulDims {
    bool ta, tb;
    int64_t batch, M, N, K;       /* of one product */
    int64_t a_step, b_step, step; /* elements from one product's operands to the next's; b_step 0: shared */
} MatmulDims;

static inline MatmulDims matmul_dims(const Node *n)
{
    const Tensor *a = n->in[0], *b = n->in[1];
    const MatmulParams *p = NODE_AS(MatmulParams, n);
    MatmulDims d = {p->transpose_a, p->transpose_b, 1, 0, 0, 0, 0, 0, 0};
    d.N = b->dim[b->ndim - (d.tb ? 2 : 1)];
    d.K = d.ta ? a->dim[a->ndim - 2] : tensor_last(a);
    d.M = d.ta ? tensor_last(a) : tensor_len(a) / d.K;
    if (d.ta || b->ndim > 2) {
        for (int i = 0; i < a->ndim - 2; i++) d.batch *= a->dim[i];
        d.M = d.ta ? tensor_last(a) : a->dim[a->ndim - 2];
    }
    d.a_step = d.M * d.K;
    d.b_step = b->ndim > 2 ? d.K * d.N : 0;
    d.step = d.M * d.N;
    return d;
}
#endif
