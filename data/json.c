#include "data/json.h"
#include "data/file.h"
#include <malloc.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_DEPTH = 64 };
static const size_t JSON_LIMIT = (size_t)1 << 30; /* bytes of a file */

/* Where memory fails inside a text jansson goes on with what it has, may run past the end of a string whose
 * quote is lost, and blames the text. So its allocations pass here, and one that fails leaves the parse at
 * once; what the parse had by then is in a list, and freed. Links stand at the end of each block, so that a
 * block is malloc's own: texts that jansson makes are ours to free(). */
typedef struct Links {
    void *before, *after; /* blocks of the list; before NULL: the block is not in it */
} Links;

static _Thread_local void *list;       /* its first block */
static _Thread_local jmp_buf *way_out; /* NULL: no text is being read */

static Links get_links(void *block)
{
    Links l;
    memcpy(&l, (char *)block + malloc_usable_size(block) - sizeof l, sizeof l);
    return l;
}

static void set_links(void *block, Links l)
{
    memcpy((char *)block + malloc_usable_size(block) - sizeof l, &l, sizeof l);
}

static void *get_memory(size_t n)
{
    void *block = n > SIZE_MAX - sizeof(Links) ? NULL : malloc(n + sizeof(Links));
    if (!block && way_out) longjmp(*way_out, 1);
    if (!block) return NULL;
    set_links(block, way_out ? (Links){&list, list} : (Links){0});
    if (!way_out) return block;
    if (list) set_links(list, (Links){block, get_links(list).after});
    return list = block;
}

static void give_memory(void *block)
{
    Links l = block ? get_links(block) : (Links){0};
    if (l.before == &list)
        list = l.after;
    else if (l.before)
        set_links(l.before, (Links){get_links(l.before).before, l.after});
    if (l.before && l.after) set_links(l.after, (Links){l.before, get_links(l.after).after});
    free(block);
}

__attribute__((constructor)) static void watch_memory(void) { json_set_alloc_funcs(get_memory, give_memory); }

/* json_loadb; *lost: memory failed. */
static json_t *load(const char *text, size_t n, json_error_t *fault, bool *lost)
{
    jmp_buf here;
    list = NULL;
    way_out = &here;
    *lost = setjmp(here) != 0;
    json_t *value = *lost ? NULL : json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, fault);
    way_out = NULL;
    for (void *block = list, *after; block; block = after) {
        after = get_links(block).after;
        if (*lost)
            free(block);
        else
            set_links(block, (Links){0}); /* the value's from here on */
    }
    return value;
}

/* jansson recurses once a level, so the depth is bounded before it sees the text. Brackets inside strings do
 * not count; text that is not JSON is left to jansson to name. */
static bool depth_ok(const char *text, size_t n, const char *what, Error *e)
{
    int depth = 0;
    bool string = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                string = false;
        } else if (c == '"') {
            string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH)
                return error_set(e, ERROR_INPUT, "%s: byte %zu: nested deeper than %d levels", what, i,
                                 JSON_DEPTH);
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return true;
}

json_t *json_parse(const char *text, size_t n, const char *what, Error *e)
{
    if (!depth_ok(text, n, what, e)) return NULL;
    json_error_t fault = {0};
    bool lost;
    json_t *value = load(text, n, &fault, &lost);
    if (lost)
        error_set(e, ERROR_MEMORY, "%s: out of memory reading %zu bytes of JSON", what, n);
    else if (!value)
        error_set(e, ERROR_INPUT, "%s:%d:%d: not JSON: %s", what, fault.line, fault.column, fault.text);
    return value;
}

json_t *json_read(const char *path, Error *e)
{
    uint8_t *bytes;
    size_t n;
    if (!file_read(path, JSON_LIMIT, &bytes, &n, e)) return NULL;
    json_t *value = json_parse((const char *)bytes, n, path, e);
    free(bytes);
    return value;
}

bool json_write(const char *path, const json_t *value, Error *e)
{
    FileWriter w;
    if (!file_create(&w, path, e)) return false;
    if (json_dumpf(value, w.stream, JSON_INDENT(2) | JSON_ENCODE_ANY) != 0 && !ferror(w.stream)) {
        file_abandon(&w);
        return error_set(e, ERROR_MEMORY, "%s: out of memory writing JSON", path);
    }
    fputc('\n', w.stream);
    return file_commit(&w, e);
}

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a real number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: return "null";
    }
    return "nothing";
}

/* The member, or NULL and an Error. */
static json_t *member(const json_t *object, const char *key, const char *what, const char *expected, Error *e)
{
    if (!json_is_object(object)) {
        error_set(e, ERROR_INPUT, "%s: expected an object with key \"%s\", found %s", what, key,
                  object ? type_name(object) : "nothing");
        return NULL;
    }
    json_t *value = json_object_get(object, key);
    if (!value) error_set(e, ERROR_INPUT, "%s: key \"%s\" is missing (expected %s)", what, key, expected);
    return value;
}

static bool wrong_type(const json_t *value, const char *key, const char *what, const char *expected, Error *e)
{
    return error_set(e, ERROR_INPUT, "%s: key \"%s\": expected %s, found %s", what, key, expected,
                     type_name(value));
}

bool json_get_string(const json_t *object, const char *key, const char *what, const char **out, Error *e)
{
    json_t *value = member(object, key, what, "a string", e);
    if (!value) return false;
    if (!json_is_string(value)) return wrong_type(value, key, what, "a string", e);
    *out = json_string_value(value);
    return true;
}

bool json_get_int(const json_t *object, const char *key, const char *what, int64_t *out, Error *e)
{
    json_t *value = member(object, key, what, "an integer", e);
    if (!value) return false;
    if (!json_is_integer(value)) return wrong_type(value, key, what, "an integer", e);
    *out = json_integer_value(value);
    return true;
}

bool json_get_number(const json_t *object, const char *key, const char *what, double *out, Error *e)
{
    json_t *value = member(object, key, what, "a number", e);
    if (!value) return false;
    if (!json_is_number(value)) return wrong_type(value, key, what, "a number", e);
    *out = json_number_value(value);
    return true;
}

bool json_get_array(const json_t *object, const char *key, const char *what, json_t **out, Error *e)
{
    json_t *value = member(object, key, what, "an array", e);
    if (!value) return false;
    if (!json_is_array(value)) return wrong_type(value, key, what, "an array", e);
    *out = value;
    return true;
}

bool json_get_object(const json_t *object, const char *key, const char *what, json_t **out, Error *e)
{
    json_t *value = member(object, key, what, "an object", e);
    if (!value) return false;
    if (!json_is_object(value)) return wrong_type(value, key, what, "an object", e);
    *out = value;
    return true;
}
