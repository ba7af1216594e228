/* Element by element, and sums, means and maxima along axes. */
#include "tests/onnx/run.h"

/* ---- two inputs of different dims ---- */

/* Dims of b against a's. Before opset 7 b's first axis is told by an attribute; from then on axes are counted
 * from the last. */
static Value aligned(const Run *r, const Value *a, const Value *b)
{
    Value wide = *b;
    if (r->model->opset >= 7 || !attr_int(r, "broadcast", 0) || b->ndim == a->ndim) return wide;
    int from = (int)attr_int(r, "axis", a->ndim - b->ndim);
    wide.ndim = a->ndim - from;
    for (int i = b->ndim; i < wide.ndim; i++) wide.dim[i] = 1;
    return wide;
}

/* Dims of both together. */
static int joint_dims(const Value *a, const Value *b, int64_t *dim)
{
    int ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
    for (int i = 0; i < ndim; i++) {
        int64_t x = i < ndim - a->ndim ? 1 : a->dim[i - ndim + a->ndim];
        int64_t y = i < ndim - b->ndim ? 1 : b->dim[i - ndim + b->ndim];
        ck_assert(x == y || x == 1 || y == 1);
        dim[i] = x > y ? x : y;
    }
    return ndim;
}

/* v repeated to those dims, as (n). */
static Tensor *spread(Run *r, const Value *v, int ndim, const int64_t *dim)
{
    int64_t n = product(dim, ndim);
    if (v->n == n) return flat(r, v);
    int64_t *at = pool_take(&r->pool, (size_t)n, sizeof *at);
    for (int64_t i = 0; i < n; i++) {
        int64_t rest = i, step = 1;
        for (int d = ndim - 1, e = v->ndim - 1; e >= 0; rest /= dim[d--], step *= v->dim[e--])
            if (v->dim[e] > 1) at[i] += rest % dim[d] * step;
    }
    return picked(r, flat(r, v), at, n);
}

/* Whether b's dims are a's last ones. */
static bool trails(const Value *a, const Value *b)
{
    for (int i = 1; i <= b->ndim; i++)
        if (i > a->ndim || b->dim[b->ndim - i] != a->dim[a->ndim - i]) return false;
    return b->n < a->n;
}

typedef Tensor *Binary(Tape *, Tensor *, Tensor *);

static const char *binary(Run *r, Binary *f)
{
    Tape *t = &r->rig.tape;
    const Value *a = given(r, 0), wide = aligned(r, a, given(r, 1)), *b = &wide;
    int64_t dim[ONNX_DIMS];
    int ndim = joint_dims(a, b, dim);
    if (f != op_mul && trails(a, b)) {
        Tensor *bias = f == op_sub ? op_scale(t, flat(r, b), -1) : flat(r, b);
        take(give(r, 0, a->type, ndim, dim), op_add_bias(t, matrix(r, a, b->n), bias));
        return NULL;
    }
    Tensor *y = f(t, spread(r, a, ndim, dim), spread(r, b, ndim, dim));
    take(give(r, 0, a->type, ndim, dim), y);
    return NULL;
}

const char *onnx_add(Run *r) { return binary(r, op_add); }
const char *onnx_sub(Run *r) { return binary(r, op_sub); }
const char *onnx_mul(Run *r) { return binary(r, op_mul); }

/* ---- any number of inputs ---- */

/* The larger: a + relu(b - a); the smaller: a - relu(a - b). */
static Tensor *larger(Tape *t, Tensor *a, Tensor *b) { return op_add(t, a, op_relu(t, op_sub(t, b, a))); }
static Tensor *smaller(Tape *t, Tensor *a, Tensor *b) { return op_sub(t, a, op_relu(t, op_sub(t, a, b))); }

static const char *fold(Run *r, Binary *f, bool mean)
{
    Tape *t = &r->rig.tape;
    const Value *x = given(r, 0);
    Value *y = give(r, 0, x->type, x->ndim, x->dim);
    if (r->node->n_in == 1) {
        memcpy(y->f, x->f, (size_t)x->n * sizeof *x->f);
        return NULL;
    }
    Tensor *all = flat(r, x);
    for (int i = 1; i < r->node->n_in; i++) {
        ck_assert_int_eq(given(r, i)->n, x->n);
        all = f(t, all, flat(r, given(r, i)));
    }
    take(y, mean ? op_scale(t, all, 1 / (float)r->node->n_in) : all);
    return NULL;
}

const char *onnx_sum(Run *r) { return fold(r, op_add, false); }
const char *onnx_mean(Run *r) { return fold(r, op_add, true); }
const char *onnx_max(Run *r) { return fold(r, larger, false); }
const char *onnx_min(Run *r) { return fold(r, smaller, false); }

/* ---- one input ---- */

static const char *gives(Run *r, Tensor *y)
{
    const Value *x = given(r, 0);
    take(give(r, 0, x->type, x->ndim, x->dim), y);
    return NULL;
}

/* x (n) + c */
static Tensor *plus(Run *r, Tensor *x, float c)
{
    Tensor *column = shaped(r, x, 2, (int64_t[]){tensor_len(x), 1});
    return op_add_bias(&r->rig.tape, column, filled(r, 1, c));
}

static Tensor *absolute(Tape *t, Tensor *x) { return op_add(t, op_relu(t, x), op_relu(t, op_scale(t, x, -1))); }

const char *onnx_neg(Run *r) { return gives(r, op_scale(&r->rig.tape, flat(r, given(r, 0)), -1)); }
const char *onnx_abs(Run *r) { return gives(r, absolute(&r->rig.tape, flat(r, given(r, 0)))); }
const char *onnx_relu(Run *r) { return gives(r, op_relu(&r->rig.tape, flat(r, given(r, 0)))); }
const char *onnx_sigmoid(Run *r) { return gives(r, op_sigmoid(&r->rig.tape, flat(r, given(r, 0)))); }

/* tanh x = 2 sigmoid(2 x) - 1 */
const char *onnx_tanh(Run *r)
{
    Tape *t = &r->rig.tape;
    Tensor *s = op_sigmoid(t, op_scale(t, flat(r, given(r, 0)), 2));
    return gives(r, plus(r, op_scale(t, s, 2), -1));
}

/* erf x = 2 gelu(z) / z - 1 with z = sqrt(2) x, x not 0 */
const char *onnx_erf(Run *r)
{
    Tape *t = &r->rig.tape;
    const Value *x = given(r, 0);
    Value *factor = value_new(r, ONNX_FLOAT, x->ndim, x->dim);
    for (int64_t i = 0; i < x->n; i++) {
        if (x->f[i] == 0) return "erf of 0, which gelu does not tell";
        factor->f[i] = (float)(sqrt(2) / (double)x->f[i]);
    }
    Tensor *gelu = op_gelu(t, op_scale(t, flat(r, x), (float)sqrt(2)));
    return gives(r, plus(r, op_mul(t, gelu, flat(r, factor)), -1));
}

/* At least a: a + relu(x - a); at most b: b - relu(b - x). */
const char *onnx_clip(Run *r)
{
    Tape *t = &r->rig.tape;
    const Value *x = given(r, 0), *low = given(r, 1), *high = given(r, 2);
    const OnnxAttr *min = attr(r, "min"), *max = attr(r, "max");
    Tensor *y = flat(r, x);
    if (!low && !high && !min && !max) return "Clip without bounds";
    if (low || min) {
        float a = low ? low->f[0] : min->f;
        y = plus(r, op_relu(t, plus(r, y, -a)), a);
    }
    if (high || max) {
        float b = high ? high->f[0] : max->f;
        y = plus(r, op_scale(t, op_relu(t, plus(r, op_scale(t, y, -1), b)), -1), b);
    }
    return gives(r, y);
}

/* ---- along axes ---- */

/* Which axes: an attribute, from opset 13 on for some an input; none means all, or (noop) none. */
static int axes_of(Run *r, bool *is_reduced)
{
    const Value *x = given(r, 0), *input = given(r, 1);
    const OnnxAttr *list = attr(r, "axes");
    int n = input ? (int)input->n : list ? list->n_ints : 0;
    for (int i = 0; i < x->ndim; i++) is_reduced[i] = !n && !attr_int(r, "noop_with_empty_axes", 0);
    for (int i = 0; i < n; i++) is_reduced[axis_of(input ? input->i[i] : list->ints[i], x->ndim)] = true;
    for (int i = n = 0; i < x->ndim; i++) n += is_reduced[i];
    return n;
}

/* f of rows (R,D) -> R elements, over the axes in question. */
static const char *reduce(Run *r, Tensor *(*f)(Run *, Tensor *))
{
    const Value *x = given(r, 0);
    bool is_reduced[ONNX_DIMS], keep = attr_int(r, "keepdims", 1);
    int64_t dim[ONNX_DIMS], columns = 1;
    int order[ONNX_DIMS], ndim = 0, kept = 0, last = x->ndim - axes_of(r, is_reduced);
    for (int i = 0; i < x->ndim; i++) {
        if (is_reduced[i]) columns *= x->dim[i];
        order[is_reduced[i] ? last++ : kept++] = i;
        if (keep || !is_reduced[i]) dim[ndim++] = is_reduced[i] ? 1 : x->dim[i];
    }
    if (kept == x->ndim) return "no axis to reduce";
    Value *rows = turned(r, x, order);
    take(give(r, 0, x->type, ndim, dim), f(r, matrix(r, rows, columns)));
    return NULL;
}

/* All at once by op_sum, rows by a product with ones. */
static Tensor *row_sums(Run *r, Tensor *x)
{
    int64_t D = x->dim[1];
    if (x->dim[0] == 1) return op_sum(&r->rig.tape, x, 1);
    Tensor *ones = shaped(r, filled(r, D, 1), 2, (int64_t[]){1, D});
    return op_matmul(&r->rig.tape, x, ones, NULL, NULL, false, true);
}

static Tensor *row_means(Run *r, Tensor *x)
{
    const int64_t image[4] = {x->dim[0], x->dim[1], 1, 1};
    return op_adaptive_pool(&r->rig.tape, shaped(r, x, 4, image), 1, 1);
}

static Tensor *row_maxima(Run *r, Tensor *x)
{
    return op_reduce_max(&r->rig.tape, shaped(r, x, 3, (int64_t[]){x->dim[0], x->dim[1], 1}));
}

static Tensor *row_minima(Run *r, Tensor *x)
{
    return op_scale(&r->rig.tape, row_maxima(r, op_scale(&r->rig.tape, x, -1)), -1);
}

static Tensor *row_l1(Run *r, Tensor *x) { return row_sums(r, absolute(&r->rig.tape, x)); }

/* What op_l2norm saves. */
static Tensor *row_l2(Run *r, Tensor *x)
{
    op_l2norm(&r->rig.tape, x);
    return saved(r, 0);
}

static Tensor *row_squares(Run *r, Tensor *x)
{
    if (x->dim[0] == 1) return op_sqnorm(&r->rig.tape, x);
    return row_sums(r, op_mul(&r->rig.tape, x, x));
}

const char *onnx_reduce_sum(Run *r) { return reduce(r, row_sums); }
const char *onnx_reduce_mean(Run *r) { return reduce(r, row_means); }
const char *onnx_reduce_max(Run *r) { return reduce(r, row_maxima); }
const char *onnx_reduce_min(Run *r) { return reduce(r, row_minima); }
const char *onnx_reduce_l1(Run *r) { return reduce(r, row_l1); }
const char *onnx_reduce_l2(Run *r) { return reduce(r, row_l2); }
const char *onnx_reduce_sum_square(Run *r) { return reduce(r, row_squares); }
const char *onnx_reduce_log_sum_exp(Run *r) { return reduce(r, row_lse); }

/* y[j] = sum of x[i] with i <= j: a product with a triangle of ones. */
const char *onnx_cumsum(Run *r)
{
    const Value *x = given(r, 0);
    int axis = axis_of(given(r, 1)->i[0], x->ndim);
    bool exclusive = attr_int(r, "exclusive", 0), reverse = attr_int(r, "reverse", 0);
    int64_t n = x->dim[axis];
    Value *rows = axis_last(r, x, axis), *ones = value_new(r, ONNX_FLOAT, 2, (int64_t[]){n, n});
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) ones->f[i * n + j] = i == j ? !exclusive : reverse ? i > j : i < j;
    take(rows, op_matmul(&r->rig.tape, matrix(r, rows, n), matrix(r, ones, n), NULL, NULL, false, false));
    memcpy(give(r, 0, x->type, x->ndim, x->dim)->f, axis_back(r, rows, axis)->f, (size_t)x->n * sizeof(float));
    return NULL;
}

/* Of the smallest: the rows times -1. The last of several: the first of the row turned round. */
static const char *arg(Run *r, float sign)
{
    const Value *x = given(r, 0);
    int axis = axis_of(attr_int(r, "axis", 0), x->ndim), ndim = 0;
    bool last = attr_int(r, "select_last_index", 0);
    int64_t D = x->dim[axis], dim[ONNX_DIMS];
    for (int i = 0; i < x->ndim; i++)
        if (i != axis || attr_int(r, "keepdims", 1)) dim[ndim++] = i == axis ? 1 : x->dim[i];
    Value *rows = axis_last(r, x, axis), *round = value_new(r, x->type, x->ndim, rows->dim);
    for (int64_t i = 0; i < x->n; i++) round->f[i] = rows->f[last ? i / D * D + D - 1 - i % D : i];
    Value *y = give(r, 0, ONNX_INT64, ndim, dim);
    Tensor *signs = op_scale(&r->rig.tape, matrix(r, round, D), sign);
    take(y, op_argmax(&r->rig.tape, signs));
    for (int64_t i = 0; last && i < y->n; i++) y->i[i] = D - 1 - y->i[i];
    return NULL;
}

const char *onnx_argmax(Run *r) { return arg(r, 1); }
const char *onnx_argmin(Run *r) { return arg(r, -1); }
