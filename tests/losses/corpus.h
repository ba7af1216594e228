/* The scores of n pairs together, as the product sums them. */
#ifndef TESTS_LOSSES_CORPUS_H
#define TESTS_LOSSES_CORPUS_H
#include "losses/bleu.h"
#include "losses/labels.h"
#include <check.h>
#include <stdlib.h>

static inline void corpus_bleu_add(BleuCounts *sum, const BleuCounts *one)
{
    for (int k = 0; k < BLEU_ORDERS; k++) {
        sum->correct[k] += one->correct[k];
        sum->guess[k] += one->guess[k];
    }
    sum->said += one->said;
    sum->truth += one->truth;
}

static inline void corpus_bleu(const Tokens *said, const Tokens *truth, int n, double bleu[BLEU_ORDERS])
{
    BleuCounts sum = {0}, one;
    Error e = {0};
    for (int i = 0; i < n; i++) {
        ck_assert_msg(bleu_count(&said[i], &truth[i], &one, &e), "%s", e.msg);
        corpus_bleu_add(&sum, &one);
    }
    bleu_from_counts(&sum, bleu);
}

/* truth, said (n, k) */
static inline void corpus_labels(const uint8_t *truth, const uint8_t *said, int n, int k, LabelScores *out,
                                 LabelScore *each)
{
    double *row = malloc(LABEL_SUMS((size_t)k) * sizeof *row),
           *sum = calloc(LABEL_SUMS((size_t)k), sizeof *sum);
    ck_assert(row && sum);
    for (int i = 0; i < n; i++) {
        labels_row(truth + i * k, said + i * k, k, row);
        for (int j = 0; j < LABEL_SUMS(k); j++) sum[j] += row[j];
    }
    labels_from_sums(sum, k, out, each);
    free(row);
    free(sum);
}
#endif
