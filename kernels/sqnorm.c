/* Sum of squares -> (1), in double and in two stages (chunks of fixed length, then the chunks in order), so the
 * result does not depend on the number of threads. The squared norm of a flat gradient block. */
#include "kernels/ops.h"

enum { CHUNK = 1 << 14 };

Tensor *op_sqnorm(Tape *t, Tensor *x) { return op_apply(t, &sqnorm_op, 1, &x, NULL, 0); }

void sqnorm_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0];
    if (x->dtype != DTYPE_f32) die("sqnorm: x %s is not f32", tensor_text(x));
    n->out = tape_tensor(t, DTYPE_f32, 1, (int64_t[]){1});
}

void sqnorm_forward_cpu(Tape *t, Node *n)
{
    const float *x = n->in[0]->data;
    int64_t len = tensor_len(n->in[0]), chunks = (len + CHUNK - 1) / CHUNK;
    double *part = tape_scratch(t, (size_t)chunks * sizeof *part), total = 0;
#pragma omp parallel for schedule(static) if (chunks > 2)
    for (int64_t c = 0; c < chunks; c++) {
        int64_t end = (c + 1) * CHUNK < len ? (c + 1) * CHUNK : len;
        double s = 0;
#pragma omp simd reduction(+ : s)
        for (int64_t i = c * CHUNK; i < end; i++) s += (double)x[i] * x[i];
        part[c] = s;
    }
    for (int64_t c = 0; c < chunks; c++) total += part[c];
    *(float *)n->out->data = (float)total;
}
