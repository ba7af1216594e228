/* METEOR 1.5 (Denkowski and Lavie 2014), one reference each, as its jar computes it with "-l en -norm" (the
 * captioning evaluation code's call), for reports in Chinese with numbers and abbreviations in them.
 *
 * Texts are cut by meteor_words.h: every character that is neither ASCII nor European nor Cyrillic stands
 * alone, so Chinese is scored by characters whatever cut it before; upper case is lower case. Words match when
 * they are equal, and the pairs of meteor_pairs.h do; each with one other, by meteor_align.h. Of m matched
 * words those that are equal weigh 1, synonyms .8, paraphrases .6, and in lengths and matches alike content
 * words weigh .75, English function words (some ASCII punctuation is among them) .25. With ch chunks
 *
 *   P = m / |said|, R = m / |truth|, F = 1 / (.15 / P + .85 / R)
 *   score = F (1 - .60 (ch / m)^.20)
 *
 * with the plain m in the bracket, which is 1 for equal texts; 0 without a match.
 *
 * The limit: the jar also matches different English words, by stem, synonym and paraphrase. Of 3,000
 * random texts of Chinese, letters and digits that changes the scores of a few, by at most .043; of 3,000 with
 * numbers and units it changes none. */
#ifndef LOSSES_METEOR_H
#define LOSSES_METEOR_H
#include "tensor/error.h"
#include <stdint.h>

enum { METEOR_EXACT, METEOR_SYNONYM, METEOR_PARAPHRASE, METEOR_MODULES };

/* What the score is computed from; sums over a corpus. Index [2]: in the text said, in the truth. */
typedef struct MeteorStats {
    int64_t words[2], function_words[2];
    int64_t matched[METEOR_MODULES], matched_function[METEOR_MODULES][2]; /* the function words among them */
    int64_t chunks;
} MeteorStats;

/* One pair: UTF-8 texts as they would be given to the jar (an empty text scores 0; a caller that follows the
 * evaluation scripts gives the word None instead). Bytes that are no UTF-8 count as U+FFFD. False only without
 * memory. */
bool meteor_pair(const char *said, const char *truth, MeteorStats *out, double *score, Error *e);

/* Adds a pair's statistics to a corpus'; a pair of equal texts adds no chunk. */
void meteor_add(MeteorStats *sum, const MeteorStats *pair);

/* The score of pairs together: the formula on their summed statistics, which is not the mean of the pairs'
 * scores. 0 of no pair. */
double meteor_from_stats(const MeteorStats *s);
#endif
