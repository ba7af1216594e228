#include "tokenizer/python_literal.h"
#include "data/file.h"
#include "tensor/utf8.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 64 << 20 };

typedef struct Reader {
    const char *path, *at, *end; /* end points at a NUL */
    size_t line;
    PythonVisit *visit;
    void *user;
    char where[512];
} Reader;

/* "PATH: line N: expected WHAT, found ..." */
static bool expected(const Reader *r, const char *what, Error *e)
{
    unsigned char c = (unsigned char)*r->at;
    if (r->at == r->end)
        return error_set(e, ERROR_INPUT, "%s: line %zu: expected %s, found the end", r->path, r->line, what);
    if (c == '\n')
        return error_set(e, ERROR_INPUT, "%s: line %zu: expected %s, found the line's end", r->path, r->line,
                         what);
    if (c > 32 && c < 127)
        return error_set(e, ERROR_INPUT, "%s: line %zu: expected %s, found '%c'", r->path, r->line, what, c);
    return error_set(e, ERROR_INPUT, "%s: line %zu: expected %s, found byte 0x%02X", r->path, r->line, what, c);
}

/* White space, line ends and comments. */
static void skip(Reader *r)
{
    for (;; r->at++) {
        if (*r->at == '#') r->at += strcspn(r->at, "\n");
        if (*r->at == '\n')
            r->line++;
        else if (!*r->at || !strchr(" \t\r", *r->at))
            return;
    }
}

static bool take(Reader *r, char c)
{
    skip(r);
    if (*r->at != c) return false;
    r->at++;
    return true;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool read_number(Reader *r, double *out, Error *e)
{
    const char *s = r->at, *from;
    s += *s == '-' || *s == '+';
    for (from = s; is_digit(*s);) s++;
    if (s == from) return expected(r, "a number or '{'", e);
    if (*s == '.') {
        for (from = ++s; is_digit(*s);) s++;
        if (s == from) {
            r->at = s;
            return expected(r, "a digit after the point", e);
        }
    }
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '-' || *s == '+';
        for (from = s; is_digit(*s);) s++;
        if (s == from) {
            r->at = s;
            return expected(r, "a digit of the exponent", e);
        }
    }
    *out = strtod(r->at, NULL);
    if (!isfinite(*out))
        return error_set(e, ERROR_INPUT, "%s: line %zu: '%.*s' is too large", r->path, r->line,
                         s - r->at < 40 ? (int)(s - r->at) : 40, r->at);
    r->at = s;
    return true;
}

static int hex(char c)
{
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The escape after a backslash -> a code point, or -1 with *e. */
static int32_t read_escape(Reader *r, Error *e)
{
    static const char names[] = "\\'\"nrt", values[] = "\\'\"\n\r\t";
    const char *name = *r->at ? strchr(names, *r->at) : NULL;
    if (name) {
        r->at++;
        return values[name - names];
    }
    int digits = *r->at == 'x' ? 2 : *r->at == 'u' ? 4 : *r->at == 'U' ? 8 : 0;
    if (!digits) {
        expected(r, "one of \\ ' \" n r t x u U after the backslash", e);
        return -1;
    }
    int64_t point = 0;
    for (r->at++; digits; digits--, r->at++) {
        if (hex(*r->at) < 0) {
            expected(r, "a hexadecimal digit", e);
            return -1;
        }
        point = point << 4 | hex(*r->at);
    }
    if (point && point < 0x110000 && (point < 0xD800 || point > 0xDFFF)) return (int32_t)point;
    error_set(e, ERROR_INPUT, "%s: line %zu: U+%04llX is no character of a key", r->path, r->line,
              (long long)point);
    return -1;
}

static size_t write_utf8(int32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    int n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = n - 1; i; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)((0xF00 >> n & 0xFF) | c);
    return (size_t)n;
}

static bool read_string(Reader *r, char out[PYTHON_LITERAL_KEY], Error *e)
{
    skip(r);
    char quote = *r->at;
    size_t n = 0;
    if (quote != '\'' && quote != '"') return expected(r, "a key in quotes", e);
    for (r->at++; *r->at != quote;) {
        int32_t c;
        if (*r->at == '\\') {
            r->at++;
            c = read_escape(r, e);
            if (c < 0) return false;
        } else {
            if (r->at == r->end || *r->at == '\n' || !*r->at) return expected(r, "the key's closing quote", e);
            r->at += utf8_next(r->at, (size_t)(r->end - r->at), &c);
            if (c < 0) return error_set(e, ERROR_INPUT, "%s: line %zu: a key is not UTF-8", r->path, r->line);
        }
        if (n + 4 >= PYTHON_LITERAL_KEY)
            return error_set(e, ERROR_INPUT, "%s: line %zu: a key is longer than %d bytes", r->path, r->line,
                             PYTHON_LITERAL_KEY - 5);
        n += write_utf8(c, out + n);
    }
    r->at++;
    out[n] = 0;
    return true;
}

/* What follows a dict's "{"; outer: the key that it is the value of. */
static bool read_dict(Reader *r, const char *outer, int depth, Error *e)
{
    while (!take(r, '}')) {
        char key[PYTHON_LITERAL_KEY];
        PythonItem item = {.outer = outer, .key = key, .where = r->where};
        if (!read_string(r, key, e)) return false;
        if (!take(r, ':')) return expected(r, "':' after the key", e);
        if (take(r, '{')) {
            if (depth == 2)
                return error_set(e, ERROR_INPUT, "%s: line %zu: dicts are more than two deep", r->path,
                                 r->line);
            if (!read_dict(r, key, depth + 1, e)) return false;
        } else {
            if (!read_number(r, &item.value, e)) return false;
            snprintf(r->where, sizeof r->where, "%.400s: line %zu", r->path, r->line);
            if (!r->visit(r->user, &item, e)) return false;
        }
        if (take(r, ',')) continue;
        if (!take(r, '}')) return expected(r, "',' or '}'", e);
        return true;
    }
    return true;
}

static bool read_source(Reader *r, Error *e)
{
    static const char future[] = "from __future__ import ";
    for (skip(r); !strncmp(r->at, future, sizeof future - 1); skip(r)) r->at += strcspn(r->at, "\n");
    const char *name = r->at;
    while ((*r->at >= 'A' && *r->at <= 'Z') || (*r->at >= 'a' && *r->at <= 'z') || *r->at == '_') r->at++;
    if (r->at == name) return expected(r, "a name and '='", e);
    if (!take(r, '=')) return expected(r, "'=' after the name", e);
    if (!take(r, '{')) return expected(r, "'{'", e);
    if (!read_dict(r, NULL, 1, e)) return false;
    skip(r);
    return r->at == r->end || expected(r, "nothing more", e);
}

bool python_literal_read(const char *path, PythonVisit *visit, void *user, Error *e)
{
    uint8_t *bytes;
    size_t n;
    if (!file_read(path, MAX_BYTES, &bytes, &n, e)) return false;
    const char *text = (const char *)bytes;
    Reader r = {.path = path, .at = text, .end = text + n, .line = 1, .visit = visit, .user = user};
    bool ok = read_source(&r, e);
    free(bytes);
    return ok;
}
