/* Nucleus sampling (Holtzman et al. 2020, the rule of LLaMA's reference generation): p = softmax(x /
 * temperature); tokens in descending order of p, the lower id first where equal; a token is kept while the mass
 * before it does not exceed top_p; one of them is drawn with Philox (key seed, counter row and step). x (R,V),
 * draw (3) i32: step, low and high word of the seed -> i32 (R). saved[0]: the kept tokens' renormalised
 * probabilities (R,V), 0 elsewhere.
 *
 * A heap yields tokens in order without sorting the vocabulary: O(V + kept log V). Mass in double. A NaN has
 * probability 0; +inf shares all of it; a row without a number gives token 0. */
#include "kernels/ops.h"
#include "tensor/rng.h"
#include <math.h>
#include <string.h>

typedef struct Token {
    double p;
    int32_t id;
} Token;

Tensor *op_top_p(Tape *t, Tensor *x, Tensor *draw, TopPParams p)
{
    return op_apply(t, &top_p_op, 2, (Tensor *[]){x, draw}, &p, sizeof p);
}

void top_p_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *draw = n->in[1];
    const float temperature = NODE_AS(TopPParams, n)->temperature;
    if (x->dtype != DTYPE_f32 || x->ndim != 2) die("top_p: x %s is not f32 with two dims", tensor_text(x));
    if (draw->dtype != DTYPE_i32 || tensor_len(draw) != 3)
        die("top_p: draw %s is not three i32", tensor_text(draw));
    if (!(temperature > 0)) die("top_p: temperature %g is not above 0", (double)temperature);
    n->out = tape_tensor(t, DTYPE_i32, 1, x->dim);
    n->saved[0] = tape_tensor(t, DTYPE_f32, 2, x->dim);
}

static bool before(Token a, Token b) { return a.p > b.p || (a.p == b.p && a.id < b.id); }

static void sift(Token *heap, int64_t n, int64_t i)
{
    Token x = heap[i];
    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], x)) break;
        heap[i] = heap[child];
    }
    heap[i] = x;
}

/* Tokens of non-zero probability, as a heap; returns how many. */
static int64_t softmax_heap(const float *x, int64_t V, double temperature, Token *heap)
{
    double top = -INFINITY, sum = 0;
    int64_t n = 0;
    for (int64_t j = 0; j < V; j++)
        if ((double)x[j] > top) top = (double)x[j];
    for (int64_t j = 0; j < V; j++) {
        double e = (double)x[j] == top ? 1 : exp(((double)x[j] - top) / temperature);
        if (!(e > 0)) continue;
        heap[n++] = (Token){e, (int32_t)j};
        sum += e;
    }
    for (int64_t i = 0; i < n; i++) heap[i].p /= sum;
    for (int64_t i = n / 2; i-- > 0;) sift(heap, n, i);
    return n;
}

static int32_t sample_row(const float *x, int64_t V, int64_t row, const int32_t *at, const TopPParams *p,
                          Token *heap, float *kept)
{
    int64_t n = softmax_heap(x, V, (double)p->temperature, heap), all = n;
    double mass = 0;
    memset(kept, 0, (size_t)V * sizeof *kept);
    /* The largest moves behind the end of the shrinking heap: the kept lie in order from the end downwards. */
    while (n > 0 && mass <= (double)p->top_p) {
        Token best = heap[0];
        heap[0] = heap[--n];
        sift(heap, n, 0);
        heap[n] = best;
        mass += best.p;
    }
    Philox r = philox4x32((uint32_t)row, (uint32_t)((uint64_t)row >> 32), (uint32_t)at[0], 0, (uint32_t)at[1],
                          (uint32_t)at[2]);
    double draw = (double)philox_unit(r.v[0]) * mass, seen = 0;
    int32_t chosen = -1;
    for (int64_t i = all; i-- > n;) {
        kept[heap[i].id] = (float)(heap[i].p / mass);
        seen += heap[i].p;
        if (chosen < 0 && draw < seen) chosen = heap[i].id;
    }
    return chosen < 0 ? 0 : chosen;
}

void top_p_forward_cpu(Tape *t, Node *n)
{
    const float *x = n->in[0]->data;
    const int32_t *draw = n->in[1]->data;
    float *kept = n->saved[0]->data;
    int32_t *y = n->out->data;
    int64_t R = n->in[0]->dim[0], V = n->in[0]->dim[1];
    Token *heap = tape_scratch(t, (size_t)(R * V) * sizeof *heap); /* (R,V) */
#pragma omp parallel for schedule(static) if (R * V > 1 << 12)
    for (int64_t r = 0; r < R; r++)
        y[r] = sample_row(x + r * V, V, r, draw, NODE_AS(TopPParams, n), heap + r * V, kept + r * V);
}
