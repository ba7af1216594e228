/* Pre-tokens by PCRE2 (UTF, UCP, JIT). Two things differ from the regular expressions that the pattern was
 * written for, and both are mended here: PCRE2's \s also takes U+180E, which lost White_Space in Unicode 6.3,
 * so \s and \S are spelt out; and the JIT's small stack may run out on hostile text, then the interpreter does
 * the rest. */
#include "tokenizer/split.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct Split {
    pcre2_code *code;
};
struct SplitWalk {
    const Split *split;
    pcre2_match_data *match;
    const char *text;
    size_t n, at;
    size_t match_start, match_end; /* the next match, valid when found */
    bool found;
};

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

Split *split_open(const char *pattern, const char *what, Error *e)
{
    char *expanded = expand_white_space(pattern);
    Split *s = calloc(1, sizeof *s);
    if (!expanded || !s) {
        error_set(e, ERROR_MEMORY, "%s: no memory for the split pattern", what);
        goto failed;
    }
    int code = 0;
    PCRE2_SIZE offset = 0;
    s->code =
        pcre2_compile((PCRE2_SPTR)expanded, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &offset, NULL);
    if (!s->code) {
        PCRE2_UCHAR reason[128];
        pcre2_get_error_message(code, reason, sizeof reason);
        error_set(e, ERROR_INPUT, "%s: split pattern, character %zu: %s", what, (size_t)offset, (char *)reason);
        goto failed;
    }
    pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE); /* where there is no JIT, pcre2_match interprets */
    free(expanded);
    return s;
failed:
    free(expanded);
    free(s);
    return NULL;
}

void split_close(Split *s)
{
    if (!s) return;
    pcre2_code_free(s->code);
    free(s);
}

SplitWalk *split_begin(const Split *s, const char *text, size_t n, Error *e)
{
    SplitWalk *w = calloc(1, sizeof *w);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    if (!w || !match) {
        error_set(e, ERROR_MEMORY, "no memory to split a text of %zu bytes", n);
        free(w);
        if (match) pcre2_match_data_free(match);
        return NULL;
    }
    *w = (SplitWalk){.split = s, .match = match, .text = text, .n = n};
    return w;
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
    pcre2_match_data_free(w->match);
    free(w);
}
