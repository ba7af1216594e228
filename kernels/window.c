/* Square windows of images (Liu et al. 2021; Li et al. 2022). The image is padded with zeros on the right and
 * at the bottom to whole windows, rolled by -shift on both axes, and cut: with Hp the padded height, row r of
 * window row i is the image's row (i size + r + shift) mod Hp; columns alike. x (N,H,W,C) -> (N nh nw, size,
 * size, C), windows row-major. unwindow is the inverse and drops the padding. Every place of the image lies in
 * one window, so each of the two is the other's backward, there added. Nothing is saved. */
#include "kernels/ops.h"
#include <string.h>

typedef struct {
    int64_t N, H, W, C, size, shift, rows, columns; /* rows, columns of windows in an image */
} Layout;

Tensor *op_window(Tape *t, Tensor *x, int size, int shift)
{
    WindowParams p = {size, shift};
    return op_apply(t, &window_op, 1, &x, &p, sizeof p);
}

Tensor *op_unwindow(Tape *t, Tensor *x, int height, int width, int shift)
{
    UnwindowParams p = {height, width, shift};
    return op_apply(t, &unwindow_op, 1, &x, &p, sizeof p);
}

void window_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0];
    const WindowParams *p = NODE_AS(WindowParams, n);
    if (!is_activation(x) || x->ndim != 4) die("window: expected images, found %s", tensor_text(x));
    if (p->size < 1 || p->shift < 0 || p->shift >= p->size)
        die("window: %s in windows of %d, shifted by %d", tensor_text(x), p->size, p->shift);
    int64_t rows = (x->dim[1] + p->size - 1) / p->size, columns = (x->dim[2] + p->size - 1) / p->size;
    n->out = tape_tensor(t, x->dtype, 4, (int64_t[]){x->dim[0] * rows * columns, p->size, p->size, x->dim[3]});
}

void unwindow_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0];
    const UnwindowParams *p = NODE_AS(UnwindowParams, n);
    if (!is_activation(x) || x->ndim != 4 || x->dim[1] != x->dim[2])
        die("unwindow: expected square windows, found %s", tensor_text(x));
    int64_t size = x->dim[1];
    if (p->height < 1 || p->width < 1 || p->shift < 0 || p->shift >= size)
        die("unwindow: %s to %d x %d, shifted by %d", tensor_text(x), p->height, p->width, p->shift);
    int64_t windows = (p->height + size - 1) / size * ((p->width + size - 1) / size);
    if (x->dim[0] % windows)
        die("unwindow: %s does not make whole images of %d x %d", tensor_text(x), p->height, p->width);
    n->out = tape_tensor(t, x->dtype, 4, (int64_t[]){x->dim[0] / windows, p->height, p->width, x->dim[3]});
}

static Layout layout_of(const Tensor *image, const Tensor *windows, int shift)
{
    int64_t H = image->dim[1], W = image->dim[2], size = windows->dim[1];
    return (Layout){image->dim[0],        H, W, image->dim[3], size, shift, (H + size - 1) / size,
                    (W + size - 1) / size};
}

/* C values to `to`, or added there. */
static inline void put(float *to, const float *from, int64_t C, bool add)
{
    if (!add)
        memcpy(to, from, (size_t)C * sizeof *to);
    else
        for (int64_t c = 0; c < C; c++) to[c] += from[c];
}

/* From images to windows; where there is no image, 0 (or nothing is added). */
static void cut(const Layout *l, const float *image, float *window, bool add)
{
    int64_t C = l->C, lines = l->N * l->rows * l->columns * l->size;
#pragma omp parallel for schedule(static) if (lines * l->size * C > 1 << 15)
    for (int64_t i = 0; i < lines; i++) {
        int64_t r = i % l->size, w = i / l->size % l->columns, h = i / l->size / l->columns;
        int64_t row = (h % l->rows * l->size + r + l->shift) % (l->rows * l->size);
        const float *line = image + (h / l->rows * l->H + row) * l->W * C;
        for (int64_t c = 0; c < l->size; c++) {
            int64_t column = (w * l->size + c + l->shift) % (l->columns * l->size);
            float *to = window + (i * l->size + c) * C;
            if (row < l->H && column < l->W)
                put(to, line + column * C, C, add);
            else if (!add)
                memset(to, 0, (size_t)C * sizeof *to);
        }
    }
}

/* From windows to images. */
static void join(const Layout *l, const float *window, float *image, bool add)
{
    int64_t C = l->C, height = l->rows * l->size, width = l->columns * l->size;
#pragma omp parallel for schedule(static) if (l->N * l->H * l->W * C > 1 << 15)
    for (int64_t i = 0; i < l->N * l->H; i++) {
        int64_t row = (i % l->H - l->shift + height) % height;
        int64_t line = (i / l->H * l->rows + row / l->size) * l->columns, r = row % l->size;
        for (int64_t x = 0; x < l->W; x++) {
            int64_t column = (x - l->shift + width) % width;
            int64_t at = ((line + column / l->size) * l->size + r) * l->size + column % l->size;
            put(image + (i * l->W + x) * C, window + at * C, C, add);
        }
    }
}

void window_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    Layout l = layout_of(n->in[0], n->out, NODE_AS(WindowParams, n)->shift);
    cut(&l, n->in[0]->data, n->out->data, false);
}

void window_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    if (!n->in[0]->grad) return;
    Layout l = layout_of(n->in[0], n->out, NODE_AS(WindowParams, n)->shift);
    join(&l, n->out->grad->data, n->in[0]->grad->data, true);
}

void unwindow_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    Layout l = layout_of(n->out, n->in[0], NODE_AS(UnwindowParams, n)->shift);
    join(&l, n->in[0]->data, n->out->data, false);
}

void unwindow_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    if (!n->in[0]->grad) return;
    Layout l = layout_of(n->out, n->in[0], NODE_AS(UnwindowParams, n)->shift);
    cut(&l, n->out->grad->data, n->in[0]->grad->data, true);
}
