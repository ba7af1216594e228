/* Non-maximum suppression of boxes in the order they come: a box is kept unless it overlaps a kept one before
 * it by more than the threshold. Overlap is intersection over union, in f32 without fused multiply-adds; a box
 * without area has none (0/0). */
#include "kernels/ops.h"

Tensor *op_nms(Tape *t, Tensor *box, double threshold)
{
    NmsParams p = {threshold};
    return op_apply(t, &nms_op, 1, &box, &p, sizeof p);
}

void nms_shape(Tape *t, Node *n)
{
    const Tensor *box = n->in[0];
    if (box->dtype != DTYPE_f32 || box->ndim != 2 || box->dim[1] != 4)
        die("nms: boxes %s are not f32 (n,4)", tensor_text(box));
    n->out = tape_tensor(t, DTYPE_i32, 1, box->dim);
}

static inline float least(float a, float b) { return a < b ? a : b; }
static inline float most(float a, float b) { return a > b ? a : b; }

/* Boxes as columns, with their areas. */
typedef struct Kept {
    float *x0, *y0, *x1, *y1, *area;
    int64_t n;
} Kept;

/* Whether one of them overlaps b by more than the bar. */
static bool overlapped(const Kept *k, const float *b, float area, float bar)
{
    enum { STRIDE = 64 };
    int any = 0;
    for (int64_t from = 0; from < k->n && !any; from += STRIDE) {
        int64_t to = from + STRIDE < k->n ? from + STRIDE : k->n;
#pragma omp simd reduction(| : any)
        for (int64_t j = from; j < to; j++) {
            float w = most(least(k->x1[j], b[2]) - most(k->x0[j], b[0]), 0);
            float h = most(least(k->y1[j], b[3]) - most(k->y0[j], b[1]), 0);
            any |= w * h / (k->area[j] + area - w * h) > bar;
        }
    }
    return any;
}

void nms_forward_cpu(Tape *t, Node *n)
{
    const float *b = n->in[0]->data;
    const float bar = nms_bar(NODE_AS(NmsParams, n)->threshold);
    int64_t N = n->in[0]->dim[0];
    int32_t *keep = n->out->data;
    float *room = tape_scratch(t, 5 * (size_t)N * sizeof *room);
    Kept k = {room, room + N, room + 2 * N, room + 3 * N, room + 4 * N, 0};
    for (int64_t i = 0; i < N; i++, b += 4) {
        float area = (b[2] - b[0]) * (b[3] - b[1]);
        keep[i] = !overlapped(&k, b, area, bar);
        if (!keep[i]) continue;
        k.x0[k.n] = b[0], k.y0[k.n] = b[1], k.x1[k.n] = b[2], k.y1[k.n] = b[3];
        k.area[k.n++] = area;
    }
}
