#include "models/sampler.h"
#include "tensor/replay.h"
#include <string.h>
#include <time.h>

/* What a step knows besides the device's memory, all of it fixed. */
typedef struct Decode {
    const Llama *m;
    LlamaCache *cache;
    const SamplerOptions *o;
    Tensor *out;   /* (max_tokens,B) the steps' ids, -1 from a row's end on */
    Tensor *token; /* (B,1) of the last step */
    Tensor *draw;  /* (3): op_top_p */
    Tensor *stop;  /* (n_stop) or NULL */
} Decode;

static Tensor *integers(Tape *t, int64_t n, const int32_t *host)
{
    Tensor *x = tape_tensor(t, DTYPE_i32, 1, &n);
    tensor_upload(x, host);
    return x;
}

static Decode decode_open(Tape *t, const Llama *m, LlamaCache *cache, const SamplerOptions *o)
{
    Decode d = {m, cache, o, NULL, NULL, NULL, NULL};
    const int32_t draw[3] = {0, (int32_t)(uint32_t)o->seed, (int32_t)(uint32_t)(o->seed >> 32)};
    d.out = tape_tensor(t, DTYPE_i32, 2, (const int64_t[]){o->max_tokens, cache->B});
    d.token = tape_tensor(t, DTYPE_i32, 2, (const int64_t[]){cache->B, 1});
    d.draw = integers(t, 3, draw);
    if (o->n_stop) d.stop = integers(t, o->n_stop, o->stop);
    return d;
}

/* Hidden states (B,D) of each row's last prefix position. */
static Tensor *prefill(Tape *t, const Llama *m, LlamaCache *cache, Tensor *prefix, const int32_t *lengths)
{
    int64_t B = prefix->dim[0], T = prefix->dim[1], D = prefix->dim[2];
    int32_t *last = arena_push_host(t->step, (size_t)B * sizeof *last);
    for (int64_t b = 0; b < B; b++) last[b] = (int32_t)(b * T) + (lengths ? lengths[b] : (int32_t)T) - 1;
    Tensor *length = lengths ? integers(t, B, lengths) : NULL, *row = integers(t, B, last);
    Tensor *h = llama_forward(t, m, prefix, length, cache, lengths); /* (B,T,D) */
    return op_select(t, tensor_reshape(t->step, h, 2, (const int64_t[]){B * T, D}), row);
}

/* h (B,D) -> the next ids, where the next step finds them. */
static void choose(Tape *t, const Decode *d, Tensor *h)
{
    Tensor *logits = llama_logits(t, d->m, h); /* (B,V) */
    TopPParams p = {d->o->temperature, d->o->top_p};
    Tensor *id = d->o->temperature > 0 ? op_top_p(t, logits, d->draw, p) : op_argmax(t, logits);
    op_next_token(t, d->out, d->token, d->cache->place, d->draw, id, d->stop);
}

static void step(Tape *t, void *context)
{
    const Decode *d = context;
    Tensor *h = llama_step(t, d->m, llama_embed(t, d->m, d->token), d->cache); /* (B,1,D) */
    choose(t, d, tensor_reshape(t->step, h, 2, (const int64_t[]){d->cache->B, d->m->config.dim}));
}

/* Whether all rows had ended by step i. id: room for B. */
static bool ended(Tape *t, const Decode *d, int i, int32_t *id)
{
    ArenaMark mark = arena_mark(t->step);
    tensor_download(tensor_slice(t->step, d->out, i, 1), id);
    arena_pop(t->step, mark);
    for (int64_t b = 0; b < d->cache->B; b++)
        if (id[b] >= 0) return false;
    return true;
}

/* The rows of the first `steps` steps. */
static void collect(Tape *t, const Decode *d, int steps, int32_t *out, int *n)
{
    int64_t B = d->cache->B;
    int32_t *id = arena_push_host(t->step, (size_t)(steps * B) * sizeof *id);
    tensor_download(tensor_slice(t->step, d->out, 0, steps), id);
    for (int64_t b = 0; b < B; b++)
        for (n[b] = 0; n[b] < steps && id[n[b] * B + b] >= 0; n[b]++)
            out[b * d->o->max_tokens + n[b]] = id[n[b] * B + b];
}

/* Seconds since an earlier call's, with all that was asked of the device done; 0 where nobody wants to know. */
static double lap(const Tape *t, const SamplerOptions *o, double since)
{
    struct timespec now;
    if (!o->times) return 0;
    t->step->backend->sync();
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9 - since;
}

void sampler_generate(Tape *t, const Llama *m, LlamaCache *cache, Tensor *prefix, const int32_t *lengths,
                      const SamplerOptions *o, int32_t *out, int *n)
{
    int64_t B = prefix->dim[0], T = prefix->dim[1];
    if (t->recording) die("sampler: generation is not recorded");
    if (T + o->max_tokens > cache->S)
        die("sampler: prefix of %lld and %d tokens do not fit the cache's %lld", (long long)T, o->max_tokens,
            (long long)cache->S);
    memset(n, 0, (size_t)B * sizeof *n);
    if (o->max_tokens < 1) return;
    ArenaMark start = arena_mark(t->step);
    double begun = lap(t, o, 0);
    int32_t *id = arena_push_host(t->step, (size_t)B * sizeof *id);
    Decode d = decode_open(t, m, cache, o);
    ArenaMark mark = arena_mark(t->step);
    choose(t, &d, prefill(t, m, cache, prefix, lengths));
    arena_pop(t->step, mark);
    if (o->times) o->times->prefix += lap(t, o, begun);
    begun = lap(t, o, 0);
    Replay replay = replay_open(t, step, &d);
    int look = replay_captures(&replay) ? SAMPLER_LOOK : 1, steps = 1;
    for (; steps < o->max_tokens; steps++) {
        if (steps % look == 0 && ended(t, &d, steps - 1, id)) break;
        replay_run(&replay);
    }
    collect(t, &d, steps, out, n);
    replay_close(&replay);
    arena_pop(t->step, start);
    if (!o->times) return;
    o->times->steps += lap(t, o, begun);
    o->times->n += steps - 1;
}
