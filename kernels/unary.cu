/* relu, sigmoid, scale (unary.def): y = f(x), dx += f'(x) dy.
 *
 * Mapping: a thread takes four neighbours (one 16-byte load and store each way); the last, ragged ones one by
 * one. Bytes: forward 8 an element, backward 8 to 16 and dx read. Floor: bytes over bandwidth. Log: never timed
 * on a GPU. */
#include "kernels/elements.cuh"

#define UNARY_KERNELS(name, y_formula, dx_formula)                                                             \
    struct name##_y {                                                                                          \
        float k;                                                                                               \
        __device__ float operator()(float x) const                                                             \
        {                                                                                                      \
            (void)k;                                                                                           \
            return y_formula;                                                                                  \
        }                                                                                                      \
    };                                                                                                         \
    struct name##_dx {                                                                                         \
        float k;                                                                                               \
        __device__ float operator()(float x, float y, float dy) const                                          \
        {                                                                                                      \
            (void)x, (void)y, (void)k;                                                                         \
            return dx_formula;                                                                                 \
        }                                                                                                      \
    };                                                                                                         \
    extern "C" void name##_forward_cuda(Tape *, Node *n)                                                       \
    {                                                                                                          \
        with_type(n->out, [&](auto type) {                                                                     \
            map_elements(elements<decltype(type)>(n->out), name##_y{NODE_AS(UnaryParams, n)->k},               \
                         tensor_len(n->out), (const decltype(type) *)n->in[0]->data);                          \
        });                                                                                                    \
    }                                                                                                          \
    extern "C" void name##_backward_cuda(Tape *, Node *n)                                                      \
    {                                                                                                          \
        if (!n->in[0]->grad) return;                                                                           \
        with_type(n->out, [&](auto type) {                                                                     \
            const decltype(type) *x = elements<decltype(type)>(n->in[0]),                                      \
                                 *y = elements<decltype(type)>(n->out);                                        \
            add_elements(f32(n->in[0]->grad), name##_dx{NODE_AS(UnaryParams, n)->k}, tensor_len(n->out), x, y, \
                         (const float *)f32(n->out->grad));                                                    \
        });                                                                                                    \
    }
#define UNARY(name, y_formula, dx_formula)   UNARY_KERNELS(name, y_formula, dx_formula)
#define UNARY_K(name, y_formula, dx_formula) UNARY_KERNELS(name, y_formula, dx_formula)
#include "kernels/unary.def"
