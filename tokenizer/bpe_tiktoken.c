/* tokenizer.model of LLaMA-3 -> tables: tiktoken's text, one line "BASE64 RANK\n" a token, where the rank is
 * the id.
 *
 * The file has neither merges nor special tokens nor the split. Two tokens merge when their bytes side by side
 * are a token, and that one's rank orders the merges; so every way to cut a token into two is entered as a
 * merge. The split is LLaMA-3's, and LLaMA-3's 256 special tokens follow the last rank (its own names: 3.1
 * renamed three). Other models' files have this form too, with another split: those with more ranks than
 * LLaMA-3, or with the number of a known one, are refused. */
#include "data/file.h"
#include "tokenizer/bpe_tables.h"
#include <stdio.h>

/* Of a token every cut is tried; LLaMA-3's longest is 128 blanks. */
enum { MAX_BYTES = 8 << 20, LLAMA3_RANKS = 128000, SPECIALS = 256, LONGEST_NAME = 40, LONGEST_TOKEN = 256 };

static const struct {
    size_t ranks;
    const char *what;
} others[] = {{50256, "GPT-2"}, {50257, "GPT-2"}, {50280, "Codex"}, {100256, "GPT-4"}, {100277, "GPT-4"}};

/* The six bits of a base64 character, or -1. */
static int six_bits(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes n characters in place, in their one canonical form. Returns the bytes, 0 when they are no base64. */
static size_t decode(char *s, size_t n)
{
    if (!n || n % 4) return 0;
    size_t pad = s[n - 1] != '=' ? 0 : s[n - 2] != '=' ? 1 : 2, out = 0;
    for (size_t at = 0; at < n; at += 4) {
        size_t last = at + 4 == n ? pad : 0;
        uint32_t word = 0;
        for (size_t i = 0; i < 4; i++) {
            int bits = i < 4 - last ? six_bits(s[at + i]) : 0;
            if (bits < 0) return 0;
            word = word << 6 | (uint32_t)bits;
        }
        if (word & ((1u << 8 * last) - 1)) return 0; /* bits beyond the last byte */
        for (size_t i = 0; i < 3 - last; i++) s[out++] = (char)(word >> (16 - 8 * i));
    }
    return out;
}

/* The number in s[0..n), at most `most`; -1 when it is none, has leading zeros or is larger. */
static int64_t number(const char *s, size_t n, int64_t most)
{
    int64_t value = 0;
    if (!n || (n > 1 && *s == '0')) return -1;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9') return -1;
        value = 10 * value + (s[i] - '0');
        if (value > most) return -1;
    }
    return value;
}

/* One line s[0..n), without its end; tokens are decoded where they stand. */
static bool read_line(char *s, size_t n, size_t line, BpeEntry *entries, size_t ranks, const char *path,
                      Error *e)
{
    char *space = memchr(s, ' ', n);
    if (!space)
        return error_set(e, ERROR_INPUT, "%s: line %zu: expected 'BASE64 RANK', found no space", path, line);
    size_t head = (size_t)(space - s);
    int64_t rank = number(space + 1, n - head - 1, (int64_t)ranks - 1);
    if (rank < 0)
        return error_set(e, ERROR_INPUT, "%s: line %zu: expected a rank in 0..%zu, found '%.*s'", path, line,
                         ranks - 1, n - head - 1 < 40 ? (int)(n - head - 1) : 40, space + 1);
    if (entries[rank].text)
        return error_set(e, ERROR_INPUT, "%s: line %zu: rank %lld is taken by a line before it", path, line,
                         (long long)rank);
    size_t length = decode(s, head);
    if (!length)
        return error_set(e, ERROR_INPUT, "%s: line %zu: its first word is not base64 of a token", path, line);
    if (length > LONGEST_TOKEN)
        return error_set(e, ERROR_INPUT, "%s: line %zu: a token of %zu bytes, expected at most %d", path, line,
                         length, LONGEST_TOKEN);
    entries[rank] = (BpeEntry){s, length, false};
    return true;
}

static bool read_lines(char *s, size_t n, BpeEntry *entries, size_t ranks, const char *path, Error *e)
{
    for (size_t line = 1; n; line++) {
        char *end = memchr(s, '\n', n);
        size_t length = end ? (size_t)(end - s) : n;
        if (!read_line(s, length, line, entries, ranks, path, e)) return false;
        n -= length + (end != NULL);
        s += length + (end != NULL);
    }
    return true;
}

static void name_specials(char name[SPECIALS][LONGEST_NAME], BpeEntry *entries)
{
    static const char *const names[] = {"begin_of_text",   "end_of_text",   NULL, NULL,    NULL, NULL,
                                        "start_header_id", "end_header_id", NULL, "eot_id"};
    for (int i = 0, reserved = 0; i < SPECIALS; i++) {
        if (i < (int)(sizeof names / sizeof *names) && names[i])
            snprintf(name[i], LONGEST_NAME, "<|%s|>", names[i]);
        else
            snprintf(name[i], LONGEST_NAME, "<|reserved_special_token_%d|>", reserved++);
        entries[i] = (BpeEntry){name[i], strlen(name[i]), true};
    }
}

/* Every cut of every token into two tokens. */
static bool find_merges(Bpe *b, size_t ranks, const char *path, Error *e)
{
    typedef struct Cut {
        int32_t left, right, whole;
    } Cut;
    size_t n = 0, room = 4096;
    Cut *cut = malloc(room * sizeof *cut);
    for (size_t id = 0; cut && id < ranks; id++) {
        const char *s = b->bytes + b->offset[id];
        size_t length = b->offset[id + 1] - b->offset[id];
        for (size_t at = 1; at < length; at++) {
            int32_t left = bpe_find_bytes(b, s, at),
                    right = left < 0 ? -1 : bpe_find_bytes(b, s + at, length - at);
            if (right < 0) continue;
            if (n == room) {
                Cut *grown = realloc(cut, 2 * room * sizeof *cut);
                if (!grown) free(cut);
                cut = grown;
                room *= 2;
                if (!cut) break;
            }
            cut[n++] = (Cut){left, right, (int32_t)id};
        }
        if (!cut) break;
    }
    if (!cut) return error_set(e, ERROR_MEMORY, "%s: no memory for merges", path);
    bool ok = bpe_begin_merges(b, n, path, e);
    for (size_t i = 0; ok && i < n; i++)
        bpe_add_merge(b, cut[i].left, cut[i].right, cut[i].whole, cut[i].whole);
    free(cut);
    return ok;
}

static bool read_tokens(Bpe *b, char *s, size_t n, const char *path, Error *e)
{
    size_t ranks = n && s[n - 1] != '\n';
    char name[SPECIALS][LONGEST_NAME];
    for (size_t i = 0; i < n; i++) ranks += s[i] == '\n';
    if (ranks > LLAMA3_RANKS)
        return error_set(e, ERROR_INPUT, "%s: %zu ranks; expected LLaMA-3's, at most %d", path, ranks,
                         LLAMA3_RANKS);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (ranks == others[i].ranks)
            return error_set(e, ERROR_INPUT, "%s: %zu ranks are %s's; expected LLaMA-3's", path, ranks,
                             others[i].what);
    BpeEntry *entries = calloc(ranks + SPECIALS, sizeof *entries);
    if (!entries) return error_set(e, ERROR_MEMORY, "%s: no memory for %zu tokens", path, ranks);
    name_specials(name, entries + ranks);
    bool ok =
        read_lines(s, n, entries, ranks, path, e) &&
        (ranks >= 256 || error_set(e, ERROR_INPUT, "%s: %zu ranks, expected at least 256", path, ranks)) &&
        bpe_set_tokens(b, entries, ranks + SPECIALS, false, path, e) && find_merges(b, ranks, path, e);
    free(entries);
    return ok;
}

bool bpe_read_tiktoken(Bpe *b, const char *path, Error *e)
{
    uint8_t *bytes;
    size_t n;
    if (!file_read(path, MAX_BYTES, &bytes, &n, e)) return false;
    b->ignore_merges = true;
    b->split = split_open(SPLIT_LLAMA3, path, e);
    bool ok = b->split && read_tokens(b, (char *)bytes, n, path, e);
    free(bytes);
    return ok;
}
