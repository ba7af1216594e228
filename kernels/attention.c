/* Scaled dot-product attention with grouped key/value heads: y = softmax(scale q k^T + mask) v per head.
 * q (B,T,H,D), k, v (B,S,G,D), all f32 or all bf16 -> (B,T,H,D) of their type; saved for backward: log-sum-exp
 * (B,H,T), f32, -inf for a row with no key. Many rows: attention_units.c. One token against a cache (T = 1)
 * reads keys and values where they lie: packing would cost more than it saves. */
#include "kernels/attention.h"
#include "kernels/rows.h"
#include "kernels/tiles.h"
#include <omp.h>

Tensor *op_attention(Tape *t, Tensor *q, Tensor *k, Tensor *v, Tensor *length, float scale, bool causal)
{
    AttentionParams p = {scale, causal};
    return op_apply(t, &attention_op, 4, (Tensor *[]){q, k, v, length}, &p, sizeof p);
}

void attention_shape(Tape *t, Node *n)
{
    const Tensor *q = n->in[0], *k = n->in[1], *v = n->in[2], *length = n->in[3];
    if (!is_activation(q) || q->ndim != 4 || k->dtype != q->dtype || k->ndim != 4 || v->dtype != q->dtype ||
        !tensor_same_shape(k, v) || k->dim[0] != q->dim[0] || k->dim[3] != q->dim[3] || q->dim[2] % k->dim[2])
        die("attention: q %s does not go with k %s and v %s", tensor_text(q), tensor_text(k), tensor_text(v));
    if (NODE_AS(AttentionParams, n)->causal && k->dim[1] != q->dim[1])
        die("attention: causal with q %s and k %s of different lengths", tensor_text(q), tensor_text(k));
    if (length && (length->dtype != DTYPE_i32 || length->ndim != 1 || length->dim[0] != q->dim[0]))
        die("attention: length %s is not i32 (B) of q %s", tensor_text(length), tensor_text(q));
    int64_t dim[3] = {q->dim[0], q->dim[2], q->dim[1]};
    n->out = tape_tensor(t, q->dtype, 4, q->dim);
    n->saved[0] = tape_tensor(t, DTYPE_f32, 3, dim);
}

/* s[j] = q . k[j], rows of k `stride` apart. */
VEC_BODY(dots, (const float *q, const float *k, int64_t stride, int64_t n, int64_t D, float *s), {
    for (int64_t j = 0; j < n; j++, k += stride) {
        Vec sum = {0};
        float rest = 0;
        int64_t d = 0;
        for (; d + VEC <= D; d += VEC) sum += VEC_LOAD(q + d) * VEC_LOAD(k + d);
        for (; d < D; d++) rest += q[d] * k[d];
        s[j] = vec_sum(&sum) + rest;
    }
})
VEC_FUNCTION(dots, (const float *q, const float *k, int64_t stride, int64_t n, int64_t D, float *s),
             (q, k, stride, n, D, s))

/* y = factor * sum over j of p[j] v[j], strips of 64 columns in registers. */
VEC_BODY(mix, (const float *p, const float *v, int64_t stride, int64_t n, int64_t D, float factor, float *y), {
    int64_t d = 0;
    for (; d + 4 * VEC <= D; d += 4 * VEC) {
        Vec a = {0}, b = {0}, c = {0}, e = {0};
        for (int64_t j = 0; j < n; j++) {
            const float *x = v + j * stride + d;
            a += p[j] * VEC_LOAD(x), b += p[j] * VEC_LOAD(x + VEC);
            c += p[j] * VEC_LOAD(x + 2 * VEC), e += p[j] * VEC_LOAD(x + 3 * VEC);
        }
        VEC_STORE(y + d, a * factor), VEC_STORE(y + d + VEC, b * factor);
        VEC_STORE(y + d + 2 * VEC, c * factor), VEC_STORE(y + d + 3 * VEC, e * factor);
    }
    for (; d + VEC <= D; d += VEC) {
        Vec a = {0};
        for (int64_t j = 0; j < n; j++) a += p[j] * VEC_LOAD(v + j * stride + d);
        VEC_STORE(y + d, a * factor);
    }
    for (; d < D; d++) {
        float a = 0;
        for (int64_t j = 0; j < n; j++) a += p[j] * v[j * stride + d];
        y[d] = a * factor;
    }
})
VEC_FUNCTION(mix,
             (const float *p, const float *v, int64_t stride, int64_t n, int64_t D, float factor, float *y),
             (p, v, stride, n, D, factor, y))

static void decode_unit(const AttentionUnit *u, const Node *n, float *s)
{
    const float *q = n->in[0]->data, *k = (const float *)n->in[1]->data + attention_key(u, 0),
                *v = (const float *)n->in[2]->data + attention_key(u, 0);
    float *y = n->out->data, *lse = n->saved[0]->data;
    int64_t stride = u->a->G * u->a->D, D = u->a->D;
    for (int64_t r = 0; r < u->group; r++) {
        int64_t at = attention_row(u, r), keys = attention_keys(u, r);
        dots(q + at, k, stride, keys, D, s);
        float factor = attention_softmax(s, s, keys, u->Sp, u->a->scale, lse + attention_lse(u, r));
        mix(s, v, stride, keys, D, factor, y + at);
    }
}

static Attention attention(const Node *n)
{
    const AttentionParams *p = NODE_AS(AttentionParams, n);
    Attention a = attention_of(n, p->scale);
    a.causal = p->causal;
    a.length = n->in[3] ? n->in[3]->data : NULL;
    return a;
}

void attention_forward_cpu(Tape *t, Node *n)
{
    Attention a = attention(n);
    if (a.T > 1) {
        attention_forward_units(t, n, &a);
        return;
    }
    int64_t room = attention_unit(&a, 0).Sp;
    float *scratch = tape_scratch(t, (size_t)room * sizeof *scratch * (size_t)omp_get_max_threads());
#pragma omp parallel for schedule(static) if (a.B * a.G > 1)
    for (int64_t i = 0; i < a.B * a.G; i++) {
        AttentionUnit u = attention_unit(&a, i);
        decode_unit(&u, n, scratch + room * omp_get_thread_num());
    }
}

void attention_backward_cpu(Tape *t, Node *n)
{
    Attention a = attention(n);
    attention_backward_units(t, n, &a);
}
