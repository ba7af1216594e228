/* Non-maximum suppression of boxes in the order they come: a box is kept unless it overlaps a kept one before
 * it by more than the threshold. Overlap is intersection over union, in f32 without fused multiply-adds; a box
 * without area has none (0/0). */
#include "kernels/ops.h"
#include <math.h>

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

static float area(const float *b) { return (b[2] - b[0]) * (b[3] - b[1]); }

static bool overlaps(const float *a, const float *b, double threshold)
{
    float w = fmaxf(fminf(a[2], b[2]) - fmaxf(a[0], b[0]), 0),
          h = fmaxf(fminf(a[3], b[3]) - fmaxf(a[1], b[1]), 0);
    float both = w * h;
    return (double)(both / (area(a) + area(b) - both)) > threshold;
}

void nms_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const float *box = n->in[0]->data;
    const double threshold = NODE_AS(NmsParams, n)->threshold;
    int32_t *keep = n->out->data;
    for (int64_t i = 0; i < n->in[0]->dim[0]; i++) {
        keep[i] = 1;
        for (int64_t j = 0; j < i && keep[i]; j++)
            if (keep[j] && overlaps(box + 4 * j, box + 4 * i, threshold)) keep[i] = 0;
    }
}
