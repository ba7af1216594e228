/* Table look-up: y[i] = table[id[i]]; id -1 gives a zero row. table (V,D) f32 or bf16, id (...) i32 -> (...,D).
 * dtable[id[i]] += dy[i]: columns are shared out among threads, so repeated ids add up in one fixed order. */
#include "kernels/gemm.h"
#include "kernels/ops.h"
#include <string.h>

Tensor *op_embed(Tape *t, Tensor *table, Tensor *id)
{
    return op_apply(t, &embed_op, 2, (Tensor *[]){table, id}, NULL, 0);
}

void embed_shape(Tape *t, Node *n)
{
    const Tensor *table = n->in[0], *id = n->in[1];
    if (!is_activation(table) || table->ndim != 2)
        die("embed: table %s is not f32 or bf16 (V,D)", tensor_text(table));
    if (id->dtype != DTYPE_i32 || id->ndim >= TENSOR_DIMS)
        die("embed: id %s is not i32 of at most %d dims", tensor_text(id), TENSOR_DIMS - 1);
    int64_t dim[TENSOR_DIMS];
    memcpy(dim, id->dim, sizeof dim);
    dim[id->ndim] = table->dim[1];
    n->out = tape_tensor(t, t->compute, id->ndim + 1, dim);
}

void embed_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const float *table = n->in[0]->data;
    const uint16_t *half = n->in[0]->dtype == DTYPE_bf16 ? n->in[0]->data : NULL;
    const int32_t *id = n->in[1]->data;
    float *y = n->out->data;
    int64_t V = n->in[0]->dim[0], D = n->in[0]->dim[1], rows = tensor_len(n->in[1]);
    for (int64_t i = 0; i < rows; i++)
        if (id[i] < -1 || id[i] >= V)
            die("embed: id %d at %lld is outside the table %s", id[i], (long long)i, tensor_text(n->in[0]));
#pragma omp parallel for schedule(static) if (rows * D > 1 << 15)
    for (int64_t i = 0; i < rows; i++) {
        if (id[i] < 0)
            memset(y + i * D, 0, (size_t)D * sizeof *y);
        else if (half)
            bf16_row(half + id[i] * D, D, y + i * D);
        else
            memcpy(y + i * D, table + id[i] * D, (size_t)D * sizeof *y);
    }
}

void embed_backward_cpu(Tape *t, Node *n)
{
    enum { STRIP = 64 };
    (void)t;
    if (!n->in[0]->grad) return;
    const float *dy = n->out->grad->data;
    const int32_t *id = n->in[1]->data;
    float *dtable = n->in[0]->grad->data;
    int64_t D = n->in[0]->dim[1], rows = tensor_len(n->in[1]);
#pragma omp parallel for schedule(static) if (rows * D > 1 << 15)
    for (int64_t from = 0; from < D; from += STRIP) {
        int64_t to = from + STRIP < D ? from + STRIP : D;
        for (int64_t i = 0; i < rows; i++)
            if (id[i] >= 0)
                for (int64_t d = from; d < to; d++) dtable[id[i] * D + d] += dy[i * D + d];
    }
}
