/* Batch normalisation (Ioffe & Szegedy 2015) per channel, the last dim: y = (x - mean) r gamma + beta with
 * r = 1/sqrt(var + eps), over R rows. x (...,C); saved: mean (C), r (C). Training takes mean and biased
 * variance of the batch and moves the running ones, else the running ones are used. dbeta = sum dy;  dgamma =
 * sum dy xhat, xhat = (x - mean) r; training: dx = gamma r (dy - dbeta/R - xhat dgamma/R);  else dx = gamma r
 * dy. Memory-bound: training reads x twice, backward reads x and dy twice. Sums are taken in f32 over blocks of
 * rows, of x - (first row) so that a large mean costs no digits, and in double over the blocks; blocks do not
 * depend on the number of threads. */
#include "kernels/ops.h"
#include "kernels/vec.h"
#include <math.h>
#include <string.h>

enum { BLOCK = 64 /* rows */, STRIP = 4 /* vectors of channels held in registers */, SMALL = 1 << 14 };

Tensor *op_batchnorm(Tape *t, Tensor *x, Tensor *gamma, Tensor *beta, Tensor *running_mean, Tensor *running_var,
                     BatchnormParams p)
{
    return op_apply(t, &batchnorm_op, 5, (Tensor *[]){x, gamma, beta, running_mean, running_var}, &p, sizeof p);
}

void batchnorm_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0];
    for (int i = 1; i < 5; i++)
        if (!is_activation(x) || n->in[i]->dtype != DTYPE_f32 || n->in[i]->ndim != 1 ||
            n->in[i]->dim[0] != tensor_last(x))
            die("batchnorm: input %d %s does not fit x %s", i, tensor_text(n->in[i]), tensor_text(x));
    int64_t C = tensor_last(x);
    n->out = tape_tensor(t, x->dtype, x->ndim, x->dim);
    n->saved[0] = tape_tensor(t, DTYPE_f32, 1, &C);
    n->saved[1] = tape_tensor(t, DTYPE_f32, 1, &C);
}

/* ---- sums over a block of rows: a[c] = sum of p, b[c] = sum of p q ---- */

/* forward: p = q = x - shift. backward (dy there): p = dy, q = x - shift. `width` vectors of channels. */
static inline __attribute__((always_inline)) void sum_strip(const float *x, const float *dy, const float *shift,
                                                            int64_t rows, int64_t C, float *a, float *b,
                                                            const int width)
{
    Vec first[STRIP], second[STRIP], from[STRIP];
#pragma GCC unroll 4
    for (int v = 0; v < width; v++) {
        from[v] = VEC_LOAD(shift + v * VEC);
        first[v] = second[v] = from[v] * 0;
    }
    for (int64_t i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (int v = 0; v < width; v++) {
            Vec q = VEC_LOAD(x + i * C + v * VEC) - from[v];
            Vec p = dy ? VEC_LOAD(dy + i * C + v * VEC) : q;
            first[v] += p;
            second[v] += p * q;
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < width; v++) {
        VEC_STORE(a + v * VEC, first[v]);
        VEC_STORE(b + v * VEC, second[v]);
    }
}

VEC_BODY(sum_block,
         (const float *x, const float *dy, const float *shift, int64_t rows, int64_t C, float *a, float *b), {
             int64_t c = 0;
             if (dy) {
                 for (; c + STRIP * VEC <= C; c += STRIP * VEC)
                     sum_strip(x + c, dy + c, shift + c, rows, C, a + c, b + c, STRIP);
                 for (; c + VEC <= C; c += VEC) sum_strip(x + c, dy + c, shift + c, rows, C, a + c, b + c, 1);
             } else {
                 for (; c + STRIP * VEC <= C; c += STRIP * VEC)
                     sum_strip(x + c, NULL, shift + c, rows, C, a + c, b + c, STRIP);
                 for (; c + VEC <= C; c += VEC) sum_strip(x + c, NULL, shift + c, rows, C, a + c, b + c, 1);
             }
             for (; c < C; c++) {
                 a[c] = b[c] = 0;
                 for (int64_t i = 0; i < rows; i++) {
                     float q = x[i * C + c] - shift[c];
                     float p = dy ? dy[i * C + c] : q;
                     a[c] += p;
                     b[c] += p * q;
                 }
             }
         })
VEC_FUNCTION(sum_block,
             (const float *x, const float *dy, const float *shift, int64_t rows, int64_t C, float *a, float *b),
             (x, dy, shift, rows, C, a, b))

/* a, b (C) over all rows. */
static void sums(Tape *t, const float *x, const float *dy, const float *shift, int64_t rows, int64_t C,
                 double *a, double *b)
{
    int64_t blocks = (rows + BLOCK - 1) / BLOCK;
    float *part = tape_scratch(t, (size_t)(2 * blocks * C) * sizeof *part); /* (blocks,2,C) */
#pragma omp parallel for schedule(static) if (rows * C > SMALL)
    for (int64_t i = 0; i < blocks; i++) {
        int64_t from = i * BLOCK, count = from + BLOCK > rows ? rows - from : BLOCK;
        sum_block(x + from * C, dy ? dy + from * C : NULL, shift, count, C, part + 2 * i * C,
                  part + (2 * i + 1) * C);
    }
    memset(a, 0, (size_t)C * sizeof *a);
    memset(b, 0, (size_t)C * sizeof *b);
    for (int64_t i = 0; i < blocks; i++)
        for (int64_t c = 0; c < C; c++) {
            a[c] += (double)part[2 * i * C + c];
            b[c] += (double)part[(2 * i + 1) * C + c];
        }
}

/* ---- row by row ---- */

/* y = (x - mean) k + beta. */
VEC_BODY(normalise,
         (const float *x, const float *mean, const float *k, const float *beta, float *y, int64_t rows,
          int64_t C),
         {
             for (int64_t i = 0; i < rows; i++) {
                 const float *xi = x + i * C;
                 float *yi = y + i * C;
                 int64_t c = 0;
                 for (; c + VEC <= C; c += VEC)
                     VEC_STORE(yi + c,
                               (VEC_LOAD(xi + c) - VEC_LOAD(mean + c)) * VEC_LOAD(k + c) + VEC_LOAD(beta + c));
                 for (; c < C; c++) yi[c] = (xi[c] - mean[c]) * k[c] + beta[c];
             }
         })
VEC_FUNCTION(normalise,
             (const float *x, const float *mean, const float *k, const float *beta, float *y, int64_t rows,
              int64_t C),
             (x, mean, k, beta, y, rows, C))

/* dx += k dy - (x - mean) slope - level. */
VEC_BODY(descend,
         (const float *x, const float *dy, const float *mean, const float *k, const float *slope,
          const float *level, float *dx, int64_t rows, int64_t C),
         {
             for (int64_t i = 0; i < rows; i++) {
                 const float *xi = x + i * C;
                 const float *dyi = dy + i * C;
                 float *dxi = dx + i * C;
                 int64_t c = 0;
                 for (; c + VEC <= C; c += VEC)
                     VEC_STORE(dxi + c, VEC_LOAD(dxi + c) + VEC_LOAD(k + c) * VEC_LOAD(dyi + c) -
                                            (VEC_LOAD(xi + c) - VEC_LOAD(mean + c)) * VEC_LOAD(slope + c) -
                                            VEC_LOAD(level + c));
                 for (; c < C; c++) dxi[c] += k[c] * dyi[c] - (xi[c] - mean[c]) * slope[c] - level[c];
             }
         })
VEC_FUNCTION(descend,
             (const float *x, const float *dy, const float *mean, const float *k, const float *slope,
              const float *level, float *dx, int64_t rows, int64_t C),
             (x, dy, mean, k, slope, level, dx, rows, C))

/* ---- forward ---- */

static void batch_statistics(Tape *t, Node *n, int64_t rows, int64_t C)
{
    const BatchnormParams *p = NODE_AS(BatchnormParams, n);
    const float *x = n->in[0]->data;
    float *mean = n->saved[0]->data, *r = n->saved[1]->data;
    float *running_mean = n->in[3]->data, *running_var = n->in[4]->data;
    double *a = tape_scratch(t, (size_t)C * sizeof *a), *b = tape_scratch(t, (size_t)C * sizeof *b);
    sums(t, x, NULL, x, rows, C, a, b);
    for (int64_t c = 0; c < C; c++) {
        double R = (double)rows, offset = a[c] / R, m = (double)x[c] + offset;
        double var = b[c] / R - offset * offset;
        if (var < 0) var = 0;
        double unbiased = rows > 1 ? var * R / (R - 1) : var, keep = 1 - (double)p->momentum;
        mean[c] = (float)m;
        r[c] = (float)(1 / sqrt(var + (double)p->eps));
        running_mean[c] = (float)(keep * (double)running_mean[c] + (double)p->momentum * m);
        running_var[c] = (float)(keep * (double)running_var[c] + (double)p->momentum * unbiased);
    }
}

void batchnorm_forward_cpu(Tape *t, Node *n)
{
    const BatchnormParams *p = NODE_AS(BatchnormParams, n);
    int64_t rows = tensor_rows(n->in[0]), C = tensor_last(n->in[0]);
    const float *x = n->in[0]->data, *gamma = n->in[1]->data, *beta = n->in[2]->data;
    const float *running_var = n->in[4]->data;
    float *y = n->out->data, *mean = n->saved[0]->data, *r = n->saved[1]->data;
    if (p->train) {
        batch_statistics(t, n, rows, C);
    } else {
        memcpy(mean, n->in[3]->data, (size_t)C * sizeof *mean);
        for (int64_t c = 0; c < C; c++) r[c] = (float)(1 / sqrt((double)running_var[c] + (double)p->eps));
    }
    float *k = tape_scratch(t, (size_t)C * sizeof *k);
    for (int64_t c = 0; c < C; c++) k[c] = gamma[c] * r[c];
#pragma omp parallel for schedule(static) if (rows * C > SMALL)
    for (int64_t i = 0; i < rows; i += BLOCK)
        normalise(x + i * C, mean, k, beta, y + i * C, i + BLOCK > rows ? rows - i : BLOCK, C);
}

/* ---- backward ---- */

void batchnorm_backward_cpu(Tape *t, Node *n)
{
    bool train = NODE_AS(BatchnormParams, n)->train;
    int64_t rows = tensor_rows(n->in[0]), C = tensor_last(n->in[0]);
    const float *x = n->in[0]->data, *gamma = n->in[1]->data, *dy = n->out->grad->data;
    const float *mean = n->saved[0]->data, *r = n->saved[1]->data;
    const Tensor *dgamma = n->in[1]->grad, *dbeta = n->in[2]->grad;
    double *a = tape_scratch(t, (size_t)C * sizeof *a), *b = tape_scratch(t, (size_t)C * sizeof *b);
    float *k = tape_scratch(t, (size_t)(3 * C) * sizeof *k), *slope = k + C, *level = slope + C;
    bool needed = dgamma || dbeta || (train && n->in[0]->grad);
    if (needed) sums(t, x, dy, mean, rows, C, a, b);
    for (int64_t c = 0; c < C; c++) {
        k[c] = gamma[c] * r[c];
        slope[c] =
            train && needed ? (float)((double)k[c] * b[c] * (double)r[c] * (double)r[c] / (double)rows) : 0;
        level[c] = train && needed ? (float)((double)k[c] * a[c] / (double)rows) : 0;
        if (dgamma) ((float *)dgamma->data)[c] += (float)(b[c] * (double)r[c]);
        if (dbeta) ((float *)dbeta->data)[c] += (float)a[c];
    }
    if (!n->in[0]->grad) return;
    float *dx = n->in[0]->grad->data;
#pragma omp parallel for schedule(static) if (rows * C > SMALL)
    for (int64_t i = 0; i < rows; i += BLOCK)
        descend(x + i * C, dy + i * C, mean, k, slope, level, dx + i * C, i + BLOCK > rows ? rows - i : BLOCK,
                C);
}
