/* Writing safetensors. Tensors are laid out by falling element size, then by name, and the header is padded
 * with blanks to a multiple of 8, so that every tensor is aligned to its own type and equal contents give equal
 * bytes. */
#include "data/file.h"
#include "data/json.h"
#include "data/safetensors.h"
#include "data/sha256.h"
#include "tensor/checked.h"
#include "tensor/utf8.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct Item {
    char *name;
    StDType dtype;
    int ndim;
    int64_t dim[8];
    uint64_t size;
    const void *data;
    StSource *source; /* NULL: data has the bytes */
    void *context;
} Item;

/* Adding cannot fail for the caller: what memory could not hold is remembered and reported by save. */
struct StWriter {
    Item *item;
    char **meta; /* key, value, key, value, ... */
    size_t n, room, n_meta, meta_room;
    bool no_memory;
};

StWriter *st_writer_new(void) { return calloc(1, sizeof(StWriter)); }

void st_writer_free(StWriter *w)
{
    if (!w) return;
    for (size_t i = 0; i < w->n; i++) free(w->item[i].name);
    for (size_t i = 0; i < w->n_meta; i++) free(w->meta[i]);
    free(w->item);
    free(w->meta);
    free(w);
}

static char *copy_text(StWriter *w, const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = malloc(n);
    if (!copy) w->no_memory = true;
    return copy ? memcpy(copy, text, n) : NULL;
}

static bool grow(StWriter *w, void **list, size_t *room, size_t need, size_t size)
{
    if (need <= *room) return true;
    size_t more = *room ? *room * 2 : 16;
    void *larger = realloc(*list, more * size);
    if (!larger) {
        w->no_memory = true;
        return false;
    }
    *list = larger;
    *room = more;
    return true;
}

void st_writer_meta(StWriter *w, const char *key, const char *value)
{
    void *list = w ? w->meta : NULL;
    if (!w || !grow(w, &list, &w->meta_room, w->n_meta + 2, sizeof *w->meta)) return;
    w->meta = list;
    w->meta[w->n_meta] = copy_text(w, key);
    w->meta[w->n_meta + 1] = copy_text(w, value);
    w->n_meta += 2;
}

static void add(StWriter *w, const char *name, Item item, const int64_t *dim)
{
    void *list = w ? w->item : NULL;
    if (!w || !grow(w, &list, &w->room, w->n + 1, sizeof *w->item)) return;
    w->item = list;
    Item *t = &w->item[w->n];
    *t = item;
    uint64_t elements;
    if (t->ndim < 0 || t->ndim > 8)
        die("st_writer_add: tensor \"%s\": %d dims, expected 0 to 8", name, t->ndim);
    if (!u64_product(dim, t->ndim, &elements) || !u64_mul(elements, st_dtype_size(t->dtype), &t->size))
        die("st_writer_add: tensor \"%s\": a shape that is negative or too large", name);
    if (t->size && !t->data && !t->source) die("st_writer_add: tensor \"%s\": no data", name);
    if (t->ndim) memcpy(t->dim, dim, (size_t)t->ndim * sizeof *dim);
    t->name = copy_text(w, name);
    if (t->name) w->n++;
}

void st_writer_add(StWriter *w, const char *name, StDType dtype, int ndim, const int64_t *dim, const void *data)
{
    add(w, name, (Item){.dtype = dtype, .ndim = ndim, .data = data}, dim);
}

void st_writer_add_from(StWriter *w, const char *name, StDType dtype, int ndim, const int64_t *dim,
                        StSource *source, void *context)
{
    add(w, name, (Item){.dtype = dtype, .ndim = ndim, .source = source, .context = context}, dim);
}

static int by_size_and_name(const void *a, const void *b)
{
    const Item *x = a, *y = b;
    size_t m = st_dtype_size(x->dtype), n = st_dtype_size(y->dtype);
    if (m != n) return m > n ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* {"dtype": "F32", "shape": [2,3], "data_offsets": [0,24]}; NULL when memory is short. */
static json_t *describe(const Item *t, uint64_t offset)
{
    json_t *shape = json_array(), *value = json_object();
    bool ok = shape && value && json_object_set_new(value, "dtype", json_string(st_dtype_name(t->dtype))) == 0;
    for (int i = 0; ok && i < t->ndim; i++) ok = json_array_append_new(shape, json_integer(t->dim[i])) == 0;
    ok = ok && json_object_set(value, "shape", shape) == 0;
    json_t *offsets = ok ? json_pack("[I,I]", (json_int_t)offset, (json_int_t)(offset + t->size)) : NULL;
    ok = ok && json_object_set_new(value, "data_offsets", offsets) == 0;
    json_decref(shape);
    if (ok) return value;
    json_decref(value);
    return NULL;
}

static bool no_memory(const char *path, Error *e)
{
    return error_set(e, ERROR_MEMORY, "%s: out of memory writing the header", path);
}

static bool check_text(const char *path, const char *what, const char *text, Error *e)
{
    return utf8_valid_prefix(text, strlen(text)) == strlen(text) ||
           error_set(e, ERROR_INPUT, "%s: %s \"%.80s\" is not UTF-8", path, what, text);
}

static bool put_meta(const StWriter *w, json_t *header, const char *path, Error *e)
{
    if (w->n_meta == 0) return true;
    json_t *meta = json_object();
    bool ok = meta && json_object_set(header, "__metadata__", meta) == 0;
    if (!ok) no_memory(path, e);
    for (size_t i = 0; ok && i < w->n_meta; i += 2) {
        const char *key = w->meta[i], *value = w->meta[i + 1];
        ok = check_text(path, "metadata key", key, e) && check_text(path, "metadata value", value, e);
        if (ok && json_object_set_new(meta, key, json_string(value)) != 0) ok = no_memory(path, e);
    }
    json_decref(meta);
    return ok;
}

static json_t *make_header(const StWriter *w, const char *path, Error *e)
{
    json_t *header = json_object();
    if (!header) {
        no_memory(path, e);
        return NULL;
    }
    bool ok = put_meta(w, header, path, e);
    uint64_t offset = 0;
    for (size_t i = 0; ok && i < w->n; i++) {
        const Item *t = &w->item[i];
        if (strcmp(t->name, "__metadata__") == 0 || json_object_get(header, t->name))
            die("st_writer_save: %s: the tensor name \"%s\" is used twice", path, t->name);
        ok = check_text(path, "tensor name", t->name, e);
        if (ok && json_object_set_new(header, t->name, describe(t, offset)) != 0) ok = no_memory(path, e);
        if (ok && (!u64_add(offset, t->size, &offset) || offset > INT64_MAX))
            ok = error_set(e, ERROR_INPUT, "%s: more than 2^63 bytes", path);
    }
    if (ok) return header;
    json_decref(header);
    return NULL;
}

/* The header as it stands in the file, filled up with blanks to a multiple of 8. *text is the caller's. */
static bool header_text(StWriter *w, const char *path, char **text, size_t *n, Error *e)
{
    if (!w || w->no_memory) return no_memory(path, e);
    if (w->n > 1) qsort(w->item, w->n, sizeof *w->item, by_size_and_name);
    json_t *header = make_header(w, path, e);
    if (!header) return false;
    size_t used = json_dumpb(header, NULL, 0, JSON_COMPACT);
    *n = (used + 7) & ~(size_t)7;
    *text = used ? malloc(*n) : NULL;
    bool ok = *text && json_dumpb(header, *text, used, JSON_COMPACT) == used;
    json_decref(header);
    if (ok) {
        memset(*text + used, ' ', *n - used);
        return true;
    }
    free(*text);
    return no_memory(path, e);
}

/* Where a file's bytes go, in order; false where they cannot go on. */
typedef bool Put(void *to, const void *bytes, size_t n);
static bool put_stream(void *to, const void *bytes, size_t n)
{
    return !ferror((FILE *)to) && fwrite(bytes, 1, n, to) == n;
}
static bool put_hash(void *to, const void *bytes, size_t n)
{
    sha256_add(to, bytes, n);
    return true;
}

/* chunk: ST_CHUNK bytes. */
static bool put_item(const Item *t, char *chunk, Put *put, void *to, Error *e)
{
    if (!t->source) return !t->size || put(to, t->data, t->size);
    for (uint64_t from = 0; from < t->size; from += ST_CHUNK) {
        size_t n = t->size - from < ST_CHUNK ? (size_t)(t->size - from) : ST_CHUNK;
        if (!t->source(t->context, from, n, chunk, e) || !put(to, chunk, n)) return false;
    }
    return true;
}

static uint64_t all_bytes(const StWriter *w, uint64_t length)
{
    uint64_t bytes = 8 + length;
    for (size_t i = 0; i < w->n; i++) bytes += w->item[i].size;
    return bytes;
}

/* False with *e set, or where `put` could not go on. */
static bool put_all(const StWriter *w, const char *path, const char *text, uint64_t length, Put *put, void *to,
                    Error *e)
{
    bool sources = false;
    for (size_t i = 0; i < w->n; i++) sources |= w->item[i].source != NULL;
    char *chunk = sources ? malloc(ST_CHUNK) : NULL;
    if (sources && !chunk) return no_memory(path, e);
    bool ok = put(to, &length, 8) && put(to, text, length);
    for (size_t i = 0; ok && i < w->n; i++) ok = put_item(&w->item[i], chunk, put, to, e);
    free(chunk);
    return ok;
}

bool st_writer_save(StWriter *w, const char *path, Error *e)
{
    char *text;
    size_t n;
    FileWriter file;
    if (!header_text(w, path, &text, &n, e)) return false;
    bool ok = file_create(&file, path, e);
    if (ok) {
        ok = put_all(w, path, text, n, put_stream, file.stream, e) || ferror(file.stream);
        if (ok)
            ok = file_commit(&file, e);
        else
            file_abandon(&file);
    }
    free(text);
    return ok;
}

bool st_writer_size(StWriter *w, const char *path, uint64_t *bytes, Error *e)
{
    char *text;
    size_t n;
    if (!header_text(w, path, &text, &n, e)) return false;
    *bytes = all_bytes(w, n);
    free(text);
    return true;
}

bool st_writer_hash(StWriter *w, const char *path, uint64_t *bytes, char hex[65], Error *e)
{
    char *text;
    size_t n;
    Sha256 hash;
    if (!header_text(w, path, &text, &n, e)) return false;
    sha256_open(&hash);
    bool ok = put_all(w, path, text, n, put_hash, &hash, e);
    *bytes = all_bytes(w, n);
    sha256_close(&hash, hex);
    free(text);
    return ok;
}

/* ---- shards ---- */

static int by_item_name(const void *a, const void *b)
{
    return strcmp(((const Item *)a)->name, ((const Item *)b)->name);
}

/* Items from `from` on, in order of names, that stay in one file: a weight and its planes ("P", "P.absmax"). */
static size_t group_end(const StWriter *w, size_t from, uint64_t *bytes)
{
    size_t i = from, n = strlen(w->item[from].name);
    *bytes = 0;
    do *bytes += w->item[i++].size;
    while (i < w->n && !strncmp(w->item[i].name, w->item[from].name, n) && w->item[i].name[n] == '.');
    return i;
}

/* As many groups from `from` on as `limit` holds, at least one. */
static size_t shard_end(const StWriter *w, size_t from, uint64_t limit)
{
    uint64_t used, more;
    size_t i = group_end(w, from, &used), next;
    for (; i < w->n; i = next) {
        next = group_end(w, i, &more);
        if (used > limit || more > limit - used) break;
        used += more;
    }
    return i;
}

static bool index_write(const json_t *map, uint64_t bytes, const char *folder, Error *e)
{
    char path[4096];
    json_t *index = json_pack("{s:{s:I},s:O}", "metadata", "total_size", (json_int_t)bytes, "weight_map", map);
    if (snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder) >= (int)sizeof path) path[0] = 0;
    bool ok = index ? json_write(path, index, e) : no_memory(path, e);
    json_decref(index);
    return ok;
}

/* Files k of n for all k; their tensors into the map. */
static bool save_each(StWriter *w, const char *folder, uint64_t limit, int n, json_t *map, uint64_t *bytes,
                      Error *e)
{
    size_t from = 0;
    for (int k = 1; k <= n; k++) {
        char path[4096];
        size_t end = shard_end(w, from, limit);
        if (snprintf(path, sizeof path, "%s/model-%05d-of-%05d.safetensors", folder, k, n) >= (int)sizeof path)
            return error_set(e, ERROR_IO, "%.80s...: the path is too long", folder);
        for (size_t i = from; i < end; i++) {
            if (!check_text(path, "tensor name", w->item[i].name, e)) return false;
            if (json_object_get(map, w->item[i].name))
                die("st_writer_save_shards: %s: the tensor name \"%s\" is used twice", path, w->item[i].name);
            if (json_object_set_new(map, w->item[i].name, json_string(path + strlen(folder) + 1)) != 0)
                return no_memory(path, e);
            if (!u64_add(*bytes, w->item[i].size, bytes) || *bytes > INT64_MAX)
                return error_set(e, ERROR_INPUT, "%s: more than 2^63 bytes", folder);
        }
        StWriter shard = {.item = w->item + from, .n = end - from, .meta = w->meta, .n_meta = w->n_meta};
        if (!st_writer_save(&shard, path, e)) return false;
        from = end;
    }
    return true;
}

bool st_writer_save_shards(StWriter *w, const char *folder, uint64_t limit, Error *e)
{
    char path[4096];
    struct stat st;
    if (!w || w->no_memory) return no_memory(folder, e);
    if (snprintf(path, sizeof path, "%s/model.safetensors", folder) < (int)sizeof path && stat(path, &st) == 0)
        return error_set(e, ERROR_INPUT, "%s is there, and would be read instead of the shards", path);
    if (!file_make_folder(folder, e)) return false;
    if (w->n > 1) qsort(w->item, w->n, sizeof *w->item, by_item_name);
    int n = 0;
    for (size_t i = 0; i < w->n; n++) i = shard_end(w, i, limit);
    json_t *map = json_object();
    uint64_t bytes = 0;
    bool ok = map ? save_each(w, folder, limit, n, map, &bytes, e) : no_memory(folder, e);
    ok = ok && index_write(map, bytes, folder, e);
    json_decref(map);
    return ok;
}
