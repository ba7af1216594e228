/* Convolutions and pools: NCHW becomes NHWC, one spatial axis becomes the second of two. Ours have one stride,
 * one pad and (pools) one side of the window for both axes. What a case wants beside that is arranged before
 * and after: other pads, and the cropping of a transposed convolution, as elements of x and y; dilations as
 * zeros within the weights; unequal strides of a transposed convolution as zeros within x; groups as several
 * calls. */
#include "tests/onnx/run.h"
#include <float.h>

/* Of both spatial axes. */
typedef struct Window {
    int64_t size[2], kernel[2], stride[2], dilation[2], before[2], after[2];
    int from; /* first axis that the case names */
} Window;

static void fill_in(const Run *r, const char *name, int from, int64_t *both)
{
    const OnnxAttr *a = attr(r, name);
    for (int i = from; a && i < 2; i++) both[i] = a->ints[i - from];
}

/* How far the kernel reaches. */
static int64_t reach(const Window *w, int i) { return (w->kernel[i] - 1) * w->dilation[i] + 1; }

/* `total` elements of padding, the odd one at the end (SAME_UPPER) or at the beginning. */
static void share(Window *w, int i, int64_t total, bool upper)
{
    if (total < 0) total = 0;
    w->before[i] = upper ? total / 2 : total - total / 2;
    w->after[i] = total - w->before[i];
}

/* NULL, or why not. `weights` tell the kernel where no attribute does. */
static const char *window_of(Run *r, const Value *x, const Value *weights, Window *w)
{
    const OnnxAttr *pads = attr(r, "pads"), *same = attr(r, "auto_pad");
    if (x->ndim != 3 && x->ndim != 4) return run_unable(r, "%d spatial axes", x->ndim - 2);
    const int from = 4 - x->ndim;
    *w = (Window){{1, 1}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, from};
    fill_in(r, "kernel_shape", from, w->kernel);
    fill_in(r, "strides", from, w->stride);
    fill_in(r, "dilations", from, w->dilation);
    for (int i = from; i < 2; i++) {
        w->size[i] = x->dim[i - from + 2];
        if (weights) w->kernel[i] = weights->dim[i - from + 2];
        if (pads) w->before[i] = pads->ints[i - from], w->after[i] = pads->ints[i - from + 2 - from];
        if (!same || text_is(same->s, "NOTSET") || text_is(same->s, "VALID")) continue;
        int64_t out = (w->size[i] + w->stride[i] - 1) / w->stride[i];
        share(w, i, (out - 1) * w->stride[i] + reach(w, i) - w->size[i], text_is(same->s, "SAME_UPPER"));
    }
    return NULL;
}

/* The pad if it is the same on all four sides, else -1. */
static int same_pad(const Window *w)
{
    for (int i = 0; i < 2; i++)
        if (w->before[i] != w->before[0] || w->after[i] != w->before[0]) return -1;
    return (int)w->before[0];
}

/* The part of the pads that all four sides have is the op's; the rest stays in w. */
static int shared_pad(Window *w)
{
    int64_t pad = w->before[0];
    for (int i = 0; i < 2; i++) {
        if (w->before[i] < pad) pad = w->before[i];
        if (w->after[i] < pad) pad = w->after[i];
    }
    for (int i = 0; i < 2; i++) w->before[i] -= pad, w->after[i] -= pad;
    return (int)pad;
}

/* ---- images on the host, NHWC ---- */

static Value *nhwc(Run *r, const Value *x)
{
    Value image = *x;
    image.ndim = 4;
    if (x->ndim == 3) image.dim[2] = 1, image.dim[3] = x->dim[2];
    return turned(r, &image, (const int[]){0, 2, 3, 1});
}

/* y (N,H,W,C) as output 0, with as many axes as the case has. */
static void give_nchw(Run *r, const Tensor *y, const Value *like)
{
    Value *image = value_new(r, like->type, 4, y->dim);
    take(image, y);
    image = turned(r, image, (const int[]){0, 3, 1, 2});
    if (like->ndim == 3) image->dim[2] = image->dim[3];
    memcpy(give(r, 0, like->type, like->ndim, image->dim)->f, image->f, (size_t)image->n * sizeof(float));
}

/* More rows and columns of `fill`; fewer where a number is negative. */
static Value *framed(Run *r, const Value *x, const int64_t *before, const int64_t *after, float fill)
{
    const int64_t H = x->dim[1], W = x->dim[2], C = x->dim[3];
    const int64_t dim[4] = {x->dim[0], H + before[0] + after[0], W + before[1] + after[1], C};
    Value *y = value_new(r, x->type, 4, dim);
    for (int64_t i = 0; i < y->n; i++) {
        int64_t n = i / C / dim[2] / dim[1], h = i / C / dim[2] % dim[1] - before[0],
                w = i / C % dim[2] - before[1];
        bool inside = h >= 0 && h < H && w >= 0 && w < W;
        y->f[i] = inside ? x->f[((n * H + h) * W + w) * C + i % C] : fill;
    }
    return y;
}

/* step[] - 1 zeros between rows, and between columns. */
static Value *apart(Run *r, const Value *x, const int64_t *step)
{
    const int64_t W = x->dim[2], C = x->dim[3];
    const int64_t dim[4] = {x->dim[0], (x->dim[1] - 1) * step[0] + 1, (W - 1) * step[1] + 1, C};
    Value *y = value_new(r, x->type, 4, dim);
    for (int64_t i = 0; i < x->n; i++) {
        int64_t n = i / C / W / x->dim[1], h = i / C / W % x->dim[1] * step[0], w = i / C % W * step[1];
        y->f[((n * dim[1] + h) * dim[2] + w) * C + i % C] = x->f[i];
    }
    return y;
}

static Tensor *image_tensor(Run *r, const Value *x) { return tensor_of(r, x->f, 4, x->dim); }

/* Channels from..from+count-1. */
static Tensor *channels(Run *r, const Value *x, int64_t from, int64_t count)
{
    const int64_t C = x->dim[3], dim[4] = {x->dim[0], x->dim[1], x->dim[2], count};
    Value *y = value_new(r, x->type, 4, dim);
    for (int64_t i = 0; i < y->n; i++) y->f[i] = x->f[i / count * C + from + i % count];
    return image_tensor(r, y);
}

/* ---- convolutions ---- */

const char *onnx_conv(Run *r)
{
    const Value *x = given(r, 0), *weights = given(r, 1), *bias = given(r, 2);
    Window w;
    const char *why = window_of(r, x, weights, &w);
    if (why) return why;
    bool one_row = w.size[0] == 1 && reach(&w, 0) == 1;
    if (w.stride[0] != w.stride[1] && !one_row) return "Conv with unequal strides";
    int64_t groups = attr_int(r, "group", 1), O = weights->dim[0] / groups, I = weights->dim[1];
    int pad = shared_pad(&w);
    Value *image = framed(r, nhwc(r, x), w.before, w.after, 0),
          *kernel = apart(r, nhwc(r, weights), w.dilation);
    Tensor *y = NULL;
    for (int64_t g = 0; g < groups; g++) {
        const int64_t dim[4] = {O, kernel->dim[1], kernel->dim[2], I};
        Tensor *part = op_conv2d(&r->rig.tape, channels(r, image, g * I, I),
                                 tensor_of(r, kernel->f + g * product(dim, 4), 4, dim),
                                 bias ? tensor_of(r, bias->f + g * O, 1, &O) : NULL, (int)w.stride[1], pad);
        y = y ? op_concat(&r->rig.tape, y, part, 3) : part;
    }
    give_nchw(r, y, x);
    return NULL;
}

/* Without pads an axis has (size-1) stride + reach outputs; the pads are cropped off, output_padding is more at
 * the end: there nothing comes but the bias, so x gets an axis element of zeros. */
const char *onnx_deconv(Run *r)
{
    const Value *x = given(r, 0), *weights = given(r, 1), *bias = given(r, 2);
    const OnnxAttr *same = attr(r, "auto_pad");
    const int64_t none[2] = {0, 0};
    int64_t more[2] = {0, 0}, out[2] = {0, 0}, extra[2] = {0, 0};
    Window w;
    const char *why = window_of(r, x, weights, &w);
    if (why) return why;
    if (attr_int(r, "group", 1) != 1) return "ConvTranspose in groups";
    bool automatic = same && !text_is(same->s, "NOTSET"), upper = same && text_is(same->s, "SAME_UPPER");
    fill_in(r, "output_padding", w.from, more);
    fill_in(r, "output_shape", w.from, out);
    for (int i = w.from; i < 2; i++) {
        int64_t full = (w.size[i] - 1) * w.stride[i] + reach(&w, i);
        if (automatic && !out[i]) out[i] = w.size[i] * w.stride[i];
        if (out[i])
            share(&w, i, full + more[i] - out[i], upper);
        else
            out[i] = full + more[i] - w.before[i] - w.after[i];
        extra[i] = out[i] + w.before[i] > full;
        w.after[i] = full + extra[i] * w.stride[i] - w.before[i] - out[i];
        ck_assert_int_ge(w.after[i], 0);
    }
    int pad = shared_pad(&w), stride = (int)w.stride[1];
    Value *image = framed(r, nhwc(r, x), none, extra, 0), *kernel = apart(r, nhwc(r, weights), w.dilation);
    if (w.stride[0] != w.stride[1]) image = apart(r, image, w.stride), stride = 1;
    Tensor *y = op_deconv2d(&r->rig.tape, image_tensor(r, image), image_tensor(r, kernel),
                            bias ? flat(r, bias) : NULL, stride, pad);
    Value *whole = value_new(r, x->type, 4, y->dim);
    take(whole, y);
    const int64_t before[2] = {-w.before[0], -w.before[1]}, after[2] = {-w.after[0], -w.after[1]};
    y = image_tensor(r, framed(r, whole, before, after, 0));
    give_nchw(r, y, x);
    return NULL;
}

/* ---- pools ---- */

/* Where a window covers an axis of one element whole, as many equal elements: one kernel for both axes. */
static const char *square(Run *r, Window *w, Value **image)
{
    if (w->dilation[0] != 1 || w->dilation[1] != 1) return "a pool with dilations";
    for (int i = 0; i < 2; i++) {
        const int64_t k = w->kernel[1 - i];
        if (w->kernel[0] == w->kernel[1] || w->size[i] != 1 || w->kernel[i] != 1 || w->before[i] || w->after[i])
            continue;
        int64_t dim[4], C = (*image)->dim[3], W = (*image)->dim[2];
        memcpy(dim, (*image)->dim, sizeof dim);
        dim[i + 1] = w->size[i] = w->kernel[i] = k;
        Value *y = value_new(r, (*image)->type, 4, dim);
        for (int64_t j = 0; j < y->n; j++) {
            int64_t n = j / C / dim[2] / dim[1], row = i ? j / C / dim[2] % dim[1] : 0,
                    column = i ? 0 : j / C % W;
            y->f[j] = (*image)->f[((n * (*image)->dim[1] + row) * W + column) * C + j % C];
        }
        w->stride[i] = w->stride[1 - i];
        *image = y;
    }
    if (w->kernel[0] != w->kernel[1]) return "a pool with unequal sides";
    return w->stride[0] == w->stride[1] ? NULL : "a pool with unequal strides";
}

/* ONNX's places of the winners, in the whole x; column by column with storage_order 1. */
static void give_winners(Run *r, const Value *x, const Tensor *winner)
{
    const int64_t H = x->dim[2], W = x->dim[3];
    Value *at = value_new(r, ONNX_INT64, 4, winner->dim);
    take(at, winner);
    at = turned(r, at, (const int[]){0, 3, 1, 2});
    Value *y = give(r, 1, ONNX_INT64, 4, at->dim);
    for (int64_t i = 0; i < y->n; i++) {
        int64_t place = at->i[i], image = i / (at->dim[2] * at->dim[3]);
        y->i[i] = image * H * W + (attr_int(r, "storage_order", 0) ? place % W * H + place / W : place);
    }
}

const char *onnx_max_pool(Run *r)
{
    const Value *x = given(r, 0);
    Window w;
    const char *why = window_of(r, x, NULL, &w);
    if (why) return why;
    Value *image = nhwc(r, x);
    if ((why = square(r, &w, &image))) return why;
    int pad = same_pad(&w), k = (int)w.kernel[0];
    bool own = pad >= 0 && 2 * pad <= k;
    if (!own && r->node->n_out > 1) return "places of the winners with other pads than ours";
    if (!own) image = framed(r, image, w.before, w.after, -FLT_MAX);
    Tensor *y = op_max_pool(&r->rig.tape, image_tensor(r, image), k, (int)w.stride[0], own ? pad : 0,
                            attr_int(r, "ceil_mode", 0));
    Tensor *winner = saved(r, 0);
    give_nchw(r, y, x);
    if (r->node->n_out > 1) give_winners(r, x, winner);
    return NULL;
}

/* How many elements of a window count along axis i: those inside, or inside the pads too. */
static int64_t counted(const Window *w, int i, int64_t at, bool pads)
{
    int64_t low = pads ? -w->before[i] : 0, high = w->size[i] + (pads ? w->after[i] : 0);
    int64_t from = at * w->stride[i] - w->before[i], to = from + w->kernel[i];
    return (to < high ? to : high) - (from > low ? from : low);
}

/* Over zeros where it is padded; then times the whole window's elements over those that count. */
const char *onnx_avg_pool(Run *r)
{
    Tape *t = &r->rig.tape;
    const Value *x = given(r, 0);
    const int64_t none[2] = {0, 0};
    int64_t after[2];
    Window w;
    const char *why = window_of(r, x, NULL, &w);
    if (why) return why;
    Value *image = nhwc(r, x);
    if ((why = square(r, &w, &image))) return why;
    const int64_t k = w.kernel[0];
    for (int i = 0; i < 2; i++) {
        int64_t room = w.size[i] + w.before[i] + w.after[i] - k, rest = room % w.stride[i];
        after[i] = w.after[i] + (attr_int(r, "ceil_mode", 0) && rest ? w.stride[i] - rest : 0);
    }
    bool padded = memcmp(w.before, none, sizeof none) || memcmp(after, none, sizeof none);
    if (padded) image = framed(r, image, w.before, after, 0);
    Tensor *y = op_avg_pool(t, image_tensor(r, image), (int)k, (int)w.stride[0]);
    if (padded) {
        Value *factor = value_new(r, ONNX_FLOAT, 4, y->dim);
        bool pads = attr_int(r, "count_include_pad", 0);
        for (int64_t i = 0; i < factor->n; i++) {
            int64_t row = i / y->dim[3] / y->dim[2] % y->dim[1], column = i / y->dim[3] % y->dim[2];
            factor->f[i] = (float)(k * k) / (float)(counted(&w, 0, row, pads) * counted(&w, 1, column, pads));
        }
        y = op_mul(t, y, image_tensor(r, factor));
    }
    give_nchw(r, y, x);
    return NULL;
}

const char *onnx_global_avg_pool(Run *r)
{
    const Value *x = given(r, 0);
    if (x->ndim != 4) return run_unable(r, "%d spatial axes", x->ndim - 2);
    give_nchw(r, op_adaptive_pool(&r->rig.tape, image_tensor(r, nhwc(r, x)), 1, 1), x);
    return NULL;
}

const char *onnx_global_max_pool(Run *r)
{
    const Value *x = given(r, 0);
    if (x->ndim != 4) return run_unable(r, "%d spatial axes", x->ndim - 2);
    const int64_t rows[3] = {x->dim[0], x->dim[2] * x->dim[3], x->dim[1]}, pixel[4] = {rows[0], 1, 1, rows[2]};
    Tensor *y = op_reduce_max(&r->rig.tape, tensor_of(r, nhwc(r, x)->f, 3, rows));
    give_nchw(r, shaped(r, y, 4, pixel), x);
    return NULL;
}
