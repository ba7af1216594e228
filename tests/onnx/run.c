#include "tests/onnx/run.h"
#include <stdarg.h>

const char *run_unable(Run *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->reason, sizeof r->reason, format, args);
    va_end(args);
    return r->reason;
}

void run_clear(Run *r)
{
    tape_reset(&r->rig.tape);
    arena_pop(&r->rig.state, (ArenaMark){0, 0});
    pool_clear(&r->pool);
    r->n_values = r->tensors = 0;
}

/* ---- values ---- */

Value *run_find(Run *r, Text name)
{
    for (int i = 0; i < r->n_values; i++)
        if (text_same(r->value[i].name, name)) return &r->value[i];
    return NULL;
}

const Value *given(Run *r, int i)
{
    if (i >= r->node->n_in || !r->node->in[i].n) return NULL;
    const Value *v = run_find(r, r->node->in[i]);
    ck_assert_msg(v != NULL, "no value %.*s", (int)r->node->in[i].n, r->node->in[i].at);
    return v;
}

int64_t product(const int64_t *dim, int n)
{
    int64_t p = 1;
    for (int i = 0; i < n; i++) p *= dim[i];
    return p;
}

static void make(Run *r, Value *v, int type, int ndim, const int64_t *dim)
{
    *v = (Value){.type = type, .ndim = ndim, .n = product(dim, ndim)};
    for (int i = 0; i < ndim; i++) v->dim[i] = dim[i];
    if (onnx_is_real(type))
        v->f = pool_take(&r->pool, (size_t)v->n + 1, sizeof *v->f);
    else
        v->i = pool_take(&r->pool, (size_t)v->n + 1, sizeof *v->i);
}

Value *value_new(Run *r, int type, int ndim, const int64_t *dim)
{
    Value *v = pool_take(&r->pool, 1, sizeof *v);
    make(r, v, type, ndim, dim);
    return v;
}

Value *give(Run *r, int i, int type, int ndim, const int64_t *dim)
{
    ck_assert_int_lt(r->n_values, RUN_VALUES);
    Value *v = &r->value[r->n_values++];
    make(r, v, type, ndim, dim);
    if (i < r->node->n_out) v->name = r->node->out[i];
    return v;
}

const OnnxAttr *attr(const Run *r, const char *name)
{
    for (int i = 0; i < r->node->n_attr; i++)
        if (text_is(r->node->attr[i].name, name)) return &r->node->attr[i];
    return NULL;
}

int64_t attr_int(const Run *r, const char *name, int64_t otherwise)
{
    const OnnxAttr *a = attr(r, name);
    return a ? a->i : otherwise;
}

float attr_float(const Run *r, const char *name, float otherwise)
{
    const OnnxAttr *a = attr(r, name);
    return a ? a->f : otherwise;
}

int axis_of(int64_t axis, int ndim)
{
    int64_t at = axis < 0 ? axis + ndim : axis;
    ck_assert_msg(at >= 0 && at <= ndim, "axis %lld of %d", (long long)axis, ndim);
    return (int)at;
}

int64_t *turned_places(Run *r, const Value *x, const int *order, int64_t *dim)
{
    int64_t *at = pool_take(&r->pool, (size_t)x->n + 1, sizeof *at), step[ONNX_DIMS];
    for (int i = 0; i < x->ndim; i++) {
        dim[i] = x->dim[order[i]];
        step[i] = product(x->dim + order[i] + 1, x->ndim - order[i] - 1);
    }
    for (int64_t i = 0; i < x->n; i++) {
        int64_t rest = i;
        for (int d = x->ndim - 1; d >= 0; rest /= dim[d--]) at[i] += rest % dim[d] * step[d];
    }
    return at;
}

Value *turned(Run *r, const Value *x, const int *order)
{
    int64_t dim[ONNX_DIMS], *at = turned_places(r, x, order, dim);
    Value *y = value_new(r, x->type, x->ndim, dim);
    for (int64_t i = 0; i < x->n; i++)
        if (x->f)
            y->f[i] = x->f[at[i]];
        else
            y->i[i] = x->i[at[i]];
    return y;
}

Value *axis_last(Run *r, const Value *x, int axis)
{
    int order[ONNX_DIMS];
    for (int i = 0; i < x->ndim; i++) order[i] = i < axis ? i : i + 1;
    order[x->ndim - 1] = axis;
    return turned(r, x, order);
}

Value *axis_back(Run *r, const Value *x, int axis)
{
    int order[ONNX_DIMS];
    for (int i = 0; i < x->ndim; i++) order[i] = i < axis ? i : i - 1;
    order[axis] = x->ndim - 1;
    return turned(r, x, order);
}

/* ---- tensors ---- */

Tensor *tensor_of(Run *r, const float *x, int ndim, const int64_t *dim)
{
    Tensor *t = tensor_new(&r->rig.state, DTYPE_f32, ndim, dim);
    tensor_upload(t, x);
    t->needs_grad = true;
    r->tensors++;
    return t;
}

Tensor *flat(Run *r, const Value *v) { return tensor_of(r, v->f, 1, &v->n); }

Tensor *matrix(Run *r, const Value *v, int64_t columns)
{
    return tensor_of(r, v->f, 2, (int64_t[]){v->n / columns, columns});
}

Tensor *filled(Run *r, int64_t n, float x)
{
    float *all = pool_take(&r->pool, (size_t)n + 1, sizeof *all);
    for (int64_t i = 0; i < n; i++) all[i] = x;
    return tensor_of(r, all, 1, &n);
}

Tensor *places(Run *r, const int64_t *at, int64_t n)
{
    int32_t *narrow = pool_take(&r->pool, (size_t)n + 1, sizeof *narrow);
    Tensor *t = tensor_new(&r->rig.state, DTYPE_i32, 1, &n);
    for (int64_t i = 0; i < n; i++) narrow[i] = (int32_t)at[i];
    tensor_upload(t, narrow);
    return t;
}

Tensor *shaped(Run *r, Tensor *x, int ndim, const int64_t *dim)
{
    return tensor_reshape(&r->rig.step, x, ndim, dim);
}

Tensor *picked(Run *r, Tensor *x, const int64_t *at, int64_t n)
{
    Tensor *column = shaped(r, x, 2, (int64_t[]){tensor_len(x), 1});
    return shaped(r, op_select(&r->rig.tape, column, places(r, at, n)), 1, &n);
}

Tensor *saved(Run *r, int i)
{
    ck_assert(r->rig.tape.last != NULL && r->rig.tape.last->saved[i] != NULL);
    return r->rig.tape.last->saved[i];
}

void take(Value *v, const Tensor *y)
{
    ck_assert_msg(tensor_len(y) == v->n, "%s for %lld elements", tensor_text(y), (long long)v->n);
    if (v->f) {
        tensor_download(y, v->f);
        return;
    }
    int32_t *narrow = host_copy(y);
    for (int64_t i = 0; i < v->n; i++) v->i[i] = narrow[i];
    free(narrow);
}

Tensor *identity(Run *r, int64_t n)
{
    float *one = pool_take(&r->pool, (size_t)(n * n), sizeof *one);
    for (int64_t i = 0; i < n; i++) one[i * n + i] = 1;
    return tensor_of(r, one, 2, (int64_t[]){n, n});
}

Tensor *row_lse(Run *r, Tensor *x)
{
    int64_t *none = pool_take(&r->pool, (size_t)x->dim[0], sizeof *none);
    op_cross_entropy(&r->rig.tape, x, identity(r, x->dim[1]), places(r, none, x->dim[0]), false);
    return saved(r, 0);
}

Tensor *log_softmax_rows(Run *r, Tensor *x)
{
    Tape *t = &r->rig.tape;
    int64_t R = x->dim[0], C = x->dim[1], n = R * C;
    int64_t *row = pool_take(&r->pool, (size_t)n, sizeof *row);
    for (int64_t i = 0; i < n; i++) row[i] = i / C;
    Tensor *largest = op_reduce_max(t, shaped(r, x, 3, (int64_t[]){R, C, 1}));
    Tensor *rest = op_sub(t, shaped(r, x, 1, &n), picked(r, largest, row, n));
    Tensor *lse = row_lse(r, shaped(r, rest, 2, (int64_t[]){R, C}));
    return op_sub(t, rest, picked(r, lse, row, n));
}
