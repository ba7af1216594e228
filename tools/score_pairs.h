/* Does a report follow the image? Scores over pairs of studies as pcrl-synth --counterfactual --twins draws
 * them: the same patient with one lesion mirrored or removed, and the same patient under other noise. */
#ifndef TOOLS_SCORE_PAIRS_H
#define TOOLS_SCORE_PAIRS_H
#include "tools/score.h"

typedef struct ScorePairs {
    TuplePairScores model;
    TuplePairScores
        shuffled; /* a control: each counterfactual pair with the two reports of the next patient's */
} ScorePairs;

/* data: a data set (or its annotations.json) whose ids say what belongs together (data/phantom_study.h);
 * reports: those of all its studies. Bad input: an id without its original, a counterfactual that is true to
 * the original, a twin that is not, no pair at all. */
bool score_pairs(const char *data, const char *reports, int repeats, uint64_t seed, ScorePairs *out, Error *e);

void score_pairs_print(FILE *out, const ScorePairs *p);
json_t *score_pairs_json(const ScorePairs *p); /* a new reference; NULL without memory */
#endif
