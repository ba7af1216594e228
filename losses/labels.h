/* Scores of multi-label predictions: which of k labels a study has, against which were said.
 *
 * truth and said are rows (n, k) of small numbers: 0 the label is absent, anything else that it is there. It is
 * *right* where both are the same and not 0, so with 0/1 rows these are the usual scores, and with sides for
 * numbers a label on the wrong side is one error of each kind: said and wrong, true and missed. */
#ifndef LOSSES_LABELS_H
#define LOSSES_LABELS_H
#include <stdint.h>

/* precision = right/said, recall = right/truth, f1 = 2 right/(said + truth); each 0 where its denominator is.
 */
typedef struct LabelScore {
    int64_t right, said, truth;
    double precision, recall, f1;
} LabelScore;

typedef struct LabelScores {
    LabelScore micro; /* the counts of all labels and studies together */
    /* Means over the labels: over those in the truth or said somewhere (macro_n of them), and over all k, where
     * a label that never occurs counts 0 (scikit-learn's average="macro" with zero_division=0). */
    double macro_precision, macro_recall, macro_f1, macro_all_f1;
    int macro_n;
    /* Means over the studies. One with no label in truth and none said has all three 1, as nothing is wrong
     * with it (scikit-learn's average="samples" has 0 there); empty counts them. */
    double example_precision, example_recall, example_f1;
    int64_t empty;
} LabelScores;

/* Scores come from sums, which is how they are resampled too: a study's row of LABEL_SUMS(k) numbers, k >= 1,
 * and the scores of the sum of any number of rows; all are 0 without a row. each: (k) scores of each label
 * alone, or NULL. Row: right, said, truth of label 0, of label 1, ...; then the study's own precision, recall
 * and f1, 1 if it is empty, and 1 for the study. */
#define LABEL_SUMS(k) (3 * (k) + 5)
void labels_row(const uint8_t *truth, const uint8_t *said, int k, double *row);
void labels_from_sums(const double *sum, int k, LabelScores *out, LabelScore *each);
#endif
