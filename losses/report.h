/* Equation 1, report generation: L_g = - sum_t log p(w_t | w_<t, H_v, H_q) over findings and end of text. By
 * default the mean over all predicted tokens of the batch: the sum would outweigh the other losses some 500
 * times. */
#ifndef LOSSES_REPORT_H
#define LOSSES_REPORT_H
#include "kernels/ops.h"

/* h (R,D) hidden states of the predicted positions, head (V,D), label (R) i32 (negative: ignored) -> (1). */
Tensor *report_loss(Tape *t, Tensor *h, Tensor *head, Tensor *label, bool mean);
#endif
