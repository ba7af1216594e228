/* Which form a file has, and several files as one. */
#include "data/gguf.h"
#include "data/json.h"
#include "data/pytorch.h"
#include "data/safetensors.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t header_length(const uint8_t *b)
{
    uint64_t n;
    memcpy(&n, b, sizeof n);
    return n;
}

bool tensor_file_begins(const uint8_t *b, size_t n)
{
    if (pytorch_begins(b, n) || (n >= 4 && gguf_is(b))) return true;
    return n >= 9 && header_length(b) <= ST_HEADER_LIMIT && b[8] == '{';
}

/* By the first bytes. A safetensors header is at most 100 MB long, so its file begins with five to eight bytes
 * of which the last are 0: nothing else here does. */
static TensorFile *open_file(const char *path, Error *e)
{
    uint8_t head[512];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? pread(fd, head, sizeof head, 0) : -1;
    if (fd >= 0) close(fd);
    if (n > 0 && pytorch_begins(head, (size_t)n)) return pytorch_open(path, e);
    if (n >= 4 && gguf_is(head)) return gguf_open(path, e);
    if (n < 8 || header_length(head) <= ST_HEADER_LIMIT) return safetensors_open(path, e);
    error_set(e, ERROR_INPUT,
              "%s: begins with %02x %02x %02x %02x: expected safetensors, PyTorch's .pth or .bin, or GGUF",
              path, head[0], head[1], head[2], head[3]);
    return NULL;
}

/* ---- shards ---- */

/* Moves what `from` holds into f. */
static bool take(TensorFile *f, TensorFile *from, Error *e)
{
    TensorEntry *entry = realloc(f->entry, ((size_t)f->n + (size_t)from->n + 1) * sizeof *entry);
    if (entry) f->entry = entry;
    TensorPart *part = realloc(f->part, ((size_t)f->n_part + (size_t)from->n_part + 1) * sizeof *part);
    if (part) f->part = part;
    if (!entry || !part) return error_set(e, ERROR_MEMORY, "%s: out of memory for the shards", f->path);
    for (int i = 0; i < from->n; i++) {
        entry[f->n + i] = from->entry[i];
        entry[f->n + i].part += f->n_part;
    }
    memcpy(part + f->n_part, from->part, (size_t)from->n_part * sizeof *part);
    f->n += from->n;
    f->n_part += from->n_part;
    from->n = from->n_part = 0;
    if (f->n_meta || !from->n_meta) return true;
    f->meta_key = from->meta_key;
    f->meta_value = from->meta_value;
    f->n_meta = from->n_meta;
    from->meta_key = from->meta_value = NULL;
    from->n_meta = 0;
    return true;
}

/* The part whose file is called so, or -1. */
static int part_named(const TensorFile *f, const char *name)
{
    for (int i = 0; i < f->n_part; i++) {
        const char *slash = strrchr(f->part[i].path, '/');
        if (!strcmp(slash ? slash + 1 : f->part[i].path, name)) return i;
    }
    return -1;
}

static bool open_shard(TensorFile *f, const char *name, Error *e)
{
    char path[4096];
    const char *slash = strrchr(f->path, '/');
    if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
        return error_set(e, ERROR_INPUT,
                         "%s: weight_map: expected the name of a file beside the index, found \"%.80s\"",
                         f->path, name);
    int room = snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash - f->path) + 1 : 0, f->path, name);
    if (room >= (int)sizeof path) return error_set(e, ERROR_INPUT, "%s: the path is too long", f->path);
    TensorFile *shard = open_file(path, e);
    bool ok = shard && take(f, shard, e);
    tensor_file_close(shard);
    return ok;
}

static bool check_map(const TensorFile *f, json_t *map, Error *e)
{
    const char *name;
    json_t *value;
    json_object_foreach(map, name, value)
    {
        const TensorEntry *entry = tensor_file_find(f, name);
        if (!entry || entry->part != part_named(f, json_string_value(value)))
            return error_set(e, ERROR_INPUT, "%s: weight_map: tensor \"%.80s\" is not in %.80s", f->path, name,
                             json_string_value(value));
    }
    if (json_object_size(map) != (size_t)f->n)
        return error_set(e, ERROR_INPUT, "%s: weight_map: %zu tensors, its files have %d", f->path,
                         json_object_size(map), f->n);
    return true;
}

static TensorFile *open_index(const char *path, Error *e)
{
    json_t *index = json_read(path, e), *map, *value, *metadata = json_object_get(index, "metadata");
    const char *name;
    TensorFile *f = index ? calloc(1, sizeof *f) : NULL;
    if (!index) return NULL;
    bool ok = f && (f->path = tensor_file_copy(path));
    if (!ok) error_set(e, ERROR_MEMORY, "%s: out of memory reading the index", path);
    ok = ok && json_get_object(index, "weight_map", path, &map, e) &&
         (!metadata || json_is_null(metadata) || json_get_object(index, "metadata", path, &metadata, e));
    if (ok) json_object_foreach(map, name, value)
        {
            const char *file = json_string_value(value);
            if (!file)
                ok = error_set(e, ERROR_INPUT, "%s: weight_map: tensor \"%.80s\": expected the name of a file",
                               path, name);
            ok = ok && (part_named(f, file) >= 0 || open_shard(f, file, e));
            if (!ok) break;
        }
    ok = ok && tensor_file_sort(f, e) && check_map(f, map, e);
    json_decref(index);
    if (ok) return f;
    tensor_file_close(f);
    return NULL;
}

/* ---- any ---- */

bool tensor_file_is_index(const char *path)
{
    static const char end[] = ".index.json";
    size_t n = strlen(path);
    return n >= sizeof end - 1 && !strcmp(path + n - (sizeof end - 1), end);
}

bool tensor_file_in_folder(const char *folder, char *path, size_t room)
{
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json",
                                        "pytorch_model.bin", "pytorch_model.bin.index.json",
                                        "consolidated.00.pth"};
    struct stat st;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if ((size_t)snprintf(path, room, "%s/%s", folder, names[i]) < room && stat(path, &st) == 0) return true;
    return false;
}

static TensorFile *open_folder(const char *folder, Error *e)
{
    char path[4096];
    if (tensor_file_in_folder(folder, path, sizeof path))
        return tensor_file_is_index(path) ? open_index(path, e) : open_file(path, e);
    error_set(e, ERROR_INPUT,
              "%s: expected one of model.safetensors, pytorch_model.bin (or their .index.json) and "
              "consolidated.00.pth in this folder, found none",
              folder);
    return NULL;
}

TensorFile *tensor_file_open(const char *path, Error *e)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return open_folder(path, e);
    return tensor_file_is_index(path) ? open_index(path, e) : open_file(path, e);
}

bool tensor_file_holds(const TensorFile *f, const char *path)
{
    struct stat st, own;
    if (stat(path, &st) != 0) return false;
    for (int i = 0; i < f->n_part; i++)
        if (fstat(f->part[i].fd, &own) == 0 && own.st_dev == st.st_dev && own.st_ino == st.st_ino) return true;
    return false;
}
