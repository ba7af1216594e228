/* jieba's dictionaries: dict.txt and the user's. Both count a word's beginnings as known, with frequency 0. */
#include "tokenizer/jieba_parts.h"
#include "data/file.h"
#include "tensor/utf8.h"
#include <math.h>
#include <stdio.h>

enum {
    MAX_BYTES = 64 << 20,
    MAX_NODES = 1 << 24,
    MAX_WORD = 1024 /* bytes; a cut looks so far from each place */
};
static const int64_t MAX_FREQUENCY = (int64_t)1 << 40, MAX_TOTAL = (int64_t)1 << 52;

/* ---- the trie ---- */

static bool no_memory(Error *e) { return error_set(e, ERROR_MEMORY, "no memory for jieba's words"); }

static void put_edge(JiebaEdge *edge, size_t mask, JiebaEdge x)
{
    uint64_t hash = x.key * 0x9E3779B97F4A7C15u;
    size_t slot = (hash ^ hash >> 32) & mask;
    while (edge[slot].key) slot = (slot + 1) & mask;
    edge[slot] = x;
}

/* Room for one more node and edge. */
static bool reserve(Jieba *j, Error *e)
{
    if (j->n_nodes == j->room) {
        if (j->room >= MAX_NODES)
            return error_set(e, ERROR_INPUT, "more than %d beginnings of words", MAX_NODES);
        int32_t room = j->room ? 2 * j->room : 1024;
        JiebaNode *grown = realloc(j->node, (size_t)room * sizeof *grown);
        if (!grown) return no_memory(e);
        j->node = grown;
        j->room = room;
    }
    if (j->edge && 2 * (size_t)j->n_nodes <= j->edge_mask) return true;
    size_t size = j->edge ? 2 * (j->edge_mask + 1) : 4096;
    JiebaEdge *grown = calloc(size, sizeof *grown);
    if (!grown) return no_memory(e);
    for (size_t i = 0; j->edge && i <= j->edge_mask; i++)
        if (j->edge[i].key) put_edge(grown, size - 1, j->edge[i]);
    free(j->edge);
    j->edge = grown;
    j->edge_mask = size - 1;
    return true;
}

/* The word's node, made with its beginnings where there is none; -1 and *e. */
static int32_t enter(Jieba *j, const char *word, size_t n, Error *e)
{
    int32_t node = 0;
    for (size_t at = 0; at < n;) {
        int32_t c, child;
        at += (size_t)utf8_next(word + at, n - at, &c);
        child = jieba_child(j, node, c);
        if (child < 0) {
            if (!reserve(j, e)) return -1;
            child = j->n_nodes++;
            j->node[child] = (JiebaNode){0};
            put_edge(j->edge, j->edge_mask,
                     (JiebaEdge){((uint64_t)(uint32_t)node << 32 | (uint32_t)c) + 1, child});
        }
        node = child;
    }
    return node;
}

/* A word again takes the new frequency; the total counts both. */
static bool add(Jieba *j, const char *word, size_t n, int64_t frequency, Error *e)
{
    int32_t node = enter(j, word, n, e);
    if (node < 0) return false;
    if (j->total + frequency > MAX_TOTAL)
        return error_set(e, ERROR_INPUT, "the frequencies' sum is above %lld", (long long)MAX_TOTAL);
    j->node[node].frequency = frequency;
    j->node[node].log = frequency ? log((double)frequency) : 0;
    j->total += frequency;
    j->log_total = log((double)j->total);
    return true;
}

/* ---- lines ---- */

/* One line of a dictionary. */
typedef struct Line {
    const char *s; /* without the white space around it, that of ASCII */
    size_t n;
} Line;

typedef bool TakeLine(Jieba *j, JiebaCutter *x, Line line, Error *e);

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Each line in turn; a message gets file and line before it. */
static bool each_line(Jieba *j, JiebaCutter *x, const char *path, TakeLine *take, Error *e)
{
    uint8_t *bytes;
    size_t n;
    if (!file_read(path, MAX_BYTES, &bytes, &n, e)) return false;
    const char *s = (const char *)bytes, *end = s + n;
    bool ok = true;
    for (size_t number = 1; ok && s < end; number++) {
        const char *stop = memchr(s, '\n', (size_t)(end - s)), *next = stop ? stop + 1 : end;
        Line line = {s, (size_t)((stop ? stop : end) - s)};
        for (; line.n && is_blank(*line.s); line.n--) line.s++;
        while (line.n && is_blank(line.s[line.n - 1])) line.n--;
        Error inner = {0};
        size_t valid = utf8_valid_prefix(line.s, line.n);
        ok = valid == line.n ? take(j, x, line, &inner)
                             : error_set(&inner, ERROR_INPUT, "byte %zu is not UTF-8",
                                         (size_t)(line.s - (const char *)bytes) + valid);
        if (!ok) error_set(e, inner.code, "%s: line %zu: %s", path, number, inner.msg);
        s = next;
    }
    free(bytes);
    return ok;
}

/* s[0..n), all of it digits. */
static bool read_frequency(const char *s, size_t n, int64_t *out, Error *e)
{
    int64_t value = 0;
    bool digits = n > 0;
    for (size_t i = 0; i < n && value <= MAX_FREQUENCY; i++) {
        digits = digits && is_digit(s[i]);
        value = 10 * value + (s[i] - '0');
        if (!digits) break;
    }
    if (!digits || value > MAX_FREQUENCY)
        return error_set(e, ERROR_INPUT, "expected a frequency, a number up to %lld, found '%.*s'",
                         (long long)MAX_FREQUENCY, n < 40 ? (int)n : 40, s);
    *out = value;
    return true;
}

static bool check_word(size_t n, Error *e)
{
    return n <= MAX_WORD || error_set(e, ERROR_INPUT, "a word of %zu bytes, expected at most %d", n, MAX_WORD);
}

static bool take_entry(Jieba *j, JiebaCutter *x, Line line, Error *e)
{
    (void)x;
    const char *space = line.n ? memchr(line.s, ' ', line.n) : NULL;
    int64_t frequency;
    if (!space) return error_set(e, ERROR_INPUT, "expected 'WORD FREQUENCY [TAG]', found no space");
    const char *from = space + 1;
    size_t rest = line.n - (size_t)(from - line.s);
    const char *stop = memchr(from, ' ', rest);
    return check_word((size_t)(space - line.s), e) &&
           read_frequency(from, stop ? (size_t)(stop - from) : rest, &frequency, e) &&
           add(j, line.s, (size_t)(space - line.s), frequency, e);
}

bool jieba_words_open(Jieba *j, const char *folder, Error *e)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/dict.txt", folder);
    if (!reserve(j, e)) return false;
    j->node[0] = (JiebaNode){0};
    j->n_nodes = 1;
    if (!each_line(j, NULL, path, take_entry, e)) return false;
    return j->total > 0 || error_set(e, ERROR_INPUT, "%s: no word with a frequency", path);
}

/* ---- the user's ---- */

/* Whether s[0..n) is what may follow a word: a space and digits, a space and lower-case letters, both, or
 * nothing. *digits: how many there are. */
static bool is_rest(const char *s, size_t n, size_t *digits)
{
    size_t at = 0, k;
    *digits = 0;
    for (k = 1; k < n && s[0] == ' ' && is_digit(s[k]);) k++;
    if (k > 1) {
        *digits = k - 1;
        at = k;
    }
    if (at == n) return true;
    if (s[at] != ' ' || at + 1 == n) return false;
    for (at++; at < n && s[at] >= 'a' && s[at] <= 'z';) at++;
    return at == n;
}

/* The word is the shortest beginning after which frequency and tag, or nothing, make up the line: it may have
 * spaces in it. */
static bool take_user_word(Jieba *j, JiebaCutter *x, Line line, Error *e)
{
    while (line.n >= 3 && !memcmp(line.s, "\xEF\xBB\xBF", 3)) { /* U+FEFF */
        line.s += 3;
        line.n -= 3;
    }
    if (!line.n) return true;
    size_t n = 1, digits = 0;
    while (n < line.n &&
           (((unsigned char)line.s[n] & 0xC0) == 0x80 || !is_rest(line.s + n, line.n - n, &digits)))
        n++;
    int64_t frequency;
    if (!check_word(n, e)) return false;
    if (n == line.n) digits = 0;
    if (!(digits ? read_frequency(line.s + n + 1, digits, &frequency, e)
                 : jieba_suggest(x, line.s, n, &frequency, e)))
        return false;
    if (!add(j, line.s, n, frequency, e)) return false;
    if (!frequency) {
        int32_t node = enter(j, line.s, n, e);
        j->node[node].forbidden = j->any_forbidden = true;
    }
    return true;
}

bool jieba_add_words(Jieba *j, const char *path, Error *e)
{
    JiebaCutter *x = jieba_cutter_open(j, false, e);
    bool ok = x && each_line(j, x, path, take_user_word, e);
    jieba_cutter_close(x);
    return ok;
}
