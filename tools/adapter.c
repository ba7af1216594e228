#include "tools/adapter.h"
#include "data/json.h"
#include <stdio.h>
#include <string.h>

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
    if (!config) die("adapter: cannot make its configuration");
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

static bool is_true(const json_t *config, const char *key)
{
    return json_is_true(json_object_get(config, key));
}

static bool check(const json_t *config, const char *path, int *rank, double *alpha, double *dropout, Error *e)
{
    const char *type;
    int64_t r;
    json_t *target;
    if (!json_get_string(config, "peft_type", path, &type, e) || !json_get_int(config, "r", path, &r, e) ||
        !json_get_number(config, "lora_alpha", path, alpha, e) ||
        !json_get_number(config, "lora_dropout", path, dropout, e) ||
        !json_get_array(config, "target_modules", path, &target, e))
        return false;
    if (strcmp(type, "LORA"))
        return error_set(e, ERROR_INPUT, "%s: peft_type: expected LORA, found %s", path, type);
    if (is_true(config, "use_rslora") || is_true(config, "use_dora"))
        return error_set(e, ERROR_INPUT, "%s: expected plain LoRA, found use_rslora or use_dora", path);
    if (r < 1 || r > 4096)
        return error_set(e, ERROR_INPUT, "%s: r: expected 1 to 4096, found %lld", path, (long long)r);
    bool q = false, v = false;
    size_t i;
    json_t *name;
    json_array_foreach(target, i, name)
    {
        const char *s = json_string_value(name);
        q |= s && !strcmp(s, "q_proj");
        v |= s && !strcmp(s, "v_proj");
    }
    if (!q || !v || json_array_size(target) != 2)
        return error_set(e, ERROR_INPUT, "%s: target_modules: expected q_proj and v_proj, found %zu others",
                         path, json_array_size(target));
    *rank = (int)r;
    return true;
}

bool adapter_open(const char *folder, Weights *adapter, int *rank, double *alpha, double *dropout, Error *e)
{
    char path[4096];
    path_of(path, sizeof path, folder, "adapter_config.json");
    json_t *config = json_read(path, e);
    if (!config) return false;
    bool ok = check(config, path, rank, alpha, dropout, e);
    json_decref(config);
    path_of(path, sizeof path, folder, "adapter_model.safetensors");
    return ok && weights_open(adapter, path, e);
}
