/* Byte-level BPE: encode and decode.
 *
 * Encoding a pre-token of n bytes: start from the n single-byte tokens in a linked list; a heap holds every
 * adjacent pair that has a merge, ordered by (rank, position), so the lowest rank goes first and the leftmost
 * of equals; a merge writes the new token over the left one, unlinks the right one and pushes the at most two
 * new pairs. Entries whose tokens have changed meanwhile are recognised by their ids and dropped. O(n log n):
 * runs of Chinese reach hundreds of bytes. */
#include "tokenizer/bpe_tables.h"
#include "tensor/utf8.h"
#include <limits.h>

typedef struct Pair {
    int32_t rank, at, left, right, id;
} Pair;

typedef struct Work {
    int32_t *id, *previous, *next; /* (room) the linked list; id -1: merged into its left neighbour */
    Pair *heap;                    /* (3 room): n-1 pairs at first, two more for each merge */
    size_t room, n_heap;
} Work;

static bool work_reserve(Work *w, size_t n, Error *e)
{
    if (n <= w->room) return true;
    free(w->id);
    free(w->heap);
    w->id = malloc(n * 3 * sizeof *w->id);
    w->heap = malloc(n * 3 * sizeof *w->heap);
    w->room = w->id && w->heap ? n : 0;
    if (!w->room) return error_set(e, ERROR_MEMORY, "no memory to encode a piece of %zu bytes", n);
    w->previous = w->id + n;
    w->next = w->id + 2 * n;
    return true;
}

static bool before(const Pair *a, const Pair *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(Work *w, const Bpe *b, int32_t at)
{
    int32_t right_at = w->next[at];
    if (right_at < 0) return;
    const Merge *m = bpe_find_merge(b, w->id[at], w->id[right_at]);
    if (m->rank < 0) return;
    Pair p = {m->rank, at, w->id[at], w->id[right_at], m->id};
    size_t i = w->n_heap++;
    for (; i && before(&p, &w->heap[(i - 1) / 2]); i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = p;
}

static Pair heap_pop(Work *w)
{
    Pair top = w->heap[0], last = w->heap[--w->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->n_heap) break;
        if (child + 1 < w->n_heap && before(&w->heap[child + 1], &w->heap[child])) child++;
        if (!before(&w->heap[child], &last)) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

/* Encodes one pre-token of n >= 1 bytes to out (room for n). Returns the number of ids, or -1. */
static int encode_piece(const Bpe *b, Work *w, const char *s, size_t n, int32_t *out, Error *e)
{
    if (n == 1 || b->ignore_merges) {
        int32_t whole = n == 1 ? b->byte_id[(unsigned char)*s] : bpe_find_bytes(b, s, n);
        if (whole >= 0) {
            *out = whole;
            return 1;
        }
    }
    if (!work_reserve(w, n, e)) return -1;
    for (size_t i = 0; i < n; i++) {
        w->id[i] = b->byte_id[(unsigned char)s[i]];
        w->previous[i] = (int32_t)i - 1;
        w->next[i] = i + 1 < n ? (int32_t)i + 1 : -1;
    }
    w->n_heap = 0;
    for (size_t i = 0; i + 1 < n; i++) heap_push(w, b, (int32_t)i);
    while (w->n_heap) {
        Pair p = heap_pop(w);
        int32_t right = w->id[p.at] == p.left ? w->next[p.at] : -1;
        if (right < 0 || w->id[right] != p.right) continue;
        w->id[p.at] = p.id;
        w->id[right] = -1;
        w->next[p.at] = w->next[right];
        if (w->next[right] >= 0) w->previous[w->next[right]] = p.at;
        if (w->previous[p.at] >= 0) heap_push(w, b, w->previous[p.at]);
        heap_push(w, b, p.at);
    }
    int count = 0;
    for (int32_t at = 0; at >= 0; at = w->next[at]) out[count++] = w->id[at];
    return count;
}

/* Plain text without specials: split, then BPE on each piece. Appends to out, which has room for n. */
static bool encode_plain(const Bpe *b, Work *w, const char *text, size_t n, int32_t *out, int *count, Error *e)
{
    if (!n) return true;
    SplitWalk *walk = split_begin(b->split, text, n, e);
    if (!walk) return false;
    size_t start, end;
    int more;
    while ((more = split_next(walk, &start, &end, e)) > 0) {
        int k = encode_piece(b, w, text + start, end - start, out + *count, e);
        if (k < 0) more = -1;
        if (more < 0) break;
        *count += k;
    }
    split_end(walk);
    return more == 0;
}

/* The special token that stands at s, or -1. */
static int32_t special_at(const Bpe *b, const char *s, size_t n)
{
    for (int i = 0; i < b->n_specials; i++) {
        int32_t id = b->specials[i];
        size_t length = b->offset[id + 1] - b->offset[id];
        if (length <= n && !memcmp(b->bytes + b->offset[id], s, length)) return id;
    }
    return -1;
}

bool bpe_encode(const Bpe *b, const char *text, size_t n, bool specials, int32_t **ids, int *count, Error *e)
{
    size_t valid = utf8_valid_prefix(text, n);
    if (valid < n)
        return error_set(e, ERROR_INPUT, "text to encode: byte %zu (0x%02X) is not UTF-8", valid,
                         (unsigned)(unsigned char)text[valid]);
    for (size_t i = 0; b->gaps && i < n; i++)
        if (b->byte_id[(unsigned char)text[i]] < 0)
            return error_set(e, ERROR_INPUT,
                             "text to encode: byte %zu (0x%02X) has no token in this vocabulary", i,
                             (unsigned)(unsigned char)text[i]);
    if (n > INT_MAX / 4)
        return error_set(e, ERROR_INPUT, "text to encode: %zu bytes, at most %d", n, INT_MAX / 4);
    int32_t *out = malloc((n + 1) * sizeof *out);
    if (!out) return error_set(e, ERROR_MEMORY, "no memory to encode %zu bytes", n);
    Work w = {0};
    int k = 0;
    size_t plain = 0; /* text[plain..at) waits to be encoded */
    bool ok = true;
    for (size_t at = 0; ok && specials && at < n;) {
        int32_t id = special_at(b, text + at, n - at);
        if (id < 0) {
            at++;
            continue;
        }
        ok = encode_plain(b, &w, text + plain, at - plain, out, &k, e);
        out[k++] = id;
        plain = at += b->offset[id + 1] - b->offset[id];
    }
    ok = ok && encode_plain(b, &w, text + plain, n - plain, out, &k, e);
    free(w.id);
    free(w.heap);
    if (!ok) {
        free(out);
        return false;
    }
    *ids = out;
    *count = k;
    return true;
}

int bpe_vocab_size(const Bpe *b) { return b->n_ids; }

int32_t bpe_special(const Bpe *b, const char *name)
{
    size_t n = strlen(name);
    for (int i = 0; i < b->n_specials; i++) {
        int32_t id = b->specials[i];
        if (b->offset[id + 1] - b->offset[id] == n && !memcmp(b->bytes + b->offset[id], name, n)) return id;
    }
    return -1;
}

bool bpe_is_special(const Bpe *b, int32_t id) { return id >= 0 && id < b->n_ids && b->special[id]; }

const char *bpe_token(const Bpe *b, int32_t id, size_t *n)
{
    *n = 0;
    if (id < 0 || id >= b->n_ids) return NULL;
    *n = b->offset[id + 1] - b->offset[id];
    return b->bytes + b->offset[id];
}

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* Copies n bytes to out as valid UTF-8, fragments replaced; stops before an unfinished character at the end.
 * Returns the bytes read, *written the bytes written (at most 3 for each byte read). */
static size_t mend(const char *s, size_t n, char *out, size_t *written)
{
    size_t at = 0, o = 0;
    while (at < n) {
        int32_t c;
        int length = utf8_next(s + at, n - at, &c);
        if (c == UTF8_PARTIAL) break;
        const char *from = c == UTF8_INVALID ? REPLACEMENT : s + at;
        size_t k = c == UTF8_INVALID ? 3 : (size_t)length;
        memcpy(out + o, from, k);
        o += k;
        at += (size_t)length;
    }
    *written = o;
    return at;
}

size_t bpe_stream_room(const Bpe *b) { return 3 * (b->longest + 4) + 1; }

size_t bpe_stream(const Bpe *b, BpeStream *s, int32_t id, char *out, size_t size)
{
    size_t n, written = 0;
    const char *token = bpe_token(b, id, &n);
    if (size < bpe_stream_room(b))
        die("bpe_stream: room for %zu bytes, expected %zu", size, bpe_stream_room(b));
    out[0] = 0;
    if (!token || b->special[id]) return 0;
    /* The held prefix and the token side by side at the end of out; mend writes from its start. Mending writes
     * at most 3 bytes for each byte read, so it cannot overtake what it reads: 2 * total bytes lie between. */
    size_t total = (size_t)s->n_held + n;
    char *joined = out + size - total;
    memmove(joined, s->held, (size_t)s->n_held);
    memcpy(joined + s->n_held, token, n);
    size_t read = mend(joined, total, out, &written);
    s->n_held = (int)(total - read);
    memcpy(s->held, joined + read, total - read);
    out[written] = 0;
    return written;
}

size_t bpe_stream_end(BpeStream *s, char *out, size_t size)
{
    size_t n = s->n_held ? 3 : 0;
    if (size < n + 1) die("bpe_stream_end: room for %zu bytes, expected %zu", size, n + 1);
    memcpy(out, REPLACEMENT, n);
    out[n] = 0;
    s->n_held = 0;
    return n;
}

bool bpe_decode(const Bpe *b, const int32_t *ids, int count, bool specials, char **text, size_t *n, Error *e)
{
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= b->n_ids)
            return error_set(e, ERROR_INPUT, "ids to decode: number %d is %d, expected 0..%d", i, ids[i],
                             b->n_ids - 1);
        total += b->offset[ids[i] + 1] - b->offset[ids[i]];
    }
    char *raw = calloc(total + 1, 1), *out = malloc(3 * total + 4);
    if (!raw || !out) {
        free(raw);
        free(out);
        return error_set(e, ERROR_MEMORY, "no memory to decode %d ids", count);
    }
    size_t k = 0, written;
    for (int i = 0; i < count; i++) {
        size_t length;
        const char *token = bpe_token(b, ids[i], &length);
        if (b->special[ids[i]] && !specials) continue;
        memcpy(raw + k, token, length);
        k += length;
    }
    if (mend(raw, k, out, &written) < k) { /* it ends inside a character */
        memcpy(out + written, REPLACEMENT, 3);
        written += 3;
    }
    out[written] = 0;
    free(raw);
    *text = out;
    if (n) *n = written;
    return true;
}
