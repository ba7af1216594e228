#include "models/weights_quant.h"
#include "data/json.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NESTED_BLOCK = 256, STATE_LIMIT = 1 << 16 };
#define STATE "quant_state."

/* What follows STATE in a name. */
static const struct Form {
    const char *name;
    DType dtype;
} forms[] = {{"bitsandbytes__nf4", DTYPE_nf4}, {"bitsandbytes__fp4", DTYPE_fp4}, {"pcrl__q4_0", DTYPE_q4_0}};
enum { FORMS = sizeof forms / sizeof *forms };

bool weights_buffers_keep(WeightsBuffers *b, void *p)
{
    if (b->n == b->room) {
        int room = b->room ? 2 * b->room : 64;
        void **grown = realloc(b->block, (size_t)room * sizeof *grown);
        if (!grown) {
            free(p);
            return false;
        }
        b->block = grown;
        b->room = room;
    }
    b->block[b->n++] = p;
    return true;
}

void weights_buffers_free(WeightsBuffers *b)
{
    for (int i = 0; i < b->n; i++) free(b->block[i]);
    free(b->block);
    *b = (WeightsBuffers){0};
}

static const TensorEntry *plane(const Weights *w, const char *name, const char *suffix)
{
    char full[PARAMS_NAME + 64];
    snprintf(full, sizeof full, "%s.%s", name, suffix);
    return weights_find(w, full);
}

/* The name of quant_state i of the weight, from STATE on; NULL where there are no more. */
static const char *state_name(const Weights *w, const char *name, int i)
{
    const TensorEntry *codes = weights_find(w, name);
    if (!codes) return NULL;
    size_t n = strlen(codes->name);
    const TensorEntry *end = w->file->entry + w->file->n;
    for (const TensorEntry *t = codes; t < end && !strncmp(t->name, codes->name, n); t++) /* by name */
        if (!strncmp(t->name + n, "." STATE, strlen("." STATE)) && !i--) return t->name + n + 1;
    return NULL;
}

bool weights_is_quant(const Weights *w, const char *name) { return state_name(w, name, 0); }

/* ---- reading ---- */

typedef struct Planes {
    uint8_t *codes, *nested;
    float *absmax, *nested_absmax;
    double offset;
} Planes;

/* The entry's bytes if it is what the 4-bit layout says, else NULL and a sticky error. Codes (suffix "") may be
 * declared as any dtype: bitsandbytes stores them as elements of bnb_4bit_quant_storage. */
static void *read_plane(Weights *w, const char *name, const char *suffix, StDType dtype, int64_t n)
{
    const TensorEntry *entry = *suffix ? plane(w, name, suffix) : weights_find(w, name);
    if (w->error.code) return NULL;
    if (!entry || (*suffix && entry->dtype != dtype) || entry->size != (uint64_t)n * st_dtype_size(dtype)) {
        weights_fail(w, "tensor %s%s%s: expected %lld elements of %s, found %s, %llu bytes", name,
                     *suffix ? "." : "", suffix, (long long)n, st_dtype_name(dtype),
                     entry ? st_dtype_name(entry->dtype) : "none",
                     entry ? (unsigned long long)entry->size : 0ULL);
        return NULL;
    }
    void *p = malloc(entry->size ? entry->size : 1);
    if (!p) {
        error_set(&w->error, ERROR_MEMORY, "out of host memory for tensor %s", name);
        return NULL;
    }
    if (tensor_file_read(w->file, entry, p, &w->error)) return p;
    free(p);
    return NULL;
}

typedef struct QuantState {
    const char *suffix; /* "quant_state.bitsandbytes__nf4" */
    DType dtype;
    json_t *json;
} QuantState;

/* The one quant_state of the weight, at most STATE_LIMIT bytes of JSON. False and a sticky error. */
static bool read_state(Weights *w, const char *name, QuantState *state)
{
    const char *suffix = state->suffix = state_name(w, name, 0), *second = state_name(w, name, 1);
    int form = 0;
    if (!suffix || second) {
        weights_fail(w, "tensor %s: expected one quant_state, found %s%s%s", name, suffix ? suffix : "none",
                     second ? " and " : "", second ? second : "");
        return false;
    }
    while (form < FORMS && strcmp(suffix + strlen(STATE), forms[form].name)) form++;
    if (form == FORMS) {
        weights_fail(w, "tensor %s: expected a quant_state of nf4, fp4 or q4_0, found %.60s", name,
                     suffix + strlen(STATE));
        return false;
    }
    state->dtype = forms[form].dtype;
    const TensorEntry *entry = plane(w, name, suffix);
    if (!entry || entry->dtype != ST_U8 || entry->size > STATE_LIMIT) {
        weights_fail(w, "tensor %s.%s: expected at most %d bytes of JSON, found another dtype or size", name,
                     suffix, STATE_LIMIT);
        return false;
    }
    char *text = read_plane(w, name, suffix, ST_U8, (int64_t)entry->size);
    if (!text) return false;
    char what[1024];
    snprintf(what, sizeof what, "%s: tensor %s.%s", w->file->path, name, suffix);
    state->json = json_parse(text, entry->size, what, &w->error);
    free(text);
    return state->json;
}

static int64_t whole(const json_t *state, const char *key)
{
    const json_t *v = json_object_get(state, key);
    return json_is_integer(v) ? json_integer_value(v) : -1;
}

static bool check_state(Weights *w, const char *name, const QuantState *state, int64_t out, int64_t in)
{
    const char *type = json_string_value(json_object_get(state->json, "quant_type"));
    const json_t *shape = json_object_get(state->json, "shape");
    int64_t block = dtype_block(state->dtype), found = whole(state->json, "blocksize");
    int64_t rows = json_integer_value(json_array_get(shape, 0));
    int64_t columns = json_integer_value(json_array_get(shape, 1));
    if (!type || strcmp(type, dtype_name(state->dtype)))
        weights_fail(w, "tensor %s: expected quant_type %s, found %.20s", name, dtype_name(state->dtype),
                     type ? type : "none");
    else if (found != block)
        weights_fail(w, "tensor %s: expected blocksize %lld, found %lld", name, (long long)block,
                     (long long)found);
    else if (json_array_size(shape) != 2 || rows != out || columns != in)
        weights_fail(w, "tensor %s: expected shape [%lld,%lld], found [%lld,%lld]", name, (long long)out,
                     (long long)in, (long long)rows, (long long)columns);
    return !w->error.code;
}

bool weights_quant_shape(Weights *w, const char *name, int64_t dim[2])
{
    QuantState state = {0};
    if (!read_state(w, name, &state)) return false;
    const json_t *shape = json_object_get(state.json, "shape");
    for (size_t i = 0; i < 2; i++) dim[i] = json_integer_value(json_array_get(shape, i));
    if (json_array_size(shape) != 2 || dim[0] < 1 || dim[1] < 1 || dim[0] > INT32_MAX || dim[1] > INT32_MAX)
        weights_fail(w, "tensor %s.%s: expected a shape of two dims, found [%lld,%lld]", name, state.suffix,
                     (long long)dim[0], (long long)dim[1]);
    json_decref(state.json);
    return !w->error.code;
}

/* A stored code table must be the one that our decoders use. */
static bool check_map(Weights *w, const char *name, const char *suffix, const float *want, int n)
{
    if (!plane(w, name, suffix)) return true;
    float *map = read_plane(w, name, suffix, ST_F32, n);
    for (int i = 0; map && i < n; i++)
        if (!(fabsf(map[i] - want[i]) <= 1e-6f)) {
            weights_fail(w, "tensor %s.%s: expected %g at %d, found %g", name, suffix, (double)want[i], i,
                         (double)map[i]);
            break;
        }
    free(map);
    return !w->error.code;
}

static bool read_nested(Weights *w, const char *name, const json_t *state, int64_t blocks, Planes *p)
{
    if (whole(state, "nested_blocksize") != NESTED_BLOCK ||
        !json_is_number(json_object_get(state, "nested_offset"))) {
        weights_fail(w, "tensor %s: expected nested_blocksize %d and a nested_offset, found %lld", name,
                     NESTED_BLOCK, (long long)whole(state, "nested_blocksize"));
        return false;
    }
    p->offset = json_number_value(json_object_get(state, "nested_offset"));
    if (!(fabs(p->offset) <= (double)FLT_MAX)) {
        weights_fail(w, "tensor %s: expected a nested_offset within f32, found %g", name, p->offset);
        return false;
    }
    if (!check_map(w, name, "nested_quant_map", quant_dynamic_map(), 256)) return false;
    p->nested = read_plane(w, name, "absmax", ST_U8, blocks);
    p->nested_absmax = read_plane(w, name, "nested_absmax", ST_F32, (blocks + NESTED_BLOCK - 1) / NESTED_BLOCK);
    return !w->error.code;
}

static bool is_nested(const Weights *w, const char *name)
{
    const TensorEntry *absmax = plane(w, name, "absmax");
    return absmax && absmax->dtype == ST_U8;
}

static bool read_planes(Weights *w, const char *name, const QuantState *state, int64_t n, Planes *p)
{
    DType dtype = state->dtype;
    p->codes = read_plane(w, name, "", ST_U8, (int64_t)dtype_bytes(dtype, n));
    if (!dtype_is_planar(dtype)) return p->codes;
    int64_t blocks = (n + dtype_block(dtype) - 1) / dtype_block(dtype);
    if (!check_map(w, name, "quant_map", quant_levels(dtype), 16)) return false;
    if (is_nested(w, name)) return read_nested(w, name, state->json, blocks, p);
    p->absmax = read_plane(w, name, "absmax", ST_F32, blocks);
    return !w->error.code;
}

Tensor *weights_read_quant(Weights *w, const char *name, int64_t out, int64_t in)
{
    QuantState state = {0};
    Planes p = {0};
    Tensor *x = NULL;
    bool known = read_state(w, name, &state) && check_state(w, name, &state, out, in);
    if (known && w->weights->backend->kernels == kernels_plan) {
        x = quant_tensor(w->weights, state.dtype, out, in, NULL,
                         dtype_is_planar(state.dtype) && is_nested(w, name));
    } else if (known && read_planes(w, name, &state, out * in, &p)) {
        Quant planes = {p.absmax, p.nested, p.nested_absmax, (float)p.offset};
        x = quant_tensor_from(w->weights, state.dtype, out, in, p.codes,
                              dtype_is_planar(state.dtype) ? &planes : NULL);
    }
    json_decref(state.json);
    free(p.codes);
    free(p.nested);
    free(p.absmax);
    free(p.nested_absmax);
    return x;
}

Tensor *weights_read_blocks(Weights *w, const char *name, int64_t out, int64_t in)
{
    if (w->weights->backend->kernels == kernels_plan)
        return quant_tensor(w->weights, DTYPE_q4_0, out, in, NULL, false);
    void *codes = read_plane(w, name, "", ST_Q4_0, out * in / st_dtype_block(ST_Q4_0));
    Tensor *x = codes ? quant_tensor_from(w->weights, DTYPE_q4_0, out, in, codes, NULL) : NULL;
    free(codes);
    return x;
}

/* ---- writing ---- */

typedef struct PlaneWriter {
    StWriter *writer;
    const char *name;
    float offset;
    WeightsBuffers *buffers;
    WeightsAdd *add;
    void *context;
    bool ok;
} PlaneWriter;

static void add_plane(PlaneWriter *p, const char *suffix, WeightsPlane plane, StDType dtype, int ndim,
                      const int64_t *dim, const void *data)
{
    char full[PARAMS_NAME + 64];
    snprintf(full, sizeof full, "%s%s%s", p->name, *suffix ? "." : "", suffix);
    p->ok = p->ok && p->add(p->context, full, plane, dtype, ndim, dim, data);
}

/* A copy of host memory as name.suffix. */
static void add_host(PlaneWriter *p, const char *suffix, StDType dtype, int64_t n, const void *host)
{
    char full[PARAMS_NAME + 64];
    size_t bytes = (size_t)n * st_dtype_size(dtype);
    void *copy = p->ok ? malloc(bytes) : NULL;
    p->ok = copy && weights_buffers_keep(p->buffers, copy);
    if (!p->ok) return;
    memcpy(copy, host, bytes);
    snprintf(full, sizeof full, "%s.%s", p->name, suffix);
    st_writer_add(p->writer, full, dtype, 1, &n, copy);
}

static void add_state(PlaneWriter *p, const Tensor *x)
{
    char suffix[64];
    int form = 0;
    while (forms[form].dtype != x->dtype) form++;
    snprintf(suffix, sizeof suffix, "%s%s", STATE, forms[form].name);
    json_t *state = json_pack("{s:s, s:I, s:s, s:[I,I]}", "quant_type", dtype_name(x->dtype), "blocksize",
                              (json_int_t)dtype_block(x->dtype), "dtype", "float32", "shape",
                              (json_int_t)x->dim[0], (json_int_t)x->dim[1]);
    if (state && x->quant && !x->quant->absmax) {
        json_object_set_new(state, "nested_blocksize", json_integer(NESTED_BLOCK));
        json_object_set_new(state, "nested_dtype", json_string("float32"));
        json_object_set_new(state, "nested_offset", json_real((double)p->offset));
    }
    char *text = state ? json_text(state, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(state);
    if (text)
        add_host(p, suffix, ST_U8, (int64_t)strlen(text), text);
    else
        p->ok = false;
    free(text);
}

static void add_planes(PlaneWriter *p, const Tensor *x)
{
    const Quant *q = x->quant;
    int64_t blocks = (tensor_len(x) + dtype_block(x->dtype) - 1) / dtype_block(x->dtype);
    int64_t outer = (blocks + NESTED_BLOCK - 1) / NESTED_BLOCK;
    add_host(p, "quant_map", ST_F32, 16, quant_levels(x->dtype));
    if (q->absmax) {
        add_plane(p, "absmax", PLANE_ABSMAX, ST_F32, 1, &blocks, q->absmax);
    } else {
        add_plane(p, "absmax", PLANE_NESTED, ST_U8, 1, &blocks, q->nested);
        add_plane(p, "nested_absmax", PLANE_NESTED_ABSMAX, ST_F32, 1, &outer, q->nested_absmax);
        add_host(p, "nested_quant_map", ST_F32, 256, quant_dynamic_map());
    }
}

bool weights_write_quant(StWriter *writer, const char *name, const Tensor *x, float offset,
                         WeightsBuffers *buffers, WeightsAdd *add, void *context)
{
    PlaneWriter p = {writer, name, offset, buffers, add, context, true};
    bool planar = dtype_is_planar(x->dtype);
    add_plane(&p, "", PLANE_CODES, ST_U8, planar ? 2 : 1, (int64_t[]){(int64_t)tensor_bytes(x), 1}, x->data);
    if (planar) add_planes(&p, x);
    add_state(&p, x);
    return p.ok;
}
