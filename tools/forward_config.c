/* What a Hugging Face config.json says of a BERT or a Swin that its tensors do not. */
#include "data/json.h"
#include "tools/forward.h"
#include <math.h>
#include <string.h>

void forward_prefix(Weights *w, const char *name, const char *a, const char *b)
{
    const char *const prefix[] = {"", a, b};
    for (int i = 0; i < 3; i++) {
        w->prefix = prefix[i];
        if (weights_entry(w, "%s", name)) return;
    }
    w->prefix = "";
}

static bool check(const json_t *config, const char *path, double norm_eps, Error *e)
{
    const json_t *act = json_object_get(config, "hidden_act"), *eps = json_object_get(config, "layer_norm_eps");
    const char *name = json_string_value(act);
    if (!json_is_object(config)) return error_set(e, ERROR_INPUT, "%s: expected a JSON object", path);
    if (act && (!name || strcmp(name, "gelu")))
        return error_set(e, ERROR_INPUT, "%s: hidden_act: expected gelu, found %.40s", path,
                         name ? name : "no text");
    if (eps && !(fabs(json_number_value(eps) - norm_eps) <= 1e-6 * norm_eps))
        return error_set(e, ERROR_INPUT, "%s: layer_norm_eps: expected %g, found %g", path, norm_eps,
                         json_number_value(eps));
    return true;
}

bool forward_config(const Forward *f, Weights *w, double norm_eps, Error *e)
{
    const char *path = f->o->config;
    if (!path) return true;
    json_t *config = json_read(path, e);
    if (!config) return false;
    const json_t *heads = json_object_get(config, "num_attention_heads");
    char text[32];
    bool ok = check(config, path, norm_eps, e);
    if (ok && json_is_integer(heads)) { /* a Swin has a list, which its tensors tell too */
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(heads));
        ok = tensor_file_set_meta(w->file, "bert.heads", text, e);
    }
    json_decref(config);
    return ok;
}
