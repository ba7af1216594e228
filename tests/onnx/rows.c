/* Products, and what is worked out for each row or channel: softmax, normalisation, dropout, Adam. */
#include "tests/onnx/run.h"

/* ---- products ---- */

/* y = alpha a b + beta c; c is one row, one number, or whole. */
const char *onnx_gemm(Run *r)
{
    Tape *t = &r->rig.tape;
    const Value *a = given(r, 0), *b = given(r, 1), *c = given(r, 2);
    bool ta = attr_int(r, "transA", 0), tb = attr_int(r, "transB", 0);
    float alpha = attr_float(r, "alpha", 1), beta = attr_float(r, "beta", 1);
    int64_t M = a->dim[ta ? 1 : 0], N = b->dim[tb ? 0 : 1];
    bool row = c && c->n == N && c->dim[c->ndim - 1] == N;
    Tensor *A = matrix(r, a, a->dim[1]), *B = matrix(r, b, b->dim[1]);
    Tensor *y = op_matmul(t, A, B, row && alpha == 1 && beta == 1 ? flat(r, c) : NULL, NULL, ta, tb);
    if (alpha != 1) y = op_scale(t, y, alpha);
    if (c && c->n == M * N)
        y = op_add(t, y, op_scale(t, matrix(r, c, N), beta));
    else if (row && (alpha != 1 || beta != 1))
        y = op_add_bias(t, y, op_scale(t, flat(r, c), beta));
    else if (c && c->n == 1)
        y = op_add_bias(t, shaped(r, y, 2, (int64_t[]){M * N, 1}), op_scale(t, flat(r, c), beta));
    else if (c && !row)
        return "Gemm with a column to add";
    take(give(r, 0, a->type, 2, (int64_t[]){M, N}), y);
    return NULL;
}

const char *onnx_matmul(Run *r)
{
    const Value *a = given(r, 0), *b = given(r, 1);
    int64_t dim[ONNX_DIMS];
    if (a->ndim < 2 || a->ndim > TENSOR_DIMS || (b->ndim != 2 && b->ndim != a->ndim))
        return "MatMul of vectors";
    memcpy(dim, a->dim, sizeof dim);
    dim[a->ndim - 1] = b->dim[b->ndim - 1];
    Tensor *y = op_matmul(&r->rig.tape, tensor_of(r, a->f, a->ndim, a->dim),
                          tensor_of(r, b->f, b->ndim, b->dim), NULL, NULL, false, false);
    take(give(r, 0, a->type, a->ndim, dim), y);
    return NULL;
}

/* ---- softmax ---- */

/* f over one axis, brought last; before opset 13 over it and all behind it together. */
static const char *along_axis(Run *r, Tensor *(*f)(Run *, Tensor *))
{
    const Value *x = given(r, 0);
    bool together = r->model->opset < 13;
    int axis = axis_of(attr_int(r, "axis", together ? 1 : -1), x->ndim);
    Value *y = give(r, 0, x->type, x->ndim, x->dim);
    if (together) {
        take(y, f(r, matrix(r, x, product(x->dim + axis, x->ndim - axis))));
        return NULL;
    }
    Value *rows = axis_last(r, x, axis);
    take(rows, f(r, matrix(r, rows, x->dim[axis])));
    memcpy(y->f, axis_back(r, rows, axis)->f, (size_t)x->n * sizeof *x->f);
    return NULL;
}

static Tensor *softmax_rows(Run *r, Tensor *x) { return op_softmax(&r->rig.tape, x, 1); }

const char *onnx_softmax(Run *r) { return along_axis(r, softmax_rows); }
const char *onnx_log_softmax(Run *r) { return along_axis(r, log_softmax_rows); }

/* ---- normalisation ---- */

/* Over the axis and all behind it; further outputs: mean and 1/sd, which op_layernorm saves. */
const char *onnx_layer_norm(Run *r)
{
    const Value *x = given(r, 0), *w = given(r, 1), *b = given(r, 2);
    int axis = axis_of(attr_int(r, "axis", -1), x->ndim);
    int64_t C = product(x->dim + axis, x->ndim - axis), dim[ONNX_DIMS];
    for (int i = 0; i < x->ndim; i++) dim[i] = i < axis ? x->dim[i] : 1;
    ck_assert(w->n == C && (!b || b->n == C));
    Tensor *y = op_layernorm(&r->rig.tape, matrix(r, x, C), flat(r, w), b ? flat(r, b) : filled(r, C, 0),
                             attr_float(r, "epsilon", 1e-5f));
    take(give(r, 0, x->type, x->ndim, x->dim), y);
    for (int i = 1; i < r->node->n_out; i++) take(give(r, i, x->type, x->ndim, dim), saved(r, i - 1));
    return NULL;
}

/* x (N,C,...) by channel. In training: running = momentum running + (1 - momentum) batch, by ONNX with the
 * biased variance; op_batchnorm keeps the unbiased one, n / (n-1) of it, which is taken back here. */
const char *onnx_batch_norm(Run *r)
{
    const Value *x = given(r, 0);
    int64_t C = x->dim[1], n = x->n / C;
    bool train = attr_int(r, "training_mode", 0);
    float momentum = attr_float(r, "momentum", 0.9f);
    Tensor *c[4];
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(given(r, i + 1)->n, C);
        c[i] = flat(r, given(r, i + 1));
    }
    Value *rows = axis_last(r, x, 1);
    BatchnormParams p = {.eps = attr_float(r, "epsilon", 1e-5f), .momentum = 1 - momentum, .train = train};
    take(rows, op_batchnorm(&r->rig.tape, matrix(r, rows, C), c[0], c[1], c[2], c[3], p));
    memcpy(give(r, 0, x->type, x->ndim, x->dim)->f, axis_back(r, rows, 1)->f, (size_t)x->n * sizeof *x->f);
    if (!train) return NULL;
    take(give(r, 1, x->type, 1, &C), c[2]);
    Value *var = give(r, 2, x->type, 1, &C);
    take(var, c[3]);
    for (int64_t i = 0; i < C; i++) {
        float before = momentum * given(r, 4)->f[i];
        var->f[i] = before + (var->f[i] - before) * (float)(n - 1) / (float)n;
    }
    return NULL;
}

/* Each image by itself: op_batchnorm in training over one. */
const char *onnx_instance_norm(Run *r)
{
    const Value *x = given(r, 0);
    int64_t C = x->dim[1], one = x->n / x->dim[0];
    Value *rows = axis_last(r, x, 1);
    BatchnormParams p = {.eps = attr_float(r, "epsilon", 1e-5f), .momentum = 0.1f, .train = true};
    for (int64_t i = 0; i < x->dim[0]; i++) {
        Value image = {.type = x->type, .n = one, .f = rows->f + i * one};
        take(&image, op_batchnorm(&r->rig.tape, matrix(r, &image, C), flat(r, given(r, 1)),
                                  flat(r, given(r, 2)), filled(r, C, 0), filled(r, C, 1), p));
    }
    memcpy(give(r, 0, x->type, x->ndim, x->dim)->f, axis_back(r, rows, 1)->f, (size_t)x->n * sizeof *x->f);
    return NULL;
}

/* ---- dropout ---- */

/* Dropout is LoRA's: y = 0 x + B A dropout(x) with A and B the identity. */
static Tensor *dropped(Run *r, const Value *x, float ratio)
{
    int64_t D = x->dim[x->ndim - 1];
    float *zeros = pool_take(&r->pool, (size_t)(D * D), sizeof *zeros);
    Lora lora = {identity(r, D), identity(r, D), 1, ratio};
    Tensor *w = tensor_of(r, zeros, 2, (int64_t[]){D, D});
    return op_matmul(&r->rig.tape, matrix(r, x, D), w, NULL, &lora, false, true);
}

/* Inference, or training that drops nothing; the mask is what becomes of ones. */
const char *onnx_dropout(Run *r)
{
    const Value *x = given(r, 0), *ratio = given(r, 1), *training = given(r, 2);
    float p = ratio ? ratio->f[0] : attr_float(r, "ratio", 0.5f);
    bool train = training && training->i[0];
    if (train && p > 0) return "Dropout in training: the mask is of another generator";
    r->rig.tape.recording = train;
    take(give(r, 0, x->type, x->ndim, x->dim), dropped(r, x, p));
    if (r->node->n_out > 1) {
        Value *ones = value_new(r, ONNX_FLOAT, x->ndim, x->dim), *mask = give(r, 1, ONNX_BOOL, x->ndim, x->dim);
        for (int64_t i = 0; i < x->n; i++) ones->f[i] = 1;
        take(ones, dropped(r, ones, p));
        for (int64_t i = 0; i < x->n; i++) mask->i[i] = ones->f[i] == 1;
    }
    r->rig.tape.recording = true;
    return NULL;
}

/* ---- Adam ---- */

/* Rate, step, then all weights, gradients and both moments. ONNX adds norm_coefficient w to the gradient, and
 * takes step 0 without correcting the moments: so does ours at a late step, where 1 - beta^step is 1. */
const char *onnx_adam(Run *r)
{
    Tape *t = &r->rig.tape;
    int n = (r->node->n_in - 2) / 4;
    AdamwParams p = {.lr = given(r, 0)->f[0],
                     .beta1 = attr_float(r, "alpha", 0.9f),
                     .beta2 = attr_float(r, "beta", 0.999f),
                     .eps = attr_float(r, "epsilon", 1e-6f),
                     .grad_scale = 1,
                     .step = given(r, 1)->i[0]};
    if (p.step) return "Adam whose rate is corrected, but not epsilon with it";
    if (attr_float(r, "norm_coefficient_post", 0) != 0) return "Adam with a decay after the step";
    p.step = 1 << 20;
    for (int i = 0; i < n; i++) {
        const Value *w = given(r, 2 + i);
        Tensor *x[4];
        for (int k = 0; k < 4; k++) x[k] = flat(r, given(r, 2 + k * n + i));
        Tensor *grad = op_add(t, x[1], op_scale(t, x[0], attr_float(r, "norm_coefficient", 0)));
        op_adamw(t, x[0], grad, x[2], x[3], p);
        for (int k = 0, out = 0; k < 4; k++)
            if (k != 1) take(give(r, i + n * out++, w->type, w->ndim, w->dim), x[k]);
    }
    return NULL;
}
