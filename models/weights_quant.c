#include "models/weights_quant.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64, NESTED_BLOCK = 256, STATE_LIMIT = 1 << 16 };
#define STATE_NF4 "quant_state.bitsandbytes__nf4"
#define STATE_FP4 "quant_state.bitsandbytes__fp4"

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

static const StEntry *plane(const Weights *w, const char *name, const char *suffix)
{
    char full[PARAMS_NAME + 64];
    snprintf(full, sizeof full, "%s.%s", name, suffix);
    return weights_find(w, full);
}

bool weights_is_quant(const Weights *w, const char *name)
{
    const StEntry *codes = weights_find(w, name);
    return codes && codes->dtype == ST_U8 && (plane(w, name, STATE_NF4) || plane(w, name, STATE_FP4));
}

/* ---- reading ---- */

typedef struct Nf4Planes {
    uint8_t *codes, *nested;
    float *absmax, *nested_absmax;
    double offset;
} Nf4Planes;

/* The entry's bytes if it is what the 4-bit layout says, else NULL and a sticky error. */
static void *read_plane(Weights *w, const char *name, const char *suffix, StDType dtype, int64_t n)
{
    const StEntry *entry = *suffix ? plane(w, name, suffix) : weights_find(w, name);
    if (w->error.code) return NULL;
    if (!entry || entry->dtype != dtype || entry->size != (uint64_t)n * st_dtype_size(dtype)) {
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
    if (safetensors_read(w->file, entry, p, &w->error)) return p;
    free(p);
    return NULL;
}

/* The quant_state JSON, at most STATE_LIMIT bytes. NULL and a sticky error. */
static json_t *read_state(Weights *w, const char *name)
{
    const StEntry *entry = plane(w, name, STATE_NF4);
    if (!entry || entry->dtype != ST_U8 || entry->size > STATE_LIMIT) {
        weights_fail(w, "tensor %s.%s: expected at most %d bytes of JSON, found %s", name, STATE_NF4,
                     STATE_LIMIT, entry ? "another dtype or size" : "an fp4 weight");
        return NULL;
    }
    char *text = read_plane(w, name, STATE_NF4, ST_U8, (int64_t)entry->size);
    if (!text) return NULL;
    json_error_t why;
    json_t *state = json_loadb(text, entry->size, JSON_REJECT_DUPLICATES, &why);
    free(text);
    if (!state) weights_fail(w, "tensor %s.%s: not JSON: %s", name, STATE_NF4, why.text);
    return state;
}

static int64_t whole(const json_t *state, const char *key)
{
    const json_t *v = json_object_get(state, key);
    return json_is_integer(v) ? json_integer_value(v) : -1;
}

static bool check_state(Weights *w, const char *name, const json_t *state, int64_t out, int64_t in)
{
    const char *type = json_string_value(json_object_get(state, "quant_type"));
    const json_t *shape = json_object_get(state, "shape");
    int64_t rows = json_integer_value(json_array_get(shape, 0));
    int64_t columns = json_integer_value(json_array_get(shape, 1));
    if (!type || strcmp(type, "nf4"))
        weights_fail(w, "tensor %s: expected quant_type nf4, found %.20s", name, type ? type : "none");
    else if (whole(state, "blocksize") != BLOCK)
        weights_fail(w, "tensor %s: expected blocksize %d, found %lld", name, BLOCK,
                     (long long)whole(state, "blocksize"));
    else if (json_array_size(shape) != 2 || rows != out || columns != in)
        weights_fail(w, "tensor %s: expected shape [%lld,%lld], found [%lld,%lld]", name, (long long)out,
                     (long long)in, (long long)rows, (long long)columns);
    return !w->error.code;
}

bool weights_quant_shape(Weights *w, const char *name, int64_t dim[2])
{
    json_t *state = read_state(w, name);
    if (!state) return false;
    const json_t *shape = json_object_get(state, "shape");
    for (size_t i = 0; i < 2; i++) dim[i] = json_integer_value(json_array_get(shape, i));
    if (json_array_size(shape) != 2 || dim[0] < 1 || dim[1] < 1 || dim[0] > INT32_MAX || dim[1] > INT32_MAX)
        weights_fail(w, "tensor %s.%s: expected a shape of two dims, found [%lld,%lld]", name, STATE_NF4,
                     (long long)dim[0], (long long)dim[1]);
    json_decref(state);
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

/* The 16 levels, in order of their codes. */
static void levels(float level[16])
{
    uint8_t codes[8];
    float one = 1;
    for (int i = 0; i < 8; i++) codes[i] = (uint8_t)((2 * i) << 4 | (2 * i + 1));
    quant_decode(DTYPE_nf4, codes, &one, 16, level);
}

static bool read_nested(Weights *w, const char *name, const json_t *state, int64_t blocks, Nf4Planes *p)
{
    if (whole(state, "nested_blocksize") != NESTED_BLOCK ||
        !json_is_number(json_object_get(state, "nested_offset"))) {
        weights_fail(w, "tensor %s: expected nested_blocksize %d and a nested_offset, found %lld", name,
                     NESTED_BLOCK, (long long)whole(state, "nested_blocksize"));
        return false;
    }
    p->offset = json_number_value(json_object_get(state, "nested_offset"));
    if (!check_map(w, name, "nested_quant_map", quant_dynamic_map(), 256)) return false;
    p->nested = read_plane(w, name, "absmax", ST_U8, blocks);
    p->nested_absmax = read_plane(w, name, "nested_absmax", ST_F32, (blocks + NESTED_BLOCK - 1) / NESTED_BLOCK);
    return !w->error.code;
}

static bool read_planes(Weights *w, const char *name, const json_t *state, int64_t n, Nf4Planes *p)
{
    int64_t blocks = (n + BLOCK - 1) / BLOCK;
    float level[16];
    levels(level);
    if (!check_map(w, name, "quant_map", level, 16)) return false;
    p->codes = read_plane(w, name, "", ST_U8, (n + 1) / 2);
    const StEntry *absmax = plane(w, name, "absmax");
    if (absmax && absmax->dtype == ST_U8) return read_nested(w, name, state, blocks, p);
    p->absmax = read_plane(w, name, "absmax", ST_F32, blocks);
    return !w->error.code;
}

Tensor *weights_read_quant(Weights *w, const char *name, int64_t out, int64_t in)
{
    Nf4Planes p = {0};
    Tensor *x = NULL;
    json_t *state = read_state(w, name);
    if (state && check_state(w, name, state, out, in) && read_planes(w, name, state, out * in, &p)) {
        Quant planes = {p.absmax, p.nested, p.nested_absmax, (float)p.offset};
        x = quant_tensor_from(w->weights, DTYPE_nf4, out, in, p.codes, &planes);
    }
    json_decref(state);
    free(p.codes);
    free(p.nested);
    free(p.absmax);
    free(p.nested_absmax);
    return x;
}

/* ---- writing ---- */

typedef struct PlaneWriter {
    StWriter *writer;
    const char *name;
    const Backend *backend;
    WeightsBuffers *buffers;
    bool ok;
} PlaneWriter;

/* Copies `bytes` from src (backend memory, or host when `host`) and adds them as name.suffix. */
static void add_plane(PlaneWriter *p, const char *suffix, StDType dtype, int ndim, const int64_t *dim,
                      const void *src, size_t bytes, bool host)
{
    char full[PARAMS_NAME + 64];
    void *copy = p->ok ? malloc(bytes) : NULL;
    if (!copy) {
        p->ok = false;
        return;
    }
    if (host)
        memcpy(copy, src, bytes);
    else
        p->backend->download(copy, src, bytes);
    snprintf(full, sizeof full, "%s%s%s", p->name, *suffix ? "." : "", suffix);
    p->ok = weights_buffers_keep(p->buffers, copy);
    if (p->ok) st_writer_add(p->writer, full, dtype, ndim, dim, copy);
}

static void add_state(PlaneWriter *p, const Tensor *x)
{
    json_t *state = json_pack("{s:s, s:i, s:s, s:[I,I]}", "quant_type", "nf4", "blocksize", (int)BLOCK, "dtype",
                              "float32", "shape", (json_int_t)x->dim[0], (json_int_t)x->dim[1]);
    if (state && !x->quant->absmax) {
        json_object_set_new(state, "nested_blocksize", json_integer(NESTED_BLOCK));
        json_object_set_new(state, "nested_dtype", json_string("float32"));
        json_object_set_new(state, "nested_offset", json_real((double)x->quant->offset));
    }
    char *text = state ? json_dumps(state, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(state);
    int64_t n = text ? (int64_t)strlen(text) : 0;
    if (text)
        add_plane(p, STATE_NF4, ST_U8, 1, &n, text, (size_t)n, true);
    else
        p->ok = false;
    free(text);
}

bool weights_write_quant(StWriter *writer, const char *name, const Tensor *x, WeightsBuffers *buffers)
{
    PlaneWriter p = {writer, name, x->backend, buffers, true};
    const Quant *q = x->quant;
    int64_t n = tensor_len(x), blocks = (n + BLOCK - 1) / BLOCK, codes[2] = {(n + 1) / 2, 1}, sixteen = 16;
    int64_t outer = (blocks + NESTED_BLOCK - 1) / NESTED_BLOCK, map = 256;
    float level[16];
    levels(level);
    add_plane(&p, "", ST_U8, 2, codes, x->data, (size_t)codes[0], false);
    add_plane(&p, "quant_map", ST_F32, 1, &sixteen, level, sizeof level, true);
    if (q->absmax) {
        add_plane(&p, "absmax", ST_F32, 1, &blocks, q->absmax, (size_t)blocks * sizeof(float), false);
    } else {
        add_plane(&p, "absmax", ST_U8, 1, &blocks, q->nested, (size_t)blocks, false);
        add_plane(&p, "nested_absmax", ST_F32, 1, &outer, q->nested_absmax, (size_t)outer * sizeof(float),
                  false);
        add_plane(&p, "nested_quant_map", ST_F32, 1, &map, quant_dynamic_map(), 256 * sizeof(float), true);
    }
    add_state(&p, x);
    return p.ok;
}
