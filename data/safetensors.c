/* Reading safetensors: u64 header length N, N bytes of JSON {"name": {"dtype", "shape", "data_offsets"}, ...,
 * "__metadata__": {"key": "text"}}, then the data. Everything declared is checked here, once, so that a reader
 * of an entry can trust it: its bytes lie in the file and are as many as shape and dtype say. */
#include "data/safetensors.h"
#include "data/json.h"
#include "tensor/checked.h"
#include <stdlib.h>
#include <string.h>

/* ---- the header ---- */

static bool parse_dtype(const char *text, StDType *out)
{
    for (StDType d = ST_F64; d <= ST_F8_E5M2; d++)
        if (strcmp(text, st_dtype_name(d)) == 0) {
            *out = d;
            return true;
        }
    return false;
}

static bool parse_shape(const json_t *shape, const char *where, TensorEntry *t, Error *e)
{
    size_t n = json_array_size(shape);
    if (n > 8) return error_set(e, ERROR_INPUT, "%s: %zu dims, expected at most 8", where, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *d = json_array_get(shape, i);
        if (!json_is_integer(d) || json_integer_value(d) < 0)
            return error_set(e, ERROR_INPUT, "%s: shape: dim %zu is not a whole number from 0 up", where, i);
        t->dim[i] = json_integer_value(d);
    }
    t->ndim = (int)n;
    return true;
}

static bool parse_offsets(const json_t *offsets, const char *where, TensorEntry *t, Error *e)
{
    if (json_array_size(offsets) != 2)
        return error_set(e, ERROR_INPUT, "%s: data_offsets: expected 2 numbers, found %zu", where,
                         json_array_size(offsets));
    int64_t v[2];
    for (size_t i = 0; i < 2; i++) {
        const json_t *x = json_array_get(offsets, i);
        if (!json_is_integer(x) || json_integer_value(x) < 0)
            return error_set(e, ERROR_INPUT, "%s: data_offsets: number %zu is not a whole number from 0 up",
                             where, i);
        v[i] = json_integer_value(x);
    }
    if (v[1] < v[0])
        return error_set(e, ERROR_INPUT, "%s: data_offsets: end %lld before begin %lld", where, (long long)v[1],
                         (long long)v[0]);
    t->offset = (uint64_t)v[0];
    t->size = (uint64_t)(v[1] - v[0]);
    return true;
}

static bool parse_entry(const char *path, const char *name, const json_t *value, TensorEntry *t, Error *e)
{
    char where[400], shape_buffer[200];
    snprintf(where, sizeof where, "%.250s: tensor \"%.80s\"", path, name);
    const char *dtype;
    json_t *shape, *offsets;
    if (!json_get_string(value, "dtype", where, &dtype, e) ||
        !json_get_array(value, "shape", where, &shape, e) ||
        !json_get_array(value, "data_offsets", where, &offsets, e))
        return false;
    if (!parse_dtype(dtype, &t->dtype))
        return error_set(e, ERROR_INPUT, "%s: unknown dtype \"%.20s\"", where, dtype);
    if (!parse_shape(shape, where, t, e) || !parse_offsets(offsets, where, t, e)) return false;
    uint64_t elements, bytes;
    if (!u64_product(t->dim, t->ndim, &elements) || !u64_mul(elements, st_dtype_size(t->dtype), &bytes))
        return error_set(e, ERROR_INPUT, "%s: shape %s has too many elements", where,
                         tensor_file_shape(t->ndim, t->dim, shape_buffer, sizeof shape_buffer));
    if (bytes != t->size)
        return error_set(e, ERROR_INPUT, "%s: %s %s is %llu bytes, data_offsets say %llu", where, dtype,
                         tensor_file_shape(t->ndim, t->dim, shape_buffer, sizeof shape_buffer),
                         (unsigned long long)bytes, (unsigned long long)t->size);
    t->name = tensor_file_copy(name);
    return t->name || tensor_file_no_memory(path, e);
}

static bool parse_meta(TensorFile *s, json_t *meta, Error *e)
{
    if (!json_is_object(meta))
        return error_set(e, ERROR_INPUT, "%s: __metadata__: expected an object", s->path);
    size_t n = json_object_size(meta);
    if (n == 0) return true;
    s->meta_key = calloc(n, sizeof *s->meta_key);
    s->meta_value = calloc(n, sizeof *s->meta_value);
    if (!s->meta_key || !s->meta_value) return tensor_file_no_memory(s->path, e);
    const char *key;
    json_t *value;
    json_object_foreach(meta, key, value)
    {
        if (!json_is_string(value))
            return error_set(e, ERROR_INPUT, "%s: __metadata__: key \"%.80s\": expected a string", s->path,
                             key);
        int i = s->n_meta++;
        s->meta_key[i] = tensor_file_copy(key);
        s->meta_value[i] = tensor_file_copy(json_string_value(value));
        if (!s->meta_key[i] || !s->meta_value[i]) return tensor_file_no_memory(s->path, e);
    }
    return true;
}

/* The entries, laid end to end, are the data part: no hole, no overlap, nothing left over. */
static bool check_layout(TensorFile *s, uint64_t data_bytes, Error *e)
{
    uint64_t end = 0;
    tensor_file_sort_offsets(s);
    for (int i = 0; i < s->n; i++) {
        const TensorEntry *t = &s->entry[i];
        if (t->offset != end)
            return error_set(e, ERROR_INPUT,
                             "%s: tensor \"%.80s\": begins at byte %llu of the data, expected %llu (%s)",
                             s->path, t->name, (unsigned long long)t->offset, (unsigned long long)end,
                             t->offset < end ? "an overlap" : "a hole");
        if (!u64_add(end, t->size, &end) || end > data_bytes)
            return error_set(e, ERROR_INPUT,
                             "%s: tensor \"%.80s\": %llu bytes from %llu, the data part has %llu", s->path,
                             t->name, (unsigned long long)t->size, (unsigned long long)t->offset,
                             (unsigned long long)data_bytes);
    }
    if (end != data_bytes)
        return error_set(e, ERROR_INPUT, "%s: the data part has %llu bytes, its tensors %llu", s->path,
                         (unsigned long long)data_bytes, (unsigned long long)end);
    return tensor_file_sort(s, e);
}

static bool parse_header(TensorFile *s, json_t *header, uint64_t data_bytes, Error *e)
{
    size_t n = json_object_size(header);
    if (n > INT32_MAX) return error_set(e, ERROR_INPUT, "%s: %zu tensors", s->path, n);
    s->entry = calloc(n ? n : 1, sizeof *s->entry);
    if (!s->entry) return tensor_file_no_memory(s->path, e);
    const char *name;
    json_t *value;
    json_object_foreach(header, name, value)
    {
        bool meta = strcmp(name, "__metadata__") == 0;
        if (meta ? !parse_meta(s, value, e) : !parse_entry(s->path, name, value, &s->entry[s->n], e))
            return false;
        if (!meta) s->n++;
    }
    return check_layout(s, data_bytes, e);
}

static bool read_header(TensorFile *s, Error *e)
{
    TensorPart *part = &s->part[0];
    uint64_t bytes = part->size, n;
    if (bytes < 8)
        return error_set(e, ERROR_INPUT, "%s: %llu bytes, a safetensors file has at least 8", s->path,
                         (unsigned long long)bytes);
    if (!tensor_part_read(part, 0, &n, 8, e)) return false;
    if (n > ST_HEADER_LIMIT)
        return error_set(e, ERROR_INPUT, "%s: a header of %llu bytes, expected at most %llu", s->path,
                         (unsigned long long)n, (unsigned long long)ST_HEADER_LIMIT);
    if (n > bytes - 8)
        return error_set(e, ERROR_INPUT, "%s: a header of %llu bytes, only %llu are there", s->path,
                         (unsigned long long)n, (unsigned long long)(bytes - 8));
    if (n == 0) return error_set(e, ERROR_INPUT, "%s: the header is empty", s->path);
    char *text = malloc(n);
    if (!text) return tensor_file_no_memory(s->path, e);
    bool ok = tensor_part_read(part, 8, text, n, e);
    if (ok && text[0] != '{')
        ok = error_set(e, ERROR_INPUT, "%s: the header begins with byte 0x%02x, expected '{'", s->path,
                       (unsigned)(unsigned char)text[0]);
    json_t *header = ok ? json_parse(text, n, s->path, e) : NULL;
    free(text);
    if (!header) return false;
    part->data = 8 + n;
    ok = parse_header(s, header, bytes - part->data, e);
    json_decref(header);
    return ok;
}

static bool raw(const TensorFile *s, const TensorEntry *entry, uint64_t from, uint64_t count, void *dst,
                Error *e)
{
    const TensorPart *part = &s->part[entry->part];
    return tensor_part_read(part, part->data + entry->offset + from, dst, count, e);
}

TensorFile *safetensors_open(const char *path, Error *e)
{
    static const TensorForm form = {"safetensors", raw, NULL};
    TensorFile *s = tensor_file_new(path, &form, e);
    if (s && read_header(s, e)) return s;
    tensor_file_close(s);
    return NULL;
}
