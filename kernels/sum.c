/* y = k * sum of all elements -> (1), in double and in two stages (chunks of fixed length, then the chunks in
 * order), so the result does not depend on the number of threads. dx = k dy. Nothing is saved. */
#include "kernels/ops.h"

enum { CHUNK = 1 << 14 };

Tensor *op_sum(Tape *t, Tensor *x, float k)
{
    SumParams p = {k};
    return op_apply(t, &sum_op, 1, &x, &p, sizeof p);
}

void sum_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0];
    if (x->dtype != DTYPE_f32) die("sum: x %s is not f32", tensor_text(x));
    n->out = tape_tensor(t, DTYPE_f32, 1, (int64_t[]){1});
}

void sum_forward_cpu(Tape *t, Node *n)
{
    const float *x = n->in[0]->data;
    int64_t len = tensor_len(n->in[0]), chunks = (len + CHUNK - 1) / CHUNK;
    double *part = tape_scratch(t, (size_t)chunks * sizeof *part), total = 0;
#pragma omp parallel for schedule(static) if (chunks > 2)
    for (int64_t c = 0; c < chunks; c++) {
        int64_t end = (c + 1) * CHUNK < len ? (c + 1) * CHUNK : len;
        double s = 0;
#pragma omp simd reduction(+ : s)
        for (int64_t i = c * CHUNK; i < end; i++) s += x[i];
        part[c] = s;
    }
    for (int64_t c = 0; c < chunks; c++) total += part[c];
    *(float *)n->out->data = (float)((double)NODE_AS(SumParams, n)->k * total);
}

void sum_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    if (!n->in[0]->grad) return;
    const float d = NODE_AS(SumParams, n)->k * *(const float *)n->out->grad->data;
    float *dx = n->in[0]->grad->data;
    int64_t len = tensor_len(n->in[0]);
#pragma omp parallel for simd schedule(static) if (len > 1 << 15)
    for (int64_t i = 0; i < len; i++) dx[i] += d;
}
