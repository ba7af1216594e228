/* Attention, forward: kernels/attention_forward.cuh without a bias; few rows go to attention_decode.cu. */
#include "kernels/attention_forward.cuh"

extern "C" void attention_forward_cuda(Tape *t, Node *n)
{
    AttentionDims d = attention_dims(n);
    if (attention_decodes(d)) {
        attention_decode(t, n, d);
        return;
    }
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        (d.D <= 32   ? attention_forward<T, 32, NoBias>
         : d.D <= 64 ? attention_forward<T, 64, NoBias>
         : d.D <= 96 ? attention_forward<T, 96, NoBias>
                     : attention_forward<T, 128, NoBias>)(n, d, NoBias{}, attention_length(n));
    });
}
