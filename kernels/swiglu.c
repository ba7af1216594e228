/* Gated linear unit of LLaMA (Shazeer 2020): y = silu(g) u, silu(g) = g s, s = 1/(1 + exp(-g)). g, u of one
 * shape. dg = dy u s (1 + g (1 - s)); du = dy g s. Nothing is saved. */
#include "kernels/ops.h"
#include <math.h>

Tensor *op_swiglu(Tape *t, Tensor *gate, Tensor *up)
{
    return op_apply(t, &swiglu_op, 2, (Tensor *[]){gate, up}, NULL, 0);
}

void swiglu_shape(Tape *t, Node *n)
{
    const Tensor *gate = n->in[0], *up = n->in[1];
    if (gate->dtype != DTYPE_f32 || up->dtype != DTYPE_f32 || !tensor_same_shape(gate, up))
        die("swiglu: gate %s and up %s differ", tensor_text(gate), tensor_text(up));
    n->out = tape_tensor(t, DTYPE_f32, gate->ndim, gate->dim);
}

void swiglu_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const float *g = n->in[0]->data, *u = n->in[1]->data;
    float *y = n->out->data;
    int64_t len = tensor_len(n->out);
#pragma omp parallel for schedule(static) if (len > 1 << 12)
    for (int64_t i = 0; i < len; i++) y[i] = g[i] / (1 + expf(-g[i])) * u[i];
}

void swiglu_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    const float *g = n->in[0]->data, *u = n->in[1]->data, *dy = n->out->grad->data;
    float *dg = n->in[0]->grad ? n->in[0]->grad->data : NULL,
          *du = n->in[1]->grad ? n->in[1]->grad->data : NULL;
    int64_t len = tensor_len(n->out);
#pragma omp parallel for schedule(static) if (len > 1 << 12)
    for (int64_t i = 0; i < len; i++) {
        float s = 1 / (1 + expf(-g[i]));
        if (dg) dg[i] += dy[i] * u[i] * s * (1 + g[i] * (1 - s));
        if (du) du[i] += dy[i] * g[i] * s;
    }
}
