/* Multi-label (binary) cross-entropy on logits: y = k sum weight (max(x,0) - x target + log(1 + exp(-|x|))) ->
 * (1), in double and in two stages (chunks of fixed length, then the chunks in order). dx = k weight
 * (sigmoid(x) - target) dy; target and weight get no gradient. Nothing is saved. */
#include "kernels/ops.h"
#include <math.h>

enum { CHUNK = 1 << 12 };

Tensor *op_multilabel(Tape *t, Tensor *x, Tensor *y, Tensor *weight, float k)
{
    MultilabelParams p = {k};
    return op_apply(t, &multilabel_op, 3, (Tensor *[]){x, y, weight}, &p, sizeof p);
}

void multilabel_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *y = n->in[1], *weight = n->in[2];
    if (x->dtype != DTYPE_f32 || y->dtype != DTYPE_f32 || !tensor_same_shape(x, y))
        die("multilabel: logits %s and targets %s are not f32 of one shape", tensor_text(x), tensor_text(y));
    if (weight && (weight->dtype != DTYPE_f32 || !tensor_same_shape(x, weight)))
        die("multilabel: logits %s and weights %s are not f32 of one shape", tensor_text(x),
            tensor_text(weight));
    n->out = tape_tensor(t, DTYPE_f32, 1, (int64_t[]){1});
}

void multilabel_forward_cpu(Tape *t, Node *n)
{
    const float *x = n->in[0]->data, *y = n->in[1]->data, *weight = n->in[2] ? n->in[2]->data : NULL;
    int64_t len = tensor_len(n->in[0]), chunks = (len + CHUNK - 1) / CHUNK;
    double *part = tape_scratch(t, (size_t)chunks * sizeof *part), total = 0;
#pragma omp parallel for schedule(static) if (chunks > 2)
    for (int64_t c = 0; c < chunks; c++) {
        int64_t end = (c + 1) * CHUNK < len ? (c + 1) * CHUNK : len;
        double s = 0;
        for (int64_t i = c * CHUNK; i < end; i++)
            s += (double)(weight ? weight[i] : 1) *
                 ((double)fmaxf(x[i], 0) - (double)x[i] * y[i] + (double)log1pf(expf(-fabsf(x[i]))));
        part[c] = s;
    }
    for (int64_t c = 0; c < chunks; c++) total += part[c];
    *(float *)n->out->data = (float)((double)NODE_AS(MultilabelParams, n)->k * total);
}

void multilabel_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    if (!n->in[0]->grad) return;
    const float *x = n->in[0]->data, *y = n->in[1]->data, *weight = n->in[2] ? n->in[2]->data : NULL;
    const float d = NODE_AS(MultilabelParams, n)->k * *(const float *)n->out->grad->data;
    float *dx = n->in[0]->grad->data;
    int64_t len = tensor_len(n->in[0]);
#pragma omp parallel for schedule(static) if (len > 1 << 13)
    for (int64_t i = 0; i < len; i++) dx[i] += d * (weight ? weight[i] : 1) * (1 / (1 + expf(-x[i])) - y[i]);
}
