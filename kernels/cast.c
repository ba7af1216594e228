/* y = x in another type: f32 or bf16 to f32, f32 to bf16. dx = dy. Nothing is saved. */
#include "kernels/gemm.h"
#include "kernels/ops.h"
#include <string.h>

Tensor *op_cast(Tape *t, Tensor *x, DType to)
{
    CastParams p = {to};
    if (x->dtype == to) return x;
    return op_apply(t, &cast_op, 1, &x, &p, sizeof p);
}

void cast_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0];
    DType to = NODE_AS(CastParams, n)->to;
    if (!is_activation(x) || (to != DTYPE_f32 && (to != DTYPE_bf16 || x->dtype != DTYPE_f32)))
        die("cast: %s to %s: f32 or bf16 can be cast to f32, f32 to bf16", tensor_text(x), dtype_name(to));
    n->out = tape_tensor(t, to, x->ndim, x->dim);
}

/* To f32 only: a bf16 output is not computed on this device. */
void cast_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const Tensor *x = n->in[0];
    float *y = n->out->data;
    if (x->dtype == DTYPE_f32)
        memcpy(y, x->data, tensor_bytes(x));
    else
        bf16_row(x->data, tensor_len(x), y);
}

void cast_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    if (!n->in[0]->grad) return;
    const float *dy = n->out->grad->data;
    float *dx = n->in[0]->grad->data;
    int64_t len = tensor_len(n->out);
#pragma omp parallel for simd schedule(static) if (len > 1 << 15)
    for (int64_t i = 0; i < len; i++) dx[i] += dy[i];
}
