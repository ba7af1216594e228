/* Root-mean-square normalisation (Zhang & Sennrich 2019): y = r x w, r = 1/sqrt(mean(x^2) + eps), over the last
 * dim. x (...,C), w (C). Saved for backward: r (rows).
 * dx = r (w dy - x r^2 mean(w dy x)); dw = sum over rows of dy x r. Sums in double. */
#include "kernels/ops.h"
#include <math.h>

Tensor *op_rmsnorm(Tape *t, Tensor *x, Tensor *w, float eps)
{
    RmsnormParams p = {eps};
    return op_apply(t, &rmsnorm_op, 2, (Tensor *[]){x, w}, &p, sizeof p);
}

void rmsnorm_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *w = n->in[1];
    if (!is_activation(x) || w->dtype != DTYPE_f32 || w->ndim != 1 || w->dim[0] != tensor_last(x))
        die("rmsnorm: weight %s does not fit x %s", tensor_text(w), tensor_text(x));
    int64_t rows = tensor_rows(x);
    n->out = tape_tensor(t, x->dtype, x->ndim, x->dim);
    n->saved[0] = tape_tensor(t, DTYPE_f32, 1, &rows);
}

void rmsnorm_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const float *x = n->in[0]->data, *w = n->in[1]->data, eps = NODE_AS(RmsnormParams, n)->eps;
    float *y = n->out->data, *saved = n->saved[0]->data;
    int64_t rows = tensor_rows(n->in[0]), C = tensor_last(n->in[0]);
#pragma omp parallel for schedule(static) if (rows * C > 1 << 15)
    for (int64_t i = 0; i < rows; i++) {
        const float *xi = x + i * C;
        float *yi = y + i * C;
        double square = 0;
        for (int64_t c = 0; c < C; c++) square += (double)xi[c] * xi[c];
        float r = (float)(1 / sqrt(square / (double)C + (double)eps));
        for (int64_t c = 0; c < C; c++) yi[c] = xi[c] * r * w[c];
        saved[i] = r;
    }
}

static void backward_x(const Node *n)
{
    const float *x = n->in[0]->data, *w = n->in[1]->data, *dy = n->out->grad->data, *saved = n->saved[0]->data;
    float *dx = n->in[0]->grad->data;
    int64_t rows = tensor_rows(n->in[0]), C = tensor_last(n->in[0]);
#pragma omp parallel for schedule(static) if (rows * C > 1 << 15)
    for (int64_t i = 0; i < rows; i++) {
        const float *xi = x + i * C, *dyi = dy + i * C;
        float *dxi = dx + i * C, r = saved[i];
        double sum = 0;
        for (int64_t c = 0; c < C; c++) sum += (double)w[c] * dyi[c] * xi[c];
        float k = (float)(sum * r * r / (double)C);
        for (int64_t c = 0; c < C; c++) dxi[c] += r * (w[c] * dyi[c] - k * xi[c]);
    }
}

/* Columns in strips: each thread owns its columns, so no two write the same sum. */
static void backward_w(Tape *t, const Node *n)
{
    enum { STRIP = 64 };
    const float *x = n->in[0]->data, *dy = n->out->grad->data, *saved = n->saved[0]->data;
    float *dw = n->in[1]->grad->data;
    int64_t rows = tensor_rows(n->in[0]), C = tensor_last(n->in[0]);
    double *sum = tape_scratch(t, (size_t)C * sizeof *sum);
#pragma omp parallel for schedule(static) if (rows * C > 1 << 15)
    for (int64_t from = 0; from < C; from += STRIP) {
        int64_t to = from + STRIP < C ? from + STRIP : C;
        for (int64_t c = from; c < to; c++) sum[c] = 0;
        for (int64_t i = 0; i < rows; i++)
            for (int64_t c = from; c < to; c++) sum[c] += (double)dy[i * C + c] * x[i * C + c] * saved[i];
        for (int64_t c = from; c < to; c++) dw[c] += (float)sum[c];
    }
}

void rmsnorm_backward_cpu(Tape *t, Node *n)
{
    if (n->in[0]->grad) backward_x(n);
    if (n->in[1]->grad) backward_w(t, n);
}
