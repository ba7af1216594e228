#include "tools/forward.h"
#include "data/file.h"
#include "data/safetensors.h"
#include "tensor/half.h"
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory of the host ---- */

void *forward_room(Forward *f, size_t bytes)
{
    if (f->n_owned == f->owned_room) {
        int room = f->owned_room ? 2 * f->owned_room : 64;
        void **grown = realloc(f->owned, (size_t)room * sizeof *grown);
        if (!grown) die_memory("a list of %d tensors", room);
        f->owned = grown;
        f->owned_room = room;
    }
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p) die_memory("%zu bytes of the host", bytes);
    return f->owned[f->n_owned++] = p;
}

/* ---- outputs ---- */

/* The shape that x (memory order) has outside; into y its values. */
static int turn(const Tensor *x, ForwardLayout layout, const float *from, float *y, int64_t dim[8])
{
    int64_t n = tensor_len(x), N = x->dim[0], H = x->dim[1], W = x->dim[2], C = x->dim[3];
    memcpy(dim, x->dim, sizeof x->dim);
    if (x->ndim != 4 || layout != FORWARD_NCHW) {
        memcpy(y, from, (size_t)n * sizeof *y);
        if (x->ndim != 4 || layout == FORWARD_SAME) return x->ndim;
        dim[1] = H * W;
        dim[2] = C;
        return 3;
    }
    for (int64_t i = 0; i < N; i++)
        for (int64_t p = 0; p < H * W; p++)
            for (int64_t c = 0; c < C; c++) y[(i * C + c) * H * W + p] = from[(i * H * W + p) * C + c];
    memcpy(dim, (int64_t[]){N, C, H, W}, 4 * sizeof *dim);
    return 4;
}

static float *download(Forward *f, const Tensor *x)
{
    int64_t n = tensor_len(x);
    if (!is_activation(x)) die("forward: %s is written as f32", tensor_text(x));
    float *host = forward_room(f, (size_t)n * sizeof *host);
    if (x->dtype == DTYPE_f32) {
        tensor_download(x, host);
        return host;
    }
    uint16_t *half = malloc((size_t)n * sizeof *half);
    if (!half) die_memory("%s", tensor_text(x));
    tensor_download(x, half);
    for (int64_t i = 0; i < n; i++) host[i] = bf16_to_float(half[i]);
    free(half);
    return host;
}

static void clear_padding(const Forward *f, const Tensor *x, float *host)
{
    if (!f->lengths || x->ndim != 3 || x->dim[0] != f->B || x->dim[1] != f->T) return;
    for (int64_t b = 0; b < f->B; b++)
        memset(host + (b * f->T + f->lengths[b]) * x->dim[2], 0,
               (size_t)((f->T - f->lengths[b]) * x->dim[2]) * sizeof *host);
}

static int64_t length(int ndim, const int64_t *dim)
{
    int64_t n = 1;
    for (int i = 0; i < ndim; i++) n *= dim[i];
    return n;
}

static void keep(Forward *f, const char *name, int ndim, const int64_t *dim, float *x)
{
    ForwardOutput *o = NULL;
    for (int i = 0; i < f->n_out; i++)
        if (!strcmp(f->out[i].name, name)) o = &f->out[i];
    if (o) { /* one more item of a batch that a model takes one by one */
        int64_t had = length(o->ndim, o->dim), more = length(ndim, dim);
        if (o->ndim != ndim || memcmp(o->dim + 1, dim + 1, (size_t)(ndim - 1) * sizeof *dim))
            die("forward: %s comes in two shapes", name);
        float *both = forward_room(f, (size_t)(had + more) * sizeof *both);
        memcpy(both, o->x, (size_t)had * sizeof *both);
        memcpy(both + had, x, (size_t)more * sizeof *both);
        o->dim[0] += dim[0];
        o->x = both;
        return;
    }
    if (f->n_out == f->room) {
        f->room = f->room ? 2 * f->room : 64;
        f->out = realloc(f->out, (size_t)f->room * sizeof *f->out);
        if (!f->out) die_memory("a list of %d outputs", f->room);
    }
    o = &f->out[f->n_out++];
    *o = (ForwardOutput){.ndim = ndim, .x = x};
    memcpy(o->dim, dim, (size_t)ndim * sizeof *dim);
    snprintf(o->name, sizeof o->name, "%s", name);
}

void forward_put(Forward *f, const char *name, const Tensor *x, ForwardLayout layout)
{
    int64_t dim[8] = {0};
    float *host = download(f, x), *y = host;
    int ndim = x->ndim;
    clear_padding(f, x, host);
    memcpy(dim, x->dim, sizeof x->dim);
    if (layout != FORWARD_SAME && x->ndim == 4) {
        y = forward_room(f, (size_t)tensor_len(x) * sizeof *y);
        ndim = turn(x, layout, host, y, dim);
    }
    keep(f, name, ndim, dim, y);
}

void forward_put_number(Forward *f, const char *name, float x)
{
    float *y = forward_room(f, sizeof *y);
    *y = x;
    keep(f, name, 1, (int64_t[]){1}, y);
}

void forward_tap(void *user, const char *name, Tensor *x)
{
    Forward *f = user;
    const ForwardTap *t = f->tap;
    char full[sizeof f->out->name];
    while (t && t->pattern && fnmatch(t->pattern, name, 0)) t++;
    bool known = t && t->pattern;
    if (!f->o->taps && !(known && t->always)) return;
    snprintf(full, sizeof full, "%s%s", f->prefix, known && t->as ? t->as : name);
    forward_put(f, full, x, known ? t->layout : FORWARD_SAME);
}

static bool save(const Forward *f, Error *e)
{
    StWriter *w = st_writer_new();
    st_writer_meta(w, "model", f->model->name);
    st_writer_meta(w, "device", f->weights.backend->name);
    st_writer_meta(w, "compute", dtype_name(f->tape.compute));
    if (dtype_is_quant(f->o->quant)) {
        st_writer_meta(w, "quant", dtype_name(f->o->quant));
        st_writer_meta(w, "double_quant", f->o->nested ? "yes" : "no");
    }
    for (int i = 0; i < f->n_out; i++)
        st_writer_add(w, f->out[i].name, ST_F32, f->out[i].ndim, f->out[i].dim, f->out[i].x);
    bool ok = st_writer_save(w, f->o->output, e);
    st_writer_free(w);
    return ok;
}

/* ---- what is there and what is asked for ---- */

bool forward_word(const char *text, int i, char out[64])
{
    for (;; i--) {
        text += strspn(text, " ");
        size_t n = strcspn(text, " ");
        if (!n) return false;
        if (!i) {
            snprintf(out, 64, "%.*s", (int)n, text);
            return true;
        }
        text += n;
    }
}

/* Adds a name to a list in text, or counts it in *rest where the text is full. */
static void list_name(char *text, size_t room, int *rest, const char *name)
{
    size_t at = strlen(text), n = strlen(name);
    if (*rest || at + n + 3 > room)
        ++*rest;
    else
        snprintf(text + at, room - at, "%s%s", at ? ", " : "", name);
}

static void list_end(char *text, size_t room, int rest)
{
    size_t at = strlen(text);
    if (rest) snprintf(text + at, room - at, " and %d more", rest);
}

/* The input must have what the model needs and nothing else. */
static bool check_input(const Forward *f, Error *e)
{
    char name[64], missing[160] = "", extra[160] = "";
    int rest_missing = 0, rest_extra = 0, at = 0;
    for (int i = 0; forward_word(f->model->input, i, name); i++) {
        bool optional = *name == '?';
        if (!tensor_file_find(f->input, name + optional) && !optional)
            list_name(missing, sizeof missing - 20, &rest_missing, name);
    }
    const TensorEntry *entry;
    while ((entry = tensor_file_unasked(f->input, &at)))
        list_name(extra, sizeof extra - 20, &rest_extra, entry->name);
    if (!*missing && !*extra && !rest_extra) return true;
    list_end(missing, sizeof missing, rest_missing);
    list_end(extra, sizeof extra, rest_extra);
    return error_set(e, ERROR_INPUT, "%s: %s takes %s; missing: %s; extra: %s", f->input->path, f->model->name,
                     f->model->input, *missing ? missing : "none", *extra ? extra : "none");
}

static bool is_ignored(const Forward *f, const char *name)
{
    char pattern[64];
    if (!fnmatch("*num_batches_tracked", name, 0)) return true;
    for (int i = 0; forward_word(f->model->ignore, i, pattern); i++)
        if (!fnmatch(pattern, name, 0)) return true;
    return false;
}

static bool check_unasked(const Forward *f, const TensorFile *file, Error *e)
{
    char names[400] = "";
    int rest = 0, at = 0, n = 0;
    const TensorEntry *entry;
    while ((entry = tensor_file_unasked(file, &at))) {
        if (is_ignored(f, weights_bare(entry->name))) continue;
        list_name(names, sizeof names - 20, &rest, entry->name);
        n++;
    }
    if (!n) return true;
    list_end(names, sizeof names, rest);
    if (f->o->strict)
        return error_set(e, ERROR_INPUT, "%s: %d tensors that %s does not read: %s", file->path, n,
                         f->model->name, names);
    cli_note("%s: %d tensors that %s does not read: %s", file->path, n, f->model->name, names);
    return true;
}

static bool check_output(const Forward *f, const TensorFile *file, Error *e)
{
    return !tensor_file_holds(file, f->o->output) ||
           error_set(e, ERROR_USAGE, "%s: is what is read; expected another --output", f->o->output);
}

bool forward_opened(Forward *f, Error *e)
{
    bool ok = check_output(f, f->input, e);
    for (int i = 0; ok && i < FORWARD_PARTS; i++)
        if (f->part[i].file) ok = check_output(f, f->part[i].file, e) && check_unasked(f, f->part[i].file, e);
    f->opened = cli_seconds();
    return ok;
}

Weights *forward_part(Forward *f, int i, const char *path, Error *e)
{
    return weights_open(&f->part[i], path, e) ? &f->part[i] : NULL;
}

/* ---- the run ---- */

/* Whether the output can be written, before the model runs for it. */
static bool try_output(const Forward *f, Error *e)
{
    FileWriter w;
    if (!file_create(&w, f->o->output, e)) return false;
    file_abandon(&w);
    return true;
}

static bool open_all(Forward *f, Error *e)
{
    const CliCommon *c = &f->o->common;
    const Backend *backend = backend_open(c->device, e);
    const size_t capacity = c->memory ? c->memory : (size_t)64 << 30;
    DType compute;
    if (!backend || !cli_compute(c, backend, false, &compute, e) ||
        !arena_open(&f->weights, "weights", backend, capacity, e) ||
        !arena_open(&f->state, "state", backend, capacity, e) ||
        !arena_open(&f->step, "step", backend, capacity, e) ||
        !arena_open(&f->scratch, "scratch", backend, capacity, e))
        return false;
    tape_init(&f->tape, &f->step, &f->scratch, c->seed);
    f->tape.compute = compute;
    f->tape.tap = forward_tap;
    f->tape.tap_user = f;
    params_init(&f->params, &f->state);
    for (int i = 0; i < FORWARD_PARTS; i++) weights_init(&f->part[i], &f->weights, &f->state, &f->params, 0);
    f->input = tensor_file_open(f->o->input, e);
    return f->input && check_input(f, e) && try_output(f, e);
}

static void close_all(Forward *f)
{
    for (int i = 0; i < FORWARD_PARTS; i++) weights_close(&f->part[i]);
    params_close(&f->params);
    tensor_file_close(f->input);
    arena_close(&f->scratch);
    arena_close(&f->step);
    arena_close(&f->state);
    arena_close(&f->weights);
    for (int i = 0; i < f->n_owned; i++) free(f->owned[i]);
    free(f->owned);
    free(f->out);
}

bool forward_run(const ForwardModel *m, const ForwardOptions *o, Error *e)
{
    Forward f = {.o = o, .model = m};
    double start = cli_seconds();
    bool ok = open_all(&f, e) && m->run(&f, e);
    double end = cli_seconds();
    ok = ok && save(&f, e);
    if (ok)
        cli_note("%s: weights in %.2f s, inputs in %.2f s, run in %.2f s; %d tensors in %s", m->name,
                 f.opened - start, f.started - f.opened, end - f.started, f.n_out, o->output);
    close_all(&f);
    return ok;
}
