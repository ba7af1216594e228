/* No arithmetic: the values stay, dims and names change. */
#include "tests/onnx/run.h"

static const char *with_dims(Run *r, int ndim, const int64_t *dim)
{
    const Value *x = given(r, 0);
    Value *y = give(r, 0, x->type, ndim, dim);
    ck_assert_int_eq(y->n, x->n);
    if (x->f)
        memcpy(y->f, x->f, (size_t)x->n * sizeof *x->f);
    else
        memcpy(y->i, x->i, (size_t)x->n * sizeof *x->i);
    return NULL;
}

const char *onnx_identity(Run *r) { return with_dims(r, given(r, 0)->ndim, given(r, 0)->dim); }

const char *onnx_constant(Run *r)
{
    const OnnxAttr *a = attr(r, "value"), *ints = attr(r, "value_ints"), *one = attr(r, "value_int");
    const int64_t n = ints ? ints->n_ints : 1;
    if (a && a->t) {
        const Value *x = a->t;
        Value *y = give(r, 0, x->type, x->ndim, x->dim);
        y->f = x->f, y->i = x->i;
        return NULL;
    }
    if (!ints && !one) return "a Constant of another form";
    memcpy(give(r, 0, ONNX_INT64, ints != NULL, &n)->i, ints ? ints->ints : &one->i, (size_t)n * sizeof n);
    return NULL;
}

const char *onnx_shape(Run *r)
{
    const Value *x = given(r, 0);
    const int64_t n = x->ndim;
    if (attr(r, "start") || attr(r, "end")) return "Shape of some axes";
    memcpy(give(r, 0, ONNX_INT64, 1, &n)->i, x->dim, (size_t)n * sizeof n);
    return NULL;
}

/* 0: as in x; -1: what is left. */
const char *onnx_reshape(Run *r)
{
    const Value *x = given(r, 0), *to = given(r, 1);
    int64_t dim[ONNX_DIMS], known = 1;
    if (attr_int(r, "allowzero", 0)) return "Reshape with allowzero";
    ck_assert_int_le(to->n, ONNX_DIMS);
    for (int64_t i = 0; i < to->n; i++) {
        dim[i] = to->i[i] ? to->i[i] : x->dim[i];
        if (dim[i] > 0) known *= dim[i];
    }
    for (int64_t i = 0; i < to->n; i++)
        if (dim[i] < 0) dim[i] = x->n / known;
    return with_dims(r, (int)to->n, dim);
}

const char *onnx_flatten(Run *r)
{
    const Value *x = given(r, 0);
    int64_t rows = product(x->dim, axis_of(attr_int(r, "axis", 1), x->ndim));
    return with_dims(r, 2, (int64_t[]){rows, x->n / rows});
}

/* Which axes, of `ndim`: an attribute or, from opset 13 on, an input. */
static int listed(Run *r, int ndim, bool *is_listed)
{
    const Value *input = given(r, 1);
    const OnnxAttr *list = attr(r, "axes");
    int n = input ? (int)input->n : list ? list->n_ints : 0;
    memset(is_listed, 0, ONNX_DIMS * sizeof *is_listed);
    for (int i = 0; i < n; i++) is_listed[axis_of(input ? input->i[i] : list->ints[i], ndim)] = true;
    return n;
}

const char *onnx_squeeze(Run *r)
{
    const Value *x = given(r, 0);
    bool is_listed[ONNX_DIMS];
    int64_t dim[ONNX_DIMS];
    int ndim = 0, n = listed(r, x->ndim, is_listed);
    for (int i = 0; i < x->ndim; i++)
        if (!(n ? is_listed[i] : x->dim[i] == 1)) dim[ndim++] = x->dim[i];
    return with_dims(r, ndim, dim);
}

const char *onnx_unsqueeze(Run *r)
{
    const Value *x = given(r, 0), *input = given(r, 1);
    bool is_listed[ONNX_DIMS];
    int64_t dim[ONNX_DIMS];
    int ndim = x->ndim + (int)(input ? input->n : attr(r, "axes")->n_ints), from = 0;
    ck_assert_int_le(ndim, ONNX_DIMS);
    listed(r, ndim, is_listed);
    for (int i = 0; i < ndim; i++) dim[i] = is_listed[i] ? 1 : x->dim[from++];
    return with_dims(r, ndim, dim);
}
