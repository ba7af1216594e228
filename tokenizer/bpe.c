/* What a Bpe is asked besides encoding (bpe_encode.c): its tokens, decoding, streams. */
#include "tokenizer/bpe_tables.h"
#include "tensor/utf8.h"

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
