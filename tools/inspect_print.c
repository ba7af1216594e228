/* JSON objects as text: "key  value" lines, nested objects indented, lists of objects as tables with aligned
 * columns. */
#include "tools/inspect.h"
#include <stdlib.h>
#include <string.h>

enum { CELL = 400, COLUMNS = 16 };

/* A scalar or a list of scalars in one line; 3 values become (1,2,3). */
static const char *cell(const json_t *v, char text[CELL])
{
    size_t used = 0;
    char part[CELL];
    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_STRING: snprintf(text, CELL, "%s", json_string_value(v)); break;
    case JSON_INTEGER: snprintf(text, CELL, "%lld", (long long)json_integer_value(v)); break;
    case JSON_REAL: snprintf(text, CELL, "%.6g", json_real_value(v)); break;
    case JSON_TRUE: strcpy(text, "true"); break;
    case JSON_FALSE: strcpy(text, "false"); break;
    case JSON_NULL: strcpy(text, "-"); break;
    case JSON_OBJECT: strcpy(text, "{...}"); break;
    case JSON_ARRAY:
        text[used++] = '(';
        for (size_t i = 0; i < json_array_size(v); i++) {
            int n =
                snprintf(text + used, CELL - used - 1, "%s%s", i ? "," : "", cell(json_array_get(v, i), part));
            if (n < 0 || used + (size_t)n >= CELL - 2) break;
            used += (size_t)n;
        }
        text[used++] = ')';
        text[used] = 0;
        break;
    }
    for (char *p = text; *p; p++) /* one line, whatever a file holds */
        if ((unsigned char)*p < 32 || *p == 127) *p = '?';
    return text;
}

/* Characters, not bytes; wide ones count once, so Chinese names may shift a column. */
static int width(const char *text)
{
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void pad(FILE *out, int n)
{
    while (n-- > 0) fputc(' ', out);
}

static void print_table(FILE *out, const json_t *list, int indent)
{
    const char *keys[COLUMNS];
    int widths[COLUMNS], n = 0;
    bool number[COLUMNS] = {false}; /* columns of numbers stand to the right */
    char text[CELL];
    for (size_t r = 0; r < json_array_size(list); r++) {
        const char *key;
        json_t *v;
        json_object_foreach(json_array_get(list, r), key, v)
        {
            int c = 0;
            while (c < n && strcmp(keys[c], key) != 0) c++;
            if (c == COLUMNS) continue;
            if (c == n) {
                keys[n] = key;
                widths[n++] = width(key);
            }
            number[c] = number[c] || json_is_number(v);
            int w = width(cell(v, text));
            if (w > widths[c]) widths[c] = w;
        }
    }
    for (size_t r = 0; r <= json_array_size(list); r++) {
        pad(out, indent);
        for (int c = 0; c < n; c++) {
            const json_t *v = r ? json_object_get(json_array_get(list, r - 1), keys[c]) : NULL;
            const char *shown = r ? cell(v, text) : keys[c];
            int space = widths[c] - width(shown);
            if (number[c]) pad(out, space);
            fputs(shown, out);
            if (!number[c] && c + 1 < n) pad(out, space);
            if (c + 1 < n) fputs("  ", out);
        }
        fputc('\n', out);
    }
}

static void print_members(FILE *out, const json_t *object, int indent)
{
    const char *key;
    json_t *v;
    int widest = 0;
    char text[CELL];
    json_object_foreach((json_t *)object, key, v) if (width(key) > widest) widest = width(key);
    json_object_foreach((json_t *)object, key, v)
    {
        bool table = json_is_object(json_array_get(v, 0));
        pad(out, indent);
        fputs(key, out);
        if (table || json_is_object(v)) {
            fputs(json_is_object(v) && json_object_size(v) == 0 ? ": none\n" : ":\n", out);
            if (table) print_table(out, v, indent + 2);
            if (!table) print_members(out, v, indent + 2);
        } else {
            pad(out, widest - width(key) + 2);
            fprintf(out, "%s\n", cell(v, text));
        }
    }
}

void inspect_print(FILE *out, const json_t *object) { print_members(out, object, 0); }
