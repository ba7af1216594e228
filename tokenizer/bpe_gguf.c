/* The tokenizer in a GGUF file -> tables: tokenizer.ggml.model gpt2 (byte-level BPE) with its tokens, their
 * types and the merges "a b". Of the split the file has a name only (tokenizer.ggml.pre); names stand for steps
 * that cut text one after the other, here each one pattern that cuts it the same way:
 *
 *   llama-bpe  LLaMA-3's pattern; a piece that is a token is taken whole
 *   gpt-2      GPT-2's: contractions, and letters, digits or signs, each with at most one space before them
 *   smollm     single digits first, GPT-2's on what is between: white space before a digit is one piece
 *   default    runs of punctuation first, GPT-2's on what is between (no contraction is left), then runs of
 * digits without the space, then ASCII ones in threes */
#include "data/gguf.h"
#include "tokenizer/bpe_tables.h"

#define GPT2        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define SMOLLM      "\\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?![^\\s\\p{N}])|\\s+"
#define PUNCTUATION "\\p{P}$+<=>^~|"
#define DEFAULT                                                                                                \
    "[" PUNCTUATION "]+|[0-9]{3}|(?:(?![0-9]{3})\\p{N})+| ?\\p{L}+| ?[^\\s\\p{L}\\p{N}" PUNCTUATION "]+|"      \
    "\\s+(?![^\\s" PUNCTUATION "])|\\s+"

static const struct {
    const char *name, *pattern;
    bool ignore_merges;
} pres[] = {{"llama-bpe", SPLIT_LLAMA3, true}, {"llama3", SPLIT_LLAMA3, true},
            {"llama-v3", SPLIT_LLAMA3, true},  {"gpt-2", GPT2, false},
            {"smollm", SMOLLM, false},         {"default", DEFAULT, false}};
enum { PRES = sizeof pres / sizeof *pres };

/* What the types of tokens mean. Text makes only normal ones; the others, as added tokens, only when asked. */
enum { TYPE_NORMAL = 1, TYPE_BYTE = 6 };

static bool read_pre(Bpe *b, const TensorFile *f, Error *e)
{
    const char *model = tensor_file_meta(f, "tokenizer.ggml.model"),
               *pre = tensor_file_meta(f, "tokenizer.ggml.pre");
    if (!model || strcmp(model, "gpt2"))
        return error_set(e, ERROR_INPUT, "%s: key tokenizer.ggml.model: expected gpt2, found %.60s", f->path,
                         model ? model : "none");
    int i = 0;
    while (i < PRES && (!pre || strcmp(pre, pres[i].name))) i++;
    if (i == PRES)
        return error_set(
            e, ERROR_INPUT,
            "%s: key tokenizer.ggml.pre: expected llama-bpe (or llama3, llama-v3), gpt-2, smollm or "
            "default, found %.60s",
            f->path, pre ? pre : "none");
    b->ignore_merges = pres[i].ignore_merges;
    b->gaps = true; /* SmolLM2's has no token for some control characters */
    b->split = split_open(pres[i].pattern, f->path, e);
    return b->split;
}

/* The list of that type, of n elements if n is not 0. NULL on error. */
static const GgufArray *list(const TensorFile *f, const char *key, GgufType type, uint64_t n, Error *e)
{
    const GgufArray *a = gguf_array(f, key);
    if (a && a->type == type && a->n <= INT32_MAX / 2 && (!n || a->n == n)) return a;
    if (!a)
        error_set(e, ERROR_INPUT, "%s: key %s: expected a list of %s, found none", f->path, key,
                  gguf_type_name(type));
    else
        error_set(e, ERROR_INPUT, "%s: key %s: expected %llu %s, found %llu %s", f->path, key,
                  (unsigned long long)(n ? n : a->n), gguf_type_name(type), (unsigned long long)a->n,
                  gguf_type_name(a->type));
    return NULL;
}

static bool fill_tokens(Bpe *b, char *const *text, const int32_t *type, size_t n, const char *path, Error *e)
{
    BpeEntry *entry = calloc(n, sizeof *entry);
    bool ok = entry || error_set(e, ERROR_MEMORY, "%s: no memory for %zu tokens", path, n);
    for (size_t i = 0; ok && i < n; i++) {
        if (type[i] < TYPE_NORMAL || type[i] >= TYPE_BYTE)
            ok =
                error_set(e, ERROR_INPUT, "%s: token %zu: type %d, expected 1 (normal) to 5", path, i, type[i]);
        entry[i] = (BpeEntry){text[i], strlen(text[i]), type[i] != TYPE_NORMAL};
    }
    ok = ok && bpe_set_tokens(b, entry, n, true, path, e);
    free(entry);
    return ok;
}

static bool read_tokens(Bpe *b, const TensorFile *f, Error *e)
{
    const GgufArray *tokens = list(f, "tokenizer.ggml.tokens", GGUF_STRING, 0, e);
    const GgufArray *types = tokens ? list(f, "tokenizer.ggml.token_type", GGUF_I32, tokens->n, e) : NULL;
    if (!types) return false;
    char **text = NULL;
    int32_t *type = malloc(types->size + 1);
    bool ok = type || error_set(e, ERROR_MEMORY, "%s: no memory for %llu tokens", f->path,
                                (unsigned long long)tokens->n);
    ok = ok && gguf_read_array(f, types, type, e) && gguf_read_strings(f, tokens, &text, e) &&
         fill_tokens(b, text, type, (size_t)tokens->n, f->path, e);
    free(text);
    free(type);
    return ok;
}

static bool read_merges(Bpe *b, const TensorFile *f, Error *e)
{
    const GgufArray *merges = list(f, "tokenizer.ggml.merges", GGUF_STRING, 0, e);
    Alphabet alphabet;
    char **text;
    alphabet_fill(&alphabet);
    if (!merges || !gguf_read_strings(f, merges, &text, e)) return false;
    bool ok = bpe_begin_merges(b, (size_t)merges->n, f->path, e);
    for (size_t i = 0; ok && i < merges->n; i++) {
        const char *space = strchr(text[i], ' ');
        if (!space) {
            ok = error_set(e, ERROR_INPUT,
                           "%s: merge %zu: expected two tokens with a space between, found '%.60s'", f->path, i,
                           text[i]);
            break;
        }
        const char *const half[2] = {text[i], space + 1};
        const size_t length[2] = {(size_t)(space - text[i]), strlen(space + 1)};
        ok = bpe_read_merge(b, &alphabet, half, length, i, f->path, e);
    }
    free(text);
    return ok;
}

bool bpe_read_gguf(Bpe *b, const char *path, Error *e)
{
    TensorFile *f = gguf_open(path, e);
    bool ok = f && read_pre(b, f, e) && read_tokens(b, f, e) && read_merges(b, f, e);
    tensor_file_close(f);
    return ok;
}
