/* Equations 6 (a slice and the words on its lesions) and 9 (a scan and its findings): cross-modal contrast of n
 * pairs. As printed a pair's own similarity is not in its denominator, the temperature is fixed and the pairs
 * are summed; in the standard form it is, scale may be learnt, and it is the mean. */
#ifndef LOSSES_ALIGN_H
#define LOSSES_ALIGN_H
#include "kernels/ops.h"

/* alpha_v, alpha_w weigh image-to-text and text-to-image; tau serves where there is no scale. */
typedef InfonceParams AlignOptions;

/* v (n,D) visual, w (n,D) textual features of the same things -> (1). scale (1) or NULL, same (n) i32 or NULL:
 * op_infonce. One pair: 0 with zero gradients. */
Tensor *align_loss(Tape *t, Tensor *v, Tensor *w, Tensor *scale, Tensor *same, const AlignOptions *o);

/* The loss of each sample's pairs on their own, averaged over the samples of at least two; 0 with zero
 * gradients where there is none. sample[i] is the number of row i's sample; rows of a sample need not be
 * neighbours. sample and same (or NULL) are n numbers on the host. */
Tensor *align_loss_groups(Tape *t, Tensor *v, Tensor *w, Tensor *scale, const int32_t *same,
                          const AlignOptions *o, const int32_t *sample, int64_t n);
#endif
