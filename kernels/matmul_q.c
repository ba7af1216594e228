/* y = x W^T (+ bias) (+ LoRA) with a 4-bit frozen W (N,K): x (...,K) -> (...,N). At most FEW rows of x:
 * straight from the packed codes. More: from tiles of decoded rows, so the decoded weight never exists whole.
 * Backward decodes W's rows BLOCK weights at a time into scratch and multiplies from there: dx += dy W; there
 * is no dW. The LoRA term, with its dropout, is in kernels/lora.c. Saved: u with LoRA. */
#include "kernels/gemm.h"
#include "kernels/lora.h"
#include "kernels/quant_cpu.h"
#include "kernels/quant_gemm.h"
#include <string.h>

enum {
    FEW = QUANT_CPU_ROWS, /* decoding pays for itself from here on */
    BLOCK = 1 << 19,      /* weights: 2 MiB decoded */
};

Tensor *op_matmul_q(Tape *t, Tensor *x, Tensor *w, Tensor *bias, const Lora *lora)
{
    return lora_apply(t, &matmul_q_op, x, w, bias, lora, (MatmulParams){.transpose_b = true});
}

void matmul_q_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *w = n->in[1], *bias = n->in[2];
    if (!is_activation(x) || !dtype_is_quant(w->dtype) || dtype_is_planar(w->dtype) != (w->quant != NULL) ||
        w->ndim != 2 || w->dim[1] != tensor_last(x))
        die("matmul_q: cannot multiply %s by the 4-bit weight %s", tensor_text(x), tensor_text(w));
    if (bias && (bias->dtype != DTYPE_f32 || bias->ndim != 1 || bias->dim[0] != w->dim[0]))
        die("matmul_q: bias %s does not fit the weight %s", tensor_text(bias), tensor_text(w));
    int64_t dim[TENSOR_DIMS];
    memcpy(dim, x->dim, sizeof dim);
    dim[x->ndim - 1] = w->dim[0];
    n->out = tape_tensor(t, x->dtype, x->ndim, dim);
    lora_shape(t, n, w->dim[0]);
}

/* Rows of W that are decoded at once. */
static int64_t block_rows(const Tensor *w)
{
    int64_t rows = BLOCK / w->dim[1];
    return rows < 1 ? 1 : rows < w->dim[0] ? rows : w->dim[0];
}

static void forward_few(Tape *t, const Node *n, int64_t M)
{
    const Tensor *w = n->in[1];
    float *y = n->out->data;
    int64_t N = w->dim[0];
    quant_cpu_product(w, n->in[0]->data, M, y, tape_scratch(t, quant_cpu_scratch(w, M)));
    if (n->in[2])
        for (int64_t m = 0; m < M; m++) add_into(y + m * N, n->in[2]->data, N);
}

static void forward_many(Tape *t, const Node *n, int64_t M)
{
    const Tensor *w = n->in[1];
    float *y = n->out->data;
    if (n->in[2]) rows_fill(y, n->in[2]->data, M, w->dim[0]);
    quant_gemm(w, n->in[0]->data, M, n->in[2] != NULL, y, tape_scratch(t, quant_gemm_scratch(w, M)));
}

void matmul_q_forward_cpu(Tape *t, Node *n)
{
    int64_t M = tensor_rows(n->in[0]);
    (M <= FEW ? forward_few : forward_many)(t, n, M);
    lora_forward(t, n);
}

void matmul_q_backward_cpu(Tape *t, Node *n)
{
    const Tensor *w = n->in[1], *bias = n->in[2];
    const float *dy = n->out->grad->data;
    int64_t M = tensor_rows(n->in[0]), N = w->dim[0], K = w->dim[1], step = block_rows(w);
    if (n->in[0]->grad) {
        float *decoded = tape_scratch(t, (size_t)(step * K) * sizeof *decoded);
        for (int64_t from = 0; from < N; from += step) {
            int64_t to = from + step < N ? from + step : N;
            quant_cpu_decode(w, from, to, decoded);
            gemm(false, false, M, K, to - from, 1, dy + from, N, decoded, K, 1, n->in[0]->grad->data, K);
        }
    }
    if (bias && bias->grad) rows_sum_add(t, bias->grad->data, dy, M, N);
    lora_backward(t, n);
}
