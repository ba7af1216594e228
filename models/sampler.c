#include "models/sampler.h"
#include <string.h>

static bool stops(const SamplerOptions *o, int32_t id)
{
    for (int i = 0; i < o->n_stop; i++)
        if (o->stop[i] == id) return true;
    return false;
}

/* h (B,D) -> the next id of each row, into host `id`. */
static void pick(Tape *t, const Llama *m, Tensor *h, const SamplerOptions *o, int step, int32_t *id)
{
    Tensor *logits = llama_logits(t, m, h); /* (B,V) */
    TopPParams p = {o->temperature, o->top_p, o->seed, (uint64_t)step};
    tensor_download(o->temperature > 0 ? op_top_p(t, logits, p) : op_argmax(t, logits), id);
}

/* Hidden states (B,D) of each row's last prefix position. */
static Tensor *prefill(Tape *t, const Llama *m, LlamaCache *cache, Tensor *prefix, const int32_t *lengths)
{
    int64_t B = prefix->dim[0], T = prefix->dim[1], D = prefix->dim[2];
    Tensor *length = NULL;
    if (lengths) {
        length = tape_tensor(t, DTYPE_i32, 1, &B);
        tensor_upload(length, lengths);
    }
    int32_t *last = arena_push_host(t->step, (size_t)B * sizeof *last);
    for (int64_t b = 0; b < B; b++) last[b] = (int32_t)(b * T) + (lengths ? lengths[b] : (int32_t)T) - 1;
    Tensor *row = tape_tensor(t, DTYPE_i32, 1, &B);
    tensor_upload(row, last);
    Tensor *h = llama_forward(t, m, prefix, length, cache, lengths); /* (B,T,D) */
    return op_select(t, tensor_reshape(t->step, h, 2, (const int64_t[]){B * T, D}), row);
}

void sampler_generate(Tape *t, const Llama *m, LlamaCache *cache, Tensor *prefix, const int32_t *lengths,
                      const SamplerOptions *o, int32_t *out, int *n)
{
    int64_t B = prefix->dim[0], T = prefix->dim[1], D = m->config.dim;
    if (t->recording) die("sampler: generation is not recorded");
    if (T + o->max_tokens > cache->S)
        die("sampler: prefix of %lld and %d tokens do not fit the cache's %lld", (long long)T, o->max_tokens,
            (long long)cache->S);
    ArenaMark start = arena_mark(t->step);
    int32_t *id = arena_push_host(t->step, (size_t)B * sizeof *id);
    bool *done = arena_push_host(t->step, (size_t)B * sizeof *done);
    Tensor *next = tape_tensor(t, DTYPE_i32, 2, (const int64_t[]){B, 1});
    ArenaMark mark = arena_mark(t->step);
    memset(n, 0, (size_t)B * sizeof *n);
    if (o->max_tokens > 0) pick(t, m, prefill(t, m, cache, prefix, lengths), o, 0, id);
    int64_t running = B;
    for (int step = 0; step < o->max_tokens; step++) {
        for (int64_t b = 0; b < B; b++) {
            if (done[b]) continue;
            if (stops(o, id[b])) {
                done[b] = true;
                running--;
            } else {
                out[b * o->max_tokens + n[b]++] = id[b];
            }
        }
        arena_pop(t->step, mark);
        if (!running || step + 1 == o->max_tokens) break;
        tensor_upload(next, id);
        Tensor *h = llama_step(t, m, llama_embed(t, m, next), cache); /* (B,1,D) */
        pick(t, m, tensor_reshape(t->step, h, 2, (const int64_t[]){B, D}), o, step + 1, id);
    }
    arena_pop(t->step, start);
}
