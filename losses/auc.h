/* Area under the ROC curve, exactly: the share of pairs (one true, one false) of which the true one has the
 * higher score, equal scores counting half (Mann and Whitney's U over all pairs), by ranks in n log n. Whole
 * numbers until the last division. */
#ifndef LOSSES_AUC_H
#define LOSSES_AUC_H
#include "tensor/error.h"
#include <stdint.h>

/* truth[i] 0 or 1, 0 <= n < 2^31. *out is NaN where there is no true or no false one, or a score is NaN. False
 * only without memory. */
bool auc_score(const double *score, const uint8_t *truth, int64_t n, double *out, Error *e);
#endif
