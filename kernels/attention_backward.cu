/* Attention, backward: kernels/attention_backward.cuh without a bias. */
#include "kernels/attention_backward.cuh"

extern "C" void attention_backward_cuda(Tape *t, Node *n)
{
    AttentionDims d = attention_dims(n);
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        const int *length = attention_length(n);
        (d.D <= 32   ? attention_backward<T, 32, NoBias>
         : d.D <= 64 ? attention_backward<T, 64, NoBias>
         : d.D <= 96 ? attention_backward<T, 96, NoBias>
                     : attention_backward<T, 128, NoBias>)(n, backward_rows<T>(t, n, d, length), d, length,
                                                           NoBias{}, (float *)NULL);
    });
}
