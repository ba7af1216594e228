#include "data/ctrg_split.h"
#include "data/ctrg_brain.h"
#include "data/json.h"
#include "data/sha256.h"
#include "tensor/rng.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[SPLIT_KINDS] = {"pcrl", "mepnet", "seed", "files"},
                         *const part_names[SPLIT_PARTS] = {"train", "validation", "test"};

const char *split_name(SplitKind kind) { return names[kind]; }
const char *split_part_name(SplitPart part) { return part_names[part]; }

bool split_from_name(const char *name, SplitKind *kind)
{
    for (SplitKind k = 0; k < SPLIT_KINDS; k++)
        if (!strcmp(name, names[k])) {
            *kind = k;
            return true;
        }
    return false;
}

bool split_positions(SplitKind kind, uint64_t seed, int n, uint8_t *part, Error *e)
{
    if (kind == SPLIT_FILES) die("split_positions: the files' split has no positions");
    int train = (int)((int64_t)n * 7 / 10), test = (int)((int64_t)n * 2 / 10);
    int second = kind == SPLIT_MEPNET ? n - test : train + test; /* where the third part begins */
    int *at = malloc(((size_t)n + 1) * sizeof *at);
    if (!at) return error_set(e, ERROR_MEMORY, "no memory to split %d studies", n);
    for (int i = 0; i < n; i++) at[i] = i;
    Rng r = rng_open(seed, "split");
    for (int i = n - 1; kind == SPLIT_SEED && i > 0; i--) {
        int k = (int)rng_below(&r, i + 1), swap = at[i];
        at[i] = at[k];
        at[k] = swap;
    }
    for (int i = 0; i < n; i++)
        part[at[i]] = i < train                                ? SPLIT_TRAIN
                      : (i < second) == (kind == SPLIT_MEPNET) ? SPLIT_VALIDATION
                                                               : SPLIT_TEST;
    free(at);
    return true;
}

/* ---- lists of ids ---- */

static bool id_of(const json_t *value, const char *key, int64_t *id)
{
    const json_t *own = json_is_object(value) ? json_object_get(value, "id") : value;
    if (!own) own = json_object_get(value, "image_id");
    const char *text = key ? key : json_string_value(own);
    if (text) return brain_id(text, id);
    *id = json_integer_value(own);
    return json_is_integer(own) && *id >= 0;
}

static int by_value(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

static bool all_once(const char *path, const int64_t *id, int n, Error *e)
{
    int64_t *sorted = malloc(((size_t)n + 1) * sizeof *sorted);
    if (!sorted) return error_set(e, ERROR_MEMORY, "%s: no memory for %d ids", path, n);
    memcpy(sorted, id, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    bool ok = true;
    for (int i = 1; ok && i < n; i++)
        if (sorted[i] == sorted[i - 1])
            ok = error_set(e, ERROR_INPUT, "%s: study %lld is there twice", path, (long long)sorted[i]);
    free(sorted);
    return ok;
}

bool split_read_ids(const char *path, int64_t **id, int *n, Error *e)
{
    json_t *root = json_read(path, e);
    if (!root) {
        json_hide_text(e); /* the groups' own lists hold pictures' paths */
        return false;
    }
    size_t count = json_is_object(root) ? json_object_size(root) : json_array_size(root), i = 0;
    const char *key = NULL;
    json_t *value;
    bool ok = json_is_object(root) || json_is_array(root) ||
              error_set(e, ERROR_INPUT, "%s: neither a list nor an object", path);
    if (ok && count > INT32_MAX / 2) ok = error_set(e, ERROR_INPUT, "%s: %zu ids", path, count);
    int64_t *list = ok ? malloc((count + 1) * sizeof *list) : NULL;
    if (ok && !list) ok = error_set(e, ERROR_MEMORY, "%s: no memory for %zu ids", path, count);
    void *at = ok ? json_object_iter(root) : NULL;
    for (; ok && i < count; i++) {
        if (at)
            key = json_object_iter_key(at), value = json_object_iter_value(at),
            at = json_object_iter_next(root, at);
        else
            value = json_array_get(root, i);
        if (!id_of(value, key, &list[i])) ok = error_set(e, ERROR_INPUT, "%s: entry %zu has no id", path, i);
    }
    json_decref(root);
    ok = ok && all_once(path, list, (int)count, e);
    if (ok) *id = list, *n = (int)count;
    if (!ok) free(list);
    return ok;
}

void split_hash(const int64_t *id, int n, char hex[65])
{
    Sha256 s;
    sha256_open(&s);
    for (int i = 0; i < n; i++) {
        char line[32];
        sha256_add(&s, line, (size_t)snprintf(line, sizeof line, "%lld\n", (long long)id[i]));
    }
    sha256_close(&s, hex);
}
