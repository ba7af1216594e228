/* Sigmoid focal loss (Lin et al. 2017) on logits x, targets y in [0,1]: k sum a m^gamma e -> (1), in double and
 * in two stages (chunks of fixed length, then the chunks in order), with p = sigmoid(x), a = alpha y + (1 -
 * alpha) (1 - y)     weight of the two classes m = p (1 - y) + (1 - p) y             mass on the wrong one, 1 -
 * p_t e = max(x,0) - x y + log(1 + exp(-|x|)) dx = k dy a (m^gamma (p - y) + gamma m^(gamma-1) p (1 - p) (1 -
 * 2y) e); y gets no gradient. For y of 0 and 1 p (1 - p) / m is 1 - p and p, so the second term is taken as
 * gamma m^gamma (p (1 - p) / m) (1 - 2y) e, 0 where m is 0. Nothing is saved. */
#include "kernels/ops.h"
#include <math.h>

enum { CHUNK = 1 << 12 };

Tensor *op_focal(Tape *t, Tensor *x, Tensor *y, float alpha, float gamma, float k)
{
    FocalParams p = {alpha, gamma, k};
    return op_apply(t, &focal_op, 2, (Tensor *[]){x, y}, &p, sizeof p);
}

void focal_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *y = n->in[1];
    const FocalParams *p = NODE_AS(FocalParams, n);
    if (x->dtype != DTYPE_f32 || y->dtype != DTYPE_f32 || !tensor_same_shape(x, y))
        die("focal: logits %s and targets %s are not f32 of one shape", tensor_text(x), tensor_text(y));
    if (!(p->alpha >= 0 && p->alpha <= 1 && p->gamma >= 0))
        die("focal: alpha %g is not in 0..1 or gamma %g is negative", (double)p->alpha, (double)p->gamma);
    n->out = tape_tensor(t, DTYPE_f32, 1, (int64_t[]){1});
}

typedef struct {
    float p, q, a, e, m, power; /* q = 1 - p; power = m^gamma */
} Terms;

static inline Terms terms_of(float x, float y, const FocalParams *f)
{
    const float small = expf(-fabsf(x)), large = 1 / (1 + small);
    Terms s = {0};
    s.p = x < 0 ? small * large : large;
    s.q = x < 0 ? large : small * large;
    s.a = f->alpha * y + (1 - f->alpha) * (1 - y);
    s.e = fmaxf(x, 0) - x * y + log1pf(small);
    s.m = s.p * (1 - y) + s.q * y;
    s.power = f->gamma == 2 ? s.m * s.m : powf(s.m, f->gamma);
    return s;
}

void focal_forward_cpu(Tape *t, Node *n)
{
    const FocalParams *f = NODE_AS(FocalParams, n);
    const float *x = n->in[0]->data, *y = n->in[1]->data;
    int64_t len = tensor_len(n->in[0]), chunks = (len + CHUNK - 1) / CHUNK;
    double *part = tape_scratch(t, (size_t)chunks * sizeof *part), total = 0;
#pragma omp parallel for schedule(static) if (chunks > 2)
    for (int64_t c = 0; c < chunks; c++) {
        int64_t end = (c + 1) * CHUNK < len ? (c + 1) * CHUNK : len;
        double sum = 0;
        for (int64_t i = c * CHUNK; i < end; i++) {
            const Terms s = terms_of(x[i], y[i], f);
            sum += (double)(s.a * s.power * s.e);
        }
        part[c] = sum;
    }
    for (int64_t c = 0; c < chunks; c++) total += part[c];
    *(float *)n->out->data = (float)((double)f->k * total);
}

void focal_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    if (!n->in[0]->grad) return;
    const FocalParams *f = NODE_AS(FocalParams, n);
    const float *x = n->in[0]->data, *y = n->in[1]->data, d = f->k * *(const float *)n->out->grad->data;
    float *dx = n->in[0]->grad->data;
    int64_t len = tensor_len(n->in[0]);
#pragma omp parallel for schedule(static) if (len > 1 << 13)
    for (int64_t i = 0; i < len; i++) {
        const Terms s = terms_of(x[i], y[i], f);
        const float ratio = s.m > 0 ? s.p * s.q / s.m : 0;
        dx[i] += d * s.a * s.power * (s.p - y[i] + f->gamma * ratio * (1 - 2 * y[i]) * s.e);
    }
}
