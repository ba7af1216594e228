/* y = f(a, b), element by element on equal shapes: add, sub, mul (binary.def). Nothing is saved. The two
 * gradients are added in two passes, so a and b may be one tensor. */
#include "kernels/ops.h"

static void binary_shape(Tape *t, Node *n)
{
    const Tensor *a = n->in[0], *b = n->in[1];
    if (!is_activation(a) || a->dtype != b->dtype || !tensor_same_shape(a, b))
        die("%s: a %s and b %s are not f32 or bf16 of one shape", n->op->name, tensor_text(a), tensor_text(b));
    n->out = tape_tensor(t, a->dtype, a->ndim, a->dim);
}

#define LOOP                                                                                                   \
    _Pragma("omp parallel for simd schedule(static) if (len > 1 << 15)") for (int64_t i = 0; i < len; i++)

#define GRADIENT(name, input, formula)                                                                         \
    static void name(const Node *n)                                                                            \
    {                                                                                                          \
        const float *pa = n->in[0]->data, *pb = n->in[1]->data, *pdy = n->out->grad->data;                     \
        float *dx = n->in[input]->grad->data;                                                                  \
        int64_t len = tensor_len(n->out);                                                                      \
        LOOP                                                                                                   \
        {                                                                                                      \
            const float a = pa[i], b = pb[i], dy = pdy[i];                                                     \
            (void)a, (void)b;                                                                                  \
            dx[i] += formula;                                                                                  \
        }                                                                                                      \
    }

#define BINARY(name, y_formula, da_formula, db_formula)                                                        \
    Tensor *op_##name(Tape *t, Tensor *a, Tensor *b)                                                           \
    {                                                                                                          \
        return op_apply(t, &name##_op, 2, (Tensor *[]){a, b}, NULL, 0);                                        \
    }                                                                                                          \
    void name##_shape(Tape *t, Node *n) { binary_shape(t, n); }                                                \
    void name##_forward_cpu(Tape *t, Node *n)                                                                  \
    {                                                                                                          \
        (void)t;                                                                                               \
        const float *pa = n->in[0]->data, *pb = n->in[1]->data;                                                \
        float *y = n->out->data;                                                                               \
        int64_t len = tensor_len(n->out);                                                                      \
        LOOP                                                                                                   \
        {                                                                                                      \
            const float a = pa[i], b = pb[i];                                                                  \
            y[i] = y_formula;                                                                                  \
        }                                                                                                      \
    }                                                                                                          \
    GRADIENT(name##_da, 0, da_formula)                                                                         \
    GRADIENT(name##_db, 1, db_formula)                                                                         \
    void name##_backward_cpu(Tape *t, Node *n)                                                                 \
    {                                                                                                          \
        (void)t;                                                                                               \
        if (n->in[0]->grad) name##_da(n);                                                                      \
        if (n->in[1]->grad) name##_db(n);                                                                      \
    }
#include "kernels/binary.def"
