#include "tools/trainer.h"
#include "data/file.h"
#include "kernels/ops.h"
#include "tools/trainer_save.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (size_t)pages * (size_t)size : (size_t)1 << 33;
}

static void set_defaults(TrainerOptions *o)
{
    if (!o->accumulate) o->accumulate = 1;
    if (!o->log_every) o->log_every = 25;
    if (!o->save_every) o->save_every = o->steps;
}

bool trainer_open(Trainer *t, const TrainerOptions *o, const CliCommon *common, Error *e)
{
    memset(t, 0, sizeof *t);
    t->opened = cli_seconds();
    t->o = *o;
    set_defaults(&t->o);
    if (o->schedule == SCHEDULE_STEP && o->step_every <= 0 && !o->dry_run)
        return error_set(e, ERROR_USAGE, "stage %s has no epochs: the step schedule needs --step-every",
                         o->stage);
    DType compute;
    const Backend *backend = backend_open(o->dry_run ? "plan" : common->device, e);
    if (!backend || !cli_compute(common, backend, o->dry_run, &compute, e)) return false;
    static const size_t plan = (size_t)1 << 42; /* reserved, never touched */
    size_t capacity = o->dry_run ? plan : common->memory ? common->memory : machine_memory();
    if ((!o->dry_run && !file_make_folder(o->folder, e)) ||
        !arena_open(&t->weights, "weights", backend, capacity, e) ||
        !arena_open(&t->state, "state", backend, capacity, e) ||
        !arena_open(&t->step_arena, "step", backend, capacity, e) ||
        !arena_open(&t->scratch, "scratch", backend, capacity, e))
        return false;
    params_init(&t->params, &t->state);
    tape_init(&t->tape, &t->step_arena, &t->scratch, common->seed);
    t->tape.compute = compute;
    t->rng = rng_open(common->seed, o->stage);
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
    t->extra[t->n_extra++] = (TrainerExtra){.name = name, .tensor = x};
}

int trainer_terms(const Trainer *t)
{
    int n = 0;
    while (n < TRAINER_TERMS && t->o.term[n]) n++;
    return n;
}

void trainer_term(Trainer *t, int i, const Tensor *x, double over)
{
    float *to = (float *)t->read->data + t->batch * TRAINER_TERMS + i;
    t->over[i] = over;
    if (x) x->backend->move(to, x->data, sizeof *to);
}

double trainer_rate(const TrainerOptions *o, int64_t step)
{
    double warm = o->warm > 0 ? fmin(1.0, (double)(step + 1) / (double)o->warm) : 1.0;
    int64_t falls = o->step_every > 0 ? step / o->step_every : 0;
    if (o->schedule == SCHEDULE_STEP) return o->lr * warm * pow(o->step_gamma, (double)falls);
    double cosine = 0.5 + 0.5 * cos(3.14159265358979323846 * (double)step / (double)o->steps);
    return o->lr * warm * (o->floor + (1 - o->floor) * cosine);
}

double tensor_value(const Tensor *x)
{
    float v;
    tensor_download(x, &v);
    return (double)v;
}

/* ---- one update ---- */

static TrainerPosition position(const Trainer *t)
{
    return (TrainerPosition){.step = t->step,
                             .skipped = t->skipped,
                             .validated = t->validated,
                             .best_step = t->best_step,
                             .random = t->rng.counter,
                             .calls = t->tape.calls,
                             .best = t->best};
}

static void copy_extras(Trainer *t, bool back)
{
    for (int i = 0; i < t->n_extra; i++) {
        Tensor *x = t->extra[i].tensor, *y = t->extra[i].before;
        if (back)
            x->backend->move(x->data, y->data, tensor_bytes(x));
        else
            x->backend->move(y->data, x->data, tensor_bytes(x));
    }
}

/* Gradients of all micro-batches added up in t->params.grad, their terms in t->read. */
static bool forward_backward(Trainer *t, TrainerLoss *loss, void *context, Error *e)
{
    t->read->backend->zero(t->read->data, tensor_bytes(t->read));
    for (t->batch = 0; t->batch < t->o.accumulate; t->batch++) {
        t->tape.recording = true;
        bool ok = loss(t, context, e);
        t->tape.recording = false;
        tape_reset(&t->tape);
        if (!ok) return false;
        if (t->o.dry_run) break;
    }
    return true;
}

/* The one wait of an update: means of the terms, returns the gradient's norm. */
static double read_terms(Trainer *t, double *term)
{
    int n = trainer_terms(t);
    int64_t accumulate = t->o.accumulate;
    bool sum = false;
    for (int i = 1; i < n; i++) sum |= t->o.weight[i] != 0;
    float *norm = (float *)t->read->data + accumulate * TRAINER_TERMS;
    t->read->backend->move(norm, op_sqnorm(&t->tape, t->params.grad)->data, sizeof *norm);
    tensor_download(t->read, t->host);
    for (int64_t k = 0; k < accumulate; k++) {
        double x[TRAINER_TERMS] = {0};
        for (int i = sum; i < n; i++) x[i] = (double)t->host[k * TRAINER_TERMS + i] / t->over[i];
        for (int i = 1; sum && i < n; i++) x[0] += (double)t->o.weight[i] * x[i];
        for (int i = 0; i < n; i++) term[i] += x[i] / (double)accumulate;
    }
    return sqrt((double)t->host[accumulate * TRAINER_TERMS]);
}

/* The first tensor with a gradient that is not finite, or the first such term. */
static void first_bad(Trainer *t, const double *term, char *out, size_t room)
{
    for (int i = 0; i < t->params.n; i++) {
        const Tensor *g = t->params.entry[i].tensor->grad;
        bool finite = isfinite(tensor_value(op_sqnorm(&t->tape, (Tensor *)(uintptr_t)g)));
        tape_reset(&t->tape);
        snprintf(out, room, "the gradient of %s", t->params.entry[i].name);
        if (!finite) return;
    }
    snprintf(out, room, "the norm of all gradients");
    for (int i = trainer_terms(t) - 1; i >= 0; i--)
        if (!isfinite(term[i])) snprintf(out, room, "the term \"%s\" of the loss", t->o.term[i]);
}

/* Running mean over about TRAINER_WINDOW good updates. */
static void add_terms(Trainer *t, const double *term)
{
    float *mean = t->means;
    int64_t done = t->step - t->skipped + 1;
    double n = (double)(done < TRAINER_WINDOW ? done : TRAINER_WINDOW);
    for (int i = 0; i < trainer_terms(t); i++) mean[i] += (float)((term[i] - (double)mean[i]) / n);
    tensor_upload(t->mean, mean);
}

static void descend(Trainer *t, double norm, double rate)
{
    double scale = 1 / (double)t->o.accumulate;
    norm *= scale;
    if (t->o.clip > 0 && norm > t->o.clip) scale *= t->o.clip / norm;
    op_adamw(&t->tape, t->params.weight, t->params.grad, t->params.m, t->params.v,
             (AdamwParams){.lr = (float)rate,
                           .beta1 = 0.9f,
                           .beta2 = (float)t->o.beta2,
                           .eps = 1e-8f,
                           .weight_decay = (float)t->o.weight_decay,
                           .grad_scale = (float)scale,
                           .step = t->step - t->skipped + 1});
}

/* Too many bad updates in a row: back to before them, which is saved. */
static bool give_up(Trainer *t, const char *bad, Error *e)
{
    long long step = t->step;
    t->step = t->good.step;
    t->skipped = t->good.skipped;
    t->rng.counter = t->good.random;
    t->tape.calls = t->good.calls;
    t->validated = t->good.validated;
    t->best = t->good.best;
    t->best_step = t->good.best_step;
    t->bad = 0;
    Error why = {0};
    bool saved = trainer_save(t, false, &why);
    return error_set(e, ERROR_NUMERIC,
                     "%s: step %lld: %s is not finite; that was the %dth bad step in a row; %s step %lld%s%s",
                     t->o.folder, step, bad, TRAINER_BAD_STEPS, saved ? "saved is" : "could not save",
                     (long long)t->step, saved ? "" : ": ", why.msg);
}

static bool update(Trainer *t, TrainerLoss *loss, void *context, Error *e)
{
    double term[TRAINER_TERMS] = {0}, rate = trainer_rate(&t->o, t->step), begun = cli_seconds();
    copy_extras(t, false);
    if (!forward_backward(t, loss, context, e)) return false;
    double norm = read_terms(t, term), read = cli_seconds();
    t->times.passes += read - begun;
    bool finite = isfinite(norm);
    for (int i = 0; i < trainer_terms(t); i++) finite = finite && isfinite(term[i]);
    char bad[PARAMS_NAME + 32] = "";
    if (!finite) first_bad(t, term, bad, sizeof bad);
    if (finite) {
        descend(t, norm, rate);
        add_terms(t, term);
    } else {
        copy_extras(t, true);
        t->skipped++;
    }
    params_zero_grad(&t->params);
    tape_reset(&t->tape);
    t->step++;
    t->bad = finite ? 0 : t->bad + 1;
    if (finite) t->good = position(t);
    t->times.updates += cli_seconds() - read;
    if (t->o.dry_run) return true;
    if (!finite || t->step % t->o.log_every == 0 || t->step == t->o.steps) trainer_log(t, rate);
    if (finite) return true;
    cli_note("%s: step %lld skipped: %s is not finite", t->o.stage, (long long)t->step, bad);
    return t->bad < TRAINER_BAD_STEPS || give_up(t, bad, e);
}

/* ---- validation ---- */

/* The best so far has best_step == step; the checkpoint after it keeps it. */
static bool validate(Trainer *t, void *context, Error *e)
{
    Rng rng = t->rng;
    uint64_t calls = t->tape.calls;
    TrainerValidation v = {0};
    double begun = cli_seconds();
    t->tape.recording = false;
    bool ok = t->o.validate(t, context, &v, e);
    t->times.validating += cli_seconds() - begun;
    tape_reset(&t->tape);
    t->rng = rng;
    t->tape.calls = calls;
    if (!ok) return false;
    t->validated = t->step;
    trainer_log_validation(t, &v);
    if (isfinite(v.score) && (!t->best_step || v.score > t->best)) {
        t->best = v.score;
        t->best_step = t->step;
    }
    if (!t->bad) t->good = position(t);
    return true;
}

/* ---- the loop ---- */

static void show(Trainer *t)
{
    char note[256] = "";
    for (int i = 0, at = 0; i < trainer_terms(t) && at < (int)sizeof note; i++)
        at += snprintf(note + at, sizeof note - (size_t)at, "%s%s %.4f", i ? " " : "", t->o.term[i],
                       (double)t->means[i]);
    cli_progress(&t->progress, t->step, "%s", note);
}

/* Whether this step is to be validated and has not been. */
static bool validation_due(const Trainer *t)
{
    return t->o.validate && t->o.validate_every && t->step && t->validated != t->step &&
           (t->step % t->o.validate_every == 0 || t->step == t->o.steps);
}

static bool start(Trainer *t, void *context, Error *e)
{
    if (!t->params.n) return error_set(e, ERROR_USAGE, "stage %s: nothing to train", t->o.stage);
    t->mean = tensor_zeros(&t->state, DTYPE_f32, 1, (int64_t[]){TRAINER_TERMS});
    trainer_extra(t, "running_losses", t->mean);
    const int64_t read[2] = {t->o.accumulate + 1, TRAINER_TERMS};
    t->read = tensor_new(&t->state, DTYPE_f32, 2, read);
    t->host = arena_push_host(&t->state, tensor_bytes(t->read));
    for (int i = 0; i < TRAINER_TERMS; i++) t->over[i] = 1;
    for (int i = 0; i < t->n_extra; i++) t->extra[i].before = tensor_like(&t->state, t->extra[i].tensor);
    bool found = false;
    t->good = position(t);
    if (t->o.dry_run) return true;
    if (!trainer_restore(t, &found, e)) return false;
    if (found)
        cli_note("%s: going on from step %lld of %lld", t->o.stage, (long long)t->step, (long long)t->o.steps);
    t->progress = cli_progress_start(t->o.stage, t->step, t->o.steps);
    t->started = cli_seconds();
    t->times.opening = t->started - t->opened;
    t->first = t->step;
    if (!trainer_open_log(t, e)) return false;
    return !validation_due(t) || (validate(t, context, e) && trainer_save(t, t->best_step == t->step, e));
}

/* What is due after an update. A run that is to stop saves at once: the resumed one validates first. */
static bool after_update(Trainer *t, void *context, Error *e)
{
    bool stop = cli_interrupted() || (t->o.stop_after && t->step - t->first >= t->o.stop_after);
    bool valid = !stop && validation_due(t);
    if (valid && !validate(t, context, e)) {
        if (e->code != ERROR_INTERRUPTED) return false;
        stop = true;
    }
    bool last = t->step == t->o.steps;
    bool due = t->step % t->o.save_every == 0 || valid || stop || last;
    double begun = cli_seconds();
    if (due && !trainer_save(t, valid && t->best_step == t->step, e)) return false;
    t->times.saving += cli_seconds() - begun;
    if (stop)
        return error_set(e, ERROR_INTERRUPTED, "%s: stopped at step %lld of %lld, saved; run again to go on",
                         t->o.folder, (long long)t->step, (long long)t->o.steps);
    return true;
}

bool trainer_run(Trainer *t, TrainerLoss *loss, void *context, Error *e)
{
    if (!start(t, context, e)) return false;
    if (t->o.dry_run) {
        if (!update(t, loss, context, e)) return false;
        trainer_print_parameters(t, stdout);
        trainer_print_memory(t, stdout);
        return true;
    }
    bool ok = true;
    while (ok && t->step < t->o.steps) {
        ok = update(t, loss, context, e) && after_update(t, context, e);
        show(t);
    }
    cli_progress_end(&t->progress);
    return ok;
}
