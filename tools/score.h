/* Scoring a set of reports against a data set's truth: what pcrl-score prints. */
#ifndef TOOLS_SCORE_H
#define TOOLS_SCORE_H
#include "data/ctrg.h"
#include "data/json.h"
#include "losses/bleu.h"
#include "losses/tuples.h"
#include "tokenizer/bpe.h"
#include <stdio.h>

/* The studies that are scored, in file order. */
typedef struct ScoreTruth {
    int n;
    int64_t *id;
    char **report;                   /* the true findings text */
    FindingSet *set;                 /* of the truth block, or parsed from the text where there is none */
    double (*radius)[FINDING_COUNT]; /* mm, largest lesion of each finding; 0: no size */
} ScoreTruth;
bool score_truth(const Ctrg *c, ScoreTruth *out, Error *e);
void score_truth_free(ScoreTruth *t);
/* Drops the studies i with reports[i] == NULL, from truth and reports alike. */
void score_keep_reported(ScoreTruth *t, char **reports);

/* Reads annotations.json (or the folder it lies in) without looking for the images. */
Ctrg *score_open_annotations(const char *path, Error *e);

/* Reads lines {"id": "12", "report": "..."} (further members are ignored). *reports is t->n strings in the
 * truth's order, malloc'ed with their array (score_reports_free). An id twice is an error; so is an id that is
 * not in the truth, unless `unknown`; so is a study without a line, unless `missing`, when it is NULL. */
bool score_read_reports(const char *path, const ScoreTruth *t, bool missing, bool unknown, char ***reports,
                        Error *e);
void score_reports_free(char **reports, int n);

typedef struct ScoreText {
    double bleu[BLEU_ORDERS], rouge_l;
} ScoreText;

typedef struct ScoreSystem {
    char name[64], how[256]; /* how: what a control is, one line; "" for the model */
    TupleScores tuples;
    TupleSpread spread;
    ScoreText characters, tokens; /* tokens only with a tokenizer */
    bool has_tokens;
} ScoreSystem;

/* The findings for losses/tuples; it borrows both arrays. */
TupleTable score_table(uint8_t sided[FINDING_COUNT], uint8_t focal[FINDING_COUNT]);

/* Fills everything but name and how. With a tokenizer (NULL allowed) texts are also compared token by token:
 * each id decoded alone, so that fragments of characters are equal, joined by spaces. repeats: of the
 * bootstrap. */
bool score_system(const ScoreTruth *t, char *const *reports, const Bpe *tokenizer, int repeats, uint64_t seed,
                  ScoreSystem *out, Error *e);

/* The report of `train` that scores best when given to every study of t: of the 40 commonest and the first 400,
 * chosen by micro F1 on t itself, so no constant report is likely to do better. *report points into train. */
bool score_best_constant(const ScoreTruth *t, const Ctrg *train, const char **report, int *tried, Error *e);

/* Tables for people; the first system is the model, the others its controls. */
void score_print(FILE *out, const ScoreTruth *t, const ScoreSystem *systems, int n);
/* The same as one JSON object, a new reference; undefined numbers are null. NULL without memory. */
json_t *score_json(const ScoreTruth *t, const ScoreSystem *systems, int n);
/* x, or null where it is undefined. */
json_t *score_number(double x);
#endif
