/* Layer normalisation (Ba et al. 2016): y = h w + b, h = (x - mean) r, r = 1/sqrt(var + eps), mean and biased
 * variance over the last dim. x (...,C), w, b (C). Saved for backward: mean, r (rows).
 * dx = r (g - mean(g) - h mean(g h)), g = w dy; dw = sum over rows of dy h; db = sum over rows of dy.
 * The mean is taken twice, the second time of x - mean: what the first sum lost to rounding. Sums in a row are
 * in f32, VEC of them at a time; sums over rows in f32 for up to BLOCK rows, in double from there. */
#include "kernels/ops.h"
#include "kernels/vec.h"
#include <math.h>

enum { BLOCK = 64, STRIP = 2 * VEC, SMALL = 1 << 15 };

Tensor *op_layernorm(Tape *t, Tensor *x, Tensor *w, Tensor *b, float eps)
{
    LayernormParams p = {eps};
    return op_apply(t, &layernorm_op, 3, (Tensor *[]){x, w, b}, &p, sizeof p);
}

void layernorm_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0], *w = n->in[1], *b = n->in[2];
    if (!is_activation(x) || w->dtype != DTYPE_f32 || w->ndim != 1 || w->dim[0] != tensor_last(x))
        die("layernorm: weight %s does not fit x %s", tensor_text(w), tensor_text(x));
    if (b->dtype != DTYPE_f32 || b->ndim != 1 || b->dim[0] != tensor_last(x))
        die("layernorm: bias %s does not fit x %s", tensor_text(b), tensor_text(x));
    int64_t rows = tensor_rows(x);
    n->out = tape_tensor(t, x->dtype, x->ndim, x->dim);
    n->saved[0] = tape_tensor(t, DTYPE_f32, 1, &rows);
    n->saved[1] = tape_tensor(t, DTYPE_f32, 1, &rows);
}

VEC_BODY(forward_row,
         (const float *x, const float *w, const float *b, float eps, int64_t C, float *y, float *mean,
          float *r),
         {
             const int64_t whole = C - C % VEC;
             const float size = (float)C;
             Vec a0 = {0}, a1 = {0};
             for (int64_t c = 0; c < whole; c += VEC) a0 += VEC_LOAD(x + c);
             float m = vec_sum(&a0);
             for (int64_t c = whole; c < C; c++) m += x[c];
             m /= size;
             a0 -= a0;
             for (int64_t c = 0; c < whole; c += VEC) {
                 Vec d = VEC_LOAD(x + c) - m;
                 a0 += d;
                 a1 += d * d;
             }
             float rest = vec_sum(&a0), square = vec_sum(&a1);
             for (int64_t c = whole; c < C; c++) {
                 const float d = x[c] - m;
                 rest += d;
                 square += d * d;
             }
             rest /= size;
             const float var = square / size - rest * rest, k = 1 / sqrtf((var > 0 ? var : 0) + eps);
             m += rest;
             for (int64_t c = 0; c < whole; c += VEC)
                 VEC_STORE(y + c, (VEC_LOAD(x + c) - m) * k * VEC_LOAD(w + c) + VEC_LOAD(b + c));
             for (int64_t c = whole; c < C; c++) y[c] = (x[c] - m) * k * w[c] + b[c];
             *mean = m;
             *r = k;
         })
VEC_FUNCTION(forward_row,
             (const float *x, const float *w, const float *b, float eps, int64_t C, float *y, float *mean,
              float *r),
             (x, w, b, eps, C, y, mean, r))

void layernorm_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const float *x = n->in[0]->data, *w = n->in[1]->data, *b = n->in[2]->data;
    const float eps = NODE_AS(LayernormParams, n)->eps;
    float *y = n->out->data, *mean = n->saved[0]->data, *r = n->saved[1]->data;
    int64_t rows = tensor_rows(n->in[0]), C = tensor_last(n->in[0]);
#pragma omp parallel for schedule(static) if (rows * C > SMALL)
    for (int64_t i = 0; i < rows; i++) forward_row(x + i * C, w, b, eps, C, y + i * C, mean + i, r + i);
}

VEC_BODY(backward_row,
         (const float *x, const float *w, const float *dy, float mean, float r, int64_t C, float *dx), {
             const int64_t whole = C - C % VEC;
             Vec a0 = {0}, a1 = {0};
             for (int64_t c = 0; c < whole; c += VEC) {
                 Vec g = VEC_LOAD(w + c) * VEC_LOAD(dy + c);
                 a0 += g;
                 a1 += g * (VEC_LOAD(x + c) - mean);
             }
             float level = vec_sum(&a0), slope = vec_sum(&a1);
             for (int64_t c = whole; c < C; c++) {
                 level += w[c] * dy[c];
                 slope += w[c] * dy[c] * (x[c] - mean);
             }
             level /= (float)C;
             slope *= r * r / (float)C;
             for (int64_t c = 0; c < whole; c += VEC) {
                 Vec g = VEC_LOAD(w + c) * VEC_LOAD(dy + c);
                 VEC_STORE(dx + c, VEC_LOAD(dx + c) + r * (g - level - (VEC_LOAD(x + c) - mean) * slope));
             }
             for (int64_t c = whole; c < C; c++) dx[c] += r * (w[c] * dy[c] - level - (x[c] - mean) * slope);
         })
VEC_FUNCTION(backward_row,
             (const float *x, const float *w, const float *dy, float mean, float r, int64_t C, float *dx),
             (x, w, dy, mean, r, C, dx))

/* dw and db of STRIP columns over at most BLOCK rows. */
VEC_BODY(column_sums,
         (const float *x, const float *dy, const float *mean, const float *r, int64_t rows, int64_t C,
          float *dw, float *db),
         {
             Vec w0 = {0}, w1 = {0}, b0 = {0}, b1 = {0};
             for (int64_t i = 0; i < rows; i++) {
                 const float *xi = x + i * C, *dyi = dy + i * C;
                 const float m = mean[i], k = r[i];
                 Vec d0 = VEC_LOAD(dyi), d1 = VEC_LOAD(dyi + VEC);
                 w0 += d0 * ((VEC_LOAD(xi) - m) * k);
                 w1 += d1 * ((VEC_LOAD(xi + VEC) - m) * k);
                 b0 += d0, b1 += d1;
             }
             VEC_STORE(dw, w0), VEC_STORE(dw + VEC, w1);
             VEC_STORE(db, b0), VEC_STORE(db + VEC, b1);
         })
VEC_FUNCTION(column_sums,
             (const float *x, const float *dy, const float *mean, const float *r, int64_t rows, int64_t C,
              float *dw, float *db),
             (x, dy, mean, r, rows, C, dw, db))

/* The same for `columns` < STRIP of them. */
static void few_column_sums(const float *x, const float *dy, const float *mean, const float *r, int64_t rows,
                            int64_t C, int64_t columns, float *dw, float *db)
{
    for (int64_t c = 0; c < columns; c++) dw[c] = db[c] = 0;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t c = 0; c < columns; c++) {
            dw[c] += dy[i * C + c] * ((x[i * C + c] - mean[i]) * r[i]);
            db[c] += dy[i * C + c];
        }
}

/* A thread owns its columns, so no two write the same sum. */
static void backward_weights(const Node *n)
{
    const float *x = n->in[0]->data, *dy = n->out->grad->data;
    const float *mean = n->saved[0]->data, *r = n->saved[1]->data;
    float *dw = n->in[1]->grad ? n->in[1]->grad->data : NULL,
          *db = n->in[2]->grad ? n->in[2]->grad->data : NULL;
    int64_t rows = tensor_rows(n->in[0]), C = tensor_last(n->in[0]);
#pragma omp parallel for schedule(static) if (rows * C > SMALL)
    for (int64_t from = 0; from < C; from += STRIP) {
        int64_t columns = from + STRIP < C ? STRIP : C - from;
        double w[STRIP] = {0}, b[STRIP] = {0};
        for (int64_t i = 0; i < rows; i += BLOCK) {
            int64_t at = i * C + from, count = i + BLOCK < rows ? BLOCK : rows - i;
            float wi[STRIP], bi[STRIP];
            if (columns == STRIP)
                column_sums(x + at, dy + at, mean + i, r + i, count, C, wi, bi);
            else
                few_column_sums(x + at, dy + at, mean + i, r + i, count, C, columns, wi, bi);
            for (int64_t c = 0; c < columns; c++) w[c] += (double)wi[c], b[c] += (double)bi[c];
        }
        for (int64_t c = 0; dw && c < columns; c++) dw[from + c] += (float)w[c];
        for (int64_t c = 0; db && c < columns; c++) db[from + c] += (float)b[c];
    }
}

void layernorm_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    if (n->in[1]->grad || n->in[2]->grad) backward_weights(n);
    if (!n->in[0]->grad) return;
    const float *x = n->in[0]->data, *w = n->in[1]->data, *dy = n->out->grad->data;
    const float *mean = n->saved[0]->data, *r = n->saved[1]->data;
    float *dx = n->in[0]->grad->data;
    int64_t rows = tensor_rows(n->in[0]), C = tensor_last(n->in[0]);
#pragma omp parallel for schedule(static) if (rows * C > SMALL)
    for (int64_t i = 0; i < rows; i++) backward_row(x + i * C, w, dy + i * C, mean[i], r[i], C, dx + i * C);
}
