/* Everything comes from sums: a study's counts for each label, and its own precision, recall and F1. */
#include "losses/labels.h"
#include <stdlib.h>
#include <string.h>

static double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

static void count(const uint8_t *truth, const uint8_t *said, int k, double *row)
{
    double right = 0, n_said = 0, n_truth = 0, *example = row + 3 * k;
    for (int j = 0; j < k; j++) {
        row[3 * j] += truth[j] && truth[j] == said[j];
        row[3 * j + 1] += said[j] != 0;
        row[3 * j + 2] += truth[j] != 0;
        right += truth[j] && truth[j] == said[j];
        n_said += said[j] != 0;
        n_truth += truth[j] != 0;
    }
    bool empty = n_said + n_truth == 0;
    example[0] += empty ? 1 : share(right, n_said);
    example[1] += empty ? 1 : share(right, n_truth);
    example[2] += empty ? 1 : share(2 * right, n_said + n_truth);
    example[3] += empty;
    example[4] += 1;
}

void labels_row(const uint8_t *truth, const uint8_t *said, int k, double *row)
{
    memset(row, 0, LABEL_SUMS((size_t)k) * sizeof *row);
    count(truth, said, k, row);
}

static LabelScore score(double right, double said, double truth)
{
    return (LabelScore){(int64_t)right,     (int64_t)said,       (int64_t)truth,
                        share(right, said), share(right, truth), share(2 * right, said + truth)};
}

void labels_from_sums(const double *sum, int k, LabelScores *out, LabelScore *each)
{
    *out = (LabelScores){0};
    double right = 0, said = 0, truth = 0;
    for (int j = 0; j < k; j++) {
        const double *s = sum + 3 * j;
        LabelScore one = score(s[0], s[1], s[2]);
        right += s[0];
        said += s[1];
        truth += s[2];
        out->macro_precision += one.precision;
        out->macro_recall += one.recall;
        out->macro_f1 += one.f1;
        out->macro_n += s[1] + s[2] > 0;
        if (each) each[j] = one;
    }
    out->micro = score(right, said, truth);
    out->macro_all_f1 = share(out->macro_f1, k);
    out->macro_f1 = share(out->macro_f1, out->macro_n);
    out->macro_precision = share(out->macro_precision, out->macro_n);
    out->macro_recall = share(out->macro_recall, out->macro_n);
    const double *example = sum + 3 * k;
    out->example_precision = share(example[0], example[4]);
    out->example_recall = share(example[1], example[4]);
    out->example_f1 = share(example[2], example[4]);
    out->empty = (int64_t)example[3];
}

bool labels_score(const uint8_t *truth, const uint8_t *said, int n, int k, LabelScores *out, LabelScore *each,
                  Error *e)
{
    double *sum = calloc(LABEL_SUMS((size_t)k), sizeof *sum);
    if (!sum) return error_set(e, ERROR_MEMORY, "no memory to score %d labels", k);
    for (int i = 0; i < n; i++) count(truth + (size_t)i * (size_t)k, said + (size_t)i * (size_t)k, k, sum);
    labels_from_sums(sum, k, out, each);
    free(sum);
    return true;
}
