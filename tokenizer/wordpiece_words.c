/* Text to words (BERT's basic tokenizer, uncased), by utf8proc's tables. In the order of the tokenizers
 * library: cleaning, spaces around CJK, canonical decomposition, accents (category Mn) dropped, lower case
 * character by character, then the splits. Canonical order is not restored: nearly all that it moves are
 * accents, which go. */
#include "tensor/utf8.h"
#include "tokenizer/wordpiece.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static bool is_space(int32_t c)
{
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') return true;
    utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_ZS || k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP;
}

/* Control, format, private and unassigned characters, and what stands for a broken one. */
static bool is_dropped(int32_t c)
{
    if (c == '\t' || c == '\n' || c == '\r') return false;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN: return true;
    default: return c == 0 || c == 0xFFFD;
    }
}

static bool is_cjk(int32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B820 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/* All that is neither letter, digit nor space in ASCII, and category P. */
static bool is_punctuation(int32_t c)
{
    if (c < 0x80) return (c > 32 && c < 48) || (c > 57 && c < 65) || (c > 90 && c < 97) || (c > 122 && c < 127);
    utf8proc_category_t k = utf8proc_category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

typedef struct Words {
    char *s;
    size_t n, room;
    int count;
    bool open; /* a word has begun */
} Words;

static bool put(Words *w, const char *s, size_t n)
{
    if (w->n + n > w->room) {
        size_t room = 2 * w->room + n + 64;
        char *grown = realloc(w->s, room);
        if (!grown) return false;
        w->s = grown;
        w->room = room;
    }
    if (n) memcpy(w->s + w->n, s, n);
    w->n += n;
    return true;
}

static bool end_word(Words *w)
{
    if (!w->open) return true;
    w->open = false;
    w->count++;
    return put(w, "", 1);
}

static bool put_character(Words *w, int32_t c)
{
    utf8proc_uint8_t s[4];
    w->open = true;
    return put(w, (const char *)s, (size_t)utf8proc_encode_char(c, s));
}

/* A character of the text that is neither dropped nor space. */
static bool put_decomposed(Words *w, int32_t c)
{
    enum { MOST = 32 }; /* the longest canonical decomposition is of 4 */
    utf8proc_int32_t part[MOST];
    bool alone = is_cjk(c);
    utf8proc_ssize_t n = utf8proc_decompose_char(c, part, MOST, UTF8PROC_DECOMPOSE, NULL);
    if (n < 0 || n > MOST) n = 1, part[0] = c;
    if (alone && !end_word(w)) return false;
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        if (utf8proc_category(part[i]) == UTF8PROC_CATEGORY_MN) continue;
        int32_t lower = utf8proc_tolower(part[i]);
        bool mark = is_punctuation(lower);
        if ((mark && !end_word(w)) || !put_character(w, lower) || (mark && !end_word(w))) return false;
    }
    return !alone || end_word(w);
}

bool wordpiece_words(const char *text, size_t n, char **words, int *count, Error *e)
{
    Words w = {0};
    bool ok = true;
    for (size_t at = 0; ok && at < n;) {
        int32_t c;
        int length = utf8_next(text + at, n - at, &c);
        if (c < 0) {
            free(w.s);
            return error_set(e, ERROR_INPUT, "text: byte %zu is not UTF-8", at);
        }
        at += (size_t)length;
        if (is_dropped(c)) continue;
        ok = is_space(c) ? end_word(&w) : put_decomposed(&w, c);
    }
    if (!ok || !end_word(&w)) {
        free(w.s);
        return error_set(e, ERROR_MEMORY, "no memory for the words of %zu bytes", n);
    }
    *words = w.s;
    *count = w.count;
    return true;
}
