/* y = f(x), element by element, any shape: relu, sigmoid, scale (unary.def). dx = f'(x) dy, from x and y alone:
 * nothing is saved. relu keeps NaN, so that TENSOR_DEBUG sees it, and has slope 0 at 0. */
#include "kernels/ops.h"
#include <math.h>

static void unary_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0];
    if (!is_activation(x)) die("%s: x %s is neither f32 nor bf16", n->op->name, tensor_text(x));
    n->out = tape_tensor(t, x->dtype, x->ndim, x->dim);
}

#define UNARY_KERNELS(name, y_formula, dx_formula)                                                             \
    static inline float name##_y(float x, float k)                                                             \
    {                                                                                                          \
        (void)k;                                                                                               \
        return y_formula;                                                                                      \
    }                                                                                                          \
    static inline float name##_dx(float x, float y, float dy, float k)                                         \
    {                                                                                                          \
        (void)x, (void)y, (void)k;                                                                             \
        return dx_formula;                                                                                     \
    }                                                                                                          \
    void name##_shape(Tape *t, Node *n) { unary_shape(t, n); }                                                 \
    void name##_forward_cpu(Tape *t, Node *n)                                                                  \
    {                                                                                                          \
        (void)t;                                                                                               \
        const float *x = n->in[0]->data, k = NODE_AS(UnaryParams, n)->k;                                       \
        float *y = n->out->data;                                                                               \
        int64_t len = tensor_len(n->out);                                                                      \
        _Pragma("omp parallel for simd schedule(static) if (len > 1 << 15)") for (int64_t i = 0; i < len; i++) \
            y[i] = name##_y(x[i], k);                                                                          \
    }                                                                                                          \
    void name##_backward_cpu(Tape *t, Node *n)                                                                 \
    {                                                                                                          \
        (void)t;                                                                                               \
        if (!n->in[0]->grad) return;                                                                           \
        const float *x = n->in[0]->data, *y = n->out->data, *dy = n->out->grad->data;                          \
        const float k = NODE_AS(UnaryParams, n)->k;                                                            \
        float *dx = n->in[0]->grad->data;                                                                      \
        int64_t len = tensor_len(n->out);                                                                      \
        _Pragma("omp parallel for simd schedule(static) if (len > 1 << 15)") for (int64_t i = 0; i < len; i++) \
            dx[i] += name##_dx(x[i], y[i], dy[i], k);                                                          \
    }

#define UNARY(name, y_formula, dx_formula)                                                                     \
    Tensor *op_##name(Tape *t, Tensor *x) { return op_apply(t, &name##_op, 1, &x, NULL, 0); }                  \
    UNARY_KERNELS(name, y_formula, dx_formula)
#define UNARY_K(name, y_formula, dx_formula)                                                                   \
    Tensor *op_##name(Tape *t, Tensor *x, float k)                                                             \
    {                                                                                                          \
        UnaryParams p = {k};                                                                                   \
        return op_apply(t, &name##_op, 1, &x, &p, sizeof p);                                                   \
    }                                                                                                          \
    UNARY_KERNELS(name, y_formula, dx_formula)
#include "kernels/unary.def"
