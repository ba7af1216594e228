/* y = x + b, where b has the trailing dims of x, whatever its rank: (C) is a bias, (T,C) a position embedding.
 * dx = dy; db = sum over the rows of dy, in double and in two stages (blocks of rows, then the blocks in
 * order), so the result does not depend on the number of threads. Nothing is saved. */
#include "kernels/ops.h"
#include <string.h>

Tensor *op_add_bias(Tape *t, Tensor *x, Tensor *b)
{
    return op_apply(t, &add_bias_op, 2, (Tensor *[]){x, b}, NULL, 0);
}

void add_bias_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *b = n->in[1];
    bool fits = is_activation(x) && b->dtype == DTYPE_f32 && b->ndim <= x->ndim;
    for (int i = 0; fits && i < b->ndim; i++) fits = b->dim[i] == x->dim[x->ndim - b->ndim + i];
    if (!fits) die("add_bias: b %s is not the trailing part of x %s", tensor_text(b), tensor_text(x));
    n->out = tape_tensor(t, x->dtype, x->ndim, x->dim);
}

void add_bias_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const float *x = n->in[0]->data, *b = n->in[1]->data;
    float *y = n->out->data;
    int64_t C = tensor_len(n->in[1]), rows = tensor_len(n->out) / C;
#pragma omp parallel for schedule(static) if (rows * C > 1 << 15)
    for (int64_t i = 0; i < rows; i++) {
#pragma omp simd
        for (int64_t c = 0; c < C; c++) y[i * C + c] = x[i * C + c] + b[c];
    }
}

static void backward_x(const Node *n)
{
    const float *dy = n->out->grad->data;
    float *dx = n->in[0]->grad->data;
    int64_t len = tensor_len(n->out);
#pragma omp parallel for simd schedule(static) if (len > 1 << 15)
    for (int64_t i = 0; i < len; i++) dx[i] += dy[i];
}

static void backward_b(Tape *t, const Node *n)
{
    enum { BLOCK = 256, BLOCKS = 64 };
    const float *dy = n->out->grad->data;
    float *db = n->in[1]->grad->data;
    int64_t C = tensor_len(n->in[1]), rows = tensor_len(n->out) / C;
    int64_t blocks = rows < BLOCK * BLOCKS ? (rows + BLOCK - 1) / BLOCK : BLOCKS;
    double *sum = tape_scratch(t, (size_t)(blocks * C) * sizeof *sum); /* (blocks,C) */
#pragma omp parallel for schedule(static) if (rows * C > 1 << 15)
    for (int64_t k = 0; k < blocks; k++) {
        double *s = sum + k * C;
        memset(s, 0, (size_t)C * sizeof *s);
        for (int64_t i = k * rows / blocks; i < (k + 1) * rows / blocks; i++) {
#pragma omp simd
            for (int64_t c = 0; c < C; c++) s[c] += dy[i * C + c];
        }
    }
    for (int64_t c = 0; c < C; c++) {
        double s = 0;
        for (int64_t k = 0; k < blocks; k++) s += sum[k * C + c];
        db[c] += (float)s;
    }
}

void add_bias_backward_cpu(Tape *t, Node *n)
{
    if (n->in[0]->grad) backward_x(n);
    if (n->in[1]->grad) backward_b(t, n);
}
