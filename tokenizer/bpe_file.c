/* tokenizer.json of the tokenizers library -> tables. Read: model.type BPE with its vocab, merges ("a b" or
 * ["a","b"]) and ignore_merges; added_tokens; the one Split pattern of the pre-tokenizer. Anything that would
 * change ids and is not done here (a normaliser, prefixes and suffixes, dropout, byte fallback) is refused. */
#include "data/json.h"
#include "tokenizer/alphabet.h"
#include "tokenizer/bpe_tables.h"

/* A value that must be absent, null, false or "". */
static bool is_off(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return !v || json_is_null(v) || json_is_false(v) || (json_is_string(v) && !json_string_length(v));
}

static bool read_split(Bpe *b, const json_t *root, const char *path, Error *e)
{
    json_t *pre, *list, *first, *pattern;
    const char *type, *regex, *behavior;
    if (!json_get_object(root, "pre_tokenizer", path, &pre, e)) return false;
    if (!json_get_array(pre, "pretokenizers", path, &list, e)) return false;
    first = json_array_get(list, 0);
    json_t *second = json_array_get(list, 1);
    if (json_array_size(list) != 2 || !json_is_object(first) || !json_is_object(second))
        return error_set(e, ERROR_INPUT,
                         "%s: pre_tokenizer: expected a Split and a ByteLevel step, found %zu steps", path,
                         json_array_size(list));
    if (!json_get_string(first, "type", path, &type, e)) return false;
    if (strcmp(type, "Split"))
        return error_set(e, ERROR_INPUT, "%s: pre_tokenizer: expected a Split first, found %s", path, type);
    if (!json_get_string(first, "behavior", path, &behavior, e)) return false;
    if (strcmp(behavior, "Isolated") || !is_off(first, "invert"))
        return error_set(e, ERROR_INPUT, "%s: pre_tokenizer: Split must be Isolated and not inverted, found %s",
                         path, behavior);
    if (!json_get_string(second, "type", path, &type, e)) return false;
    if (strcmp(type, "ByteLevel") || !is_off(second, "add_prefix_space") || !is_off(second, "use_regex"))
        return error_set(
            e, ERROR_INPUT,
            "%s: pre_tokenizer: expected ByteLevel without prefix space and pattern second, found %s", path,
            type);
    if (!json_get_object(first, "pattern", path, &pattern, e)) return false;
    if (!json_get_string(pattern, "Regex", path, &regex, e)) return false;
    b->split = split_open(regex, path, e);
    return b->split != NULL;
}

/* While reading: where each id's bytes are, before they are laid out one after the other. */
typedef struct Entry {
    const char *text; /* in the alphabet (ordinary) or as it is (special) */
    size_t length;
    bool special;
} Entry;

enum { MAX_ADDED = 4096 };

static bool read_added(const json_t *added, Entry *entries, size_t n, const char *path, Error *e)
{
    if (json_array_size(added) > MAX_ADDED)
        return error_set(e, ERROR_INPUT, "%s: %zu added tokens, expected at most %d", path,
                         json_array_size(added), MAX_ADDED);
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        const char *content;
        int64_t id;
        if (!json_get_int(token, "id", path, &id, e) || !json_get_string(token, "content", path, &content, e))
            return false;
        if (id < 0 || (uint64_t)id >= n)
            return error_set(e, ERROR_INPUT,
                             "%s: added token '%s': id %lld is not below %zu, the number of tokens", path,
                             content, (long long)id, n);
        if (entries[id].text)
            return error_set(e, ERROR_INPUT, "%s: added tokens '%s' and '%s' have the same id %lld", path,
                             entries[id].text, content, (long long)id);
        for (size_t j = 0; j < i; j++) {
            const char *other = json_string_value(json_object_get(json_array_get(added, j), "content"));
            if (!strcmp(other, content))
                return error_set(e, ERROR_INPUT, "%s: added token '%s' is listed twice", path, content);
        }
        if (!*content) return error_set(e, ERROR_INPUT, "%s: added token %lld is empty", path, (long long)id);
        entries[id] = (Entry){content, strlen(content), true};
    }
    return true;
}

static bool read_vocab(json_t *vocab, Entry *entries, size_t n, const char *path, Error *e)
{
    const char *text;
    json_t *value;
    json_object_foreach(vocab, text, value)
    {
        if (!json_is_integer(value) || json_integer_value(value) < 0 ||
            (uint64_t)json_integer_value(value) >= n)
            return error_set(e, ERROR_INPUT, "%s: vocab entry '%s': expected an id in 0..%zu", path, text,
                             n - 1);
        Entry *entry = &entries[json_integer_value(value)];
        if (entry->special && !strcmp(entry->text, text)) continue; /* listed in both places */
        if (entry->text)
            return error_set(e, ERROR_INPUT, "%s: tokens '%s' and '%s' have the same id %lld", path,
                             entry->text, text, (long long)json_integer_value(value));
        *entry = (Entry){text, strlen(text), false};
    }
    return true;
}

/* Number of distinct ids: added tokens that the vocabulary lists too are counted once. */
static size_t count_ids(const json_t *vocab, const json_t *added)
{
    size_t n = json_object_size(vocab) + json_array_size(added);
    for (size_t i = 0; i < json_array_size(added); i++) {
        const char *content = json_string_value(json_object_get(json_array_get(added, i), "content"));
        if (content && json_object_get(vocab, content)) n--;
    }
    return n;
}

static bool lay_out(Bpe *b, const Entry *entries, size_t n, const char *path, Error *e)
{
    Alphabet alphabet;
    alphabet_fill(&alphabet);
    size_t total = 0;
    for (size_t i = 0; i < n; i++) total += entries[i].length;
    b->bytes = malloc(total + 1);
    b->offset = calloc(n + 1, sizeof *b->offset);
    b->special = calloc(n, 1);
    if (!b->bytes || !b->offset || !b->special)
        return error_set(e, ERROR_MEMORY, "%s: no memory for tokens", path);
    size_t at = 0;
    for (int i = 0; i < b->n_ids; i++) {
        size_t length = entries[i].length;
        if (!entries[i].text)
            return error_set(e, ERROR_INPUT, "%s: no token has id %d; expected 0..%d without holes", path, i,
                             b->n_ids - 1);
        if (entries[i].special)
            memcpy(b->bytes + at, entries[i].text, length);
        else if (!alphabet_read(&alphabet, entries[i].text, length, b->bytes + at, &length) || !length)
            return error_set(e, ERROR_INPUT, "%s: token %d '%s' is not written in the byte-level alphabet",
                             path, i, entries[i].text);
        b->special[i] = entries[i].special;
        b->n_specials += entries[i].special;
        b->offset[i] = at;
        at += length;
        if (length > b->longest) b->longest = length;
    }
    b->offset[b->n_ids] = at;
    return true;
}

/* A power of two at least twice n. */
static size_t table_size(size_t n)
{
    size_t size = 16;
    while (size < 2 * n) size *= 2;
    return size;
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
        const char *s = b->bytes + b->offset[id];
        size_t n = b->offset[id + 1] - b->offset[id];
        if (b->special[id]) {
            int at = n_specials++; /* insertion sort, longest first */
            for (; at; at--) {
                int32_t before = b->specials[at - 1];
                if (b->offset[before + 1] - b->offset[before] >= n) break;
                b->specials[at] = before;
            }
            b->specials[at] = id;
            continue;
        }
        size_t slot = bpe_hash_bytes(s, n) & b->by_bytes_mask;
        while (b->by_bytes[slot] >= 0) slot = (slot + 1) & b->by_bytes_mask;
        b->by_bytes[slot] = id;
    }
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;
        b->byte_id[i] = bpe_find_bytes(b, &byte, 1);
        if (b->byte_id[i] < 0)
            return error_set(e, ERROR_INPUT, "%s: no token for the single byte 0x%02X", path, i);
    }
    return true;
}

/* The two halves of a merge, as alphabet text. */
static bool merge_halves(const json_t *merge, const char *half[2], size_t length[2])
{
    if (json_is_array(merge) && json_array_size(merge) == 2) {
        for (size_t i = 0; i < 2; i++) {
            half[i] = json_string_value(json_array_get(merge, i));
            if (!half[i]) return false;
            length[i] = strlen(half[i]);
        }
        return true;
    }
    const char *text = json_string_value(merge), *space = text ? strchr(text, ' ') : NULL;
    if (!space || strchr(space + 1, ' ')) return false;
    half[0] = text;
    length[0] = (size_t)(space - text);
    half[1] = space + 1;
    length[1] = strlen(half[1]);
    return true;
}

static bool read_merges(Bpe *b, const json_t *merges, const char *path, Error *e)
{
    Alphabet alphabet;
    alphabet_fill(&alphabet);
    size_t n = json_array_size(merges), size = table_size(n);
    b->merges = malloc(size * sizeof *b->merges);
    char *joined = malloc(2 * b->longest + 1);
    bool ok = b->merges && joined;
    if (!ok) error_set(e, ERROR_MEMORY, "%s: no memory for %zu merges", path, n);
    if (b->merges) memset(b->merges, -1, size * sizeof *b->merges);
    b->merges_mask = size - 1;
    for (size_t i = 0; ok && i < n; i++) {
        const char *half[2];
        size_t length[2], raw[2] = {0, 0};
        int32_t id[3] = {-1, -1, -1};
        if (merge_halves(json_array_get(merges, i), half, length))
            for (int h = 0; h < 2; h++) {
                char *to = joined + (h ? raw[0] : 0);
                /* an alphabet character is at least as long as its byte, so 2 * longest bounds the input */
                if (length[h] > 2 * b->longest || !alphabet_read(&alphabet, half[h], length[h], to, &raw[h]))
                    break;
                id[h] = bpe_find_bytes(b, to, raw[h]);
                if (id[h] < 0) break;
            }
        if (id[0] >= 0 && id[1] >= 0) id[2] = bpe_find_bytes(b, joined, raw[0] + raw[1]);
        if (id[2] < 0) {
            ok = error_set(e, ERROR_INPUT,
                           "%s: merge %zu: expected two tokens of the vocabulary that make a third", path, i);
            break;
        }
        Merge *m = bpe_find_merge(b, id[0], id[1]);
        if (m->rank < 0) *m = (Merge){(uint64_t)(uint32_t)id[0] << 32 | (uint32_t)id[1], (int32_t)i, id[2]};
    }
    free(joined);
    return ok;
}

static bool read_model(Bpe *b, const json_t *root, const char *path, Error *e)
{
    static const char *const refused[] = {"dropout", "byte_fallback", "continuing_subword_prefix",
                                          "end_of_word_suffix"};
    json_t *model, *vocab, *merges, *added;
    const char *type;
    if (!json_get_object(root, "model", path, &model, e) || !json_get_string(model, "type", path, &type, e))
        return false;
    if (strcmp(type, "BPE"))
        return error_set(e, ERROR_INPUT, "%s: model.type: expected BPE, found %s", path, type);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (!is_off(model, refused[i]))
            return error_set(e, ERROR_INPUT, "%s: model.%s is set; expected a plain byte-level BPE", path,
                             refused[i]);
    if (!is_off(root, "normalizer"))
        return error_set(e, ERROR_INPUT, "%s: a normalizer is set; expected a plain byte-level BPE", path);
    if (!json_get_object(model, "vocab", path, &vocab, e) ||
        !json_get_array(model, "merges", path, &merges, e) ||
        !json_get_array(root, "added_tokens", path, &added, e))
        return false;
    b->ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
    size_t n = count_ids(vocab, added);
    if (n < 256 || n > INT32_MAX / 2 || json_array_size(merges) > INT32_MAX / 2)
        return error_set(e, ERROR_INPUT, "%s: expected at least 256 tokens, found %zu", path, n);
    Entry *entries = calloc(n, sizeof *entries);
    if (!entries) return error_set(e, ERROR_MEMORY, "%s: no memory for %zu tokens", path, n);
    b->n_ids = (int)n;
    bool ok = read_added(added, entries, n, path, e) && read_vocab(vocab, entries, n, path, e) &&
              lay_out(b, entries, n, path, e) && index_tokens(b, path, e) && read_merges(b, merges, path, e);
    free(entries);
    return ok;
}

Bpe *bpe_open(const char *path, Error *e)
{
    json_t *root = json_read(path, e);
    if (!root) return NULL;
    Bpe *b = calloc(1, sizeof *b);
    bool ok = b != NULL;
    if (!ok) error_set(e, ERROR_MEMORY, "%s: no memory", path);
    if (ok && !json_is_object(root)) ok = error_set(e, ERROR_INPUT, "%s: expected a JSON object", path);
    ok = ok && read_split(b, root, path, e) && read_model(b, root, path, e);
    json_decref(root);
    if (ok) return b;
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
