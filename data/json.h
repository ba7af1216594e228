/* JSON through jansson: duplicate keys refused, depth limited, and every accessor says which file and which
 * key. */
#ifndef DATA_JSON_H
#define DATA_JSON_H
#include "tensor/error.h"
#include <jansson.h>
#include <stdint.h>

/* NULL on error. The caller owns the reference (json_decref). */
json_t *json_read(const char *path, Error *e);
/* text need not be NUL-terminated; `what` names it in messages. */
json_t *json_parse(const char *text, size_t n, const char *what, Error *e);
/* Of their messages, without the text at the fault: for files that may hold patients' names. */
void json_hide_text(Error *e);
/* Crash-safe, UTF-8 as it is (no \u escapes), two-space indent, key order kept, newline at the end. */
bool json_write(const char *path, const json_t *value, Error *e);
/* The value as text, with jansson's flags, the caller's to free(); NULL: out of memory. */
char *json_text(const json_t *value, size_t flags);

/* What make makes of context; NULL, and nothing left of it, where memory fails anywhere in between: jansson
 * alone would leave out what it has no memory for. make may call this again, allocates nothing but JSON, and
 * keeps no references to older values. */
typedef json_t *JsonMake(const void *context);
json_t *json_make(JsonMake *make, const void *context);
#pragma GCC poison json_dumps /* whose text is jansson's to free */

/* "an object", "a string", ...; value is not NULL. */
const char *json_type_name(const json_t *value);

/* Required members of an object; false names `what` (the file), the key, the type expected and found. */
bool json_get_string(const json_t *object, const char *key, const char *what, const char **out, Error *e);
bool json_get_int(const json_t *object, const char *key, const char *what, int64_t *out, Error *e);
bool json_get_number(const json_t *object, const char *key, const char *what, double *out, Error *e);
bool json_get_bool(const json_t *object, const char *key, const char *what, bool *out, Error *e);
bool json_get_array(const json_t *object, const char *key, const char *what, json_t **out, Error *e);
bool json_get_object(const json_t *object, const char *key, const char *what, json_t **out, Error *e);
#endif
