/* y[n,h,w,o] = sum x[n, h*s-p+i, w*s-p+j, c] w[o,i,j,c] (+ bias[o]). x (N,H,W,C), w (O,kh,kw,C), bias (O),
 * y (N,OH,OW,O).
 *
 * Through oneDNN (kernels/dnnl.c), which overwrites: its gradients go into scratch and are then added. Without
 * it, and for 1x1 kernels always, as products: patches (i,j,c) of some images are rows of a matrix, then
 *   y = patches w^T;  dw += dy^T patches;  dpatches = dy w, gathered back into dx;  dbias += column sums of dy.
 * A 1x1 kernel at stride 1 has no patches to make: x is the matrix, and gradients add up in place. Forward plus
 * backward of 1x1 layers, one core at 116 GFLOP/s, oneDNN 2.6's convolution -> its products: 64 to 16 at 32x32
 * 8.8 -> 5.1 ms, 32 to 128 at 16x16 5.1 -> 3.8, 1024 to 256 at 14x14 80 -> 73, 64 to 128 at stride 2 15.8
 * -> 12. */
#include "kernels/gemm.h"
#include "kernels/ops.h"
#include "kernels/patches.h"

static ConvShape shape_of(const Node *n)
{
    const Tensor *x = n->in[0], *w = n->in[1], *y = n->out;
    const Conv2dParams *p = NODE_AS(Conv2dParams, n);
    return (ConvShape){.N = x->dim[0],
                       .H = x->dim[1],
                       .W = x->dim[2],
                       .C = x->dim[3],
                       .O = w->dim[0],
                       .kh = w->dim[1],
                       .kw = w->dim[2],
                       .OH = y->dim[1],
                       .OW = y->dim[2],
                       .stride = p->stride,
                       .pad = p->pad};
}

Tensor *op_conv2d(Tape *t, Tensor *x, Tensor *w, Tensor *bias, int stride, int pad)
{
    Conv2dParams p = {stride, pad};
    return op_apply(t, &conv2d_op, 3, (Tensor *[]){x, w, bias}, &p, sizeof p);
}

void conv2d_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *w = n->in[1], *bias = n->in[2];
    const Conv2dParams *p = NODE_AS(Conv2dParams, n);
    if (!is_activation(x) || w->dtype != DTYPE_f32 || x->ndim != 4 || w->ndim != 4 || x->dim[3] != w->dim[3] ||
        p->stride < 1 || p->pad < 0 || x->dim[1] + 2 * p->pad < w->dim[1] || x->dim[2] + 2 * p->pad < w->dim[2])
        die("conv2d: weight %s with stride %d, pad %d does not fit x %s", tensor_text(w), p->stride, p->pad,
            tensor_text(x));
    if (bias && (bias->dtype != DTYPE_f32 || bias->ndim != 1 || bias->dim[0] != w->dim[0]))
        die("conv2d: bias %s does not fit weight %s", tensor_text(bias), tensor_text(w));
    const int64_t dim[4] = {x->dim[0], (x->dim[1] + 2 * p->pad - w->dim[1]) / p->stride + 1,
                            (x->dim[2] + 2 * p->pad - w->dim[2]) / p->stride + 1, w->dim[0]};
    n->out = tape_tensor(t, x->dtype, 4, dim);
}

/* ---- products ---- */

/* 1x1 kernels are products also where oneDNN is built in. */
static bool by_products(const ConvShape *s) { return s->kh == 1 && s->kw == 1; }
static bool pointwise(const ConvShape *s) { return by_products(s) && s->stride == 1 && s->pad == 0; }

/* One of y, dx, dw is added to (y written with beta 0); the other two are NULL. */
static void products(Tape *t, const ConvShape *s, const float *x, const float *w, const float *dy, float *y,
                     float beta, float *dx, float *dw)
{
    int64_t area = s->OH * s->OW, K = s->kh * s->kw * s->C, O = s->O;
    int64_t step = pointwise(s) ? s->N : patches_step(s);
    float *room = pointwise(s) ? NULL : tape_scratch(t, (size_t)(step * area * K) * sizeof *room);
    for (int64_t image = 0; image < s->N; image += step) {
        int64_t count = image + step > s->N ? s->N - image : step, rows = count * area, at = image * area * O;
        const float *patches = room ? room : x;
        if (room && !dx) patches_make(s, x, image, count, room);
        if (y) gemm(false, true, rows, O, K, 1, patches, K, w, K, beta, y + at, O);
        if (dw) gemm(true, false, O, K, rows, 1, dy + at, O, patches, K, 1, dw, K);
        if (!dx) continue;
        if (room) {
            gemm(false, false, rows, K, O, 1, dy + at, O, w, K, 0, room, K);
            patches_gather(s, room, image, count, dx);
        } else {
            gemm(false, false, rows, K, O, 1, dy, O, w, K, 1, dx, K);
        }
    }
}

void conv2d_forward_cpu(Tape *t, Node *n)
{
    ConvShape s = shape_of(n);
    const float *x = n->in[0]->data, *w = n->in[1]->data, *bias = n->in[2] ? n->in[2]->data : NULL;
    float *y = n->out->data;
    if (!by_products(&s) && onednn_conv_forward(&s, x, w, bias, y, !n->in[1]->needs_grad)) return;
    if (bias) rows_fill(y, bias, s.N * s.OH * s.OW, s.O);
    products(t, &s, x, w, NULL, y, bias ? 1 : 0, NULL, NULL);
}

void conv2d_backward_cpu(Tape *t, Node *n)
{
    ConvShape s = shape_of(n);
    const Tensor *x = n->in[0], *w = n->in[1], *bias = n->in[2];
    const float *dy = n->out->grad->data;
    if (x->grad) {
        float *dx = by_products(&s) ? NULL : tape_scratch(t, tensor_bytes(x));
        if (dx && onednn_conv_data(&s, dy, w->data, dx, !w->needs_grad))
            add_into(x->grad->data, dx, tensor_len(x));
        else
            products(t, &s, NULL, w->data, dy, NULL, 1, x->grad->data, NULL);
    }
    if (w->grad) {
        float *dw = by_products(&s) ? NULL : tape_scratch(t, tensor_bytes(w));
        if (dw && onednn_conv_weights(&s, x->data, dy, dw))
            add_into(w->grad->data, dw, tensor_len(w));
        else
            products(t, &s, x->data, NULL, dy, NULL, 1, NULL, w->grad->data);
    }
    if (bias && bias->grad) rows_sum_add(t, bias->grad->data, dy, s.N * s.OH * s.OW, s.O);
}
