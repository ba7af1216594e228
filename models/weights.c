#include "models/weights.h"
#include "models/weights_quant.h"
#include "tensor/half.h"
#include "tensor/rng.h"
#include <errno.h>
#include <math.h>
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

static int spec_dims(const WeightSpec *s)
{
    int n = 0;
    while (n < TENSOR_DIMS && s->dim[n]) n++;
    return n;
}

static int64_t spec_len(const WeightSpec *s)
{
    int64_t n = 1;
    for (int i = 0, d = spec_dims(s); i < d; i++) n *= s->dim[i];
    return n;
}

/* Whether the file has [a,b,kh,kw] where memory has (a,kh,kw,b). */
static bool is_turned(const WeightSpec *s) { return s->kind == WEIGHT_CONV || s->kind == WEIGHT_DECONV; }

/* The shape in a file's layout. */
static int file_dims(const WeightSpec *s, int64_t dim[TENSOR_DIMS])
{
    memcpy(dim, s->dim, sizeof s->dim);
    if (is_turned(s)) {
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

/* [o,i,kh,kw] -> (o,kh,kw,i), or back; of a transposed conv, [i,o,kh,kw] -> (i,kh,kw,o). */
static void conv_turn(const WeightSpec *s, const float *from, float *to, bool to_file)
{
    int64_t O = s->dim[0], P = s->dim[1] * s->dim[2], I = s->dim[3];
    for (int64_t o = 0; o < O; o++)
        for (int64_t p = 0; p < P; p++)
            for (int64_t i = 0; i < I; i++) {
                int64_t memory = (o * P + p) * I + i, file = (o * I + i) * P + p;
                if (to_file)
                    to[file] = from[memory];
                else
                    to[memory] = from[file];
            }
}

/* ---- values ---- */

static void initialise(const Weights *w, const WeightSpec *s, const char *name, float *x)
{
    int64_t n = spec_len(s), out = s->dim[0], area = is_turned(s) ? s->dim[1] * s->dim[2] : 1;
    int64_t fan_in = n / out;
    Rng rng = rng_open(w->seed, name);
    double a = s->a;
    if (s->init == INIT_KAIMING) a = sqrt(2.0 / (double)(out * area));
    if (s->init == INIT_LINEAR) a = 1 / sqrt(s->a > 0 ? (double)s->a : (double)fan_in);
    for (int64_t i = 0; i < n; i++) switch (s->init) {
        case INIT_ZEROS: x[i] = 0; break;
        case INIT_ONES: x[i] = 1; break;
        case INIT_CONSTANT: x[i] = s->a; break;
        case INIT_NORMAL:
        case INIT_KAIMING: x[i] = (float)(a * rng_normal(&rng)); break;
        case INIT_UNIFORM:
        case INIT_LINEAR: x[i] = (float)rng_range(&rng, -a, a); break;
        }
}

/* False and a sticky error unless the file's entry has the shape of s, or there is no file. */
static bool check_shape(Weights *w, const WeightSpec *s, const char *name)
{
    int64_t dim[TENSOR_DIMS];
    char want[128], got[128];
    int n = file_dims(s, dim);
    const TensorEntry *entry = weights_find(w, name);
    if (!entry && !w->file) return true;
    if (entry && entry->ndim == n && !memcmp(entry->dim, dim, (size_t)n * sizeof *dim)) return true;
    if (entry && !entry->ndim && n == 1 && dim[0] == 1) return true; /* PyTorch's scalar */
    weights_shape_text(n, dim, want, sizeof want);
    if (!entry)
        weights_fail(w, "tensor %s is missing: expected shape %s", name, want);
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
    return named && check_shape(w, &spec, name);
}

/* From file, generator or rule, in the file's layout. */
static bool read_file_layout(Weights *w, const WeightSpec *s, const char *name, float *x)
{
    int64_t dim[TENSOR_DIMS];
    int n = file_dims(s, dim);
    if (!check_shape(w, s, name)) return false;
    const TensorEntry *entry = weights_find(w, name);
    if (entry) return tensor_file_read_f32(w->file, entry, x, &w->error);
    if (w->generator)
        w->generator(w->user, name, n, dim, x);
    else
        initialise(w, s, name, x);
    return true;
}

/* The same in memory layout. */
static bool read_values(Weights *w, const WeightSpec *s, const char *name, float *x)
{
    if (!is_turned(s)) return read_file_layout(w, s, name, x);
    float *file = malloc((size_t)spec_len(s) * sizeof *file);
    if (!file) return error_set(&w->error, ERROR_MEMORY, "out of host memory for tensor %s", name);
    bool ok = read_file_layout(w, s, name, file);
    if (ok) conv_turn(s, file, x, false);
    free(file);
    return ok;
}

void weights_read(Weights *w, WeightSpec spec, float *x, const char *format, ...)
{
    char name[PARAMS_NAME];
    va_list args;
    va_start(args, format);
    if (!w->error.code && name_format(w, name, format, args)) read_values(w, &spec, name, x);
    va_end(args);
}

/* Whether nobody will read the values, or somebody else makes them. */
static bool is_unfilled(const Weights *w, const Backend *b)
{
    return b->kernels == kernels_plan || (w->unfilled && !w->file);
}

/* Uploads the values of `name` into x. */
static bool load_plain(Weights *w, const WeightSpec *s, const char *name, Tensor *x)
{
    if (is_unfilled(w, x->backend)) return true;
    const TensorEntry *entry = weights_find(w, name);
    bool as_it_is = x->dtype == DTYPE_bf16 && entry && entry->dtype == ST_BF16;
    float *host = malloc((size_t)spec_len(s) * sizeof *host);
    if (!host) return error_set(&w->error, ERROR_MEMORY, "out of host memory for tensor %s", name);
    bool ok = as_it_is ? tensor_file_read(w->file, entry, host, &w->error) : read_values(w, s, name, host);
    if (ok && x->dtype == DTYPE_bf16 && !as_it_is)
        for (int64_t i = 0; i < spec_len(s); i++) {
            uint16_t half = bf16_from_float(host[i]);
            memcpy((char *)host + (size_t)i * sizeof half, &half, sizeof half);
        }
    if (ok) tensor_upload(x, host);
    free(host);
    return ok;
}

/* What a frozen tensor is kept in where it is not 4-bit. */
static DType plain_type(Weights *w, const WeightSpec *s, const char *name)
{
    const TensorEntry *entry = weights_find(w, name);
    if (s->kind != WEIGHT_TABLE) return DTYPE_f32;
    return !entry ? w->table : entry->dtype == ST_BF16 ? DTYPE_bf16 : DTYPE_f32;
}

static Tensor *load_frozen(Weights *w, const WeightSpec *s, const char *name)
{
    if (s->kind == WEIGHT_LINEAR) {
        const TensorEntry *entry = weights_find(w, name);
        if (weights_is_quant(w, name)) return weights_read_quant(w, name, s->dim[0], s->dim[1]);
        if (entry && entry->dtype == ST_Q4_0) return weights_read_blocks(w, name, s->dim[0], s->dim[1]);
        if (dtype_is_quant(w->quant) && is_unfilled(w, w->weights->backend))
            return quant_tensor(w->weights, w->quant, s->dim[0], s->dim[1], NULL, w->nested);
        if (dtype_is_quant(w->quant)) {
            float *host = malloc((size_t)spec_len(s) * sizeof *host);
            if (!host) error_set(&w->error, ERROR_MEMORY, "out of host memory for tensor %s", name);
            Tensor *x = NULL;
            if (host && read_values(w, s, name, host))
                x = quant_tensor(w->weights, w->quant, s->dim[0], s->dim[1], host, w->nested);
            free(host);
            return x;
        }
    }
    Tensor *x = tensor_new(w->weights, plain_type(w, s, name), spec_dims(s), s->dim);
    return load_plain(w, s, name, x) ? x : NULL;
}

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
    if (!quant && !check_shape(w, &spec, name)) return NULL; /* before anything of that size is allocated */
    Tensor *x;
    if (!w->trainable)
        x = load_frozen(w, &spec, name);
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
        load_plain(w, &item->spec, item->name, item->tensor);
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

/* ---- writing ---- */

/* One tensor's values in the file's layout; NULL when out of memory. */
static void *save_values(const WeightsItem *item)
{
    size_t bytes = tensor_bytes(item->tensor);
    float *x = malloc(bytes), *turned = is_turned(&item->spec) ? malloc(bytes) : NULL;
    if (!x || (is_turned(&item->spec) && !turned)) {
        free(x);
        free(turned);
        return NULL;
    }
    tensor_download(item->tensor, x);
    if (!turned) return x;
    conv_turn(&item->spec, x, turned, true);
    free(x);
    return turned;
}

static bool save_item(StWriter *writer, const WeightsItem *item, WeightsBuffers *buffers)
{
    if (dtype_is_quant(item->tensor->dtype))
        return weights_write_quant(writer, item->name, item->tensor, buffers);
    int64_t dim[TENSOR_DIMS];
    void *x = save_values(item);
    if (!x) return false;
    StDType type = item->tensor->dtype == DTYPE_bf16 ? ST_BF16 : ST_F32;
    st_writer_add(writer, item->name, type, file_dims(&item->spec, dim), dim, x);
    return weights_buffers_keep(buffers, x);
}

bool weights_save(Weights *const *part, int n, bool frozen, const char *const *meta, const char *path, Error *e)
{
    StWriter *writer = st_writer_new();
    WeightsBuffers buffers = {0};
    bool ok = writer;
    for (int p = 0; ok && p < n; p++) {
        for (int i = 0; i < part[p]->n_meta; i++)
            st_writer_meta(writer, part[p]->meta[i].key, part[p]->meta[i].value);
        for (int i = 0; ok && i < part[p]->n; i++)
            if (frozen || !part[p]->item[i].frozen) ok = save_item(writer, &part[p]->item[i], &buffers);
    }
    for (; ok && meta && meta[0]; meta += 2) st_writer_meta(writer, meta[0], meta[1]);
    if (ok)
        ok = st_writer_save(writer, path, e);
    else
        error_set(e, ERROR_MEMORY, "%s: out of host memory while collecting the weights", path);
    weights_buffers_free(&buffers);
    if (writer) st_writer_free(writer);
    return ok;
}
