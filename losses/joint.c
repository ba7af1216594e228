#include "losses/joint.h"

Tensor *joint_loss(Tape *t, Tensor *const *term, const float *weight, int n)
{
    Tensor *total = NULL;
    for (int i = 0; i < n; i++) {
        if (!term[i]) continue;
        if (tensor_len(term[i]) != 1) die("joint: term %d is %s, not one number", i, tensor_text(term[i]));
        Tensor *weighted = op_scale(t, term[i], weight[i]);
        total = total ? op_add(t, total, weighted) : weighted;
    }
    if (!total) die("joint: none of %d terms is there", n);
    return total;
}
