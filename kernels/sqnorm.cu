/* Sum of squares, to double's accuracy: the squared norm of a flat gradient block.
 *
 * Mapping: sums.cuh. Floor: bytes over bandwidth (48M parameters: 0.2 ms on an RTX 4090). Log: never timed on a
 * GPU. */
#include "kernels/sums.cuh"

extern "C" void sqnorm_forward_cuda(Tape *t, Node *n)
{
    sum_all<true>(t, f32(n->out), 1, f32(n->in[0]), tensor_len(n->in[0]));
}
