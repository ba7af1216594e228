/* The key/value cache's new rows: cache[b, position[b] + i] = x[b, i], in place. cache (B,S,G,D), x (B,T,G,D),
 * f32 or bf16, position (B) i32. */
#include "kernels/ops.h"
#include <string.h>

Tensor *op_kv_append(Tape *t, Tensor *cache, Tensor *x, Tensor *position)
{
    return op_apply(t, &kv_append_op, 3, (Tensor *[]){cache, x, position}, NULL, 0);
}

void kv_append_shape(Tape *t, Node *n)
{
    (void)t;
    const Tensor *cache = n->in[0], *x = n->in[1], *position = n->in[2];
    bool fits = is_activation(cache) && x->dtype == cache->dtype && cache->ndim == 4 && x->ndim == 4;
    for (int i = 0; fits && i < 4; i++) fits = i == 1 || cache->dim[i] == x->dim[i];
    if (!fits) die("kv_append: x %s does not fit the cache %s", tensor_text(x), tensor_text(cache));
    if (position->dtype != DTYPE_i32 || position->ndim != 1 || position->dim[0] != x->dim[0])
        die("kv_append: position %s is not i32 (B) of x %s", tensor_text(position), tensor_text(x));
    n->out = n->in[0];
}

void kv_append_forward_cpu(Tape *t, Node *n)
{
    (void)t;
    const Tensor *cache = n->in[0], *x = n->in[1];
    const int32_t *position = n->in[2]->data;
    int64_t B = x->dim[0], T = x->dim[1], S = cache->dim[1], row = x->dim[2] * x->dim[3];
    for (int64_t b = 0; b < B; b++) {
        if (position[b] < 0 || position[b] + T > S)
            die("kv_append: rows %d to %lld of sequence %lld do not fit the cache %s", position[b],
                (long long)(position[b] + T), (long long)b, tensor_text(cache));
        memcpy((float *)cache->data + (b * S + position[b]) * row, (const float *)x->data + b * T * row,
               (size_t)(T * row) * sizeof(float));
    }
}
