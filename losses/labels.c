#include "losses/labels.h"
#include <stdbool.h>

static double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

void labels_row(const uint8_t *truth, const uint8_t *said, int k, double *row)
{
    double right = 0, n_said = 0, n_truth = 0, *example = row + 3 * k;
    for (int j = 0; j < k; j++) {
        row[3 * j] = truth[j] && truth[j] == said[j];
        row[3 * j + 1] = said[j] != 0;
        row[3 * j + 2] = truth[j] != 0;
        right += row[3 * j];
        n_said += row[3 * j + 1];
        n_truth += row[3 * j + 2];
    }
    bool empty = n_said + n_truth == 0;
    example[0] = empty ? 1 : share(right, n_said);
    example[1] = empty ? 1 : share(right, n_truth);
    example[2] = empty ? 1 : share(2 * right, n_said + n_truth);
    example[3] = empty;
    example[4] = 1;
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
