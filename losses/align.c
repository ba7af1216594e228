#include "losses/align.h"

Tensor *align_loss(Tape *t, Tensor *v, Tensor *w, Tensor *scale, Tensor *same, const AlignOptions *o)
{
    return op_infonce(t, v, w, scale, same, *o);
}

static Tensor *list(Tape *t, const int32_t *value, int64_t n)
{
    Tensor *x = tape_tensor(t, DTYPE_i32, 1, &n);
    tensor_upload(x, value);
    return x;
}

/* The loss of the rows row[0..m-1] of v and w. */
static Tensor *part(Tape *t, Tensor *v, Tensor *w, Tensor *scale, const int32_t *same, const AlignOptions *o,
                    const int32_t *row, int64_t m)
{
    Tensor *index = list(t, row, m), *group = NULL;
    if (same) {
        int32_t *own = arena_push_host(t->step, (size_t)m * sizeof *own);
        for (int64_t k = 0; k < m; k++) own[k] = same[row[k]];
        group = list(t, own, m);
    }
    return align_loss(t, op_select(t, v, index), op_select(t, w, index), scale, group, o);
}

Tensor *align_loss_groups(Tape *t, Tensor *v, Tensor *w, Tensor *scale, const int32_t *same,
                          const AlignOptions *o, const int32_t *sample, int64_t n)
{
    if (v->dim[0] != w->dim[0])
        die("align: rows of v %s and w %s are not paired", tensor_text(v), tensor_text(w));
    if (v->dim[0] != n) die("align: %lld samples for v %s", (long long)n, tensor_text(v));
    int32_t *row = arena_push_host(t->step, (size_t)n * sizeof *row);
    Tensor *total = NULL;
    int64_t samples = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t m = 0, before = 0;
        while (sample[before] != sample[i]) before++;
        if (before < i) continue; /* the sample is done */
        for (int64_t j = i; j < n; j++)
            if (sample[j] == sample[i]) row[m++] = (int32_t)j;
        if (m < 2) continue;
        Tensor *loss = part(t, v, w, scale, same, o, row, m);
        total = total ? op_add(t, total, loss) : loss;
        samples++;
    }
    if (!total) return part(t, v, w, scale, same, o, &(int32_t){0}, 1); /* one pair: 0 */
    return op_scale(t, total, 1 / (float)samples);
}
