/* Reading safetensors: u64 header length N, N bytes of JSON {"name": {"dtype", "shape", "data_offsets"}, ...,
 * "__metadata__": {"key": "text"}}, then the data. Everything declared is checked here, once, so that a reader
 * of an entry can trust it: its bytes lie in the file and are as many as shape and dtype say. */
#include "data/safetensors.h"
#include "data/json.h"
#include "tensor/checked.h"
#include "tensor/half.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian and read as they are");

static const uint64_t HEADER_LIMIT = 100000000;

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [ST_F64] = {"F64", 8},   [ST_F32] = {"F32", 4},         [ST_F16] = {"F16", 2},
    [ST_BF16] = {"BF16", 2}, [ST_I64] = {"I64", 8},         [ST_I32] = {"I32", 4},
    [ST_I16] = {"I16", 2},   [ST_I8] = {"I8", 1},           [ST_U64] = {"U64", 8},
    [ST_U32] = {"U32", 4},   [ST_U16] = {"U16", 2},         [ST_U8] = {"U8", 1},
    [ST_BOOL] = {"BOOL", 1}, [ST_F8_E4M3] = {"F8_E4M3", 1}, [ST_F8_E5M2] = {"F8_E5M2", 1},
};
enum { TYPES = sizeof types / sizeof *types };

const char *st_dtype_name(StDType d) { return (unsigned)d < TYPES ? types[d].name : "?"; }

size_t st_dtype_size(StDType d)
{
    if ((unsigned)d >= TYPES) die("st_dtype_size: no dtype %d", (int)d);
    return types[d].size;
}

static bool no_memory(const char *path, Error *e)
{
    return error_set(e, ERROR_MEMORY, "%s: out of memory reading the header", path);
}

static char *copy_text(const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = malloc(n);
    return copy ? memcpy(copy, text, n) : NULL;
}

/* "(3,4)" */
static const char *shape_text(int ndim, const int64_t *dim, char *buffer, size_t size)
{
    size_t used = (size_t)snprintf(buffer, size, "(");
    for (int i = 0; i < ndim && used < size; i++)
        used += (size_t)snprintf(buffer + used, size - used, "%s%lld", i ? "," : "", (long long)dim[i]);
    if (used < size) snprintf(buffer + used, size - used, ")");
    return buffer;
}

/* Exactly n bytes at `offset`: the file may have shrunk since it was opened. */
static bool read_at(const SafeTensors *s, uint64_t offset, void *dst, uint64_t n, Error *e)
{
    char *to = dst;
    while (n > 0) {
        size_t step = n < (1u << 30) ? (size_t)n : 1u << 30;
        ssize_t got = pread(s->fd, to, step, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return error_set(e, ERROR_IO, "%s: cannot read: %s", s->path, strerror(errno));
        if (got == 0)
            return error_set(e, ERROR_INPUT, "%s: ends at byte %llu, %llu bytes missing", s->path,
                             (unsigned long long)offset, (unsigned long long)n);
        to += got;
        offset += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return true;
}

/* ---- the header ---- */

static bool parse_dtype(const char *text, StDType *out)
{
    for (int d = 0; d < TYPES; d++)
        if (strcmp(text, types[d].name) == 0) {
            *out = (StDType)d;
            return true;
        }
    return false;
}

static bool parse_shape(const json_t *shape, const char *where, StEntry *t, Error *e)
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

static bool parse_offsets(const json_t *offsets, const char *where, StEntry *t, Error *e)
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

static bool parse_entry(const char *path, const char *name, const json_t *value, StEntry *t, Error *e)
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
                         shape_text(t->ndim, t->dim, shape_buffer, sizeof shape_buffer));
    if (bytes != t->size)
        return error_set(e, ERROR_INPUT, "%s: %s %s is %llu bytes, data_offsets say %llu", where, dtype,
                         shape_text(t->ndim, t->dim, shape_buffer, sizeof shape_buffer),
                         (unsigned long long)bytes, (unsigned long long)t->size);
    t->name = copy_text(name);
    return t->name || no_memory(path, e);
}

static bool parse_meta(SafeTensors *s, json_t *meta, Error *e)
{
    if (!json_is_object(meta))
        return error_set(e, ERROR_INPUT, "%s: __metadata__: expected an object", s->path);
    size_t n = json_object_size(meta);
    if (n == 0) return true;
    s->meta_key = calloc(n, sizeof *s->meta_key);
    s->meta_value = calloc(n, sizeof *s->meta_value);
    if (!s->meta_key || !s->meta_value) return no_memory(s->path, e);
    const char *key;
    json_t *value;
    json_object_foreach(meta, key, value)
    {
        if (!json_is_string(value))
            return error_set(e, ERROR_INPUT, "%s: __metadata__: key \"%.80s\": expected a string", s->path,
                             key);
        int i = s->n_meta++;
        s->meta_key[i] = copy_text(key);
        s->meta_value[i] = copy_text(json_string_value(value));
        if (!s->meta_key[i] || !s->meta_value[i]) return no_memory(s->path, e);
    }
    return true;
}

static int by_offset(const void *a, const void *b)
{
    const StEntry *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    if (x->size != y->size) return x->size < y->size ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const StEntry *)a)->name, ((const StEntry *)b)->name);
}

/* The entries, laid end to end, are the data part: no hole, no overlap, nothing left over. */
static bool check_layout(SafeTensors *s, uint64_t data_bytes, Error *e)
{
    uint64_t end = 0;
    if (s->n > 1) qsort(s->entry, (size_t)s->n, sizeof *s->entry, by_offset);
    for (int i = 0; i < s->n; i++) {
        const StEntry *t = &s->entry[i];
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
    if (s->n > 1) qsort(s->entry, (size_t)s->n, sizeof *s->entry, by_name);
    return true;
}

static bool parse_header(SafeTensors *s, json_t *header, uint64_t data_bytes, Error *e)
{
    size_t n = json_object_size(header);
    if (n > INT32_MAX) return error_set(e, ERROR_INPUT, "%s: %zu tensors", s->path, n);
    s->entry = calloc(n ? n : 1, sizeof *s->entry);
    if (!s->entry) return no_memory(s->path, e);
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

static bool read_header(SafeTensors *s, Error *e)
{
    struct stat st;
    if (fstat(s->fd, &st) != 0) return error_set(e, ERROR_IO, "%s: cannot stat: %s", s->path, strerror(errno));
    if (!S_ISREG(st.st_mode)) return error_set(e, ERROR_INPUT, "%s: not a regular file", s->path);
    uint64_t bytes = (uint64_t)st.st_size, n;
    if (bytes < 8)
        return error_set(e, ERROR_INPUT, "%s: %llu bytes, a safetensors file has at least 8", s->path,
                         (unsigned long long)bytes);
    if (!read_at(s, 0, &n, 8, e)) return false;
    if (n > HEADER_LIMIT)
        return error_set(e, ERROR_INPUT, "%s: a header of %llu bytes, expected at most %llu", s->path,
                         (unsigned long long)n, (unsigned long long)HEADER_LIMIT);
    if (n > bytes - 8)
        return error_set(e, ERROR_INPUT, "%s: a header of %llu bytes, only %llu are there", s->path,
                         (unsigned long long)n, (unsigned long long)(bytes - 8));
    if (n == 0) return error_set(e, ERROR_INPUT, "%s: the header is empty", s->path);
    char *text = malloc(n);
    if (!text) return no_memory(s->path, e);
    bool ok = read_at(s, 8, text, n, e);
    if (ok && text[0] != '{')
        ok = error_set(e, ERROR_INPUT, "%s: the header begins with byte 0x%02x, expected '{'", s->path,
                       (unsigned)(unsigned char)text[0]);
    json_t *header = ok ? json_parse(text, n, s->path, e) : NULL;
    free(text);
    if (!header) return false;
    s->data_offset = 8 + n;
    ok = parse_header(s, header, bytes - s->data_offset, e);
    json_decref(header);
    return ok;
}

SafeTensors *safetensors_open(const char *path, Error *e)
{
    SafeTensors *s = calloc(1, sizeof *s);
    if (s) s->fd = -1;
    if (s) s->path = copy_text(path);
    if (!s || !s->path) {
        no_memory(path, e);
        safetensors_close(s);
        return NULL;
    }
    s->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0)
        error_set(e, ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    else if (read_header(s, e))
        return s;
    safetensors_close(s);
    return NULL;
}

void safetensors_close(SafeTensors *s)
{
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    for (int i = 0; i < s->n; i++) free(s->entry[i].name);
    for (int i = 0; i < s->n_meta; i++) {
        free(s->meta_key[i]);
        free(s->meta_value[i]);
    }
    free(s->entry);
    free(s->meta_key);
    free(s->meta_value);
    free(s->path);
    free(s);
}

const StEntry *safetensors_find(const SafeTensors *s, const char *name)
{
    StEntry key = {.name = (char *)name};
    return s->n ? bsearch(&key, s->entry, (size_t)s->n, sizeof *s->entry, by_name) : NULL;
}

const char *safetensors_meta(const SafeTensors *s, const char *key)
{
    for (int i = 0; i < s->n_meta; i++)
        if (strcmp(s->meta_key[i], key) == 0) return s->meta_value[i];
    return NULL;
}

/* ---- the data ---- */

bool safetensors_read_part(const SafeTensors *s, const StEntry *entry, uint64_t from, uint64_t count, void *dst,
                           Error *e)
{
    if (from > entry->size || count > entry->size - from)
        die("safetensors_read_part: %s: tensor \"%s\": bytes %llu + %llu of %llu", s->path, entry->name,
            (unsigned long long)from, (unsigned long long)count, (unsigned long long)entry->size);
    return read_at(s, s->data_offset + entry->offset + from, dst, count, e);
}

bool safetensors_read(const SafeTensors *s, const StEntry *entry, void *dst, Error *e)
{
    return safetensors_read_part(s, entry, 0, entry->size, dst, e);
}

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#define CONVERT(type, expression)                                                                              \
    for (size_t i = 0; i < n; i++) {                                                                           \
        type v;                                                                                                \
        memcpy(&v, raw + i * sizeof v, sizeof v);                                                              \
        dst[i] = (float)(expression);                                                                          \
    }                                                                                                          \
    break

static void convert(StDType dtype, const unsigned char *raw, size_t n, float *dst)
{
    switch (dtype) {
    case ST_F64: CONVERT(double, v);
    case ST_F32: CONVERT(float, v);
    case ST_F16: CONVERT(uint16_t, half_to_float(v));
    case ST_BF16: CONVERT(uint16_t, from_bits((uint32_t)v << 16));
    case ST_I64: CONVERT(int64_t, v);
    case ST_I32: CONVERT(int32_t, v);
    case ST_I16: CONVERT(int16_t, v);
    case ST_I8: CONVERT(int8_t, v);
    case ST_U64: CONVERT(uint64_t, v);
    case ST_U32: CONVERT(uint32_t, v);
    case ST_U16: CONVERT(uint16_t, v);
    case ST_U8: CONVERT(uint8_t, v);
    case ST_BOOL:
    case ST_F8_E4M3:
    case ST_F8_E5M2: die("safetensors: %s is not converted", st_dtype_name(dtype));
    }
}

bool safetensors_read_f32(const SafeTensors *s, const StEntry *entry, float *dst, Error *e)
{
    if (entry->dtype == ST_F32) return safetensors_read(s, entry, dst, e);
    unsigned char raw[32768];
    size_t size = st_dtype_size(entry->dtype);
    if (entry->dtype == ST_BOOL || entry->dtype == ST_F8_E4M3 || entry->dtype == ST_F8_E5M2)
        return error_set(e, ERROR_INPUT, "%s: tensor \"%.80s\": expected a number type, found %s", s->path,
                         entry->name, st_dtype_name(entry->dtype));
    for (uint64_t from = 0; from < entry->size; from += sizeof raw) {
        uint64_t count = entry->size - from < sizeof raw ? entry->size - from : sizeof raw;
        if (!safetensors_read_part(s, entry, from, count, raw, e)) return false;
        convert(entry->dtype, raw, (size_t)count / size, dst + from / size);
    }
    return true;
}

bool safetensors_load_f32(const SafeTensors *s, const char *name, int ndim, const int64_t *dim, float *dst,
                          Error *e)
{
    char expected[200], found[200];
    const StEntry *t = safetensors_find(s, name);
    shape_text(ndim, dim, expected, sizeof expected);
    if (!t) return error_set(e, ERROR_INPUT, "%s: tensor \"%.80s\" %s is missing", s->path, name, expected);
    bool same = t->ndim == ndim;
    for (int i = 0; same && i < ndim; i++) same = t->dim[i] == dim[i];
    if (!same)
        return error_set(e, ERROR_INPUT, "%s: tensor \"%.80s\": expected shape %s, found %s", s->path, name,
                         expected, shape_text(t->ndim, t->dim, found, sizeof found));
    return safetensors_read_f32(s, t, dst, e);
}
