/* Resize and Upsample of images. Ours has PyTorch's rule alone (kernels/ops.h); a case is run if its own rule
 * takes the same inputs for every output. */
#include "tests/onnx/run.h"

/* Where output i lies among the inputs by ONNX's transformations; false: not one of those worked out here. */
static bool coordinate(Text mode, double scale, int64_t in, int64_t out, int64_t i, double *x)
{
    if (text_is(mode, "half_pixel") || (text_is(mode, "pytorch_half_pixel") && out > 1))
        *x = ((double)i + 0.5) / scale - 0.5;
    else if (text_is(mode, "pytorch_half_pixel"))
        *x = 0;
    else if (text_is(mode, "align_corners"))
        *x = out > 1 ? (double)i * (double)(in - 1) / (double)(out - 1) : 0;
    else if (text_is(mode, "asymmetric"))
        *x = (double)i / scale;
    else if (text_is(mode, "tf_half_pixel_for_nn"))
        *x = ((double)i + 0.5) / scale;
    else
        return false;
    return true;
}

static double rounded(Text rule, double x)
{
    if (text_is(rule, "floor")) return floor(x);
    if (text_is(rule, "ceil")) return ceil(x);
    if (text_is(rule, "round_prefer_ceil")) return floor(x + 0.5);
    return ceil(x - 0.5);
}

static double clamped(double x, int64_t in) { return x < 0 ? 0 : x > (double)(in - 1) ? (double)(in - 1) : x; }

/* Whether ours lies at the same place as ONNX's for all outputs of an axis. */
static bool agrees(Text mode, Text rule, bool nearest, double scale, int64_t in, int64_t out)
{
    for (int64_t i = 0; i < out; i++) {
        double x, ours = ((double)i + 0.5) * (double)in / (double)out - 0.5;
        if (!coordinate(mode, scale, in, out, i, &x)) return false;
        if (nearest) x = rounded(rule, x), ours = floor((double)i * (double)in / (double)out);
        if (fabs(clamped(x, in) - clamped(ours, in)) > 1e-9) return false;
    }
    return true;
}

static Text or_else(const OnnxAttr *a, const char *otherwise)
{
    return a ? a->s : (Text){otherwise, strlen(otherwise)};
}

/* x (N,C,H,W); scales or sizes of all four axes. */
static const char *resized(Run *r, const Value *scales, const Value *sizes, Text mode, Text rule)
{
    const Value *x = given(r, 0);
    const Text method = or_else(attr(r, "mode"), "nearest");
    const bool nearest = text_is(method, "nearest");
    if (!nearest && !text_is(method, "linear")) return run_unable(r, "Resize %.*s", (int)method.n, method.at);
    if (x->ndim != 4) return "Resize of other than images";
    int64_t out[4];
    bool agree = true;
    for (int i = 0; i < 4; i++) {
        bool by_size = sizes && sizes->n;
        out[i] = by_size ? sizes->i[i] : (int64_t)floor((double)x->dim[i] * (double)scales->f[i]);
        double scale = by_size ? (double)out[i] / (double)x->dim[i] : (double)scales->f[i];
        if (i < 2 ? out[i] != x->dim[i] : !agrees(mode, rule, nearest, scale, x->dim[i], out[i])) agree = false;
    }
    if (!agree)
        return run_unable(r, "Resize %.*s, %.*s%s%.*s: ours takes other inputs there", (int)method.n, method.at,
                          (int)mode.n, mode.at, nearest ? ", " : "", nearest ? (int)rule.n : 0, rule.at);
    Value *image = turned(r, x, (const int[]){0, 2, 3, 1});
    Tensor *y = op_resize(&r->rig.tape, tensor_of(r, image->f, 4, image->dim), (int)out[2], (int)out[3],
                          nearest ? RESIZE_NEAREST : RESIZE_BILINEAR);
    Value *back = value_new(r, x->type, 4, y->dim);
    take(back, y);
    memcpy(give(r, 0, x->type, 4, out)->f, turned(r, back, (const int[]){0, 3, 1, 2})->f,
           (size_t)back->n * sizeof(float));
    return NULL;
}

const char *onnx_resize(Run *r)
{
    if (attr_int(r, "exclude_outside", 0)) return "Resize cubic";
    return resized(r, given(r, 2), given(r, 3),
                   or_else(attr(r, "coordinate_transformation_mode"), "half_pixel"),
                   or_else(attr(r, "nearest_mode"), "round_prefer_floor"));
}

const char *onnx_upsample(Run *r)
{
    return resized(r, given(r, 1), NULL, (Text){"asymmetric", 10}, (Text){"floor", 5});
}
