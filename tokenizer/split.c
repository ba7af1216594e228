/* Pre-tokens: LLaMA-3's pattern by hand, any other by PCRE2 (UTF, UCP, JIT).
 *
 * By hand: the pattern asks of a character only whether it is a letter, a number, white space or something
 * else, and each of its alternatives can be decided from the left without going back over more than one run.
 * test_split compares the two.
 *
 * By PCRE2: two things differ from the regular expressions that patterns are written for, and both are mended
 * here: PCRE2's \s also takes U+180E, which lost White_Space in Unicode 6.3, so \s and \S are spelt out; and
 * the JIT's small stack may run out on hostile text, then the interpreter does the rest. */
#include "tokenizer/split.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <utf8proc.h>

/* Classes are tabled for the planes that have letters and numbers; all else is OTHER. */
enum { OTHER, LETTER, NUMBER, SPACE, TABLED = 0x40000 };

static uint8_t classes[TABLED];
static once_flag classes_filled = ONCE_FLAG_INIT;

struct Split {
    pcre2_code *code; /* NULL: LLaMA-3's, by hand */
};
struct SplitWalk {
    const Split *split;
    pcre2_match_data *match;
    const char *text;
    size_t n, at;
    size_t match_start, match_end; /* the next match, valid when found */
    bool found;
};

/* ---- by hand ---- */

static uint8_t class_of(int32_t c)
{
    if ((c >= '\t' && c <= '\r') || c == 0x85) return SPACE;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return NUMBER;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return SPACE;
    default: return OTHER;
    }
}

/* The class of the character at s (valid UTF-8) and its bytes. */
static inline uint8_t class_at(const unsigned char *s, size_t *length)
{
    if (s[0] < 0x80) {
        *length = 1;
        return classes[s[0]];
    }
    if (s[0] < 0xE0) {
        *length = 2;
        return classes[(s[0] & 0x1F) << 6 | (s[1] & 0x3F)];
    }
    if (s[0] < 0xF0) {
        *length = 3;
        return classes[(s[0] & 0x0F) << 12 | (s[1] & 0x3F) << 6 | (s[2] & 0x3F)];
    }
    int c = (s[0] & 0x07) << 18 | (s[1] & 0x3F) << 12 | (s[2] & 0x3F) << 6 | (s[3] & 0x3F);
    *length = 4;
    return c < TABLED ? classes[c] : OTHER;
}

/* Where the run of one class that begins at `at` or is empty there ends. */
static inline size_t run(const unsigned char *text, size_t n, size_t at, uint8_t class)
{
    size_t length;
    while (at < n && class_at(text + at, &length) == class) at += length;
    return at;
}

/* After an apostrophe: s t re ve m ll d in any case, and the long s. Returns its bytes, or 0. */
static size_t contraction(const unsigned char *s, size_t n)
{
    if (!n) return 0;
    unsigned a = s[0] | 0x20u, b = n > 1 ? s[1] | 0x20u : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 1;
    if ((a == 'r' || a == 'v') && b == 'e') return 2;
    if (a == 'l' && b == 'l') return 2;
    return n > 1 && s[0] == 0xC5 && s[1] == 0xBF ? 2 : 0; /* U+017F, whose capital is S */
}

static bool ends_line(unsigned char c) { return c == '\r' || c == '\n'; }

/* White space from `at`: up to the run's last line end; else all but its last character where something
 * follows; else all. */
static size_t blank_piece(const unsigned char *text, size_t n, size_t at)
{
    size_t end = at, last = at, line = 0, length;
    while (end < n && class_at(text + end, &length) == SPACE) {
        if (ends_line(text[end])) line = end + 1;
        last = end;
        end += length;
    }
    if (line) return line;
    return end < n && last > at ? last : end;
}

/* The end of the piece that begins at `at` < n: the alternatives of SPLIT_LLAMA3 in their order. */
static size_t llama3_piece(const unsigned char *text, size_t n, size_t at)
{
    size_t length, next_length = 0;
    uint8_t class = class_at(text + at, &length);
    if (class == LETTER) return run(text, n, at + length, LETTER);
    if (class == NUMBER) {
        at += length;
        for (int i = 1; i < 3 && at < n && class_at(text + at, &length) == NUMBER; i++) at += length;
        return at;
    }
    if (text[at] == '\'') {
        size_t k = contraction(text + at + 1, n - at - 1);
        if (k) return at + 1 + k;
    }
    size_t next = at + length;
    uint8_t next_class = next < n ? class_at(text + next, &next_length) : SPACE;
    if (next_class == LETTER && !ends_line(text[at])) return run(text, n, next + next_length, LETTER);
    if (class == SPACE && (text[at] != ' ' || next_class != OTHER)) return blank_piece(text, n, at);
    next = run(text, n, next, OTHER);
    while (next < n && ends_line(text[next])) next++;
    return next;
}

static void fill_classes(void)
{
    for (int32_t c = 0; c < TABLED; c++) classes[c] = class_of(c);
}

/* ---- by PCRE2 ---- */

#define WHITE_SPACE "\\p{Z}\\t-\\r\\x{85}"

/* \s -> the White_Space set, \S -> its complement (outside a class only; inside one PCRE2's own is kept). */
static char *expand_white_space(const char *pattern)
{
    char *out = malloc(strlen(pattern) * (sizeof WHITE_SPACE + 3) + 1), *o = out;
    bool in_class = false;
    if (!out) return NULL;
    for (const char *p = pattern; *p; p++) {
        if (p[0] == '\\' && p[1]) {
            const char *set = p[1] == 's'                ? (in_class ? WHITE_SPACE : "[" WHITE_SPACE "]")
                              : p[1] == 'S' && !in_class ? "[^" WHITE_SPACE "]"
                                                         : NULL;
            if (set) {
                o = stpcpy(o, set);
            } else {
                *o++ = p[0];
                *o++ = p[1];
            }
            p++;
            continue;
        }
        if (*p == '[' && !in_class)
            in_class = true;
        else if (*p == ']')
            in_class = false;
        *o++ = *p;
    }
    *o = 0;
    return out;
}

static bool compile(Split *s, const char *pattern, const char *what, Error *e)
{
    int code = 0;
    PCRE2_SIZE offset = 0;
    char *expanded = expand_white_space(pattern);
    if (!expanded) return error_set(e, ERROR_MEMORY, "%s: no memory for the split pattern", what);
    s->code =
        pcre2_compile((PCRE2_SPTR)expanded, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &offset, NULL);
    free(expanded);
    if (!s->code) {
        PCRE2_UCHAR reason[128];
        pcre2_get_error_message(code, reason, sizeof reason);
        return error_set(e, code == PCRE2_ERROR_HEAP_FAILED ? ERROR_MEMORY : ERROR_INPUT,
                         "%s: split pattern, character %zu: %s", what, (size_t)offset, (char *)reason);
    }
    pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE); /* where there is no JIT, pcre2_match interprets */
    return true;
}

Split *split_open(const char *pattern, const char *what, Error *e)
{
    Split *s = calloc(1, sizeof *s);
    if (!s) {
        error_set(e, ERROR_MEMORY, "%s: no memory for the split pattern", what);
        return NULL;
    }
    if (!strcmp(pattern, SPLIT_LLAMA3)) {
        call_once(&classes_filled, fill_classes);
    } else if (!compile(s, pattern, what, e)) {
        split_close(s);
        return NULL;
    }
    return s;
}

void split_close(Split *s)
{
    if (!s) return;
    if (s->code) pcre2_code_free(s->code);
    free(s);
}

SplitWalk *split_begin(const Split *s, const char *text, size_t n, Error *e)
{
    SplitWalk *w = calloc(1, sizeof *w);
    pcre2_match_data *match = w && s->code ? pcre2_match_data_create(1, NULL) : NULL;
    if (!w || (s->code && !match)) {
        error_set(e, ERROR_MEMORY, "no memory to split a text of %zu bytes", n);
        free(w);
        return NULL;
    }
    w->split = s;
    w->match = match;
    split_again(w, text, n);
    return w;
}

void split_again(SplitWalk *w, const char *text, size_t n)
{
    *w = (SplitWalk){.split = w->split, .match = w->match, .text = text, .n = n};
}

/* Finds the next non-empty match at or after w->at. */
static bool find(SplitWalk *w, Error *e)
{
    uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
    int r = pcre2_match(w->split->code, (PCRE2_SPTR)w->text, w->n, w->at, options, w->match, NULL);
    if (r == PCRE2_ERROR_JIT_STACKLIMIT)
        r = pcre2_match(w->split->code, (PCRE2_SPTR)w->text, w->n, w->at, options | PCRE2_NO_JIT, w->match,
                        NULL);
    if (r == PCRE2_ERROR_NOMATCH) {
        w->match_start = w->match_end = w->n;
    } else if (r < 0) {
        PCRE2_UCHAR reason[128];
        pcre2_get_error_message(r, reason, sizeof reason);
        return error_set(e, ERROR_INPUT, "splitting text at byte %zu: %s", w->at, (char *)reason);
    } else {
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(w->match);
        w->match_start = v[0];
        w->match_end = v[1];
    }
    w->found = true;
    return true;
}

int split_next(SplitWalk *w, size_t *start, size_t *end, Error *e)
{
    if (w->at == w->n) return 0;
    if (!w->split->code) {
        *start = w->at;
        *end = w->at = llama3_piece((const unsigned char *)w->text, w->n, w->at);
        return 1;
    }
    if (!w->found && !find(w, e)) return -1;
    *start = w->at;
    if (w->at < w->match_start) {
        *end = w->match_start; /* what lies between two matches */
    } else {
        *end = w->match_end;
        w->found = false;
    }
    w->at = *end;
    return 1;
}

void split_end(SplitWalk *w)
{
    if (!w) return;
    if (w->match) pcre2_match_data_free(w->match);
    free(w);
}
