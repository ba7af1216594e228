/* Byte-level BPE: encoding.
 *
 * A pre-token of n bytes starts as its n single-byte tokens in a linked list; a heap holds every adjacent pair
 * that has a merge, ordered by (rank, position), so the lowest rank goes first and the leftmost of equals; a
 * merge writes the new token over the left one, unlinks the right one and pushes the at most two new pairs.
 * Entries whose tokens have changed meanwhile are recognised by their ids and dropped. O(n log n): runs of
 * Chinese reach hundreds of bytes.
 *
 * An encoder that is kept remembers what pre-tokens became: reports say the same clauses over and over.
 *
 * Measured with LLaMA-3's vocabulary: MB/s of one thread's processor time, one call a text, start-up left out;
 * two cores of an EPYC; medians of five interleaved runs. Texts: 10.0 MB, half of it phantoms' reports, half
 * English documentation (32,052 texts); and 3.4 MB of random strings, in which nothing comes twice (20,000
 * texts, three runs). The same ids from all. To repeat ours: pcrl-tokenize --time.
 *
 *                            reports, English      random
 *   encoder                    100.2 (92-133)        12.9
 *   encoder, PCRE2's split      60.0 (57-61)
 *   bpe_encode                  44.0 (38-45)         13.5
 *   tokenizers 0.23.3            3.6 (3.4-4.0)        1.8
 *   tiktoken 0.14.0             15.9 (15-18)          8.1 */
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

/* ---- pre-tokens seen before ---- */

enum { MEMORY_SLOTS = 1 << 16, MEMORY_TEXT = 4 << 20, MEMORY_IDS = 1 << 20, REMEMBERED = 512 };

typedef struct Seen {
    uint64_t hash;
    uint32_t text, n; /* where its bytes are, how many; n 0: empty slot */
    uint32_t ids, count;
} Seen;

/* Open addressing, at most half full; emptied as a whole when it or a store is full. */
typedef struct Memory {
    Seen *slot; /* (MEMORY_SLOTS); NULL: nothing is remembered */
    char *text; /* (MEMORY_TEXT) */
    int32_t *ids;
    size_t n, n_text, n_ids;
} Memory;

static bool memory_open(Memory *m, Error *e)
{
    m->slot = calloc(MEMORY_SLOTS, sizeof *m->slot);
    m->text = malloc(MEMORY_TEXT);
    m->ids = malloc(MEMORY_IDS * sizeof *m->ids);
    return (m->slot && m->text && m->ids) || error_set(e, ERROR_MEMORY, "no memory for an encoder");
}

static void memory_close(Memory *m)
{
    free(m->slot);
    free(m->text);
    free(m->ids);
}

/* The slot of a piece, or the empty one where it would stand. */
static Seen *memory_find(const Memory *m, uint64_t hash, const char *s, size_t n)
{
    for (size_t at = hash & (MEMORY_SLOTS - 1);; at = (at + 1) & (MEMORY_SLOTS - 1)) {
        Seen *slot = &m->slot[at];
        if (!slot->n || (slot->hash == hash && slot->n == n && !memcmp(m->text + slot->text, s, n)))
            return slot;
    }
}

static void memory_add(Memory *m, uint64_t hash, const char *s, size_t n, const int32_t *ids, size_t count)
{
    if (2 * m->n >= MEMORY_SLOTS || m->n_text + n > MEMORY_TEXT || m->n_ids + count > MEMORY_IDS) {
        memset(m->slot, 0, MEMORY_SLOTS * sizeof *m->slot);
        m->n = m->n_text = m->n_ids = 0;
    }
    *memory_find(m, hash, s, n) =
        (Seen){hash, (uint32_t)m->n_text, (uint32_t)n, (uint32_t)m->n_ids, (uint32_t)count};
    memcpy(m->text + m->n_text, s, n);
    memcpy(m->ids + m->n_ids, ids, count * sizeof *ids);
    m->n++;
    m->n_text += n;
    m->n_ids += count;
}

/* ---- texts ---- */

struct BpeEncoder {
    const Bpe *b;
    SplitWalk *walk;
    Work work;
    Memory memory;
    int32_t *out; /* (room) */
    size_t room;
};

/* Merges one piece of n >= 2 bytes to out (room for n). Returns the number of ids, or -1. */
static int merge_piece(const Bpe *b, Work *w, const char *s, size_t n, int32_t *out, Error *e)
{
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

/* Encodes one pre-token of n >= 1 bytes to out (room for n). Returns the number of ids, or -1. */
static int encode_piece(BpeEncoder *x, const char *s, size_t n, int32_t *out, Error *e)
{
    const Bpe *b = x->b;
    if (n == 1) {
        *out = b->byte_id[(unsigned char)*s];
        return 1;
    }
    uint64_t hash = bpe_hash_bytes(s, n);
    if (b->ignore_merges && n <= b->longest) {
        int32_t whole = b->by_bytes[bpe_slot_bytes(b, hash, s, n)];
        if (whole >= 0) {
            *out = whole;
            return 1;
        }
    }
    bool remember = x->memory.slot && n <= REMEMBERED;
    if (remember) {
        const Seen *seen = memory_find(&x->memory, hash, s, n);
        memcpy(out, x->memory.ids + seen->ids, seen->count * sizeof *out);
        if (seen->n) return (int)seen->count;
    }
    int count = merge_piece(b, &x->work, s, n, out, e);
    if (remember && count > 0) memory_add(&x->memory, hash, s, n, out, (size_t)count);
    return count;
}

/* Plain text without specials: split, then BPE on each piece. Appends to out, which has room for n. */
static bool encode_plain(BpeEncoder *x, const char *text, size_t n, int *count, Error *e)
{
    size_t start, end;
    int more;
    split_again(x->walk, text, n);
    while ((more = split_next(x->walk, &start, &end, e)) > 0) {
        int k = encode_piece(x, text + start, end - start, x->out + *count, e);
        if (k < 0) return false;
        *count += k;
    }
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

static bool encoder_reserve(BpeEncoder *x, size_t n, Error *e)
{
    if (n <= x->room) return true;
    free(x->out);
    x->out = malloc(n * sizeof *x->out);
    x->room = x->out ? n : 0;
    return x->out || error_set(e, ERROR_MEMORY, "no memory to encode %zu bytes", n);
}

static bool encode(BpeEncoder *x, const char *text, size_t n, bool specials, int *count, Error *e)
{
    const Bpe *b = x->b;
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
    if (!encoder_reserve(x, n + 1, e)) return false;
    size_t plain = 0; /* text[plain..at) waits to be encoded */
    *count = 0;
    for (size_t at = 0; specials && at < n;) {
        int32_t id = special_at(b, text + at, n - at);
        if (id < 0) {
            at++;
            continue;
        }
        if (!encode_plain(x, text + plain, at - plain, count, e)) return false;
        x->out[(*count)++] = id;
        plain = at += b->offset[id + 1] - b->offset[id];
    }
    return encode_plain(x, text + plain, n - plain, count, e);
}

static void encoder_clear(BpeEncoder *x)
{
    split_end(x->walk);
    free(x->work.id);
    free(x->work.heap);
    free(x->out);
    memory_close(&x->memory);
}

BpeEncoder *bpe_encoder_open(const Bpe *b, Error *e)
{
    BpeEncoder *x = calloc(1, sizeof *x);
    if (!x) {
        error_set(e, ERROR_MEMORY, "no memory for an encoder");
        return NULL;
    }
    x->b = b;
    x->walk = split_begin(b->split, "", 0, e);
    if (x->walk && memory_open(&x->memory, e)) return x;
    bpe_encoder_close(x);
    return NULL;
}

void bpe_encoder_close(BpeEncoder *x)
{
    if (!x) return;
    encoder_clear(x);
    free(x);
}

bool bpe_encoder_run(BpeEncoder *x, const char *text, size_t n, bool specials, const int32_t **ids, int *count,
                     Error *e)
{
    if (!encode(x, text, n, specials, count, e)) return false;
    *ids = x->out;
    return true;
}

bool bpe_encode(const Bpe *b, const char *text, size_t n, bool specials, int32_t **ids, int *count, Error *e)
{
    BpeEncoder x = {.b = b, .walk = split_begin(b->split, "", 0, e)};
    bool ok = x.walk && encode(&x, text, n, specials, count, e);
    if (ok) {
        *ids = x.out;
        x.out = NULL;
    }
    encoder_clear(&x);
    return ok;
}
