/* The low-rank term of matmul and matmul_q on CUDA: what kernels/lora.h says of lora_forward and lora_backward.
 * In lora.cu. */
#ifndef KERNELS_LORA_CUH
#define KERNELS_LORA_CUH
#include "kernels/cuda.cuh"

/* Writes saved[0] and adds the term to n->out, which already holds the rest. Nothing to do without LoRA. */
void lora_forward_cuda(Tape *t, Node *n);

/* Adds into the gradients of x, A and B where they exist. Nothing to do without LoRA. */
void lora_backward_cuda(Tape *t, Node *n);
#endif
