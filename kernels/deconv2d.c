/* Transposed convolution: what conv2d's backward does to x, as a forward. y[n, h*s-p+i, w*s-p+j, o] +=
 * x[n,h,w,c] w[c,i,j,o] (+ bias[o]). x (N,H,W,C), w (C,kh,kw,O), bias (O), y (N,OH,OW,O), OH = (H-1)s-2p+kh.
 *
 * As products, some images at a time, through the patches of the convolution y -> x that has the same w:
 *   y = bias + gathered (x w);  dx += patches(dy) w^T;  dw += x^T patches(dy);  dbias += column sums of dy.
 * The patches of dy are made once for dx and dw. Where stride = kernel and pad = 0 every output has one patch
 * element, and the product is all the arithmetic there is. Nothing is saved. */
#include "kernels/gemm.h"
#include "kernels/ops.h"
#include "kernels/patches.h"
#include <string.h>

Tensor *op_deconv2d(Tape *t, Tensor *x, Tensor *w, Tensor *bias, int stride, int pad)
{
    Conv2dParams p = {stride, pad};
    return op_apply(t, &deconv2d_op, 3, (Tensor *[]){x, w, bias}, &p, sizeof p);
}

/* (size-1) s - 2p + kernel */
static int64_t side(int64_t size, const Conv2dParams *p, int64_t kernel)
{
    return (size - 1) * p->stride - 2 * (int64_t)p->pad + kernel;
}

void deconv2d_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *w = n->in[1], *bias = n->in[2];
    const Conv2dParams *p = NODE_AS(Conv2dParams, n);
    if (!is_activation(x) || w->dtype != DTYPE_f32 || x->ndim != 4 || w->ndim != 4 || x->dim[3] != w->dim[0] ||
        p->stride < 1 || p->pad < 0 || side(x->dim[1], p, w->dim[1]) < 1 || side(x->dim[2], p, w->dim[2]) < 1)
        die("deconv2d: weight %s with stride %d, pad %d does not fit x %s", tensor_text(w), p->stride, p->pad,
            tensor_text(x));
    if (bias && (bias->dtype != DTYPE_f32 || bias->ndim != 1 || bias->dim[0] != w->dim[3]))
        die("deconv2d: bias %s does not fit weight %s", tensor_text(bias), tensor_text(w));
    const int64_t dim[4] = {x->dim[0], side(x->dim[1], p, w->dim[1]), side(x->dim[2], p, w->dim[2]), w->dim[3]};
    n->out = tape_tensor(t, x->dtype, 4, dim);
}

/* The convolution y -> x. */
static ConvShape shape_of(const Node *n)
{
    const Tensor *x = n->in[0], *w = n->in[1], *y = n->out;
    const Conv2dParams *p = NODE_AS(Conv2dParams, n);
    return (ConvShape){.N = x->dim[0],
                       .H = y->dim[1],
                       .W = y->dim[2],
                       .C = y->dim[3],
                       .O = x->dim[3],
                       .kh = w->dim[1],
                       .kw = w->dim[2],
                       .OH = x->dim[1],
                       .OW = x->dim[2],
                       .stride = p->stride,
                       .pad = p->pad};
}

void deconv2d_forward_cpu(Tape *t, Node *n)
{
    ConvShape s = shape_of(n);
    const float *x = n->in[0]->data, *w = n->in[1]->data, *bias = n->in[2] ? n->in[2]->data : NULL;
    float *y = n->out->data;
    int64_t area = s.OH * s.OW, pixels = s.H * s.W, K = s.kh * s.kw * s.C, step = patches_step(&s);
    float *patches = tape_scratch(t, (size_t)(step * area * K) * sizeof *patches);
    for (int64_t image = 0; image < s.N; image += step) {
        int64_t count = image + step > s.N ? s.N - image : step;
        float *out = y + image * pixels * s.C;
        gemm(false, false, count * area, K, s.O, 1, x + image * area * s.O, s.O, w, K, 0, patches, K);
        if (bias)
            rows_fill(out, bias, count * pixels, s.C);
        else
            memset(out, 0, (size_t)(count * pixels * s.C) * sizeof *out);
        patches_gather(&s, patches, image, count, y);
    }
}

void deconv2d_backward_cpu(Tape *t, Node *n)
{
    ConvShape s = shape_of(n);
    const Tensor *x = n->in[0], *w = n->in[1], *bias = n->in[2];
    const float *dy = n->out->grad->data;
    int64_t area = s.OH * s.OW, K = s.kh * s.kw * s.C, step = patches_step(&s);
    if (bias && bias->grad) rows_sum_add(t, bias->grad->data, dy, s.N * s.H * s.W, s.C);
    if (!x->grad && !w->grad) return;
    float *patches = tape_scratch(t, (size_t)(step * area * K) * sizeof *patches);
    for (int64_t image = 0; image < s.N; image += step) {
        int64_t count = image + step > s.N ? s.N - image : step, rows = count * area, at = image * area * s.O;
        patches_make(&s, dy, image, count, patches);
        if (x->grad)
            gemm(false, true, rows, s.O, K, 1, patches, K, w->data, K, 1, (float *)x->grad->data + at, s.O);
        if (w->grad)
            gemm(true, false, s.O, K, rows, 1, (const float *)x->data + at, s.O, patches, K, 1, w->grad->data,
                 K);
    }
}
