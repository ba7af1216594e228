#include "losses/report.h"

Tensor *report_loss(Tape *t, Tensor *h, Tensor *head, Tensor *label, bool mean)
{
    return op_cross_entropy(t, h, head, label, mean);
}
