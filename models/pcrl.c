#include "models/pcrl.h"
#include <string.h>

int64_t pcrl_prefix_length(const PcrlPrompt *p, int64_t slots) { return p->n_before + slots + p->n_after; }

/* Ids (B,T): row b is the same `ids` for all b, n of them. */
static Tensor *repeated(Tape *t, const Llama *m, int64_t B, const int32_t *ids, int n)
{
    Tensor *id = tape_tensor(t, DTYPE_i32, 2, (const int64_t[]){B, n});
    int32_t *host = arena_push_host(t->step, (size_t)(B * n) * sizeof *host);
    for (int64_t b = 0; b < B; b++) memcpy(host + b * n, ids, (size_t)n * sizeof *ids);
    tensor_upload(id, host);
    return llama_embed(t, m, id);
}

static Tensor *join(Tape *t, Tensor *a, Tensor *b)
{
    if (!a) return b;
    return b ? op_concat(t, a, b, 1) : a;
}

/* before | hv | after, (B,P,D). */
static Tensor *prefix(Tape *t, const Llama *m, Tensor *hv, const PcrlPrompt *p, int64_t B)
{
    if (hv && (hv->ndim != 3 || hv->dim[0] != B || hv->dim[2] != m->config.dim))
        die("pcrl: expected visual slots (%lld,slots,%lld), got %s", (long long)B, (long long)m->config.dim,
            tensor_text(hv));
    Tensor *x = p->n_before ? repeated(t, m, B, p->before, p->n_before) : NULL;
    x = join(t, x, hv ? op_cast(t, hv, t->compute) : NULL);
    x = join(t, x, p->n_after ? repeated(t, m, B, p->after, p->n_after) : NULL);
    if (!x) die("pcrl: an empty prefix predicts nothing");
    return x;
}

/* The findings' ids, right-padded with EOS, (B,most) embedded; NULL if all are empty. */
static Tensor *findings_embed(Tape *t, const Llama *m, const PcrlPrompt *p, int64_t B, int64_t most,
                              const int32_t *const *findings, const int *n)
{
    if (!most) return NULL;
    Tensor *id = tape_tensor(t, DTYPE_i32, 2, (const int64_t[]){B, most});
    int32_t *host = arena_push_host(t->step, (size_t)(B * most) * sizeof *host);
    for (int64_t b = 0; b < B; b++)
        for (int64_t i = 0; i < most; i++) host[b * most + i] = i < n[b] ? findings[b][i] : p->eos;
    tensor_upload(id, host);
    return llama_embed(t, m, id);
}

PcrlRows pcrl_rows(Tape *t, const Llama *m, Tensor *hv, const PcrlPrompt *p, int64_t B,
                   const int32_t *const *findings, const int *n)
{
    int64_t P = pcrl_prefix_length(p, hv ? hv->dim[1] : 0), most = 0, R = 0, r = 0;
    for (int64_t b = 0; b < B; b++) {
        if (n[b] > most) most = n[b];
        R += n[b] + 1;
    }
    int64_t T = P + most;
    int32_t *row = arena_push_host(t->step, (size_t)R * sizeof *row);
    int32_t *label = arena_push_host(t->step, (size_t)R * sizeof *label);
    int32_t *length = arena_push_host(t->step, (size_t)B * sizeof *length);
    for (int64_t b = 0; b < B; b++) {
        length[b] = (int32_t)(P + n[b]);
        for (int i = 0; i <= n[b]; i++, r++) { /* position P-1+i predicts finding i, the last one EOS */
            row[r] = (int32_t)(b * T + P - 1 + i);
            label[r] = i < n[b] ? findings[b][i] : p->eos;
        }
    }
    Tensor *rows = tape_tensor(t, DTYPE_i32, 1, &R), *labels = tape_tensor(t, DTYPE_i32, 1, &R);
    Tensor *lengths = tape_tensor(t, DTYPE_i32, 1, &B);
    tensor_upload(rows, row);
    tensor_upload(labels, label);
    tensor_upload(lengths, length);
    Tensor *x = join(t, prefix(t, m, hv, p, B), findings_embed(t, m, p, B, most, findings, n)); /* (B,T,D) */
    Tensor *h = llama_forward(t, m, x, lengths, NULL, NULL);
    h = tensor_reshape(t->step, h, 2, (const int64_t[]){B * T, m->config.dim});
    return (PcrlRows){op_select(t, h, rows), labels};
}

Tensor *pcrl_text(Tape *t, const Llama *m, const PcrlTextPrompt *p, int64_t B, const int32_t *const *text,
                  const int *n)
{
    int64_t frame = p->n_before + p->n_after, T = 0;
    for (int64_t b = 0; b < B; b++)
        if (frame + n[b] > T) T = frame + n[b];
    if (!T) die("pcrl: %lld empty texts in an empty prompt", (long long)B);
    int32_t *id = arena_push_host(t->step, (size_t)(B * T) * sizeof *id);
    int32_t *row = arena_push_host(t->step, (size_t)B * sizeof *row);
    int32_t *length = arena_push_host(t->step, (size_t)B * sizeof *length);
    for (int64_t b = 0; b < B; b++) {
        int32_t *at = id + b * T;
        memcpy(at, p->before, (size_t)p->n_before * sizeof *at);
        memcpy(at + p->n_before, text[b], (size_t)n[b] * sizeof *at);
        memcpy(at + p->n_before + n[b], p->after, (size_t)p->n_after * sizeof *at);
        length[b] = (int32_t)(frame + n[b]);
        for (int64_t i = length[b]; i < T; i++) at[i] = p->pad;
        row[b] = (int32_t)(b * T + (p->pool_padded ? T : length[b]) - 1);
    }
    Tensor *ids = tape_tensor(t, DTYPE_i32, 2, (const int64_t[]){B, T});
    Tensor *rows = tape_tensor(t, DTYPE_i32, 1, &B), *lengths = tape_tensor(t, DTYPE_i32, 1, &B);
    tensor_upload(ids, id);
    tensor_upload(rows, row);
    tensor_upload(lengths, length);
    Tensor *h = llama_forward(t, m, llama_embed(t, m, ids), lengths, NULL, NULL); /* (B,T,D) */
    h = tensor_reshape(t->step, h, 2, (const int64_t[]){B * T, m->config.dim});
    Tensor *y = op_cast(t, op_select(t, h, rows), DTYPE_f32); /* (B,D) */
    tape_tap(t, y, "text");
    return y;
}

void pcrl_generate(Tape *t, const Llama *m, LlamaCache *cache, Tensor *hv, const PcrlPrompt *p, int64_t B,
                   const SamplerOptions *o, int32_t *out, int *n)
{
    ArenaMark mark = arena_mark(t->step);
    sampler_generate(t, m, cache, prefix(t, m, hv, p, B), NULL, o, out, n);
    arena_pop(t->step, mark);
}
