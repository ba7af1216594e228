#include "losses/segment.h"

Tensor *segment_loss(Tape *t, Tensor *logits, Tensor *mask, bool smooth)
{
    return op_dice(t, op_sigmoid(t, logits), mask, smooth);
}
