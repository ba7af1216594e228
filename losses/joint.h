/* Equation 10, the joint objective L = L_g + L_seg + L_CLe + L_CLt, each term with a weight (1 in the paper).
 */
#ifndef LOSSES_JOINT_H
#define LOSSES_JOINT_H
#include "kernels/ops.h"

/* sum of weight[i] * term[i] over the n terms that are not NULL, each (1) -> (1). Dies when there is none. */
Tensor *joint_loss(Tape *t, Tensor *const *term, const float *weight, int n);
#endif
