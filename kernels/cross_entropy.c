/* Language-model head and cross-entropy in one: loss = sum or mean over rows with label >= 0 of
 * lse(h w^T) - h . w[label]. h (R,D), w (V,D), label (R) i32 -> (1). Saved for backward: lse (R), 0 for rows
 * that are not counted.
 *
 * Logits exist for ROWS counted rows and CHUNK words at a time. Forward keeps a running maximum and sum;
 * backward makes each piece again: P = g (exp(logits - lse) - onehot(label)), dh += P w, dw += P^T h, where g =
 * dy or dy / count. Counted rows are gathered first, so that ignored ones cost nothing. */
#include "kernels/ops.h"
#include "kernels/gemm.h"
#include "kernels/rows.h"
#include <string.h>

enum { ROWS = 256, CHUNK = 2048 };

/* The counted rows, gathered. */
typedef struct Rows {
    int64_t n, *from; /* row of h */
    float *h;         /* (n,D) */
} Rows;

Tensor *op_cross_entropy(Tape *t, Tensor *h, Tensor *w, Tensor *label, bool mean)
{
    CrossEntropyParams p = {mean};
    return op_apply(t, &cross_entropy_op, 3, (Tensor *[]){h, w, label}, &p, sizeof p);
}

void cross_entropy_shape(Tape *t, Node *n)
{
    const Tensor *h = n->in[0], *w = n->in[1], *label = n->in[2];
    if (!is_activation(h) || h->ndim != 2 || !is_activation(w) || w->ndim != 2 || w->dim[1] != h->dim[1])
        die("cross_entropy: h %s and w %s are not (R,D) and (V,D)", tensor_text(h), tensor_text(w));
    if (label->dtype != DTYPE_i32 || label->ndim != 1 || label->dim[0] != h->dim[0])
        die("cross_entropy: label %s is not i32 (R) of h %s", tensor_text(label), tensor_text(h));
    int64_t one = 1;
    n->out = tape_tensor(t, DTYPE_f32, 1, &one);
    n->saved[0] = tape_tensor(t, DTYPE_f32, 1, h->dim);
}

static Rows gather(Tape *t, const Node *n)
{
    if (n->in[0]->dtype != DTYPE_f32)
        die("cross_entropy: h %s: device cpu computes in f32", tensor_text(n->in[0]));
    int64_t R = n->in[0]->dim[0], D = n->in[0]->dim[1], V = n->in[1]->dim[0];
    const float *h = n->in[0]->data;
    const int32_t *label = n->in[2]->data;
    Rows rows = {.from = tape_scratch(t, (size_t)R * sizeof *rows.from),
                 .h = tape_scratch(t, (size_t)(R * D) * sizeof *rows.h)};
    for (int64_t i = 0; i < R; i++) {
        if (label[i] >= V)
            die("cross_entropy: label %d at row %lld of a vocabulary of %lld", label[i], (long long)i,
                (long long)V);
        if (label[i] < 0) continue;
        memcpy(rows.h + rows.n * D, h + i * D, (size_t)D * sizeof *h);
        rows.from[rows.n++] = i;
    }
    return rows;
}

/* Words `from` to from + n - 1 of w as f32; `part` is room for them, or NULL where w is f32. */
static const float *words_of(const Tensor *w, int64_t from, int64_t n, float *part)
{
    int64_t D = w->dim[1];
    if (!part) return (const float *)w->data + from * D;
    bf16_row((const uint16_t *)w->data + from * D, n * D, part);
    return part;
}
static float *words_room(Tape *t, const Tensor *w, int64_t chunk)
{
    return w->dtype == DTYPE_f32 ? NULL : tape_scratch(t, (size_t)(chunk * w->dim[1]) * sizeof(float));
}

/* What one row has seen of its logits. */
typedef struct Running {
    float top, picked;
    double sum;
} Running;

static void running_add(Running *r, float *logit, int64_t from, int64_t n, int64_t label)
{
    float top, sum;
    if (label >= from && label < from + n) r->picked = logit[label - from];
    row_max(logit, n, &top);
    if (top > r->top) {
        r->sum *= exp((double)(r->top - top));
        r->top = top;
    }
    row_exp(logit, logit, n, n, 1, r->top, &sum);
    r->sum += (double)sum;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

void cross_entropy_forward_cpu(Tape *t, Node *n)
{
    int64_t D = n->in[0]->dim[1], V = n->in[1]->dim[0], R = n->in[0]->dim[0];
    const int32_t *label = n->in[2]->data;
    float *lse = n->saved[0]->data;
    Rows rows = gather(t, n);
    int64_t chunk = least(V, CHUNK);
    float *logits = tape_scratch(t, (size_t)(least(R, ROWS) * chunk) * sizeof *logits);
    float *part = words_room(t, n->in[1], chunk);
    double loss = 0;
    memset(lse, 0, (size_t)R * sizeof *lse);
    for (int64_t first = 0; first < rows.n; first += ROWS) {
        Running running[ROWS];
        int64_t count = least(ROWS, rows.n - first);
        for (int64_t i = 0; i < count; i++) running[i] = (Running){.top = -INFINITY};
        for (int64_t from = 0; from < V; from += chunk) {
            int64_t words = least(chunk, V - from);
            const float *w = words_of(n->in[1], from, words, part);
            gemm(false, true, count, words, D, 1, rows.h + first * D, D, w, D, 0, logits, chunk);
#pragma omp parallel for schedule(static) if (count > 1)
            for (int64_t i = 0; i < count; i++)
                running_add(running + i, logits + i * chunk, from, words, label[rows.from[first + i]]);
        }
        for (int64_t i = 0; i < count; i++) {
            double all = (double)running[i].top + log(running[i].sum);
            lse[rows.from[first + i]] = (float)all;
            loss += all - (double)running[i].picked;
        }
    }
    if (NODE_AS(CrossEntropyParams, n)->mean && rows.n) loss /= (double)rows.n;
    *(float *)n->out->data = (float)loss;
}

/* Logits to the loss's gradient, in place. */
static void gradient_row(float *logit, int64_t from, int64_t n, int64_t label, float lse, float g)
{
    float sum;
    row_exp(logit, logit, n, n, 1, lse, &sum);
    for (int64_t j = 0; j < n; j++) logit[j] *= g;
    if (label >= from && label < from + n) logit[label - from] -= g;
}

void cross_entropy_backward_cpu(Tape *t, Node *n)
{
    int64_t D = n->in[0]->dim[1], V = n->in[1]->dim[0], R = n->in[0]->dim[0];
    const float *lse = n->saved[0]->data;
    const int32_t *label = n->in[2]->data;
    float *dh = n->in[0]->grad ? n->in[0]->grad->data : NULL,
          *dw = n->in[1]->grad ? n->in[1]->grad->data : NULL;
    Rows rows = gather(t, n);
    if (!rows.n || (!dh && !dw)) return;
    int64_t chunk = least(V, CHUNK);
    float *logits = tape_scratch(t, (size_t)(least(R, ROWS) * chunk) * sizeof *logits);
    float *sum = tape_scratch(t, (size_t)(least(R, ROWS) * D) * sizeof *sum),
          *part = words_room(t, n->in[1], chunk);
    float g = *(const float *)n->out->grad->data;
    if (NODE_AS(CrossEntropyParams, n)->mean) g /= (float)rows.n;
    for (int64_t first = 0; first < rows.n; first += ROWS) {
        int64_t count = least(ROWS, rows.n - first);
        const float *h = rows.h + first * D;
        for (int64_t from = 0; from < V; from += chunk) {
            int64_t words = least(chunk, V - from);
            const float *w = words_of(n->in[1], from, words, part);
            gemm(false, true, count, words, D, 1, h, D, w, D, 0, logits, chunk);
#pragma omp parallel for schedule(static) if (count > 1)
            for (int64_t i = 0; i < count; i++)
                gradient_row(logits + i * chunk, from, words, label[rows.from[first + i]],
                             lse[rows.from[first + i]], g);
            if (dh) gemm(false, false, count, D, words, 1, logits, chunk, w, D, from ? 1 : 0, sum, D);
            if (dw) gemm(true, false, words, D, count, 1, logits, chunk, h, D, 1, dw + from * D, D);
        }
        for (int64_t i = 0; dh && i < count; i++)
            for (int64_t d = 0; d < D; d++) dh[rows.from[first + i] * D + d] += sum[i * D + d];
    }
}
