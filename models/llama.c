#include "models/llama.h"
#include "models/llama_names.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LAYERS = 1000 };

const LlamaConfig llama_3_8b = {.vocab = 128256,
                                .dim = 4096,
                                .layers = 32,
                                .heads = 32,
                                .kv_heads = 8,
                                .head_dim = 128,
                                .ffn = 14336,
                                .norm_eps = 1e-5f,
                                .rope_theta = 500000};

/* ---- opening ---- */

static void open_layer(Weights *w, const LlamaConfig *c, LlamaLayer *l, int i)
{
    int64_t D = c->dim, F = c->ffn, Q = c->heads * c->head_dim, K = c->kv_heads * c->head_dim;
    const struct {
        Tensor **to;
        const char *name;
        int64_t out, in;
    } linear[] = {
        {&l->q, "self_attn.q_proj", Q, D}, {&l->k, "self_attn.k_proj", K, D}, {&l->v, "self_attn.v_proj", K, D},
        {&l->o, "self_attn.o_proj", D, Q}, {&l->gate, "mlp.gate_proj", F, D}, {&l->up, "mlp.up_proj", F, D},
        {&l->down, "mlp.down_proj", D, F},
    };
    for (size_t j = 0; j < sizeof linear / sizeof *linear; j++)
        *linear[j].to =
            weights_get(w, (WeightSpec){{linear[j].out, linear[j].in}, WEIGHT_LINEAR, INIT_NORMAL, 0.02f},
                        "model.layers.%d.%s.weight", i, linear[j].name);
    WeightSpec norm = {{D}, .init = INIT_ONES};
    l->input_norm = weights_get(w, norm, "model.layers.%d.input_layernorm.weight", i);
    l->post_norm = weights_get(w, norm, "model.layers.%d.post_attention_layernorm.weight", i);
}

static void check_config(Weights *w, const LlamaConfig *c)
{
    if (w->error.code) return;
    if (c->vocab < 1 || c->dim < 1 || c->layers < 1 || c->layers > MAX_LAYERS || c->heads < 1 ||
        c->kv_heads < 1 || c->ffn < 1 || c->head_dim < 2 || c->head_dim % 2 || c->heads % c->kv_heads)
        weights_fail(
            w,
            "LLaMA of vocabulary %lld, width %lld, %lld layers, %lld heads over %lld key/value heads of "
            "%lld, feed-forward %lld: sizes must be positive, the head size even, heads a multiple of "
            "key/value heads",
            (long long)c->vocab, (long long)c->dim, (long long)c->layers, (long long)c->heads,
            (long long)c->kv_heads, (long long)c->head_dim, (long long)c->ffn);
}

bool llama_create(Llama *m, Weights *w, LlamaConfig c, Error *e)
{
    *m = (Llama){.config = c};
    check_config(w, &c);
    if (!weights_ok(w, e)) return false;
    WeightSpec table = {{c.vocab, c.dim}, WEIGHT_TABLE, INIT_NORMAL, 0.02f};
    m->layer = arena_push_host(w->trainable ? w->state : w->weights, (size_t)c.layers * sizeof *m->layer);
    m->embed = weights_get(w, table, "model.embed_tokens.weight");
    for (int i = 0; i < c.layers; i++) open_layer(w, &c, &m->layer[i], i);
    m->norm = weights_get(w, (WeightSpec){{c.dim}, .init = INIT_ONES}, "model.norm.weight");
    m->head = c.tied ? m->embed : weights_get(w, table, "lm_head.weight");
    weights_set_meta(w, "llama.heads", "%lld", (long long)c.heads);
    weights_set_meta(w, "llama.kv_heads", "%lld", (long long)c.kv_heads);
    weights_set_meta(w, "llama.norm_eps", "%.9g", (double)c.norm_eps);
    weights_set_meta(w, "llama.rope_theta", "%.9g", (double)c.rope_theta);
    return weights_ok(w, e);
}

/* heads x head_dim = q_rows, kv_heads x head_dim = k_rows, from whatever the metadata says. */
static void split_heads(Weights *w, LlamaConfig *c, int64_t q_rows, int64_t k_rows)
{
    enum { MOST = 1 << 16 };
    int64_t heads = weights_meta_int(w, "llama.heads", 0, 1, MOST);
    int64_t kv_heads = weights_meta_int(w, "llama.kv_heads", 0, 1, MOST);
    c->head_dim = weights_meta_int(w, "llama.head_dim",
                                   heads      ? q_rows / heads
                                   : kv_heads ? k_rows / kv_heads
                                              : 128,
                                   1, MOST);
    if (w->error.code) return;
    if (c->head_dim > 0) {
        c->heads = q_rows / c->head_dim;
        c->kv_heads = k_rows / c->head_dim;
    }
    if (c->heads * c->head_dim != q_rows || c->kv_heads * c->head_dim != k_rows ||
        (heads && heads != c->heads) || (kv_heads && kv_heads != c->kv_heads))
        weights_fail(w,
                     "q_proj of %lld rows and k_proj of %lld do not divide into %lld heads and %lld key/value "
                     "heads of %lld",
                     (long long)q_rows, (long long)k_rows, (long long)(heads ? heads : c->heads),
                     (long long)(kv_heads ? kv_heads : c->kv_heads), (long long)c->head_dim);
}

bool llama_open(Llama *m, Weights *w, Error *e)
{
    LlamaConfig c = {0};
    int64_t table[2] = {0}, q[2] = {0}, k[2] = {0}, gate[2] = {0};
    if (!weights_ok(w, e) || (w->file && !llama_adopt(w->file, NULL, e))) return false;
    if (w->file && !weights_meta(w, "llama.rope_theta") && weights_entry(w, "model.embed_tokens.weight"))
        weights_fail(w,
                     "shapes do not tell a LLaMA's heads, norm_eps and rope_theta: expected config.json beside "
                     "the weights, or the metadata llama.rope_theta");
    weights_shape(w, 2, table, "model.embed_tokens.weight");
    weights_shape(w, 2, q, "model.layers.0.self_attn.q_proj.weight");
    weights_shape(w, 2, k, "model.layers.0.self_attn.k_proj.weight");
    weights_shape(w, 2, gate, "model.layers.0.mlp.gate_proj.weight");
    while (c.layers <= MAX_LAYERS && weights_entry(w, "model.layers.%d.input_layernorm.weight", (int)c.layers))
        c.layers++;
    c.vocab = table[0];
    c.dim = table[1];
    c.ffn = gate[0];
    const char *tied = weights_meta(w, "llama.tied");
    c.tied = !weights_entry(w, "lm_head.weight") || (tied && !strcmp(tied, "true"));
    split_heads(w, &c, q[0], k[0]);
    c.norm_eps = (float)weights_meta_float(w, "llama.norm_eps", 1e-5, 0, 1);
    c.rope_theta = (float)weights_meta_float(w, "llama.rope_theta", 0, 1, 1e12);
    return llama_create(m, w, c, e);
}

bool llama_add_lora(Llama *m, Weights *w, int rank, float alpha, float dropout, Error *e)
{
#define LORA_NAME "base_model.model.model.layers.%d.self_attn.%s_proj.lora_%s.weight"
    const LlamaConfig *c = &m->config;
    if (!rank) {
        int64_t dim[2] = {0};
        if (weights_shape(w, 2, dim, LORA_NAME, 0, "q", "A") && dim[0] <= c->dim) rank = (int)dim[0];
    }
    alpha = (float)weights_meta_float(w, "lora.alpha", (double)alpha, 0, 1e6);
    dropout = (float)weights_meta_float(w, "lora.dropout", (double)dropout, 0, 0.99);
    if (rank < 1) weights_fail(w, "LoRA: rank %d", rank);
    for (int i = 0; i < c->layers && !w->error.code; i++)
        for (int v = 0; v < 2; v++) {
            const char *name = v ? "v" : "q";
            int64_t out = (v ? c->kv_heads : c->heads) * c->head_dim;
            WeightSpec A = {{rank, c->dim}, .init = INIT_LINEAR}, B = {{out, rank}, .init = INIT_ZEROS};
            Lora *lora = v ? &m->layer[i].v_lora : &m->layer[i].q_lora;
            lora->A = weights_get(w, A, LORA_NAME, i, name, "A");
            lora->B = weights_get(w, B, LORA_NAME, i, name, "B");
            lora->scale = alpha / (float)rank;
            lora->dropout = dropout;
        }
    for (int i = 0; w->file && i < w->file->n; i++) {
        const char *name = w->file->entry[i].name;
        int layer;
        if (sscanf(weights_bare(name), "base_model.model.model.layers.%4d", &layer) == 1 && layer >= c->layers)
            weights_fail(w, "tensor %s: the model has %lld layers", name, (long long)c->layers);
    }
    weights_set_meta(w, "lora.alpha", "%.9g", (double)alpha);
    weights_set_meta(w, "lora.dropout", "%.9g", (double)dropout);
    return weights_ok(w, e);
#undef LORA_NAME
}

LlamaCache llama_cache(Arena *state, const Llama *m, int64_t B, int64_t S, DType compute)
{
    const LlamaConfig *c = &m->config;
    const int64_t dim[4] = {B, S, c->kv_heads, c->head_dim};
    size_t pointers = (size_t)c->layers * sizeof(Tensor *);
    LlamaCache cache = {B,
                        S,
                        arena_push_host(state, pointers),
                        arena_push_host(state, pointers),
                        tensor_new(state, DTYPE_i32, 2, (const int64_t[]){2, B}),
                        arena_push_host(state, 2 * (size_t)B * sizeof(int32_t))};
    for (int i = 0; i < c->layers; i++) {
        cache.k[i] = tensor_zeros(state, compute, 4, dim);
        cache.v[i] = tensor_zeros(state, compute, 4, dim);
    }
    return cache;
}

void llama_place(LlamaCache *cache, const int32_t *position)
{
    for (int64_t b = 0; b < cache->B; b++) {
        cache->host[b] = position[b];
        cache->host[cache->B + b] = position[b] + 1;
    }
    tensor_upload(cache->place, cache->host);
}

/* ---- forward ---- */

static Tensor *reshape3(Tape *t, Tensor *x, int64_t a, int64_t b, int64_t c)
{
    return tensor_reshape(t->step, x, 3, (const int64_t[]){a, b, c});
}

static Tensor *heads_of(Tape *t, Tensor *x, int64_t heads, int64_t head_dim)
{
    return tensor_reshape(t->step, x, 4, (const int64_t[]){x->dim[0], x->dim[1], heads, head_dim});
}

/* What a block needs besides its inputs {x, position (B,T), length (B) or NULL, append (B) or NULL}. */
typedef struct BlockArg {
    const Llama *m;
    int index;
    Tensor *k_cache, *v_cache; /* written at `append`; NULL: none */
    bool step;                 /* keys and values are the cache's */
} BlockArg;

static Tensor *attention(Tape *t, Tensor *const *in, const BlockArg *a)
{
    const LlamaConfig *c = &a->m->config;
    const LlamaLayer *l = &a->m->layer[a->index];
    Tensor *x = in[0], *position = in[1], *length = in[2], *append = in[3];
    Tensor *n = op_rmsnorm(t, x, l->input_norm, c->norm_eps);                 /* (B,T,D) */
    Tensor *q = op_linear(t, n, l->q, NULL, l->q_lora.A ? &l->q_lora : NULL); /* (B,T,H*d) */
    Tensor *k = op_linear(t, n, l->k, NULL, NULL);                            /* (B,T,G*d) */
    Tensor *v = op_linear(t, n, l->v, NULL, l->v_lora.A ? &l->v_lora : NULL); /* (B,T,G*d) */
    q = op_rope(t, heads_of(t, q, c->heads, c->head_dim), position, c->rope_theta);
    k = op_rope(t, heads_of(t, k, c->kv_heads, c->head_dim), position, c->rope_theta);
    v = heads_of(t, v, c->kv_heads, c->head_dim);
    if (a->k_cache) {
        Tensor *k_all = op_kv_append(t, a->k_cache, k, append);
        Tensor *v_all = op_kv_append(t, a->v_cache, v, append);
        if (a->step) k = k_all, v = v_all;
    }
    float scale = 1 / sqrtf((float)c->head_dim);
    Tensor *y = op_attention(t, q, k, v, length, scale, !a->step); /* (B,T,H,d) */
    y = reshape3(t, y, x->dim[0], x->dim[1], c->heads * c->head_dim);
    y = op_linear(t, y, l->o, NULL, NULL);
    tape_tap(t, y, "layers.%d.attn", a->index);
    return op_add(t, x, y);
}

/* in: h. */
static Tensor *feed_forward(Tape *t, Tensor *const *in, const void *arg)
{
    const BlockArg *a = arg;
    const LlamaLayer *l = &a->m->layer[a->index];
    Tensor *n = op_rmsnorm(t, in[0], l->post_norm, a->m->config.norm_eps); /* (B,T,D) */
    Tensor *gate = op_linear(t, n, l->gate, NULL, NULL);                   /* (B,T,F) */
    Tensor *up = op_linear(t, n, l->up, NULL, NULL);                       /* (B,T,F) */
    return op_linear(t, op_swiglu(t, gate, up), l->down, NULL, NULL);
}

static Tensor *block(Tape *t, Tensor *const *in, const void *arg)
{
    const BlockArg *a = arg;
    Tensor *h = attention(t, in, a); /* (B,T,D) */
    Tensor *y = t->recording && a->m->recompute == RECOMPUTE_MEDIUM
                    ? tape_checkpoint(t, feed_forward, 1, &h, a, sizeof *a)
                    : feed_forward(t, &h, a);
    return op_add(t, h, y);
}

static Tensor *blocks(Tape *t, const Llama *m, Tensor *const in[4], LlamaCache *cache, bool step)
{
    ArenaMark mark = arena_mark(t->step);
    Tensor *now[4] = {in[0], in[1], in[2], in[3]};
    for (int i = 0; i < m->config.layers; i++) {
        BlockArg arg = {m, i, cache ? cache->k[i] : NULL, cache ? cache->v[i] : NULL, step};
        Tensor *y = t->recording && m->recompute == RECOMPUTE_FULL
                        ? tape_checkpoint(t, block, 4, now, &arg, sizeof arg)
                        : block(t, now, &arg);
        now[0] = tape_keep(t, mark, y);
        tape_tap(t, now[0], "layers.%d", i);
    }
    Tensor *y = tape_keep(t, mark, op_rmsnorm(t, now[0], m->norm, m->config.norm_eps));
    tape_tap(t, y, "norm");
    return y;
}

/* position[b,i] = i. */
static Tensor *positions(Tape *t, int64_t B, int64_t T)
{
    Tensor *x = tape_tensor(t, DTYPE_i32, 2, (const int64_t[]){B, T});
    int32_t *host = arena_push_host(t->step, (size_t)(B * T) * sizeof *host);
    for (int64_t i = 0; i < B * T; i++) host[i] = (int32_t)(i % T);
    tensor_upload(x, host);
    return x;
}

Tensor *llama_embed(Tape *t, const Llama *m, Tensor *id) { return op_embed(t, m->embed, id); }

Tensor *llama_forward(Tape *t, const Llama *m, Tensor *x, Tensor *length, LlamaCache *cache,
                      const int32_t *lengths)
{
    if (x->ndim != 3 || x->dim[2] != m->config.dim)
        die("llama_forward: expected (B,T,%lld), got %s", (long long)m->config.dim, tensor_text(x));
    int64_t B = x->dim[0], T = x->dim[1];
    Tensor *append = NULL;
    if (cache) {
        if (t->recording) die("llama_forward: a cache is for inference");
        if (cache->B != B || cache->S < T)
            die("llama_forward: cache of %lld rows of %lld tokens for %s", (long long)cache->B,
                (long long)cache->S, tensor_text(x));
        append = tape_tensor(t, DTYPE_i32, 1, &B);
        append->backend->zero(append->data, tensor_bytes(append));
        int32_t *last = arena_push_host(t->step, (size_t)B * sizeof *last);
        for (int64_t b = 0; b < B; b++) last[b] = (lengths ? lengths[b] : (int32_t)T) - 1;
        llama_place(cache, last);
    }
    Tensor *const in[4] = {x, positions(t, B, T), length, append};
    return blocks(t, m, in, cache, false);
}

Tensor *llama_step(Tape *t, const Llama *m, Tensor *x, LlamaCache *cache)
{
    int64_t B = cache->B;
    if (t->recording) die("llama_step: decoding is not recorded");
    if (x->ndim != 3 || x->dim[0] != B || x->dim[1] != 1)
        die("llama_step: expected (%lld,1,%lld), got %s", (long long)B, (long long)m->config.dim,
            tensor_text(x));
    Tensor *append = tensor_reshape(t->step, tensor_slice(t->step, cache->place, 0, 1), 1, &B);
    Tensor *length = tensor_reshape(t->step, tensor_slice(t->step, cache->place, 1, 1), 1, &B);
    Tensor *position = tensor_reshape(t->step, append, 2, (const int64_t[]){B, 1});
    Tensor *const in[4] = {x, position, length, append};
    return blocks(t, m, in, cache, true);
}

Tensor *llama_logits(Tape *t, const Llama *m, Tensor *h)
{
    return op_linear(t, op_cast(t, h, DTYPE_f32), m->head, NULL, NULL);
}
