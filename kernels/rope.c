/* Rotary position embedding (Su et al. 2021) in the layout of Hugging Face's LLaMA: the pair (x[j], x[j+D/2])
 * is turned by angle = position * theta^(-2j/D), computed in f32 as the reference does. x (B,T,H,D), position
 * (B,T) i32. Backward turns by the opposite angle; nothing is saved. */
#include "kernels/ops.h"
#include <math.h>

Tensor *op_rope(Tape *t, Tensor *x, Tensor *position, float theta)
{
    RopeParams p = {theta};
    return op_apply(t, &rope_op, 2, (Tensor *[]){x, position}, &p, sizeof p);
}

void rope_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *position = n->in[1];
    if (!is_activation(x) || x->ndim != 4 || x->dim[3] % 2)
        die("rope: x %s is not f32 or bf16 (B,T,H,D) with even D", tensor_text(x));
    if (position->dtype != DTYPE_i32 || position->ndim != 2 || position->dim[0] != x->dim[0] ||
        position->dim[1] != x->dim[1])
        die("rope: position %s is not i32 (B,T) of x %s", tensor_text(position), tensor_text(x));
    n->out = tape_tensor(t, x->dtype, x->ndim, x->dim);
}

/* y (+)= x turned by sign * angle. The sines of one token serve all its heads. */
static void turn(Tape *t, const Node *n, const float *x, float *y, float sign, bool add)
{
    const int32_t *position = n->in[1]->data;
    int64_t tokens = tensor_len(n->in[1]), H = n->in[0]->dim[2], D = n->in[0]->dim[3], half = D / 2;
    float theta = NODE_AS(RopeParams, n)->theta;
    float *frequency = tape_scratch(t, (size_t)half * sizeof *frequency);
    float *table = tape_scratch(t, (size_t)(tokens * D) * sizeof *table); /* (tokens, cos and sin, D/2) */
    for (int64_t j = 0; j < half; j++) frequency[j] = 1 / powf(theta, (float)(2 * j) / (float)D);
#pragma omp parallel for schedule(static) if (tokens * D * H > 1 << 13)
    for (int64_t i = 0; i < tokens; i++) {
        float *c = table + i * D, *s = c + half;
        for (int64_t j = 0; j < half; j++) {
            float angle = (float)position[i] * frequency[j];
            c[j] = cosf(angle);
            s[j] = sign * sinf(angle);
        }
        for (int64_t h = 0; h < H; h++) {
            const float *a = x + (i * H + h) * D, *b = a + half;
            float *ya = y + (i * H + h) * D, *yb = ya + half;
            for (int64_t j = 0; j < half; j++) {
                float first = a[j] * c[j] - b[j] * s[j], second = b[j] * c[j] + a[j] * s[j];
                ya[j] = add ? ya[j] + first : first;
                yb[j] = add ? yb[j] + second : second;
            }
        }
    }
}

void rope_forward_cpu(Tape *t, Node *n) { turn(t, n, n->in[0]->data, n->out->data, 1, false); }

void rope_backward_cpu(Tape *t, Node *n)
{
    if (n->in[0]->grad) turn(t, n, n->out->grad->data, n->in[0]->grad->data, -1, true);
}
