#include "tools/adapter.h"
#include "data/json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static void path_of(char *path, size_t room, const char *folder, const char *name)
{
    snprintf(path, room, "%s/%s", folder, name);
}

bool adapter_save_config(const char *folder, int rank, double alpha, double dropout, Error *e)
{
    char path[4096];
    path_of(path, sizeof path, folder, "adapter_config.json");
    json_t *config = json_pack(
        "{s:s, s:s, s:s, s:i, s:f, s:f, s:[s,s], s:s, s:b, s:b, s:b, s:n, s:b, s:b}", "peft_type", "LORA",
        "task_type", "CAUSAL_LM", "base_model_name_or_path", "llama.safetensors", "r", rank, "lora_alpha",
        alpha, "lora_dropout", dropout, "target_modules", "q_proj", "v_proj", "bias", "none", "fan_in_fan_out",
        0, "init_lora_weights", 1, "inference_mode", 1, "modules_to_save", "use_rslora", 0, "use_dora", 0);
    if (!config) return error_set(e, ERROR_MEMORY, "%s: no memory for it", path);
    bool ok = json_write(path, config, e);
    json_decref(config);
    return ok;
}

bool adapter_save(const char *folder, Weights *adapter, int rank, double alpha, double dropout, Error *e)
{
    char path[4096];
    path_of(path, sizeof path, folder, "adapter_model.safetensors");
    return adapter_save_config(folder, rank, alpha, dropout, e) &&
           weights_save(&adapter, 1, false, NULL, path, e);
}

/* What PEFT writes of variants whose update is not scale * B(A(x)): off when absent, null, false or empty. */
static const char *const variants[] = {
    "use_rslora",
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "fan_in_fan_out",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "layer_replication",
    "kasa_config",
    "arrow_config",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
};

static bool is_off(const json_t *x)
{
    return !x || json_is_null(x) || json_is_false(x) || (json_is_object(x) && !json_object_size(x)) ||
           (json_is_array(x) && !json_array_size(x));
}

static bool check_variants(const json_t *config, const char *path, Error *e)
{
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        const json_t *x = json_object_get(config, variants[i]);
        if (is_off(x)) continue;
        char *text = json_text(x, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
        error_set(e, ERROR_INPUT, "%s: %s: expected plain LoRA, without it, found %.60s", path, variants[i],
                  text ? text : "another value");
        free(text);
        return false;
    }
    const json_t *bias = json_object_get(config, "bias");
    if (!is_off(bias) && (!json_is_string(bias) || strcmp(json_string_value(bias), "none")))
        return error_set(e, ERROR_INPUT, "%s: bias: expected none, found %.60s", path,
                         json_is_string(bias) ? json_string_value(bias) : "no string");
    /* Some ways to begin change the base as well. */
    static const char *const inits[] = {"gaussian", "orthogonal", "eva"};
    const json_t *init = json_object_get(config, "init_lora_weights");
    if (!init || json_is_null(init) || json_is_boolean(init)) return true;
    for (size_t i = 0; json_is_string(init) && i < sizeof inits / sizeof *inits; i++)
        if (!strcasecmp(json_string_value(init), inits[i])) return true;
    return error_set(
        e, ERROR_INPUT,
        "%s: init_lora_weights: expected true, false, gaussian, orthogonal or eva, which leave the base "
        "as it is, found %.60s",
        path, json_is_string(init) ? json_string_value(init) : "no string");
}

/* q_proj and v_proj, in any order, each once. */
static bool check_targets(const json_t *targets, const char *path, Error *e)
{
    static const char *const wanted[] = {"q_proj", "v_proj"};
    bool seen[2] = {false, false};
    for (size_t i = 0; i < json_array_size(targets); i++) {
        const char *name = json_string_value(json_array_get(targets, i));
        int at = 0;
        while (at < 2 && (!name || strcmp(name, wanted[at]))) at++;
        if (at == 2 || seen[at])
            return error_set(e, ERROR_INPUT, "%s: target_modules: expected q_proj and v_proj, found %.60s%s",
                             path, name ? name : "no string", at < 2 ? " twice" : "");
        seen[at] = true;
    }
    for (int i = 0; i < 2; i++)
        if (!seen[i])
            return error_set(e, ERROR_INPUT, "%s: target_modules: expected q_proj and v_proj, %s is missing",
                             path, wanted[i]);
    return true;
}

static bool check(const json_t *config, const char *path, int *rank, double *alpha, double *dropout, Error *e)
{
    const char *type;
    int64_t r;
    json_t *targets;
    if (!json_get_string(config, "peft_type", path, &type, e) || !json_get_int(config, "r", path, &r, e) ||
        !json_get_number(config, "lora_alpha", path, alpha, e) ||
        !json_get_number(config, "lora_dropout", path, dropout, e) ||
        !json_get_array(config, "target_modules", path, &targets, e))
        return false;
    if (strcmp(type, "LORA"))
        return error_set(e, ERROR_INPUT, "%s: peft_type: expected LORA, found %.60s", path, type);
    if (r < 1 || r > 4096)
        return error_set(e, ERROR_INPUT, "%s: r: expected 1 to 4096, found %lld", path, (long long)r);
    if (!(*alpha > 0 && *alpha <= 1e6))
        return error_set(e, ERROR_INPUT, "%s: lora_alpha: expected a number over 0, at most 1e6, found %g",
                         path, *alpha);
    if (!(*dropout >= 0 && *dropout <= 0.99))
        return error_set(e, ERROR_INPUT, "%s: lora_dropout: expected 0 to 0.99, found %g", path, *dropout);
    *rank = (int)r;
    return check_targets(targets, path, e) && check_variants(config, path, e);
}

/* Each tensor is a half of an update of q_proj or v_proj. */
static bool check_names(const TensorFile *f, Error *e)
{
    for (int i = 0; i < f->n; i++) {
        const char *name = weights_bare(f->entry[i].name);
        char which = 0, half = 0, known[128];
        int layer = -1;
        sscanf(name, "base_model.model.model.layers.%4d.self_attn.%c_proj.lora_%c", &layer, &which, &half);
        snprintf(known, sizeof known, "base_model.model.model.layers.%d.self_attn.%c_proj.lora_%c.weight",
                 layer, which == 'v' ? 'v' : 'q', half == 'B' ? 'B' : 'A');
        if (layer < 0 || strcmp(name, known))
            return error_set(e, ERROR_INPUT,
                             "%s: tensor %s: expected lora_A and lora_B of q_proj and v_proj alone", f->path,
                             f->entry[i].name);
    }
    return true;
}

bool adapter_open(const char *folder, Weights *adapter, int *rank, double *alpha, double *dropout, Error *e)
{
    char path[4096], old[4096];
    path_of(path, sizeof path, folder, "adapter_config.json");
    json_t *config = json_read(path, e);
    if (!config) return false;
    bool ok = check(config, path, rank, alpha, dropout, e);
    json_decref(config);
    path_of(path, sizeof path, folder, "adapter_model.safetensors");
    path_of(old, sizeof old, folder, "adapter_model.bin");
    if (access(path, F_OK) && !access(old, F_OK)) memcpy(path, old, sizeof path);
    return ok && weights_open(adapter, path, e) && check_names(adapter->file, e);
}
