/* AdamW (Loshchilov & Hutter 2019), in place on flat (n): with g = grad_scale grad,
 *   w -= lr wd w;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;
 *   w -= lr/(1-b1^step) m / (sqrt(v)/sqrt(1-b2^step) + eps).
 * Bias corrections in double. Updates w, m and v. */
#include "kernels/ops.h"
#include <math.h>

void op_adamw(Tape *t, Tensor *w, Tensor *grad, Tensor *m, Tensor *v, AdamwParams p)
{
    op_apply(t, &adamw_op, 4, (Tensor *[]){w, grad, m, v}, &p, sizeof p);
}

void adamw_shape(Tape *t, Node *n)
{
    static const char *const what[] = {"weight", "gradient", "m", "v"};
    (void)t;
    for (int i = 0; i < 4; i++)
        if (n->in[i]->dtype != DTYPE_f32 || !tensor_same_shape(n->in[0], n->in[i]))
            die("adamw: weight %s and %s %s are not f32 of one shape", tensor_text(n->in[0]), what[i],
                tensor_text(n->in[i]));
    if (NODE_AS(AdamwParams, n)->step < 1)
        die("adamw: step %lld, but steps start at 1", (long long)NODE_AS(AdamwParams, n)->step);
    n->out = n->in[0];
}

void adamw_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    float *w = n->in[0]->data, *m = n->in[2]->data, *v = n->in[3]->data;
    const float *grad = n->in[1]->data;
    const AdamwParams p = *NODE_AS(AdamwParams, n);
    const float decay = (float)((double)p.lr * (double)p.weight_decay); /* 1 - decay would lose its digits */
    const float rate = (float)((double)p.lr / (1 - pow((double)p.beta1, (double)p.step)));
    const float unbias = (float)(1 / sqrt(1 - pow((double)p.beta2, (double)p.step)));
    const float new1 = (float)(1 - (double)p.beta1), new2 = (float)(1 - (double)p.beta2);
    int64_t len = tensor_len(n->in[0]);
#pragma omp parallel for simd schedule(static) if (len > 1 << 14)
    for (int64_t i = 0; i < len; i++) {
        const float g = p.grad_scale * grad[i];
        m[i] = p.beta1 * m[i] + new1 * g;
        v[i] = p.beta2 * v[i] + new2 * g * g;
        w[i] -= decay * w[i] + rate * m[i] / (sqrtf(v[i]) * unbias + p.eps);
    }
}
