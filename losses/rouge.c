/* ROUGE-L = (1 + b^2) P R / (R + b^2 P), P = LCS / |said|, R = LCS / |truth|, b = 1.2; 0 without a common
 * token. LCS: the longest common subsequence, one row of the dynamic programme at a time. */
#include "losses/rouge.h"
#include <stdlib.h>

bool rouge_l(const Tokens *said, const Tokens *truth, double *score, Error *e)
{
    int *row = calloc((size_t)truth->n + 1, sizeof *row); /* row[j]: LCS of said[0..i) and truth[0..j) */
    if (!row) return error_set(e, ERROR_MEMORY, "no memory to score texts of %d tokens", truth->n);
    for (int i = 0; i < said->n; i++) {
        int diagonal = 0; /* row[j] of the row before */
        for (int j = 0; j < truth->n; j++) {
            int above = row[j + 1];
            if (said->id[i] == truth->id[j])
                row[j + 1] = diagonal + 1;
            else if (row[j] > above)
                row[j + 1] = row[j];
            diagonal = above;
        }
    }
    int common = row[truth->n];
    free(row);
    *score = 0;
    if (!common) return true;
    double p = (double)common / said->n, r = (double)common / truth->n, b2 = 1.2 * 1.2;
    *score = (1 + b2) * p * r / (r + b2 * p);
    return true;
}
