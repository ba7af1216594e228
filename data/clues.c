#include "data/clues.h"
#include "data/file.h"
#include "data/json.h"
#include "data/rle.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *in24, *english;
} entities[] = {
#define CLUE_ENTITY(name, in24, english) {name, in24, english},
#include "data/clue_entities.def"
};
enum { ENTITIES = sizeof entities / sizeof *entities, CLUES_VERSION = 1, MAX_STUDY_CLUES = 1000 };

int clue_entity_count(void) { return ENTITIES; }

const char *clue_entity_name(int entity)
{
    if (entity < 0 || entity >= ENTITIES) die("clue_entity_name: %d is not in 0..%d", entity, ENTITIES - 1);
    return entities[entity].name;
}

const char *clue_entity_english(int entity)
{
    if (entity < 0 || entity >= ENTITIES) die("clue_entity_english: %d is not in 0..%d", entity, ENTITIES - 1);
    return entities[entity].english;
}

int clue_entity_from_name(const char *name)
{
    for (int i = 0; i < ENTITIES; i++)
        if (!strcmp(entities[i].name, name)) return i;
    return -1;
}

/* ---- descriptions ---- */

static bool holds(const char *clause, size_t n, const char *name)
{
    return memmem(clause, n, name, strlen(name));
}

/* Whether a clause is about the entity: its name, and no longer name that contains it. */
static bool about(const char *clause, size_t n, int entity)
{
    const char *name = entities[entity].name;
    if (!holds(clause, n, name)) return false;
    for (int i = 0; i < ENTITIES; i++)
        if (i != entity && strstr(entities[i].name, name) && holds(clause, n, entities[i].name)) return false;
    return true;
}

static size_t clause_end(const char *s)
{
    size_t n = 0;
    while (s[n] && strncmp(s + n, "。", 3) && strncmp(s + n, "；", 3) && strncmp(s + n, "，", 3)) n++;
    return n;
}

/* Appends n bytes, with a separator between parts. False without memory. */
static bool join(char **to, const char *separator, const char *part, size_t n)
{
    size_t have = *to ? strlen(*to) : 0, gap = *to ? strlen(separator) : 0;
    char *grown = realloc(*to, have + gap + n + 1);
    if (!grown) return false;
    memcpy(grown + have, separator, gap);
    memcpy(grown + have + gap, part, n);
    grown[have + gap + n] = 0;
    *to = grown;
    return true;
}

char *clue_description(const char *report, int entity)
{
    char *text = NULL;
    for (const char *s = report; *s;) {
        size_t n = clause_end(s);
        if (n && about(s, n, entity) && !join(&text, "；", s, n)) die("out of host memory for a description");
        s += n;
        if (*s) s += 3;
    }
    return text;
}

/* ---- reading ---- */

void clues_free_study(StudyClues *s)
{
    for (int i = 0; i < s->n; i++) {
        free(s->clue[i].text);
        free(s->clue[i].counts);
    }
    free(s->clue);
    *s = (StudyClues){0};
}

void clues_free(Clues *c)
{
    if (!c) return;
    for (int k = 0; k < c->n; k++) clues_free_study(&c->study[k]);
    json_decref(c->settings);
    free(c->study);
    free(c->path);
    free(c);
}

static bool bad(const Clues *c, int64_t id, Error *e, const char *expected, const char *found)
{
    return error_set(e, ERROR_INPUT, "%s: study %lld: expected %s, found %.60s", c->path, (long long)id,
                     expected, found);
}

static bool read_mask(const Clues *c, const StudyClues *s, const json_t *row, Clue *out, Error *e)
{
    const json_t *mask = json_object_get(row, "mask");
    const char *counts = json_string_value(mask);
    if (json_is_null(mask)) return true;
    if (!counts) return bad(c, s->id, e, "\"mask\" with run lengths or null", mask ? "another type" : "none");
    Rle rle;
    Error why = {0};
    if (!rle_from_text(counts, strlen(counts), s->width, s->height, &rle, &why))
        return error_set(e, why.code, "%s: study %lld: mask of %s: %.120s", c->path, (long long)s->id,
                         entities[out->entity].name, why.msg);
    rle_free(&rle);
    out->counts = strdup(counts);
    return out->counts || error_set(e, ERROR_MEMORY, "%s: no memory for its masks", c->path);
}

static bool read_score(const Clues *c, const StudyClues *s, const json_t *row, Clue *out, Error *e)
{
    const json_t *score = json_object_get(row, "score"), *index = json_object_get(row, "mask_index");
    json_int_t at = json_integer_value(index);
    if (score && !json_is_null(score) && !json_is_number(score))
        return bad(c, s->id, e, "\"score\": a number or null", "another type");
    if (index && !json_is_null(index) && (!json_is_integer(index) || at < 0 || at > INT32_MAX))
        return bad(c, s->id, e, "\"mask_index\": a number from 0 or null", "something else");
    out->score = json_is_number(score) ? json_number_value(score) : NAN;
    out->mask_index = json_is_integer(index) ? (int)at : -1;
    return true;
}

static bool read_clue(const Clues *c, StudyClues *s, const json_t *row, Error *e)
{
    const char *entity, *text;
    int64_t slice;
    if (!json_get_string(row, "entity", c->path, &entity, e) ||
        !json_get_string(row, "text", c->path, &text, e) || !json_get_int(row, "slice", c->path, &slice, e))
        return false;
    Clue *out = &s->clue[s->n];
    out->entity = clue_entity_from_name(entity);
    if (out->entity < 0) return bad(c, s->id, e, "an entity of data/clue_entities.def", entity);
    if (slice < 0 || slice >= CTRG_SLICES) return bad(c, s->id, e, "a slice from 0 to 23", "another number");
    out->slice = (int)slice;
    out->text = strdup(text);
    s->n++;
    if (!out->text) return error_set(e, ERROR_MEMORY, "%s: no memory for its texts", c->path);
    return read_mask(c, s, row, out, e) && read_score(c, s, row, out, e);
}

static bool read_study(Clues *c, const json_t *item, Error *e)
{
    const char *text;
    json_t *size, *rows, *row;
    size_t i;
    char *end;
    StudyClues *s = &c->study[c->n];
    if (!json_get_string(item, "id", c->path, &text, e) || !json_get_array(item, "size", c->path, &size, e) ||
        !json_get_array(item, "clues", c->path, &rows, e))
        return false;
    s->id = strtoll(text, &end, 10);
    if (end == text || *end || s->id < 0) return bad(c, -1, e, "an id of digits", text);
    json_int_t height = json_integer_value(json_array_get(size, 0)),
               width = json_integer_value(json_array_get(size, 1));
    if (json_array_size(size) != 2 || height < 1 || width < 1 || height > 1 << 14 || width > 1 << 14)
        return bad(c, s->id, e, "\"size\" [height, width] from 1 to 16384", "something else");
    s->height = (int)height;
    s->width = (int)width;
    if (json_array_size(rows) > MAX_STUDY_CLUES) return bad(c, s->id, e, "at most 1000 clues", "more");
    s->clue = calloc(json_array_size(rows) + 1, sizeof *s->clue);
    if (!s->clue) return error_set(e, ERROR_MEMORY, "%s: no memory for its clues", c->path);
    c->n++;
    json_array_foreach(rows, i, row) if (!read_clue(c, s, row, e)) return false;
    return true;
}

static int by_id(const void *a, const void *b)
{
    const StudyClues *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static bool read_studies(Clues *c, const json_t *root, Error *e)
{
    int64_t version;
    json_t *list, *item;
    size_t i;
    if (!json_get_int(root, "version", c->path, &version, e) ||
        !json_get_array(root, "studies", c->path, &list, e))
        return false;
    if (version != CLUES_VERSION)
        return error_set(e, ERROR_INPUT, "%s: version: expected %d, found %lld", c->path, CLUES_VERSION,
                         (long long)version);
    c->settings = json_incref(json_object_get(root, "settings"));
    if (c->settings && !json_is_object(c->settings))
        return error_set(e, ERROR_INPUT, "%s: \"settings\": expected an object, found another type", c->path);
    c->study = calloc(json_array_size(list) + 1, sizeof *c->study);
    if (!c->study) return error_set(e, ERROR_MEMORY, "%s: no memory for its studies", c->path);
    json_array_foreach(list, i, item) if (!read_study(c, item, e)) return false;
    qsort(c->study, (size_t)c->n, sizeof *c->study, by_id);
    for (int k = 1; k < c->n; k++)
        if (c->study[k].id == c->study[k - 1].id) return bad(c, c->study[k].id, e, "each id once", "it twice");
    return true;
}

Clues *clues_read(const char *path, Error *e)
{
    json_t *root = json_read(path, e);
    if (!root) return NULL;
    Clues *c = calloc(1, sizeof *c);
    bool ok = c && (c->path = strdup(path));
    if (!ok) error_set(e, ERROR_MEMORY, "%s: no memory", path);
    ok = ok && read_studies(c, root, e);
    json_decref(root);
    if (ok) return c;
    clues_free(c);
    return NULL;
}

const StudyClues *clues_find(const Clues *c, int64_t id)
{
    const StudyClues key = {.id = id};
    return c->n ? bsearch(&key, c->study, (size_t)c->n, sizeof key, by_id) : NULL;
}

/* ---- writing ---- */

bool clues_add(Clues *c, StudyClues *s, Error *e)
{
    if (c->n && c->study[c->n - 1].id >= s->id)
        die("clues_add: study %lld after %lld", (long long)s->id, (long long)c->study[c->n - 1].id);
    StudyClues *grown = realloc(c->study, (size_t)(c->n + 1) * sizeof *grown);
    if (!grown) {
        clues_free_study(s);
        return error_set(e, ERROR_MEMORY, "study %lld: no memory for its clues", (long long)s->id);
    }
    c->study = grown;
    c->study[c->n++] = *s;
    *s = (StudyClues){0};
    return true;
}

static json_t *clue_json(const Clue *c)
{
    json_t *row = json_pack("{s:s, s:s, s:i, s:s?}", "entity", entities[c->entity].name, "text", c->text,
                            "slice", c->slice, "mask", c->counts);
    bool ok = row && (isnan(c->score) || !json_object_set_new(row, "score", json_real(c->score))) &&
              (c->mask_index < 0 || !json_object_set_new(row, "mask_index", json_integer(c->mask_index)));
    if (ok) return row;
    json_decref(row);
    return NULL;
}

static json_t *study_json(const StudyClues *s)
{
    char id[32];
    snprintf(id, sizeof id, "%" PRId64, s->id);
    json_t *rows = json_array();
    bool ok = rows;
    for (int i = 0; ok && i < s->n; i++) ok = !json_array_append_new(rows, clue_json(&s->clue[i]));
    json_t *study =
        ok ? json_pack("{s:s, s:[i,i], s:O}", "id", id, "size", s->height, s->width, "clues", rows) : NULL;
    json_decref(rows);
    return study;
}

/* One study, one line; `first` of the list or not. Takes the reference. */
static bool put_study(FILE *f, json_t *study, bool first)
{
    bool ok = study;
    fputs(first ? "\n" : ",\n", f);
    if (ok) ok = !json_dumpf(study, f, JSON_COMPACT | JSON_REAL_PRECISION(7)) || ferror(f);
    json_decref(study);
    return ok;
}

bool clues_write(const Clues *c, const char *path, Error *e)
{
    FileWriter w;
    if (!file_create(&w, path, e)) return false;
    fprintf(w.stream, "{\"version\": %d, ", CLUES_VERSION);
    bool ok = true;
    if (c->settings) {
        fputs("\"settings\": ", w.stream);
        ok = !json_dumpf(c->settings, w.stream, JSON_COMPACT) || ferror(w.stream);
        fputs(", ", w.stream);
    }
    fputs("\"studies\": [", w.stream);
    for (int k = 0; ok && k < c->n; k++) ok = put_study(w.stream, study_json(&c->study[k]), !k);
    if (!ok) {
        file_abandon(&w);
        return error_set(e, ERROR_MEMORY, "%s: no memory for its clues", path);
    }
    fputs("\n]}\n", w.stream);
    return file_commit(&w, e);
}

/* ---- from exact masks ---- */

/* Adds the masks that study s's truth has of the entity in one slice; the area of the union. */
static int64_t truth_mask(const CtrgStudy *s, int entity, int slice, uint8_t *one, uint8_t *all, Error *e)
{
    size_t n = (size_t)s->width * (size_t)s->height;
    int64_t area = 0;
    memset(all, 0, n);
    for (int i = 0; i < s->n_truth; i++) {
        char *said = clue_description(s->truth[i].clause, entity);
        free(said);
        for (int j = 0; said && j < s->truth[i].n_masks; j++) {
            if (s->truth[i].mask[j].slice != slice) continue;
            if (!ctrg_read_mask(s, &s->truth[i].mask[j], one, e)) return -1;
            for (size_t k = 0; k < n; k++) all[k] |= one[k];
        }
    }
    for (size_t k = 0; k < n; k++) area += all[k];
    return area;
}

/* The row of one entity: *row stays NULL where it has no mask. best, one, all: planes of the masks' size. */
static bool truth_row(const CtrgStudy *s, int entity, const char *text, uint8_t *plane[3], json_t **row,
                      Error *e)
{
    size_t n = (size_t)s->width * (size_t)s->height;
    int64_t most = 0;
    int slice = -1;
    *row = NULL;
    for (int i = 0; i < CTRG_SLICES; i++) {
        int64_t area = truth_mask(s, entity, i, plane[1], plane[2], e);
        if (area < 0) return false;
        if (area <= most) continue;
        most = area;
        slice = i;
        memcpy(plane[0], plane[2], n);
    }
    if (slice < 0) return true;
    Rle rle;
    if (!rle_encode(plane[0], s->width, s->height, &rle, e)) return false;
    char *counts = rle_to_text(&rle);
    rle_free(&rle);
    *row = counts ? json_pack("{s:s, s:s, s:i, s:s}", "entity", entities[entity].name, "text", text, "slice",
                              slice, "mask", counts)
                  : NULL;
    free(counts);
    return *row || error_set(e, ERROR_MEMORY, "study %lld: no memory for its clues", (long long)s->id);
}

static json_t *truth_study(const CtrgStudy *s, Error *e)
{
    size_t n = (size_t)s->width * (size_t)s->height;
    uint8_t *plane[3] = {malloc(n), malloc(n), malloc(n)};
    json_t *rows = json_array();
    bool ok = (plane[0] && plane[1] && plane[2] && rows) ||
              error_set(e, ERROR_MEMORY, "study %lld: no memory for its clues", (long long)s->id);
    for (int entity = 0; ok && entity < ENTITIES; entity++) {
        char *text = clue_description(s->findings, entity);
        json_t *row = NULL;
        ok = !text || truth_row(s, entity, text, plane, &row, e);
        if (row && json_array_append_new(rows, row))
            ok = error_set(e, ERROR_MEMORY, "study %lld: no memory for its clues", (long long)s->id);
        free(text);
    }
    for (int i = 0; i < 3; i++) free(plane[i]);
    if (!ok) {
        json_decref(rows);
        return NULL;
    }
    char id[32];
    snprintf(id, sizeof id, "%lld", (long long)s->id);
    json_t *study = json_pack("{s:s, s:[i,i], s:o}", "id", id, "size", s->height, s->width, "clues", rows);
    if (!study) error_set(e, ERROR_MEMORY, "study %lld: no memory for its clues", (long long)s->id);
    return study;
}

bool clues_from_truth(const Ctrg *c, const char *path, Error *e)
{
    FileWriter w;
    if (!file_create(&w, path, e)) return false;
    fprintf(w.stream, "{\"version\": %d, \"studies\": [", CLUES_VERSION);
    bool first = true;
    for (int k = 0; k < c->n; k++) {
        if (!c->study[k].has_truth) continue;
        json_t *item = truth_study(&c->study[k], e);
        if (!item) {
            file_abandon(&w);
            return false;
        }
        if (!put_study(w.stream, item, first)) {
            file_abandon(&w);
            return error_set(e, ERROR_MEMORY, "%s: no memory for its clues", path);
        }
        first = false;
    }
    fputs("\n]}\n", w.stream);
    return file_commit(&w, e);
}

/* ---- units ---- */

void clue_units_free(ClueUnit *units, int n)
{
    for (int i = 0; i < n; i++) {
        free(units[i].text);
        free(units[i].mask);
    }
    free(units);
}

static bool add_mask(const StudyClues *s, const Clue *c, ClueUnit *u, Error *e)
{
    if (!c->counts) return true;
    size_t n = (size_t)s->width * (size_t)s->height;
    Rle rle;
    if (!rle_from_text(c->counts, strlen(c->counts), s->width, s->height, &rle, e)) return false;
    uint8_t *mask = malloc(n);
    bool ok = mask && (u->mask || (u->mask = calloc(n, 1)));
    if (ok) {
        rle_decode(&rle, mask);
        for (size_t i = 0; i < n; i++) u->mask[i] |= mask[i];
    }
    free(mask);
    rle_free(&rle);
    return ok || error_set(e, ERROR_MEMORY, "study %lld: no memory for its masks", (long long)s->id);
}

static bool same_in24(int a, int b) { return !strcmp(entities[a].in24, entities[b].in24); }

bool clue_units(const StudyClues *s, bool merge, bool paper24, ClueUnit **units, int *n, Error *e)
{
    ClueUnit *u = calloc((size_t)s->n + 1, sizeof *u);
    int count = 0;
    bool ok = u || error_set(e, ERROR_MEMORY, "study %lld: no memory for its clues", (long long)s->id);
    for (int i = 0; ok && i < s->n; i++) {
        const Clue *c = &s->clue[i];
        if (paper24 && !entities[c->entity].in24) continue;
        int at = 0;
        while (at < count &&
               !(u[at].slice == c->slice && (merge || (paper24 && same_in24(u[at].entity, c->entity)))))
            at++;
        if (at == count) {
            u[count].entity = c->entity;
            u[count++].slice = c->slice;
        }
        ok = join(&u[at].text, ";", c->text, strlen(c->text)) ||
             error_set(e, ERROR_MEMORY, "study %lld: no memory for its clues", (long long)s->id);
        ok = ok && add_mask(s, c, &u[at], e);
    }
    if (!ok) {
        clue_units_free(u, count);
        return false;
    }
    *units = u;
    *n = count;
    return true;
}
