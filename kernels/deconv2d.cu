/* Transposed convolution: the products of conv2d.cu the other way round, for the convolution y -> x that has
 * the same w: y is its data product, dx its forward, dw its weights' with x and dy in each other's place.
 * Mapping, bytes, floor, log: conv2d.cu. */
#include "kernels/conv.cuh"
#include "kernels/elements.cuh"
#include "kernels/gemm.cuh"

extern "C" void deconv2d_forward_cuda(Tape *t, Node *n)
{
    Conv s = conv_shape(n->out, n->in[1], n->in[0], NODE_AS(Conv2dParams, n));
    conv_data(t, s, n->in[0], n->in[1], n->in[2], n->out, false);
}

extern "C" void deconv2d_backward_cuda(Tape *t, Node *n)
{
    Tensor *x = n->in[0], *w = n->in[1], *bias = n->in[2], *dy = n->out->grad;
    Conv s = conv_shape(n->out, w, x, NODE_AS(Conv2dParams, n));
    GemmRoom room(t, x->dtype == DTYPE_bf16);
    if (x->grad) conv_forward(room, s, dy, w, NULL, x->grad, true);
    if (w->grad) conv_weights(room, s, dy, x, f32(w->grad));
    if (bias && bias->grad) gemm_column_sums(room, f32(bias->grad), f32(dy), tensor_rows(n->out), s.C);
}
