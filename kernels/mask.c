/* Masks from low-resolution logits x (M,h,w), at the size of the picture (models.md 5.4 as two steps, here as
 * one: mask_taps.h): their sizes and boxes (op_mask_stats), or themselves (op_mask_binary). Values are sums
 * along the columns, then along the rows, from left to right, in f32 and without fused multiply-adds: the same
 * masks on every device.
 *
 * A mask is mostly what it is not. Row by row of x those columns are found that reach the lowest threshold at
 * all (less what rounding may add, 1e-6 of the largest |x|); only pixels between them are made. */
#include "kernels/mask_taps.h"
#include "kernels/ops.h"
#include "kernels/vec.h"
#include <math.h>
#include <omp.h>
#include <string.h>

#ifdef __clang__
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off")
#endif

enum { RING = 4 }; /* rows held, at least a pixel's three */

typedef struct Plan {
    int64_t h, w, H, W;
    const MaskTap *row;         /* [H] */
    const int32_t *at;          /* [3][W], of the columns */
    const float *k;             /* [3][W] */
    const int32_t *begin, *end; /* [w]: the pixels that column has a part in */
} Plan;

/* What one thread works on: a mask. */
typedef struct Rows {
    const float *x;
    float *ring;        /* [RING][W]: rows of x drawn out to W columns */
    float *out;         /* [W] */
    float *top;         /* [h]: the largest value of each row of x */
    int32_t *from, *to; /* [h]: the pixels that row may lift above the lowest threshold; none: W, 0 */
    int64_t held[RING];
} Rows;

Tensor *op_mask_stats(Tape *t, Tensor *x, MaskParams p)
{
    return op_apply(t, &mask_stats_op, 1, &x, &p, sizeof p);
}

Tensor *op_mask_binary(Tape *t, Tensor *x, MaskParams p)
{
    return op_apply(t, &mask_binary_op, 1, &x, &p, sizeof p);
}

static void check(const Node *n, const char *name)
{
    const Tensor *x = n->in[0];
    const MaskParams *p = NODE_AS(MaskParams, n);
    if (x->dtype != DTYPE_f32 || x->ndim != 3) die("%s: x %s is not f32 (M,h,w)", name, tensor_text(x));
    if (p->height < 1 || p->width < 1 || p->input_height < 1 || p->input_width < 1 ||
        p->input_height > p->side || p->input_width > p->side || p->side < x->dim[1] || p->side < x->dim[2])
        die("%s: x %s to %d x %d, of that %d x %d to %d x %d", name, tensor_text(x), p->side, p->side,
            p->input_height, p->input_width, p->height, p->width);
}

void mask_stats_shape(Tape *t, Node *n)
{
    check(n, "mask_stats");
    n->out = tape_tensor(t, DTYPE_i32, 2, (int64_t[]){n->in[0]->dim[0], MASK_STATS});
}

void mask_binary_shape(Tape *t, Node *n)
{
    const MaskParams *p = NODE_AS(MaskParams, n);
    check(n, "mask_binary");
    n->out = tape_tensor(t, DTYPE_u8, 3, (int64_t[]){n->in[0]->dim[0], p->height, p->width});
}

/* Which pixels of a row of W column c has a part in, made so that between those of any two columns lie all of
 * the columns between. */
static void reach(const MaskTap *tap, int64_t W, int64_t w, int32_t *begin, int32_t *end)
{
    for (int64_t c = 0; c < w; c++) begin[c] = (int32_t)W, end[c] = 0;
    for (int64_t j = 0; j < W; j++)
        for (int i = 0; i < 3; i++) {
            int32_t c = tap[j].at[i];
            if (begin[c] > j) begin[c] = (int32_t)j;
            end[c] = (int32_t)j + 1;
        }
    for (int64_t c = w - 1; c > 0; c--)
        if (begin[c - 1] > begin[c]) begin[c - 1] = begin[c];
    for (int64_t c = 1; c < w; c++)
        if (end[c] < end[c - 1]) end[c] = end[c - 1];
}

static Plan plan_of(Tape *t, const Node *n)
{
    const Tensor *x = n->in[0];
    const MaskParams *p = NODE_AS(MaskParams, n);
    int64_t h = x->dim[1], w = x->dim[2], H = p->height, W = p->width;
    MaskTap *row = tape_scratch(t, (size_t)(H + W) * sizeof *row), *column = row + H;
    int32_t *at = tape_scratch(t, (size_t)(3 * W + 2 * w) * sizeof *at), *begin = at + 3 * W;
    float *k = tape_scratch(t, 3 * (size_t)W * sizeof *k);
    for (int64_t i = 0; i < H; i++) row[i] = mask_tap((int)h, p->side, p->input_height, (int)H, (int)i);
    for (int64_t j = 0; j < W; j++) column[j] = mask_tap((int)w, p->side, p->input_width, (int)W, (int)j);
    for (int64_t j = 0; j < 3 * W; j++) {
        at[j] = column[j % W].at[j / W];
        k[j] = column[j % W].k[j / W];
    }
    reach(column, W, w, begin, begin + w);
    return (Plan){h, w, H, W, row, at, k, begin, begin + w};
}

/* A thread's part of `room`, rows_floats(p) a thread. */
static size_t rows_floats(const Plan *p) { return (size_t)((RING + 1) * p->W + 3 * p->h); }

static Rows rows_of_thread(const Plan *p, float *room)
{
    Rows r = {.ring = room + rows_floats(p) * (size_t)omp_get_thread_num()};
    r.out = r.ring + RING * p->W;
    r.top = r.out + p->W;
    r.from = (int32_t *)(void *)(r.top + p->h);
    r.to = r.from + p->h;
    return r;
}

VEC_BODY(row_range, (const float *x, int64_t n, float *low, float *high), {
    float least = INFINITY, most = -INFINITY;
    _Pragma("omp simd reduction(min : least) reduction(max : most)") for (int64_t c = 0; c < n; c++)
    {
        least = x[c] < least ? x[c] : least; /* false for NaN */
        most = x[c] > most ? x[c] : most;
    }
    *low = least;
    *high = most;
})
VEC_FUNCTION(row_range, (const float *x, int64_t n, float *low, float *high), (x, n, low, high))

/* Takes up mask x (h,w); pixels at or below `floor` need not be made. */
static void rows_begin(const Plan *p, Rows *r, const float *x, float floor)
{
    float low = INFINITY, high = -INFINITY;
    for (int64_t y = 0; y < p->h; y++) {
        float least;
        row_range(x + y * p->w, p->w, &least, &r->top[y]);
        low = least < low ? least : low;
        high = r->top[y] > high ? r->top[y] : high;
    }
    float bar = floor - 1e-6f * fmaxf(fabsf(low), fabsf(high));
    for (int64_t y = 0; y < p->h; y++) {
        const float *row = x + y * p->w;
        int64_t first = 0, last = p->w - 1;
        r->from[y] = (int32_t)p->W;
        r->to[y] = 0;
        if (!(r->top[y] > bar)) continue;
        while (!(row[first] > bar)) first++;
        while (!(row[last] > bar)) last--;
        r->from[y] = p->begin[first];
        r->to[y] = p->end[last];
    }
    r->x = x;
    for (int i = 0; i < RING; i++) r->held[i] = -1;
}

/* Row y of x drawn out, where a pixel that takes part in it may need it. */
static const float *drawn_out(const Plan *p, Rows *r, int64_t y)
{
    float *out = r->ring + y % RING * p->W;
    if (r->held[y % RING] == y) return out;
    r->held[y % RING] = y;
    int32_t from = (int32_t)p->W, to = 0;
    for (int64_t i = y < 2 ? 0 : y - 2; i <= y + 2 && i < p->h; i++) {
        from = r->from[i] < from ? r->from[i] : from;
        to = r->to[i] > to ? r->to[i] : to;
    }
    const float *x = r->x + y * p->w, *k = p->k;
    const int32_t *at = p->at;
    int64_t W = p->W;
    for (int64_t j = from; j < to; j++)
        out[j] = k[j] * x[at[j]] + k[W + j] * x[at[W + j]] + k[2 * W + j] * x[at[2 * W + j]];
    return out;
}

VEC_BODY(add_rows, (const float *a, const float *b, const float *c, const float *k, int64_t n, float *y), {
    const float u = k[0], v = k[1], w = k[2];
    if (!b)
        for (int64_t j = 0; j < n; j++) y[j] = u * a[j];
    else if (!c)
        for (int64_t j = 0; j < n; j++) y[j] = u * a[j] + v * b[j];
    else
        for (int64_t j = 0; j < n; j++) y[j] = u * a[j] + v * b[j] + w * c[j];
})
VEC_FUNCTION(add_rows, (const float *a, const float *b, const float *c, const float *k, int64_t n, float *y),
             (a, b, c, k, n, y))

/* Pixels *from .. *to - 1 of row i, in r->out; all others of the row lie at or below the floor. */
static bool pixel_row(const Plan *p, Rows *r, int64_t i, int64_t *from, int64_t *to)
{
    const MaskTap *tap = &p->row[i];
    const float *e[3] = {NULL, NULL, NULL};
    *from = p->W;
    *to = 0;
    for (int j = 0; j < 3 && tap->k[j] != 0; j++) {
        *from = r->from[tap->at[j]] < *from ? r->from[tap->at[j]] : *from;
        *to = r->to[tap->at[j]] > *to ? r->to[tap->at[j]] : *to;
    }
    if (*from >= *to) return false;
    for (int j = 0; j < 3 && tap->k[j] != 0; j++) e[j] = drawn_out(p, r, tap->at[j]) + *from;
    add_rows(e[0], e[1], e[2], tap->k, *to - *from, r->out + *from);
    return true;
}

VEC_BODY(count_above, (const float *y, int64_t n, const float *bar, int32_t *count), {
    const float upper = bar[0], lower = bar[1], middle = bar[2];
    int32_t a = 0, b = 0, c = 0;
    _Pragma("omp simd reduction(+ : a, b, c)") for (int64_t j = 0; j < n; j++)
    {
        a += y[j] > upper;
        b += y[j] > lower;
        c += y[j] > middle;
    }
    count[0] += a;
    count[1] += b;
    count[2] += c;
})
VEC_FUNCTION(count_above, (const float *y, int64_t n, const float *bar, int32_t *count), (y, n, bar, count))

static void stats_of(const Plan *p, Rows *r, const float *x, const MaskParams *params, int32_t *stats)
{
    const float bar[3] = {params->threshold + params->offset, params->threshold - params->offset,
                          params->threshold};
    int64_t x0 = p->W, x1 = -1, y0 = -1, y1 = -1, from, to;
    memset(stats, 0, MASK_STATS * sizeof *stats);
    rows_begin(p, r, x, fminf(bar[1], fminf(bar[0], bar[2])));
    for (int64_t i = 0; i < p->H; i++) {
        int32_t before = stats[2];
        if (!pixel_row(p, r, i, &from, &to)) continue;
        count_above(r->out + from, to - from, bar, stats);
        if (stats[2] == before) continue;
        if (y0 < 0) y0 = i;
        y1 = i;
        while (from < x0 && !(r->out[from] > bar[2])) from++;
        while (to - 1 > x1 && !(r->out[to - 1] > bar[2])) to--;
        if (from < x0) x0 = from;
        if (to - 1 > x1) x1 = to - 1;
    }
    const int64_t box[4] = {x0, y0, x1, y1};
    for (int i = 0; i < 4 && y0 >= 0; i++) stats[3 + i] = (int32_t)box[i];
}

void mask_stats_forward_cpu(Tape *t, Node *n)
{
    Plan p = plan_of(t, n);
    const float *x = n->in[0]->data;
    int32_t *stats = n->out->data;
    float *room = tape_scratch(t, rows_floats(&p) * sizeof *room * (size_t)omp_get_max_threads());
#pragma omp parallel if (tensor_len(n->in[0]) > 1 << 15)
    {
        Rows r = rows_of_thread(&p, room);
#pragma omp for schedule(dynamic, 4)
        for (int64_t m = 0; m < n->in[0]->dim[0]; m++)
            stats_of(&p, &r, x + m * p.h * p.w, NODE_AS(MaskParams, n), stats + m * MASK_STATS);
    }
}

void mask_binary_forward_cpu(Tape *t, Node *n)
{
    Plan p = plan_of(t, n);
    const float *x = n->in[0]->data, threshold = NODE_AS(MaskParams, n)->threshold;
    uint8_t *mask = n->out->data;
    float *room = tape_scratch(t, rows_floats(&p) * sizeof *room * (size_t)omp_get_max_threads());
    memset(mask, 0, (size_t)tensor_len(n->out));
#pragma omp parallel if (tensor_len(n->in[0]) > 1 << 15)
    {
        Rows r = rows_of_thread(&p, room);
#pragma omp for schedule(dynamic, 4)
        for (int64_t m = 0; m < n->in[0]->dim[0]; m++) {
            uint8_t *row = mask + m * p.H * p.W;
            rows_begin(&p, &r, x + m * p.h * p.w, threshold);
            for (int64_t i = 0, from, to; i < p.H; i++, row += p.W)
                if (pixel_row(&p, &r, i, &from, &to))
                    for (int64_t j = from; j < to; j++) row[j] = r.out[j] > threshold;
        }
    }
}
