/* Dice loss of M regions, one a row of K elements (equation 3; Milletari et al. 2016), the mean over rows, with
 * S = sum p y:
 *   printed  1 - 2 S / D,        D = sum p^2 + sum y^2 + 1e-6    dL/dp = -2 y / D + 4 S p / D^2
 *   smooth   1 - (2 S + 1) / D,  D = sum p + sum y + 1           dL/dp = -2 y / D + (2 S + 1) / D^2
 * p, y (M,...) -> (1). The 1e-6 makes an empty region against p = 0 a loss of 1 with zero gradient. A row is
 * summed in double by one thread, the rows in order. Saved for backward: a, b (M,2) with dL/dp = a y + b p
 * (printed) or a y + b (smooth). y gets no gradient. */
#include "kernels/ops.h"

static const double nothing = 1e-6; /* of equation 3's denominator */

Tensor *op_dice(Tape *t, Tensor *p, Tensor *y, bool smooth)
{
    DiceParams params = {smooth};
    return op_apply(t, &dice_op, 2, (Tensor *[]){p, y}, &params, sizeof params);
}

void dice_shape(Tape *t, Node *n)
{
    const Tensor *p = n->in[0], *y = n->in[1];
    if (p->dtype != DTYPE_f32 || y->dtype != DTYPE_f32 || !tensor_same_shape(p, y))
        die("dice: probabilities %s and masks %s are not f32 of one shape", tensor_text(p), tensor_text(y));
    n->out = tape_tensor(t, DTYPE_f32, 1, (int64_t[]){1});
    n->saved[0] = tape_tensor(t, DTYPE_f32, 2, (int64_t[]){p->dim[0], 2});
}

void dice_forward_cpu(Tape *t, Node *n)
{
    bool smooth = NODE_AS(DiceParams, n)->smooth;
    const float *p = n->in[0]->data, *y = n->in[1]->data;
    int64_t M = n->in[0]->dim[0], K = tensor_len(n->in[0]) / M;
    float *slope = n->saved[0]->data;
    double *loss = tape_scratch(t, (size_t)M * sizeof *loss), total = 0;
#pragma omp parallel for schedule(static) if (M * K > 1 << 14)
    for (int64_t i = 0; i < M; i++) {
        const float *pi = p + i * K, *yi = y + i * K;
        double S = 0, P = 0, Y = 0;
#pragma omp simd reduction(+ : S, P, Y)
        for (int64_t j = 0; j < K; j++) {
            double a = (double)pi[j], b = (double)yi[j];
            S += a * b;
            P += smooth ? a : a * a;
            Y += smooth ? b : b * b;
        }
        double top = smooth ? 2 * S + 1 : 2 * S, D = P + Y + (smooth ? 1 : nothing);
        loss[i] = 1 - top / D;
        slope[2 * i] = (float)(-2 / D / (double)M);
        slope[2 * i + 1] = (float)((smooth ? top : 2 * top) / (D * D) / (double)M);
    }
    for (int64_t i = 0; i < M; i++) total += loss[i];
    *(float *)n->out->data = (float)(total / (double)M);
}

void dice_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    if (!n->in[0]->grad) return;
    bool smooth = NODE_AS(DiceParams, n)->smooth;
    const float *p = n->in[0]->data, *y = n->in[1]->data, *slope = n->saved[0]->data;
    const float dy = *(const float *)n->out->grad->data;
    float *dp = n->in[0]->grad->data;
    int64_t M = n->in[0]->dim[0], K = tensor_len(n->in[0]) / M;
#pragma omp parallel for schedule(static) if (M * K > 1 << 14)
    for (int64_t i = 0; i < M; i++) {
        const float a = slope[2 * i], b = slope[2 * i + 1];
        for (int64_t j = i * K; j < (i + 1) * K; j++) dp[j] += dy * (a * y[j] + b * (smooth ? 1 : p[j]));
    }
}
