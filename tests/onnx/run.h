/* One ONNX case through the project's ops. Between nodes everything lies in host memory in ONNX's layout; an
 * operator's function takes its inputs from there, brings them into ours (NHWC, at most four dims), runs our
 * ops on the tape and brings the result back. What it arranges itself (order, padding with constants, zeros in
 * between, counts of elements) it does on the host; what is computed, ops compute. */
#ifndef TESTS_ONNX_RUN_H
#define TESTS_ONNX_RUN_H
#include "kernels/ops.h"
#include "tests/golden/golden.h"
#include "tests/onnx/onnx.h"

enum { RUN_VALUES = 128 };

typedef struct Run {
    Rig rig;
    Pool pool;
    const OnnxModel *model;
    const OnnxNode *node; /* the one that runs */
    Value value[RUN_VALUES];
    int n_values;
    int tensors; /* that our ops were given: 0 in the end, nothing of ours ran */
    char reason[160];
} Run;

/* NULL: done. Else why our ops cannot express it. */
typedef const char *Operator(Run *r);
#define OPERATOR(type, function, reals) Operator onnx_##function;
#include "tests/onnx/operators.def"
#undef OPERATOR

const char *run_unable(Run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Forgets a case; the rig stays. */
void run_clear(Run *r);

/* ---- values ---- */

Value *run_find(Run *r, Text name);
/* Input i of the node; NULL: it is left out. */
const Value *given(Run *r, int i);
/* Output i of the node as a new value of these dims; room for the values is made. */
Value *give(Run *r, int i, int type, int ndim, const int64_t *dim);
Value *value_new(Run *r, int type, int ndim, const int64_t *dim);
int64_t product(const int64_t *dim, int n);

const OnnxAttr *attr(const Run *r, const char *name);
int64_t attr_int(const Run *r, const char *name, int64_t otherwise);
float attr_float(const Run *r, const char *name, float otherwise);
/* Axis in 0..ndim-1 of one that may be negative. */
int axis_of(int64_t axis, int ndim);

/* Order of the axes: out's axis i is x's axis order[i]. */
Value *turned(Run *r, const Value *x, const int *order);
/* Dims of x in `order`, into dim; and for each element of that its place in x. */
int64_t *turned_places(Run *r, const Value *x, const int *order, int64_t *dim);
/* Axis `axis` last, all others in their order; the inverse. */
Value *axis_last(Run *r, const Value *x, int axis);
Value *axis_back(Run *r, const Value *x, int axis);

/* ---- tensors ---- */

/* On the device, with a gradient's need, so that its ops leave nodes. */
Tensor *tensor_of(Run *r, const float *x, int ndim, const int64_t *dim);
Tensor *flat(Run *r, const Value *v);                    /* (n) */
Tensor *matrix(Run *r, const Value *v, int64_t columns); /* (n / columns, columns) */
Tensor *filled(Run *r, int64_t n, float x);              /* (n) */
Tensor *places(Run *r, const int64_t *at, int64_t n);    /* (n) i32 */
Tensor *shaped(Run *r, Tensor *x, int ndim, const int64_t *dim);
/* y (n) with y[i] = x[at[i]] over all elements. */
Tensor *picked(Run *r, Tensor *x, const int64_t *at, int64_t n);
/* saved[i] of the node of the last op. */
Tensor *saved(Run *r, int i);
void take(Value *v, const Tensor *y); /* as many elements */

/* Log-sum-exp of the rows of x (R,C) -> (R): what op_cross_entropy saves, with the rows themselves as logits.
 */
Tensor *row_lse(Run *r, Tensor *x);
/* x - lse(x) by rows (R,C) -> (R C), after the largest of each row was taken away. */
Tensor *log_softmax_rows(Run *r, Tensor *x);
Tensor *identity(Run *r, int64_t n); /* (n,n) */

#endif
