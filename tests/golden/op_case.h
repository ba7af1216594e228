/* Single ops against a golden of make_*.py: leaves NAME of the shared generator, the result's tap CASE.y, the
 * gradients of sum(y * CASE.dy) in the taps CASE.dNAME. */
#ifndef TESTS_GOLDEN_OP_CASE_H
#define TESTS_GOLDEN_OP_CASE_H
#include "kernels/ops.h"
#include "tests/golden/golden.h"

static TensorFile *g; /* the golden */

/* A leaf with a zeroed gradient, filled with the shared generator. */
static inline Tensor *leaf(Rig *r, const char *name, int64_t d0, int64_t d1, int64_t d2, int64_t d3,
                           uint32_t seed, float a)
{
    Tensor *x = golden_fill(tensor_f32(&r->state, d0, d1, d2, d3), name, seed, a, d3 != 0);
    x->needs_grad = true;
    x->grad = tensor_zeros(&r->state, DTYPE_f32, x->ndim, x->dim);
    return x;
}

/* Compares y with NAME.y, then runs backward of sum(y * dy). */
static inline void backward(Rig *r, const char *name, Tensor *y, GoldenNorm norm, double tol)
{
    char full[96];
    snprintf(full, sizeof full, "%s.y", name);
    golden_compare(g, full, y, y->ndim == 4, norm, tol);
    snprintf(full, sizeof full, "%s.dy", name);
    Tensor *dy = golden_fill(tensor_f32(&r->state, y->dim[0], y->dim[1], y->dim[2], y->dim[3]), full,
                             GOLDEN_INPUTS, 1, y->ndim == 4);
    tape_backward(&r->tape, op_sum(&r->tape, op_mul(&r->tape, y, dy), 1));
    tape_reset(&r->tape);
}

static inline void gradient(const char *name, const char *key, const Tensor *x, double tol)
{
    char full[96];
    snprintf(full, sizeof full, "%s.d%s", name, key);
    golden_compare(g, full, x->grad, x->ndim == 4, GOLDEN_L2, tol);
}

#endif
