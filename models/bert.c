#include "models/bert.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYERS = 1000, PUBLIC_DIM = 768, PUBLIC_HEAD = 64 };
static const float norm_eps = 1e-12f;

/* ---- opening ---- */

static float init_sd(const BertConfig *c) { return 0.02f * sqrtf((float)PUBLIC_DIM / (float)c->dim); }

static BertNorm open_norm(Weights *w, int64_t D, const char *name)
{
    return (BertNorm){weights_get(w, (WeightSpec){{D}, .init = INIT_ONES}, "%s.weight", name),
                      weights_get(w, (WeightSpec){{D}, .init = INIT_ZEROS}, "%s.bias", name)};
}

static BertLinear open_linear(Weights *w, int64_t out, int64_t in, float sd, const char *name)
{
    WeightSpec weight = {{out, in}, WEIGHT_LINEAR, INIT_NORMAL, sd};
    return (BertLinear){weights_get(w, weight, "%s.weight", name),
                        weights_get(w, (WeightSpec){{out}, .init = INIT_ZEROS}, "%s.bias", name)};
}

static void open_layer(Weights *w, const BertConfig *c, BertLayer *l, int i)
{
    int64_t D = c->dim, F = c->ffn;
    const struct {
        BertLinear *to;
        const char *name;
        int64_t out, in;
    } linear[] = {
        {&l->q, "attention.self.query", D, D},          {&l->k, "attention.self.key", D, D},
        {&l->v, "attention.self.value", D, D},          {&l->dense, "attention.output.dense", D, D},
        {&l->intermediate, "intermediate.dense", F, D}, {&l->output, "output.dense", D, F},
    };
    char name[96];
    for (size_t j = 0; j < sizeof linear / sizeof *linear; j++) {
        snprintf(name, sizeof name, "encoder.layer.%d.%s", i, linear[j].name);
        *linear[j].to = open_linear(w, linear[j].out, linear[j].in, init_sd(c), name);
    }
    snprintf(name, sizeof name, "encoder.layer.%d.attention.output.LayerNorm", i);
    l->attention_norm = open_norm(w, D, name);
    snprintf(name, sizeof name, "encoder.layer.%d.output.LayerNorm", i);
    l->output_norm = open_norm(w, D, name);
}

static void check_config(Weights *w, const BertConfig *c)
{
    if (w->error.code) return;
    if (c->vocab < 1 || c->dim < 1 || c->layers < 1 || c->layers > MAX_LAYERS || c->heads < 1 ||
        c->dim % c->heads || c->ffn < 1 || c->positions < 1 || c->types < 1)
        weights_fail(w,
                     "BERT of vocabulary %lld, width %lld, %lld layers, %lld heads, feed-forward %lld, %lld "
                     "positions, %lld types: sizes must be positive, the width a multiple of the heads",
                     (long long)c->vocab, (long long)c->dim, (long long)c->layers, (long long)c->heads,
                     (long long)c->ffn, (long long)c->positions, (long long)c->types);
}

bool bert_create(Bert *m, Weights *w, BertConfig c, Error *e)
{
    *m = (Bert){.config = c};
    check_config(w, &c);
    if (!weights_ok(w, e)) return false;
    WeightSpec table = {{c.vocab, c.dim}, WEIGHT_TABLE, INIT_NORMAL, init_sd(&c)}, position = table;
    position.kind = WEIGHT_PLAIN;
    m->layer = arena_push_host(w->trainable ? w->state : w->weights, (size_t)c.layers * sizeof *m->layer);
    m->word = weights_get(w, table, "embeddings.word_embeddings.weight");
    position.dim[0] = c.positions;
    m->position = weights_get(w, position, "embeddings.position_embeddings.weight");
    position.dim[0] = c.types;
    m->type = weights_get(w, position, "embeddings.token_type_embeddings.weight");
    m->norm = open_norm(w, c.dim, "embeddings.LayerNorm");
    for (int i = 0; i < c.layers; i++) open_layer(w, &c, &m->layer[i], i);
    weights_set_meta(w, "bert.heads", "%lld", (long long)c.heads);
    return weights_ok(w, e);
}

bool bert_open(Bert *m, Weights *w, Error *e)
{
    BertConfig c = {0};
    int64_t word[2] = {0}, position[2] = {0}, type[2] = {0}, ffn[2] = {0};
    weights_shape(w, 2, word, "embeddings.word_embeddings.weight");
    weights_shape(w, 2, position, "embeddings.position_embeddings.weight");
    weights_shape(w, 2, type, "embeddings.token_type_embeddings.weight");
    weights_shape(w, 2, ffn, "encoder.layer.0.intermediate.dense.weight");
    while (c.layers <= MAX_LAYERS &&
           weights_entry(w, "encoder.layer.%d.intermediate.dense.weight", (int)c.layers))
        c.layers++;
    c.vocab = word[0];
    c.dim = word[1];
    c.positions = position[0];
    c.types = type[0];
    c.ffn = ffn[0];
    c.heads = weights_meta_int(w, "bert.heads", (c.dim + PUBLIC_HEAD - 1) / PUBLIC_HEAD, 1, 1 << 16);
    return bert_create(m, w, c, e);
}

/* All of m's tensors in one order: n of them, or as many as there are if list is NULL. */
static size_t list_tensors(const Bert *m, Tensor **list)
{
    Tensor *head[] = {m->word, m->position, m->type, m->norm.weight, m->norm.bias};
    size_t n = sizeof head / sizeof *head;
    if (list) memcpy(list, head, sizeof head);
    for (int64_t i = 0; i < m->config.layers; i++) {
        const BertLayer *l = &m->layer[i];
        const BertLinear linear[] = {l->q, l->k, l->v, l->dense, l->intermediate, l->output};
        const BertNorm norm[] = {l->attention_norm, l->output_norm};
        for (size_t j = 0; j < sizeof linear / sizeof *linear; j++, n += 2)
            if (list) list[n] = linear[j].weight, list[n + 1] = linear[j].bias;
        for (size_t j = 0; j < sizeof norm / sizeof *norm; j++, n += 2)
            if (list) list[n] = norm[j].weight, list[n + 1] = norm[j].bias;
    }
    return n;
}

bool bert_copy(Bert *to, const Bert *from, Error *e)
{
    const BertConfig *a = &from->config, *b = &to->config;
    if (memcmp(a, b, sizeof *a))
        return error_set(e, ERROR_INPUT,
                         "BERT: expected vocabulary %lld, width %lld, %lld layers, %lld heads, feed-forward "
                         "%lld, %lld positions, found %lld, %lld, %lld, %lld, %lld, %lld",
                         (long long)b->vocab, (long long)b->dim, (long long)b->layers, (long long)b->heads,
                         (long long)b->ffn, (long long)b->positions, (long long)a->vocab, (long long)a->dim,
                         (long long)a->layers, (long long)a->heads, (long long)a->ffn, (long long)a->positions);
    size_t n = list_tensors(from, NULL);
    Tensor **list = malloc(2 * n * sizeof *list);
    if (!list) return error_set(e, ERROR_MEMORY, "out of host memory for a list of %zu weights", 2 * n);
    list_tensors(from, list);
    list_tensors(to, list + n);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        if (list[i]->dtype != list[n + i]->dtype)
            die("bert_copy: %s into %s", tensor_text(list[i]), tensor_text(list[n + i]));
        void *host = malloc(tensor_bytes(list[i]));
        ok = host || error_set(e, ERROR_MEMORY, "out of host memory for %s", tensor_text(list[i]));
        if (ok) {
            tensor_download(list[i], host);
            tensor_upload(list[n + i], host);
        }
        free(host);
    }
    free(list);
    return ok;
}

/* ---- forward ---- */

static Tensor *linear(Tape *t, const BertLinear *l, Tensor *x)
{
    return op_linear(t, x, l->weight, l->bias, NULL);
}

static Tensor *norm(Tape *t, const BertNorm *n, Tensor *x)
{
    return op_layernorm(t, x, n->weight, n->bias, norm_eps);
}

Tensor *bert_embed(Tape *t, const Bert *m, Tensor *ids)
{
    const BertConfig *c = &m->config;
    if (ids->ndim != 2 || ids->dim[1] > c->positions)
        die("bert: expected ids (B,T) of at most %lld positions, got %s", (long long)c->positions,
            tensor_text(ids));
    ArenaMark mark = arena_mark(t->step);
    Tensor *position = tensor_slice(t->step, m->position, 0, ids->dim[1]); /* (T,D) */
    Tensor *type = tensor_reshape(t->step, tensor_slice(t->step, m->type, 0, 1), 1, &c->dim);
    Tensor *x = op_add_bias(t, op_embed(t, m->word, ids), position); /* (B,T,D) */
    x = tape_keep(t, mark, norm(t, &m->norm, op_add_bias(t, x, type)));
    tape_tap(t, x, "embeddings");
    return x;
}

Tensor *bert_layer(Tape *t, const Bert *m, int64_t i, Tensor *x, Tensor *length)
{
    const BertLayer *l = &m->layer[i];
    int64_t B = x->dim[0], T = x->dim[1], D = m->config.dim, H = m->config.heads;
    const int64_t heads[4] = {B, T, H, D / H}, flat[3] = {B, T, D};
    ArenaMark mark = arena_mark(t->step);
    Tensor *q = tensor_reshape(t->step, linear(t, &l->q, x), 4, heads);
    Tensor *k = tensor_reshape(t->step, linear(t, &l->k, x), 4, heads);
    Tensor *v = tensor_reshape(t->step, linear(t, &l->v, x), 4, heads);
    Tensor *y = op_attention(t, q, k, v, length, 1 / sqrtf((float)(D / H)), false); /* (B,T,H,d) */
    y = linear(t, &l->dense, tensor_reshape(t->step, y, 3, flat));
    Tensor *h = norm(t, &l->attention_norm, op_add(t, x, y));              /* (B,T,D) */
    y = linear(t, &l->output, op_gelu(t, linear(t, &l->intermediate, h))); /* (B,T,D) */
    y = tape_keep(t, mark, norm(t, &l->output_norm, op_add(t, h, y)));
    tape_tap(t, y, "layer.%d", (int)i);
    return y;
}

Tensor *bert_forward(Tape *t, const Bert *m, Tensor *ids, Tensor *length)
{
    ArenaMark mark = arena_mark(t->step);
    Tensor *x = bert_embed(t, m, ids);
    for (int64_t i = 0; i < m->config.layers; i++) x = tape_keep(t, mark, bert_layer(t, m, i, x, length));
    return x;
}

/* The lengths as a tensor, and the weights (B,1,T) by which a row's mean is a product: 1/length on its tokens.
 */
static Tensor *row_means(Tape *t, const int32_t *lengths, int64_t B, int64_t T, Tensor **length)
{
    Tensor *x = tape_tensor(t, DTYPE_f32, 3, (const int64_t[]){B, 1, T});
    float *host = arena_push_host(t->step, (size_t)(B * T) * sizeof *host);
    for (int64_t b = 0; b < B; b++) {
        if (lengths[b] < 1 || lengths[b] > T)
            die("bert: length %d of row %lld, %lld tokens", lengths[b], (long long)b, (long long)T);
        for (int64_t i = 0; i < T; i++) host[b * T + i] = i < lengths[b] ? 1.0f / (float)lengths[b] : 0.0f;
    }
    tensor_upload(x, host);
    *length = tape_tensor(t, DTYPE_i32, 1, &B);
    tensor_upload(*length, lengths);
    return x;
}

/* x (B,T,D) -> (B,D), f32. */
static Tensor *mean(Tape *t, Tensor *x, Tensor *weight)
{
    int64_t B = x->dim[0], T = x->dim[1], D = x->dim[2];
    const int64_t flat[2] = {B, D};
    Tensor *y = weight
                    ? op_matmul(t, weight, op_cast(t, x, DTYPE_f32), NULL, NULL, false, false)
                    : op_adaptive_pool(t, tensor_reshape(t->step, x, 4, (const int64_t[]){B, T, 1, D}), 1, 1);
    return tensor_reshape(t->step, op_cast(t, y, DTYPE_f32), 2, flat);
}

Tensor *bert_pool(Tape *t, const Bert *m, Tensor *ids, const int32_t *lengths)
{
    int64_t layers = m->config.layers;
    if (layers < 2) die("bert: hidden state 2 of %lld layers", (long long)layers);
    ArenaMark start = arena_mark(t->step);
    Tensor *length = NULL, *sum = NULL;
    Tensor *weight = lengths ? row_means(t, lengths, ids->dim[0], ids->dim[1], &length) : NULL;
    ArenaMark mark = arena_mark(t->step);
    Tensor *x = bert_embed(t, m, ids);
    for (int64_t i = 0; i < layers; i++) {
        x = tape_keep(t, mark, bert_layer(t, m, i, x, length));
        for (int once = (i < 2) + (i == layers - 1); once > 0; once--) { /* both, where there are two layers */
            Tensor *y = mean(t, x, weight);
            sum = sum ? op_add(t, sum, y) : y;
        }
        if (i < 2) mark = arena_mark(t->step); /* the sum stays */
    }
    Tensor *y = tape_keep(t, start, op_scale(t, sum, 1.0f / 3));
    tape_tap(t, y, "pooled");
    return y;
}

/* ---- the masked-language-model head ---- */

bool bert_head_create(BertHead *head, const Bert *m, Weights *w, Error *e)
{
    const BertConfig *c = &m->config;
    const char *prefix = w->prefix;
    w->prefix = NULL;
    head->dense = open_linear(w, c->dim, c->dim, init_sd(c), "cls.predictions.transform.dense");
    head->norm = open_norm(w, c->dim, "cls.predictions.transform.LayerNorm");
    head->bias = weights_get(w, (WeightSpec){{c->vocab}, .init = INIT_ZEROS}, "cls.predictions.bias");
    w->prefix = prefix;
    return weights_ok(w, e);
}

static Tensor *transform(Tape *t, const BertHead *head, Tensor *h)
{
    return op_cast(t, norm(t, &head->norm, op_gelu(t, linear(t, &head->dense, h))), DTYPE_f32);
}

Tensor *bert_head_logits(Tape *t, const Bert *m, const BertHead *head, Tensor *h)
{
    return op_linear(t, transform(t, head, h), m->word, head->bias, NULL);
}

/* The bias is one more column of the table, against a column of ones. */
Tensor *bert_head_loss(Tape *t, const Bert *m, const BertHead *head, Tensor *h, Tensor *label)
{
    Tensor *ones = tape_tensor(t, DTYPE_f32, 2, (const int64_t[]){h->dim[0], 1});
    tensor_fill(ones, 1);
    Tensor *bias = tensor_reshape(t->step, head->bias, 2, (const int64_t[]){m->config.vocab, 1});
    h = op_concat(t, transform(t, head, h), ones, 1); /* (R,D+1) */
    return op_cross_entropy(t, h, op_concat(t, m->word, bias, 1), label, true);
}
