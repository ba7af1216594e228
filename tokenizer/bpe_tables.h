/* What a Bpe holds; shared by bpe.c, bpe_encode.c, bpe_file.c and the readers of the forms only. */
#ifndef TOKENIZER_BPE_TABLES_H
#define TOKENIZER_BPE_TABLES_H
#include "tokenizer/alphabet.h"
#include "tokenizer/bpe.h"
#include "tokenizer/split.h"
#include <stdlib.h>
#include <string.h>

typedef struct Merge {
    uint64_t pair; /* left id << 32 | right id */
    int32_t rank;  /* place in the list of merges; -1: empty slot */
    int32_t id;    /* what the pair becomes */
} Merge;

struct Bpe {
    int n_ids;
    char *bytes;          /* all tokens, one after the other */
    size_t *offset;       /* (n_ids+1): token i is bytes[offset[i] .. offset[i+1]) */
    uint8_t *special;     /* (n_ids) */
    int32_t byte_id[256]; /* -1: none */
    bool gaps;            /* bytes may be without a token; text that has one is refused. Set by a reader */
    int32_t *by_bytes;    /* open addressing over the ordinary tokens' bytes; -1: empty */
    size_t by_bytes_mask;
    Merge *merges; /* open addressing over pairs */
    size_t merges_mask;
    int32_t *specials; /* (n_specials), longest name first, so that the longest match wins */
    int n_specials;
    bool ignore_merges; /* a piece that is a token is taken whole */
    size_t longest;     /* bytes of the longest token */
    Split *split;
};

static inline uint64_t bpe_hash_word(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

/* Eight bytes at a time. */
static inline uint64_t bpe_hash_bytes(const char *s, size_t n)
{
    uint64_t h = n, word;
    for (; n > 8; s += 8, n -= 8) {
        memcpy(&word, s, 8);
        h = bpe_hash_word(h, word);
    }
    word = 0;
    for (size_t i = 0; i < n; i++) word = word << 8 | (unsigned char)s[i];
    return bpe_hash_word(h, word);
}

static inline uint64_t bpe_hash_pair(uint64_t pair)
{
    pair *= 0x9E3779B97F4A7C15u;
    return pair ^ pair >> 32;
}

/* The slot of the ordinary token of these bytes, or the empty one where it would stand. */
static inline size_t bpe_slot_bytes(const Bpe *b, uint64_t hash, const char *s, size_t n)
{
    for (size_t slot = hash & b->by_bytes_mask;; slot = (slot + 1) & b->by_bytes_mask) {
        int32_t id = b->by_bytes[slot];
        if (id < 0) return slot;
        size_t length = b->offset[id + 1] - b->offset[id];
        if (length == n && !memcmp(b->bytes + b->offset[id], s, n)) return slot;
    }
}

/* The ordinary token of these bytes, or -1. */
static inline int32_t bpe_find_bytes(const Bpe *b, const char *s, size_t n)
{
    return b->by_bytes[bpe_slot_bytes(b, bpe_hash_bytes(s, n), s, n)];
}

/* The slot of a pair: its merge, or the empty slot (rank -1) where it would stand. */
static inline Merge *bpe_find_merge(const Bpe *b, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    for (size_t slot = bpe_hash_pair(pair) & b->merges_mask;; slot = (slot + 1) & b->merges_mask) {
        Merge *m = &b->merges[slot];
        if (m->rank < 0 || m->pair == pair) return m;
    }
}

/* ---- what the readers of the forms share (bpe_file.c). Each fills a zeroed Bpe, split, tokens and merges.
 * ---- */

enum { BPE_MOST_SPECIALS = 4096 }; /* they are looked for one by one */

/* One token while a file is read. */
typedef struct BpeEntry {
    const char *text; /* NULL: no token has this id */
    size_t length;
    bool special;
} BpeEntry;

/* Entry i is id i. alphabet: ordinary ones are written in the byte-level alphabet; else, as special ones, as
 * they are. Refused: fewer than 256, more than
 * BPE_MOST_SPECIALS special ones, holes, empty ones, two of the same bytes, a byte without a token unless
 * b->gaps. */
bool bpe_set_tokens(Bpe *b, const BpeEntry *entries, size_t n, bool alphabet, const char *path, Error *e);
/* Room for n merges; after bpe_set_tokens. */
bool bpe_begin_merges(Bpe *b, size_t n, const char *path, Error *e);
/* A pair that is there already keeps its rank. */
void bpe_add_merge(Bpe *b, int32_t left, int32_t right, int32_t rank, int32_t id);
/* Merge i of a list, its halves in the byte-level alphabet `a` (alphabet_fill). */
bool bpe_read_merge(Bpe *b, const Alphabet *a, const char *const half[2], const size_t length[2], size_t i,
                    const char *path, Error *e);

bool bpe_read_gguf(Bpe *b, const char *path, Error *e);
bool bpe_read_json(Bpe *b, const char *path, Error *e);
bool bpe_read_tiktoken(Bpe *b, const char *path, Error *e);
#endif
