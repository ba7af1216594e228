#include "models/weights.h"
#include "models/weights_parts.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const prefixes[] = {"", "module.", "backbone.", "module.backbone."};

void weights_init(Weights *w, Arena *weights, Arena *state, Params *params, uint64_t seed)
{
    *w = (Weights){.weights = weights, .state = state, .params = params, .seed = seed};
}

bool weights_open(Weights *w, const char *path, Error *e)
{
    TensorFile *file = tensor_file_open(path, e);
    if (!file) return false;
    tensor_file_close(w->file);
    w->file = file;
    return true;
}

void weights_close(Weights *w)
{
    tensor_file_close(w->file);
    free(w->item);
    free(w->meta);
    *w = (Weights){0};
}

bool weights_ok(const Weights *w, Error *e)
{
    if (!w->error.code) return true;
    if (e) *e = w->error;
    return false;
}

static void fail(Weights *w, int code, const char *format, va_list args)
{
    char text[sizeof w->error.msg];
    if (w->error.code) return;
    vsnprintf(text, sizeof text, format, args);
    error_set(&w->error, code, "%s%s%s", w->file ? w->file->path : "", w->file ? ": " : "", text);
}

void weights_fail(Weights *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail(w, ERROR_INPUT, format, args);
    va_end(args);
}

/* A growing list; a failure sticks as ERROR_MEMORY. */
static void *list_room(Weights *w, void *list, int n, int *room, size_t size)
{
    if (n < *room) return list;
    int more = *room ? 2 * *room : 64;
    void *grown = realloc(list, (size_t)more * size);
    if (!grown) {
        error_set(&w->error, ERROR_MEMORY, "out of host memory for a list of %d weights", more);
        return NULL;
    }
    *room = more;
    return grown;
}

/* ---- names and shapes ---- */

const TensorEntry *weights_find(const Weights *w, const char *name)
{
    char full[PARAMS_NAME + 32];
    for (size_t i = 0; w->file && i < sizeof prefixes / sizeof *prefixes; i++) {
        snprintf(full, sizeof full, "%s%s", prefixes[i], name);
        const TensorEntry *entry = tensor_file_find(w->file, full);
        if (entry) return entry;
    }
    return NULL;
}

const char *weights_bare(const char *name)
{
    for (size_t i = sizeof prefixes / sizeof *prefixes - 1; i > 0; i--)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i]))) return name + strlen(prefixes[i]);
    return name;
}

/* False if it does not fit; then it is cut. */
static bool name_make(const Weights *w, char name[PARAMS_NAME], const char *format, va_list args)
{
    int at = snprintf(name, PARAMS_NAME, "%s", w->prefix ? w->prefix : "");
    if (at < 0 || at >= PARAMS_NAME) return false;
    int n = vsnprintf(name + at, (size_t)(PARAMS_NAME - at), format, args);
    return n >= 0 && n < PARAMS_NAME - at;
}

static bool name_format(Weights *w, char name[PARAMS_NAME], const char *format, va_list args)
{
    if (name_make(w, name, format, args)) return true;
    weights_fail(w, "tensor name %s... is longer than %d bytes", name, PARAMS_NAME - 1);
    return false;
}

const TensorEntry *weights_entry(const Weights *w, const char *format, ...)
{
    char name[PARAMS_NAME];
    va_list args;
    va_start(args, format);
    bool fits = name_make(w, name, format, args);
    va_end(args);
    return fits ? weights_find(w, name) : NULL;
}

bool weights_shape(Weights *w, int ndim, int64_t *dim, const char *format, ...)
{
    char name[PARAMS_NAME], got[128];
    va_list args;
    va_start(args, format);
    bool named = !w->error.code && name_format(w, name, format, args);
    va_end(args);
    if (!named) return false;
    const TensorEntry *entry = weights_find(w, name);
    if (!entry) {
        weights_fail(w, "tensor %s is missing", name);
        return false;
    }
    if (ndim == 2 && weights_is_quant(w, name)) return weights_quant_shape(w, name, dim);
    if (entry->ndim != ndim) {
        weights_fail(w, "tensor %s: expected %d dims, found shape %s", name, ndim,
                     weights_shape_text(entry->ndim, entry->dim, got, sizeof got));
        return false;
    }
    for (int i = 0; i < ndim; i++) {
        dim[i] = entry->dim[i];
        if (dim[i] < 1) {
            weights_fail(w, "tensor %s is empty: shape %s", name,
                         weights_shape_text(ndim, entry->dim, got, sizeof got));
            return false;
        }
    }
    return true;
}

int spec_dims(const WeightSpec *s)
{
    int n = 0;
    while (n < TENSOR_DIMS && s->dim[n]) n++;
    return n;
}

int64_t spec_len(const WeightSpec *s)
{
    int64_t n = 1;
    for (int i = 0, d = spec_dims(s); i < d; i++) n *= s->dim[i];
    return n;
}

bool spec_turned(const WeightSpec *s) { return s->kind == WEIGHT_CONV || s->kind == WEIGHT_DECONV; }

int spec_file_dims(const WeightSpec *s, int64_t dim[TENSOR_DIMS])
{
    memcpy(dim, s->dim, sizeof s->dim);
    if (spec_turned(s)) {
        dim[1] = s->dim[3];
        dim[2] = s->dim[1];
        dim[3] = s->dim[2];
    }
    return spec_dims(s);
}

const char *weights_shape_text(int ndim, const int64_t *dim, char *buffer, size_t room)
{
    size_t at = (size_t)snprintf(buffer, room, "[");
    for (int i = 0; i < ndim && at < room; i++)
        at += (size_t)snprintf(buffer + at, room - at, "%s%lld", i ? "," : "", (long long)dim[i]);
    if (at < room) snprintf(buffer + at, room - at, "]");
    return buffer;
}

bool weights_check_shape(Weights *w, const WeightSpec *s, const char *name)
{
    int64_t dim[TENSOR_DIMS];
    char want[128], got[128];
    int n = spec_file_dims(s, dim);
    const TensorEntry *entry = weights_find(w, name);
    if (!entry && (!w->file || (w->fresh_buffers && s->kind == WEIGHT_BUFFER))) return true;
    bool fits = entry && ((entry->ndim == n && !memcmp(entry->dim, dim, (size_t)n * sizeof *dim)) ||
                          (!entry->ndim && n == 1 && dim[0] == 1)); /* PyTorch's scalar */
    bool codes = entry && entry->dtype >= ST_I64 && entry->dtype <= ST_BOOL;
    if (fits && !codes) return true;
    weights_shape_text(n, dim, want, sizeof want);
    if (!entry)
        weights_fail(w, "tensor %s is missing: expected shape %s", name, want);
    else if (fits) /* of 8-bit weights, say, whose scales lie elsewhere */
        weights_fail(w, "tensor %s: expected floats, found %s", name, st_dtype_name(entry->dtype));
    else
        weights_fail(w, "tensor %s: expected shape %s, found %s", name, want,
                     weights_shape_text(entry->ndim, entry->dim, got, sizeof got));
    return false;
}

bool weights_expect(Weights *w, WeightSpec spec, const char *format, ...)
{
    char name[PARAMS_NAME];
    va_list args;
    va_start(args, format);
    bool named = !w->error.code && name_format(w, name, format, args);
    va_end(args);
    return named && weights_check_shape(w, &spec, name);
}

void weights_read(Weights *w, WeightSpec spec, float *x, const char *format, ...)
{
    char name[PARAMS_NAME];
    va_list args;
    va_start(args, format);
    if (!w->error.code && name_format(w, name, format, args)) weights_read_values(w, &spec, name, x);
    va_end(args);
}

/* ---- tensors ---- */

Tensor *weights_get(Weights *w, WeightSpec spec, const char *format, ...)
{
    char name[PARAMS_NAME];
    va_list args;
    va_start(args, format);
    bool named = !w->error.code && name_format(w, name, format, args);
    va_end(args);
    if (!named) return NULL;
    WeightsItem *list = list_room(w, w->item, w->n, &w->room, sizeof *w->item);
    if (!list) return NULL;
    w->item = list;
    bool quant = !w->trainable && spec.kind == WEIGHT_LINEAR && weights_is_quant(w, name);
    if (!quant && !weights_check_shape(w, &spec, name))
        return NULL; /* before anything of that size is allocated */
    Tensor *x;
    if (!w->trainable)
        x = weights_load_frozen(w, &spec, name);
    else if (spec.kind == WEIGHT_BUFFER)
        x = tensor_new(w->state, DTYPE_f32, spec_dims(&spec), spec.dim);
    else
        x = params_add(w->params, name, spec_dims(&spec), spec.dim);
    if (!x) return NULL;
    WeightsItem *item = &w->item[w->n++];
    *item = (WeightsItem){.tensor = x, .spec = spec, .frozen = !w->trainable};
    memcpy(item->name, name, sizeof item->name);
    return x;
}

bool weights_fill(Weights *w, Error *e)
{
    for (int i = 0; i < w->n && !w->error.code; i++) {
        WeightsItem *item = &w->item[i];
        if (item->frozen) continue;
        if (!item->tensor->data) die("weights: %s filled before params_alloc", item->name);
        weights_load(w, &item->spec, item->name, item->tensor);
    }
    return weights_ok(w, e);
}

/* ---- metadata ---- */

const char *weights_meta(const Weights *w, const char *key)
{
    return w->file ? tensor_file_meta(w->file, key) : NULL;
}

int64_t weights_meta_int(Weights *w, const char *key, int64_t fallback, int64_t low, int64_t high)
{
    const char *text = weights_meta(w, key);
    if (!text) return fallback;
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (!errno && end != text && !*end && v >= low && v <= high) return v;
    weights_fail(w, "metadata %s: expected a whole number from %lld to %lld, found \"%.40s\"", key,
                 (long long)low, (long long)high, text);
    return fallback;
}

double weights_meta_float(Weights *w, const char *key, double fallback, double low, double high)
{
    const char *text = weights_meta(w, key);
    if (!text) return fallback;
    char *end;
    double v = strtod(text, &end);
    if (end != text && !*end && v >= low && v <= high) return v;
    weights_fail(w, "metadata %s: expected a number from %g to %g, found \"%.40s\"", key, low, high, text);
    return fallback;
}

void weights_set_meta(Weights *w, const char *key, const char *format, ...)
{
    WeightsMeta *m = NULL;
    for (int i = 0; i < w->n_meta; i++)
        if (!strcmp(w->meta[i].key, key)) m = &w->meta[i];
    if (!m) {
        WeightsMeta *list = list_room(w, w->meta, w->n_meta, &w->meta_room, sizeof *w->meta);
        if (!list) return;
        w->meta = list;
        m = &w->meta[w->n_meta++];
    }
    snprintf(m->key, sizeof m->key, "%s", key);
    va_list args;
    va_start(args, format);
    vsnprintf(m->value, sizeof m->value, format, args);
    va_end(args);
}
