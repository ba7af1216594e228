#include "tools/llama_config.h"
#include "data/json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The object to begin with: that beside `from`, or an empty one. NULL on error. */
static json_t *begin(const char *from, Error *e)
{
    char path[4096];
    struct stat st;
    const char *slash = strrchr(from, '/');
    if (stat(from, &st) == 0 && S_ISDIR(st.st_mode))
        snprintf(path, sizeof path, "%s/config.json", from);
    else
        snprintf(path, sizeof path, "%.*sconfig.json", slash ? (int)(slash - from) + 1 : 0, from);
    if (access(path, F_OK)) return json_object();
    json_t *config = json_read(path, e);
    if (!config) return NULL;
    const char *type = json_string_value(json_object_get(config, "model_type"));
    if (type && !strcmp(type, "llama")) return config;
    json_decref(config);
    return json_object();
}

/* The shortest decimal of the float. */
static double decimal(float x)
{
    char text[32];
    snprintf(text, sizeof text, "%.7g", (double)x);
    return strtod(text, NULL);
}

static bool put(json_t *config, const char *key, json_t *value)
{
    return json_object_set_new(config, key, value) == 0; /* takes value, and fails for NULL */
}

static bool put_missing(json_t *config, const char *key, json_t *value)
{
    if (!json_object_get(config, key)) return put(config, key, value);
    json_decref(value);
    return true;
}

static bool put_sizes(json_t *config, const LlamaConfig *c)
{
    const struct {
        const char *key;
        int64_t value;
    } size[] = {{"vocab_size", c->vocab},          {"hidden_size", c->dim},
                {"intermediate_size", c->ffn},     {"num_hidden_layers", c->layers},
                {"num_attention_heads", c->heads}, {"num_key_value_heads", c->kv_heads},
                {"head_dim", c->head_dim}};
    bool ok = put(config, "model_type", json_string("llama")) &&
              put(config, "architectures", json_pack("[s]", "LlamaForCausalLM")) &&
              put(config, "hidden_act", json_string("silu")) &&
              put(config, "rms_norm_eps", json_real(decimal(c->norm_eps))) &&
              put(config, "tie_word_embeddings", json_boolean(c->tied)) &&
              put_missing(config, "max_position_embeddings", json_integer(8192));
    json_t *rope = json_object_get(config, "rope_parameters"); /* since transformers 5 */
    ok = ok && put(json_is_object(rope) ? rope : config, "rope_theta", json_real(decimal(c->rope_theta)));
    for (size_t i = 0; ok && i < sizeof size / sizeof *size; i++)
        ok = put(config, size[i].key, json_integer((json_int_t)size[i].value));
    return ok;
}

/* Products are taken in the type that embeddings and head are kept in. */
static bool put_quant(json_t *config, DType table, DType quant, bool nested)
{
    const char *compute = table == DTYPE_bf16 ? "bfloat16" : "float32";
    json_object_del(config, "quantization_config");
    json_object_del(config, "dtype");
    if (!put(config, "torch_dtype", json_string(compute))) return false;
    if (!dtype_is_planar(quant)) return true;
    json_t *q =
        json_pack("{s:s, s:b, s:b, s:s, s:b, s:s, s:s}", "quant_method", "bitsandbytes", "load_in_4bit", 1,
                  "load_in_8bit", 0, "bnb_4bit_quant_type", dtype_name(quant), "bnb_4bit_use_double_quant",
                  nested, "bnb_4bit_compute_dtype", compute, "bnb_4bit_quant_storage", "uint8");
    return put(config, "quantization_config", q);
}

bool llama_config_save(const char *folder, const char *from, const Llama *m, DType quant, bool nested, Error *e)
{
    char path[4096];
    json_t *config = begin(from, e);
    if (!config)
        return e->code ? false : error_set(e, ERROR_MEMORY, "%s: out of memory for config.json", folder);
    snprintf(path, sizeof path, "%s/config.json", folder);
    bool ok = put_sizes(config, &m->config) && put_quant(config, m->embed->dtype, quant, nested);
    ok = ok ? json_write(path, config, e) : error_set(e, ERROR_MEMORY, "%s: out of memory", path);
    json_decref(config);
    return ok;
}
