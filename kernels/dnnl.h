/* Everything that touches oneDNN (C API, versions 2 and 3). Built without it (make DNNL=0), every function here
 * returns false at once and its caller uses our own loops. A failure inside the library is fatal. */
#ifndef KERNELS_DNNL_H
#define KERNELS_DNNL_H
#include <stdbool.h>
#include <stdint.h>

/* As gemm() in kernels/gemm.h. */
bool onednn_gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, float alpha,
                 const float *A, int64_t lda, const float *B, int64_t ldb, float beta, float *C, int64_t ldc);

/* A convolution: x (N,H,W,C), w (O,kh,kw,C) -> y (N,OH,OW,O). */
typedef struct ConvShape {
    int64_t N, H, W, C, O, kh, kw, OH, OW, stride, pad;
} ConvShape;

/* y = conv(x, w) (+ bias, or NULL). frozen: the weight's reordered copy is kept beside a checksum of w and used
 * again while w still has it. */
bool onednn_conv_forward(const ConvShape *s, const float *x, const float *w, const float *bias, float *y,
                         bool frozen);
/* dx = gradient of x (written, not added). frozen as above. */
bool onednn_conv_data(const ConvShape *s, const float *dy, const float *w, float *dx, bool frozen);
/* dw = gradient of w (written, not added). */
bool onednn_conv_weights(const ConvShape *s, const float *x, const float *dy, float *dw);
#endif
