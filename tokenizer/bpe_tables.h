/* What a Bpe holds; shared by bpe.c (encode, decode) and bpe_file.c (tokenizer.json) only. */
#ifndef TOKENIZER_BPE_TABLES_H
#define TOKENIZER_BPE_TABLES_H
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
    char *bytes;      /* all tokens, one after the other */
    size_t *offset;   /* (n_ids+1): token i is bytes[offset[i] .. offset[i+1]) */
    uint8_t *special; /* (n_ids) */
    int32_t byte_id[256];
    int32_t *by_bytes; /* open addressing over the ordinary tokens' bytes; -1: empty */
    size_t by_bytes_mask;
    Merge *merges; /* open addressing over pairs */
    size_t merges_mask;
    int32_t *specials; /* (n_specials), longest name first, so that the longest match wins */
    int n_specials;
    bool ignore_merges; /* a piece that is a token is taken whole */
    size_t longest;     /* bytes of the longest token */
    Split *split;
};

static inline uint64_t bpe_hash_bytes(const char *s, size_t n)
{
    uint64_t h = 0xCBF29CE484222325u; /* FNV-1a */
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x100000001B3u;
    return h ^ h >> 29;
}

static inline uint64_t bpe_hash_pair(uint64_t pair)
{
    pair *= 0x9E3779B97F4A7C15u;
    return pair ^ pair >> 32;
}

/* The ordinary token of these bytes, or -1. */
static inline int32_t bpe_find_bytes(const Bpe *b, const char *s, size_t n)
{
    for (size_t slot = bpe_hash_bytes(s, n) & b->by_bytes_mask;; slot = (slot + 1) & b->by_bytes_mask) {
        int32_t id = b->by_bytes[slot];
        if (id < 0) return -1;
        size_t length = b->offset[id + 1] - b->offset[id];
        if (length == n && !memcmp(b->bytes + b->offset[id], s, n)) return id;
    }
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
#endif
