#include "models/llama_names.h"
#include "data/json.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME = 128, MOST_LAYERS = 1000, MOST = 1 << 30, MOST_HEADS = 1 << 16 };

static bool set_size(TensorFile *f, const char *key, int64_t x, Error *e)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)x);
    return tensor_file_set_meta(f, key, text, e);
}

static bool set_number(TensorFile *f, const char *key, double x, Error *e)
{
    char text[32];
    snprintf(text, sizeof text, "%.9g", x);
    return tensor_file_set_meta(f, key, text, e);
}

/* Whether a size that is said is that of dim `at` of a tensor, where both are there. */
static bool check_size(const TensorFile *f, const char *what, int64_t said, const char *name, int at, Error *e)
{
    const TensorEntry *t = tensor_file_find(f, name);
    if (!said || !t || t->ndim <= at || t->dim[at] == said) return true;
    return error_set(e, ERROR_INPUT, "%s: %s is said to be %lld, tensor %s has %lld", f->path, what,
                     (long long)said, name, (long long)t->dim[at]);
}

static bool check_layers(const TensorFile *f, int64_t said, Error *e)
{
    char name[NAME];
    int64_t n = 0;
    for (; n <= MOST_LAYERS; n++) {
        snprintf(name, sizeof name, "model.layers.%lld.input_layernorm.weight", (long long)n);
        if (!tensor_file_find(f, name)) break;
    }
    return !said || n == said ||
           error_set(e, ERROR_INPUT, "%s: %lld layers are said to be there, its tensors have %lld", f->path,
                     (long long)said, (long long)n);
}

/* That of 4-bit weights is not in their shape, which is (bytes, 1) or (bytes). */
static bool check_ffn(const TensorFile *f, int64_t said, Error *e)
{
    static const char name[] = "model.layers.0.mlp.gate_proj.weight";
    const TensorEntry *t = tensor_file_find(f, name);
    return (t && (t->ndim != 2 || t->dim[1] == 1)) || check_size(f, "the feed-forward", said, name, 0, e);
}

bool llama_say(TensorFile *f, const LlamaSaid *s, Error *e)
{
    bool head = tensor_file_find(f, "lm_head.weight");
    if (!s->tied && !head)
        return error_set(e, ERROR_INPUT,
                         "%s: tensor lm_head.weight is missing, and the head is not tied to the "
                         "embedding",
                         f->path);
    return check_size(f, "the vocabulary", s->vocab, "model.embed_tokens.weight", 0, e) &&
           check_size(f, "the width", s->dim, "model.embed_tokens.weight", 1, e) &&
           check_size(f, "the width", s->dim, "model.norm.weight", 0, e) && check_layers(f, s->layers, e) &&
           check_ffn(f, s->ffn, e) && set_size(f, "llama.heads", s->heads, e) &&
           set_size(f, "llama.kv_heads", s->kv_heads, e) &&
           (!s->head_dim || set_size(f, "llama.head_dim", s->head_dim, e)) &&
           set_number(f, "llama.norm_eps", s->norm_eps, e) &&
           set_number(f, "llama.rope_theta", s->rope_theta, e) &&
           tensor_file_set_meta(f, "llama.tied", s->tied ? "true" : "false", e);
}

bool llama_beside(const TensorFile *f, const char *name, char *path, size_t room)
{
    const char *slash = strrchr(f->path, '/');
    int n = snprintf(path, room, "%.*s%s", slash ? (int)(slash - f->path) + 1 : 0, f->path, name);
    return n > 0 && (size_t)n < room && access(path, F_OK) == 0;
}

/* ---- GGUF ---- */

static bool key_number(const TensorFile *f, const char *key, double low, double high, double fallback,
                       double *out, Error *e)
{
    const char *text = tensor_file_meta(f, key);
    char *end;
    *out = fallback;
    if (!text && !isnan(fallback)) return true;
    if (!text) return error_set(e, ERROR_INPUT, "%s: key %s is missing (expected one number)", f->path, key);
    *out = strtod(text, &end);
    return (end != text && !*end && *out >= low && *out <= high) ||
           error_set(e, ERROR_INPUT, "%s: key %s: expected a number from %g to %g, found \"%.40s\"", f->path,
                     key, low, high, text);
}

/* fallback 0: nothing said; below 0: it must be there. */
static bool key_size(const TensorFile *f, const char *key, int64_t fallback, int64_t *out, Error *e)
{
    double x;
    if (!key_number(f, key, 1, MOST, fallback < 0 ? (double)NAN : (double)fallback, &x, e)) return false;
    *out = (int64_t)x;
    return (double)*out == x ||
           error_set(e, ERROR_INPUT, "%s: key %s: expected a whole number, found %g", f->path, key, x);
}

/* Keys that would change the arithmetic. */
static bool check_graph(const TensorFile *f, Error *e)
{
    const char *arch = tensor_file_meta(f, "general.architecture");
    const char *scaling = tensor_file_meta(f, "llama.rope.scaling.type");
    double parts, experts, factor, linear;
    if (!arch || strcmp(arch, "llama"))
        return error_set(e, ERROR_INPUT, "%s: key general.architecture: expected llama, found %.60s", f->path,
                         arch ? arch : "none");
    if (!key_number(f, "split.count", 0, 65535, 1, &parts, e) ||
        !key_number(f, "llama.expert_count", 0, 65535, 0, &experts, e) ||
        !key_number(f, "llama.rope.scaling.factor", 0, 1e6, 1, &factor, e) ||
        !key_number(f, "llama.rope.scale_linear", 0, 1e6, 1, &linear, e))
        return false;
    if (parts > 1)
        return error_set(e, ERROR_INPUT, "%s: one of %g files of a model; expected them merged into one",
                         f->path, parts);
    if (experts > 0)
        return error_set(e, ERROR_INPUT, "%s: a mixture of %g experts; expected a plain feed-forward", f->path,
                         experts);
    if (scaling ? strcmp(scaling, "none") != 0 : factor != 1 || linear != 1)
        return error_set(e, ERROR_INPUT, "%s: positions are scaled (%.40s), which is not computed here",
                         f->path, scaling ? scaling : "linear");
    return true;
}

static bool said_by_keys(const TensorFile *f, LlamaSaid *s, Error *e)
{
    int64_t value_dim, rope_dim;
    if (!key_size(f, "llama.vocab_size", 0, &s->vocab, e) ||
        !key_size(f, "llama.embedding_length", -1, &s->dim, e) ||
        !key_size(f, "llama.block_count", -1, &s->layers, e) ||
        !key_size(f, "llama.feed_forward_length", -1, &s->ffn, e) ||
        !key_size(f, "llama.attention.head_count", -1, &s->heads, e) ||
        !key_size(f, "llama.attention.head_count_kv", s->heads, &s->kv_heads, e) ||
        !key_size(f, "llama.attention.key_length", s->dim / s->heads, &s->head_dim, e) ||
        !key_size(f, "llama.attention.value_length", s->head_dim, &value_dim, e) ||
        !key_size(f, "llama.rope.dimension_count", s->head_dim, &rope_dim, e) ||
        !key_number(f, "llama.attention.layer_norm_rms_epsilon", 0, 1, (double)NAN, &s->norm_eps, e) ||
        !key_number(f, "llama.rope.freq_base", 1, 1e12, 10000, &s->rope_theta, e))
        return false;
    if (value_dim != s->head_dim || rope_dim != s->head_dim)
        return error_set(e, ERROR_INPUT,
                         "%s: heads of %lld keys, %lld values and %lld turned by position; expected one size",
                         f->path, (long long)s->head_dim, (long long)value_dim, (long long)rope_dim);
    return true;
}

/* LLaMA 3.1 and later keep what divides each frequency as a tensor; one of ones changes nothing and goes. */
static bool drop_rope_freqs(TensorFile *f, Error *e)
{
    const TensorEntry *t = tensor_file_find(f, "rope_freqs.weight");
    float x[1024];
    if (!t) return true;
    int64_t n = t->ndim == 1 ? t->dim[0] : 0;
    bool ones = n > 0 && n <= 1024;
    if (ones && !tensor_file_read_f32(f, t, x, e)) return false;
    for (int64_t i = 0; ones && i < n; i++) ones = x[i] == 1;
    if (!ones)
        return error_set(e, ERROR_INPUT,
                         "%s: tensor rope_freqs.weight: positions are scaled as in LLaMA 3.1, which is not "
                         "computed here",
                         f->path);
    free(t->name);
    size_t at = (size_t)(t - f->entry), rest = (size_t)f->n-- - at - 1;
    memmove(f->entry + at, f->entry + at + 1, rest * sizeof *f->entry);
    return true;
}

/* Hugging Face's name into `to`; false where there is none. */
static bool gguf_name(const char *name, char to[NAME])
{
    static const char *const single[][2] = {{"token_embd.weight", "model.embed_tokens.weight"},
                                            {"output_norm.weight", "model.norm.weight"},
                                            {"output.weight", "lm_head.weight"}};
    static const char *const layer[][2] = {
        {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
        {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
        {"attn_output", "self_attn.o_proj"}, {"ffn_norm", "post_attention_layernorm"},
        {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
        {"ffn_down", "mlp.down_proj"}};
    char what[NAME];
    unsigned i;
    int used = 0;
    for (size_t k = 0; k < sizeof single / sizeof *single; k++)
        if (!strcmp(name, single[k][0])) {
            strcpy(to, single[k][1]);
            return true;
        }
    if (strlen(name) >= NAME || sscanf(name, "blk.%4u.%n", &i, &used) != 1 || !used) return false;
    for (size_t k = 0; k < sizeof layer / sizeof *layer; k++) {
        snprintf(what, sizeof what, "blk.%u.%s.weight", i, layer[k][0]);
        if (!strcmp(name, what)) {
            snprintf(to, NAME, "model.layers.%u.%s.weight", i, layer[k][1]);
            return true;
        }
    }
    return false;
}

static bool rename_entry(TensorFile *f, TensorEntry *t, const LlamaSaid *s, Error *e)
{
    char name[NAME];
    if (!gguf_name(t->name, name))
        return error_set(e, ERROR_INPUT, "%s: tensor %.80s is not one of a LLaMA (no biases are computed here)",
                         f->path, t->name);
    int64_t heads = strstr(name, "q_proj") ? s->heads : strstr(name, "k_proj") ? s->kv_heads : 0;
    if (heads && (t->ndim != 2 || t->dim[0] < 1 || t->dim[0] % (2 * heads)))
        return error_set(e, ERROR_INPUT, "%s: tensor %s: its rows do not divide into %lld heads of pairs",
                         f->path, t->name, (long long)heads);
    char *copy = tensor_file_copy(name);
    if (!copy) return error_set(e, ERROR_MEMORY, "%s: out of memory for names", f->path);
    free(t->name);
    t->name = copy;
    t->heads = heads;
    return true;
}

static bool adopt_gguf(TensorFile *f, Error *e)
{
    LlamaSaid s = {0};
    if (!check_graph(f, e) || !said_by_keys(f, &s, e) || !drop_rope_freqs(f, e)) return false;
    for (int i = 0; i < f->n; i++)
        if (!rename_entry(f, &f->entry[i], &s, e)) return false;
    if (!tensor_file_sort(f, e)) return false;
    s.tied = !tensor_file_find(f, "lm_head.weight");
    return llama_say(f, &s, e);
}

/* ---- config.json ---- */

static bool null_or_missing(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return !v || json_is_null(v);
}

/* fallback 0: it must be there. */
static bool config_size(const json_t *o, const char *key, const char *path, int most, int64_t fallback,
                        int64_t *out, Error *e)
{
    *out = fallback;
    if (fallback && null_or_missing(o, key)) return true;
    if (!json_get_int(o, key, path, out, e)) return false;
    return (*out >= 1 && *out <= most) ||
           error_set(e, ERROR_INPUT, "%s: %s: expected a whole number from 1 to %d, found %lld", path, key,
                     most, (long long)*out);
}

static bool config_number(const json_t *o, const char *key, const char *path, double low, double high,
                          double fallback, double *out, Error *e)
{
    *out = fallback;
    if (null_or_missing(o, key)) return true;
    if (!json_get_number(o, key, path, out, e)) return false;
    return (*out >= low && *out <= high) ||
           error_set(e, ERROR_INPUT, "%s: %s: expected a number from %g to %g, found %g", path, key, low, high,
                     *out);
}

static bool config_flag(const json_t *o, const char *key, const char *path, bool *out, Error *e)
{
    *out = false;
    return null_or_missing(o, key) || json_get_bool(o, key, path, out, e);
}

/* A text that must be `want` where it is there. */
static bool config_text(const json_t *o, const char *key, const char *path, const char *want, Error *e)
{
    const char *text;
    if (null_or_missing(o, key)) return true;
    if (!json_get_string(o, key, path, &text, e)) return false;
    return !strcmp(text, want) ||
           error_set(e, ERROR_INPUT, "%s: %s: expected %s, found \"%.60s\"", path, key, want, text);
}

/* "rope_type", or "type" before transformers 4.43; of both, either may be the one that counts. */
static bool rope_plain(const json_t *rope, const char *key, const char *path, Error *e)
{
    static const char *const names[] = {"type", "rope_type"};
    const char *type = NULL;
    for (size_t i = 0; i < 2; i++) {
        if (null_or_missing(rope, names[i])) continue;
        if (!json_get_string(rope, names[i], path, &type, e)) return false;
        if (strcmp(type, "default"))
            return error_set(e, ERROR_INPUT, "%s: %s: positions are scaled (%.40s), which is not computed here",
                             path, key, type);
    }
    return type || error_set(e, ERROR_INPUT, "%s: %s: expected a rope_type, found none", path, key);
}

/* Positions as they are, or scaled: rope_theta and rope_scaling, or since transformers 5 rope_parameters. */
static bool config_rope(const json_t *o, const char *path, LlamaSaid *s, Error *e)
{
    static const char *const keys[] = {"rope_scaling", "rope_parameters"};
    double part; /* of a head that is turned */
    if (!config_number(o, "rope_theta", path, 1, 1e12, 10000, &s->rope_theta, e) ||
        !config_number(o, "partial_rotary_factor", path, 1, 1, 1, &part, e))
        return false;
    for (size_t i = 0; i < 2; i++) {
        json_t *rope;
        if (null_or_missing(o, keys[i])) continue;
        if (!json_get_object(o, keys[i], path, &rope, e) ||
            !config_number(rope, "rope_theta", path, 1, 1e12, s->rope_theta, &s->rope_theta, e) ||
            !config_number(rope, "partial_rotary_factor", path, 1, 1, 1, &part, e) ||
            !rope_plain(rope, keys[i], path, e))
            return false;
    }
    return true;
}

/* Weights that were quantised by others than bitsandbytes, or by it to 8 bits, have scales that nobody here
 * knows. */
static bool config_quant(const json_t *o, const char *path, Error *e)
{
    json_t *q;
    const char *method;
    bool four, eight;
    if (null_or_missing(o, "quantization_config")) return true;
    if (!json_get_object(o, "quantization_config", path, &q, e) ||
        !json_get_string(q, "quant_method", path, &method, e) ||
        !config_flag(q, "load_in_4bit", path, &four, e) || !config_flag(q, "load_in_8bit", path, &eight, e))
        return false;
    return (!strcmp(method, "bitsandbytes") && !eight) ||
           error_set(e, ERROR_INPUT, "%s: quantization_config: expected bitsandbytes in 4 bits, found %.40s%s",
                     path, method, eight ? " in 8" : "");
}

static bool said_by_config(const json_t *o, const char *path, LlamaSaid *s, Error *e)
{
    static const char *const biases[] = {"attention_bias", "mlp_bias"};
    const char *type;
    if (!json_get_string(o, "model_type", path, &type, e) || !config_text(o, "model_type", path, "llama", e) ||
        !config_text(o, "hidden_act", path, "silu", e) || !config_quant(o, path, e))
        return false;
    for (size_t i = 0; i < 2; i++) {
        bool bias;
        if (!config_flag(o, biases[i], path, &bias, e)) return false;
        if (bias) return error_set(e, ERROR_INPUT, "%s: %s: no biases are computed here", path, biases[i]);
    }
    if (!config_flag(o, "tie_word_embeddings", path, &s->tied, e) ||
        !config_size(o, "vocab_size", path, MOST, 0, &s->vocab, e) ||
        !config_size(o, "hidden_size", path, MOST, 0, &s->dim, e) ||
        !config_size(o, "intermediate_size", path, MOST, 0, &s->ffn, e) ||
        !config_size(o, "num_hidden_layers", path, MOST, 0, &s->layers, e) ||
        !config_size(o, "num_attention_heads", path, MOST_HEADS, 0, &s->heads, e))
        return false;
    if (null_or_missing(o, "head_dim") && s->dim % s->heads)
        return error_set(e, ERROR_INPUT, "%s: hidden_size: %lld does not divide into %lld heads", path,
                         (long long)s->dim, (long long)s->heads);
    return config_size(o, "num_key_value_heads", path, MOST_HEADS, s->heads, &s->kv_heads, e) &&
           config_size(o, "head_dim", path, MOST_HEADS, s->dim / s->heads, &s->head_dim, e) &&
           config_number(o, "rms_norm_eps", path, 0, 1, 1e-6, &s->norm_eps, e) && config_rope(o, path, s, e);
}

static bool adopt_config(TensorFile *f, const char *path, Error *e)
{
    LlamaSaid s = {0};
    json_t *o = json_read(path, e);
    bool ok = o && said_by_config(o, path, &s, e) && llama_say(f, &s, e);
    json_decref(o);
    return ok;
}

bool llama_adopt(TensorFile *f, const char *config, Error *e)
{
    char path[4096];
    if (!config && tensor_file_meta(f, "llama.heads")) return true;
    if (f->n_part && !strcmp(f->part[0].form->name, "GGUF"))
        return !config ? adopt_gguf(f, e)
                       : error_set(e, ERROR_INPUT, "%s: a GGUF file says itself what %.200s would", f->path,
                                   config);
    if (llama_is_meta(f)) return llama_adopt_meta(f, config, e);
    if (!config && llama_beside(f, "config.json", path, sizeof path)) config = path;
    return !config || adopt_config(f, config, e);
}
