/* y = softmax(scale x) over the last dim, less its maximum. dx = scale y (dy - sum(dy y)). Sums in double.
 * Nothing is saved. */
#include "kernels/ops.h"
#include "kernels/rows.h"

Tensor *op_softmax(Tape *t, Tensor *x, float scale)
{
    SoftmaxParams p = {scale};
    return op_apply(t, &softmax_op, 1, &x, &p, sizeof p);
}

void softmax_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0];
    if (!is_activation(x)) die("softmax: x %s is neither f32 nor bf16", tensor_text(x));
    n->out = tape_tensor(t, x->dtype, x->ndim, x->dim);
}

void softmax_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const float *x = n->in[0]->data, scale = NODE_AS(SoftmaxParams, n)->scale;
    float *y = n->out->data;
    int64_t rows = tensor_rows(n->out), C = tensor_last(n->out);
#pragma omp parallel for schedule(static) if (rows * C > 1 << 12)
    for (int64_t i = 0; i < rows; i++) {
        const float *xi = x + i * C;
        float *yi = y + i * C, top, sum;
        for (int64_t c = 0; c < C; c++) yi[c] = scale * xi[c];
        row_max(yi, C, &top);
        row_exp(yi, yi, C, C, 1, top, &sum);
        for (int64_t c = 0; c < C; c++) yi[c] *= 1 / sum;
    }
}

void softmax_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    if (!n->in[0]->grad) return;
    const float *y = n->out->data, *dy = n->out->grad->data, scale = NODE_AS(SoftmaxParams, n)->scale;
    float *dx = n->in[0]->grad->data;
    int64_t rows = tensor_rows(n->out), C = tensor_last(n->out);
#pragma omp parallel for schedule(static) if (rows * C > 1 << 12)
    for (int64_t i = 0; i < rows; i++) {
        const float *yi = y + i * C, *dyi = dy + i * C;
        double sum = 0;
        for (int64_t c = 0; c < C; c++) sum += (double)dyi[c] * yi[c];
        for (int64_t c = 0; c < C; c++) dx[i * C + c] += scale * yi[c] * (dyi[c] - (float)sum);
    }
}
