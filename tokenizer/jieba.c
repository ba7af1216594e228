/* Cutting. A text falls into stretches of what may make words (Han, ASCII letters and digits, + # & . _ % -)
 * and the rest; the rest goes character by character (CR LF together). Sums and ties are in the order of the
 * reference, so that equal probabilities are decided alike: of two paths from a character the one with the
 * longer first word.
 *
 * Measured on 10.0 MB of text, half of it phantoms' reports, half English documentation (32,052 texts): MB/s of
 * one thread's processor time, one call a text, start-up left out (0.13 s; the reference's 0.7 s with its
 * cache, 1.4 s without); two cores of an EPYC; medians of five interleaved runs (the reference without the
 * model: one run). The same words from both. To repeat ours: pcrl-tokenize --tokenizer jieba --time.
 *
 *                    with the model     without
 *   ours             86.9 (85-90)       101.3 (97-103)
 *   python's jieba    1.09 (1.04-1.10)    1.32 */
#include "tokenizer/jieba_parts.h"
#include "tensor/utf8.h"
#include <math.h>

static bool is_latin(int32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* What may be part of a word. */
static bool is_word_part(int32_t c)
{
    return jieba_is_han(c) || is_latin(c) || (c > 0 && c < 128 && strchr("+#&._%-", c));
}

/* ---- buffers ---- */

JiebaCutter *jieba_cutter_open(const Jieba *j, bool hmm, Error *e)
{
    JiebaCutter *x = calloc(1, sizeof *x);
    if (!x) {
        error_set(e, ERROR_MEMORY, "no memory to cut words");
        return NULL;
    }
    x->j = j;
    x->hmm = hmm;
    return x;
}

static void free_stretch(JiebaCutter *x)
{
    free(x->text.c);
    free(x->text.at);
    free(x->route);
    free(x->to);
    free(x->back);
    x->text = (JiebaText){0};
    x->route = NULL;
    x->to = NULL;
    x->back = NULL;
    x->room = 0;
}

void jieba_cutter_close(JiebaCutter *x)
{
    if (!x) return;
    free_stretch(x);
    free(x->end);
    free(x);
}

/* Room for a stretch of n characters. */
static bool reserve_stretch(JiebaCutter *x, size_t n, Error *e)
{
    if (n <= x->room) return true;
    size_t room = n + n / 2 + 64;
    free_stretch(x);
    x->text.c = malloc(room * sizeof *x->text.c);
    x->text.at = malloc((room + 1) * sizeof *x->text.at);
    x->route = malloc((room + 1) * sizeof *x->route);
    x->to = malloc(room * sizeof *x->to);
    x->back = malloc(room * sizeof *x->back);
    if (!x->text.c || !x->text.at || !x->route || !x->to || !x->back)
        return error_set(e, ERROR_MEMORY, "no memory to cut %zu characters", n);
    x->room = room;
    return true;
}

static bool reserve_ends(JiebaCutter *x, size_t n, Error *e)
{
    if (n <= x->end_room) return true;
    free(x->end);
    x->end = malloc(n * sizeof *x->end);
    x->end_room = x->end ? n : 0;
    return x->end || error_set(e, ERROR_MEMORY, "no memory to cut %zu bytes", n);
}

/* ---- one stretch ---- */

/* The best path from every character on, from the right. A character that begins no word of the dictionary is a
 * word of frequency 1. */
static void find_route(JiebaCutter *x)
{
    const Jieba *j = x->j;
    const int32_t *c = x->text.c;
    size_t n = x->text.n;
    x->route[n] = 0;
    for (size_t i = n; i-- > 0;) {
        int32_t node = 0;
        x->to[i] = 0;
        for (size_t k = i; k < n && (node = jieba_child(j, node, c[k])) >= 0; k++) {
            if (!j->node[node].frequency) continue;
            double p = j->node[node].log - j->log_total + x->route[k + 1];
            if (x->to[i] && p < x->route[i]) continue;
            x->route[i] = p;
            x->to[i] = (uint32_t)k + 1;
        }
        if (x->to[i]) continue;
        x->route[i] = 0 - j->log_total + x->route[i + 1];
        x->to[i] = (uint32_t)i + 1;
    }
}

/* Without the model Latin letters and digits that stand alone join. */
static void put_route(JiebaCutter *x)
{
    size_t n = x->text.n;
    for (size_t i = 0; i < n; i = x->to[i]) {
        bool joins = x->to[i] == i + 1 && is_latin(x->text.c[i]) && i + 1 < n && x->to[i + 1] == i + 2 &&
                     is_latin(x->text.c[i + 1]);
        if (!joins) jieba_put(x, x->to[i]);
    }
}

/* From i, a Latin letter or digit: letters and digits, ".digits", "%". */
static size_t latin_end(const int32_t *c, size_t i, size_t to)
{
    while (i < to && is_latin(c[i])) i++;
    size_t k = i + 1;
    while (k < to && c[k] >= '0' && c[k] <= '9') k++;
    if (i < to && c[i] == '.' && k > i + 1) i = k;
    return i + (i < to && c[i] == '%');
}

/* At least two characters that are words of one: runs of Han for the model, numbers and Latin words, and what
 * is between. */
static void put_singles(JiebaCutter *x, size_t from, size_t to)
{
    const int32_t *c = x->text.c;
    int32_t node = jieba_find(x->j, c + from, to - from);
    if (node >= 0 && x->j->node[node].frequency) {
        while (from < to) jieba_put(x, ++from);
        return;
    }
    while (from < to) {
        size_t end = from;
        if (jieba_is_han(c[from])) {
            while (end < to && jieba_is_han(c[end])) end++;
            jieba_model_cut(x, from, end);
        } else {
            if (is_latin(c[from]))
                end = latin_end(c, from, to);
            else
                while (end < to && !jieba_is_han(c[end]) && !is_latin(c[end])) end++;
            jieba_put(x, end);
        }
        from = end;
    }
}

static void put_route_and_model(JiebaCutter *x)
{
    size_t n = x->text.n, from = 0; /* from..i-1 are words of one character each */
    for (size_t i = 0; i <= n; i = x->to[i]) {
        if (i < n && x->to[i] == i + 1) continue;
        if (i == from + 1)
            jieba_put(x, i);
        else if (i > from)
            put_singles(x, from, i);
        if (i == n) break;
        from = x->to[i];
        jieba_put(x, from);
    }
}

/* ---- a text ---- */

/* The stretch that begins at `at`: its characters and, in *end, where it ends. False: no memory. */
static bool take_stretch(JiebaCutter *x, const char *text, size_t n, size_t at, size_t *end, Error *e)
{
    int32_t c;
    size_t stop = at, length;
    for (; stop < n; stop += length) {
        length = (size_t)utf8_next(text + stop, n - stop, &c);
        if (!is_word_part(c)) break;
    }
    *end = stop;
    if (stop == at) return true;
    if (!reserve_stretch(x, stop - at, e)) return false;
    x->text.n = 0;
    for (size_t i = at; i < stop; x->text.n++) {
        x->text.at[x->text.n] = (uint32_t)i;
        i += (size_t)utf8_next(text + i, stop - i, &x->text.c[x->text.n]);
    }
    x->text.at[x->text.n] = (uint32_t)stop;
    return true;
}

bool jieba_cut(JiebaCutter *x, const char *text, size_t n, const uint32_t **ends, int *count, Error *e)
{
    size_t valid = utf8_valid_prefix(text, n);
    if (valid < n)
        return error_set(e, ERROR_INPUT, "text to cut: byte %zu (0x%02X) is not UTF-8", valid,
                         (unsigned)(unsigned char)text[valid]);
    if (n > INT32_MAX) return error_set(e, ERROR_INPUT, "text to cut: %zu bytes, at most %d", n, INT32_MAX);
    if (!reserve_ends(x, n + 1, e)) return false;
    x->n_end = 0;
    for (size_t at = 0; at < n;) {
        size_t end;
        if (!take_stretch(x, text, n, at, &end, e)) return false;
        if (end == at) {
            int32_t c;
            at += (size_t)utf8_next(text + at, n - at, &c);
            at += c == '\r' && at < n && text[at] == '\n';
            x->end[x->n_end++] = (uint32_t)at;
            continue;
        }
        find_route(x);
        if (x->hmm)
            put_route_and_model(x);
        else
            put_route(x);
        at = end;
    }
    *ends = x->end;
    *count = (int)x->n_end;
    return true;
}

/* The frequency of text[from..to), or 1 where no dictionary has it. */
static int64_t frequency_of(const Jieba *j, const char *text, size_t from, size_t to)
{
    int32_t node = 0;
    for (int32_t c; from < to && node >= 0; node = jieba_child(j, node, c))
        from += (size_t)utf8_next(text + from, to - from, &c);
    return node < 0 ? 1 : j->node[node].frequency;
}

bool jieba_suggest(JiebaCutter *x, const char *word, size_t n, int64_t *frequency, Error *e)
{
    const uint32_t *ends;
    int count;
    double p = 1, total = (double)x->j->total;
    if (!jieba_cut(x, word, n, &ends, &count, e)) return false;
    for (int i = 0; i < count; i++) p *= (double)frequency_of(x->j, word, i ? ends[i - 1] : 0, ends[i]) / total;
    int64_t least = (int64_t)(p * total) + 1, own = frequency_of(x->j, word, 0, n);
    *frequency = least > own ? least : own;
    return true;
}

Jieba *jieba_open(const char *folder, Error *e)
{
    Jieba *j = calloc(1, sizeof *j);
    if (!j) {
        error_set(e, ERROR_MEMORY, "%s: no memory for jieba's words", folder);
        return NULL;
    }
    if (jieba_words_open(j, folder, e) && jieba_model_open(&j->model, folder, e)) return j;
    jieba_close(j);
    return NULL;
}

void jieba_close(Jieba *j)
{
    if (!j) return;
    free(j->node);
    free(j->edge);
    jieba_model_close(&j->model);
    free(j);
}
