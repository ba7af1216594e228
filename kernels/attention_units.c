/* Units of attention on the CPU. The T*(H/G) query rows that share one key/value head (b,g) are one unit: no
 * two threads write the same sum. A unit packs its keys and values once, padded to whole tiles, and goes
 * through its rows in blocks; scores exist for one block only. Backward makes them again from the saved
 * log-sum-exp (Dao et al. 2022): p = exp(s - lse) with s = scale q k^T + bias, dp = dy v^T, ds = p (dp - sum(dy
 * y)), dq = scale ds k, dk = scale ds^T q, dv = p^T dy. Rows of scores are an odd number of cache lines apart:
 * a column of them, read for dk and dv, is then not all in one set. */
#include "kernels/attention.h"
#include "kernels/rows.h"
#include "kernels/tiles.h"
#include <omp.h>
#include <string.h>

enum { ROWS = ATTENTION_ROWS };

typedef AttentionUnit Unit;

Attention attention_of(const Node *n, float scale)
{
    const Tensor *q = n->in[0], *k = n->in[1];
    return (Attention){.B = q->dim[0],
                       .T = q->dim[1],
                       .S = k->dim[1],
                       .H = q->dim[2],
                       .G = k->dim[2],
                       .D = q->dim[3],
                       .scale = scale};
}

AttentionUnit attention_unit(const Attention *a, int64_t index)
{
    Unit u = {.a = a, .b = index / a->G, .g = index % a->G, .group = a->H / a->G};
    u.Sp = whole_tiles(a->S);
    u.Dp = whole_tiles(a->D);
    u.Ss = u.Sp + VEC;
    u.keys = a->length ? a->length[u.b] : a->S;
    if (u.keys < 0 || u.keys > a->S)
        die("attention: length %lld of sequence %lld with %lld keys", (long long)u.keys, (long long)u.b,
            (long long)a->S);
    return u;
}

int64_t attention_row(const AttentionUnit *u, int64_t r)
{
    const Attention *a = u->a;
    return ((u->b * a->T + r / u->group) * a->H + u->g * u->group + r % u->group) * a->D;
}
int64_t attention_lse(const AttentionUnit *u, int64_t r)
{
    return (u->b * u->a->H + u->g * u->group + r % u->group) * u->a->T + r / u->group;
}
int64_t attention_keys(const AttentionUnit *u, int64_t r)
{
    int64_t i = r / u->group + 1;
    return u->a->causal && i < u->keys ? i : u->keys;
}
int64_t attention_key(const AttentionUnit *u, int64_t j)
{
    return ((u->b * u->a->S + j) * u->a->G + u->g) * u->a->D;
}
static int64_t unit_rows(const Unit *u) { return u->a->T * u->group; }

/* ---- packing ---- */

/* (Sp,Dp), zero outside the unit's keys and D. */
static void pack(const Unit *u, const float *k, float *to)
{
    for (int64_t j = 0; j < u->Sp; j++) {
        int64_t D = j < u->keys ? u->a->D : 0;
        if (D) memcpy(to + j * u->Dp, k + attention_key(u, j), (size_t)D * sizeof *to);
        memset(to + j * u->Dp + D, 0, (size_t)(u->Dp - D) * sizeof *to);
    }
}

/* The transpose in panels, (Sp/32,D,32). */
static void pack_transposed(const Unit *u, const float *k, float *to)
{
    for (int64_t from = 0; from < u->Sp; from += TILE, to += TILE * u->a->D)
        for (int64_t j = 0; j < TILE; j++) {
            const float *row = k + (from + j < u->keys ? attention_key(u, from + j) : 0);
            for (int64_t d = 0; d < u->a->D; d++) to[d * TILE + j] = from + j < u->keys ? row[d] : 0.0f;
        }
}

/* (ROWS,Dp) of query rows, zero outside. Returns how many rows there are. */
static int64_t pack_rows(const Unit *u, const float *x, int64_t from, float *to)
{
    int64_t rows = unit_rows(u) - from;
    if (rows > ROWS) rows = ROWS;
    memset(to, 0, (size_t)(ROWS * u->Dp) * sizeof *to);
    for (int64_t r = 0; r < rows; r++)
        memcpy(to + r * u->Dp, x + attention_row(u, from + r), (size_t)u->a->D * sizeof *to);
    return rows;
}

float attention_softmax(const float *s, float *p, int64_t n, int64_t room, float scale, float *lse)
{
    float top, sum;
    if (!n) {
        memset(p, 0, (size_t)room * sizeof *p);
        *lse = -INFINITY;
        return 0;
    }
    row_max(s, n, &top);
    row_exp(s, p, n, room, scale, scale * top, &sum);
    *lse = scale * top + logf(sum);
    return 1 / sum;
}

/* ---- forward ---- */

static int64_t terms_of(const Unit *u) { return u->a->bias ? ROWS * u->a->bias->terms : 0; }

static size_t forward_floats(const Unit *u)
{
    return (size_t)(2 * u->Sp * u->Dp + (ROWS + 1) * u->Ss + 2 * ROWS * u->Dp + terms_of(u));
}

/* Row r's scores s to p; biased: one row of scratch. Returns the factor still missing in p. */
static float forward_row(const Unit *u, int64_t r, int64_t room, const float *terms, float *s, float *biased,
                         float *lse)
{
    const AttentionBias *bias = u->a->bias;
    if (!bias) return attention_softmax(s, s, attention_keys(u, r), room, u->a->scale, lse);
    bias->add(u, r, terms, s, biased);
    return attention_softmax(biased, s, u->keys, room, 1, lse);
}

static void forward_unit(const Unit *u, const Node *n, float *scratch)
{
    const AttentionBias *bias = u->a->bias;
    int64_t D = u->a->D, Dp = u->Dp, Ss = u->Ss;
    float *y = n->out->data, *lse = n->saved[0]->data;
    float *kt = scratch, *v = kt + u->Sp * Dp, *s = v + u->Sp * Dp, *biased = s + ROWS * Ss, *q = biased + Ss,
          *out = q + ROWS * Dp, *terms = out + ROWS * Dp;
    pack_transposed(u, n->in[1]->data, kt);
    pack(u, n->in[2]->data, v);
    for (int64_t from = 0; from < unit_rows(u); from += ROWS) {
        float factor[ROWS];
        int64_t rows = pack_rows(u, n->in[0]->data, from, q), keys = attention_keys(u, from + rows - 1),
                room = whole_tiles(keys);
        product(rows, keys, D, q, Dp, 1, kt, TILE, D, s, Ss, false);
        if (bias && bias->prepare) bias->prepare(u, rows, q, terms);
        for (int64_t r = 0; r < rows; r++)
            factor[r] = forward_row(u, from + r, room, terms + r * (bias ? bias->terms : 0), s + r * Ss, biased,
                                    lse + attention_lse(u, from + r));
        product(rows, D, keys, s, Ss, 1, v, Dp, 1, out, Dp, false);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t d = 0; d < D; d++) y[attention_row(u, from + r) + d] = out[r * Dp + d] * factor[r];
    }
}

void attention_forward_units(Tape *t, const Node *n, const Attention *a)
{
    Unit shape = attention_unit(a, 0);
    size_t floats = forward_floats(&shape);
    float *scratch = tape_scratch(t, floats * sizeof *scratch * (size_t)omp_get_max_threads());
#pragma omp parallel for schedule(static) if (a->B * a->G > 1)
    for (int64_t i = 0; i < a->B * a->G; i++) {
        Unit u = attention_unit(a, i);
        forward_unit(&u, n, scratch + floats * (size_t)omp_get_thread_num());
    }
}

/* ---- backward ---- */

static size_t backward_floats(const Unit *u)
{
    return (size_t)(5 * u->Sp * u->Dp + (2 * ROWS + 1) * u->Ss + 3 * ROWS * u->Dp + 2 * terms_of(u));
}

/* ds = p (ds - delta), n a multiple of VEC. */
VEC_BODY(row_gradient, (const float *p, float *ds, int64_t n, float delta), {
    for (int64_t j = 0; j < n; j += VEC) VEC_STORE(ds + j, VEC_LOAD(p + j) * (VEC_LOAD(ds + j) - delta));
})
VEC_FUNCTION(row_gradient, (const float *p, float *ds, int64_t n, float delta), (p, ds, n, delta))

/* p (scores on entry) becomes the probabilities, ds (dp on entry) the biased scores' gradient. */
static void backward_row(const Unit *u, const Node *n, int64_t r, int64_t room, const float *terms, float *p,
                         float *ds, float *biased)
{
    const float *dy = (const float *)n->out->grad->data + attention_row(u, r);
    const float *y = (const float *)n->out->data + attention_row(u, r);
    float lse = ((const float *)n->saved[0]->data)[attention_lse(u, r)], sum, delta;
    double dot = 0;
    if (u->a->bias) u->a->bias->add(u, r, terms, p, biased);
    row_exp(u->a->bias ? biased : p, p, attention_keys(u, r), room, u->a->bias ? 1 : u->a->scale, lse, &sum);
    for (int64_t d = 0; d < u->a->D; d++) dot += (double)dy[d] * y[d];
    delta = (float)dot;
    row_gradient(p, ds, room, delta);
}

static void add_rows(const Unit *u, float *to, int64_t from, int64_t rows, const float *x)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t d = 0; d < u->a->D; d++) to[attention_row(u, from + r) + d] += x[r * u->Dp + d];
}

static void add_keys(const Unit *u, const Tensor *k, float scale, const float *x)
{
    if (!k->grad) return;
    float *to = k->grad->data;
    for (int64_t j = 0; j < u->keys; j++)
        for (int64_t d = 0; d < u->a->D; d++) to[attention_key(u, j) + d] += scale * x[j * u->Dp + d];
}

typedef struct Block {
    float *p, *ds, *biased, *q, *dy, *dq, *terms, *dterms;
} Block;

/* A block's bias: the terms' gradients from ds, then to dq and the unit's sums. */
static void backward_bias(const Unit *u, int64_t from, int64_t rows, const Block *b, float *sums)
{
    const AttentionBias *bias = u->a->bias;
    memset(b->dterms, 0, (size_t)terms_of(u) * sizeof *b->dterms);
    for (int64_t r = 0; r < rows; r++)
        bias->add_gradient(u, from + r, b->ds + r * u->Ss, b->dterms + r * bias->terms, sums);
    if (bias->finish) bias->finish(u, rows, b->q, b->dterms, b->dq, sums);
}

static void backward_block(const Unit *u, const Node *n, int64_t from, const Block *b, const float *kt,
                           const float *vt, const float *k, float *dk, float *dv)
{
    const AttentionBias *bias = u->a->bias;
    int64_t D = u->a->D, Dp = u->Dp, Ss = u->Ss;
    int64_t rows = pack_rows(u, n->in[0]->data, from, b->q), keys = attention_keys(u, from + rows - 1),
            room = whole_tiles(keys);
    pack_rows(u, n->out->grad->data, from, b->dy);
    product(rows, keys, D, b->q, Dp, 1, kt, TILE, D, b->p, Ss, false);
    product(rows, keys, D, b->dy, Dp, 1, vt, TILE, D, b->ds, Ss, false);
    if (bias && bias->prepare) bias->prepare(u, rows, b->q, b->terms);
    for (int64_t r = 0; r < rows; r++)
        backward_row(u, n, from + r, room, b->terms + r * (bias ? bias->terms : 0), b->p + r * Ss,
                     b->ds + r * Ss, b->biased);
    product(rows, D, keys, b->ds, Ss, 1, k, Dp, 1, b->dq, Dp, false);
    for (int64_t i = 0; i < rows * Dp; i++) b->dq[i] *= u->a->scale;
    if (bias)
        backward_bias(u, from, rows, b,
                      bias->sums ? bias->sums + (u->b * u->a->G + u->g) * bias->n_sums : NULL);
    if (n->in[0]->grad) add_rows(u, n->in[0]->grad->data, from, rows, b->dq);
    if (n->in[1]->grad) product(keys, D, rows, b->ds, 1, Ss, b->q, Dp, 1, dk, Dp, true);
    if (n->in[2]->grad) product(keys, D, rows, b->p, 1, Ss, b->dy, Dp, 1, dv, Dp, true);
}

static void backward_unit(const Unit *u, const Node *n, float *scratch)
{
    int64_t plane = u->Sp * u->Dp, rows = ROWS * u->Dp;
    float *kt = scratch, *vt = kt + plane, *k = vt + plane, *dk = k + plane, *dv = dk + plane;
    Block b = {.p = dv + plane};
    b.ds = b.p + ROWS * u->Ss, b.biased = b.ds + ROWS * u->Ss;
    b.q = b.biased + u->Ss, b.dy = b.q + rows, b.dq = b.dy + rows;
    b.terms = b.dq + rows, b.dterms = b.terms + terms_of(u);
    pack_transposed(u, n->in[1]->data, kt);
    pack_transposed(u, n->in[2]->data, vt);
    pack(u, n->in[1]->data, k);
    memset(dk, 0, (size_t)(2 * plane) * sizeof *dk);
    for (int64_t from = 0; from < unit_rows(u); from += ROWS) backward_block(u, n, from, &b, kt, vt, k, dk, dv);
    add_keys(u, n->in[1], u->a->scale, dk);
    add_keys(u, n->in[2], 1, dv);
}

void attention_backward_units(Tape *t, const Node *n, const Attention *a)
{
    Unit shape = attention_unit(a, 0);
    size_t floats = backward_floats(&shape);
    float *scratch = tape_scratch(t, floats * sizeof *scratch * (size_t)omp_get_max_threads());
#pragma omp parallel for schedule(static) if (a->B * a->G > 1)
    for (int64_t i = 0; i < a->B * a->G; i++) {
        Unit u = attention_unit(a, i);
        backward_unit(&u, n, scratch + floats * (size_t)omp_get_thread_num());
    }
}
