#include "tools/trainer.h"
#include "data/file.h"
#include "kernels/ops.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (size_t)pages * (size_t)size : (size_t)1 << 33;
}

bool trainer_open(Trainer *t, const TrainerOptions *o, const CliCommon *common, Error *e)
{
    memset(t, 0, sizeof *t);
    t->o = *o;
    const Backend *backend = backend_open(common->device, e);
    if (!backend) return false;
    size_t capacity = common->memory ? common->memory : machine_memory();
    if (!file_make_folder(o->folder, e) || !arena_open(&t->weights, "weights", backend, capacity, e) ||
        !arena_open(&t->state, "state", backend, capacity, e) ||
        !arena_open(&t->step_arena, "step", backend, capacity, e) ||
        !arena_open(&t->scratch, "scratch", backend, capacity, e))
        return false;
    params_init(&t->params, &t->state);
    tape_init(&t->tape, &t->step_arena, &t->scratch, common->seed);
    t->rng = rng_open(common->seed, o->stage);
    char path[4096];
    snprintf(path, sizeof path, "%s/log.jsonl", o->folder);
    t->log = fopen(path, "a");
    if (!t->log) return error_set(e, ERROR_IO, "%s: cannot write: %s", path, strerror(errno));
    return true;
}

void trainer_close(Trainer *t)
{
    if (t->log) fclose(t->log);
    params_close(&t->params);
    arena_close(&t->scratch);
    arena_close(&t->step_arena);
    arena_close(&t->state);
    arena_close(&t->weights);
}

void trainer_extra(Trainer *t, const char *name, Tensor *x)
{
    if (t->n_extra == TRAINER_EXTRAS) die("trainer: more than %d extra tensors", TRAINER_EXTRAS);
    t->extra[t->n_extra++] = (TrainerExtra){name, x};
}

static void checkpoint_path(const Trainer *t, char *path, size_t room)
{
    snprintf(path, room, "%s/checkpoint.safetensors", t->o.folder);
}

static const char *const block_name[] = {"block.weight", "block.m", "block.v"};
static Tensor *block(const Trainer *t, int i)
{
    return i == 0 ? t->params.weight : i == 1 ? t->params.m : t->params.v;
}

static bool save(Trainer *t, Error *e)
{
    char path[4096], text[64];
    checkpoint_path(t, path, sizeof path);
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

static int terms(const Trainer *t)
{
    int n = 0;
    while (n < TRAINER_TERMS && t->o.term[n]) n++;
    return n;
}

static bool start(Trainer *t, Error *e)
{
    char path[4096];
    t->mean = tensor_zeros(&t->state, DTYPE_f32, 1, (int64_t[]){TRAINER_TERMS});
    trainer_extra(t, "running_losses", t->mean);
    checkpoint_path(t, path, sizeof path);
    if (t->o.resume && access(path, F_OK) == 0) {
        SafeTensors *s = safetensors_open(path, e);
        if (!s) return false;
        bool ok = restore(t, s, e);
        safetensors_close(s);
        if (!ok) return false;
        cli_note("%s: going on from step %lld of %lld", t->o.stage, (long long)t->step, (long long)t->o.steps);
    }
    t->progress = cli_progress_start(t->o.stage, t->step, t->o.steps);
    t->started = cli_seconds();
    t->tape.recording = true;
    return true;
}

static double learning_rate(const Trainer *t)
{
    double warm = t->o.warm > 0 ? fmin(1.0, (double)(t->step + 1) / (double)t->o.warm) : 1.0;
    double cosine = 0.5 + 0.5 * cos(3.14159265358979323846 * (double)t->step / (double)t->o.steps);
    return t->o.lr * warm * (t->o.floor + (1 - t->o.floor) * cosine);
}

static void log_line(Trainer *t, double lr)
{
    float mean[TRAINER_TERMS];
    tensor_download(t->mean, mean);
    fprintf(t->log, "{\"stage\": \"%s\", \"step\": %lld, \"seconds\": %.1f", t->o.stage, (long long)t->step,
            cli_seconds() - t->started);
    for (int i = 0; i < terms(t); i++)
        if (isfinite(mean[i])) fprintf(t->log, ", \"%s\": %.6g", t->o.term[i], (double)mean[i]);
    if (t->bad) fprintf(t->log, ", \"skipped\": %d", t->bad);
    fprintf(t->log, ", \"lr\": %.6g}\n", lr);
    fflush(t->log);
}

double tensor_value(const Tensor *x)
{
    float v;
    tensor_download(x, &v);
    return (double)v;
}

static bool bad_gradient(Trainer *t, Error *e)
{
    const char *name = "(none)";
    for (int i = 0; i < t->params.n; i++) {
        const Tensor *g = t->params.entry[i].tensor->grad;
        if (!isfinite(tensor_value(op_sqnorm(&t->tape, (Tensor *)(uintptr_t)g)))) {
            name = t->params.entry[i].name;
            break;
        }
    }
    cli_note("%s: step %lld skipped: the gradient of %s is not finite", t->o.stage, (long long)t->step, name);
    t->bad++;
    log_line(t, learning_rate(t));
    if (t->bad < TRAINER_BAD_STEPS) return true;
    Error ignored;
    save(t, &ignored);
    return error_set(e, ERROR_NUMERIC,
                     "%s: %d steps in a row without a finite gradient, first in %s at step %lld", t->o.folder,
                     t->bad, name, (long long)t->step);
}

static bool update(Trainer *t, Error *e)
{
    bool recording = t->tape.recording;
    t->tape.recording = false;
    double norm = sqrt(tensor_value(op_sqnorm(&t->tape, t->params.grad)));
    if (isfinite(norm)) {
        t->bad = 0;
        double scale = t->o.clip > 0 && norm > t->o.clip ? t->o.clip / norm : 1.0;
        op_adamw(&t->tape, t->params.weight, t->params.grad, t->params.m, t->params.v,
                 (AdamwParams){.lr = (float)learning_rate(t),
                               .beta1 = 0.9f,
                               .beta2 = (float)t->o.beta2,
                               .eps = 1e-8f,
                               .weight_decay = (float)t->o.weight_decay,
                               .grad_scale = (float)scale,
                               .step = t->step + 1});
    } else if (!bad_gradient(t, e)) {
        return false;
    }
    params_zero_grad(&t->params);
    tape_reset(&t->tape);
    t->tape.recording = recording;
    t->step++;
    bool stop = cli_interrupted();
    if ((t->step % t->o.save_every == 0 || stop || t->step == t->o.steps) && !save(t, e)) return false;
    if (stop)
        return error_set(e, ERROR_INTERRUPTED, "%s: stopped at step %lld of %lld, saved; run again to go on",
                         t->o.folder, (long long)t->step, (long long)t->o.steps);
    return true;
}

/* Running mean over about TRAINER_WINDOW updates; a step without a finite loss leaves it alone. */
static void add_terms(Trainer *t)
{
    float mean[TRAINER_TERMS];
    tensor_download(t->mean, mean);
    double n = (double)(t->step + 1 < TRAINER_WINDOW ? t->step + 1 : TRAINER_WINDOW);
    for (int i = 0; i < terms(t); i++)
        if (isfinite(t->term[i])) mean[i] += (float)((t->term[i] - (double)mean[i]) / n);
    tensor_upload(t->mean, mean);
}

static void show(Trainer *t)
{
    float mean[TRAINER_TERMS];
    char note[128] = "";
    tensor_download(t->mean, mean);
    for (int i = 0, at = 0; i < terms(t) && at < (int)sizeof note; i++)
        at += snprintf(note + at, sizeof note - (size_t)at, "%s%s %.4f", i ? " " : "", t->o.term[i],
                       (double)mean[i]);
    cli_progress(&t->progress, t->step, "%s", note);
}

bool trainer_run(Trainer *t, TrainerLoss *loss, void *context, Error *e)
{
    bool ok = start(t, e);
    while (ok && t->step < t->o.steps) {
        Tensor *x = loss(t, context, e);
        ok = x;
        if (!ok) break;
        add_terms(t);
        double lr = learning_rate(t);
        tape_backward(&t->tape, x);
        ok = update(t, e);
        if (t->step % TRAINER_LOG_EVERY == 0 || t->step == t->o.steps) log_line(t, lr);
        show(t);
    }
    cli_progress_end(&t->progress);
    return ok;
}
