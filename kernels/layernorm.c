/* Layer normalisation (Ba et al. 2016): y = h w + b, h = (x - mean) r, r = 1/sqrt(var + eps), mean and biased
 * variance over the last dim. x (...,C), w, b (C). Saved for backward: mean, r (rows).
 * dx = r (g - mean(g) - h mean(g h)), g = w dy; dw = sum over rows of dy h; db = sum over rows of dy.
 * The mean is taken twice, the second time of x - mean: what the first sum lost to rounding. Sums in a row are
 * in f32, VEC of them at a time; sums over rows in f32 for up to BLOCK rows, in double from there. */
#include "kernels/ops.h"
#include "kernels/vec.h"
#include <math.h>
#include <string.h>

enum { BLOCK = 64, SMALL = 1 << 15, FEW = 128 /* channels */ };

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

/* v[0] = the sums of v[0..15], each in its lane, in vec_sum's order: halves are folded, of two vectors at once.
 */
static inline __attribute__((always_inline)) void sums_of(Vec v[VEC])
{
    static const VecInt fold[4][2] = {
        {{0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23},
         {8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31}},
        {{0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27},
         {4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31}},
        {{0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29},
         {2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31}},
        {{0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30},
         {1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31}},
    };
    for (int half = VEC / 2, k = 0; half; half /= 2, k++)
        for (int i = 0; i < half; i++)
            v[i] = __builtin_shuffle(v[i], v[i + half], fold[k][0]) +
                   __builtin_shuffle(v[i], v[i + half], fold[k][1]);
}

/* forward_row for VEC rows of few channels, whole vectors of them: their sums are folded together. */
VEC_BODY(forward_rows,
         (const float *x, const float *w, const float *b, float eps, int64_t C, float *y, float *mean,
          float *r),
         {
             const float size = (float)C;
             Vec sum[VEC];
             Vec square[VEC];
             for (int64_t i = 0; i < VEC; i++) {
                 sum[i] = VEC_LOAD(x + i * C);
                 for (int64_t c = VEC; c < C; c += VEC) sum[i] += VEC_LOAD(x + i * C + c);
             }
             sums_of(sum);
             VEC_STORE(mean, sum[0] / size);
             for (int64_t i = 0; i < VEC; i++) {
                 sum[i] = square[i] = (Vec){0};
                 for (int64_t c = 0; c < C; c += VEC) {
                     Vec d = VEC_LOAD(x + i * C + c) - mean[i];
                     sum[i] += d;
                     square[i] += d * d;
                 }
             }
             sums_of(sum);
             sums_of(square);
             Vec rest = sum[0] / size;
             Vec var = square[0] / size - rest * rest;
             VEC_STORE(mean, VEC_LOAD(mean) + rest);
             for (int i = 0; i < VEC; i++) r[i] = 1 / sqrtf((var[i] > 0 ? var[i] : 0) + eps);
             for (int64_t i = 0; i < VEC; i++)
                 for (int64_t c = 0; c < C; c += VEC)
                     VEC_STORE(y + i * C + c,
                               (VEC_LOAD(x + i * C + c) - mean[i]) * r[i] * VEC_LOAD(w + c) + VEC_LOAD(b + c));
         })
VEC_FUNCTION(forward_rows,
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
    int64_t together = C % VEC == 0 && C <= FEW ? rows / VEC : 0;
#pragma omp parallel if (rows * C > SMALL)
    {
#pragma omp for schedule(static) nowait
        for (int64_t k = 0; k < together; k++) {
            int64_t i = k * VEC;
            forward_rows(x + i * C, w, b, eps, C, y + i * C, mean + i, r + i);
        }
#pragma omp for schedule(static)
        for (int64_t i = together * VEC; i < rows; i++)
            forward_row(x + i * C, w, b, eps, C, y + i * C, mean + i, r + i);
    }
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

/* dw += dy h, db += dy of one row. */
VEC_BODY(weights_row, (const float *x, const float *dy, float mean, float r, int64_t C, float *dw, float *db), {
    int64_t c = 0;
    for (; c + VEC <= C; c += VEC) {
        Vec d = VEC_LOAD(dy + c);
        VEC_STORE(dw + c, VEC_LOAD(dw + c) + d * ((VEC_LOAD(x + c) - mean) * r));
        VEC_STORE(db + c, VEC_LOAD(db + c) + d);
    }
    for (; c < C; c++) {
        dw[c] += dy[c] * ((x[c] - mean) * r);
        db[c] += dy[c];
    }
})
VEC_FUNCTION(weights_row,
             (const float *x, const float *dy, float mean, float r, int64_t C, float *dw, float *db),
             (x, dy, mean, r, C, dw, db))

/* part (blocks,2,C), in order. */
static void add_parts(const float *part, int64_t blocks, int64_t C, const Tensor *dw, const Tensor *db)
{
#pragma omp parallel for schedule(static) if (blocks * C > SMALL)
    for (int64_t c = 0; c < C; c++) {
        double w = 0, b = 0;
        for (int64_t i = 0; i < blocks; i++) {
            w += (double)part[2 * i * C + c];
            b += (double)part[(2 * i + 1) * C + c];
        }
        if (dw) ((float *)dw->data)[c] += (float)w;
        if (db) ((float *)db->data)[c] += (float)b;
    }
}

/* A block's rows one after the other, so that dx, dw and db take x and dy from memory once. */
void layernorm_backward_cpu(Tape *t, Node *n)
{
    const float *x = n->in[0]->data, *w = n->in[1]->data, *dy = n->out->grad->data;
    const float *mean = n->saved[0]->data, *r = n->saved[1]->data;
    float *dx = n->in[0]->grad ? n->in[0]->grad->data : NULL, *part = NULL;
    int64_t rows = tensor_rows(n->in[0]), C = tensor_last(n->in[0]), blocks = (rows + BLOCK - 1) / BLOCK;
    bool weights = n->in[1]->grad || n->in[2]->grad;
    if (weights) part = tape_scratch(t, (size_t)(2 * blocks * C) * sizeof *part);
#pragma omp parallel for schedule(static) if (rows * C > SMALL)
    for (int64_t block = 0; block < blocks; block++) {
        float *dw = weights ? part + 2 * block * C : NULL;
        if (weights) memset(dw, 0, (size_t)(2 * C) * sizeof *dw);
        for (int64_t i = block * BLOCK; i < rows && i < (block + 1) * BLOCK; i++) {
            const float *xi = x + i * C, *dyi = dy + i * C;
            if (dx) backward_row(xi, w, dyi, mean[i], r[i], C, dx + i * C);
            if (weights) weights_row(xi, dyi, mean[i], r[i], C, dw, dw + C);
        }
    }
    if (weights) add_parts(part, blocks, C, n->in[1]->grad, n->in[2]->grad);
}
