/* y = op(a) op(b) (+ bias) (+ LoRA), batched over equal leading dims; a two-dim b serves all of them.
 * Products accumulate (beta 1) on top of the bias and, in backward, straight into the gradients:
 *   da += dy op(b)^T, db += op(a)^T dy, each with its operands in the order that the stored layout asks for;
 *   dbias += column sums of dy. The LoRA term is in kernels/lora.c. Saved: u with LoRA.
 *
 * A bf16 b is read as f32: a Linear's weight BLOCK values at a time, any other one whole. */
#include "kernels/gemm.h"
#include "kernels/lora.h"
#include "kernels/matmul.h"
#include <string.h>

enum { BLOCK = 1 << 19 /* bf16 values: 2 MiB of f32 */ };

Tensor *op_matmul(Tape *t, Tensor *a, Tensor *b, Tensor *bias, const Lora *lora, bool transpose_a,
                  bool transpose_b)
{
    MatmulParams p = {.transpose_a = transpose_a, .transpose_b = transpose_b};
    return lora_apply(t, &matmul_op, a, b, bias, lora, p);
}

void matmul_shape(Tape *t, Node *n)
{
    const Tensor *a = n->in[0], *b = n->in[1], *bias = n->in[2];
    const MatmulParams *p = NODE_AS(MatmulParams, n);
    if (!is_activation(a) || !is_activation(b) || b->ndim < 2 || a->ndim < (p->transpose_a ? 2 : 1))
        die("matmul: cannot multiply %s and %s", tensor_text(a), tensor_text(b));
    int64_t K = p->transpose_a ? a->dim[a->ndim - 2] : tensor_last(a);
    int64_t N = b->dim[b->ndim - (p->transpose_b ? 2 : 1)], depth = b->dim[b->ndim - (p->transpose_b ? 1 : 2)];
    bool leading = b->ndim == 2 || b->ndim == a->ndim;
    for (int i = 0; leading && i < b->ndim - 2; i++) leading = a->dim[i] == b->dim[i];
    if (K != depth || !leading)
        die("matmul: inner or leading dims differ: %s%s times %s%s", tensor_text(a),
            p->transpose_a ? " transposed" : "", tensor_text(b), p->transpose_b ? " transposed" : "");
    if (bias && (bias->dtype != DTYPE_f32 || bias->ndim != 1 || bias->dim[0] != N))
        die("matmul: bias %s does not fit %lld outputs", tensor_text(bias), (long long)N);
    if (n->in[3] && (p->transpose_a || b->ndim != 2))
        die("matmul: LoRA needs a plain %s and a two-dim %s", tensor_text(a), tensor_text(b));
    int64_t dim[TENSOR_DIMS];
    memcpy(dim, a->dim, sizeof dim);
    if (p->transpose_a) dim[a->ndim - 2] = tensor_last(a);
    dim[a->ndim - 1] = N;
    n->out = tape_tensor(t, a->dtype, a->ndim, dim);
    lora_shape(t, n, N);
}

/* Rows of a Linear's bf16 weight that are read at once; 0: b is not one. */
static int64_t block_rows(const MatmulDims *d, const Tensor *b)
{
    if (b->dtype == DTYPE_f32 || !d->tb || d->ta || d->batch > 1) return 0;
    return BLOCK / d->K < 1 ? 1 : BLOCK / d->K < d->N ? BLOCK / d->K : d->N;
}

/* All of b as f32. */
static const float *whole(Tape *t, const Tensor *b)
{
    if (b->dtype == DTYPE_f32) return b->data;
    float *y = tape_scratch(t, (size_t)tensor_len(b) * sizeof *y);
    bf16_row(b->data, tensor_len(b), y);
    return y;
}

/* y (M,N) += x (M,K) W^T; back: dx (M,K) += dy (M,N) W. */
static void linear_bf16(Tape *t, const MatmulDims *d, const Tensor *w, const float *x, float *y, bool back)
{
    int64_t step = block_rows(d, w);
    float *part = tape_scratch(t, (size_t)(step * d->K) * sizeof *part);
    for (int64_t from = 0; from < d->N; from += step) {
        int64_t rows = d->N - from < step ? d->N - from : step;
        bf16_row((const uint16_t *)w->data + from * d->K, rows * d->K, part);
        if (back)
            gemm(false, false, d->M, d->K, rows, 1, x + from, d->N, part, d->K, 1, y, d->K);
        else
            gemm(false, true, d->M, rows, d->K, 1, x, d->K, part, d->K, 1, y + from, d->N);
    }
}

void matmul_forward_cpu(Tape *t, Node *n)
{
    MatmulDims d = matmul_dims(n);
    const float *a = n->in[0]->data;
    float *y = n->out->data;
    bool blocks = block_rows(&d, n->in[1]);
    if (n->in[2])
        rows_fill(y, n->in[2]->data, d.batch * d.M, d.N);
    else if (blocks)
        memset(y, 0, tensor_bytes(n->out));
    if (blocks) linear_bf16(t, &d, n->in[1], a, y, false);
    const float *b = blocks ? NULL : whole(t, n->in[1]);
    for (int64_t i = 0; !blocks && i < d.batch; i++)
        gemm(d.ta, d.tb, d.M, d.N, d.K, 1, a + i * d.a_step, d.ta ? d.M : d.K, b + i * d.b_step,
             d.tb ? d.K : d.N, n->in[2] ? 1 : 0, y + i * d.step, d.N);
    lora_forward(t, n);
}

static void backward_a(const MatmulDims *d, const float *dy, const float *b, float *da)
{
    int64_t ldb = d->tb ? d->K : d->N;
    if (d->ta) /* (K,M) += op(b) dy^T */
        gemm(d->tb, true, d->K, d->M, d->N, 1, b, ldb, dy, d->N, 1, da, d->M);
    else
        gemm(false, !d->tb, d->M, d->K, d->N, 1, dy, d->N, b, ldb, 1, da, d->K);
}

static void backward_b(const MatmulDims *d, const float *dy, const float *a, float *db)
{
    int64_t lda = d->ta ? d->M : d->K;
    if (d->tb) /* (N,K) += dy^T op(a) */
        gemm(true, d->ta, d->N, d->K, d->M, 1, dy, d->N, a, lda, 1, db, d->K);
    else
        gemm(!d->ta, false, d->K, d->N, d->M, 1, a, lda, dy, d->N, 1, db, d->N);
}

void matmul_backward_cpu(Tape *t, Node *n)
{
    MatmulDims d = matmul_dims(n);
    const Tensor *a = n->in[0], *b = n->in[1], *bias = n->in[2];
    const float *dy = n->out->grad->data;
    bool blocks = block_rows(&d, b);
    if (a->grad && blocks) linear_bf16(t, &d, b, dy, a->grad->data, true);
    const float *values = a->grad && !blocks ? whole(t, b) : NULL;
    for (int64_t i = 0; i < d.batch; i++) {
        if (values)
            backward_a(&d, dy + i * d.step, values + i * d.b_step, (float *)a->grad->data + i * d.a_step);
        if (b->grad)
            backward_b(&d, dy + i * d.step, (float *)a->data + i * d.a_step,
                       (float *)b->grad->data + i * d.b_step);
    }
    if (bias && bias->grad) rows_sum_add(t, bias->grad->data, dy, d.batch * d.M, d.N);
    lora_backward(t, n);
}
