/* BLEU-1 to 4 (Papineni et al. 2002) as the captioning evaluation code computes it, one reference each. */
#ifndef LOSSES_BLEU_H
#define LOSSES_BLEU_H
#include "losses/words.h"

enum { BLEU_ORDERS = 4 };

/* What the score is computed from: k-grams of the pair that match (each at most as often as the truth has it),
 * k-grams said, words. Sums over a corpus. */
typedef struct BleuCounts {
    int64_t correct[BLEU_ORDERS], guess[BLEU_ORDERS], said, truth;
} BleuCounts;
/* Of one pair. False only without memory. */
bool bleu_count(const Tokens *said, const Tokens *truth, BleuCounts *out, Error *e);
/* Of a pair's counts, or a corpus' sums: bleu[k-1] is BLEU-k in 0..1. */
void bleu_from_counts(const BleuCounts *c, double bleu[BLEU_ORDERS]);

/* Each of m texts as if it were said of all n truths: sum[j] is the sum over the pairs (said[j], truth[i]).
 * False only without memory. */
bool bleu_constants(const Tokens *said, int m, const Tokens *truth, int n, BleuCounts *sum, Error *e);
#endif
