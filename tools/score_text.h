/* The text metrics of one set of reports beside the true ones: each study's and the corpus'.
 *
 * A cutter makes words of a text as the papers' evaluation scripts do: words each followed by one space, line
 * ends are spaces, and a text without a word is the one word None. By characters: every character is a word,
 * white space is left out. By a tokenizer: each id decoded alone, so that fragments of characters become U+FFFD
 * and compare equal. By jieba: its precise mode with the hidden Markov model, white space being words too. By
 * spaces: the text as it is. */
#ifndef TOOLS_SCORE_TEXT_H
#define TOOLS_SCORE_TEXT_H
#include "losses/bleu.h"

typedef enum TextSplit { SPLIT_CHAR, SPLIT_TOKENS, SPLIT_JIEBA, SPLIT_SPACE, SPLIT_COUNT } TextSplit;

/* "char", "llama3", "jieba", "space". */
const char *text_split_name(TextSplit split);
bool text_split_from_name(const char *name, TextSplit *out);

typedef struct CutterOptions {
    const char *tokenizer;  /* SPLIT_TOKENS: the vocabulary's file */
    const char *dictionary; /* SPLIT_JIEBA: jieba's folder; NULL: Debian's */
    const char *user;       /* SPLIT_JIEBA: a dictionary more, or NULL */
} CutterOptions;

typedef struct Cutter Cutter;
/* NULL and one line in *e. The caller closes it. Of one thread at a time. */
Cutter *cutter_open(TextSplit split, const CutterOptions *o, Error *e);
void cutter_close(Cutter *c);
/* How long opening took, in seconds of a processor: jieba's dictionary, the vocabulary. */
double cutter_seconds(const Cutter *c);
/* What the words are, with the files they come from: one line. */
const char *cutter_about(const Cutter *c);
/* Cuts a text. The words, each with its space, are the cutter's until its next text. */
bool cutter_join(Cutter *c, const char *text, const char **words, Error *e);

typedef struct TextScore {
    double bleu[BLEU_ORDERS]; /* 0..1 */
    double meteor;            /* 0..1, of the words with their spaces, as the scripts give them to METEOR */
    double rouge_l;           /* 0..1, words as split() gives them */
    double rouge_l_space;     /* split(" ") instead: an empty word after the last space, which matches */
    double cider;             /* 0..10 */
} TextScore;

/* What resampling needs: a study's row of TEXT_SUMS numbers, and the scores of the sum of any number of rows.
 * CIDEr's is the mean of the studies' values, whose document frequencies stay those of all. */
enum { TEXT_SUMS = 28 };
void text_from_sums(const double *sum, TextScore *out);

/* Where the time went, in seconds of a processor. */
typedef enum TextTime { TIME_CUT, TIME_BLEU, TIME_METEOR, TIME_ROUGE, TIME_CIDER, TEXT_TIMES } TextTime;

typedef struct TextScores {
    int n;
    double seconds[TEXT_TIMES]; /* ROUGE-L's are those of both conventions */
    TextScore all;              /* BLEU and METEOR of the corpus, ROUGE-L's and CIDEr's means */
    TextScore *each;            /* (n) of each pair alone, CIDEr with the document frequencies of all truths */
    double *sums;               /* (n,TEXT_SUMS); may be freed, and set to NULL, before the rest */
} TextScores;

/* Scores said[i] against truth[i], i < n. False without memory or when a text cannot be cut. The caller frees.
 */
bool text_scores(Cutter *c, char *const *said, char *const *truth, int n, TextScores *out, Error *e);
void text_scores_free(TextScores *s);
#endif
