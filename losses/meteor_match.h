/* Which word of the text said each word of the truth can be matched with. */
#ifndef LOSSES_METEOR_MATCH_H
#define LOSSES_METEOR_MATCH_H
#include "losses/meteor.h"
#include "losses/meteor_words.h"

typedef struct MeteorMatch {
    int32_t at; /* the place in the text said */
    int32_t module;
} MeteorMatch;

/* Word j of the truth: match[first], n of them. */
typedef struct MeteorMatches {
    MeteorMatch *match;
    struct {
        int32_t first, n;
        bool sure; /* n = 1, and neither word can be matched with another */
    } * word;      /* of each word of the truth; equal words share their matches */
} MeteorMatches;

/* In the jar's order: equal words, synonyms, paraphrases of the truth's word, then those of which it is one.
 * Texts that are equal have the first kind only. False only without memory; free with meteor_matches_free
 * either way. */
bool meteor_matches_find(const MeteorWord *said, int n_said, const MeteorWord *truth, int n_truth,
                         MeteorMatches *out);
void meteor_matches_free(MeteorMatches *m);
#endif
