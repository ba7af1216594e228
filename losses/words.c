#include "losses/words.h"
#include "tensor/utf8.h"
#include <stdlib.h>
#include <string.h>

enum { NONE_TOKEN = -1 }; /* no code point */

struct Words {
    char **word; /* word i has number i */
    size_t *length;
    int n, room;
    int32_t *slot; /* open addressing, number + 1; 0: empty */
    size_t n_slots;
};

void tokens_free(Tokens *t)
{
    free(t->id);
    *t = (Tokens){0};
}

bool words_characters(const char *text, Tokens *out, Error *e)
{
    size_t n = strlen(text);
    Tokens t = {malloc((n + 1) * sizeof *t.id), 0};
    if (!t.id || n > INT32_MAX) {
        free(t.id);
        return error_set(e, ERROR_MEMORY, "no memory for the %zu characters of a text", n);
    }
    for (size_t at = 0; at < n;) {
        int32_t c;
        at += (size_t)utf8_next(text + at, n - at, &c);
        if (!utf8_space(c)) t.id[t.n++] = c < 0 ? 0xFFFD : c;
    }
    if (!t.n) t.id[t.n++] = NONE_TOKEN;
    *out = t;
    return true;
}

Words *words_open(Error *e)
{
    Words *w = calloc(1, sizeof *w);
    if (!w) error_set(e, ERROR_MEMORY, "no memory for words");
    return w;
}

void words_close(Words *w)
{
    if (!w) return;
    for (int i = 0; i < w->n; i++) free(w->word[i]);
    free(w->word);
    free(w->length);
    free(w->slot);
    free(w);
}

static size_t hash(const char *s, size_t n)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x100000001B3u;
    return (size_t)(h ^ h >> 29);
}

static int32_t *find(const Words *w, int32_t *slot, size_t n_slots, const char *s, size_t n)
{
    size_t i = hash(s, n) & (n_slots - 1);
    while (slot[i] && (w->length[slot[i] - 1] != n || memcmp(w->word[slot[i] - 1], s, n) != 0))
        i = (i + 1) & (n_slots - 1);
    return &slot[i];
}

static bool grow(Words *w)
{
    int room = w->room ? 2 * w->room : 256;
    size_t n_slots = 4 * (size_t)room;
    char **word = realloc(w->word, (size_t)room * sizeof *word);
    if (word) w->word = word;
    size_t *length = realloc(w->length, (size_t)room * sizeof *length);
    if (length) w->length = length;
    int32_t *slot = calloc(n_slots, sizeof *slot);
    if (!word || !length || !slot) {
        free(slot);
        return false;
    }
    for (int i = 0; i < w->n; i++) *find(w, slot, n_slots, w->word[i], w->length[i]) = i + 1;
    free(w->slot);
    w->slot = slot;
    w->n_slots = n_slots;
    w->room = room;
    return true;
}

/* The number of a word, or -1 without memory. */
static int32_t number(Words *w, const char *s, size_t n)
{
    if (w->n == w->room && !grow(w)) return -1;
    int32_t *slot = find(w, w->slot, w->n_slots, s, n);
    if (*slot) return *slot - 1;
    char *copy = malloc(n + 1);
    if (!copy) return -1;
    memcpy(copy, s, n);
    copy[n] = 0;
    w->word[w->n] = copy;
    w->length[w->n++] = n;
    *slot = w->n;
    return w->n - 1;
}

/* The next white space at or after at, its length in *gap; n (gap 0) at the end. */
static size_t next_space(const char *text, size_t at, size_t n, WordsCut how, size_t *gap)
{
    while (at < n) {
        int32_t c;
        int length = utf8_next(text + at, n - at, &c);
        *gap = (size_t)length;
        if (how == WORDS_SPACES ? c == ' ' : utf8_space(c)) return at;
        at += (size_t)length;
    }
    *gap = 0;
    return n;
}

bool words_cut(Words *w, const char *text, WordsCut how, Tokens *out, Error *e)
{
    size_t n = strlen(text), at = 0, gap;
    Tokens t = {malloc((n + 1) * sizeof *t.id), 0};
    bool ok = t.id && n < INT32_MAX;
    do {
        size_t end = ok ? next_space(text, at, n, how, &gap) : n;
        if (ok && (how == WORDS_SPACES || end > at)) {
            t.id[t.n] = number(w, text + at, end - at);
            ok = t.id[t.n++] >= 0;
        }
        if (!ok || !gap) break;
        at = end + gap;
    } while (how == WORDS_SPACES || at < n);
    if (ok && !t.n) ok = (t.id[t.n++] = number(w, "None", 4)) >= 0;
    if (!ok) {
        free(t.id);
        return error_set(e, ERROR_MEMORY, "no memory for the words of a text of %zu bytes", n);
    }
    *out = t;
    return true;
}
