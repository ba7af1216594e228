/* Table look-up: y[i] = table[id[i]], id -1 a row of zeros; dtable[id[i]] += dy[i], repeats in the order of i.
 * gather.cuh has the mapping. Floor: bytes over bandwidth. Log: never timed on a GPU. */
#include "kernels/gather.cuh"

extern "C" void embed_forward_cuda(Tape *, Node *n)
{
    with_type(n->in[0], [&](auto table) {
        with_type(n->out, [&](auto y) { gather_forward<decltype(table), decltype(y)>(n, true); });
    });
}
extern "C" void embed_backward_cuda(Tape *t, Node *n) { gather_backward(t, n); }
