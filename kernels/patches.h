/* A convolution as a matrix product: the patch that an output sees, (i,j,c), is a row of a matrix. Shared by
 * conv2d and deconv2d; s is the convolution x (N,H,W,C) -> (N,OH,OW,O). */
#ifndef KERNELS_PATCHES_H
#define KERNELS_PATCHES_H
#include "kernels/dnnl.h"

/* Images whose patches are made at a time: some 2048 rows, in whole images. */
int64_t patches_step(const ConvShape *s);

/* Images from `image` on, `count` of them -> patches (count*OH*OW, kh*kw*C); what lies outside is 0. */
void patches_make(const ConvShape *s, const float *x, int64_t image, int64_t count, float *patches);

/* The reverse: each pixel of dx (N,H,W,C) gets the sum of the patch elements it would have been copied to,
 * added. */
void patches_gather(const ConvShape *s, const float *patches, int64_t image, int64_t count, float *dx);
#endif
