/* Annotations, and what the parts share; see ctrg_brain.h. */
#include "data/ctrg_brain_parts.h"
#include "data/file.h"
#include "data/json.h"
#include "tensor/utf8.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_ID_DIGITS = 18, MAX_STUDIES = 10000000, SIGN = 127, OTHER_SIGN = '?' };
#define MAX_ANNOTATIONS ((size_t)2 << 30)

static const struct {
    bool out;
    const char *words;
} issues[BRAIN_ISSUES] = {
#define BRAIN_ISSUE(name, out, words) {out, words},
#include "data/ctrg_brain.def"
};

const char *brain_issue_words(BrainIssue i) { return issues[i].words; }

void brain_issue(Brain *b, BrainStudy *s, BrainIssue issue, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *c = line; *c; c++) /* what a file says may hold anything, the message is one line */
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    b->issue[issue]++;
    if (s && issues[issue].out) s->good = false;
    if (b->o.report) b->o.report(b->o.context, issue, line);
}

bool brain_id(const char *text, int64_t *id)
{
    size_t n = strlen(text);
    if (!n || n > MAX_ID_DIGITS || strspn(text, "0123456789") != n || (*text == '0' && n > 1)) return false;
    *id = strtoll(text, NULL, 10);
    return true;
}

static bool no_memory(const Brain *b, Error *e)
{
    return error_set(e, ERROR_MEMORY, "%s: no memory for its studies", b->annotations);
}

/* ---- one entry ---- */

static bool read_id(Brain *b, const json_t *entry, size_t index, BrainStudy *s)
{
    const json_t *value = json_object_get(entry, "id");
    if (!value) value = json_object_get(entry, "image_id");
    const char *text = json_string_value(value);
    if (text && brain_id(text, &s->id)) return true;
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        s->id = json_integer_value(value);
        return true;
    }
    brain_issue(b, s, BRAIN_ENTRY, "%s: entry %zu: id %s, expected a decimal number", b->annotations, index,
                text    ? "of another form" /* which may be a picture's name */
                : value ? "of another type"
                        : "missing");
    return false;
}

/* Copies the text of a key; *out stays NULL where there is none. other: the entry again, with other signs in
 * place of bytes that are not UTF-8. False without memory. */
static bool read_text(Brain *b, BrainStudy *s, const json_t *entry, const json_t *other, const char *key,
                      bool needed, char **out)
{
    const json_t *value = json_object_get(entry, key);
    const char *text = json_string_value(value), *again = json_string_value(json_object_get(other, key));
    long long id = (long long)s->id;
    size_t same = 0;
    if (!text) {
        if (needed || value)
            brain_issue(b, s, BRAIN_TEXT, "%s: study %lld: %s is %s, expected a text", b->annotations, id, key,
                        value ? "of another type" : "missing");
        return true;
    }
    while (text[same] && text[same] == again[same]) same++;
    if (text[same])
        brain_issue(b, s, BRAIN_UTF8, "%s: study %lld: %s: byte %zu is not UTF-8", b->annotations, id, key,
                    same);
    if (needed && !text[strspn(text, " \t\r\n")])
        brain_issue(b, s, BRAIN_TEXT, "%s: study %lld: %s is empty, expected a report", b->annotations, id,
                    key);
    *out = strdup(text);
    return *out != NULL;
}

/* Those of the corpus and of the groups' own files, in their spelling. */
static bool known_key(const char *key)
{
    static const char *const keys[] = {"id",
                                       "image_id",
                                       "findings",
                                       "caption",
                                       "impression",
                                       "images",
                                       "finding_entities",
                                       "finding_etities_lession",
                                       "finding_entities_lession",
                                       "impression_entities",
                                       "impression_etities_lession",
                                       "impression_entities_lession",
                                       "finding_entities_seg_images",
                                       "finding_idx_images_contain_entity",
                                       "finding_entities_lession_per_img",
                                       "finding_merged_masks_path"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(key, keys[i])) return true;
    return false;
}

static bool read_entry(Brain *b, json_t *entry, const json_t *other, size_t index, BrainStudy *s)
{
    s->good = true;
    if (!json_is_object(entry)) {
        brain_issue(b, s, BRAIN_ENTRY, "%s: entry %zu is not an object", b->annotations, index);
        return true;
    }
    if (!read_id(b, entry, index, s)) return true;
    const char *key;
    json_t *value;
    json_object_foreach(entry, key, value)
    {
        if (known_key(key)) continue;
        brain_issue(b, s, BRAIN_KEY, "%s: study %lld: unknown key \"%.60s\"", b->annotations, (long long)s->id,
                    key);
    }
    bool caption = !json_object_get(entry, "findings") && json_object_get(entry, "caption");
    return read_text(b, s, entry, other, caption ? "caption" : "findings", true, &s->findings) &&
           read_text(b, s, entry, other, "impression", false, &s->impression);
}

/* ---- all of them ---- */

static int by_id(const void *x, const void *y, void *brain)
{
    const BrainStudy *study = ((const Brain *)brain)->study;
    int i = *(const int *)x, k = *(const int *)y;
    int64_t a = study[i].id, b = study[k].id;
    return a != b ? (a > b) - (a < b) : i - k;
}

/* An id of two entries: both stay out, for which of them is meant cannot be told. */
static bool index_ids(Brain *b, Error *e)
{
    b->by_id = malloc((size_t)b->n * sizeof *b->by_id);
    if (!b->by_id) return no_memory(b, e);
    for (int i = 0; i < b->n; i++)
        if (b->study[i].id >= 0) b->by_id[b->n_ids++] = i;
    qsort_r(b->by_id, (size_t)b->n_ids, sizeof *b->by_id, by_id, b);
    int kept = 0;
    for (int i = 0; i < b->n_ids; i++) {
        BrainStudy *first = kept ? &b->study[b->by_id[kept - 1]] : NULL, *s = &b->study[b->by_id[i]];
        if (!first || first->id != s->id) {
            b->by_id[kept++] = b->by_id[i];
            continue;
        }
        first->good = false;
        brain_issue(b, s, BRAIN_DUPLICATE, "%s: study %lld: entries %d and %d have the same id", b->annotations,
                    (long long)s->id, (int)(first - b->study), b->by_id[i]);
    }
    b->n_ids = kept;
    return true;
}

BrainStudy *brain_find(const Brain *b, int64_t id)
{
    int low = 0, high = b->n_ids;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (b->study[b->by_id[middle]].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < b->n_ids && b->study[b->by_id[low]].id == id ? &b->study[b->by_id[low]] : NULL;
}

static const json_t *entries(const json_t *root)
{
    return json_is_object(root) ? json_object_get(root, "annotations") : root;
}

static bool read_entries(Brain *b, const json_t *root, const json_t *other, Error *e)
{
    const json_t *list = entries(root), *again = entries(other);
    size_t n = json_array_size(list);
    if (!json_is_array(list)) return error_set(e, ERROR_INPUT, "%s: not a list of studies", b->annotations);
    if (n < 1 || n > MAX_STUDIES)
        return error_set(e, ERROR_INPUT, "%s: %zu studies, expected 1 to %d", b->annotations, n, MAX_STUDIES);
    b->study = calloc(n, sizeof *b->study);
    if (!b->study) return no_memory(b, e);
    b->n = (int)n;
    for (size_t i = 0; i < n; i++) b->study[i].id = -1;
    for (size_t i = 0; i < n; i++)
        if (!read_entry(b, json_array_get(list, i), json_array_get(again, i), i, &b->study[i]))
            return no_memory(b, e);
    return true;
}

/* jansson takes no text with bytes that are not UTF-8; a sign stands for each. */
static json_t *parse(const Brain *b, const uint8_t *bytes, size_t n, char sign, Error *e)
{
    char *text = malloc(n + 1);
    if (!text) {
        no_memory(b, e);
        return NULL;
    }
    memcpy(text, bytes, n);
    for (size_t at = 0; at < n;) {
        int32_t c;
        int used = utf8_next(text + at, n - at, &c);
        if (c < 0) memset(text + at, sign, (size_t)used);
        at += (size_t)used;
    }
    json_t *root = json_parse(text, n, b->annotations, e);
    free(text);
    if (!root) json_hide_text(e);
    return root;
}

/* Either sign may stand in a sound text too, so damaged annotations are parsed with both: bytes that are not
 * UTF-8 are where the two differ. */
static bool read_annotations(Brain *b, Error *e)
{
    uint8_t *bytes;
    size_t n;
    if (!file_read(b->annotations, MAX_ANNOTATIONS, &bytes, &n, e)) return false;
    json_t *root = parse(b, bytes, n, SIGN, e), *other = NULL;
    if (root)
        other =
            utf8_valid_prefix((char *)bytes, n) == n ? json_incref(root) : parse(b, bytes, n, OTHER_SIGN, e);
    free(bytes);
    bool ok = other && read_entries(b, root, other, e) && index_ids(b, e);
    json_decref(root);
    json_decref(other);
    return ok;
}

/* ---- the whole ---- */

/* root/name; false without memory. */
static bool path_of(const char *root, const char *name, char **out)
{
    if (asprintf(out, "%s/%s", root, name) >= 0) return true;
    *out = NULL;
    return false;
}

static bool is_kind(const char *path, mode_t kind)
{
    struct stat st;
    return !stat(path, &st) && (st.st_mode & S_IFMT) == kind;
}

static bool find_paths(Brain *b, const char *root, Error *e)
{
    bool ok = (b->root = strdup(root)) && path_of(root, "samples", &b->folder);
    if (ok && !is_kind(b->folder, S_IFDIR)) {
        free(b->folder);
        ok = path_of(root, "png_process", &b->folder);
    }
    if (ok && b->o.annotations)
        ok = (b->annotations = strdup(b->o.annotations)) != NULL;
    else if (ok)
        ok = path_of(root, "origin_anno.json", &b->annotations);
    if (ok && b->o.manifest) {
        ok = (b->manifest = strdup(b->o.manifest)) != NULL;
    } else if (ok && (ok = path_of(root, "total_image_list_final.json", &b->manifest)) &&
               !is_kind(b->manifest, S_IFREG)) {
        free(b->manifest);
        b->manifest = NULL;
    }
    if (!ok) return error_set(e, ERROR_MEMORY, "%.400s: no memory", root);
    return is_kind(b->folder, S_IFDIR) ||
           error_set(e, ERROR_INPUT, "%.400s: neither samples nor png_process in this folder", root);
}

Brain *brain_open(const char *root, const BrainOptions *o, Error *e)
{
    Brain *b = calloc(1, sizeof *b);
    if (!b) {
        error_set(e, ERROR_MEMORY, "%.400s: no memory", root);
        return NULL;
    }
    b->o = *o;
    bool ok = find_paths(b, root, e) && read_annotations(b, e) && brain_list_folders(b, e);
    if (ok && b->manifest)
        ok = brain_read_manifest(b, e);
    else if (ok)
        brain_pick_evenly(b);
    if (ok) return b;
    brain_free(b);
    return NULL;
}

void brain_free(Brain *b)
{
    if (!b) return;
    for (int i = 0; i < b->n; i++) {
        for (int k = 0; k < b->study[i].n_files; k++) free(b->study[i].file[k].name);
        free(b->study[i].file);
        free(b->study[i].findings);
        free(b->study[i].impression);
    }
    free(b->study);
    free(b->by_id);
    free(b->root);
    free(b->folder);
    free(b->annotations);
    free(b->manifest);
    free(b);
}
