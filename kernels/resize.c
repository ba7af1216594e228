/* Resizing images x (N,H,W,C) -> (N,h,w,C) by PyTorch's rules. Along each side an output is k[0] x[at[0]] +
 * k[1] x[at[1]]: nearest    at[0] = min(floor(i * scale), in-1), scale = in/out rounded to f32 and the product
 * too; k = 1, 0 bilinear   s = max(0, (i+0.5) in/out - 0.5); at = floor(s) and the next, which stops at in-1;
 * k[1] = s - at[0] Nearest copies, so it is exact for any x. dx[at] += k dy, by rows of dx, each of which looks
 * for the rows of y that it is in: no two threads write the same place. Nothing is saved. */
#include "kernels/ops.h"
#include <math.h>
#include <string.h>

enum { SMALL = 1 << 14 };

typedef struct {
    int64_t at[2];
    float k[2];
} Taps;

Tensor *op_resize(Tape *t, Tensor *x, int height, int width, ResizeMode mode)
{
    if (mode == RESIZE_AREA) return op_adaptive_pool(t, x, height, width);
    ResizeParams p = {height, width, mode};
    return op_apply(t, &resize_op, 1, &x, &p, sizeof p);
}

void resize_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0];
    const ResizeParams *p = NODE_AS(ResizeParams, n);
    if (!is_activation(x) || x->ndim != 4) die("resize: expected images, found %s", tensor_text(x));
    if (p->height < 1 || p->width < 1 || (p->mode != RESIZE_NEAREST && p->mode != RESIZE_BILINEAR))
        die("resize: %s to %d x %d in mode %d", tensor_text(x), p->height, p->width, (int)p->mode);
    n->out = tape_tensor(t, x->dtype, 4, (int64_t[]){x->dim[0], p->height, p->width, x->dim[3]});
}

/* Where output i of `to` lies among `from` inputs. */
static Taps taps_of(ResizeMode mode, int64_t from, int64_t to, int64_t i)
{
    Taps taps = {.k = {1, 0}};
    if (mode == RESIZE_NEAREST) {
        int64_t at = (int64_t)floorf((float)i * ((float)from / (float)to));
        taps.at[0] = taps.at[1] = at < from ? at : from - 1;
        return taps;
    }
    double s = ((double)i + 0.5) * ((double)from / (double)to) - 0.5;
    if (s < 0) s = 0;
    taps.at[0] = (int64_t)s < from ? (int64_t)s : from - 1;
    taps.at[1] = taps.at[0] + (taps.at[0] + 1 < from);
    taps.k[1] = (float)(s - (double)taps.at[0]);
    taps.k[0] = 1 - taps.k[1];
    return taps;
}

/* Of all outputs along one axis, in scratch. */
static const Taps *taps_along(Tape *t, const Node *n, int axis)
{
    int64_t from = n->in[0]->dim[axis], to = n->out->dim[axis];
    Taps *taps = tape_scratch(t, (size_t)to * sizeof *taps);
    for (int64_t i = 0; i < to; i++) taps[i] = taps_of(NODE_AS(ResizeParams, n)->mode, from, to, i);
    return taps;
}

static void nearest_row(const float *x, const Taps *columns, int64_t w, int64_t C, float *y)
{
    if (C == 1)
        for (int64_t j = 0; j < w; j++) y[j] = x[columns[j].at[0]];
    else
        for (int64_t j = 0; j < w; j++) memcpy(y + j * C, x + columns[j].at[0] * C, (size_t)C * sizeof *y);
}

/* y (w,C) from the rows a and b of x. */
static void bilinear_row(const float *a, const float *b, const float *k, const Taps *columns, int64_t w,
                         int64_t C, float *y)
{
    for (int64_t j = 0; j < w; j++) {
        int64_t left = columns[j].at[0] * C, right = columns[j].at[1] * C;
        float l = columns[j].k[0], r = columns[j].k[1];
        for (int64_t c = 0; c < C; c++)
            y[j * C + c] =
                k[0] * (l * a[left + c] + r * a[right + c]) + k[1] * (l * b[left + c] + r * b[right + c]);
    }
}

void resize_forward_cpu(Tape *t, Node *n)
{
    const Tensor *in = n->in[0], *out = n->out;
    int64_t H = in->dim[1], line = in->dim[2] * in->dim[3], h = out->dim[1], w = out->dim[2], C = in->dim[3];
    const Taps *rows = taps_along(t, n, 1), *columns = taps_along(t, n, 2);
    bool nearest = NODE_AS(ResizeParams, n)->mode == RESIZE_NEAREST;
    const float *x = in->data;
    float *y = out->data;
#pragma omp parallel for schedule(static) if (tensor_len(out) > SMALL)
    for (int64_t r = 0; r < in->dim[0] * h; r++) {
        const Taps *row = &rows[r % h];
        const float *image = x + r / h * H * line, *a = image + row->at[0] * line,
                    *b = image + row->at[1] * line;
        if (nearest)
            nearest_row(a, columns, w, C, y + r * w * C);
        else
            bilinear_row(a, b, row->k, columns, w, C, y + r * w * C);
    }
}

/* A row of dx gets its part, k, of a row of y's gradient dy (w,C). */
static void row_back(float k, const float *dy, const Taps *columns, int64_t w, int64_t C, float *dx)
{
    for (int64_t j = 0; j < w; j++)
        for (int i = 0; i < 2; i++) {
            float share = k * columns[j].k[i];
            if (share == 0) continue;
            float *out = dx + columns[j].at[i] * C;
            for (int64_t c = 0; c < C; c++) out[c] += share * dy[j * C + c];
        }
}

void resize_backward_cpu(Tape *t, Node *n)
{
    const Tensor *in = n->in[0];
    if (!in->grad) return;
    int64_t H = in->dim[1], h = n->out->dim[1], w = n->out->dim[2], C = in->dim[3];
    const Taps *rows = taps_along(t, n, 1), *columns = taps_along(t, n, 2);
    const float *dy = n->out->grad->data;
    float *dx = in->grad->data;
#pragma omp parallel for schedule(static) if (tensor_len(n->out) > SMALL)
    for (int64_t r = 0; r < in->dim[0] * H; r++)
        for (int64_t i = 0; i < h; i++)
            for (int end = 0; end < 2; end++)
                if (rows[i].at[end] == r % H && rows[i].k[end] != 0)
                    row_back(rows[i].k[end], dy + (r / H * h + i) * w * C, columns, w, C,
                             dx + r * in->dim[2] * C);
}
