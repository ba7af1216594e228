/* Reports that cannot have seen the right image, to hold a model's against: chosen from the training reports
 * without a look at the studies that are scored, or the model's own, dealt to the wrong studies. And how many
 * different things a set of reports says. */
#ifndef TOOLS_SCORE_CONTROLS_H
#define TOOLS_SCORE_CONTROLS_H
#include "data/findings.h"
#include "tensor/error.h"

enum { CONTROL_COMMONEST = 40, CONTROL_FIRST = 400 };

/* The training set: n >= 1 reports. What is true of a study is what its report says. */
typedef struct ControlTrain {
    int n;
    const char *const *report;
} ControlTrain;

typedef struct ControlChoice {
    const char *report; /* one of the training reports */
    int times, tried;   /* how many training studies have it; of how many reports it is the best */
    double score;       /* of it, given to every training study: what it was chosen by */
} ControlChoice;

/* The report that most training studies have; of several the first. score is the share of studies. */
bool control_commonest(const ControlTrain *t, ControlChoice *out, Error *e);
/* Of the CONTROL_COMMONEST commonest reports the one with the best corpus BLEU-4, character by character,
 * against all training reports. */
bool control_best_text(const ControlTrain *t, ControlChoice *out, Error *e);
/* Of the CONTROL_COMMONEST commonest and the first CONTROL_FIRST reports the one with the best micro F1 of
 * (entity, side, density) against the training set. */
bool control_best_findings(const ControlTrain *t, ControlChoice *out, Error *e);

/* A training report drawn for each of n studies, with replacement. */
void control_random(const ControlTrain *t, int n, uint64_t seed, const char **report);

/* Deals the reports of n >= 2 studies to the wrong ones: study i gets that of from[i] != i, each is dealt once
 * (one random cycle through all: Sattolo 1986). With n = 1 from[0] is 0. */
void control_shuffled(int n, uint64_t seed, int *from);

/* How many different reports and clauses there are. Clauses end as in data/findings.h; empty ones do not count,
 * white space at their ends is not looked at. */
typedef struct Diversity {
    int64_t reports, distinct_reports, clauses, distinct_clauses;
    int64_t commonest; /* reports that are the commonest one */
} Diversity;
bool diversity_count(const char *const *reports, int n, Diversity *out, Error *e);
#endif
