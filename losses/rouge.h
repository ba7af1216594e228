/* ROUGE-L (Lin 2004) with beta 1.2, one reference each, as the captioning evaluation code computes it. */
#ifndef LOSSES_ROUGE_H
#define LOSSES_ROUGE_H
#include "losses/words.h"

/* The score of one pair in 0..1. False only without memory. Texts cut with WORDS_SPACES and ending in a space
 * give that code's exact numbers: the empty last words match each other. */
bool rouge_l(const Tokens *said, const Tokens *truth, double *score, Error *e);
#endif
