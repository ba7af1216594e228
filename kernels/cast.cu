/* y = x in another type; dx += dy.
 *
 * Mapping: a thread takes four neighbours (elements.cuh). Bytes an element: forward 6, backward 12. Floor:
 * bytes over bandwidth. Log: never timed on a GPU. */
#include "kernels/elements.cuh"

struct Same {
    __device__ float operator()(float x) const { return x; }
};

extern "C" void cast_forward_cuda(Tape *, Node *n)
{
    with_type(n->in[0], [&](auto from) {
        const decltype(from) *x = elements<decltype(from)>(n->in[0]);
        with_type(n->out, [&](auto to) {
            if constexpr (sizeof from > 2 || sizeof to > 2) /* never bf16 to bf16 */
                map_elements(elements<decltype(to)>(n->out), Same{}, tensor_len(n->out), x);
        });
    });
}

extern "C" void cast_backward_cuda(Tape *, Node *n)
{
    if (!n->in[0]->grad) return;
    add_elements(f32(n->in[0]->grad), Same{}, tensor_len(n->out), (const float *)f32(n->out->grad));
}
