/* Meta's consolidated.00.pth with params.json. */
#include "models/llama_names.h"
#include "data/json.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { PLAIN, QUERY, KEY } Rows;

static const struct {
    const char *from, *to; /* with the layer's number, where there is one, as %lld */
    Rows rows;
} meta_names[] = {
    {"tok_embeddings.weight", "model.embed_tokens.weight", PLAIN},
    {"norm.weight", "model.norm.weight", PLAIN},
    {"output.weight", "lm_head.weight", PLAIN},
    {"layers.%lld.attention.wq.weight", "model.layers.%lld.self_attn.q_proj.weight", QUERY},
    {"layers.%lld.attention.wk.weight", "model.layers.%lld.self_attn.k_proj.weight", KEY},
    {"layers.%lld.attention.wv.weight", "model.layers.%lld.self_attn.v_proj.weight", PLAIN},
    {"layers.%lld.attention.wo.weight", "model.layers.%lld.self_attn.o_proj.weight", PLAIN},
    {"layers.%lld.feed_forward.w1.weight", "model.layers.%lld.mlp.gate_proj.weight", PLAIN},
    {"layers.%lld.feed_forward.w2.weight", "model.layers.%lld.mlp.down_proj.weight", PLAIN},
    {"layers.%lld.feed_forward.w3.weight", "model.layers.%lld.mlp.up_proj.weight", PLAIN},
    {"layers.%lld.attention_norm.weight", "model.layers.%lld.input_layernorm.weight", PLAIN},
    {"layers.%lld.ffn_norm.weight", "model.layers.%lld.post_attention_layernorm.weight", PLAIN},
};

/* An entry of params.json that may be left out, in which case *out stays. */
static bool get_number(const json_t *params, const char *key, const char *path, double low, double high,
                       double *out, Error *e)
{
    if (!json_object_get(params, key)) return true;
    if (!json_get_number(params, key, path, out, e)) return false;
    return (*out >= low && *out <= high) ||
           error_set(e, ERROR_INPUT, "%s: key \"%s\": expected a number from %g to %g, found %g", path, key,
                     low, high, *out);
}

/* 2 and 2.0 are the same whole number. */
static bool get_size(const json_t *params, const char *key, const char *path, int most, int64_t *out, Error *e)
{
    double x;
    if (!json_object_get(params, key)) return true;
    if (!json_get_number(params, key, path, &x, e)) return false;
    if (!(x >= 1 && x <= most && floor(x) == x))
        return error_set(e, ERROR_INPUT, "%s: key \"%s\": expected a whole number from 1 to %d, found %.12g",
                         path, key, most, x);
    *out = (int64_t)x;
    return true;
}

/* What Meta's code makes the feed-forward's width of, which the tensors tell. */
static bool check_ffn(const json_t *params, const char *path, Error *e)
{
    int64_t multiple;
    double factor;
    return get_size(params, "multiple_of", path, INT32_MAX, &multiple, e) &&
           (json_is_null(json_object_get(params, "ffn_dim_multiplier")) ||
            get_number(params, "ffn_dim_multiplier", path, 0.001, 1000, &factor, e));
}

static bool read_said(const json_t *params, const char *path, LlamaSaid *s, Error *e)
{
    enum { MOST = 1 << 16 };
    double need;
    bool scaled = false;
    *s = (LlamaSaid){.norm_eps = 1e-5, .rope_theta = 10000};
    if (!json_get_number(params, "n_heads", path, &need, e) ||
        !get_size(params, "n_heads", path, MOST, &s->heads, e))
        return false;
    s->kv_heads = s->heads;
    json_t *vocab = json_object_get(params, "vocab_size"); /* LLaMA 2's is -1: the tokenizer's */
    if (!get_size(params, "n_kv_heads", path, MOST, &s->kv_heads, e) ||
        !get_number(params, "norm_eps", path, 0, 1, &s->norm_eps, e) ||
        !get_number(params, "rope_theta", path, 1, 1e12, &s->rope_theta, e) ||
        !get_size(params, "dim", path, INT32_MAX, &s->dim, e) ||
        !get_size(params, "n_layers", path, INT32_MAX, &s->layers, e) ||
        (!(json_is_integer(vocab) && json_integer_value(vocab) == -1) &&
         !get_size(params, "vocab_size", path, INT32_MAX, &s->vocab, e)) ||
        !check_ffn(params, path, e) ||
        (json_object_get(params, "use_scaled_rope") &&
         !json_get_bool(params, "use_scaled_rope", path, &scaled, e)))
        return false;
    return !scaled ||
           error_set(e, ERROR_INPUT,
                     "%s: \"use_scaled_rope\": rotary positions that are scaled are not computed", path);
}

static bool read_params(const TensorFile *f, const char *config, LlamaSaid *s, Error *e)
{
    char path[4096];
    if (!config && !llama_beside(f, "params.json", path, sizeof path))
        return error_set(e, ERROR_INPUT, "%s: expected params.json beside it, found none", f->path);
    if (!config) config = path;
    json_t *params = json_read(config, e);
    bool ok = params && read_said(params, config, s, e);
    json_decref(params);
    return ok;
}

/* Whether `name` is the pattern's, and of which layer. */
static bool match(const char *pattern, const char *name, long long *layer)
{
    char again[128];
    *layer = -1;
    if (!strchr(pattern, '%')) return !strcmp(pattern, name);
    if (sscanf(name, "layers.%lld.", layer) != 1 || *layer < 0) return false;
    const char *tail = strchr(pattern, '%') + 4; /* behind %lld */
    snprintf(again, sizeof again, "layers.%lld%s", *layer, tail);
    return !strcmp(again, name);
}

static bool rename_meta(const TensorFile *f, TensorEntry *t, const int64_t heads[3], Error *e)
{
    for (size_t i = 0; i < sizeof meta_names / sizeof *meta_names; i++) {
        char name[128], shape[200];
        long long layer;
        if (!match(meta_names[i].from, t->name, &layer)) continue;
        const char *percent = strchr(meta_names[i].to, '%');
        if (percent)
            snprintf(name, sizeof name, "%.*s%lld%s", (int)(percent - meta_names[i].to), meta_names[i].to,
                     layer, percent + 4);
        else
            snprintf(name, sizeof name, "%s", meta_names[i].to);
        int64_t n = heads[meta_names[i].rows];
        if (n && (t->ndim != 2 || t->dim[0] < 1 || t->dim[0] % (2 * n)))
            return error_set(e, ERROR_INPUT, "%s: tensor %s %s: its rows are not of %lld heads of even size",
                             f->path, t->name, tensor_file_shape(t->ndim, t->dim, shape, sizeof shape),
                             (long long)n);
        char *copy = tensor_file_copy(name);
        if (!copy) return error_set(e, ERROR_MEMORY, "%s: out of memory for names", f->path);
        free(t->name);
        t->name = copy;
        t->heads = n;
        return true;
    }
    return true; /* rope.freqs and the like */
}

bool llama_adopt_meta(TensorFile *f, const char *config, Error *e)
{
    char path[4096];
    LlamaSaid s = {0};
    if (llama_beside(f, "consolidated.01.pth", path, sizeof path))
        return error_set(
            e, ERROR_INPUT,
            "%s: the model lies in parts of its tensors (%s is one more): only whole ones are read", f->path,
            path);
    if (!read_params(f, config, &s, e)) return false;
    const int64_t heads[3] = {[QUERY] = s.heads, [KEY] = s.kv_heads};
    for (int i = 0; i < f->n; i++)
        if (!rename_meta(f, &f->entry[i], heads, e)) return false;
    return tensor_file_sort(f, e) && llama_say(f, &s, e);
}

bool llama_is_meta(const TensorFile *f)
{
    return tensor_file_find(f, "tok_embeddings.weight") && tensor_file_find(f, "layers.0.attention.wq.weight");
}
