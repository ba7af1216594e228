/* pcrl-tokenize: lines of text to ids or words, and back. */
#include "data/json.h"
#include "tools/cli.h"
#include "tools/tokenize.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Options {
    CliCommon common;
    TokenizeOptions tokenizer;
    bool decode, jsonl, time, length;
    int first; /* of the files in argv */
} Options;

enum {
    OPT_TOKENIZER = 0x4001,
    OPT_DECODE,
    OPT_JSONL,
    OPT_SPECIALS,
    OPT_USER,
    OPT_NO_HMM,
    OPT_LENGTH,
    OPT_TIME
};

static const struct argp_option options[] = {
    {"tokenizer", OPT_TOKENIZER, "FILE", 0,
     "tokenizer.json, tokenizer.model, a GGUF file, vocab.txt (WordPiece), jieba's folder, or the word jieba",
     1},
    {"decode", OPT_DECODE, 0, 0, "the other way: ids in, text out", 1},
    {"jsonl", OPT_JSONL, 0, 0, "lines are JSON objects: \"text\" becomes \"ids\" (jieba: \"words\"), or back",
     1},
    {"specials", OPT_SPECIALS, 0, 0,
     "names of special tokens in the text become their ids; when decoding they are written", 1},
    {"length", OPT_LENGTH, "N", 0, "WordPiece: at most N ids, [CLS] and [SEP] among them", 1},
    {"user-dict", OPT_USER, "FILE", 0, "jieba: a dictionary more, WORD [FREQUENCY] [TAG] a line", 1},
    {"no-hmm", OPT_NO_HMM, 0, 0, "jieba: no words that are not in the dictionary", 1},
    {"time", OPT_TIME, 0, 0, "say on standard error how fast the tokenizer was, reading and writing left out",
     1},
    {0}};

static const char doc[] =
    "Tokenizes lines of text: of each line of the files, or of standard input, its ids separated by spaces "
    "(jieba: its "
    "words)."
    "\vTexts with line ends in them need --jsonl; so do jieba's words on the way back. Members of the objects "
    "other than "
    "the one that is turned are kept. WordPiece puts [CLS] before and [SEP] after, and what comes back is "
    "lower-case "
    "words with single spaces.\n\n"
    "Examples:\n"
    "  echo 左侧基底节区见低密度影 | pcrl-tokenize --tokenizer tokenizer.model\n"
    "  pcrl-tokenize --tokenizer data/mini/tokenizer.json --jsonl reports.jsonl > ids.jsonl\n"
    "  pcrl-tokenize --tokenizer data/mini/tokenizer.json --jsonl --decode ids.jsonl\n"
    "  pcrl-tokenize --tokenizer jieba --user-dict nouns.txt reports.txt\n"
    "  pcrl-tokenize --tokenizer tokenizer.json --time reports.txt > /dev/null\n\n"
    "Exit codes: 0 ok, 1 usage, 2 a line or file that is not what it should be, 3 cannot read or write, 6 out "
    "of memory.";

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; return 0;
    case OPT_TOKENIZER: o->tokenizer.tokenizer = arg; return 0;
    case OPT_DECODE: o->decode = true; return 0;
    case OPT_JSONL: o->jsonl = true; return 0;
    case OPT_SPECIALS: o->tokenizer.specials = true; return 0;
    case OPT_USER: o->tokenizer.user = arg; return 0;
    case OPT_NO_HMM: o->tokenizer.no_hmm = true; return 0;
    case OPT_LENGTH:
        o->length = true;
        o->tokenizer.most = (int)cli_int_option(state, "--length", arg, 2, INT_MAX / 2);
        return 0;
    case OPT_TIME: o->time = true; return 0;
    case ARGP_KEY_ARGS: o->first = state->next; return 0;
    case ARGP_KEY_END:
        if (!o->tokenizer.tokenizer) argp_error(state, "expected --tokenizer FILE");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* Options that the tokenizer has no use for. */
static void check_options(const Options *o, TokenizeKind kind)
{
    const TokenizeOptions *t = &o->tokenizer;
    if (kind != TOKENIZE_JIEBA && (t->user || t->no_hmm))
        cli_usage("--user-dict and --no-hmm are jieba's; %s is none", t->tokenizer);
    if (kind != TOKENIZE_WORDPIECE && o->length) cli_usage("--length is WordPiece's; %s is none", t->tokenizer);
    if (kind == TOKENIZE_JIEBA && t->specials) cli_usage("--specials: jieba has no special tokens");
    if (kind == TOKENIZE_JIEBA && o->decode && !o->jsonl)
        cli_usage("jieba: --decode needs --jsonl, since words may have spaces in them");
}

typedef struct Run {
    const Options *o;
    Tokenize t;
    const char *name; /* of the input */
    size_t line;
    char where[600];
    double seconds; /* in the tokenizer */
    size_t bytes;   /* of text */
} Run;

/* The tokenizer's part, timed. */
static bool to_ids(Run *r, const char *text, size_t n, const int32_t **ids, int *count, Error *e)
{
    double from = cli_seconds();
    bool ok = tokenize_ids(&r->t, text, n, ids, count, e);
    r->seconds += cli_seconds() - from;
    r->bytes += n;
    return ok;
}

static bool to_words(Run *r, const char *text, size_t n, const uint32_t **ends, int *count, Error *e)
{
    double from = cli_seconds();
    bool ok = jieba_cut(r->t.cutter, text, n, ends, count, e);
    r->seconds += cli_seconds() - from;
    r->bytes += n;
    return ok;
}

static bool to_text(Run *r, const int32_t *ids, int count, char **text, size_t *n, Error *e)
{
    double from = cli_seconds();
    bool ok = tokenize_text(&r->t, ids, count, text, n, e);
    r->seconds += cli_seconds() - from;
    if (ok) r->bytes += *n;
    return ok;
}

/* ---- plain lines ---- */

static bool encode_plain(Run *r, const char *text, size_t n, Error *e)
{
    const int32_t *ids;
    const uint32_t *ends;
    int count;
    if (r->t.kind == TOKENIZE_JIEBA) {
        if (!to_words(r, text, n, &ends, &count, e)) return false;
        for (int i = 0; i < count; i++) {
            uint32_t from = i ? ends[i - 1] : 0;
            if (i) putchar(' ');
            fwrite(text + from, 1, ends[i] - from, stdout);
        }
    } else {
        if (!to_ids(r, text, n, &ids, &count, e)) return false;
        for (int i = 0; i < count; i++) printf(i ? " %d" : "%d", ids[i]);
    }
    putchar('\n');
    return true;
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static bool read_ids(const char *s, size_t n, int32_t *ids, int *count, Error *e)
{
    const char *end = s + n;
    for (*count = 0; s < end;) {
        while (s < end && is_blank(*s)) s++;
        if (s == end) break;
        const char *from = s;
        int64_t value = 0;
        for (; s < end && *s >= '0' && *s <= '9' && value <= INT32_MAX; s++) value = 10 * value + (*s - '0');
        if (s == from || value > INT32_MAX || (s < end && !is_blank(*s))) {
            size_t word = 0;
            while (from + word < end && word < 40 && !is_blank(from[word])) word++;
            return error_set(e, ERROR_INPUT, "expected ids separated by spaces, found '%.*s'", (int)word, from);
        }
        ids[(*count)++] = (int32_t)value;
    }
    return true;
}

static bool decode_plain(Run *r, const char *line, size_t length, Error *e)
{
    int32_t *ids = malloc((length / 2 + 1) * sizeof *ids);
    char *text = NULL;
    size_t n;
    int count;
    if (!ids) return error_set(e, ERROR_MEMORY, "no memory for ids");
    bool ok = read_ids(line, length, ids, &count, e) && to_text(r, ids, count, &text, &n, e);
    if (ok) {
        fwrite(text, 1, n, stdout);
        putchar('\n');
        free(text);
    }
    free(ids);
    return ok;
}

/* ---- JSON lines ---- */

static bool cannot_write(Error *e)
{
    return error_set(e, ERROR_IO, "standard output: cannot write: %s", strerror(errno));
}

/* Writes the object with `key` taken out and `value` (stolen) put in. */
static bool put_object(json_t *object, const char *key, const char *put, json_t *value, Error *e)
{
    json_object_del(object, key);
    bool ok = value && !json_object_set_new(object, put, value) && !json_dumpf(object, stdout, JSON_COMPACT);
    if (ok) putchar('\n');
    return ok || ferror(stdout) || error_set(e, ERROR_MEMORY, "no memory for a JSON object");
}

static bool encode_object(Run *r, json_t *object, Error *e)
{
    const char *text;
    const int32_t *ids;
    const uint32_t *ends;
    int count;
    if (!json_get_string(object, "text", r->where, &text, e)) return false;
    json_t *list = json_array();
    bool jieba = r->t.kind == TOKENIZE_JIEBA;
    size_t n = json_string_length(json_object_get(object, "text"));
    bool ok = jieba ? to_words(r, text, n, &ends, &count, e) : to_ids(r, text, n, &ids, &count, e);
    for (int i = 0; ok && i < count; i++) {
        uint32_t from = jieba && i ? ends[i - 1] : 0;
        json_t *x = jieba ? json_stringn(text + from, ends[i] - from) : json_integer(ids[i]);
        if (json_array_append_new(list, x)) ok = error_set(e, ERROR_MEMORY, "no memory for a list");
    }
    if (ok) return put_object(object, "text", jieba ? "words" : "ids", list, e);
    json_decref(list);
    return false;
}

static bool join_words(Run *r, json_t *object, Error *e)
{
    json_t *words, *word;
    size_t n = 0, at;
    char *text = NULL;
    if (!json_get_array(object, "words", r->where, &words, e)) return false;
    FILE *f = open_memstream(&text, &n);
    if (!f) return error_set(e, ERROR_MEMORY, "no memory for a text");
    bool ok = true;
    json_array_foreach(words, at, word)
    {
        if (!json_is_string(word)) ok = error_set(e, ERROR_INPUT, "words: number %zu is not a string", at);
        if (!ok) break;
        fwrite(json_string_value(word), 1, json_string_length(word), f);
    }
    if (fclose(f)) ok = error_set(e, ERROR_MEMORY, "no memory for a text");
    ok = ok && put_object(object, "words", "text", json_stringn(text, n), e);
    free(text);
    return ok;
}

static bool decode_object(Run *r, json_t *object, Error *e)
{
    json_t *list;
    char *text = NULL;
    size_t n;
    if (r->t.kind == TOKENIZE_JIEBA) return join_words(r, object, e);
    if (!json_get_array(object, "ids", r->where, &list, e)) return false;
    size_t count = json_array_size(list);
    int32_t *ids = malloc((count + 1) * sizeof *ids);
    bool ok = ids || error_set(e, ERROR_MEMORY, "no memory for ids");
    for (size_t i = 0; ok && i < count; i++) {
        const json_t *x = json_array_get(list, i);
        if (!json_is_integer(x) || json_integer_value(x) < 0 || json_integer_value(x) > INT32_MAX)
            ok = error_set(e, ERROR_INPUT, "ids: number %zu is not an id", i);
        else
            ids[i] = (int32_t)json_integer_value(x);
    }
    ok = ok && to_text(r, ids, (int)count, &text, &n, e);
    /* jansson writes no NUL, which a token may hold */
    ok = ok &&
         (!memchr(text, 0, n) || error_set(e, ERROR_INPUT, "the text has a NUL, which JSON lines cannot hold"));
    ok = ok && put_object(object, "ids", "text", json_stringn(text, n), e);
    free(text);
    free(ids);
    return ok;
}

static bool take_object(Run *r, const char *line, size_t n, Error *e)
{
    json_t *object = json_parse(line, n, r->where, e);
    if (!object) return false;
    bool ok = json_is_object(object) || error_set(e, ERROR_INPUT, "expected a JSON object");
    ok = ok && (r->o->decode ? decode_object(r, object, e) : encode_object(r, object, e));
    json_decref(object);
    return ok;
}

/* ---- lines ---- */

static bool take_line(Run *r, const char *line, size_t n, Error *e)
{
    Error inner = {0};
    snprintf(r->where, sizeof r->where, "%.500s: line %zu", r->name, r->line);
    bool ok = r->o->jsonl    ? take_object(r, line, n, &inner)
              : r->o->decode ? decode_plain(r, line, n, &inner)
                             : encode_plain(r, line, n, &inner);
    if (ok) return true;
    bool named = !strncmp(inner.msg, r->where, strlen(r->where));
    return named ? error_set(e, inner.code, "%s", inner.msg)
                 : error_set(e, inner.code, "%s: %s", r->where, inner.msg);
}

static bool take_stream(Run *r, FILE *f, const char *name, Error *e)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    bool ok = true;
    r->name = name;
    errno = 0;
    for (r->line = 1; ok && (n = getline(&line, &room, f)) >= 0; r->line++) {
        if (n && line[n - 1] == '\n') n--;
        ok = take_line(r, line, (size_t)n, e) && (!ferror(stdout) || cannot_write(e));
        errno = 0;
    }
    if (ok && errno == ENOMEM) ok = error_set(e, ERROR_MEMORY, "%s: line %zu: no memory for it", name, r->line);
    if (ok && ferror(f)) ok = error_set(e, ERROR_IO, "%s: cannot read: %s", name, strerror(errno));
    free(line);
    return ok;
}

static bool take_files(Run *r, int argc, char **argv, Error *e)
{
    int first = r->o->first;
    if (!first) return take_stream(r, stdin, "standard input", e);
    for (int i = first; i < argc; i++) {
        FILE *f = fopen(argv[i], "re");
        if (!f) return error_set(e, ERROR_IO, "%s: cannot open: %s", argv[i], strerror(errno));
        bool ok = take_stream(r, f, argv[i], e);
        fclose(f);
        if (!ok) return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {options, parse, "[FILE...]", doc, children, NULL, NULL};
    Options o = {.tokenizer.most = INT_MAX / 2};
    Run r = {.o = &o};
    Error e = {0};
    cli_parse(&argp, argc, argv, &o);
    if (!tokenize_open(&r.t, &o.tokenizer, &e)) cli_fail(&e);
    check_options(&o, r.t.kind);
    bool ok = take_files(&r, argc, argv, &e);
    tokenize_close(&r.t);
    if (ok && fflush(stdout)) ok = cannot_write(&e);
    if (!ok) cli_fail(&e);
    if (o.time)
        cli_note("%.2f MB of text in %.3f s: %.1f MB/s", (double)r.bytes * 1e-6, r.seconds,
                 r.seconds > 0 ? (double)r.bytes * 1e-6 / r.seconds : 0);
    return 0;
}
