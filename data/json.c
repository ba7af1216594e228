#include "data/json.h"
#include "data/file.h"
#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_DEPTH = 64 };
static const size_t JSON_LIMIT = (size_t)1 << 30; /* bytes of a file */

/* Where memory fails inside a text jansson goes on with what it has, may run past the end of a string whose
 * quote is lost, and blames the text; where it fails inside a value that is being made, the part is left out.
 * So its allocations pass here, and one that fails leaves the parse or the making at once; what they had by
 * then is in a list, and freed. */
typedef struct Block {
    struct Block *after, **link; /* what points to it; NULL: it is in no list */
    _Alignas(max_align_t) char memory[];
} Block;

static _Thread_local Block *list;      /* of the value that is being read or made */
static _Thread_local jmp_buf *way_out; /* NULL: none is */

static void *get_memory(size_t n)
{
    Block *b = n > SIZE_MAX - sizeof *b ? NULL : malloc(sizeof *b + n);
    if (!b && way_out) longjmp(*way_out, 1);
    if (!b) return NULL;
    b->link = way_out ? &list : NULL;
    if (!way_out) return b->memory;
    b->after = list;
    if (list) list->link = &b->after;
    list = b;
    return b->memory;
}

static void give_memory(void *memory)
{
    if (!memory) return;
    Block *b = (Block *)((char *)memory - offsetof(Block, memory));
    if (b->link) {
        *b->link = b->after;
        if (b->after) b->after->link = b->link;
    }
    free(b);
}

__attribute__((constructor)) static void watch_memory(void) { json_set_alloc_funcs(get_memory, give_memory); }

/* make(context); *lost: memory failed. */
static json_t *guard(JsonMake *make, const void *context, bool *lost)
{
    jmp_buf here;
    list = NULL;
    way_out = &here;
    *lost = setjmp(here) != 0;
    json_t *value = *lost ? NULL : make(context);
    way_out = NULL;
    for (Block *b = list, *after; b; b = after) {
        after = b->after;
        b->link = NULL; /* the value's from here on */
        if (*lost) free(b);
    }
    return value;
}

json_t *json_make(JsonMake *make, const void *context)
{
    bool lost;
    return way_out ? make(context) : guard(make, context, &lost);
}

typedef struct Text {
    const char *text;
    size_t n;
    json_error_t *fault;
} Text;

static json_t *load(const void *context)
{
    const Text *t = context;
    return json_loadb(t->text, t->n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, t->fault);
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
    if (n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) {
        error_set(e, ERROR_INPUT, "%s: begins with a byte-order mark, expected JSON", what);
        return NULL;
    }
    if (!depth_ok(text, n, what, e)) return NULL;
    json_error_t fault = {0};
    bool lost;
    json_t *value = guard(load, &(Text){text, n, &fault}, &lost);
    if (lost)
        error_set(e, ERROR_MEMORY, "%s: out of memory reading %zu bytes of JSON", what, n);
    else if (!value)
        error_set(e, ERROR_INPUT, "%s:%d:%d: not JSON: %s", what, fault.line, fault.column, fault.text);
    return value;
}

void json_hide_text(Error *e)
{
    char *fault = e ? strstr(e->msg, ": not JSON: ") : NULL, *near = fault ? strstr(fault, " near ") : NULL;
    if (near) *near = 0;
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

char *json_text(const json_t *value, size_t flags)
{
    size_t n = json_dumpb(value, NULL, 0, flags);
    char *text = n ? malloc(n + 1) : NULL;
    if (!text) return NULL;
    if (json_dumpb(value, text, n, flags) == n) {
        text[n] = 0;
        return text;
    }
    free(text);
    return NULL;
}

const char *json_type_name(const json_t *value)
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
                  object ? json_type_name(object) : "nothing");
        return NULL;
    }
    json_t *value = json_object_get(object, key);
    if (!value) error_set(e, ERROR_INPUT, "%s: key \"%s\" is missing (expected %s)", what, key, expected);
    return value;
}

static bool wrong_type(const json_t *value, const char *key, const char *what, const char *expected, Error *e)
{
    return error_set(e, ERROR_INPUT, "%s: key \"%s\": expected %s, found %s", what, key, expected,
                     json_type_name(value));
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

bool json_get_bool(const json_t *object, const char *key, const char *what, bool *out, Error *e)
{
    json_t *value = member(object, key, what, "a boolean", e);
    if (!value) return false;
    if (!json_is_boolean(value)) return wrong_type(value, key, what, "a boolean", e);
    *out = json_is_true(value);
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
