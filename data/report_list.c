#include "data/report_list.h"
#include "data/file.h"
#include "data/json.h"
#include "tensor/utf8.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 1 << 30, MAX_ROWS = 1 << 27, TOP_KEYS = 64 };

/* A text that is read from *at on. */
typedef struct Reader {
    const char *what, *start, *at, *end;
    ReportList *list;
    int room;
    char where[4200]; /* of the object that is being read */
} Reader;

static bool no_memory(const Reader *r, Error *e)
{
    return error_set(e, ERROR_MEMORY, "%s: no memory for %d reports", r->what, r->list->n + 1);
}

/* ---- one object ---- */

static bool same_name(const char *name, const char *key)
{
    size_t most = sizeof((ReportKey *)0)->name - 1;
    return strlen(key) <= most ? !strcmp(name, key) : strlen(name) == most && !strncmp(name, key, most);
}

static void count_key(ReportCounts *c, const char *key)
{
    int i = 0;
    while (i < c->n_keys && !same_name(c->key[i].name, key)) i++;
    if (i == REPORT_KEYS) {
        c->other_keys++;
        return;
    }
    if (i == c->n_keys) {
        c->key[i] = (ReportKey){0};
        snprintf(c->key[i].name, sizeof c->key[i].name, "%s", key);
        c->n_keys++;
    }
    c->key[i].n++;
}

/* The member that is the text: the only one of the three names. */
static const char *text_key(const Reader *r, const json_t *object, Error *e)
{
    static const char *const names[] = {"report", "findings", "caption"};
    const char *found = NULL;
    for (int i = 0; i < 3; i++) {
        if (!json_object_get(object, names[i])) continue;
        if (found) {
            error_set(e, ERROR_INPUT, "%s: both \"%s\" and \"%s\", expected one text", r->where, found,
                      names[i]);
            return NULL;
        }
        found = names[i];
    }
    if (!found)
        error_set(e, ERROR_INPUT, "%s: no text: none of \"report\", \"findings\", \"caption\"", r->where);
    return found;
}

/* The id as text, malloc'ed; NULL on error. */
static char *copy_id(const Reader *r, const json_t *object, const char *key, Error *e)
{
    const json_t *id = json_object_get(object, key);
    char number[24];
    const char *text = json_string_value(id);
    if (!id) {
        error_set(e, ERROR_INPUT, "%s: no id: neither \"id\" nor \"image_id\"", r->where);
        return NULL;
    }
    if (json_is_integer(id)) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(id));
        text = number;
    }
    if (!text || !*text) {
        error_set(e, ERROR_INPUT, "%s: key \"%s\": expected a string or a whole number, found %s", r->where,
                  key, text ? "an empty string" : json_type_name(id));
        return NULL;
    }
    char *copy = strdup(text);
    if (!copy) no_memory(r, e);
    return copy;
}

static bool grow(Reader *r, Error *e)
{
    ReportList *l = r->list;
    if (l->n == MAX_ROWS) return error_set(e, ERROR_INPUT, "%s: more than %d reports", r->what, MAX_ROWS);
    int room = r->room ? 2 * r->room : 64;
    char **id = realloc(l->id, (size_t)room * sizeof *id);
    if (id) l->id = id;
    char **text = realloc(l->text, (size_t)room * sizeof *text);
    if (text) l->text = text;
    int *place = realloc(l->place, (size_t)room * sizeof *place);
    if (place) l->place = place;
    if (!id || !text || !place) return no_memory(r, e);
    r->room = room;
    return true;
}

static bool add_object(Reader *r, const json_t *object, int place, Error *e)
{
    ReportList *l = r->list;
    const char *id_key = json_object_get(object, "image_id") ? "image_id" : "id", *text, *key, *name;
    const json_t *value;
    if (!json_is_object(object))
        return error_set(e, ERROR_INPUT, "%s: expected an object with an id and a text", r->where);
    if (l->n == r->room && !grow(r, e)) return false;
    char *id = copy_id(r, object, id_key, e), *copy = NULL;
    bool ok = id && (key = text_key(r, object, e)) && json_get_string(object, key, r->where, &text, e) &&
              ((copy = strdup(text)) || no_memory(r, e));
    if (!ok) {
        free(id);
        return false;
    }
    json_object_foreach((json_t *)(uintptr_t)object, name, value) if (strcmp(name, id_key) && strcmp(name, key))
        count_key(&l->counts, name);
    l->id[l->n] = id;
    l->text[l->n] = copy;
    l->place[l->n++] = place;
    l->counts.reports++;
    l->counts.empty += report_empty(copy);
    return true;
}

static bool read_object(Reader *r, const char *text, size_t n, int place, Error *e)
{
    snprintf(r->where, sizeof r->where, "%s: %s %d", r->what, r->list->lines ? "line" : "entry", place);
    json_t *object = json_parse(text, n, r->where, e);
    bool ok = object && add_object(r, object, place, e);
    json_decref(object);
    return ok;
}

/* ---- the text around the objects ---- */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static void skip_blanks(Reader *r)
{
    while (r->at < r->end && is_blank(*r->at)) r->at++;
}

static bool expected(const Reader *r, const char *what, Error *e)
{
    size_t byte = (size_t)(r->at - r->start);
    if (r->at == r->end)
        return error_set(e, ERROR_INPUT, "%s: byte %zu: expected %s, found the end of the file", r->what, byte,
                         what);
    return error_set(e, ERROR_INPUT, "%s: byte %zu: expected %s, found byte 0x%02x", r->what, byte, what,
                     (unsigned char)*r->at);
}

/* Where the value at s ends, as brackets and quotes tell; `end` if it does not. Whether it is JSON is left to
 * who parses it. */
static const char *value_end(const char *s, const char *end)
{
    int64_t depth = 0;
    bool string = false;
    for (; s < end; s++) {
        if (string) {
            if (*s == '\\')
                s += s + 1 < end;
            else if (*s == '"' && (string = false, !depth))
                return s + 1;
        } else if (*s == '"') {
            string = true;
        } else if (*s == '[' || *s == '{') {
            depth++;
        } else if (*s == ']' || *s == '}') {
            if (depth <= 1) return depth ? s + 1 : s;
            depth--;
        } else if (!depth && (*s == ',' || *s == ':' || is_blank(*s))) {
            return s;
        }
    }
    return end;
}

/* A value that is not read must be JSON all the same. */
static bool skip_value(Reader *r, const char *stop, Error *e)
{
    json_t *value = json_parse(r->at, (size_t)(stop - r->at), r->where, e);
    json_decref(value);
    return value != NULL;
}

/* The list at r->at, to behind it: its entries are reports, or with `skip` the values of a key that is not
 * read. */
static bool read_list(Reader *r, const char *skip, Error *e)
{
    r->at++;
    skip_blanks(r);
    if (r->at < r->end && *r->at == ']') {
        r->at++;
        return true;
    }
    for (int entry = 0;; entry++) {
        skip_blanks(r);
        const char *stop = value_end(r->at, r->end);
        if (stop == r->at) return expected(r, "an entry", e);
        if (skip) snprintf(r->where, sizeof r->where, "%s: key \"%.40s\": entry %d", r->what, skip, entry);
        if (!(skip ? skip_value(r, stop, e) : read_object(r, r->at, (size_t)(stop - r->at), entry, e)))
            return false;
        r->at = stop;
        skip_blanks(r);
        if (r->at == r->end || (*r->at != ',' && *r->at != ']')) return expected(r, "',' or ']'", e);
        if (*r->at++ == ']') return true;
    }
}

/* The value of a key of the outermost object. */
static bool read_value(Reader *r, const char *key, Error *e)
{
    bool list = r->at < r->end && *r->at == '[';
    if (!strcmp(key, "annotations"))
        return (list || expected(r, "the list of \"annotations\"", e)) && read_list(r, NULL, e);
    count_key(&r->list->counts, key);
    if (list) return read_list(r, key, e);
    const char *stop = value_end(r->at, r->end);
    snprintf(r->where, sizeof r->where, "%s: key \"%.40s\"", r->what, key);
    if (!skip_value(r, stop, e)) return false;
    r->at = stop;
    return true;
}

/* One member of the outermost object; keys: those before it. */
static bool read_member(Reader *r, json_t *keys, Error *e)
{
    skip_blanks(r);
    if (r->at == r->end || *r->at != '"') return expected(r, "a key", e);
    const char *stop = value_end(r->at, r->end);
    json_t *key = json_parse(r->at, (size_t)(stop - r->at), r->what, e);
    if (!key) return false;
    const char *name = json_string_value(key);
    bool ok = true;
    if (json_object_get(keys, name))
        ok = error_set(e, ERROR_INPUT, "%s: key \"%.40s\" is there twice", r->what, name);
    else if (json_object_size(keys) == TOP_KEYS)
        ok = error_set(e, ERROR_INPUT, "%s: more than %d keys beside \"annotations\"", r->what, TOP_KEYS);
    else if (json_object_set_new(keys, name, json_true()))
        ok = no_memory(r, e);
    r->at = stop;
    skip_blanks(r);
    if (ok && (r->at == r->end || *r->at != ':')) ok = expected(r, "':'", e);
    if (ok) {
        r->at++;
        skip_blanks(r);
        ok = read_value(r, name, e);
    }
    json_decref(key);
    return ok;
}

static bool read_members(Reader *r, Error *e)
{
    json_t *keys = json_object();
    bool ok = keys || no_memory(r, e);
    r->at++;
    for (bool more = true; ok && more;) {
        ok = read_member(r, keys, e);
        skip_blanks(r);
        if (ok && (r->at == r->end || (*r->at != ',' && *r->at != '}'))) ok = expected(r, "',' or '}'", e);
        if (ok) more = *r->at++ == ',';
    }
    json_decref(keys);
    return ok;
}

static bool read_lines(Reader *r, Error *e)
{
    r->list->lines = true;
    int line = 1;
    for (const char *s = r->start, *stop; s < r->end; s = stop + 1, line++) {
        stop = memchr(s, '\n', (size_t)(r->end - s));
        if (!stop) stop = r->end;
        const char *from = s;
        while (from < stop && is_blank(*from)) from++;
        if (from < stop && !read_object(r, s, (size_t)(stop - s), line, e)) return false;
    }
    r->at = r->end;
    return true;
}

/* Whether the object at r->at, which is all there is, has "annotations" as a key of its own. */
static bool has_annotations(const Reader *r)
{
    const char *s = r->at + 1;
    while (s < r->end) {
        while (s < r->end && (is_blank(*s) || *s == ',' || *s == ':')) s++;
        const char *stop = value_end(s, r->end), *colon = stop;
        if (stop == s) return false;
        while (colon < r->end && is_blank(*colon)) colon++;
        if (stop - s == 13 && !memcmp(s, "\"annotations\"", 13) && colon < r->end && *colon == ':') return true;
        s = stop;
    }
    return false;
}

static bool read_form(Reader *r, Error *e)
{
    if (r->end - r->at >= 3 && !memcmp(r->at, "\xEF\xBB\xBF", 3))
        return error_set(e, ERROR_INPUT, "%s: begins with a byte-order mark, expected JSON", r->what);
    skip_blanks(r);
    if (r->at == r->end) return error_set(e, ERROR_INPUT, "%s: is empty, expected reports", r->what);
    if (*r->at == '[') return read_list(r, NULL, e);
    if (*r->at != '{') return expected(r, "a list or an object", e);
    const char *stop = value_end(r->at, r->end), *after = stop;
    while (after < r->end && is_blank(*after)) after++;
    if (after < r->end || !has_annotations(r)) return read_lines(r, e);
    return read_members(r, e);
}

/* ---- the list ---- */

static int compare_ids(const void *a, const void *b, void *list)
{
    const ReportList *l = list;
    int i = *(const int *)a, k = *(const int *)b, order = strcmp(l->id[i], l->id[k]);
    return order ? order : i - k;
}

static bool sort_ids(const Reader *r, Error *e)
{
    ReportList *l = r->list;
    int second = -1, first = -1;
    char one[32], other[32];
    l->by_id = malloc((size_t)l->n * sizeof *l->by_id);
    if (!l->by_id) return no_memory(r, e);
    for (int i = 0; i < l->n; i++) l->by_id[i] = i;
    qsort_r(l->by_id, (size_t)l->n, sizeof *l->by_id, compare_ids, l);
    for (int i = 1; i < l->n; i++) {
        if (strcmp(l->id[l->by_id[i - 1]], l->id[l->by_id[i]]) != 0) continue;
        if (second >= 0 && l->by_id[i] > second) continue;
        first = l->by_id[i - 1];
        second = l->by_id[i];
    }
    if (second < 0) return true;
    return error_set(e, ERROR_INPUT, "%s: %s: a second report for study %.100s, after that of %s", r->what,
                     report_list_place(l, second, one), l->id[second], report_list_place(l, first, other));
}

bool report_list_parse(const char *text, size_t n, const char *what, ReportList *out, Error *e)
{
    *out = (ReportList){0};
    Reader r = {.what = what, .start = text, .at = text, .end = text + n, .list = out};
    bool ok = read_form(&r, e);
    skip_blanks(&r);
    if (ok && r.at < r.end) ok = expected(&r, "the end of the file", e);
    if (ok && !out->n) ok = error_set(e, ERROR_INPUT, "%s: no report in it", what);
    if (ok && sort_ids(&r, e)) return true;
    report_list_free(out);
    return false;
}

bool report_list_read(const char *path, ReportList *out, Error *e)
{
    uint8_t *bytes;
    size_t n;
    *out = (ReportList){0};
    if (!file_read(path, FILE_LIMIT, &bytes, &n, e)) return false;
    bool ok = report_list_parse((const char *)bytes, n, path, out, e);
    free(bytes);
    return ok;
}

void report_list_free(ReportList *l)
{
    for (int i = 0; i < l->n; i++) {
        free(l->id[i]);
        free(l->text[i]);
    }
    free(l->id);
    free(l->text);
    free(l->by_id);
    free(l->place);
    *l = (ReportList){0};
}

int report_list_find(const ReportList *l, const char *id)
{
    int low = 0, high = l->n;
    while (low < high) {
        int middle = low + (high - low) / 2, order = strcmp(l->id[l->by_id[middle]], id);
        if (!order) return l->by_id[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

const char *report_list_place(const ReportList *l, int i, char text[32])
{
    snprintf(text, 32, "%s %d", l->lines ? "line" : "entry", l->place[i]);
    return text;
}

bool report_empty(const char *text)
{
    for (size_t at = 0, n = strlen(text); at < n;) {
        int32_t c;
        at += (size_t)utf8_next(text + at, n - at, &c);
        if (!utf8_space(c)) return false;
    }
    return true;
}
