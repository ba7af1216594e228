/* What lies between two decode steps: the chosen ids are kept, rows end, positions and the step go on. Of a
 * step, out (M,B) holds the rows' ids, -1 from a row's end on. */
#include "kernels/ops.h"

Tensor *op_next_token(Tape *t, Tensor *out, Tensor *token, Tensor *place, Tensor *draw, Tensor *id,
                      Tensor *stop)
{
    return op_apply(t, &next_token_op, 6, (Tensor *[]){out, token, place, draw, id, stop}, NULL, 0);
}

void next_token_shape(Tape *t, Node *n)
{
    static const char *const what[] = {"out", "token", "place", "draw", "id", "stop"};
    (void)t;
    const Tensor *out = n->in[0];
    if (out->ndim != 2) die("next_token: out %s has not two dims", tensor_text(out));
    const int64_t B = out->dim[1], len[] = {out->dim[0] * B, B, 2 * B, 3, B};
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && (n->in[i]->dtype != DTYPE_i32 || (i < 5 && tensor_len(n->in[i]) != len[i])))
            die("next_token: %s %s is not i32 that fits out %s", what[i], tensor_text(n->in[i]),
                tensor_text(out));
    n->out = n->in[0];
}

void next_token_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    int32_t *out = n->in[0]->data, *token = n->in[1]->data, *place = n->in[2]->data, *draw = n->in[3]->data;
    const int32_t *id = n->in[4]->data, *stop = n->in[5] ? n->in[5]->data : NULL;
    int64_t B = n->in[0]->dim[1], n_stop = stop ? tensor_len(n->in[5]) : 0, step = draw[0];
    if (step < 0 || step >= n->in[0]->dim[0])
        die("next_token: step %lld of out %s", (long long)step, tensor_text(n->in[0]));
    for (int64_t b = 0; b < B; b++) {
        bool ended = step > 0 && out[(step - 1) * B + b] < 0;
        for (int64_t i = 0; i < n_stop; i++) ended = ended || id[b] == stop[i];
        out[step * B + b] = ended ? -1 : id[b];
        token[b] = id[b];
        place[b]++;
        place[B + b]++;
    }
    draw[0]++;
}
