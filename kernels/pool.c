/* Pooling over windows of x (N,H,W,C) -> (N,h,w,C).
 * max_pool: maximum, pad counts as -inf; saved[0]: the winner's h*W + w, lowest on ties. dx[winner] += dy.
 * reduce_max: the same with one window over all N of x (B,N,D) -> (B,D).
 * avg_pool, adaptive_pool: mean over bins of rows times columns; avg_pool's bin i is i*stride .. +kernel,
 * adaptive_pool's floor(i H/h) .. ceil((i+1) H/h). dx += dy / area over each bin that a pixel is in. */
#include "kernels/ops.h"
#include "kernels/vec.h"

enum { SMALL = 1 << 14, STRIP = 64 /* channels a task of the maximum's backward */ };

/* ---- maximum ---- */

Tensor *op_max_pool(Tape *t, Tensor *x, int kernel, int stride, int pad, bool ceil_mode)
{
    PoolParams p = {kernel, stride, pad, ceil_mode};
    return op_apply(t, &max_pool_op, 1, &x, &p, sizeof p);
}

static void check_image(const Node *n)
{
    const Tensor *x = n->in[0];
    if (!is_activation(x) || x->ndim != 4) die("%s: expected images, found %s", n->op->name, tensor_text(x));
}

/* Outputs along a side of `size`: with ceil_mode a last window may hang over, but must not start in the pad. */
static int64_t windows(int64_t size, const PoolParams *p)
{
    int64_t room = size + 2 * p->pad - p->kernel;
    int64_t n = (room + (p->ceil_mode ? p->stride - 1 : 0)) / p->stride + 1;
    if (p->ceil_mode && (n - 1) * p->stride >= size + p->pad) n--;
    return n;
}

static void pool_dims(const Node *n, int64_t *dim)
{
    const Tensor *x = n->in[0];
    const PoolParams *p = NODE_AS(PoolParams, n);
    check_image(n);
    if (p->kernel < 1 || p->stride < 1 || p->pad < 0 || 2 * p->pad > p->kernel ||
        x->dim[1] + 2 * p->pad < p->kernel || x->dim[2] + 2 * p->pad < p->kernel)
        die("%s: kernel %d, stride %d, pad %d do not fit %s", n->op->name, p->kernel, p->stride, p->pad,
            tensor_text(x));
    dim[0] = x->dim[0];
    dim[1] = windows(x->dim[1], p);
    dim[2] = windows(x->dim[2], p);
    dim[3] = x->dim[3];
}

void max_pool_shape(Tape *t, Node *n)
{
    int64_t dim[4];
    pool_dims(n, dim);
    n->out = tape_tensor(t, n->in[0]->dtype, 4, dim);
    n->saved[0] = tape_tensor(t, DTYPE_i32, 4, dim);
}

/* A window's rows top..bottom-1 and columns left..right-1 of one image x (.,W,C). */
VEC_BODY(window_max, (const float *x, int64_t W, int64_t C, const int64_t *edge, float *y, int32_t *winner), {
    int64_t c = 0;
    for (; c + VEC <= C; c += VEC) {
        int32_t start = (int32_t)(edge[0] * W + edge[2]);
        Vec best = VEC_LOAD(x + start * C + c);
        VecInt at = (VecInt){0} + start;
        for (int64_t h = edge[0]; h < edge[1]; h++)
            for (int64_t w = edge[2]; w < edge[3]; w++) {
                Vec v = VEC_LOAD(x + (h * W + w) * C + c);
                VecInt more = v > best;
                best = (Vec)(((VecInt)best & ~more) | ((VecInt)v & more));
                at = (at & ~more) | (((VecInt){0} + (int32_t)(h * W + w)) & more);
            }
        VEC_STORE(y + c, best);
        *(VecInt *)(winner + c) = at;
    }
    for (; c < C; c++) {
        int32_t at = (int32_t)(edge[0] * W + edge[2]);
        float best = x[at * C + c];
        for (int64_t h = edge[0]; h < edge[1]; h++)
            for (int64_t w = edge[2]; w < edge[3]; w++) {
                float v = x[(h * W + w) * C + c];
                if (!(v > best)) continue;
                best = v;
                at = (int32_t)(h * W + w);
            }
        y[c] = best;
        winner[c] = at;
    }
})
VEC_FUNCTION(window_max, (const float *x, int64_t W, int64_t C, const int64_t *edge, float *y, int32_t *winner),
             (x, W, C, edge, y, winner))

void max_pool_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const PoolParams *p = NODE_AS(PoolParams, n);
    const Tensor *in = n->in[0], *out = n->out;
    int64_t H = in->dim[1], W = in->dim[2], C = in->dim[3], h = out->dim[1], w = out->dim[2];
    const float *x = in->data;
    float *y = out->data;
    int32_t *winner = n->saved[0]->data;
#pragma omp parallel for schedule(static) if (tensor_len(in) > SMALL)
    for (int64_t i = 0; i < in->dim[0] * h * w; i++) {
        int64_t top = i / w % h * p->stride - p->pad, left = i % w * p->stride - p->pad;
        int64_t bottom = top + p->kernel, right = left + p->kernel;
        const int64_t edge[4] = {top < 0 ? 0 : top, bottom > H ? H : bottom, left < 0 ? 0 : left,
                                 right > W ? W : right};
        window_max(x + i / (h * w) * H * W * C, W, C, edge, y + i * C, winner + i * C);
    }
}

/* dx (N,pixels,C)[winner] += dy (N,cells,C). */
static void max_backward(const Node *n, int64_t N, int64_t pixels, int64_t cells, int64_t C)
{
    if (!n->in[0]->grad) return;
    const float *dy = n->out->grad->data;
    const int32_t *winner = n->saved[0]->data;
    float *dx = n->in[0]->grad->data;
#pragma omp parallel for collapse(2) schedule(static) if (N * pixels * C > SMALL)
    for (int64_t i = 0; i < N; i++)
        for (int64_t from = 0; from < C; from += STRIP) {
            int64_t to = from + STRIP < C ? from + STRIP : C;
            for (int64_t o = i * cells; o < (i + 1) * cells; o++)
                for (int64_t c = from; c < to; c++)
                    dx[(i * pixels + winner[o * C + c]) * C + c] += dy[o * C + c];
        }
}

void max_pool_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    const int64_t *in = n->in[0]->dim, *out = n->out->dim;
    max_backward(n, in[0], in[1] * in[2], out[1] * out[2], in[3]);
}

Tensor *op_reduce_max(Tape *t, Tensor *x) { return op_apply(t, &reduce_max_op, 1, &x, NULL, 0); }

void reduce_max_shape(Tape *t, Node *n)
{
    const Tensor *x = n->in[0];
    if (!is_activation(x) || x->ndim != 3)
        die("reduce_max: x %s is not f32 or bf16 with three dims", tensor_text(x));
    const int64_t dim[2] = {x->dim[0], x->dim[2]};
    n->out = tape_tensor(t, x->dtype, 2, dim);
    n->saved[0] = tape_tensor(t, DTYPE_i32, 2, dim);
}

void reduce_max_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const Tensor *in = n->in[0];
    int64_t N = in->dim[1], D = in->dim[2];
    const int64_t edge[4] = {0, N, 0, 1};
    const float *x = in->data;
    float *y = n->out->data;
    int32_t *winner = n->saved[0]->data;
#pragma omp parallel for schedule(static) if (tensor_len(in) > SMALL)
    for (int64_t b = 0; b < in->dim[0]; b++) window_max(x + b * N * D, 1, D, edge, y + b * D, winner + b * D);
}

void reduce_max_backward_cpu(Tape *t, Node *n)
{
    (void)t;
    const int64_t *in = n->in[0]->dim;
    max_backward(n, in[0], in[1], 1, in[2]);
}

/* ---- means ---- */

Tensor *op_avg_pool(Tape *t, Tensor *x, int kernel, int stride)
{
    PoolParams p = {.kernel = kernel, .stride = stride};
    return op_apply(t, &avg_pool_op, 1, &x, &p, sizeof p);
}

void avg_pool_shape(Tape *t, Node *n)
{
    int64_t dim[4];
    pool_dims(n, dim);
    if (NODE_AS(PoolParams, n)->pad || NODE_AS(PoolParams, n)->ceil_mode)
        die("avg_pool: pad and ceil_mode are not for means");
    n->out = tape_tensor(t, n->in[0]->dtype, 4, dim);
}

Tensor *op_adaptive_pool(Tape *t, Tensor *x, int height, int width)
{
    AdaptivePoolParams p = {height, width};
    return op_apply(t, &adaptive_pool_op, 1, &x, &p, sizeof p);
}

void adaptive_pool_shape(Tape *t, Node *n)
{
    const AdaptivePoolParams *p = NODE_AS(AdaptivePoolParams, n);
    check_image(n);
    if (p->height < 1 || p->width < 1)
        die("adaptive_pool: %d x %d bins of %s", p->height, p->width, tensor_text(n->in[0]));
    n->out = tape_tensor(t, n->in[0]->dtype, 4,
                         (int64_t[]){n->in[0]->dim[0], p->height, p->width, n->in[0]->dim[3]});
}

typedef struct {
    int64_t from, to;
} Bin;

static Bin bin_of(const Node *n, int axis, int64_t i)
{
    if (n->op == &avg_pool_op) {
        const PoolParams *p = NODE_AS(PoolParams, n);
        return (Bin){i * p->stride, i * p->stride + p->kernel};
    }
    int64_t size = n->in[0]->dim[axis], bins = n->out->dim[axis];
    return (Bin){i * size / bins, ((i + 1) * size + bins - 1) / bins};
}

/* y = k * sum over a bin of one image x (.,W,C), first along its rows. */
VEC_BODY(bin_mean,
         (const float *x, int64_t W, int64_t C, const Bin *rows, const Bin *columns, float k, float *y), {
             int64_t c = 0;
             for (; c + VEC <= C; c += VEC) {
                 Vec sum = {0};
                 for (int64_t h = rows->from; h < rows->to; h++) {
                     Vec line = {0};
                     for (int64_t w = columns->from; w < columns->to; w++)
                         line += VEC_LOAD(x + (h * W + w) * C + c);
                     sum += line;
                 }
                 VEC_STORE(y + c, k * sum);
             }
             for (; c < C; c++) {
                 float sum = 0;
                 for (int64_t h = rows->from; h < rows->to; h++) {
                     float line = 0;
                     for (int64_t w = columns->from; w < columns->to; w++) line += x[(h * W + w) * C + c];
                     sum += line;
                 }
                 y[c] = k * sum;
             }
         })
VEC_FUNCTION(bin_mean,
             (const float *x, int64_t W, int64_t C, const Bin *rows, const Bin *columns, float k, float *y),
             (x, W, C, rows, columns, k, y))

static void mean_forward(const Node *n)
{
    const Tensor *in = n->in[0], *out = n->out;
    int64_t H = in->dim[1], W = in->dim[2], C = in->dim[3], h = out->dim[1], w = out->dim[2];
    const float *x = in->data;
    float *y = out->data;
#pragma omp parallel for schedule(static) if (tensor_len(in) > SMALL)
    for (int64_t i = 0; i < in->dim[0] * h * w; i++) {
        Bin rows = bin_of(n, 1, i / w % h), columns = bin_of(n, 2, i % w);
        float k = 1 / (float)((rows.to - rows.from) * (columns.to - columns.from));
        bin_mean(x + i / (h * w) * H * W * C, W, C, &rows, &columns, k, y + i * C);
    }
}

/* y += k x. */
VEC_BODY(add_scaled, (float *y, const float *x, float k, int64_t n), {
    int64_t i = 0;
    for (; i + VEC <= n; i += VEC) VEC_STORE(y + i, VEC_LOAD(y + i) + k * VEC_LOAD(x + i));
    for (; i < n; i++) y[i] += k * x[i];
})
VEC_FUNCTION(add_scaled, (float *y, const float *x, float k, int64_t n), (y, x, k, n))

/* One row of dx (W,C) gets its part of one row of bins dy (w,C), `high` pixels high. */
static void mean_row(const Node *n, const float *dy, int64_t high, float *dx)
{
    int64_t C = n->out->dim[3];
    for (int64_t j = 0; j < n->out->dim[2]; j++) {
        Bin columns = bin_of(n, 2, j);
        float k = 1 / (float)(high * (columns.to - columns.from));
        for (int64_t w = columns.from; w < columns.to; w++) add_scaled(dx + w * C, dy + j * C, k, C);
    }
}

/* By rows of dx, each of which gathers from the bins that it is in. */
static void mean_backward(const Node *n)
{
    const Tensor *in = n->in[0];
    if (!in->grad) return;
    int64_t N = in->dim[0], H = in->dim[1], line = in->dim[2] * in->dim[3];
    int64_t h = n->out->dim[1], bins = n->out->dim[2] * n->out->dim[3];
    const float *dy = n->out->grad->data;
    float *dx = in->grad->data;
#pragma omp parallel for schedule(static) if (tensor_len(in) > SMALL)
    for (int64_t r = 0; r < N * H; r++)
        for (int64_t i = 0; i < h; i++) {
            Bin rows = bin_of(n, 1, i);
            if (r % H >= rows.from && r % H < rows.to)
                mean_row(n, dy + (r / H * h + i) * bins, rows.to - rows.from, dx + r * line);
        }
}

void avg_pool_forward_cpu(Tape *t, Node *n) { (void)t, mean_forward(n); }
void avg_pool_backward_cpu(Tape *t, Node *n) { (void)t, mean_backward(n); }
void adaptive_pool_forward_cpu(Tape *t, Node *n) { (void)t, mean_forward(n); }
void adaptive_pool_backward_cpu(Tape *t, Node *n) { (void)t, mean_backward(n); }
