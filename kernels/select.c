/* y[i] = x[index[i]] along dim 0. x (N,...), index (M) i32 -> (M,...). dx[index[i]] += dy[i]: repeats add up,
 * in the order of i in every column, so the result does not depend on the number of threads. Nothing is saved.
 */
#include "kernels/ops.h"
#include <string.h>

Tensor *op_select(Tape *t, Tensor *x, Tensor *index)
{
    return op_apply(t, &select_op, 2, (Tensor *[]){x, index}, NULL, 0);
}

void select_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *index = n->in[1];
    if (!is_activation(x) || index->dtype != DTYPE_i32 || index->ndim != 1)
        die("select: x %s, index %s: expected f32 or bf16 and a list of i32", tensor_text(x),
            tensor_text(index));
    int64_t dim[TENSOR_DIMS];
    memcpy(dim, x->dim, sizeof dim);
    dim[0] = index->dim[0];
    n->out = tape_tensor(t, x->dtype, x->ndim, dim);
}

void select_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const float *x = n->in[0]->data;
    const int32_t *index = n->in[1]->data;
    float *y = n->out->data;
    int64_t N = n->in[0]->dim[0], M = n->in[1]->dim[0], C = tensor_len(n->in[0]) / N;
    for (int64_t i = 0; i < M; i++)
        if (index[i] < 0 || index[i] >= N)
            die("select: index[%lld] = %d, but x is %s", (long long)i, index[i], tensor_text(n->in[0]));
#pragma omp parallel for schedule(static) if (M * C > 1 << 15)
    for (int64_t i = 0; i < M; i++) memcpy(y + i * C, x + index[i] * C, (size_t)C * sizeof *y);
}

void select_backward_cpu(Tape *t, Node *n)
{
    enum { STRIP = 256 };
    (void)t;
    if (!n->in[0]->grad) return;
    const int32_t *index = n->in[1]->data;
    const float *dy = n->out->grad->data;
    float *dx = n->in[0]->grad->data;
    int64_t M = n->in[1]->dim[0], C = tensor_len(n->out) / M;
#pragma omp parallel for schedule(static) if (M * C > 1 << 15)
    for (int64_t from = 0; from < C; from += STRIP) {
        int64_t to = from + STRIP < C ? from + STRIP : C;
        for (int64_t i = 0; i < M; i++) {
            float *d = dx + index[i] * C;
#pragma omp simd
            for (int64_t c = from; c < to; c++) d[c] += dy[i * C + c];
        }
    }
}
