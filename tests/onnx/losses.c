/* Cross-entropy by op_cross_entropy, with the identity as the language-model head, so that rows are their own
 * logits; of log-probabilities (NLL) it is that less the log-sum-exp which the op saves. Weights of classes:
 * one call a class, in which the other labels are ignored. */
#include "tests/onnx/run.h"

typedef struct Loss {
    Tensor *x;            /* (R,C) */
    const Value *weights; /* (C) or NULL */
    int64_t R, C, *label; /* -1: ignored */
    bool nll, mean;
} Loss;

/* Sum over the rows with these labels, or their mean; (1). */
static Tensor *over_rows(Run *r, const Loss *l, const int64_t *label, bool mean)
{
    Tape *t = &r->rig.tape;
    int64_t counted = 0;
    for (int64_t i = 0; i < l->R; i++) counted += label[i] >= 0;
    Tensor *loss = op_cross_entropy(t, l->x, identity(r, l->C), places(r, label, l->R), mean);
    if (!l->nll || !counted) return loss;
    return op_sub(t, loss, op_sum(t, saved(r, 0), mean ? 1 / (float)counted : 1));
}

static Tensor *weighted(Run *r, const Loss *l)
{
    Tape *t = &r->rig.tape;
    Tensor *sum = NULL;
    double weight = 0;
    for (int64_t c = 0; c < l->C; c++) {
        int64_t *label = pool_take(&r->pool, (size_t)l->R, sizeof *label);
        for (int64_t i = 0; i < l->R; i++) {
            label[i] = l->label[i] == c ? c : -1;
            if (label[i] >= 0) weight += (double)l->weights->f[c];
        }
        Tensor *part = op_scale(t, over_rows(r, l, label, false), l->weights->f[c]);
        sum = sum ? op_add(t, sum, part) : part;
    }
    return l->mean ? op_scale(t, sum, (float)(1 / weight)) : sum;
}

/* Row by row: lse - x[label], for NLL without lse; times the weight, 0 where it is ignored. */
static Tensor *each(Run *r, const Loss *l)
{
    Tape *t = &r->rig.tape;
    int64_t *at = pool_take(&r->pool, (size_t)l->R, sizeof *at);
    Value *factor = value_new(r, ONNX_FLOAT, 1, &l->R);
    for (int64_t i = 0; i < l->R; i++) {
        bool counted = l->label[i] >= 0;
        at[i] = i * l->C + (counted ? l->label[i] : 0);
        factor->f[i] = !counted ? 0 : l->weights ? l->weights->f[l->label[i]] : 1;
    }
    Tensor *own = picked(r, l->x, at, l->R);
    Tensor *loss = l->nll ? op_scale(t, own, -1) : op_sub(t, row_lse(r, l->x), own);
    return op_mul(t, loss, flat(r, factor));
}

static const char *loss(Run *r, bool nll)
{
    const Value *x = given(r, 0), *target = given(r, 1);
    const OnnxAttr *reduction = attr(r, "reduction"), *ignored = attr(r, "ignore_index");
    Value *rows = axis_last(r, x, 1);
    Loss l = {.C = x->dim[1], .R = x->n / x->dim[1], .weights = given(r, 2), .nll = nll};
    l.x = matrix(r, rows, l.C);
    l.mean = !reduction || text_is(reduction->s, "mean");
    l.label = pool_take(&r->pool, (size_t)l.R, sizeof *l.label);
    ck_assert_int_eq(target->n, l.R);
    for (int64_t i = 0; i < l.R; i++) {
        l.label[i] = ignored && target->i[i] == ignored->i ? -1 : target->i[i];
        ck_assert(l.label[i] >= -1 && l.label[i] < l.C);
    }
    if (reduction && text_is(reduction->s, "none"))
        take(give(r, 0, x->type, target->ndim, target->dim), each(r, &l));
    else
        take(give(r, 0, x->type, 0, NULL), l.weights ? weighted(r, &l) : over_rows(r, &l, l.label, l.mean));
    if (r->node->n_out < 2) return NULL;
    take(rows, log_softmax_rows(r, l.x));
    memcpy(give(r, 1, x->type, x->ndim, x->dim)->f, axis_back(r, rows, 1)->f, (size_t)x->n * sizeof *x->f);
    return NULL;
}

const char *onnx_cross_entropy(Run *r) { return loss(r, false); }
const char *onnx_nll(Run *r) { return loss(r, true); }
