/* y[i] = x[index[i]] along dim 0; dx[index[i]] += dy[i], repeats in the order of i. gather.cuh has the mapping.
 * Floor: bytes over bandwidth. Log: never timed on a GPU. */
#include "kernels/gather.cuh"

extern "C" void select_forward_cuda(Tape *, Node *n)
{
    with_type(n->out, [&](auto type) { gather_forward<decltype(type), decltype(type)>(n, false); });
}
extern "C" void select_backward_cuda(Tape *t, Node *n) { gather_backward(t, n); }
