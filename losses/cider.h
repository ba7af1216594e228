/* CIDEr (Vedantam et al. 2015) in the -D form that the captioning evaluation code computes under this name, one
 * reference each. For n = 1..4 a text's vector holds, for each n-gram, how often it stands there times
 * log N - log max(1, df), df the number of the N truths that hold it; with h, r the vectors and l the numbers
 * of 2-grams of the two texts CIDEr = 10 * mean over n of  sum min(h, r) r / (|h| |r|) * exp(-(l_h - l_r)^2 /
 * (2 * 6^2)) df belongs to the truths that are scored together: scores of different sets do not compare, and
 * one pair alone scores 0. */
#ifndef LOSSES_CIDER_H
#define LOSSES_CIDER_H
#include "losses/words.h"

/* Scores n pairs, said[i] against truth[i]: each (n) in 0..10. Time and memory grow with the sum of the
 * lengths. False only without memory. */
bool cider_score(const Tokens *said, const Tokens *truth, int n, double *each, Error *e);
#endif
