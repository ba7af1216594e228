/* Opening a tokenizer of whatever form, and the tables that all forms fill. */
#include "data/gguf.h"
#include "tokenizer/bpe_tables.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static bool lay_out(Bpe *b, const BpeEntry *entries, size_t n, bool alphabet, const char *path, Error *e)
{
    Alphabet table;
    alphabet_fill(&table);
    size_t total = 0;
    for (size_t i = 0; i < n; i++) total += entries[i].length;
    b->bytes = malloc(total + 1);
    b->offset = malloc((n + 1) * sizeof *b->offset);
    b->special = calloc(n + 1, 1);
    if (!b->bytes || !b->offset || !b->special)
        return error_set(e, ERROR_MEMORY, "%s: no memory for %zu tokens", path, n);
    size_t at = 0;
    for (int i = 0; i < b->n_ids; i++) {
        size_t length = entries[i].length;
        if (!entries[i].text) return error_set(e, ERROR_INPUT, "%s: no token has id %d", path, i);
        if (!length) return error_set(e, ERROR_INPUT, "%s: token %d is empty", path, i);
        if (entries[i].special || !alphabet)
            memcpy(b->bytes + at, entries[i].text, length);
        else if (!alphabet_read(&table, entries[i].text, length, b->bytes + at, &length))
            return error_set(e, ERROR_INPUT, "%s: token %d '%.*s' is not written in the byte-level alphabet",
                             path, i, (int)(entries[i].length < 60 ? entries[i].length : 60), entries[i].text);
        b->special[i] = entries[i].special;
        b->n_specials += entries[i].special;
        b->offset[i] = at;
        at += length;
        if (length > b->longest) b->longest = length;
    }
    b->offset[b->n_ids] = at;
    return b->n_specials <= BPE_MOST_SPECIALS ||
           error_set(e, ERROR_INPUT, "%s: %d special tokens, expected at most %d", path, b->n_specials,
                     BPE_MOST_SPECIALS);
}

/* A power of two at least twice n. */
static size_t table_size(size_t n)
{
    size_t size = 16;
    while (size < 2 * n) size *= 2;
    return size;
}

/* Insertion into the first n, longest name first. */
static void insert_special(Bpe *b, int n, int32_t id)
{
    size_t length = b->offset[id + 1] - b->offset[id];
    for (; n; n--) {
        int32_t before = b->specials[n - 1];
        if (b->offset[before + 1] - b->offset[before] >= length) break;
        b->specials[n] = before;
    }
    b->specials[n] = id;
}

static bool index_tokens(Bpe *b, const char *path, Error *e)
{
    size_t size = table_size((size_t)b->n_ids);
    b->by_bytes = malloc(size * sizeof *b->by_bytes);
    b->specials = calloc((size_t)b->n_specials + 1, sizeof *b->specials);
    if (!b->by_bytes || !b->specials) return error_set(e, ERROR_MEMORY, "%s: no memory for tokens", path);
    memset(b->by_bytes, -1, size * sizeof *b->by_bytes);
    b->by_bytes_mask = size - 1;
    int n_specials = 0;
    for (int32_t id = 0; id < b->n_ids; id++) {
        if (b->special[id]) {
            insert_special(b, n_specials++, id);
            continue;
        }
        const char *s = b->bytes + b->offset[id];
        size_t n = b->offset[id + 1] - b->offset[id], slot = bpe_slot_bytes(b, bpe_hash_bytes(s, n), s, n);
        if (b->by_bytes[slot] >= 0)
            return error_set(e, ERROR_INPUT, "%s: tokens %d and %d are the same bytes", path, b->by_bytes[slot],
                             id);
        b->by_bytes[slot] = id;
    }
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;
        b->byte_id[i] = bpe_find_bytes(b, &byte, 1);
        if (b->byte_id[i] < 0 && !b->gaps)
            return error_set(e, ERROR_INPUT, "%s: no token for the single byte 0x%02X", path, i);
    }
    return true;
}

bool bpe_set_tokens(Bpe *b, const BpeEntry *entries, size_t n, bool alphabet, const char *path, Error *e)
{
    if (n < 256 || n > INT32_MAX / 2)
        return error_set(e, ERROR_INPUT, "%s: expected at least 256 tokens, found %zu", path, n);
    b->n_ids = (int)n;
    return lay_out(b, entries, n, alphabet, path, e) && index_tokens(b, path, e);
}

bool bpe_begin_merges(Bpe *b, size_t n, const char *path, Error *e)
{
    if (n > INT32_MAX / 2)
        return error_set(e, ERROR_INPUT, "%s: %zu merges, expected at most %d", path, n, INT32_MAX / 2);
    size_t size = table_size(n);
    b->merges = malloc(size * sizeof *b->merges);
    if (!b->merges) return error_set(e, ERROR_MEMORY, "%s: no memory for %zu merges", path, n);
    memset(b->merges, -1, size * sizeof *b->merges);
    b->merges_mask = size - 1;
    return true;
}

void bpe_add_merge(Bpe *b, int32_t left, int32_t right, int32_t rank, int32_t id)
{
    Merge *m = bpe_find_merge(b, left, right);
    if (m->rank < 0) *m = (Merge){(uint64_t)(uint32_t)left << 32 | (uint32_t)right, rank, id};
}

bool bpe_read_merge(Bpe *b, const Alphabet *a, const char *const half[2], const size_t length[2], size_t i,
                    const char *path, Error *e)
{
    int32_t id[3] = {-1, -1, -1};
    size_t raw[2] = {0, 0};
    char *joined = malloc(length[0] + length[1] + 1);
    if (!joined) return error_set(e, ERROR_MEMORY, "%s: no memory for merge %zu", path, i);
    for (int h = 0; h < 2; h++) {
        char *to = joined + (h ? raw[0] : 0);
        if (!alphabet_read(a, half[h], length[h], to, &raw[h]) || !raw[h]) break;
        id[h] = bpe_find_bytes(b, to, raw[h]);
        if (id[h] < 0) break;
    }
    if (id[0] >= 0 && id[1] >= 0) id[2] = bpe_find_bytes(b, joined, raw[0] + raw[1]);
    free(joined);
    if (id[2] < 0)
        return error_set(e, ERROR_INPUT,
                         "%s: merge %zu: expected two tokens of the vocabulary that make a third", path, i);
    bpe_add_merge(b, id[0], id[1], (int32_t)i, id[2]);
    return true;
}

/* The form, by the file's first bytes: GGUF; JSON begins with '{' (or what a value of another kind begins
 * with). */
static bool read_any(Bpe *b, const char *path, Error *e)
{
    char head[64] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof head - 1, 0);
    if (n < 0) error_set(e, ERROR_IO, "%s: cannot %s: %s", path, fd < 0 ? "open" : "read", strerror(errno));
    if (fd >= 0) close(fd);
    if (n < 0) return false;
    size_t at = strspn(head, " \t\r\n");
    if (n >= 4 && gguf_is(head)) return bpe_read_gguf(b, path, e);
    if (!n || strchr("{[\"", head[at])) return bpe_read_json(b, path, e);
    return bpe_read_tiktoken(b, path, e);
}

Bpe *bpe_open(const char *path, Error *e)
{
    Bpe *b = calloc(1, sizeof *b);
    if (!b) {
        error_set(e, ERROR_MEMORY, "%s: no memory", path);
        return NULL;
    }
    if (read_any(b, path, e)) return b;
    bpe_close(b);
    return NULL;
}

void bpe_close(Bpe *b)
{
    if (!b) return;
    split_close(b->split);
    free(b->bytes);
    free(b->offset);
    free(b->special);
    free(b->by_bytes);
    free(b->merges);
    free(b->specials);
    free(b);
}
