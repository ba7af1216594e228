/* tokenizer.json of the tokenizers library -> tables. Read: model.type BPE with its vocab, merges ("a b" or
 * ["a","b"]) and ignore_merges; added_tokens; the one Split pattern of the pre-tokenizer. Anything that would
 * change ids and is not done here (a normaliser, prefixes and suffixes, dropout, byte fallback) is refused. */
#include "data/json.h"
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

static bool read_added(const json_t *added, BpeEntry *entries, size_t n, const char *path, Error *e)
{
    if (json_array_size(added) > BPE_MOST_SPECIALS)
        return error_set(e, ERROR_INPUT, "%s: %zu added tokens, expected at most %d", path,
                         json_array_size(added), BPE_MOST_SPECIALS);
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        const char *content;
        int64_t id;
        if (!json_get_int(token, "id", path, &id, e) || !json_get_string(token, "content", path, &content, e))
            return false;
        if (!is_off(token, "single_word") || !is_off(token, "lstrip") || !is_off(token, "rstrip"))
            return error_set(e, ERROR_INPUT,
                             "%s: added token '%s': single_word, lstrip or rstrip is set; expected none", path,
                             content);
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
        entries[id] = (BpeEntry){content, strlen(content), true};
    }
    return true;
}

static bool read_vocab(json_t *vocab, BpeEntry *entries, size_t n, const char *path, Error *e)
{
    const char *text;
    json_t *value;
    json_object_foreach(vocab, text, value)
    {
        if (!json_is_integer(value) || json_integer_value(value) < 0 ||
            (uint64_t)json_integer_value(value) >= n)
            return error_set(e, ERROR_INPUT, "%s: vocab entry '%s': expected an id in 0..%zu", path, text,
                             n - 1);
        BpeEntry *entry = &entries[json_integer_value(value)];
        if (entry->special && !strcmp(entry->text, text)) continue; /* listed in both places */
        if (entry->text)
            return error_set(e, ERROR_INPUT, "%s: tokens '%s' and '%s' have the same id %lld", path,
                             entry->text, text, (long long)json_integer_value(value));
        *entry = (BpeEntry){text, strlen(text), false};
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
    size_t n = json_array_size(merges);
    alphabet_fill(&alphabet);
    if (!bpe_begin_merges(b, n, path, e)) return false;
    for (size_t i = 0; i < n; i++) {
        const char *half[2] = {"", ""};
        size_t length[2] = {0, 0};
        if (!merge_halves(json_array_get(merges, i), half, length))
            return error_set(e, ERROR_INPUT, "%s: merge %zu: expected two tokens, \"a b\" or [\"a\",\"b\"]",
                             path, i);
        if (!bpe_read_merge(b, &alphabet, half, length, i, path, e)) return false;
    }
    return true;
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
    static const char *const changes[] = {"normalizer", "truncation", "padding"};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        if (!is_off(root, changes[i]))
            return error_set(e, ERROR_INPUT, "%s: %s is set; expected a plain byte-level BPE", path,
                             changes[i]);
    if (!json_get_object(model, "vocab", path, &vocab, e) ||
        !json_get_array(model, "merges", path, &merges, e) ||
        !json_get_array(root, "added_tokens", path, &added, e))
        return false;
    b->ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
    size_t n = count_ids(vocab, added);
    BpeEntry *entries = calloc(n + 1, sizeof *entries);
    if (!entries) return error_set(e, ERROR_MEMORY, "%s: no memory for %zu tokens", path, n);
    bool ok = read_added(added, entries, n, path, e) && read_vocab(vocab, entries, n, path, e) &&
              bpe_set_tokens(b, entries, n, true, path, e) && read_merges(b, merges, path, e);
    free(entries);
    return ok;
}

bool bpe_read_json(Bpe *b, const char *path, Error *e)
{
    json_t *root = json_read(path, e);
    if (!root) return false;
    bool ok = json_is_object(root) || error_set(e, ERROR_INPUT, "%s: expected a JSON object", path);
    ok = ok && read_split(b, root, path, e) && read_model(b, root, path, e);
    json_decref(root);
    return ok;
}
