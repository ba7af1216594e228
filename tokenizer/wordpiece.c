/* vocab.txt and the greedy matching. The hash table is open-addressed, at most half full. */
#include "tokenizer/wordpiece.h"
#include "data/file.h"
#include "tensor/utf8.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 64 << 20, MAX_TOKENS = 1 << 22, MAX_WORD = 100 };

/* ---- the vocabulary ---- */

static uint32_t hash(const char *s, size_t n)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 16777619u;
    return h;
}

/* The slot that holds the token, or the empty one where it would go. */
static uint32_t find(const Wordpiece *w, const char *token, size_t n)
{
    uint32_t at = hash(token, n) & w->mask;
    while (w->slot[at] >= 0) {
        const char *other = w->token[w->slot[at]];
        if (!strncmp(other, token, n) && !other[n]) break;
        at = (at + 1) & w->mask;
    }
    return at;
}

int32_t wordpiece_id(const Wordpiece *w, const char *token, size_t n)
{
    return memchr(token, 0, n) ? -1 : w->slot[find(w, token, n)];
}

/* The number of lines, the last one with or without its newline. */
static size_t count_lines(const char *s, size_t n)
{
    size_t lines = 0;
    for (size_t i = 0; i < n; i++) lines += s[i] == '\n';
    return lines + (n && s[n - 1] != '\n');
}

static bool allocate(Wordpiece *w, size_t lines, const char *path, Error *e)
{
    uint32_t slots = 16;
    if (lines > MAX_TOKENS)
        return error_set(e, ERROR_INPUT, "%s: %zu lines, expected at most %d", path, lines, MAX_TOKENS);
    while (slots < 2 * lines) slots *= 2;
    w->token = malloc((lines + 1) * sizeof *w->token);
    w->slot = malloc(slots * sizeof *w->slot);
    if (!w->token || !w->slot) return error_set(e, ERROR_MEMORY, "%s: no memory for %zu tokens", path, lines);
    memset(w->slot, -1, slots * sizeof *w->slot);
    w->mask = slots - 1;
    return true;
}

/* Ends each line with a NUL and enters it. s is NUL-terminated at s[n]. */
static bool enter_lines(Wordpiece *w, char *s, size_t n, const char *path, Error *e)
{
    char *end = s + n;
    while (s < end) {
        char *stop = memchr(s, '\n', (size_t)(end - s)), *next = stop ? stop + 1 : end;
        if (!stop) stop = end;
        while (stop > s && strchr(" \t\r", stop[-1])) stop--;
        *stop = 0;
        if (stop == s)
            return error_set(e, ERROR_INPUT, "%s: line %d: expected a token, found none", path, w->n + 1);
        uint32_t at = find(w, s, (size_t)(stop - s));
        if (w->slot[at] >= 0)
            return error_set(e, ERROR_INPUT, "%s: line %d: the token '%.60s' is that of line %d too", path,
                             w->n + 1, s, w->slot[at] + 1);
        w->slot[at] = w->n;
        w->token[w->n++] = s;
        s = next;
    }
    return true;
}

static bool find_specials(Wordpiece *w, const char *path, Error *e)
{
    const struct {
        int32_t *id;
        const char *token;
    } special[] = {{&w->pad, "[PAD]"},
                   {&w->unknown, "[UNK]"},
                   {&w->cls, "[CLS]"},
                   {&w->sep, "[SEP]"},
                   {&w->masked, "[MASK]"}};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        *special[i].id = wordpiece_id(w, special[i].token, strlen(special[i].token));
        if (*special[i].id < 0)
            return error_set(e, ERROR_INPUT, "%s: no %s among %d tokens", path, special[i].token, w->n);
    }
    return true;
}

static bool read_vocabulary(Wordpiece *w, const char *path, Error *e)
{
    uint8_t *bytes;
    size_t n;
    if (!file_read(path, MAX_BYTES, &bytes, &n, e)) return false;
    w->bytes = (char *)bytes;
    size_t valid = utf8_valid_prefix(w->bytes, n);
    if (valid < n) return error_set(e, ERROR_INPUT, "%s: byte %zu is not UTF-8", path, valid);
    const char *nul = memchr(w->bytes, 0, n);
    if (nul) return error_set(e, ERROR_INPUT, "%s: byte %zu is NUL", path, (size_t)(nul - w->bytes));
    return allocate(w, count_lines(w->bytes, n), path, e) && enter_lines(w, w->bytes, n, path, e) &&
           find_specials(w, path, e);
}

bool wordpiece_open(Wordpiece *w, const char *path, Error *e)
{
    *w = (Wordpiece){0};
    if (read_vocabulary(w, path, e)) return true;
    wordpiece_close(w);
    return false;
}

void wordpiece_close(Wordpiece *w)
{
    free(w->bytes);
    free(w->token);
    free(w->slot);
    *w = (Wordpiece){0};
}

/* ---- pieces ---- */

static int characters(const char *s)
{
    int n = 0;
    for (; *s; s++) n += ((uint8_t)*s & 0xC0) != 0x80;
    return n;
}

/* Offset of the character that ends before s[n], n > 0. */
static size_t step_back(const char *s, size_t n)
{
    do n--;
    while (n && ((uint8_t)s[n] & 0xC0) == 0x80);
    return n;
}

/* At most `room` ids of one word; returns how many. */
static int pieces(const Wordpiece *w, const char *word, int32_t *ids, int room)
{
    char piece[2 + 4 * MAX_WORD] = "##";
    size_t length = strlen(word), at = 0;
    int n = 0;
    if (characters(word) > MAX_WORD) at = length + 1;
    while (at < length) {
        size_t end = length;
        int32_t id = -1;
        memcpy(piece + 2, word + at, length - at);
        for (; end > at; end = at + step_back(word + at, end - at)) {
            id = at ? wordpiece_id(w, piece, 2 + end - at) : wordpiece_id(w, word, end);
            if (id >= 0) break;
        }
        if (id < 0) break;
        if (n < room) ids[n] = id;
        n++;
        at = end;
    }
    if (at != length) {
        n = 1;
        if (room > 0) ids[0] = w->unknown;
    }
    return n < room ? n : room;
}

bool wordpiece_encode(const Wordpiece *w, const char *text, size_t n, int most, int32_t **ids, int *count,
                      Error *e)
{
    char *words;
    int n_words;
    if (most < 2) die("wordpiece: [CLS] and [SEP] do not fit into %d ids", most);
    if (!wordpiece_words(text, n, &words, &n_words, e)) return false;
    size_t bytes = 0;
    for (int i = 0; i < n_words; i++) bytes += strlen(words + bytes) + 1;
    int room = bytes + 2 < (size_t)most ? (int)bytes + 2 : most, at = 1;
    int32_t *out = malloc((size_t)room * sizeof *out);
    if (!out) {
        free(words);
        return error_set(e, ERROR_MEMORY, "no memory for %d ids", room);
    }
    out[0] = w->cls;
    const char *word = words;
    for (int i = 0; i < n_words && at < room - 1; i++, word += strlen(word) + 1)
        at += pieces(w, word, out + at, room - 1 - at);
    out[at++] = w->sep;
    free(words);
    *ids = out;
    *count = at;
    return true;
}

bool wordpiece_decode(const Wordpiece *w, const int32_t *ids, int count, bool specials, char **text, Error *e)
{
    size_t room = 1;
    for (int i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= w->n)
            return error_set(e, ERROR_INPUT, "ids to decode: number %d is %d, expected 0..%d", i, ids[i],
                             w->n - 1);
        room += strlen(w->token[ids[i]]) + 1;
    }
    char *out = malloc(room), *end = out;
    if (!out) return error_set(e, ERROR_MEMORY, "no memory to decode %d ids", count);
    *end = 0;
    for (int i = 0; i < count; i++) {
        int32_t id = ids[i];
        if (!specials && (id == w->pad || id == w->unknown || id == w->cls || id == w->sep || id == w->masked))
            continue;
        const char *token = w->token[id];
        bool joins = !strncmp(token, "##", 2) && token[2];
        if (end > out && !joins) *end++ = ' ';
        end = stpcpy(end, end > out && joins ? token + 2 : token);
    }
    *text = out;
    return true;
}
