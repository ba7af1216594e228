/* METEOR 1.5 (Denkowski and Lavie 2014), one reference each, as its jar computes it with "-l en -norm" (the
 * captioning evaluation code's call) where only equal words match.
 *
 * Texts are cut by meteor_words.h: every character that is neither ASCII nor European or Cyrillic stands alone,
 * so Chinese is scored by characters whatever cut it before; upper case is lower case. Words are aligned one to
 * one by meteor_align.h. With m matched words in ch chunks, and every length and count weighted .75 for content
 * words and .25 for English function words (which hold some ASCII punctuation too)
 *   P = m / |said|, R = m / |truth|, F = 1 / (.15 / P + .85 / R)
 *   score = F (1 - .60 (ch / m)^.20), the bracket 1 for a pair of equal texts; 0 without a match
 *
 * The limit: the jar also matches English words by stem, WordNet synonym and a table of paraphrases. */
#ifndef LOSSES_METEOR_H
#define LOSSES_METEOR_H
#include "tensor/error.h"
#include <stdint.h>

/* What the score is computed from; sums over a corpus. Index 0: said, 1: truth. */
typedef struct MeteorStats {
    int64_t words[2], function_words[2];
    int64_t matched[2], matched_function[2]; /* the function words among them */
    int64_t chunks;
} MeteorStats;

/* One pair: UTF-8 texts as they would be given to the jar (an empty text scores 0; a caller that follows the
 * evaluation scripts gives the word None instead). Bytes that are no UTF-8 count as U+FFFD. False only without
 * memory. */
bool meteor_pair(const char *said, const char *truth, MeteorStats *out, double *score, Error *e);

/* Adds a pair's statistics to a corpus'; a pair of equal texts adds no chunk. */
void meteor_add(MeteorStats *sum, const MeteorStats *pair);

/* The score of n pairs together: the formula on their summed statistics. Not the mean of the pairs' scores. 0
 * when n is 0. */
double meteor_corpus(const MeteorStats *stats, int n);
#endif
