/* The low-rank term of matmul and matmul_q (Hu et al. 2021): u = dropout(x) A^T (saved), y += scale u B^T, with
 * A (r,K), B (N,r). A node of either op holds x in in[0], A and B in in[3] and in[4] (NULL without LoRA),
 * MatmulParams, u (rows,r) in saved[0]. Dropout is counter-based: element i of x is multiplied by
 * dropout_scale(seed, call, i, dropout), so backward makes the same mask again. */
#ifndef KERNELS_LORA_H
#define KERNELS_LORA_H
#include "kernels/ops.h"

/* Runs `op` (matmul or matmul_q) with a, b, bias and lora, each of the last two or NULL; p's LoRA part is
 * filled in: dropout 0 unless tape_drops(t), a call number of its own otherwise. */
Tensor *lora_apply(Tape *t, const Op *op, Tensor *a, Tensor *b, Tensor *bias, const Lora *lora, MatmulParams p);

/* Inside an op's shape function: checks A and B against x (...,K) and N (dies naming op and shapes) and
 * allocates saved[0]. Nothing to do without LoRA. */
void lora_shape(Tape *t, Node *n, int64_t N);

/* Writes saved[0] and adds the term to n->out, which already holds the rest. Nothing to do without LoRA. */
void lora_forward(Tape *t, Node *n);

/* Adds into the gradients of x, A and B where they exist. Nothing to do without LoRA. */
void lora_backward(Tape *t, Node *n);
#endif
