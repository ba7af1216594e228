#include "tools/trainer_save.h"
#include "data/file.h"
#include "data/json.h"
#include "data/safetensors.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void path_in(const Trainer *t, char path[4096], const char *name)
{
    snprintf(path, 4096, "%s/%s", t->o.folder, name);
}

static const char *const block_name[] = {"block.weight", "block.m", "block.v"};
static Tensor *block(const Trainer *t, int i)
{
    return i == 0 ? t->params.weight : i == 1 ? t->params.m : t->params.v;
}

static bool save(Trainer *t, const char *name, Error *e)
{
    char path[4096], text[64];
    path_in(t, path, name);
    StWriter *w = st_writer_new();
    snprintf(text, sizeof text, "%lld", (long long)t->step);
    st_writer_meta(w, "step", text);
    snprintf(text, sizeof text, "%llu", (unsigned long long)t->rng.counter);
    st_writer_meta(w, "rng_counter", text);
    snprintf(text, sizeof text, "%llu", (unsigned long long)t->tape.calls);
    st_writer_meta(w, "dropout_calls", text);
    st_writer_meta(w, "stage", t->o.stage);
    for (int i = 0; i < 3 && t->params.n; i++)
        st_writer_add(w, block_name[i], ST_F32, 1, &t->params.len, block(t, i)->data);
    for (int i = 0; i < t->n_extra; i++)
        st_writer_add(w, t->extra[i].name, ST_F32, t->extra[i].tensor->ndim, t->extra[i].tensor->dim,
                      t->extra[i].tensor->data);
    bool ok = st_writer_save(w, path, e);
    st_writer_free(w);
    return ok;
}

bool trainer_save(Trainer *t, bool best, Error *e)
{
    return (!best || save(t, "best.safetensors", e)) && save(t, "checkpoint.safetensors", e);
}

static bool meta_number(const SafeTensors *s, const char *key, uint64_t *out, Error *e)
{
    const char *text = safetensors_meta(s, key);
    char *end = NULL;
    if (text) *out = strtoull(text, &end, 10);
    if (!text || end == text || *end)
        return error_set(e, ERROR_INPUT, "%s: metadata %s: expected a number, found %s", s->path, key,
                         text ? text : "none");
    return true;
}

static bool restore(Trainer *t, const SafeTensors *s, Error *e)
{
    uint64_t step = 0, counter = 0, calls = 0;
    const char *stage = safetensors_meta(s, "stage");
    if (!stage || strcmp(stage, t->o.stage))
        return error_set(e, ERROR_INPUT, "%s: a checkpoint of stage %s, expected %s", s->path,
                         stage ? stage : "(none)", t->o.stage);
    if (!meta_number(s, "step", &step, e) || !meta_number(s, "rng_counter", &counter, e) ||
        !meta_number(s, "dropout_calls", &calls, e))
        return false;
    for (int i = 0; i < 3 && t->params.n; i++)
        if (!safetensors_load_f32(s, block_name[i], 1, &t->params.len, block(t, i)->data, e)) return false;
    for (int i = 0; i < t->n_extra; i++) {
        Tensor *x = t->extra[i].tensor;
        if (!safetensors_load_f32(s, t->extra[i].name, x->ndim, x->dim, x->data, e)) return false;
    }
    t->step = (int64_t)step;
    t->rng.counter = counter;
    t->tape.calls = calls;
    return true;
}

bool trainer_restore(Trainer *t, bool *found, Error *e)
{
    char path[4096];
    path_in(t, path, "checkpoint.safetensors");
    *found = access(path, F_OK) == 0;
    if (!*found) return true;
    SafeTensors *s = safetensors_open(path, e);
    if (!s) return false;
    bool ok = restore(t, s, e);
    safetensors_close(s);
    return ok;
}

bool trainer_load_best(Trainer *t, Error *e)
{
    char path[4096];
    if (!t->best_step) return true;
    path_in(t, path, "best.safetensors");
    SafeTensors *s = safetensors_open(path, e);
    if (!s) return false;
    bool ok = safetensors_load_f32(s, block_name[0], 1, &t->params.len, t->params.weight->data, e);
    for (int i = 0; ok && i < t->n_extra; i++) {
        Tensor *x = t->extra[i].tensor;
        ok = safetensors_load_f32(s, t->extra[i].name, x->ndim, x->dim, x->data, e);
    }
    safetensors_close(s);
    return ok;
}

/* ---- the log ---- */

/* Whether the state that the run goes on from has this line's update behind it. A torn line has not. */
static bool line_counts(const Trainer *t, const char *line, size_t n)
{
    json_t *value = json_loadb(line, n, JSON_REJECT_DUPLICATES, NULL);
    json_t *step = json_object_get(value, "step");
    int64_t at = json_is_integer(step) ? json_integer_value(step) : INT64_MAX;
    bool validation = json_object_get(value, "validation");
    json_decref(value);
    return at < t->step || (at == t->step && (!validation || t->validated == at));
}

bool trainer_open_log(Trainer *t, Error *e)
{
    char path[4096];
    path_in(t, path, "log.jsonl");
    if (t->step && access(path, F_OK) == 0) {
        uint8_t *bytes;
        size_t n, keep = 0;
        if (!file_read(path, (size_t)1 << 30, &bytes, &n, e)) return false;
        for (const uint8_t *end; (end = memchr(bytes + keep, '\n', n - keep));) {
            size_t length = (size_t)(end - bytes) + 1 - keep;
            if (!line_counts(t, (const char *)bytes + keep, length)) break;
            keep += length;
        }
        free(bytes);
        if (keep < n && truncate(path, (off_t)keep))
            return error_set(e, ERROR_IO, "%s: cannot cut to %zu bytes: %s", path, keep, strerror(errno));
    }
    t->log = fopen(path, t->step ? "a" : "w");
    if (!t->log) return error_set(e, ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    return true;
}

static void log_value(FILE *f, const char *name, double value)
{
    if (isfinite(value)) fprintf(f, ", \"%s\": %.6g", name, value);
}

void trainer_log(Trainer *t, double rate)
{
    float mean[TRAINER_TERMS];
    double seconds = cli_seconds() - t->started;
    tensor_download(t->mean, mean);
    fprintf(t->log, "{\"stage\": \"%s\", \"step\": %" PRId64 ", \"seconds\": %.1f", t->o.stage, t->step,
            seconds);
    log_value(t->log, "rate", (double)(t->step - t->first) / seconds);
    for (int i = 0; i < trainer_terms(t); i++) log_value(t->log, t->o.term[i], (double)mean[i]);
    if (t->skipped) fprintf(t->log, ", \"skipped\": %" PRId64, t->skipped);
    fprintf(t->log, ", \"lr\": %.6g}\n", rate);
    fflush(t->log);
}

void trainer_log_validation(Trainer *t, const TrainerValidation *v)
{
    fprintf(t->log, "{\"stage\": \"%s\", \"step\": %" PRId64 ", \"validation\": true", t->o.stage, t->step);
    for (int i = 0; i < v->n; i++) log_value(t->log, v->name[i], v->value[i]);
    log_value(t->log, "score", v->score);
    fprintf(t->log, "}\n");
    fflush(t->log);
}
