/* Index of the largest element of each row, the lowest on ties. A NaN is never chosen unless the row is all
 * NaN, which gives 0. x (R,V) -> i32 (R). */
#include "kernels/ops.h"
#include <math.h>

Tensor *op_argmax(Tape *t, Tensor *x) { return op_apply(t, &argmax_op, 1, &x, NULL, 0); }

void argmax_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0];
    if (x->dtype != DTYPE_f32 || x->ndim != 2) die("argmax: x %s is not f32 with two dims", tensor_text(x));
    n->out = tape_tensor(t, DTYPE_i32, 1, x->dim);
}

void argmax_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const float *x = n->in[0]->data;
    int32_t *y = n->out->data;
    int64_t R = n->in[0]->dim[0], V = n->in[0]->dim[1];
#pragma omp parallel for schedule(static) if (R * V > 1 << 15)
    for (int64_t r = 0; r < R; r++) {
        const float *row = x + r * V;
        float top = -INFINITY;
        int64_t best = 0;
#pragma omp simd reduction(max : top)
        for (int64_t j = 0; j < V; j++) top = row[j] > top ? row[j] : top; /* false for NaN */
        while (best < V && row[best] != top) best++;
        y[r] = (int32_t)(best < V ? best : 0);
    }
}
