/* Elements and rows by their places: which come where is worked out on the host, op_select, op_embed and
 * op_concat move them; op_nms keeps boxes. */
#include "tests/onnx/run.h"

/* Output i, of these dims, has x's elements at these places. */
static const char *from_places(Run *r, int i, int ndim, const int64_t *dim, const int64_t *at)
{
    const Value *x = given(r, 0);
    Value *y = give(r, i, x->type, ndim, dim);
    if (!y->n) return "an empty tensor";
    take(y, picked(r, flat(r, x), at, y->n));
    return NULL;
}

const char *onnx_transpose(Run *r)
{
    const Value *x = given(r, 0);
    const OnnxAttr *perm = attr(r, "perm");
    int order[ONNX_DIMS];
    int64_t dim[ONNX_DIMS];
    for (int i = 0; i < x->ndim; i++) order[i] = perm ? (int)perm->ints[i] : x->ndim - 1 - i;
    const int64_t *at = turned_places(r, x, order, dim);
    return from_places(r, 0, x->ndim, dim, at);
}

/* Every axis from[] on, step[] apart, dim[] of them. */
static const char *part(Run *r, int i, const int64_t *from, const int64_t *step, const int64_t *dim)
{
    const Value *x = given(r, 0);
    int64_t n = product(dim, x->ndim), *at = pool_take(&r->pool, (size_t)n + 1, sizeof *at);
    for (int64_t k = 0; k < n; k++) {
        int64_t rest = k, stride = 1;
        for (int d = x->ndim - 1; d >= 0; stride *= x->dim[d], rest /= dim[d--])
            at[k] += (from[d] + rest % dim[d] * step[d]) * stride;
    }
    return from_places(r, i, x->ndim, dim, at);
}

static int64_t clamped(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

/* Starts, ends, axes and steps: inputs, before opset 10 attributes. */
const char *onnx_slice(Run *r)
{
    const Value *x = given(r, 0), *input[4];
    static const char *const names[] = {"starts", "ends", "axes", "steps"};
    int64_t from[ONNX_DIMS], step[ONNX_DIMS], dim[ONNX_DIMS], n = x->ndim;
    const int64_t *list[4];
    for (int i = 0; i < 4; i++) {
        const OnnxAttr *a = attr(r, names[i]);
        input[i] = given(r, i + 1);
        list[i] = input[i] ? input[i]->i : a ? a->ints : NULL;
        if (!i) n = input[i] ? input[i]->n : a->n_ints;
    }
    for (int d = 0; d < x->ndim; d++) from[d] = 0, step[d] = 1, dim[d] = x->dim[d];
    for (int64_t k = 0; k < n; k++) {
        int d = axis_of(list[2] ? list[2][k] : k, x->ndim);
        int64_t s = list[3] ? list[3][k] : 1, size = x->dim[d], low = s < 0 ? -1 : 0,
                high = s < 0 ? size - 1 : size;
        int64_t first = list[0][k] < 0 ? list[0][k] + size : list[0][k];
        int64_t end = list[1][k] < 0 ? list[1][k] + size : list[1][k];
        from[d] = clamped(first, s < 0 ? 0 : low, high);
        end = clamped(end, low, high);
        step[d] = s;
        dim[d] = s < 0 ? (from[d] - end - s - 1) / -s : (end - from[d] + s - 1) / s;
        if (dim[d] < 0) dim[d] = 0;
    }
    return part(r, 0, from, step, dim);
}

const char *onnx_split(Run *r)
{
    const Value *x = given(r, 0), *sizes = given(r, 1);
    const OnnxAttr *list = attr(r, "split");
    int axis = axis_of(attr_int(r, "axis", 0), x->ndim);
    int64_t from[ONNX_DIMS] = {0}, step[ONNX_DIMS], dim[ONNX_DIMS];
    for (int d = 0; d < x->ndim; d++) step[d] = 1, dim[d] = x->dim[d];
    for (int i = 0; i < r->node->n_out; i++) {
        dim[axis] = sizes ? sizes->i[i] : list ? list->ints[i] : x->dim[axis] / r->node->n_out;
        const char *why = part(r, i, from, step, dim);
        if (why) return why;
        from[axis] += dim[axis];
    }
    return NULL;
}

const char *onnx_concat(Run *r)
{
    const Value *a = given(r, 0);
    int axis = axis_of(attr_int(r, "axis", 1), a->ndim);
    int64_t dim[ONNX_DIMS];
    if (a->ndim > TENSOR_DIMS) return "Concat of more than four dims";
    memcpy(dim, a->dim, sizeof dim);
    Tensor *all = tensor_of(r, a->f, a->ndim, a->dim);
    for (int i = 1; i < r->node->n_in; i++) {
        const Value *b = given(r, i);
        all = op_concat(&r->rig.tape, all, tensor_of(r, b->f, b->ndim, b->dim), axis);
        dim[axis] += b->dim[axis];
    }
    take(give(r, 0, a->type, a->ndim, dim), all);
    return NULL;
}

/* Rows of a table by op_embed; otherwise x is (outer, D, inner), and rows of inner elements go by op_select. */
const char *onnx_gather(Run *r)
{
    Tape *t = &r->rig.tape;
    const Value *x = given(r, 0), *index = given(r, 1);
    int axis = axis_of(attr_int(r, "axis", 0), x->ndim), ndim = x->ndim - 1 + index->ndim;
    int64_t D = x->dim[axis], outer = product(x->dim, axis), inner = x->n / outer / D, n = index->n;
    int64_t dim[ONNX_DIMS], *at = pool_take(&r->pool, (size_t)(outer * n), sizeof *at);
    ck_assert_int_le(ndim, ONNX_DIMS);
    for (int i = 0; i < ndim; i++)
        dim[i] = i < axis                 ? x->dim[i]
                 : i < axis + index->ndim ? index->dim[i - axis]
                                          : x->dim[i - index->ndim + 1];
    for (int64_t i = 0; i < outer * n; i++)
        at[i] = i / n * D + (index->i[i % n] < 0 ? index->i[i % n] + D : index->i[i % n]);
    Tensor *rows = matrix(r, x, inner), *which = places(r, at, outer * n);
    Tensor *y = axis == 0 && x->ndim == 2 ? op_embed(t, rows, which) : op_select(t, rows, which);
    take(give(r, 0, x->type, ndim, dim), y);
    return NULL;
}

/* As the index, but for the axis, where the index says. */
const char *onnx_gather_elements(Run *r)
{
    const Value *x = given(r, 0), *index = given(r, 1);
    int axis = axis_of(attr_int(r, "axis", 0), x->ndim);
    int64_t *at = pool_take(&r->pool, (size_t)index->n + 1, sizeof *at);
    for (int64_t i = 0; i < index->n; i++) {
        int64_t rest = i, stride = 1, k = index->i[i] < 0 ? index->i[i] + x->dim[axis] : index->i[i];
        for (int d = x->ndim - 1; d >= 0; stride *= x->dim[d], rest /= index->dim[d--])
            at[i] += (d == axis ? k : rest % index->dim[d]) * stride;
    }
    return from_places(r, 0, index->ndim, index->dim, at);
}

/* The index's last axis names x's first axes. */
const char *onnx_gather_nd(Run *r)
{
    const Value *x = given(r, 0), *index = given(r, 1);
    int named = (int)index->dim[index->ndim - 1], ndim = index->ndim - 1 + x->ndim - named;
    int64_t n = index->n / named, inner = product(x->dim + named, x->ndim - named), dim[ONNX_DIMS];
    int64_t *at = pool_take(&r->pool, (size_t)n, sizeof *at);
    if (attr_int(r, "batch_dims", 0)) return "GatherND with batch_dims";
    for (int i = 0; i < ndim; i++)
        dim[i] = i < index->ndim - 1 ? index->dim[i] : x->dim[i - index->ndim + 1 + named];
    for (int64_t i = 0; i < n; i++)
        for (int d = 0; d < named; d++) {
            int64_t k = index->i[i * named + d];
            at[i] = at[i] * x->dim[d] + (k < 0 ? k + x->dim[d] : k);
        }
    take(give(r, 0, x->type, ndim, dim), op_select(&r->rig.tape, matrix(r, x, inner), places(r, at, n)));
    return NULL;
}

/* ---- boxes ---- */

/* A box as op_nms wants it: from y0, x0, y1, x1 of any two corners, or from centre and size. */
static void box_of(const float *from, bool centre, float *box)
{
    for (int i = 0; i < 2; i++) {
        float a = from[1 - i], b = from[3 - i];
        if (centre) a = from[i] - from[2 + i] / 2, b = from[i] + from[2 + i] / 2;
        box[i] = a < b ? a : b;
        box[2 + i] = a < b ? b : a;
    }
}

/* Places of the boxes of one class above the bar, best first. */
static int64_t ranked(const float *score, int64_t n, float bar, int64_t *order)
{
    int64_t k = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!(score[i] > bar)) continue;
        int64_t at = k++;
        for (; at > 0 && score[order[at - 1]] < score[i]; at--) order[at] = order[at - 1];
        order[at] = i;
    }
    return k;
}

/* boxes (N,n,4), scores (N,classes,n) -> (kept,3): image, class, box. */
const char *onnx_nms(Run *r)
{
    const Value *boxes = given(r, 0), *scores = given(r, 1), *most = given(r, 2), *overlap = given(r, 3),
                *least = given(r, 4);
    int64_t N = boxes->dim[0], n = boxes->dim[1], classes = scores->dim[1], kept = 0;
    int64_t *found = pool_take(&r->pool, (size_t)(N * classes * n), 3 * sizeof *found);
    int64_t *order = pool_take(&r->pool, (size_t)n, sizeof *order);
    float *box = pool_take(&r->pool, (size_t)n, 4 * sizeof *box);
    for (int64_t row = 0; row < N * classes; row++) {
        int64_t count = ranked(scores->f + row * n, n, least ? least->f[0] : -INFINITY, order), taken = 0;
        if (!count) continue;
        for (int64_t i = 0; i < count; i++)
            box_of(boxes->f + 4 * (row / classes * n + order[i]), attr_int(r, "center_point_box", 0),
                   box + 4 * i);
        Tensor *keep = op_nms(&r->rig.tape, tensor_of(r, box, 2, (int64_t[]){count, 4}),
                              overlap ? (double)overlap->f[0] : 0);
        int32_t *is_kept = host_copy(keep);
        for (int64_t i = 0; i < count && taken < (most ? most->i[0] : 0); i++) {
            if (!is_kept[i]) continue;
            int64_t *next = found + 3 * kept++;
            next[0] = row / classes, next[1] = row % classes, next[2] = order[i];
            taken++;
        }
        free(is_kept);
    }
    memcpy(give(r, 0, ONNX_INT64, 2, (int64_t[]){kept, 3})->i, found, (size_t)kept * 3 * sizeof *found);
    return NULL;
}
