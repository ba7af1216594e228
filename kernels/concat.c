/* Joins a and b along one axis; their other dims agree. Seen as (outer, A) and (outer, B), A and B the products
 * of the dims from the axis on, y is (outer, A+B). da and db are its two parts. Nothing is saved. */
#include "kernels/ops.h"
#include <string.h>

Tensor *op_concat(Tape *t, Tensor *a, Tensor *b, int axis)
{
    ConcatParams p = {axis};
    return op_apply(t, &concat_op, 2, (Tensor *[]){a, b}, &p, sizeof p);
}

void concat_shape(Tape *t, Node *n)
{
    const Tensor *a = n->in[0], *b = n->in[1];
    const int axis = NODE_AS(ConcatParams, n)->axis;
    bool fits = is_activation(a) && a->dtype == b->dtype && a->ndim == b->ndim && axis >= 0 && axis < a->ndim;
    for (int i = 0; fits && i < a->ndim; i++) fits = i == axis || a->dim[i] == b->dim[i];
    if (!fits) die("concat: a %s and b %s do not join along axis %d", tensor_text(a), tensor_text(b), axis);
    int64_t dim[TENSOR_DIMS];
    memcpy(dim, a->dim, sizeof dim);
    dim[axis] += b->dim[axis];
    n->out = tape_tensor(t, a->dtype, a->ndim, dim);
}

/* Length of one of the outer rows of x. */
static int64_t row_length(const Node *n, const Tensor *x)
{
    int64_t len = 1;
    for (int i = NODE_AS(ConcatParams, n)->axis; i < x->ndim; i++) len *= x->dim[i];
    return len;
}

void concat_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const float *a = n->in[0]->data, *b = n->in[1]->data;
    float *y = n->out->data;
    int64_t A = row_length(n, n->in[0]), B = row_length(n, n->in[1]), outer = tensor_len(n->out) / (A + B);
#pragma omp parallel for schedule(static) if (outer * (A + B) > 1 << 15)
    for (int64_t i = 0; i < outer; i++) {
        memcpy(y + i * (A + B), a + i * A, (size_t)A * sizeof *y);
        memcpy(y + i * (A + B) + A, b + i * B, (size_t)B * sizeof *y);
    }
}

/* dx[i] += the part of dy's row i that starts at `from`. */
static void add_part(const Node *n, const Tensor *x, int64_t from, int64_t stride)
{
    const float *dy = n->out->grad->data;
    float *dx = x->grad->data;
    int64_t len = row_length(n, x), outer = tensor_len(x) / len;
#pragma omp parallel for schedule(static) if (outer * len > 1 << 15)
    for (int64_t i = 0; i < outer; i++) {
#pragma omp simd
        for (int64_t j = 0; j < len; j++) dx[i * len + j] += dy[i * stride + from + j];
    }
}

void concat_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    int64_t A = row_length(n, n->in[0]), B = row_length(n, n->in[1]);
    if (n->in[0]->grad) add_part(n, n->in[0], 0, A + B);
    if (n->in[1]->grad) add_part(n, n->in[1], A, A + B);
}
