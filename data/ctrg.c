/* Reading and checking a data set in CTRG's schema; see ctrg.h. The checks never stop at the first fault: each
 * is told to the caller's sink, and the study that has one is dropped. */
#include "data/ctrg.h"
#include "data/cq500_labels.h"
#include "data/file.h"
#include "data/json.h"
#include "data/rle.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_IMAGE_SIDE = 16384, MAX_ID_DIGITS = 18, MAX_PATH = 1024 };
#define MAX_ANNOTATIONS ((size_t)2 << 30)

typedef struct Reader {
    const char *what; /* the text's name in messages */
    CtrgProblem *problem;
    void *context;
    int n_problems;
    Error first;
    char study[64]; /* "study 12": the one being read */
} Reader;

static bool fault(Reader *r, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static bool fault(Reader *r, int code, const char *format, ...)
{
    Error e = {0};
    char text[sizeof e.msg];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *c = text; *c; c++) /* what the file says may hold anything, the message is one line */
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    error_set(&e, code, "%s: %s", r->what, text);
    if (r->problem) r->problem(r->context, e.msg);
    if (!r->n_problems++) r->first = e;
    return false;
}

/* Passes an Error of another reader on; its message names the file already. */
static bool fault_from(Reader *r, const Error *e)
{
    if (r->problem) r->problem(r->context, e->msg);
    if (!r->n_problems++) r->first = *e;
    return false;
}

static bool no_memory(Reader *r) { return fault(r, ERROR_MEMORY, "%s: no memory", r->study); }

static bool copy_text(Reader *r, const char *text, char **out)
{
    *out = strdup(text);
    return *out ? true : no_memory(r);
}

/* ---- one study ---- */

/* "file: study 12", as the json accessors want it. */
static const char *place(const Reader *r, char *buffer, size_t n)
{
    snprintf(buffer, n, "%s: %s", r->what, r->study);
    return buffer;
}

static bool get_string(Reader *r, const json_t *object, const char *key, const char **out)
{
    Error e = {0};
    char where[512];
    return json_get_string(object, key, place(r, where, sizeof where), out, &e) || fault_from(r, &e);
}

static bool get_array(Reader *r, const json_t *object, const char *key, json_t **out)
{
    Error e = {0};
    char where[512];
    return json_get_array(object, key, place(r, where, sizeof where), out, &e) || fault_from(r, &e);
}

static bool get_number(Reader *r, const json_t *object, const char *key, double *out)
{
    Error e = {0};
    char where[512];
    return json_get_number(object, key, place(r, where, sizeof where), out, &e) || fault_from(r, &e);
}

static bool get_int(Reader *r, const json_t *object, const char *key, int64_t low, int64_t high, int64_t *out)
{
    Error e = {0};
    char where[512];
    if (!json_get_int(object, key, place(r, where, sizeof where), out, &e)) return fault_from(r, &e);
    if (*out >= low && *out <= high) return true;
    return fault(r, ERROR_INPUT, "%s: %s is %lld, expected %lld..%lld", r->study, key, (long long)*out,
                 (long long)low, (long long)high);
}

static bool read_id(Reader *r, const json_t *object, size_t index, int64_t *id)
{
    const json_t *value = json_object_get(object, "id");
    const char *text = json_string_value(value);
    snprintf(r->study, sizeof r->study, "entry %zu", index);
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *id = json_integer_value(value);
    } else if (text && *text && strlen(text) <= MAX_ID_DIGITS && strspn(text, "0123456789") == strlen(text)) {
        *id = strtoll(text, NULL, 10);
    } else {
        return fault(r, ERROR_INPUT, "%s: id %.40s, expected a decimal number of at most %d digits", r->study,
                     text    ? text
                     : value ? "of another type"
                             : "missing",
                     MAX_ID_DIGITS);
    }
    snprintf(r->study, sizeof r->study, "study %lld", (long long)*id);
    return true;
}

/* A path that cannot leave the data set's folder. */
static bool path_is_tame(const char *path)
{
    if (!*path || *path == '/' || strlen(path) > MAX_PATH || strchr(path, '\\')) return false;
    for (const char *s = path; s; s = strchr(s, '/') ? strchr(s, '/') + 1 : NULL) {
        size_t n = strcspn(s, "/");
        if (n == 0 || (n <= 2 && !strncmp(s, "..", n))) return false;
    }
    return true;
}

static bool read_images(Reader *r, const json_t *object, CtrgStudy *s)
{
    json_t *list;
    if (!get_array(r, object, "images", &list)) return false;
    if (json_array_size(list) != CTRG_SLICES)
        return fault(r, ERROR_INPUT, "%s: %zu images, expected %d (8 layers x 3)", r->study,
                     json_array_size(list), CTRG_SLICES);
    bool ok = true;
    for (size_t i = 0; i < CTRG_SLICES; i++) {
        const char *path = json_string_value(json_array_get(list, i));
        if (!path)
            ok = fault(r, ERROR_INPUT, "%s: images[%zu] is not a string", r->study, i);
        else if (!path_is_tame(path))
            ok = fault(r, ERROR_INPUT, "%s: images[%zu] \"%.100s\" is not a path inside the data set", r->study,
                       i, path);
        else
            ok = copy_text(r, path, &s->image[i]) && ok;
    }
    return ok;
}

static bool read_report(Reader *r, const json_t *object, CtrgStudy *s)
{
    const char *findings, *impression = "";
    if (!get_string(r, object, "findings", &findings)) return false;
    if (!findings[strspn(findings, " \t\r\n")] && !json_object_get(object, "import"))
        return fault(r, ERROR_INPUT, "%s: findings is empty, expected a report", r->study);
    if (json_object_get(object, "impression") && !get_string(r, object, "impression", &impression))
        return false;
    return copy_text(r, findings, &s->findings) && copy_text(r, impression, &s->impression);
}

/* ---- its truth block ---- */

static bool read_mask(Reader *r, const json_t *object, const CtrgStudy *s, int finding, CtrgMask *m)
{
    const char *side, *counts;
    int64_t slice;
    Error e = {0};
    Rle rle;
    if (!json_is_object(object)) return fault(r, ERROR_INPUT, "%s: a mask is not an object", r->study);
    if (!get_int(r, object, "slice", 0, CTRG_SLICES - 1, &slice) || !get_string(r, object, "side", &side) ||
        !get_string(r, object, "counts", &counts))
        return false;
    const FindingKind *k = finding_kind(finding);
    Side at = side_from_name(side);
    if (k->sided ? at != SIDE_LEFT && at != SIDE_RIGHT : at == SIDE_ABSENT)
        return fault(r, ERROR_INPUT, "%s: mask of %s%s has side \"%.20s\"", r->study, entity_name(k->entity),
                     density_name(k->density), side);
    if (!rle_from_text(counts, strlen(counts), s->width, s->height, &rle, &e))
        return fault(r, e.code, "%s: slice %lld: %.300s", r->study, (long long)slice, e.msg);
    rle_free(&rle);
    m->slice = (int)slice;
    m->label = k->first_label + (k->sided && at == SIDE_RIGHT);
    return copy_text(r, counts, &m->counts);
}

static bool read_masks(Reader *r, const json_t *object, const CtrgStudy *s, CtrgTruth *t)
{
    json_t *list;
    if (!get_array(r, object, "masks", &list)) return false;
    size_t n = json_array_size(list);
    if (n > 2 * CTRG_SLICES)
        return fault(r, ERROR_INPUT, "%s: %zu masks of one finding, expected at most %d", r->study, n,
                     2 * CTRG_SLICES);
    if (!n) return true;
    t->mask = calloc(n, sizeof *t->mask);
    if (!t->mask) return no_memory(r);
    t->n_masks = (int)n;
    bool ok = true;
    for (size_t i = 0; i < n; i++) ok = read_mask(r, json_array_get(list, i), s, t->finding, &t->mask[i]) && ok;
    return ok;
}

static bool read_finding(Reader *r, const json_t *object, const CtrgStudy *s, CtrgTruth *t)
{
    const char *entity, *side, *density, *clause;
    if (!json_is_object(object)) return fault(r, ERROR_INPUT, "%s: a finding is not an object", r->study);
    if (!get_string(r, object, "entity", &entity) || !get_string(r, object, "side", &side) ||
        !get_string(r, object, "density", &density) || !get_string(r, object, "clause", &clause) ||
        !get_number(r, object, "radius_mm", &t->radius_mm) ||
        !get_number(r, object, "volume_ml", &t->volume_ml))
        return false;
    int e = entity_from_name(entity), d = density_from_name(density);
    t->finding = e < 0 || d < 0 ? -1 : finding_index((Entity)e, (Density)d);
    if (t->finding < 0)
        return fault(r, ERROR_INPUT, "%s: \"%.40s\" with \"%.40s\" is not a known finding", r->study, entity,
                     density);
    t->side = side_from_name(side);
    bool sided = finding_kind(t->finding)->sided;
    if (t->side == SIDE_ABSENT || (sided && t->side == SIDE_NONE))
        return fault(r, ERROR_INPUT, "%s: %s%s has side \"%.20s\"", r->study, entity, density, side);
    return copy_text(r, clause, &t->clause) && read_masks(r, object, s, t);
}

static bool read_truth(Reader *r, const json_t *object, CtrgStudy *s)
{
    json_t *size, *list;
    int64_t seed, style;
    if (!json_is_object(object)) return fault(r, ERROR_INPUT, "%s: truth is not an object", r->study);
    if (!get_int(r, object, "seed", 0, INT64_MAX, &seed) || !get_int(r, object, "style", 0, 1000, &style) ||
        !get_number(r, object, "pixel_mm", &s->pixel_mm) || !get_array(r, object, "size", &size) ||
        !get_array(r, object, "findings", &list))
        return false;
    json_int_t height = json_integer_value(json_array_get(size, 0)),
               width = json_integer_value(json_array_get(size, 1));
    if (json_array_size(size) != 2 || height < 1 || width < 1 || height > MAX_IMAGE_SIDE ||
        width > MAX_IMAGE_SIDE)
        return fault(r, ERROR_INPUT, "%s: truth.size is not [height, width] of 1..%d", r->study,
                     MAX_IMAGE_SIDE);
    s->has_truth = true;
    s->seed = (uint64_t)seed;
    s->style = (int)style;
    s->height = (int)height;
    s->width = (int)width;
    size_t n = json_array_size(list);
    if (n > LABEL_COUNT)
        return fault(r, ERROR_INPUT, "%s: %zu findings, expected at most %d", r->study, n, LABEL_COUNT);
    if (!n) return true;
    s->truth = calloc(n, sizeof *s->truth);
    if (!s->truth) return no_memory(r);
    s->n_truth = (int)n;
    bool ok = true;
    for (size_t i = 0; i < n; i++) ok = read_finding(r, json_array_get(list, i), s, &s->truth[i]) && ok;
    return ok;
}

static bool read_labels(Reader *r, const json_t *object, CtrgStudy *s)
{
    Error e = {0};
    char where[512];
    s->has_votes = cq500_votes(object, place(r, where, sizeof where), s->vote, &e);
    return s->has_votes || fault_from(r, &e);
}

static bool read_study(Reader *r, const json_t *object, size_t index, CtrgStudy *s)
{
    snprintf(r->study, sizeof r->study, "entry %zu", index);
    if (!json_is_object(object)) return fault(r, ERROR_INPUT, "%s is not an object", r->study);
    bool ok = read_id(r, object, index, &s->id);
    ok = read_report(r, object, s) && ok;
    ok = read_images(r, object, s) && ok;
    const json_t *truth = json_object_get(object, "truth"), *labels = json_object_get(object, "labels");
    ok = (!labels || read_labels(r, labels, s)) && ok;
    return (!truth || read_truth(r, truth, s)) && ok;
}

/* ---- the list ---- */

typedef struct IdRow {
    int64_t id;
    int index;
} IdRow;

static int by_id(const void *a, const void *b)
{
    const IdRow *x = a, *y = b;
    return x->id != y->id ? (x->id > y->id) - (x->id < y->id) : x->index - y->index;
}

static void check_ids(Reader *r, const Ctrg *c)
{
    IdRow *row = malloc((size_t)c->n * sizeof *row);
    if (!row) {
        fault(r, ERROR_MEMORY, "no memory for %d ids", c->n);
        return;
    }
    for (int i = 0; i < c->n; i++) row[i] = (IdRow){c->study[i].id, i};
    qsort(row, (size_t)c->n, sizeof *row, by_id);
    for (int i = 1; i < c->n; i++)
        if (row[i].id == row[i - 1].id)
            fault(r, ERROR_INPUT, "study %lld: entries %d and %d have the same id", (long long)row[i].id,
                  row[i - 1].index, row[i].index);
    free(row);
}

static bool read_list(Reader *r, const json_t *list, Ctrg *c)
{
    if (!json_is_array(list)) return fault(r, ERROR_INPUT, "not a list of studies");
    size_t n = json_array_size(list);
    if (n < 1 || n > 10000000) return fault(r, ERROR_INPUT, "%zu studies, expected 1..10000000", n);
    c->study = calloc(n, sizeof *c->study);
    if (!c->study) return fault(r, ERROR_MEMORY, "no memory for %zu studies", n);
    c->n = (int)n;
    for (size_t i = 0; i < n; i++) {
        c->study[i].id = -1 - (int64_t)i; /* so that studies without an id do not count as duplicates */
        read_study(r, json_array_get(list, i), i, &c->study[i]);
    }
    check_ids(r, c);
    return r->n_problems == 0;
}

/* The result of a read: c, or NULL with e set from the problems. */
static Ctrg *finish(Reader *r, Ctrg *c, Error *e)
{
    if (c && !r->n_problems) return c;
    ctrg_free(c);
    if (r->n_problems > 1)
        error_set(e, r->first.code, "%.440s (and %d more problems)", r->first.msg, r->n_problems - 1);
    else if (e)
        *e = r->first;
    return NULL;
}

static Ctrg *parse(Reader *r, const char *json, size_t n)
{
    Error e = {0};
    json_t *root = json_parse(json, n, r->what, &e);
    if (!root) {
        fault_from(r, &e);
        return NULL;
    }
    Ctrg *c = calloc(1, sizeof *c);
    if (c)
        read_list(r, root, c);
    else
        fault(r, ERROR_MEMORY, "no memory");
    json_decref(root);
    return c;
}

Ctrg *ctrg_parse(const char *json, size_t n, const char *what, CtrgProblem *problem, void *context, Error *e)
{
    Reader r = {.what = what, .problem = problem, .context = context};
    Ctrg *c = parse(&r, json, n);
    return finish(&r, c, e);
}

static void check_files(Reader *r, const Ctrg *c)
{
    for (int i = 0; i < c->n; i++)
        for (int k = 0; k < CTRG_SLICES; k++) {
            char path[4096];
            struct stat st;
            if (!c->study[i].image[k]) continue;
            int used = snprintf(path, sizeof path, "%s/%s", c->folder, c->study[i].image[k]);
            errno = 0;
            if (used >= (int)sizeof path || stat(path, &st) || !S_ISREG(st.st_mode))
                fault(r, ERROR_IO, "study %lld: images[%d] %s: %s", (long long)c->study[i].id, k,
                      c->study[i].image[k], errno ? strerror(errno) : "not a file");
        }
}

Ctrg *ctrg_open(const char *folder, CtrgProblem *problem, void *context, Error *e)
{
    char path[4096];
    uint8_t *bytes;
    size_t n;
    if (snprintf(path, sizeof path, "%s/annotations.json", folder) >= (int)sizeof path) {
        error_set(e, ERROR_INPUT, "%.200s...: path too long", folder);
        return NULL;
    }
    Reader r = {.what = path, .problem = problem, .context = context};
    Error read = {0};
    if (!file_read(path, MAX_ANNOTATIONS, &bytes, &n, &read)) {
        fault_from(&r, &read);
        return finish(&r, NULL, e);
    }
    Ctrg *c = parse(&r, (const char *)bytes, n);
    free(bytes);
    if (c && !(c->folder = strdup(folder))) fault(&r, ERROR_MEMORY, "no memory");
    if (c && c->folder) check_files(&r, c);
    return finish(&r, c, e);
}

void ctrg_free(Ctrg *c)
{
    if (!c) return;
    for (int i = 0; i < c->n; i++) {
        CtrgStudy *s = &c->study[i];
        free(s->findings);
        free(s->impression);
        for (int k = 0; k < CTRG_SLICES; k++) free(s->image[k]);
        for (int k = 0; k < s->n_truth; k++) {
            for (int m = 0; m < s->truth[k].n_masks; m++) free(s->truth[k].mask[m].counts);
            free(s->truth[k].mask);
            free(s->truth[k].clause);
        }
        free(s->truth);
    }
    free(c->study);
    free(c->folder);
    free(c);
}

/* ---- pixels ---- */

bool ctrg_read_slices(const Ctrg *c, const CtrgStudy *s, uint8_t **pixels, int *width, int *height, Error *e)
{
    uint8_t *block = NULL;
    size_t n = 0;
    for (int k = 0; k < CTRG_SLICES; k++) {
        char path[4096];
        Image image;
        bool ok = snprintf(path, sizeof path, "%s/%s", c->folder, s->image[k]) < (int)sizeof path;
        if (!(ok ? image_read(path, &image, e) : error_set(e, ERROR_INPUT, "%s: path too long", s->image[k]))) {
            free(block);
            return false;
        }
        if (!block) {
            *width = image.width;
            *height = image.height;
            n = (size_t)image.width * (size_t)image.height;
            block = malloc(n * CTRG_SLICES);
            ok = block ||
                 error_set(e, ERROR_MEMORY, "%s: no memory for %d slices of its size", path, CTRG_SLICES);
        } else if (image.width != *width || image.height != *height) {
            ok = error_set(e, ERROR_INPUT, "%s: %d x %d pixels, expected %d x %d as in the study's first slice",
                           path, image.width, image.height, *width, *height);
        }
        image_to_grey(&image);
        if (ok) memcpy(block + k * n, image.pixel, n);
        free(image.pixel);
        if (!ok) {
            free(block);
            return false;
        }
    }
    *pixels = block;
    return true;
}

bool ctrg_read_mask(const CtrgStudy *s, const CtrgMask *m, uint8_t *mask, Error *e)
{
    Rle rle;
    if (!rle_from_text(m->counts, strlen(m->counts), s->width, s->height, &rle, e)) return false;
    rle_decode(&rle, mask);
    rle_free(&rle);
    return true;
}

FindingSet ctrg_findings(const CtrgStudy *s)
{
    FindingSet set = {0};
    for (int k = 0; k < s->n_truth; k++) findings_add(&set, s->truth[k].finding, s->truth[k].side);
    return set;
}

bool ctrg_slice_labels(const CtrgStudy *s, int min_pixels, uint64_t labels[CTRG_SLICES], Error *e)
{
    memset(labels, 0, CTRG_SLICES * sizeof *labels);
    for (int k = 0; k < s->n_truth; k++)
        for (int i = 0; i < s->truth[k].n_masks; i++) {
            const CtrgMask *m = &s->truth[k].mask[i];
            Rle rle;
            if (!rle_from_text(m->counts, strlen(m->counts), s->width, s->height, &rle, e)) return false;
            if (rle_area(&rle) >= (uint64_t)min_pixels) labels[m->slice] |= 1ull << m->label;
            rle_free(&rle);
        }
    return true;
}
