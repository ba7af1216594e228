#include "tools/score_text.h"
#include "data/report_list.h"
#include "losses/rouge.h"
#include "tensor/utf8.h"
#include "tokenizer/bpe.h"
#include "tokenizer/jieba.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Buffer {
    char *s;
    size_t n, room;
} Buffer;

struct Cutter {
    TextSplit split;
    Words *words;
    Jieba *jieba;
    JiebaCutter *jieba_cutter;
    Bpe *bpe;
    BpeEncoder *encoder;
    Buffer plain, joined;
    char about[4400];
};

static const char *const names[SPLIT_COUNT] = {"char", "llama3", "jieba", "space"};
const char *text_split_name(TextSplit split) { return names[split]; }

bool text_split_from_name(const char *name, TextSplit *out)
{
    for (int i = 0; i < SPLIT_COUNT; i++)
        if (!strcmp(name, names[i])) {
            *out = (TextSplit)i;
            return true;
        }
    return false;
}

/* ---- opening ---- */

static bool open_jieba(Cutter *c, const CutterOptions *o, Error *e)
{
    const char *folder = o->dictionary ? o->dictionary : JIEBA_FOLDER;
    char dictionary[4200];
    snprintf(dictionary, sizeof dictionary, "%s/dict.txt", folder);
    if (access(dictionary, R_OK))
        return error_set(e, ERROR_IO,
                         "%s: cannot read jieba's dictionary; Debian's package python3-jieba has it in %s",
                         dictionary, JIEBA_FOLDER);
    c->jieba = jieba_open(folder, e);
    if (!c->jieba || (o->user && !jieba_add_words(c->jieba, o->user, e))) return false;
    c->jieba_cutter = jieba_cutter_open(c->jieba, true, e);
    snprintf(c->about, sizeof c->about, "words of jieba (precise mode, hidden Markov model, dictionary %s%s%s)",
             folder, o->user ? ", user dictionary " : "", o->user ? o->user : "");
    return c->jieba_cutter != NULL;
}

static bool open_tokens(Cutter *c, const CutterOptions *o, Error *e)
{
    c->bpe = bpe_open(o->tokenizer, e);
    c->encoder = c->bpe ? bpe_encoder_open(c->bpe, e) : NULL;
    snprintf(c->about, sizeof c->about, "tokens of %s (%d ids), each decoded alone", o->tokenizer,
             c->bpe ? bpe_vocab_size(c->bpe) : 0);
    return c->encoder != NULL;
}

Cutter *cutter_open(TextSplit split, const CutterOptions *o, Error *e)
{
    Cutter *c = calloc(1, sizeof *c);
    if (!c) {
        error_set(e, ERROR_MEMORY, "no memory to cut texts");
        return NULL;
    }
    c->split = split;
    c->words = words_open(e);
    bool ok = c->words != NULL;
    switch (split) {
    case SPLIT_CHAR: strcpy(c->about, "characters, white space left out"); break;
    case SPLIT_SPACE: strcpy(c->about, "words between white space"); break;
    case SPLIT_TOKENS: ok = ok && open_tokens(c, o, e); break;
    case SPLIT_JIEBA: ok = ok && open_jieba(c, o, e); break;
    case SPLIT_COUNT: die("cutter_open: no such split");
    }
    if (ok) return c;
    cutter_close(c);
    return NULL;
}

void cutter_close(Cutter *c)
{
    if (!c) return;
    jieba_cutter_close(c->jieba_cutter);
    jieba_close(c->jieba);
    bpe_encoder_close(c->encoder);
    bpe_close(c->bpe);
    words_close(c->words);
    free(c->plain.s);
    free(c->joined.s);
    free(c);
}

const char *cutter_about(const Cutter *c) { return c->about; }

/* ---- cutting ---- */

/* Appends; the buffer ends with a NUL. */
static bool put(Buffer *b, const char *s, size_t n, Error *e)
{
    if (b->room - b->n <= n) {
        size_t room = 2 * (b->n + n) + 256;
        char *grown = realloc(b->s, room);
        if (!grown) return error_set(e, ERROR_MEMORY, "no memory for a text of %zu bytes", b->n + n);
        b->s = grown;
        b->room = room;
    }
    memcpy(b->s + b->n, s, n);
    b->n += n;
    b->s[b->n] = 0;
    return true;
}

static bool put_word(Buffer *b, const char *s, size_t n, Error *e)
{
    return put(b, s, n, e) && put(b, " ", 1, e);
}

/* The text with spaces for line ends. */
static bool flatten(Cutter *c, const char *text, Error *e)
{
    c->plain.n = 0;
    if (!put(&c->plain, text, strlen(text), e)) return false;
    for (char *s = c->plain.s; (s = strchr(s, '\n')); s++) *s = ' ';
    return true;
}

static bool join_characters(Cutter *c, Error *e)
{
    bool ok = true;
    char one[8];
    for (size_t at = 0, length; ok && at < c->plain.n; at += length) {
        int32_t point;
        length = (size_t)utf8_next(c->plain.s + at, c->plain.n - at, &point);
        memcpy(one, c->plain.s + at, length);
        one[length] = 0;
        ok = report_empty(one) || put_word(&c->joined, one, length, e);
    }
    return ok;
}

static bool join_jieba(Cutter *c, Error *e)
{
    const uint32_t *ends;
    int count;
    bool ok = jieba_cut(c->jieba_cutter, c->plain.s, c->plain.n, &ends, &count, e);
    for (int i = 0; ok && i < count; i++) {
        uint32_t from = i ? ends[i - 1] : 0;
        ok = put_word(&c->joined, c->plain.s + from, ends[i] - from, e);
    }
    return ok;
}

static bool join_tokens(Cutter *c, Error *e)
{
    const int32_t *ids;
    int count;
    bool ok = bpe_encoder_run(c->encoder, c->plain.s, c->plain.n, false, &ids, &count, e);
    for (int i = 0; ok && i < count; i++) {
        char *one;
        size_t n;
        ok = bpe_decode(c->bpe, &ids[i], 1, false, &one, &n, e);
        if (!ok) break;
        ok = put_word(&c->joined, one, n, e);
        free(one);
    }
    return ok;
}

static bool join_spaces(Cutter *c, Error *e)
{
    size_t n = c->plain.n;
    return put(&c->joined, c->plain.s, n, e) && (c->plain.s[n - 1] == ' ' || put(&c->joined, " ", 1, e));
}

bool cutter_join(Cutter *c, const char *text, const char **words, Error *e)
{
    c->joined.n = 0;
    bool ok = true;
    if (report_empty(text)) {
        ok = put_word(&c->joined, "None", 4, e);
    } else if ((ok = flatten(c, text, e))) {
        switch (c->split) {
        case SPLIT_CHAR: ok = join_characters(c, e); break;
        case SPLIT_SPACE: ok = join_spaces(c, e); break;
        case SPLIT_TOKENS: ok = join_tokens(c, e); break;
        case SPLIT_JIEBA: ok = join_jieba(c, e); break;
        case SPLIT_COUNT: break;
        }
    }
    *words = c->joined.s;
    return ok;
}

/* ---- scoring ---- */

static bool no_memory(Error *e, int n)
{
    return error_set(e, ERROR_MEMORY, "no memory to score the texts of %d studies", n);
}

/* The tokens of a text in both conventions. Of a million texts they take no more room than they need. */
static bool cut(Cutter *c, const char *text, Tokens *split, Tokens *spaces, Error *e)
{
    const char *words;
    if (!cutter_join(c, text, &words, e) || !words_cut(c->words, words, WORDS_SPLIT, split, e) ||
        !words_cut(c->words, words, WORDS_SPACES, spaces, e))
        return false;
    int32_t *less = realloc(split->id, (size_t)split->n * sizeof *less);
    if (less) split->id = less;
    return true;
}

/* The scores of one pair alone. */
static bool score_pair(Cutter *c, const char *said, const char *truth, Tokens *said_tokens,
                       Tokens *truth_tokens, TextScore *out, Error *e)
{
    Tokens said_spaces = {0}, truth_spaces = {0};
    bool ok = cut(c, said, said_tokens, &said_spaces, e) && cut(c, truth, truth_tokens, &truth_spaces, e) &&
              bleu_score(said_tokens, truth_tokens, 1, out->bleu, e) &&
              rouge_l(said_tokens, truth_tokens, &out->rouge_l, e) &&
              rouge_l(&said_spaces, &truth_spaces, &out->rouge_l_space, e);
    tokens_free(&said_spaces);
    tokens_free(&truth_spaces);
    return ok;
}

bool text_scores(Cutter *c, char *const *said, char *const *truth, int n, TextScores *out, Error *e)
{
    Tokens *said_tokens = calloc((size_t)n + 1, sizeof *said_tokens),
           *truth_tokens = calloc((size_t)n + 1, sizeof *truth_tokens);
    *out = (TextScores){.n = n, .each = calloc((size_t)n + 1, sizeof *out->each)};
    bool ok = (said_tokens && truth_tokens && out->each) || no_memory(e, n);
    for (int i = 0; ok && i < n; i++) {
        ok = score_pair(c, said[i], truth[i], &said_tokens[i], &truth_tokens[i], &out->each[i], e);
        out->all.rouge_l += out->each[i].rouge_l;
        out->all.rouge_l_space += out->each[i].rouge_l_space;
    }
    out->all.rouge_l /= n > 0 ? n : 1;
    out->all.rouge_l_space /= n > 0 ? n : 1;
    ok = ok && bleu_score(said_tokens, truth_tokens, n, out->all.bleu, e);
    for (int i = 0; i < n; i++) {
        if (said_tokens) tokens_free(&said_tokens[i]);
        if (truth_tokens) tokens_free(&truth_tokens[i]);
    }
    free(said_tokens);
    free(truth_tokens);
    if (!ok) text_scores_free(out);
    return ok;
}

void text_scores_free(TextScores *s)
{
    free(s->each);
    *s = (TextScores){0};
}
