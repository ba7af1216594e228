/* Training: count distinct pre-tokens, write each as byte ids, then vocab_size - 260 times merge the commonest
 * adjacent pair in all of them. Pair counts live in one hash table and are corrected where a merge changes a
 * word, so a step costs one pass over the distinct words (some ten thousand for report text) and one over the
 * table. A merge is learnt only from pairs that occur at least twice. */
#include "tokenizer/bpe_train.h"
#include "data/json.h"
#include "tokenizer/alphabet.h"
#include "tokenizer/split.h"
#include <stdlib.h>
#include <string.h>

static const char *const SPECIALS[] = {"<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|pad|>"};
enum { N_BYTES = 256, N_SPECIALS = 4 };

typedef struct Word {
    int32_t *id;
    int n;
    int64_t count;
} Word;

typedef struct PairCount {
    uint64_t pair; /* (left << 32 | right) + 1; 0: empty slot */
    int64_t count;
} PairCount;

typedef struct Token {
    char *bytes;
    size_t n;
} Token;

typedef struct Trainer {
    Word *words;
    size_t n_words, words_room;
    size_t *by_bytes; /* hash of the distinct words while they are collected: index + 1, 0 empty */
    size_t by_bytes_size;
    PairCount *pairs;
    size_t pairs_size, n_pairs;
    Token *tokens; /* (vocab) bytes of each id */
    int n_tokens;
    int32_t (*merges)[2]; /* (vocab) */
    int n_merges;
} Trainer;

static void trainer_free(Trainer *t)
{
    for (size_t i = 0; i < t->n_words; i++) free(t->words[i].id);
    for (int i = 0; i < t->n_tokens; i++) free(t->tokens[i].bytes);
    free(t->words);
    free(t->by_bytes);
    free(t->pairs);
    free(t->tokens);
    free(t->merges);
}

static bool no_memory(Error *e) { return error_set(e, ERROR_MEMORY, "no memory to train a vocabulary"); }

static uint64_t hash_bytes(const char *s, size_t n)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x100000001B3u;
    return h ^ h >> 29;
}

/* While words are collected their ids are the bytes themselves. */
static bool same_word(const Word *w, const char *s, size_t n)
{
    if ((size_t)w->n != n) return false;
    for (size_t i = 0; i < n; i++)
        if (w->id[i] != (unsigned char)s[i]) return false;
    return true;
}

static bool grow_word_index(Trainer *t)
{
    size_t size = t->by_bytes_size ? 2 * t->by_bytes_size : 1024;
    size_t *index = calloc(size, sizeof *index);
    if (!index) return false;
    for (size_t i = 0; i < t->by_bytes_size; i++) {
        if (!t->by_bytes[i]) continue;
        const Word *w = &t->words[t->by_bytes[i] - 1];
        uint64_t h = 0xCBF29CE484222325u;
        for (int k = 0; k < w->n; k++) h = (h ^ (uint64_t)w->id[k]) * 0x100000001B3u;
        size_t slot = (h ^ h >> 29) & (size - 1);
        while (index[slot]) slot = (slot + 1) & (size - 1);
        index[slot] = t->by_bytes[i];
    }
    free(t->by_bytes);
    t->by_bytes = index;
    t->by_bytes_size = size;
    return true;
}

static bool count_word(Trainer *t, const char *s, size_t n)
{
    if (2 * (t->n_words + 1) > t->by_bytes_size && !grow_word_index(t)) return false;
    size_t mask = t->by_bytes_size - 1, slot = hash_bytes(s, n) & mask;
    for (; t->by_bytes[slot]; slot = (slot + 1) & mask)
        if (same_word(&t->words[t->by_bytes[slot] - 1], s, n)) {
            t->words[t->by_bytes[slot] - 1].count++;
            return true;
        }
    if (t->n_words == t->words_room) {
        size_t room = t->words_room ? 2 * t->words_room : 1024;
        Word *words = realloc(t->words, room * sizeof *words);
        if (!words) return false;
        t->words = words;
        t->words_room = room;
    }
    Word w = {malloc(n * sizeof *w.id), (int)n, 1};
    if (!w.id) return false;
    for (size_t i = 0; i < n; i++) w.id[i] = (unsigned char)s[i];
    t->words[t->n_words++] = w;
    t->by_bytes[slot] = t->n_words;
    return true;
}

static bool collect_words(Trainer *t, const char *const *texts, size_t n_texts, Error *e)
{
    Split *split = split_open(SPLIT_LLAMA3, "the trainer", e);
    if (!split) return false;
    bool ok = true;
    for (size_t i = 0; ok && i < n_texts; i++) {
        size_t n = strlen(texts[i]), valid = utf8_valid_prefix(texts[i], n), start, end;
        if (valid < n || n > INT32_MAX) {
            ok = error_set(e, ERROR_INPUT, "text %zu: byte %zu is not UTF-8", i, valid);
            break;
        }
        SplitWalk *walk = split_begin(split, texts[i], n, e);
        int more = walk ? 1 : -1;
        while (more > 0 && (more = split_next(walk, &start, &end, e)) > 0)
            if (!count_word(t, texts[i] + start, end - start)) {
                no_memory(e);
                more = -1;
            }
        split_end(walk);
        ok = more == 0;
    }
    split_close(split);
    return ok;
}

static PairCount *find_pair(PairCount *pairs, size_t size, uint64_t pair)
{
    uint64_t h = pair * 0x9E3779B97F4A7C15u;
    size_t slot = (h ^ h >> 32) & (size - 1);
    while (pairs[slot].pair && pairs[slot].pair != pair) slot = (slot + 1) & (size - 1);
    return &pairs[slot];
}

static bool add_pair(Trainer *t, int32_t left, int32_t right, int64_t count)
{
    if (2 * (t->n_pairs + 1) > t->pairs_size) {
        size_t size = t->pairs_size ? 2 * t->pairs_size : 4096;
        PairCount *pairs = calloc(size, sizeof *pairs);
        if (!pairs) return false;
        for (size_t i = 0; i < t->pairs_size; i++)
            if (t->pairs[i].pair) *find_pair(pairs, size, t->pairs[i].pair) = t->pairs[i];
        free(t->pairs);
        t->pairs = pairs;
        t->pairs_size = size;
    }
    uint64_t pair = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) + 1;
    PairCount *slot = find_pair(t->pairs, t->pairs_size, pair);
    if (!slot->pair) {
        slot->pair = pair;
        t->n_pairs++;
    }
    slot->count += count;
    return true;
}

/* Counts (sign 1) or uncounts (sign -1) the pairs of a word. */
static bool add_pairs(Trainer *t, const Word *w, int sign)
{
    for (int i = 0; i + 1 < w->n; i++)
        if (!add_pair(t, w->id[i], w->id[i + 1], sign * w->count)) return false;
    return true;
}

/* Whether a pair may become a token: whole characters, or a prefix of one. So no token joins the rest of one
 * character with the next, and 左, 右 and 双 are tokens before anything longer that holds them is. */
static bool mergeable(const Trainer *t, int32_t left, int32_t right)
{
    const Token *l = &t->tokens[left], *r = &t->tokens[right];
    size_t whole = utf8_valid_prefix(l->bytes, l->n);
    if (whole == l->n) return utf8_valid_prefix(r->bytes, r->n) == r->n;
    if (whole || l->n + r->n > 4) return false;
    char joined[4];
    int32_t c;
    memcpy(joined, l->bytes, l->n);
    memcpy(joined + l->n, r->bytes, r->n);
    return (size_t)utf8_next(joined, l->n + r->n, &c) == l->n + r->n && c != UTF8_INVALID;
}

/* The commonest mergeable pair, on ties the one with the smaller left, then right id. False when none occurs
 * twice. */
static bool best_pair(const Trainer *t, int32_t *left, int32_t *right)
{
    PairCount best = {0, 1};
    *left = *right = -1;
    for (size_t i = 0; i < t->pairs_size; i++) {
        const PairCount *p = &t->pairs[i];
        if (!p->pair || p->count < best.count || p->count < 2) continue;
        if (p->count == best.count && p->pair > best.pair) continue;
        int32_t l = (int32_t)((p->pair - 1) >> 32), r = (int32_t)(p->pair - 1);
        if (!mergeable(t, l, r)) continue;
        best = *p;
        *left = l;
        *right = r;
    }
    return best.pair != 0;
}

/* Replaces left,right by id throughout a word (left to right). */
static void merge_word(Word *w, int32_t left, int32_t right, int32_t id)
{
    int n = 0;
    for (int i = 0; i < w->n; i++) {
        bool here = i + 1 < w->n && w->id[i] == left && w->id[i + 1] == right;
        w->id[n++] = here ? id : w->id[i];
        i += here;
    }
    w->n = n;
}

static bool has_pair(const Word *w, int32_t left, int32_t right)
{
    for (int i = 0; i + 1 < w->n; i++)
        if (w->id[i] == left && w->id[i + 1] == right) return true;
    return false;
}

/* The id whose bytes are left's and right's together, or -1: two paths may lead to the same token. */
static int32_t find_token(const Trainer *t, const char *bytes, size_t n)
{
    for (int i = 0; i < t->n_tokens; i++)
        if (t->tokens[i].n == n && !memcmp(t->tokens[i].bytes, bytes, n)) return i;
    return -1;
}

static bool add_merge(Trainer *t, int32_t left, int32_t right, int32_t *id)
{
    const Token *l = &t->tokens[left], *r = &t->tokens[right];
    Token joined = {malloc(l->n + r->n), l->n + r->n};
    if (!joined.bytes) return false;
    memcpy(joined.bytes, l->bytes, l->n);
    memcpy(joined.bytes + l->n, r->bytes, r->n);
    *id = find_token(t, joined.bytes, joined.n);
    if (*id < 0) {
        *id = t->n_tokens;
        t->tokens[t->n_tokens++] = joined;
    } else {
        free(joined.bytes);
    }
    t->merges[t->n_merges][0] = left;
    t->merges[t->n_merges++][1] = right;
    return true;
}

static bool learn(Trainer *t, int n_tokens)
{
    for (size_t i = 0; i < t->n_words; i++)
        if (!add_pairs(t, &t->words[i], 1)) return false;
    int32_t left, right, id;
    /* Merges that lead to a token that is there already add none, hence the bound on their number. */
    while (t->n_tokens < n_tokens && t->n_merges < 2 * n_tokens && best_pair(t, &left, &right)) {
        if (!add_merge(t, left, right, &id)) return false;
        for (size_t i = 0; i < t->n_words; i++) {
            Word *w = &t->words[i];
            if (!has_pair(w, left, right)) continue;
            if (!add_pairs(t, w, -1)) return false;
            merge_word(w, left, right, id);
            if (!add_pairs(t, w, 1)) return false;
        }
    }
    return true;
}

/* A token in the alphabet. */
static json_t *token_text(const Trainer *t, const Alphabet *a, int32_t id)
{
    char *text = malloc(2 * t->tokens[id].n + 1);
    if (!text) return NULL;
    json_t *s = json_stringn(text, alphabet_write(a, t->tokens[id].bytes, t->tokens[id].n, text));
    free(text);
    return s;
}

static json_t *model_json(const Trainer *t)
{
    Alphabet a;
    alphabet_fill(&a);
    json_t *vocab = json_object(), *merges = json_array();
    bool ok = vocab && merges;
    for (int32_t i = 0; ok && i < t->n_tokens; i++) {
        json_t *text = token_text(t, &a, i);
        ok = text && !json_object_set_new(vocab, json_string_value(text), json_integer(i));
        json_decref(text);
    }
    for (int i = 0; ok && i < t->n_merges; i++) {
        json_t *left = token_text(t, &a, t->merges[i][0]), *right = token_text(t, &a, t->merges[i][1]);
        ok = left && right &&
             !json_array_append_new(merges,
                                    json_sprintf("%s %s", json_string_value(left), json_string_value(right)));
        json_decref(left);
        json_decref(right);
    }
    if (!ok) {
        json_decref(vocab);
        json_decref(merges);
        return NULL;
    }
    return json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout",
                     "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
                     "byte_fallback", 0, "ignore_merges", 1, "vocab", vocab, "merges", merges);
}

/* The whole file, in the members and order that the tokenizers library writes. */
static json_t *tokenizer_json(const Trainer *t)
{
    json_t *added = json_array();
    for (int i = 0; i < N_SPECIALS; i++)
        json_array_append_new(added, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", t->n_tokens + i,
                                               "content", SPECIALS[i], "single_word", 0, "lstrip", 0, "rstrip",
                                               0, "normalized", 0, "special", 1));
    json_t *split = json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", SPLIT_LLAMA3,
                              "behavior", "Isolated", "invert", 0);
    json_t *bytes = json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                              "trim_offsets", 1, "use_regex", 0);
    json_t *decoder = json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 1,
                                "trim_offsets", 1, "use_regex", 1);
    return json_pack("{s:s, s:n, s:n, s:o, s:n, s:{s:s, s:[o,o]}, s:n, s:o, s:o}", "version", "1.0",
                     "truncation", "padding", "added_tokens", added, "normalizer", "pre_tokenizer", "type",
                     "Sequence", "pretokenizers", split, bytes, "post_processor", "decoder", decoder, "model",
                     model_json(t));
}

bool bpe_train(const char *const *texts, size_t n_texts, int vocab_size, const char *path, Error *e)
{
    if (vocab_size < N_BYTES + N_SPECIALS || vocab_size > 1 << 24)
        return error_set(e, ERROR_INPUT, "vocabulary size %d: expected %d (256 bytes and 4 specials) to %d",
                         vocab_size, N_BYTES + N_SPECIALS, 1 << 24);
    Trainer t = {.tokens = calloc((size_t)vocab_size, sizeof *t.tokens),
                 .merges = calloc((size_t)vocab_size * 2, sizeof *t.merges)};
    bool ok = t.tokens && t.merges;
    for (int i = 0; ok && i < N_BYTES; i++) {
        t.tokens[i] = (Token){malloc(1), 1};
        t.n_tokens = i + 1;
        ok = t.tokens[i].bytes != NULL;
        if (ok) t.tokens[i].bytes[0] = (char)i;
    }
    if (!ok) no_memory(e);
    ok = ok && collect_words(&t, texts, n_texts, e);
    if (ok && !learn(&t, vocab_size - N_SPECIALS)) ok = no_memory(e);
    if (ok) {
        json_t *root = tokenizer_json(&t);
        ok = root ? json_write(path, root, e) : no_memory(e);
        json_decref(root);
    }
    trainer_free(&t);
    return ok;
}
