/* Equation 3, lesion segmentation: the Dice loss between the segmentation head's probabilities and the masks of
 * the described lesions, the mean over slices. */
#ifndef LOSSES_SEGMENT_H
#define LOSSES_SEGMENT_H
#include "kernels/ops.h"

/* logits (n,...) of n slices, mask of the same shape in [0,1] -> (1). smooth: with the release's +1 and without
 * squares (op_dice). No gradient to mask. */
Tensor *segment_loss(Tape *t, Tensor *logits, Tensor *mask, bool smooth);
#endif
