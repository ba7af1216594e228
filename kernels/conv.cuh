/* A convolution's three products as implicit matrix products, for conv2d and deconv2d: patches are never made,
 * the tile product gathers them. In conv2d.cu. */
#ifndef KERNELS_CONV_CUH
#define KERNELS_CONV_CUH
#include "kernels/gemm.cuh"

/* x (N,H,W,C), w (O,kh,kw,C) -> y (N,OH,OW,O) */
struct Conv {
    int N, H, W, C, O, kh, kw, OH, OW, stride, pad;
};

/* x, y, dx f32 or bf16, w too, dy f32. y = (add: y +) convolution of x (+ bias (O), or NULL) */
void conv_forward(const GemmRoom &room, const Conv &s, const Tensor *x, const Tensor *w, const Tensor *bias,
                  Tensor *y, bool add);
/* The transposed convolution. dx = (add: dx +) what each pixel of x sent where dy came from (+ bias (C), or
 * NULL) */
void conv_data(const GemmRoom &room, const Conv &s, const Tensor *dy, const Tensor *w, const Tensor *bias,
               Tensor *dx, bool add);
/* dw += its gradient */
void conv_weights(const GemmRoom &room, const Conv &s, const Tensor *x, const Tensor *dy, float *dw);

static inline Conv conv_shape(const Tensor *x, const Tensor *w, const Tensor *y, const Conv2dParams *p)
{
    return {(int)x->dim[0], (int)x->dim[1], (int)x->dim[2], (int)x->dim[3], (int)w->dim[0], (int)w->dim[1],
            (int)w->dim[2], (int)y->dim[1], (int)y->dim[2], p->stride,      p->pad};
}
#endif
