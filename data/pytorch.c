/* Both forms come down to one list of storages with their places in the file, and tensors as views of them. */
#include "data/pytorch.h"
#include "data/pickle.h"
#include "data/pytorch_views.h"
#include "data/safetensors.h"
#include "data/stored_zip.h"
#include "tensor/checked.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t magic[10] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
enum { LEGACY_PROTOCOL = 1001 };

static bool is_tar(const uint8_t *bytes, size_t n) { return n >= 262 && !memcmp(bytes + 257, "ustar", 5); }

bool pytorch_begins(const uint8_t *b, size_t n)
{
    uint64_t header = UINT64_MAX;
    if (n >= 8) memcpy(&header, b, 8);
    bool long_header = header > ST_HEADER_LIMIT; /* else safetensors may begin so */
    if (n >= 4 && b[0] == 'P' && b[1] == 'K' && b[2] < 9) return long_header || n < 9 || b[8] != '{';
    return (n >= 2 && b[0] == 0x80 && b[1] < 6 && long_header) || is_tar(b, n);
}

/* A pickle's bytes in a file. */
typedef struct Place {
    const TensorPart *part;
    uint64_t begin;
} Place;

static bool read_source(void *user, uint64_t offset, void *dst, uint64_t n, Error *e)
{
    const Place *in = user;
    return tensor_part_read(in->part, in->begin + offset, dst, n, e);
}

/* ---- storages ---- */

static int by_key(const void *a, const void *b)
{
    return strcmp((*(PickleStorage *const *)a)->key, (*(PickleStorage *const *)b)->key);
}

static uint64_t storage_bytes(const PickleStorage *s) { return s->total * st_dtype_size(s->dtype); }

/* The pickle's storages by key, so that equal keys are neighbours. */
static bool list_storages(const Pickle *p, const char *path, PickleStorage ***list, size_t *n, Error *e)
{
    *n = 0;
    for (const PickleStorage *s = pickle_storages(p); s; s = s->next) ++*n;
    *list = malloc((*n + 1) * sizeof **list);
    if (!*list) return tensor_file_no_memory(path, e);
    size_t i = 0;
    for (PickleStorage *s = pickle_storages(p); s; s = s->next) (*list)[i++] = s;
    if (*n > 1) qsort(*list, *n, sizeof **list, by_key);
    return true;
}

/* The first storage of that key; *count: how many there are. */
static PickleStorage **find_key(PickleStorage **list, size_t n, const char *key, size_t *count)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(list[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (*count = 0; low + *count < n && !strcmp(list[low + *count]->key, key);) ++*count;
    return list + low;
}

/* All of one key are the same `bytes` at `offset`. */
static bool place(const char *path, PickleStorage **same, size_t count, uint64_t offset, uint64_t bytes,
                  Error *e)
{
    for (size_t i = 0; i < count; i++) {
        if (storage_bytes(same[i]) != bytes)
            return error_set(e, ERROR_INPUT, "%s: storage \"%.80s\": %llu bytes declared, %llu are there", path,
                             same[i]->key, (unsigned long long)storage_bytes(same[i]),
                             (unsigned long long)bytes);
        same[i]->offset = offset;
    }
    return true;
}

/* ---- the zip form ---- */

/* ROOT of ROOT/data.pkl. */
static bool find_root(StoredZip *z, const char *path, char *root, size_t room, Error *e)
{
    static const char tail[] = "/data.pkl";
    int found = 0;
    for (int64_t i = 0; i < stored_zip_count(z); i++) {
        const char *name = stored_zip_name(z, i), *slash = strchr(name, '/');
        if (!slash || strcmp(slash, tail)) continue;
        if ((size_t)snprintf(root, room, "%.*s", (int)(slash - name), name) >= room)
            return error_set(e, ERROR_INPUT, "%s: the archive's folder has a name of %zu bytes", path,
                             (size_t)(slash - name));
        found++;
    }
    return found == 1 || error_set(e, ERROR_INPUT,
                                   "%s: %d members FOLDER/data.pkl, a file of torch.save has one", path, found);
}

static bool check_byteorder(StoredZip *z, const TensorPart *part, const char *root, Error *e)
{
    char name[400], order[16] = "";
    uint64_t offset, size;
    snprintf(name, sizeof name, "%s/byteorder", root);
    if (!stored_zip_has(z, name)) return true;
    if (!stored_zip_find(z, name, &offset, &size, e)) return false;
    if (size < sizeof order && !tensor_part_read(part, offset, order, size, e)) return false;
    return !strcmp(order, "little") ||
           error_set(e, ERROR_INPUT, "%s: byteorder: expected little, found \"%s\"", part->path, order);
}

static bool place_members(StoredZip *z, const Pickle *p, const char *path, const char *root, Error *e)
{
    PickleStorage **list;
    size_t n, count;
    if (!list_storages(p, path, &list, &n, e)) return false;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i += count) {
        char name[520]; /* both at most 255 bytes */
        uint64_t offset, size;
        find_key(list + i, n - i, list[i]->key, &count);
        snprintf(name, sizeof name, "%s/data/%s", root, list[i]->key);
        ok = stored_zip_find(z, name, &offset, &size, e) && place(path, list + i, count, offset, size, e);
    }
    free(list);
    return ok;
}

static bool open_zip(TensorFile *f, Error *e)
{
    TensorPart *part = &f->part[0];
    char root[256], name[400], what[400];
    uint64_t offset, size;
    StoredZip *z = stored_zip_open(part, e);
    if (!z) return false;
    bool ok = find_root(z, f->path, root, sizeof root, e) && check_byteorder(z, part, root, e);
    snprintf(name, sizeof name, "%s/data.pkl", root);
    snprintf(what, sizeof what, "%.300s: data.pkl", f->path);
    ok = ok && stored_zip_find(z, name, &offset, &size, e);
    Pickle *p = NULL;
    if (ok) {
        Place place = {part, offset};
        p = pickle_read(&(PickleSource){read_source, &place, 0, size, what}, NULL, e);
    }
    ok = p && place_members(z, p, f->path, root, e) && pytorch_views(f, pickle_root(p), e);
    pickle_free(p);
    stored_zip_close(z);
    return ok;
}

/* ---- the form before ---- */

/* One of the pickles at the beginning. */
static Pickle *next_pickle(TensorFile *f, uint64_t *at, Error *e)
{
    Place place = {&f->part[0], 0};
    return pickle_read(&(PickleSource){read_source, &place, *at, f->part[0].size, f->path}, at, e);
}

static bool check_magic(TensorFile *f, uint64_t *at, Error *e)
{
    Pickle *p = next_pickle(f, at, e);
    if (!p) return false;
    const PickleValue *v = pickle_root(p);
    bool ok = v->type == PICKLE_LONG && v->size == sizeof magic && !memcmp(v->text, magic, sizeof magic);
    pickle_free(p);
    return ok || error_set(e, ERROR_INPUT, "%s: a pickle, but not one that torch.save wrote", f->path);
}

static bool check_version(TensorFile *f, uint64_t *at, Error *e)
{
    Pickle *p = next_pickle(f, at, e);
    if (!p) return false;
    const PickleValue *v = pickle_root(p);
    bool ok = v->type == PICKLE_INT && v->whole == LEGACY_PROTOCOL;
    pickle_free(p);
    return ok || error_set(e, ERROR_INPUT, "%s: the second pickle: expected the protocol's number %d", f->path,
                           LEGACY_PROTOCOL);
}

static bool check_system(TensorFile *f, uint64_t *at, Error *e)
{
    Pickle *p = next_pickle(f, at, e);
    if (!p) return false;
    const PickleValue *little = pickle_get(pickle_root(p), "little_endian");
    bool ok = little && little->type == PICKLE_BOOL && little->whole;
    pickle_free(p);
    return ok || error_set(e, ERROR_INPUT, "%s: the third pickle: expected \"little_endian\": true", f->path);
}

/* After the pickles, in the order of the keys: the number of elements and the elements. */
static bool place_run(TensorFile *f, const Pickle *p, const PickleValue *keys, uint64_t at, Error *e)
{
    const TensorPart *part = &f->part[0];
    PickleStorage **list;
    size_t n, count, placed = 0;
    if (keys->type != PICKLE_LIST)
        return error_set(e, ERROR_INPUT, "%s: the storages' keys: expected a list, found %s", f->path,
                         pickle_type_name(keys));
    if (!list_storages(p, f->path, &list, &n, e)) return false;
    bool ok = true;
    for (uint32_t i = 0; ok && i < keys->size; i++) {
        const char *key = keys->item[i]->type == PICKLE_TEXT ? keys->item[i]->text : "";
        uint64_t elements, bytes = 0;
        PickleStorage **same = find_key(list, n, key, &count);
        if (!count || same[0]->offset) {
            ok = error_set(e, ERROR_INPUT, "%s: storage \"%.80s\" is %s", f->path, key,
                           count ? "there twice" : "no tensor's");
            break;
        }
        if (part->size - at < 8) {
            ok = error_set(e, ERROR_INPUT, "%s: storage \"%.80s\": the file ends at byte %llu", f->path, key,
                           (unsigned long long)part->size);
            break;
        }
        ok = tensor_part_read(part, at, &elements, 8, e);
        at += 8;
        if (ok && (!u64_mul(elements, st_dtype_size(same[0]->dtype), &bytes) || bytes > part->size - at))
            ok = error_set(e, ERROR_INPUT, "%s: storage \"%.80s\": %llu elements, %llu bytes are left", f->path,
                           key, (unsigned long long)elements, (unsigned long long)(part->size - at));
        ok = ok && place(f->path, same, count, at, bytes, e);
        if (ok) at += bytes;
        placed += count;
    }
    if (ok && placed != n)
        ok = error_set(e, ERROR_INPUT, "%s: %zu storages are not in the file", f->path, n - placed);
    if (ok && at != part->size)
        ok = error_set(e, ERROR_INPUT, "%s: %llu bytes after the last storage", f->path,
                       (unsigned long long)(part->size - at));
    free(list);
    return ok;
}

static bool open_run(TensorFile *f, Error *e)
{
    uint64_t at = 0;
    if (!check_magic(f, &at, e) || !check_version(f, &at, e) || !check_system(f, &at, e)) return false;
    Pickle *p = next_pickle(f, &at, e), *keys = p ? next_pickle(f, &at, e) : NULL;
    bool ok = keys && place_run(f, p, pickle_root(keys), at, e) && pytorch_views(f, pickle_root(p), e);
    pickle_free(keys);
    pickle_free(p);
    return ok;
}

TensorFile *pytorch_open(const char *path, Error *e)
{
    TensorFile *f = tensor_file_new(path, &pytorch_form, e);
    uint8_t head[512];
    if (!f) return NULL;
    size_t n = f->part[0].size < sizeof head ? (size_t)f->part[0].size : sizeof head;
    bool ok = tensor_part_read(&f->part[0], 0, head, n, e);
    if (ok && is_tar(head, n))
        ok = error_set(
            e, ERROR_INPUT,
            "%s: the tar form of PyTorch before 0.1.10 is not read: save it anew with any later version", path);
    else if (ok)
        ok = head[0] == 'P' ? open_zip(f, e) : open_run(f, e);
    if (ok) return f;
    tensor_file_close(f);
    return NULL;
}
