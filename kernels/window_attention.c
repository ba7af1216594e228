/* Attention within windows with a table of biases and regions of the shifted image (Liu et al. 2021, Swin).
 * Each head's table is packed reversed, so that a row of keys finds its biases in order. Units, backward:
 * attention_units.c. */
#include "kernels/attention.h"
#include "kernels/vec.h"
#include <string.h>

#define APART (-100.0f) /* the reference's mask */

typedef struct Windows {
    int64_t side, columns, rows, shift, wide; /* wide = 2 side - 1 */
    float *tables;                            /* (heads, wide^2), reversed */
    float *column;     /* (2,side): the mask by key column, for queries left of the last region and in it */
    float *all, *none; /* (side): APART; 0 */
} Windows;

Tensor *op_window_attention(Tape *t, Tensor *q, Tensor *k, Tensor *v, Tensor *table, int rows, int columns,
                            int shift, float scale)
{
    WindowAttentionParams p = {rows, columns, shift, scale};
    return op_apply(t, &window_attention_op, 4, (Tensor *[]){q, k, v, table}, &p, sizeof p);
}

static int64_t side_of(const Tensor *q)
{
    int64_t side = 1;
    while (side * side < q->dim[1]) side++;
    return side;
}

void window_attention_shape(Tape *t, Node *n)
{
    const Tensor *q = n->in[0], *k = n->in[1], *v = n->in[2], *table = n->in[3];
    const WindowAttentionParams *p = NODE_AS(WindowAttentionParams, n);
    if (!is_activation(q) || q->ndim != 4 || k->dtype != q->dtype || !tensor_same_shape(k, q) ||
        v->dtype != q->dtype || !tensor_same_shape(v, q))
        die("window_attention: q %s does not go with k %s and v %s", tensor_text(q), tensor_text(k),
            tensor_text(v));
    int64_t side = side_of(q), wide = 2 * side - 1;
    if (side * side != q->dim[1] || table->dtype != DTYPE_f32 || table->ndim != 2 ||
        table->dim[0] != wide * wide || table->dim[1] != q->dim[2])
        die("window_attention: table %s is not f32 ((2s-1)^2,heads) of q (windows,s*s,heads,D) %s",
            tensor_text(table), tensor_text(q));
    if (p->rows < 1 || p->columns < 1 || q->dim[0] % ((int64_t)p->rows * p->columns) || p->shift < 0 ||
        p->shift >= side)
        die("window_attention: q %s is not whole images of %d x %d windows, or shift %d not below their side",
            tensor_text(q), p->rows, p->columns, p->shift);
    int64_t dim[3] = {q->dim[0], q->dim[2], q->dim[1]};
    n->out = tape_tensor(t, q->dtype, 4, q->dim);
    n->saved[0] = tape_tensor(t, DTYPE_f32, 3, dim);
}

static Windows windows_make(Tape *t, const Node *n)
{
    const WindowAttentionParams *p = NODE_AS(WindowAttentionParams, n);
    const Tensor *table = n->in[3];
    int64_t side = side_of(n->in[0]), wide = 2 * side - 1, heads = table->dim[1], size = wide * wide;
    Windows w = {.side = side, .columns = p->columns, .rows = p->rows, .shift = p->shift, .wide = wide};
    size_t floats = (size_t)(heads * size + 4 * side + VEC); /* vectors reach beyond a row's end */
    w.tables = memset(tape_scratch(t, floats * sizeof(float)), 0, floats * sizeof(float));
    w.column = w.tables + heads * size;
    w.all = w.column + 2 * side;
    w.none = w.all + side;
    for (int64_t j = 0; j < size; j++)
        for (int64_t h = 0; h < heads; h++)
            w.tables[h * size + j] = ((const float *)table->data)[(size - 1 - j) * heads + h];
    for (int64_t j = 0; j < side; j++) {
        bool late = j >= side - w.shift;
        w.column[j] = late ? APART : 0;
        w.column[side + j] = late ? 0 : APART;
        w.all[j] = APART;
    }
    return w;
}

static const Windows *windows_of(const AttentionUnit *u) { return u->a->bias->context; }

/* to[i,j] = scale s[i,j] + table[i,j] + mask[j] for a row i of keys. Up to VEC - 1 more are written behind it,
 * then overwritten by the next. */
VEC_BODY(add_row, (const float *s, float *to, const float *table, const float *mask, int64_t n, float scale), {
    for (int64_t j = 0; j < n; j += VEC)
        VEC_STORE(to + j, VEC_LOAD(s + j) * scale + (VEC_LOAD(table + j) + VEC_LOAD(mask + j)));
})
VEC_FUNCTION(add_row,
             (const float *s, float *to, const float *table, const float *mask, int64_t n, float scale),
             (s, to, table, mask, n, scale))

/* Where row r's biases begin in a head's reversed table. */
static int64_t first_bias(const Windows *w, int64_t r)
{
    return (w->side - 1 - r / w->side) * w->wide + w->side - 1 - r % w->side;
}

static void add(const AttentionUnit *u, int64_t r, const float *terms, const float *s, float *to)
{
    (void)terms;
    const Windows *w = windows_of(u);
    int64_t side = w->side, late = side - w->shift, window = u->b % (w->rows * w->columns);
    bool last_row = w->shift && window / w->columns == w->rows - 1,
         last_column = w->shift && window % w->columns == w->columns - 1;
    const float *table = w->tables + u->g * w->wide * w->wide + first_bias(w, r);
    const float *columns = last_column ? w->column + (r % side >= late ? side : 0) : w->none;
    for (int64_t i = 0; i < side; i++) {
        bool apart = last_row && (r / side >= late) != (i >= late);
        add_row(s + i * side, to + i * side, table + i * w->wide, apart ? w->all : columns, side, u->a->scale);
    }
}

static void add_gradient(const AttentionUnit *u, int64_t r, const float *ds, float *dterms, float *sums)
{
    (void)dterms;
    const Windows *w = windows_of(u);
    if (!sums) return;
    sums += first_bias(w, r);
    for (int64_t i = 0; i < w->side; i++)
        for (int64_t j = 0; j < w->side; j++) sums[i * w->wide + j] += ds[i * w->side + j];
}

void window_attention_forward_cpu(Tape *t, Node *n)
{
    Windows w = windows_make(t, n);
    AttentionBias bias = {.context = &w, .add = add};
    Attention a = attention_of(n, NODE_AS(WindowAttentionParams, n)->scale);
    a.bias = &bias;
    attention_forward_units(t, n, &a);
}

void window_attention_backward_cpu(Tape *t, Node *n)
{
    Windows w = windows_make(t, n);
    AttentionBias bias = {.context = &w, .add = add, .add_gradient = add_gradient, .n_sums = w.wide * w.wide};
    Attention a = attention_of(n, NODE_AS(WindowAttentionParams, n)->scale);
    a.bias = &bias;
    const Tensor *table = n->in[3];
    if (table->grad) {
        size_t bytes = (size_t)(a.B * a.H * bias.n_sums) * sizeof(float);
        bias.sums = memset(tape_scratch(t, bytes), 0, bytes);
    }
    attention_backward_units(t, n, &a);
    for (int64_t i = 0; table->grad && i < bias.n_sums * a.H; i++) { /* in the windows' order */
        double sum = 0;
        int64_t h = i % a.H, j = bias.n_sums - 1 - i / a.H;
        for (int64_t b = 0; b < a.B; b++) sum += (double)bias.sums[(b * a.H + h) * bias.n_sums + j];
        ((float *)table->grad->data)[i] += (float)sum;
    }
}
