/* What all forms of tensor files have in common: finding, reading, conversion to float, several files as one.
 */
#include "data/tensor_file.h"
#include "data/gguf_blocks.h"
#include "tensor/half.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian and read as they are");

static const struct {
    const char *name;
    size_t size;
    int block;
} types[] = {
    [ST_F64] = {"F64", 8, 1},       [ST_F32] = {"F32", 4, 1},         [ST_F16] = {"F16", 2, 1},
    [ST_BF16] = {"BF16", 2, 1},     [ST_I64] = {"I64", 8, 1},         [ST_I32] = {"I32", 4, 1},
    [ST_I16] = {"I16", 2, 1},       [ST_I8] = {"I8", 1, 1},           [ST_U64] = {"U64", 8, 1},
    [ST_U32] = {"U32", 4, 1},       [ST_U16] = {"U16", 2, 1},         [ST_U8] = {"U8", 1, 1},
    [ST_BOOL] = {"BOOL", 1, 1},     [ST_F8_E4M3] = {"F8_E4M3", 1, 1}, [ST_F8_E5M2] = {"F8_E5M2", 1, 1},
    [ST_Q4_0] = {"Q4_0", 18, 32},   [ST_Q4_1] = {"Q4_1", 20, 32},     [ST_Q8_0] = {"Q8_0", 34, 32},
    [ST_Q4_K] = {"Q4_K", 144, 256}, [ST_Q6_K] = {"Q6_K", 210, 256},
};
enum { TYPES = sizeof types / sizeof *types };

const char *st_dtype_name(StDType d) { return (unsigned)d < TYPES ? types[d].name : "?"; }

int st_dtype_block(StDType d)
{
    if ((unsigned)d >= TYPES) die("st_dtype_block: no dtype %d", (int)d);
    return types[d].block;
}

size_t st_dtype_size(StDType d)
{
    if ((unsigned)d >= TYPES) die("st_dtype_size: no dtype %d", (int)d);
    return types[d].size;
}

const char *tensor_file_shape(int ndim, const int64_t *dim, char *buffer, size_t room)
{
    size_t used = (size_t)snprintf(buffer, room, "(");
    for (int i = 0; i < ndim && used < room; i++)
        used += (size_t)snprintf(buffer + used, room - used, "%s%lld", i ? "," : "", (long long)dim[i]);
    if (used < room) snprintf(buffer + used, room - used, ")");
    return buffer;
}

char *tensor_file_copy(const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = malloc(n);
    return copy ? memcpy(copy, text, n) : NULL;
}

/* ---- opening and closing ---- */

bool tensor_file_no_memory(const char *path, Error *e)
{
    return error_set(e, ERROR_MEMORY, "%s: out of memory reading the header", path);
}

static bool open_part(TensorPart *p, const char *path, Error *e)
{
    struct stat st;
    p->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (p->fd < 0) return error_set(e, ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(p->fd, &st) != 0) return error_set(e, ERROR_IO, "%s: cannot stat: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode)) return error_set(e, ERROR_INPUT, "%s: not a regular file", path);
    p->size = (uint64_t)st.st_size;
    return true;
}

TensorFile *tensor_file_new(const char *path, const TensorForm *form, Error *e)
{
    TensorFile *f = calloc(1, sizeof *f);
    if (f) f->part = calloc(1, sizeof *f->part);
    if (f && f->part) {
        f->n_part = 1;
        f->part[0] = (TensorPart){.form = form, .fd = -1, .path = tensor_file_copy(path)};
        f->path = tensor_file_copy(path);
    }
    if (!f || !f->path || !f->part[0].path)
        tensor_file_no_memory(path, e);
    else if (open_part(&f->part[0], path, e))
        return f;
    tensor_file_close(f);
    return NULL;
}

static void close_part(TensorPart *p)
{
    if (p->form && p->form->close) p->form->close(p);
    if (p->fd >= 0) close(p->fd);
    free(p->path);
}

void tensor_file_close(TensorFile *f)
{
    if (!f) return;
    for (int i = 0; i < f->n; i++) free(f->entry[i].name);
    for (int i = 0; i < f->n_meta; i++) {
        free(f->meta_key[i]);
        free(f->meta_value[i]);
    }
    for (int i = 0; i < f->n_part; i++) close_part(&f->part[i]);
    free(f->entry);
    free(f->meta_key);
    free(f->meta_value);
    free(f->part);
    free(f->path);
    free(f);
}

/* ---- names ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const TensorEntry *)a)->name, ((const TensorEntry *)b)->name);
}

static int by_offset(const void *a, const void *b)
{
    const TensorEntry *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    if (x->size != y->size) return x->size < y->size ? -1 : 1;
    return strcmp(x->name, y->name);
}

void tensor_file_sort_offsets(TensorFile *f)
{
    if (f->n > 1) qsort(f->entry, (size_t)f->n, sizeof *f->entry, by_offset);
}

bool tensor_file_sort(TensorFile *f, Error *e)
{
    if (f->n > 1) qsort(f->entry, (size_t)f->n, sizeof *f->entry, by_name);
    for (int i = 1; i < f->n; i++)
        if (!strcmp(f->entry[i].name, f->entry[i - 1].name))
            return error_set(e, ERROR_INPUT, "%s: tensor \"%.80s\" is there twice", f->path, f->entry[i].name);
    return true;
}

const TensorEntry *tensor_file_find(const TensorFile *f, const char *name)
{
    TensorEntry key = {.name = (char *)name};
    TensorEntry *entry = f->n ? bsearch(&key, f->entry, (size_t)f->n, sizeof *f->entry, by_name) : NULL;
    if (entry) entry->asked = true;
    return entry;
}

const TensorEntry *tensor_file_unasked(const TensorFile *f, int *at)
{
    while (*at < f->n) {
        const TensorEntry *entry = &f->entry[(*at)++];
        if (!entry->asked) return entry;
    }
    return NULL;
}

const char *tensor_file_meta(const TensorFile *f, const char *key)
{
    for (int i = 0; i < f->n_meta; i++)
        if (strcmp(f->meta_key[i], key) == 0) return f->meta_value[i];
    return NULL;
}

bool tensor_file_set_meta(TensorFile *f, const char *key, const char *value, Error *e)
{
    int at = 0;
    while (at < f->n_meta && strcmp(f->meta_key[at], key)) at++;
    char *copy = tensor_file_copy(value);
    if (!copy) return tensor_file_no_memory(f->path, e);
    if (at < f->n_meta) {
        free(f->meta_value[at]);
        f->meta_value[at] = copy;
        return true;
    }
    char *name = tensor_file_copy(key), **keys, **values;
    size_t room = ((size_t)at + 1) * sizeof *keys;
    if (name && (keys = realloc(f->meta_key, room))) {
        f->meta_key = keys;
        if ((values = realloc(f->meta_value, room))) {
            f->meta_value = values;
            keys[at] = name;
            values[at] = copy;
            f->n_meta++;
            return true;
        }
    }
    free(name);
    free(copy);
    return tensor_file_no_memory(f->path, e);
}

/* ---- the data ---- */

bool tensor_part_read(const TensorPart *p, uint64_t offset, void *dst, uint64_t n, Error *e)
{
    char *to = dst;
    while (n > 0) {
        size_t step = n < (1u << 30) ? (size_t)n : 1u << 30;
        ssize_t got = pread(p->fd, to, step, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return error_set(e, ERROR_IO, "%s: cannot read: %s", p->path, strerror(errno));
        if (got == 0)
            return error_set(e, ERROR_INPUT, "%s: ends at byte %llu, %llu bytes missing", p->path,
                             (unsigned long long)offset, (unsigned long long)n);
        to += got;
        offset += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return true;
}

/* Row by row: row h*d + s*d/2 + j of the result is row h*d + 2*j + s of the file. */
static bool read_heads(const TensorFile *f, const TensorEntry *entry, uint64_t from, uint64_t count, char *dst,
                       Error *e)
{
    uint64_t rows = (uint64_t)entry->dim[0], d = rows / (uint64_t)entry->heads, row_bytes = entry->size / rows;
    const TensorForm *form = f->part[entry->part].form;
    while (count) {
        uint64_t row = from / row_bytes, within = from % row_bytes, in_head = row % d;
        uint64_t source = row - in_head + 2 * (in_head % (d / 2)) + in_head / (d / 2);
        uint64_t step = row_bytes - within < count ? row_bytes - within : count;
        if (!form->raw(f, entry, source * row_bytes + within, step, dst, e)) return false;
        dst += step;
        from += step;
        count -= step;
    }
    return true;
}

bool tensor_file_read_part(const TensorFile *f, const TensorEntry *entry, uint64_t from, uint64_t count,
                           void *dst, Error *e)
{
    if (from > entry->size || count > entry->size - from)
        die("tensor_file_read_part: %s: tensor \"%s\": bytes %llu + %llu of %llu", f->path, entry->name,
            (unsigned long long)from, (unsigned long long)count, (unsigned long long)entry->size);
    if (!count) return true;
    if (entry->heads) return read_heads(f, entry, from, count, dst, e);
    return f->part[entry->part].form->raw(f, entry, from, count, dst, e);
}

bool tensor_file_read(const TensorFile *f, const TensorEntry *entry, void *dst, Error *e)
{
    return tensor_file_read_part(f, entry, 0, entry->size, dst, e);
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
    case ST_BF16: CONVERT(uint16_t, bf16_to_float(v));
    case ST_I64: CONVERT(int64_t, v);
    case ST_I32: CONVERT(int32_t, v);
    case ST_I16: CONVERT(int16_t, v);
    case ST_I8: CONVERT(int8_t, v);
    case ST_U64: CONVERT(uint64_t, v);
    case ST_U32: CONVERT(uint32_t, v);
    case ST_U16: CONVERT(uint16_t, v);
    case ST_U8: CONVERT(uint8_t, v);
    default: die("tensor_file: %s is not converted", st_dtype_name(dtype));
    }
}

static bool is_number(StDType d) { return d != ST_BOOL && d != ST_F8_E4M3 && d != ST_F8_E5M2; }

/* `count` bytes from byte `from`. */
static bool read_f32(const TensorFile *f, const TensorEntry *entry, uint64_t from, uint64_t count, float *dst,
                     Error *e)
{
    if (entry->dtype == ST_F32) return tensor_file_read_part(f, entry, from, count, dst, e);
    unsigned char raw[32768];
    size_t size = st_dtype_size(entry->dtype), block = (size_t)st_dtype_block(entry->dtype);
    if (!is_number(entry->dtype))
        return error_set(e, ERROR_INPUT, "%s: tensor \"%.80s\": expected a number type, found %s",
                         f->part[entry->part].path, entry->name, st_dtype_name(entry->dtype));
    size_t most = sizeof raw / size * size;
    for (uint64_t done = 0; done < count; done += most) {
        uint64_t n = count - done < most ? count - done : most;
        if (!tensor_file_read_part(f, entry, from + done, n, raw, e)) return false;
        float *to = dst + done / size * block;
        if (block > 1)
            gguf_blocks_decode(entry->dtype, raw, (size_t)n / size, to);
        else
            convert(entry->dtype, raw, (size_t)n / size, to);
    }
    return true;
}

bool tensor_file_read_f32(const TensorFile *f, const TensorEntry *entry, float *dst, Error *e)
{
    return read_f32(f, entry, 0, entry->size, dst, e);
}

bool tensor_file_read_f32_part(const TensorFile *f, const TensorEntry *entry, int64_t from, int64_t count,
                               float *dst, Error *e)
{
    int64_t block = st_dtype_block(entry->dtype);
    if (from < 0 || count < 0 || from % block || count % block)
        die("tensor_file_read_f32_part: %s: tensor \"%s\": elements %lld + %lld are not whole blocks of %lld",
            f->path, entry->name, (long long)from, (long long)count, (long long)block);
    uint64_t size = st_dtype_size(entry->dtype);
    return read_f32(f, entry, (uint64_t)(from / block) * size, (uint64_t)(count / block) * size, dst, e);
}

bool tensor_file_load_f32(const TensorFile *f, const char *name, int ndim, const int64_t *dim, float *dst,
                          Error *e)
{
    char expected[200], found[200];
    const TensorEntry *t = tensor_file_find(f, name);
    tensor_file_shape(ndim, dim, expected, sizeof expected);
    if (!t) return error_set(e, ERROR_INPUT, "%s: tensor \"%.80s\" %s is missing", f->path, name, expected);
    bool same = t->ndim == ndim;
    for (int i = 0; same && i < ndim; i++) same = t->dim[i] == dim[i];
    if (!same)
        return error_set(e, ERROR_INPUT, "%s: tensor \"%.80s\": expected shape %s, found %s", f->path, name,
                         expected, tensor_file_shape(t->ndim, t->dim, found, sizeof found));
    return tensor_file_read_f32(f, t, dst, e);
}
