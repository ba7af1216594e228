/* Contrast of n pairs (equations 6 and 9; van den Oord et al. 2018). v, w (n,D), unit vectors v^, w^,
 * c_ij = v^_i . w^_j, s = k c with k = 1/tau or exp(min(scale, ln 100)):
 *
 *   L = 1/2 [alpha_v sum_i (lse_j s_ij - s_ii) + alpha_w sum_j (lse_i s_ij - s_jj)]  (/ n)  -> (1)
 *
 * lse over j != i, or over all j (include_self); of i != j with same_i = same_j neither is in the other's lse.
 * A term whose lse is empty is left out. With the shares P_ij = exp(s_ij - lse_j s_ij), Q_ij = exp(s_ij - lse_i
 * s_ij) of what is in an lse:
 *
 *   g_ij = dL/dc_ij = k/2 [alpha_v (P_ij - [i = j]) + alpha_w (Q_ij - [i = j])]  (/ n)
 *   u_i = sum_j g_ij w^_j    dv_i = (u_i - (u_i . v^_i) v^_i) / |v_i|    dw likewise
 *   dscale = sum_ij g_ij c_ij, 0 where scale is clamped
 *
 * A vector of length 0 has v^ = 0: its cosines and its gradient are 0. Saved for backward: g (n,n), dscale (1).
 * All is computed in double, each row by one thread, rows added in order. n is at most some hundred: the n^2 D
 * products of forward and the two of backward are all that costs. */
#include "kernels/ops.h"
#include <math.h>
#include <string.h>

enum { SMALL = 1 << 13 };
static const float scale_limit = 4.6051702f; /* ln 100 */

/* The rows of a tensor (n,D) as unit vectors. */
typedef struct Units {
    double *x, *reciprocal; /* (n,D); (n) 1 / length, 0 for length 0 */
} Units;

Tensor *op_infonce(Tape *t, Tensor *v, Tensor *w, Tensor *scale, Tensor *same, InfonceParams p)
{
    return op_apply(t, &infonce_op, 4, (Tensor *[]){v, w, scale, same}, &p, sizeof p);
}

void infonce_shape(Tape *t, Node *n)
{
    const Tensor *v = n->in[0], *w = n->in[1], *scale = n->in[2], *same = n->in[3];
    if (v->dtype != DTYPE_f32 || w->dtype != DTYPE_f32 || v->ndim != 2 || !tensor_same_shape(v, w))
        die("infonce: v %s and w %s are not f32 (n,D) of one shape", tensor_text(v), tensor_text(w));
    if (scale && (scale->dtype != DTYPE_f32 || tensor_len(scale) != 1))
        die("infonce: scale %s is not one f32", tensor_text(scale));
    if (same && (same->dtype != DTYPE_i32 || same->ndim != 1 || same->dim[0] != v->dim[0]))
        die("infonce: same %s does not number the rows of v %s", tensor_text(same), tensor_text(v));
    if (!scale && !(NODE_AS(InfonceParams, n)->tau > 0))
        die("infonce: tau %g is not above 0", (double)NODE_AS(InfonceParams, n)->tau);
    n->out = tape_tensor(t, DTYPE_f32, 1, (int64_t[]){1});
    n->saved[0] = tape_tensor(t, DTYPE_f32, 2, (int64_t[]){v->dim[0], v->dim[0]});
    n->saved[1] = tape_tensor(t, DTYPE_f32, 1, (int64_t[]){1});
}

static double dot(const double *a, const double *b, int64_t D)
{
    double s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t d = 0; d < D; d++) s += a[d] * b[d];
    return s;
}

static Units units(Tape *t, const Tensor *x)
{
    int64_t n = x->dim[0], D = x->dim[1];
    const float *from = x->data;
    Units u = {tape_scratch(t, (size_t)(n * D) * sizeof *u.x),
               tape_scratch(t, (size_t)n * sizeof *u.reciprocal)};
#pragma omp parallel for schedule(static) if (n * D > SMALL)
    for (int64_t i = 0; i < n; i++) {
        double *ui = u.x + i * D;
        for (int64_t d = 0; d < D; d++) ui[d] = (double)from[i * D + d];
        double length = sqrt(dot(ui, ui, D)), r = length == 0 ? 0 : 1 / length;
        for (int64_t d = 0; d < D; d++) ui[d] *= r;
        u.reciprocal[i] = r;
    }
    return u;
}

/* Whether pair (i,j) is in the lse of i. */
static bool counts(int64_t i, int64_t j, const int32_t *same, bool include_self)
{
    return i == j ? include_self : !same || same[i] != same[j];
}

/* One direction: element (i,j) of c and g lies at i * row + j * column. Adds k weight (share of j - [i = j]) to
 * g and returns weight * sum_i (lse_j k c_ij - k c_ii). */
static double direction(Tape *t, const double *c, double *g, int64_t n, int64_t row, int64_t column, double k,
                        double weight, const int32_t *same, bool include_self)
{
    double *term = tape_scratch(t, (size_t)n * sizeof *term), total = 0;
#pragma omp parallel for schedule(static) if (n * n > SMALL)
    for (int64_t i = 0; i < n; i++) {
        const double *ci = c + i * row;
        double *gi = g + i * row, top = -INFINITY, sum = 0;
        bool any = false;
        term[i] = 0;
        for (int64_t j = 0; j < n; j++) {
            if (!counts(i, j, same, include_self)) continue;
            any = true;
            if (k * ci[j * column] > top) top = k * ci[j * column];
        }
        if (!any) continue;
        for (int64_t j = 0; j < n; j++)
            if (counts(i, j, same, include_self)) sum += exp(k * ci[j * column] - top);
        for (int64_t j = 0; j < n; j++)
            if (counts(i, j, same, include_self))
                gi[j * column] += k * weight * exp(k * ci[j * column] - top) / sum;
        gi[i * column] -= k * weight;
        term[i] = top + log(sum) - k * ci[i * column];
    }
    for (int64_t i = 0; i < n; i++) total += term[i];
    return weight * total;
}

void infonce_forward_cpu(Tape *t, Node *node)
{
    const InfonceParams *p = NODE_AS(InfonceParams, node);
    int64_t n = node->in[0]->dim[0], D = node->in[0]->dim[1];
    const int32_t *same = node->in[3] ? node->in[3]->data : NULL;
    float scale = node->in[2] ? *(const float *)node->in[2]->data : 0, *slope = node->saved[0]->data;
    bool clamped = scale > scale_limit;
    double k = node->in[2] ? exp((double)(clamped ? scale_limit : scale)) : 1 / (double)p->tau;
    double half = p->mean ? 0.5 / (double)n : 0.5, dscale = 0;
    Units v = units(t, node->in[0]), w = units(t, node->in[1]);
    double *c = tape_scratch(t, (size_t)(2 * n * n) * sizeof *c), *g = c + n * n;
    memset(g, 0, (size_t)(n * n) * sizeof *g);
#pragma omp parallel for schedule(static) if (n * n * D > SMALL)
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) c[i * n + j] = dot(v.x + i * D, w.x + j * D, D);
    double loss = direction(t, c, g, n, n, 1, k, half * (double)p->alpha_v, same, p->include_self);
    loss += direction(t, c, g, n, 1, n, k, half * (double)p->alpha_w, same, p->include_self);
    for (int64_t i = 0; i < n * n; i++) {
        slope[i] = (float)g[i];
        dscale += g[i] * c[i];
    }
    *(float *)node->out->data = (float)loss;
    *(float *)node->saved[1]->data = clamped ? 0 : (float)dscale;
}

/* dx_i += dy (u_i - (u_i . x^_i) x^_i) / |x_i|, u_i = sum_j g_ij other^_j; g_ij lies at i * row + j * column.
 */
static void descend(Tape *t, const float *g, int64_t row, int64_t column, const Units *x, const Units *other,
                    double dy, Tensor *grad)
{
    int64_t n = grad->dim[0], D = grad->dim[1];
    float *dx = grad->data;
    double *u = tape_scratch(t, (size_t)(n * D) * sizeof *u);
#pragma omp parallel for schedule(static) if (n * n * D > SMALL)
    for (int64_t i = 0; i < n; i++) {
        double *ui = u + i * D, scale = dy * x->reciprocal[i];
        const double *xi = x->x + i * D;
        memset(ui, 0, (size_t)D * sizeof *ui);
        for (int64_t j = 0; j < n; j++) {
            const double gij = (double)g[i * row + j * column], *from = other->x + j * D;
            for (int64_t d = 0; d < D; d++) ui[d] += gij * from[d];
        }
        double along = dot(ui, xi, D);
        for (int64_t d = 0; d < D; d++) dx[i * D + d] += (float)(scale * (ui[d] - along * xi[d]));
    }
}

void infonce_backward_cpu(Tape *t, Node *node)
{
    const float *g = node->saved[0]->data, dy = *(const float *)node->out->grad->data;
    Tensor *dv = node->in[0]->grad, *dw = node->in[1]->grad, *dscale = node->in[2] ? node->in[2]->grad : NULL;
    int64_t n = node->in[0]->dim[0];
    if (dscale) *(float *)dscale->data += dy * *(const float *)node->saved[1]->data;
    if (!dv && !dw) return;
    Units v = units(t, node->in[0]), w = units(t, node->in[1]);
    if (dv) descend(t, g, n, 1, &v, &w, (double)dy, dv);
    if (dw) descend(t, g, 1, n, &w, &v, (double)dy, dw);
}
