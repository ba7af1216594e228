/* A checkpoint's tensors: block.weight, block.m, block.v (each the whole flat block) and the extras under their
 * names; its state: the numbers below. */
#include "tools/trainer_save.h"
#include "data/file.h"
#include "tools/checkpoint.h"
#include "tools/run_page.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const block_name[] = {"block.weight", "block.m", "block.v"};
enum { BLOCKS = 3 };

/* Everything that is saved: the blocks, then the extras. */
static int tensor_count(const Trainer *t) { return BLOCKS + t->n_extra; }
static Tensor *tensor_at(const Trainer *t, int i, const char **name)
{
    Tensor *const block[BLOCKS] = {t->params.weight, t->params.m, t->params.v};
    *name = i < BLOCKS ? block_name[i] : t->extra[i - BLOCKS].name;
    return i < BLOCKS ? block[i] : t->extra[i - BLOCKS].tensor;
}

static bool no_memory(const Trainer *t, Error *e)
{
    return error_set(e, ERROR_MEMORY, "%s: out of host memory for a checkpoint", t->o.folder);
}

/* Its data where the host can read it: x's own, or a copy in *copy, which is the caller's; NULL on error. */
static const void *host_data(const Trainer *t, const Tensor *x, void **copy, Error *e)
{
    if (x->backend == &backend_cpu) return x->data;
    *copy = malloc(tensor_bytes(x));
    if (*copy)
        tensor_download(x, *copy);
    else
        no_memory(t, e);
    return *copy;
}

static bool load(const Trainer *t, const TensorFile *s, const char *name, Tensor *x, Error *e)
{
    if (x->backend == &backend_cpu) return tensor_file_load_f32(s, name, x->ndim, x->dim, x->data, e);
    float *copy = malloc(tensor_bytes(x));
    if (!copy) return no_memory(t, e);
    bool ok = tensor_file_load_f32(s, name, x->ndim, x->dim, copy, e);
    if (ok) tensor_upload(x, copy);
    free(copy);
    return ok;
}

/* ---- the state ---- */

typedef struct StateNumber {
    const char *name;
    size_t offset; /* of an int64_t or uint64_t in Trainer */
} StateNumber;
static const StateNumber state_number[] = {
    {"step", offsetof(Trainer, step)},
    {"skipped", offsetof(Trainer, skipped)},
    {"bad", offsetof(Trainer, bad)},
    {"rng_counter", offsetof(Trainer, rng.counter)},
    {"dropout_calls", offsetof(Trainer, tape.calls)},
    {"good_step", offsetof(Trainer, good.step)},
    {"good_skipped", offsetof(Trainer, good.skipped)},
    {"good_rng_counter", offsetof(Trainer, good.random)},
    {"good_dropout_calls", offsetof(Trainer, good.calls)},
    {"good_best_step", offsetof(Trainer, good.best_step)},
    {"good_validated", offsetof(Trainer, good.validated)},
    {"best_step", offsetof(Trainer, best_step)},
    {"validated", offsetof(Trainer, validated)},
};
enum { STATE_NUMBERS = sizeof state_number / sizeof *state_number };

/* NULL without memory. */
static json_t *state_make(const Trainer *t)
{
    json_t *state =
        json_pack("{s:s, s:f, s:f}", "stage", t->o.stage, "best", t->best, "good_best", t->good.best);
    bool ok = state;
    for (int i = 0; ok && i < STATE_NUMBERS; i++) {
        int64_t v;
        memcpy(&v, (const char *)t + state_number[i].offset, sizeof v);
        ok = json_object_set_new(state, state_number[i].name, json_integer(v)) == 0;
    }
    if (ok) return state;
    json_decref(state);
    return NULL;
}

static bool state_read(Trainer *t, const json_t *state, const char *path, Error *e)
{
    const char *stage;
    int64_t v[STATE_NUMBERS];
    double best, good_best;
    if (!json_get_string(state, "stage", path, &stage, e) || !json_get_number(state, "best", path, &best, e) ||
        !json_get_number(state, "good_best", path, &good_best, e))
        return false;
    if (strcmp(stage, t->o.stage))
        return error_set(e, ERROR_INPUT, "%s: a checkpoint of stage %s, expected %s", path, stage, t->o.stage);
    for (int i = 0; i < STATE_NUMBERS; i++) {
        const char *name = state_number[i].name;
        if (!json_get_int(state, name, path, &v[i], e)) return false;
        if (v[i] < 0)
            return error_set(e, ERROR_INPUT, "%s: key \"%s\": expected at least 0, found %" PRId64, path, name,
                             v[i]);
    }
    t->best = best;
    t->good.best = good_best;
    for (int i = 0; i < STATE_NUMBERS; i++) memcpy((char *)t + state_number[i].offset, &v[i], sizeof v[i]);
    return true;
}

/* ---- checkpoints ---- */

bool trainer_save(Trainer *t, bool best, Error *e)
{
    void *copy[BLOCKS + TRAINER_EXTRAS] = {0};
    const char *name;
    /* the log must not be behind the checkpoint, nor have lost a line */
    bool lost = t->log && ferror(t->log);
    if (lost || (t->log && (fflush(t->log) || fdatasync(fileno(t->log)))))
        return error_set(e, ERROR_IO, "%s/log.jsonl: cannot write: %s", t->o.folder,
                         lost ? "a line is lost" : strerror(errno));
    StWriter *w = st_writer_new();
    json_t *state = state_make(t);
    bool ok = state || no_memory(t, e);
    for (int i = 0; ok && i < tensor_count(t); i++) {
        const Tensor *x = tensor_at(t, i, &name);
        const void *data = host_data(t, x, &copy[i], e);
        ok = data;
        if (ok) st_writer_add(w, name, ST_F32, x->ndim, x->dim, data);
    }
    ok = ok && checkpoint_save(t->o.folder, t->step, w, state, best, e);
    json_decref(state);
    st_writer_free(w);
    for (int i = 0; i < tensor_count(t); i++) free(copy[i]);
    Error why = {0};
    if (ok && !run_page_write(t->o.folder, &why)) cli_note("no page of the run: %s", why.msg);
    return ok;
}

/* Weights and extras; with `all` the moments and the state too. */
static bool load_checkpoint(Trainer *t, const char *path, bool all, Error *e)
{
    const char *name;
    TensorFile *tensors;
    json_t *state;
    if (!checkpoint_open(path, &tensors, &state, e)) return false;
    bool ok = true;
    for (int i = 0; ok && i < tensor_count(t); i++) {
        Tensor *x = tensor_at(t, i, &name);
        if (all || (x != t->params.m && x != t->params.v)) ok = load(t, tensors, name, x, e);
    }
    ok = ok && (!all || state_read(t, state, path, e));
    if (ok) tensor_download(t->mean, t->means);
    tensor_file_close(tensors);
    json_decref(state);
    return ok;
}

bool trainer_restore(Trainer *t, bool *found, Error *e)
{
    char path[4096];
    if (!checkpoint_find(t->o.folder, "latest", path, found, e)) return false;
    return !*found || load_checkpoint(t, path, true, e);
}

bool trainer_load_best(Trainer *t, Error *e)
{
    char path[4096];
    bool found;
    if (!t->best_step) return true;
    if (!checkpoint_find(t->o.folder, "best", path, &found, e)) return false;
    if (!found)
        return error_set(e, ERROR_INPUT, "%s/best: missing; expected the checkpoint of step %" PRId64,
                         t->o.folder, t->best_step);
    return load_checkpoint(t, path, false, e);
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
    snprintf(path, sizeof path, "%s/log.jsonl", t->o.folder);
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
    double seconds = cli_seconds() - t->started;
    fprintf(t->log, "{\"stage\": \"%s\", \"step\": %" PRId64 ", \"seconds\": %.1f", t->o.stage, t->step,
            seconds);
    log_value(t->log, "rate", (double)(t->step - t->first) / seconds);
    for (int i = 0; i < trainer_terms(t); i++) log_value(t->log, t->o.term[i], (double)t->means[i]);
    if (t->bad) fprintf(t->log, ", \"skipped\": %" PRId64, t->bad);
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
