#include "losses/auc.h"
#include <math.h>
#include <stdlib.h>

typedef struct Row {
    double score;
    int truth;
} Row;

static int by_score(const void *a, const void *b)
{
    const Row *x = a, *y = b;
    return (x->score > y->score) - (x->score < y->score);
}

bool auc_score(const double *score, const uint8_t *truth, int64_t n, double *out, Error *e)
{
    int64_t pairs = 0, below = 0, positive = 0; /* pairs: won ones twice, equal ones once */
    if (n < 0 || n > INT32_MAX) die("auc_score: %lld scores", (long long)n);
    Row *row = malloc((size_t)(n + 1) * sizeof *row);
    if (!row) return error_set(e, ERROR_MEMORY, "no memory for %lld scores", (long long)n);
    bool number = true;
    for (int64_t i = 0; i < n; i++) {
        row[i] = (Row){score[i], truth[i] != 0};
        number = number && !isnan(score[i]);
    }
    if (number) qsort(row, (size_t)n, sizeof *row, by_score);
    for (int64_t i = 0, j; i < n; i = j) {
        int64_t true_ones = 0;
        for (j = i; j < n && (j == i || row[j].score == row[i].score); j++) true_ones += row[j].truth;
        int64_t false_ones = j - i - true_ones;
        pairs += true_ones * (2 * below + false_ones);
        below += false_ones;
        positive += true_ones;
    }
    free(row);
    *out = number && positive && below ? (double)pairs / (2 * (double)positive * (double)below) : NAN;
    return true;
}
