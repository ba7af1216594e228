/* BLEU-1 to 4 (Papineni et al. 2002) as the captioning evaluation code computes it, one reference each. */
#ifndef LOSSES_BLEU_H
#define LOSSES_BLEU_H
#include "losses/words.h"

enum { BLEU_ORDERS = 4 };

/* Scores n pairs as one corpus; said[i] is compared with truth[i]. bleu[k-1] is BLEU-k in 0..1. With n = 1 the
 * score of one pair. False only without memory. */
bool bleu_score(const Tokens *said, const Tokens *truth, int n, double bleu[BLEU_ORDERS], Error *e);
#endif
