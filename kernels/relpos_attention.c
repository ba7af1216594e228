/* Attention with decomposed relative positions (Li et al. 2022, MViTv2; SAM): the score of query (rq,cq) and
 * key (rk,ck) is scale q.k + q.rel_h[rq-rk+H-1] + q.rel_w[cq-ck+W-1]. The bias's terms of a block of queries
 * are one product with each table, all its distances; tables are packed reversed, so that a row of keys finds
 * its terms in order. Units, backward: attention_units.c. */
#include "kernels/attention.h"
#include "kernels/tiles.h"
#include <string.h>

typedef struct Side {
    int64_t n, rows, room; /* H or W; distances, 2n - 1; rounded up to whole tiles */
    float *transposed;     /* (room/32,D,32), reversed */
    float *whole;          /* (room,Dp), reversed */
} Side;

typedef struct Relpos {
    Side h, w;
} Relpos;

Tensor *op_relpos_attention(Tape *t, Tensor *q, Tensor *k, Tensor *v, Tensor *rel_h, Tensor *rel_w, float scale)
{
    RelposAttentionParams p = {scale};
    return op_apply(t, &relpos_attention_op, 5, (Tensor *[]){q, k, v, rel_h, rel_w}, &p, sizeof p);
}

static bool is_table(const Tensor *rel, const Tensor *q)
{
    return rel->dtype == DTYPE_f32 && rel->ndim == 2 && rel->dim[0] % 2 == 1 && rel->dim[1] == q->dim[3];
}

void relpos_attention_shape(Tape *t, Node *n)
{
    const Tensor *q = n->in[0], *k = n->in[1], *v = n->in[2], *h = n->in[3], *w = n->in[4];
    if (!is_activation(q) || q->ndim != 4 || k->dtype != q->dtype || !tensor_same_shape(k, q) ||
        v->dtype != q->dtype || !tensor_same_shape(v, q))
        die("relpos_attention: q %s does not go with k %s and v %s", tensor_text(q), tensor_text(k),
            tensor_text(v));
    if (!is_table(h, q) || !is_table(w, q) || (h->dim[0] + 1) / 2 * ((w->dim[0] + 1) / 2) != q->dim[1])
        die("relpos_attention: tables %s and %s are not f32 (2H-1,D) and (2W-1,D) of q (B,H*W,heads,D) %s",
            tensor_text(h), tensor_text(w), tensor_text(q));
    int64_t dim[3] = {q->dim[0], q->dim[2], q->dim[1]};
    n->out = tape_tensor(t, q->dtype, 4, q->dim);
    n->saved[0] = tape_tensor(t, DTYPE_f32, 3, dim);
}

/* ---- tables ---- */

static Side side_make(Tape *t, const Tensor *rel)
{
    int64_t D = rel->dim[1], Dp = whole_tiles(D), rows = rel->dim[0], room = whole_tiles(rows);
    Side s = {.n = (rows + 1) / 2, .rows = rows, .room = room};
    s.transposed = tape_scratch(t, (size_t)(room * (D + Dp)) * sizeof(float));
    s.whole = s.transposed + room * D;
    memset(s.transposed, 0, (size_t)(room * (D + Dp)) * sizeof(float));
    for (int64_t j = 0; j < rows; j++) {
        const float *from = (const float *)rel->data + (rows - 1 - j) * D;
        memcpy(s.whole + j * Dp, from, (size_t)D * sizeof(float));
        for (int64_t d = 0; d < D; d++) s.transposed[j / TILE * TILE * D + d * TILE + j % TILE] = from[d];
    }
    return s;
}

static const Relpos *relpos_of(const AttentionUnit *u) { return u->a->bias->context; }

/* A row's terms: (h.room) of h, then (w.room) of w. */
static void prepare(const AttentionUnit *u, int64_t rows, const float *q, float *terms)
{
    const Relpos *p = relpos_of(u);
    int64_t D = u->a->D, ld = p->h.room + p->w.room;
    product(rows, p->h.rows, D, q, u->Dp, 1, p->h.transposed, TILE, D, terms, ld, false);
    product(rows, p->w.rows, D, q, u->Dp, 1, p->w.transposed, TILE, D, terms + p->h.room, ld, false);
}

/* to[i,j] = scale s[i,j] + h[i] + w[j]. Up to VEC - 1 more are written behind each row of keys, then
 * overwritten by the next. */
VEC_BODY(add_terms,
         (const float *s, float *to, const float *h, const float *w, int64_t H, int64_t W, float scale), {
             for (int64_t i = 0; i < H; i++)
                 for (int64_t j = 0; j < W; j += VEC)
                     VEC_STORE(to + i * W + j, VEC_LOAD(s + i * W + j) * scale + (VEC_LOAD(w + j) + h[i]));
         })
VEC_FUNCTION(add_terms,
             (const float *s, float *to, const float *h, const float *w, int64_t H, int64_t W, float scale),
             (s, to, h, w, H, W, scale))

static void add(const AttentionUnit *u, int64_t r, const float *terms, const float *s, float *to)
{
    const Relpos *p = relpos_of(u);
    const float *h = terms + p->h.n - 1 - r / p->w.n, *w = terms + p->h.room + p->w.n - 1 - r % p->w.n;
    add_terms(s, to, h, w, p->h.n, p->w.n, u->a->scale);
}

/* h[i] = sum over j of ds[i,j], w[j] = sum over i. */
VEC_BODY(sum_terms, (const float *ds, float *h, float *w, int64_t H, int64_t W), {
    for (int64_t i = 0; i < H; i++, ds += W) {
        Vec sum = {0};
        int64_t j = 0;
        float rest = 0;
        for (; j + VEC <= W; j += VEC) {
            Vec x = VEC_LOAD(ds + j);
            sum += x;
            VEC_STORE(w + j, VEC_LOAD(w + j) + x);
        }
        for (; j < W; j++) rest += ds[j], w[j] += ds[j];
        h[i] = vec_sum(&sum) + rest;
    }
})
VEC_FUNCTION(sum_terms, (const float *ds, float *h, float *w, int64_t H, int64_t W), (ds, h, w, H, W))

static void add_gradient(const AttentionUnit *u, int64_t r, const float *ds, float *dterms, float *sums)
{
    (void)sums;
    const Relpos *p = relpos_of(u);
    sum_terms(ds, dterms + p->h.n - 1 - r / p->w.n, dterms + p->h.room + p->w.n - 1 - r % p->w.n, p->h.n,
              p->w.n);
}

/* sums: (h.room + w.room, Dp), reversed as the tables. */
static void finish(const AttentionUnit *u, int64_t rows, const float *q, const float *dterms, float *dq,
                   float *sums)
{
    const Relpos *p = relpos_of(u);
    int64_t D = u->a->D, Dp = u->Dp, ld = p->h.room + p->w.room;
    product(rows, D, p->h.rows, dterms, ld, 1, p->h.whole, Dp, 1, dq, Dp, true);
    product(rows, D, p->w.rows, dterms + p->h.room, ld, 1, p->w.whole, Dp, 1, dq, Dp, true);
    if (sums) product(ld, D, rows, dterms, 1, ld, q, Dp, 1, sums, Dp, true);
}

/* ---- both ways ---- */

static AttentionBias relpos_bias(Tape *t, const Node *n, Relpos *p)
{
    p->h = side_make(t, n->in[3]);
    p->w = side_make(t, n->in[4]);
    return (AttentionBias){.context = p,
                           .terms = p->h.room + p->w.room,
                           .prepare = prepare,
                           .add = add,
                           .add_gradient = add_gradient,
                           .finish = finish};
}

void relpos_attention_forward_cpu(Tape *t, Node *n)
{
    Relpos p;
    AttentionBias bias = relpos_bias(t, n, &p);
    Attention a = attention_of(n, NODE_AS(RelposAttentionParams, n)->scale);
    a.bias = &bias;
    attention_forward_units(t, n, &a);
}

/* rel's gradient += the units' sums, in their order. */
static void add_sums(const Tensor *rel, const AttentionBias *bias, const Attention *a, int64_t first)
{
    if (!rel->grad) return;
    int64_t D = rel->dim[1], Dp = whole_tiles(D), rows = rel->dim[0];
    float *to = rel->grad->data;
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < rows; j++)
        for (int64_t d = 0; d < D; d++) {
            double sum = 0;
            for (int64_t i = 0; i < a->B * a->H; i++)
                sum += (double)bias->sums[i * bias->n_sums + (first + rows - 1 - j) * Dp + d];
            to[j * D + d] += (float)sum;
        }
}

void relpos_attention_backward_cpu(Tape *t, Node *n)
{
    Relpos p;
    AttentionBias bias = relpos_bias(t, n, &p);
    Attention a = attention_of(n, NODE_AS(RelposAttentionParams, n)->scale);
    a.bias = &bias;
    if (n->in[3]->grad || n->in[4]->grad) {
        bias.n_sums = bias.terms * whole_tiles(a.D);
        size_t bytes = (size_t)(a.B * a.H * bias.n_sums) * sizeof(float);
        bias.sums = memset(tape_scratch(t, bytes), 0, bytes);
    }
    attention_backward_units(t, n, &a);
    add_sums(n->in[3], &bias, &a, 0);
    add_sums(n->in[4], &bias, &a, p.h.room);
}
