/* y = softmax over t of scale x[b,t,h,s] + bias[b,t,h], less its maximum: softmax down the columns of each
 * (b,h). x (B,T,H,S), bias (B,T,H) f32 or NULL. Sixteen neighbours in s at a time, three walks over t; a
 * column's result does not depend on where it lies. Without gradient: inference reads image tokens by few
 * queries. */
#include "kernels/ops.h"
#include "kernels/vec.h"
#include <math.h>
#include <string.h>

enum { STRIP = 256 /* columns a task */ };

Tensor *op_softmax_columns(Tape *t, Tensor *x, Tensor *bias, float scale)
{
    SoftmaxParams p = {scale};
    return op_apply(t, &softmax_columns_op, 2, (Tensor *[]){x, bias}, &p, sizeof p);
}

void softmax_columns_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *bias = n->in[1];
    if (!is_activation(x) || x->ndim != 4)
        die("softmax_columns: x %s is not (B,T,H,S) of f32 or bf16", tensor_text(x));
    bool fits = !bias || (bias->dtype == DTYPE_f32 && bias->ndim == 3);
    for (int i = 0; bias && fits && i < 3; i++) fits = bias->dim[i] == x->dim[i];
    if (!fits) die("softmax_columns: bias %s does not fit x %s", tensor_text(bias), tensor_text(x));
    n->out = tape_tensor(t, x->dtype, 4, x->dim);
}

/* Sixteen columns of T rows that are `step` apart; bias (T) is `bias_step` apart, or NULL. */
VEC_BODY(columns,
         (const float *x, float *y, const float *bias, int64_t T, int64_t step, int64_t bias_step, float scale),
         {
             Vec top = VEC_LOAD(x) * 0 - INFINITY;
             Vec sum = VEC_LOAD(x) * 0;
             for (int64_t t = 0; t < T; t++) {
                 Vec v = VEC_LOAD(x + t * step) * scale + (bias ? bias[t * bias_step] : 0);
                 VEC_STORE(y + t * step, v);
                 vec_max(&top, &v);
             }
             for (int64_t t = 0; t < T; t++) {
                 Vec v = VEC_LOAD(y + t * step) - top;
                 vec_exp(&v);
                 VEC_STORE(y + t * step, v);
                 sum += v;
             }
             for (int64_t t = 0; t < T; t++) VEC_STORE(y + t * step, VEC_LOAD(y + t * step) / sum);
         })
VEC_FUNCTION(columns,
             (const float *x, float *y, const float *bias, int64_t T, int64_t step, int64_t bias_step,
              float scale),
             (x, y, bias, T, step, bias_step, scale))

/* Fewer than sixteen columns: with copies beside them. room (2,T,VEC). */
static void few_columns(const float *x, float *y, const float *bias, int64_t T, int64_t step, int64_t bias_step,
                        float scale, int64_t count, float *room)
{
    float *in = room, *out = room + T * VEC;
    memset(in, 0, (size_t)(T * VEC) * sizeof *in);
    for (int64_t t = 0; t < T; t++) memcpy(in + t * VEC, x + t * step, (size_t)count * sizeof *in);
    columns(in, out, bias, T, VEC, bias_step, scale);
    for (int64_t t = 0; t < T; t++) memcpy(y + t * step, out + t * VEC, (size_t)count * sizeof *out);
}

void softmax_columns_forward_cpu(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *bias = n->in[1];
    const float scale = NODE_AS(SoftmaxParams, n)->scale;
    const int64_t T = x->dim[1], H = x->dim[2], S = x->dim[3], strips = (S + STRIP - 1) / STRIP;
    const int64_t tasks = x->dim[0] * H * strips;
    float *room = S % VEC ? tape_scratch(t, (size_t)(2 * T * VEC * x->dim[0] * H) * sizeof *room) : NULL;
#pragma omp parallel for schedule(static) if (tasks > 1 && tasks * T * STRIP > 1 << 14)
    for (int64_t i = 0; i < tasks; i++) {
        const int64_t row = i / strips, b = row / H, h = row % H;
        const int64_t from = i % strips * STRIP, to = from + STRIP < S ? from + STRIP : S;
        const int64_t at = (b * T * H + h) * S;
        const float *add = bias ? (const float *)bias->data + b * T * H + h : NULL;
        for (int64_t s = from; s < to; s += VEC) {
            const float *in = (const float *)x->data + at + s;
            float *out = (float *)n->out->data + at + s;
            if (to - s >= VEC)
                columns(in, out, add, T, H * S, H, scale);
            else
                few_columns(in, out, add, T, H * S, H, scale, to - s, room + 2 * T * VEC * row);
        }
    }
}
