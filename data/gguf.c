/* See gguf.h. The part in front of the data goes once through a Reader, which knows how much of the file is
 * left; what is declared is checked here, so that a reader of an entry can trust it. */
#include "data/gguf.h"
#include "tensor/checked.h"
#include "tensor/utf8.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT "general.alignment"
enum { VALUES = GGUF_F64 + 1, DIMS = 4, DEFAULT_ALIGNMENT = 32 };
/* The least bytes of a key (length, one letter, type, value) and of a tensor (no dims), and the longest names.
 */
enum { LEAST_KEY = 8 + 1 + 4 + 1, LEAST_TENSOR = 8 + 1 + 4 + 4 + 8, LONGEST_KEY = 65535, LONGEST_NAME = 64 };

static const struct {
    const char *name;
    uint8_t size; /* 0: not fixed */
} values[VALUES] = {{"u8", 1},   {"i8", 1},     {"u16", 2},  {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
                    {"bool", 1}, {"string", 0}, {"list", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8}};

const char *gguf_type_name(GgufType type) { return (unsigned)type < VALUES ? values[type].name : "?"; }

/* What a part keeps. */
typedef struct Lists {
    GgufArray *array;
    int n;
} Lists;

typedef struct Reader {
    const TensorPart *part;
    uint64_t at;    /* in the file: of what is read next */
    char where[96]; /* "key \"general.name\"", for messages */
    uint64_t alignment;
    Error *e;
    size_t have, used; /* of the buffer, which holds the file's bytes from at - used on */
    uint8_t buffer[16384];
} Reader;

static bool fail(Reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(Reader *r, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(r->e, ERROR_INPUT, "%.250s: %s: %s", r->part->path, r->where, text);
}

static bool no_memory(Reader *r) { return tensor_file_no_memory(r->part->path, r->e); }

static uint64_t left(const Reader *r) { return r->part->size - r->at; }

static bool take(Reader *r, void *dst, uint64_t n)
{
    char *to = dst;
    if (n > left(r))
        return fail(r, "%" PRIu64 " bytes from byte %" PRIu64 " on, the file has %" PRIu64, n, r->at,
                    r->part->size);
    while (n) {
        if (r->used == r->have) {
            r->have = left(r) < sizeof r->buffer ? (size_t)left(r) : sizeof r->buffer;
            r->used = 0;
            if (!tensor_part_read(r->part, r->at, r->buffer, r->have, r->e)) return false;
        }
        size_t step = r->have - r->used < n ? r->have - r->used : (size_t)n;
        memcpy(to, r->buffer + r->used, step);
        to += step;
        r->used += step;
        r->at += step;
        n -= step;
    }
    return true;
}

/* n <= left(r). */
static void skip(Reader *r, uint64_t n)
{
    r->used = n < r->have - r->used ? r->used + (size_t)n : (r->have = 0);
    r->at += n;
}

static bool take_u32(Reader *r, uint32_t *x) { return take(r, x, sizeof *x); }
static bool take_u64(Reader *r, uint64_t *x) { return take(r, x, sizeof *x); }

/* The length of a string whose bytes follow. */
static bool take_length(Reader *r, uint64_t most, uint64_t *n)
{
    if (!take_u64(r, n)) return false;
    if (*n > left(r)) return fail(r, "a string of %" PRIu64 " bytes, only %" PRIu64 " are there", *n, left(r));
    return *n <= most || fail(r, "a string of %" PRIu64 " bytes, expected at most %" PRIu64, *n, most);
}

/* A string, which must be UTF-8 without NUL; malloc'ed. NULL on error. */
static char *take_string(Reader *r, uint64_t most)
{
    uint64_t n;
    if (!take_length(r, most, &n)) return NULL;
    char *text = malloc((size_t)n + 1);
    if (!text) {
        no_memory(r);
        return NULL;
    }
    bool ok = take(r, text, n);
    text[n] = 0;
    size_t good = ok ? utf8_valid_prefix(text, (size_t)n) : 0, length = ok ? strlen(text) : 0;
    if (ok && length < n && length < good) ok = fail(r, "byte %zu of the string is NUL", length);
    if (ok && good < n)
        ok = fail(r, "byte %zu of the string (0x%02x) is not UTF-8", good, (unsigned)(uint8_t)text[good]);
    if (ok) return text;
    free(text);
    return NULL;
}

/* ---- keys ---- */

static bool number_text(Reader *r, GgufType type, char text[32])
{
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        float f32;
        uint64_t u64;
        int64_t i64;
        double f64;
    } v = {0};
    if (!take(r, &v, values[type].size)) return false;
    if (type == GGUF_BOOL && v.u8 > 1) return fail(r, "a bool of %d, expected 0 or 1", v.u8);
    switch (type) {
    case GGUF_U8: snprintf(text, 32, "%u", (unsigned)v.u8); break;
    case GGUF_I8: snprintf(text, 32, "%d", v.i8); break;
    case GGUF_U16: snprintf(text, 32, "%u", (unsigned)v.u16); break;
    case GGUF_I16: snprintf(text, 32, "%d", v.i16); break;
    case GGUF_U32: snprintf(text, 32, "%" PRIu32, v.u32); break;
    case GGUF_I32: snprintf(text, 32, "%" PRId32, v.i32); break;
    case GGUF_U64: snprintf(text, 32, "%" PRIu64, v.u64); break;
    case GGUF_I64: snprintf(text, 32, "%" PRId64, v.i64); break;
    case GGUF_F32: snprintf(text, 32, "%.9g", (double)v.f32); break;
    case GGUF_F64: snprintf(text, 32, "%.17g", v.f64); break;
    default: snprintf(text, 32, "%s", v.u8 ? "true" : "false");
    }
    return true;
}

static bool set_alignment(Reader *r, const char *text)
{
    uint64_t a = strtoull(text, NULL, 10);
    if (!a || a & (a - 1)) return fail(r, "expected a power of two, found %s", text);
    r->alignment = a;
    return true;
}

/* One value as metadata. Takes ownership of key. */
static bool take_value(Reader *r, TensorFile *f, char *key, uint32_t type)
{
    char number[32];
    char *text = type == GGUF_STRING                      ? take_string(r, UINT64_MAX)
                 : number_text(r, (GgufType)type, number) ? tensor_file_copy(number)
                                                          : NULL;
    if (!text) {
        free(key);
        return r->e->code ? false : no_memory(r);
    }
    f->meta_key[f->n_meta] = key;
    f->meta_value[f->n_meta++] = text;
    return strcmp(key, ALIGNMENT) || set_alignment(r, text);
}

/* Checks a list and steps over it. Takes ownership of key. */
static bool take_list(Reader *r, Lists *lists, char *key)
{
    GgufArray *a = &lists->array[lists->n++];
    uint32_t type;
    a->key = key;
    if (!take_u32(r, &type) || !take_u64(r, &a->n)) return false;
    if (type >= VALUES) return fail(r, "a list of type %" PRIu32 ", expected 0 to %d", type, VALUES - 1);
    if (type == GGUF_ARRAY) return fail(r, "a list of lists, expected numbers, bools or strings");
    a->type = (GgufType)type;
    a->offset = r->at;
    uint64_t least = type == GGUF_STRING ? 8 : values[type].size;
    if (!u64_mul(a->n, least, &a->size) || a->size > left(r))
        return fail(r, "a list of %" PRIu64 " %s, only %" PRIu64 " bytes are there", a->n, values[type].name,
                    left(r));
    if (type != GGUF_STRING) {
        skip(r, a->size);
        return true;
    }
    for (uint64_t i = 0; i < a->n; i++) {
        uint64_t n;
        if (!take_length(r, UINT64_MAX, &n)) return false;
        skip(r, n);
    }
    a->size = r->at - a->offset;
    return true;
}

static bool take_key(Reader *r, TensorFile *f, Lists *lists, uint64_t i)
{
    uint32_t type;
    snprintf(r->where, sizeof r->where, "key %" PRIu64, i);
    char *key = take_string(r, LONGEST_KEY);
    if (!key) return false;
    if (*key) snprintf(r->where, sizeof r->where, "key \"%.80s\"", key);
    bool ok = *key || fail(r, "its name is empty");
    ok = ok && take_u32(r, &type);
    if (ok && type >= VALUES) ok = fail(r, "type %" PRIu32 ", expected 0 to %d", type, VALUES - 1);
    if (ok && type != GGUF_U32 && !strcmp(key, ALIGNMENT))
        ok = fail(r, "expected a value of type u32, found %s", values[type].name);
    if (ok) return type == GGUF_ARRAY ? take_list(r, lists, key) : take_value(r, f, key, type);
    free(key);
    return false;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static bool check_keys(Reader *r, const TensorFile *f, const Lists *lists)
{
    size_t n = 0;
    const char **key = malloc(((size_t)f->n_meta + (size_t)lists->n + 1) * sizeof *key);
    if (!key) return no_memory(r);
    for (int i = 0; i < f->n_meta; i++) key[n++] = f->meta_key[i];
    for (int i = 0; i < lists->n; i++) key[n++] = lists->array[i].key;
    qsort(key, n, sizeof *key, by_text);
    bool ok = true;
    for (size_t i = 1; ok && i < n; i++)
        if (!strcmp(key[i], key[i - 1]))
            ok = error_set(r->e, ERROR_INPUT, "%s: key \"%.80s\" is there twice", r->part->path, key[i]);
    free(key);
    return ok;
}

/* ---- tensors ---- */

static bool tensor_type(Reader *r, uint32_t id, StDType *type)
{
    static const char *const names[] = {
        "F32",   "F16",    "Q4_0", "Q4_1", "Q4_2", "Q4_3",    "Q5_0",   "Q5_1",    "Q8_0",  "Q8_1",   "Q2_K",
        "Q3_K",  "Q4_K",   "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S",
        "IQ2_S", "IQ4_XS", "I8",   "I16",  "I32",  "I64",     "F64",    "IQ1_M",   "BF16"};
    const char *name = id < sizeof names / sizeof *names ? names[id] : "?";
    for (StDType d = ST_F64; d <= ST_Q6_K; d++)
        if (!strcmp(name, st_dtype_name(d))) {
            *type = d;
            return true;
        }
    return fail(r,
                "type %" PRIu32
                " (%s) is not read; expected F64, F32, F16, BF16, I64, I32, I16, I8, Q4_0, Q4_1, "
                "Q8_0, Q4_K or Q6_K",
                id, name);
}

static bool tensor_size(Reader *r, TensorEntry *t)
{
    char shape[128];
    uint64_t elements, block = (uint64_t)st_dtype_block(t->dtype);
    int64_t row = t->ndim ? t->dim[t->ndim - 1] : 1;
    if (row % (int64_t)block)
        return fail(r, "rows of %" PRId64 " values, expected a multiple of %s's %" PRIu64, row,
                    st_dtype_name(t->dtype), block);
    if (!u64_product(t->dim, t->ndim, &elements) ||
        !u64_mul(elements / block, st_dtype_size(t->dtype), &t->size) || t->size > r->part->size)
        return fail(r, "%s %s is more than the file has", st_dtype_name(t->dtype),
                    tensor_file_shape(t->ndim, t->dim, shape, sizeof shape));
    return true;
}

static bool take_tensor(Reader *r, TensorFile *f, uint64_t i)
{
    TensorEntry *t = &f->entry[f->n];
    uint32_t ndim, type;
    snprintf(r->where, sizeof r->where, "tensor %" PRIu64, i);
    if (!(t->name = take_string(r, LONGEST_NAME))) return false;
    f->n++;
    if (!*t->name) return fail(r, "its name is empty");
    snprintf(r->where, sizeof r->where, "tensor \"%.80s\"", t->name);
    if (!take_u32(r, &ndim)) return false;
    if (ndim > DIMS) return fail(r, "%" PRIu32 " dims, expected at most %d", ndim, DIMS);
    t->ndim = (int)ndim;
    for (uint32_t k = 0; k < ndim; k++) {
        uint64_t dim;
        if (!take_u64(r, &dim)) return false;
        if (dim > INT64_MAX) return fail(r, "dim %" PRIu32 " is %" PRIu64, k, dim);
        t->dim[ndim - 1 - k] = (int64_t)dim;
    }
    if (!take_u32(r, &type) || !take_u64(r, &t->offset) || !tensor_type(r, type, &t->dtype)) return false;
    return tensor_size(r, t);
}

/* Each tensor begins where the one before it ends, at the next multiple of the alignment; nothing is left over.
 */
static bool check_layout(Reader *r, TensorFile *f, uint64_t bytes)
{
    uint64_t end = 0, next = 0;
    tensor_file_sort_offsets(f);
    for (int i = 0; i < f->n; i++) {
        const TensorEntry *t = &f->entry[i];
        snprintf(r->where, sizeof r->where, "tensor \"%.80s\"", t->name);
        if (t->offset != next)
            return fail(r, "begins at byte %" PRIu64 " of the data, expected %" PRIu64 " (%s)", t->offset, next,
                        t->offset & (r->alignment - 1) ? "not aligned"
                        : t->offset < next             ? "an overlap"
                                                       : "a hole");
        if (!u64_add(t->offset, t->size, &end) || end > bytes)
            return fail(r, "%" PRIu64 " bytes from byte %" PRIu64 " of the data, which has %" PRIu64, t->size,
                        t->offset, bytes);
        if (!u64_align_up(end, r->alignment, &next))
            return fail(r, "ends at byte %" PRIu64 " of the data", end);
    }
    snprintf(r->where, sizeof r->where, "data");
    return bytes <= next || fail(r, "%" PRIu64 " bytes, its tensors have %" PRIu64, bytes, end);
}

/* ---- the file ---- */

static bool check_count(Reader *r, const char *what, uint64_t n, uint64_t least)
{
    if (n <= left(r) / least && n <= INT32_MAX) return true;
    return fail(r, "%" PRIu64 " %s, the %" PRIu64 " bytes that follow have room for at most %" PRIu64, n, what,
                left(r), left(r) / least);
}

static bool read_header(Reader *r, TensorFile *f)
{
    uint8_t magic[4];
    uint32_t version;
    uint64_t tensors, keys;
    Lists *lists = f->part[0].own;
    snprintf(r->where, sizeof r->where, "header");
    if (!take(r, magic, 4)) return false;
    if (!gguf_is(magic))
        return fail(r, "begins with %02x %02x %02x %02x, expected GGUF", magic[0], magic[1], magic[2],
                    magic[3]);
    if (!take_u32(r, &version)) return false;
    if (version != 2 && version != 3)
        return fail(r, "version %" PRIu32 ", expected 2 or 3%s", version,
                    version && !(version & 0xffffff) ? " (the file is big-endian)" : "");
    if (!take_u64(r, &tensors) || !take_u64(r, &keys)) return false;
    if (!check_count(r, "keys", keys, LEAST_KEY) || !check_count(r, "tensors", tensors, LEAST_TENSOR))
        return false;
    f->entry = calloc((size_t)tensors + 1, sizeof *f->entry);
    f->meta_key = calloc((size_t)keys + 1, sizeof *f->meta_key);
    f->meta_value = calloc((size_t)keys + 1, sizeof *f->meta_value);
    lists->array = calloc((size_t)keys + 1, sizeof *lists->array);
    if (!f->entry || !f->meta_key || !f->meta_value || !lists->array) return no_memory(r);
    for (uint64_t i = 0; i < keys; i++)
        if (!take_key(r, f, lists, i)) return false;
    if (!check_keys(r, f, lists)) return false;
    for (uint64_t i = 0; i < tensors; i++)
        if (!take_tensor(r, f, i)) return false;
    snprintf(r->where, sizeof r->where, "data");
    uint64_t data = UINT64_MAX, size = f->part[0].size;
    if (!u64_align_up(r->at, r->alignment, &data) || data > size) {
        if (f->n) return fail(r, "begins at byte %" PRIu64 ", the file has %" PRIu64, data, size);
        data = size;
    }
    f->part[0].data = data;
    return check_layout(r, f, size - data) && tensor_file_sort(f, r->e);
}

static bool raw(const TensorFile *f, const TensorEntry *entry, uint64_t from, uint64_t count, void *dst,
                Error *e)
{
    const TensorPart *part = &f->part[entry->part];
    return tensor_part_read(part, part->data + entry->offset + from, dst, count, e);
}

static void close_part(TensorPart *part)
{
    Lists *lists = part->own;
    for (int i = 0; lists && i < lists->n; i++) free(lists->array[i].key);
    if (lists) free(lists->array);
    free(lists);
}

static const TensorForm form = {"GGUF", raw, close_part};

bool gguf_is(const void *first4) { return !memcmp(first4, "GGUF", 4); }

TensorFile *gguf_open(const char *path, Error *e)
{
    Error ours = {0};
    TensorFile *f = tensor_file_new(path, &form, e);
    if (!f) return NULL;
    Reader *r = malloc(sizeof *r);
    f->part[0].own = calloc(1, sizeof(Lists));
    bool ok = r && f->part[0].own;
    if (!ok) tensor_file_no_memory(path, &ours);
    if (ok) {
        r->part = &f->part[0];
        r->at = r->have = r->used = 0;
        r->alignment = DEFAULT_ALIGNMENT;
        r->e = &ours;
        ok = read_header(r, f);
    }
    free(r);
    if (ok) return f;
    if (e) *e = ours;
    tensor_file_close(f);
    return NULL;
}

/* ---- lists ---- */

const GgufArray *gguf_arrays(const TensorFile *f, int *n)
{
    const Lists *lists = f->n_part == 1 && f->part[0].form == &form ? f->part[0].own : NULL;
    *n = lists ? lists->n : 0;
    return lists ? lists->array : NULL;
}

const GgufArray *gguf_array(const TensorFile *f, const char *key)
{
    int n;
    const GgufArray *a = gguf_arrays(f, &n);
    for (int i = 0; i < n; i++)
        if (!strcmp(a[i].key, key)) return &a[i];
    return NULL;
}

bool gguf_read_array(const TensorFile *f, const GgufArray *a, void *dst, Error *e)
{
    if (a->type == GGUF_STRING) die("gguf_read_array: %s: key %s has strings", f->path, a->key);
    return tensor_part_read(&f->part[0], a->offset, dst, a->size, e);
}

bool gguf_read_strings(const TensorFile *f, const GgufArray *a, char ***text, Error *e)
{
    if (a->type != GGUF_STRING) die("gguf_read_strings: %s: key %s has none", f->path, a->key);
    uint64_t pointers, bytes, at = 0;
    char **all = u64_mul(a->n, sizeof *all, &pointers) && u64_add(pointers, a->size, &bytes)
                     ? malloc((size_t)bytes + 1)
                     : NULL;
    if (!all) return error_set(e, ERROR_MEMORY, "%s: key \"%.80s\": out of memory", f->path, a->key);
    char *from = (char *)(all + a->n);
    bool ok = tensor_part_read(&f->part[0], a->offset, from, a->size, e);
    for (uint64_t i = 0; ok && i < a->n; i++) {
        uint64_t n = 0; /* checked anew: the file may have changed */
        if (a->size - at >= 8) memcpy(&n, from + at, 8);
        ok = a->size - at >= 8 && n <= a->size - at - 8;
        if (ok && i) from[at] = 0; /* ends the string before it */
        at += 8;
        all[i] = from + at;
        if (ok) at += n;
        ok = ok && !memchr(all[i], 0, (size_t)n) && utf8_valid_prefix(all[i], (size_t)n) == n;
        if (!ok)
            error_set(e, ERROR_INPUT, "%s: key \"%.80s\": string %" PRIu64 " is not UTF-8, or has a NUL",
                      f->path, a->key, i);
    }
    from[a->size] = 0;
    if (ok)
        *text = all;
    else
        free(all);
    return ok;
}
