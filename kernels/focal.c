/* Sigmoid focal loss (Lin et al. 2017) on logits x, targets y in [0,1]: k sum a m^gamma e -> (1), where
 *   p = sigmoid(x)
 *   a = alpha y + (1 - alpha) (1 - y)           weight of the two classes
 *   m = p (1 - y) + (1 - p) y                   mass on the wrong one, 1 - p_t
 *   e = max(x,0) - x y + log(1 + exp(-|x|))     cross-entropy
 * Sums in double, VEC terms at a time in f32, in two stages (chunks of fixed length, then these in order).
 *   dx = k dy a (m^gamma (p - y) + gamma m^(gamma-1) p (1 - p) (1 - 2y) e)
 * and y gets no gradient. For y of 0 and 1 p (1 - p) / m is 1 - p and p, so the second term is taken as gamma
 * m^gamma (p (1 - p) / m) (1 - 2y) e, 0 where m is 0. Nothing is saved. */
#include "kernels/ops.h"
#include "kernels/vec.h"
#include <math.h>
#include <string.h>

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
    Vec p, q, a, e, m, power; /* q = 1 - p; power = m^gamma */
} Terms;

/* *s = log(1 + *s) for 0 <= *s <= 1: s times a polynomial of degree 8, fitted to a relative error of 3e-8. */
static inline __attribute__((always_inline)) void vec_log1p(Vec *s)
{
    Vec v = *s, p = v * 5.232691505e-03f - 2.950522771e-02f;
    p = p * v + 7.822593382e-02f;
    p = p * v - 1.366324426e-01f;
    p = p * v + 1.910600604e-01f;
    p = p * v - 2.484298203e-01f;
    p = p * v + 3.331909678e-01f;
    p = p * v - 4.999949314e-01f;
    p = p * v + 9.999999699e-01f;
    *s = v * p;
}

static inline __attribute__((always_inline)) void make_terms(const float *x, const float *y,
                                                             const FocalParams *f, Terms *s)
{
    const Vec v = VEC_LOAD(x), t = VEC_LOAD(y), none = {0};
    const VecInt below = v < none;
    Vec small = -(Vec)((VecInt)v & 0x7fffffff), above = v;
    vec_exp(&small);
    const Vec large = 1.0f / (1.0f + small), rest = small * large;
    s->p = (Vec)(((VecInt)rest & below) | ((VecInt)large & ~below));
    s->q = (Vec)(((VecInt)large & below) | ((VecInt)rest & ~below));
    s->a = f->alpha * t + (1 - f->alpha) * (1.0f - t);
    vec_log1p(&small);
    vec_max(&above, &none);
    s->e = above - v * t + small;
    s->m = s->p * (1.0f - t) + s->q * t;
    s->power = s->m * s->m;
    if (f->gamma != 2)
        for (int j = 0; j < VEC; j++) s->power[j] = powf(s->m[j], f->gamma);
}

/* Of at most CHUNK elements. */
VEC_BODY(forward_chunk, (const float *x, const float *y, int64_t n, const FocalParams *f, double *sum), {
    Terms s;
    double all = 0;
    int64_t i = 0;
    for (; i + VEC <= n; i += VEC) {
        make_terms(x + i, y + i, f, &s);
        Vec term = s.a * s.power * s.e;
        all += (double)vec_sum(&term);
    }
    float last[VEC] = {0};
    float target[VEC] = {0};
    memcpy(last, x + i, (size_t)(n - i) * sizeof *x);
    memcpy(target, y + i, (size_t)(n - i) * sizeof *y);
    make_terms(last, target, f, &s);
    for (int64_t j = 0; j < n - i; j++) all += (double)(s.a[j] * s.power[j] * s.e[j]);
    *sum = all;
})
VEC_FUNCTION(forward_chunk, (const float *x, const float *y, int64_t n, const FocalParams *f, double *sum),
             (x, y, n, f, sum))

void focal_forward_cpu(Tape *t, Node *n)
{
    const FocalParams *f = NODE_AS(FocalParams, n);
    const float *x = n->in[0]->data, *y = n->in[1]->data;
    int64_t len = tensor_len(n->in[0]), chunks = (len + CHUNK - 1) / CHUNK;
    double *part = tape_scratch(t, (size_t)chunks * sizeof *part), total = 0;
#pragma omp parallel for schedule(static) if (chunks > 4)
    for (int64_t c = 0; c < chunks; c++) {
        int64_t from = c * CHUNK;
        forward_chunk(x + from, y + from, len - from < CHUNK ? len - from : CHUNK, f, part + c);
    }
    for (int64_t c = 0; c < chunks; c++) total += part[c];
    *(float *)n->out->data = (float)((double)f->k * total);
}

/* d (dloss/dx) / k of VEC elements, added to dx. */
static inline __attribute__((always_inline)) void backward_vec(const float *x, const float *y,
                                                               const FocalParams *f, float d, float *dx)
{
    const Vec t = VEC_LOAD(y), none = {0};
    Terms s;
    make_terms(x, y, f, &s);
    const VecInt some = s.m > none;
    const Vec ratio = (Vec)((VecInt)(s.p * s.q / s.m) & some);
    VEC_STORE(dx, VEC_LOAD(dx) + d * s.a * s.power * (s.p - t + f->gamma * ratio * (1.0f - 2.0f * t) * s.e));
}

VEC_BODY(backward_chunk, (const float *x, const float *y, int64_t n, const FocalParams *f, float d, float *dx),
         {
             int64_t i = 0;
             for (; i + VEC <= n; i += VEC) backward_vec(x + i, y + i, f, d, dx + i);
             float last[VEC] = {0};
             float target[VEC] = {0};
             float slope[VEC] = {0};
             memcpy(last, x + i, (size_t)(n - i) * sizeof *x);
             memcpy(target, y + i, (size_t)(n - i) * sizeof *y);
             backward_vec(last, target, f, d, slope);
             for (int64_t j = 0; j < n - i; j++) dx[i + j] += slope[j];
         })
VEC_FUNCTION(backward_chunk,
             (const float *x, const float *y, int64_t n, const FocalParams *f, float d, float *dx),
             (x, y, n, f, d, dx))

void focal_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    if (!n->in[0]->grad) return;
    const FocalParams *f = NODE_AS(FocalParams, n);
    const float *x = n->in[0]->data, *y = n->in[1]->data, d = f->k * *(const float *)n->out->grad->data;
    float *dx = n->in[0]->grad->data;
    int64_t len = tensor_len(n->in[0]);
#pragma omp parallel for schedule(static) if (len > 4 * CHUNK)
    for (int64_t i = 0; i < len; i += CHUNK)
        backward_chunk(x + i, y + i, len - i < CHUNK ? len - i : CHUNK, f, d, dx + i);
}
