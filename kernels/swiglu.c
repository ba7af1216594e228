/* Gated linear unit of LLaMA (Shazeer 2020): y = silu(g) u, silu(g) = g s, s = 1/(1 + exp(-g)). g, u of one
 * shape. dg = dy u s (1 + g (1 - s)); du = dy g s. Nothing is saved. */
#include "kernels/ops.h"
#include "kernels/vec.h"
#include <math.h>

Tensor *op_swiglu(Tape *t, Tensor *gate, Tensor *up)
{
    return op_apply(t, &swiglu_op, 2, (Tensor *[]){gate, up}, NULL, 0);
}

void swiglu_shape(Tape *t, Node *n)
{
    const Tensor *gate = n->in[0], *up = n->in[1];
    if (!is_activation(gate) || gate->dtype != up->dtype || !tensor_same_shape(gate, up))
        die("swiglu: gate %s and up %s differ", tensor_text(gate), tensor_text(up));
    n->out = tape_tensor(t, gate->dtype, gate->ndim, gate->dim);
}

/* Work is shared out in pieces of this many elements. */
enum { PIECE = 4096 };

/* *s = 1 / (1 + exp(-*g)) */
static inline __attribute__((always_inline)) void vec_sigmoid(const Vec *g, Vec *s)
{
    Vec e = -*g;
    vec_exp(&e);
    *s = 1.0f / (1.0f + e);
}

VEC_BODY(forward, (const float *g, const float *u, float *y, int64_t n), {
    for (int64_t i = 0; i < n; i += VEC) {
        Vec a = VEC_LOAD(g + i), s;
        vec_sigmoid(&a, &s);
        VEC_STORE(y + i, a * s * VEC_LOAD(u + i));
    }
})
VEC_FUNCTION(forward, (const float *g, const float *u, float *y, int64_t n), (g, u, y, n))

/* dg and du, where there are any, are added to. */
VEC_BODY(backward, (const float *g, const float *u, const float *dy, float *dg, float *du, int64_t n), {
    for (int64_t i = 0; i < n; i += VEC) {
        Vec a = VEC_LOAD(g + i), d = VEC_LOAD(dy + i), s;
        vec_sigmoid(&a, &s);
        if (dg) VEC_STORE(dg + i, VEC_LOAD(dg + i) + d * VEC_LOAD(u + i) * s * (1.0f + a * (1.0f - s)));
        if (du) VEC_STORE(du + i, VEC_LOAD(du + i) + d * a * s);
    }
})
VEC_FUNCTION(backward, (const float *g, const float *u, const float *dy, float *dg, float *du, int64_t n),
             (g, u, dy, dg, du, n))

void swiglu_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const float *g = n->in[0]->data, *u = n->in[1]->data;
    float *y = n->out->data;
    int64_t len = tensor_len(n->out), whole = len - len % VEC;
#pragma omp parallel for schedule(static) if (len > 4 * PIECE)
    for (int64_t i = 0; i < whole; i += PIECE)
        forward(g + i, u + i, y + i, whole - i < PIECE ? whole - i : PIECE);
    for (int64_t i = whole; i < len; i++) y[i] = g[i] / (1 + expf(-g[i])) * u[i];
}

void swiglu_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    const float *g = n->in[0]->data, *u = n->in[1]->data, *dy = n->out->grad->data;
    float *dg = n->in[0]->grad ? n->in[0]->grad->data : NULL,
          *du = n->in[1]->grad ? n->in[1]->grad->data : NULL;
    int64_t len = tensor_len(n->out), whole = len - len % VEC;
#pragma omp parallel for schedule(static) if (len > 4 * PIECE)
    for (int64_t i = 0; i < whole; i += PIECE)
        backward(g + i, u + i, dy + i, dg ? dg + i : NULL, du ? du + i : NULL,
                 whole - i < PIECE ? whole - i : PIECE);
    for (int64_t i = whole; i < len; i++) {
        float s = 1 / (1 + expf(-g[i]));
        if (dg) dg[i] += dy[i] * u[i] * s * (1 + g[i] * (1 - s));
        if (du) du[i] += dy[i] * g[i] * s;
    }
}
