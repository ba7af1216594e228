#include "tools/score_text.h"
#include "data/report_list.h"
#include "losses/cider.h"
#include "losses/meteor.h"
#include "losses/rouge.h"
#include "tensor/utf8.h"
#include "tokenizer/bpe.h"
#include "tokenizer/jieba.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
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
    double seconds;
};

/* Seconds of this thread on a processor, which other programs do not lengthen. */
static double seconds_used(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

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
    double from = seconds_used();
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
    c->seconds = seconds_used() - from;
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
double cutter_seconds(const Cutter *c) { return c->seconds; }

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
    for (size_t at = 0, n; ok && at < c->plain.n; at += n) {
        int32_t point;
        n = (size_t)utf8_next(c->plain.s + at, c->plain.n - at, &point);
        ok = utf8_space(point) || put_word(&c->joined, c->plain.s + at, n, e);
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

/* A row of sums: BLEU's counts, METEOR's, then those whose mean is the score, and 1 for the study. */
enum {
    BLEU_SUMS = sizeof(BleuCounts) / sizeof(int64_t),
    METEOR_SUMS = sizeof(MeteorStats) / sizeof(int64_t),
    SUM_BLEU = 0,
    SUM_METEOR = SUM_BLEU + BLEU_SUMS,
    SUM_ROUGE = SUM_METEOR + METEOR_SUMS,
    SUM_SPACE,
    SUM_CIDER,
    SUM_STUDIES
};
static_assert(SUM_STUDIES + 1 == TEXT_SUMS, "a row of sums has another length");

static void to_row(const void *counts, int n, double *row)
{
    for (int i = 0; i < n; i++) row[i] = (double)((const int64_t *)counts)[i];
}

static void from_row(const double *row, int n, void *counts)
{
    for (int i = 0; i < n; i++) ((int64_t *)counts)[i] = llrint(row[i]);
}

void text_from_sums(const double *sum, TextScore *out)
{
    BleuCounts bleu;
    MeteorStats meteor;
    double n = sum[SUM_STUDIES] > 0 ? sum[SUM_STUDIES] : 1;
    from_row(sum + SUM_BLEU, BLEU_SUMS, &bleu);
    from_row(sum + SUM_METEOR, METEOR_SUMS, &meteor);
    bleu_from_counts(&bleu, out->bleu);
    out->meteor = meteor_from_stats(&meteor);
    out->rouge_l = sum[SUM_ROUGE] / n;
    out->rouge_l_space = sum[SUM_SPACE] / n;
    out->cider = sum[SUM_CIDER] / n;
}

/* A pair that is being scored. */
typedef struct Pair {
    Tokens said, truth, said_spaces, truth_spaces;
    char *said_words; /* the cutter has the truth's */
} Pair;

/* Cuts a text in both conventions. Of a million texts the tokens take no more room than they need. */
static bool cut(Cutter *c, const char *text, const char **words, Tokens *split, Tokens *spaces, Error *e)
{
    if (!cutter_join(c, text, words, e) || !words_cut(c->words, *words, WORDS_SPLIT, split, e) ||
        !words_cut(c->words, *words, WORDS_SPACES, spaces, e))
        return false;
    int32_t *less = realloc(split->id, (size_t)split->n * sizeof *less);
    if (!less) return no_memory(e, 1);
    split->id = less;
    return true;
}

/* Adds the time since *from, and begins anew. */
static void lap(double *from, double *seconds)
{
    double now = seconds_used();
    *seconds += now - *from;
    *from = now;
}

/* The scores of one pair alone, but CIDEr; its row of sums. */
static bool score_pair(Cutter *c, const char *said, const char *truth, Pair *p, TextScore *out, double *row,
                       double *seconds, Error *e)
{
    const char *words;
    BleuCounts bleu;
    MeteorStats meteor, sum = {0};
    double from = seconds_used();
    bool ok = cut(c, said, &words, &p->said, &p->said_spaces, e) &&
              ((p->said_words = strdup(words)) || no_memory(e, 1)) &&
              cut(c, truth, &words, &p->truth, &p->truth_spaces, e);
    lap(&from, &seconds[TIME_CUT]);
    ok = ok && bleu_count(&p->said, &p->truth, &bleu, e);
    lap(&from, &seconds[TIME_BLEU]);
    ok = ok && meteor_pair(p->said_words, words, &meteor, &out->meteor, e);
    lap(&from, &seconds[TIME_METEOR]);
    ok = ok && rouge_l(&p->said, &p->truth, &out->rouge_l, e) &&
         rouge_l(&p->said_spaces, &p->truth_spaces, &out->rouge_l_space, e);
    lap(&from, &seconds[TIME_ROUGE]);
    if (ok) {
        bleu_from_counts(&bleu, out->bleu);
        meteor_add(&sum, &meteor);
        to_row(&bleu, BLEU_SUMS, row + SUM_BLEU);
        to_row(&sum, METEOR_SUMS, row + SUM_METEOR);
        row[SUM_ROUGE] = out->rouge_l;
        row[SUM_SPACE] = out->rouge_l_space;
        row[SUM_STUDIES] = 1;
    }
    free(p->said_words);
    tokens_free(&p->said_spaces);
    tokens_free(&p->truth_spaces);
    return ok;
}

/* CIDEr, which needs all truths at once, and the scores of the corpus. */
static bool finish(const Tokens *said, const Tokens *truth, TextScores *out, Error *e)
{
    double *cider = calloc((size_t)out->n + 1, sizeof *cider), sum[TEXT_SUMS] = {0};
    double from = seconds_used();
    bool ok = (cider || no_memory(e, out->n)) && cider_score(said, truth, out->n, cider, e);
    lap(&from, &out->seconds[TIME_CIDER]);
    for (int i = 0; ok && i < out->n; i++) {
        double *row = out->sums + (size_t)i * TEXT_SUMS;
        row[SUM_CIDER] = out->each[i].cider = cider[i];
        for (int k = 0; k < TEXT_SUMS; k++) sum[k] += row[k];
    }
    free(cider);
    if (ok) text_from_sums(sum, &out->all);
    return ok;
}

bool text_scores(Cutter *c, char *const *said, char *const *truth, int n, TextScores *out, Error *e)
{
    size_t room = (size_t)n + 1;
    Tokens *said_tokens = calloc(room, sizeof *said_tokens), *truth_tokens = calloc(room, sizeof *truth_tokens);
    *out = (TextScores){
        .n = n, .each = calloc(room, sizeof *out->each), .sums = calloc(room, TEXT_SUMS * sizeof *out->sums)};
    bool ok = (said_tokens && truth_tokens && out->each && out->sums) || no_memory(e, n);
    for (int i = 0; ok && i < n; i++) {
        Pair p = {0};
        ok = score_pair(c, said[i], truth[i], &p, &out->each[i], out->sums + (size_t)i * TEXT_SUMS,
                        out->seconds, e);
        said_tokens[i] = p.said;
        truth_tokens[i] = p.truth;
    }
    ok = ok && finish(said_tokens, truth_tokens, out, e);
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
    free(s->sums);
    *s = (TextScores){0};
}
