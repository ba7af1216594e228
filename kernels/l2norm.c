/* Normalisation to unit length: y = x / |x| over the last dim, x (...,C). Saved for backward: |x| (rows).
 * dx = (dy - y (y . dy)) / |x|. A row of zeros has no direction: y and dx are 0. Sums in double. */
#include "kernels/ops.h"
#include <math.h>

Tensor *op_l2norm(Tape *t, Tensor *x) { return op_apply(t, &l2norm_op, 1, &x, NULL, 0); }

void l2norm_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0];
    if (!is_activation(x)) die("l2norm: x %s is neither f32 nor bf16", tensor_text(x));
    int64_t rows = tensor_rows(x);
    n->out = tape_tensor(t, x->dtype, x->ndim, x->dim);
    n->saved[0] = tape_tensor(t, DTYPE_f32, 1, &rows);
}

void l2norm_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const float *x = n->in[0]->data;
    float *y = n->out->data, *saved = n->saved[0]->data;
    int64_t rows = tensor_rows(n->in[0]), C = tensor_last(n->in[0]);
#pragma omp parallel for schedule(static) if (rows * C > 1 << 15)
    for (int64_t i = 0; i < rows; i++) {
        const float *xi = x + i * C;
        float *yi = y + i * C;
        double square = 0;
        for (int64_t c = 0; c < C; c++) square += (double)xi[c] * xi[c];
        double r = square == 0 ? 0 : 1 / sqrt(square);
        for (int64_t c = 0; c < C; c++) yi[c] = (float)(xi[c] * r);
        saved[i] = (float)sqrt(square);
    }
}

void l2norm_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    if (!n->in[0]->grad) return;
    const float *y = n->out->data, *dy = n->out->grad->data, *saved = n->saved[0]->data;
    float *dx = n->in[0]->grad->data;
    int64_t rows = tensor_rows(n->in[0]), C = tensor_last(n->in[0]);
#pragma omp parallel for schedule(static) if (rows * C > 1 << 15)
    for (int64_t i = 0; i < rows; i++) {
        const float *yi = y + i * C, *dyi = dy + i * C;
        float *dxi = dx + i * C;
        if (saved[i] == 0) continue;
        double along = 0;
        for (int64_t c = 0; c < C; c++) along += (double)yi[c] * dyi[c];
        for (int64_t c = 0; c < C; c++) dxi[c] += (float)((dyi[c] - along * yi[c]) / saved[i]);
    }
}
