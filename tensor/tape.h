/* Eager automatic differentiation. op_apply runs an op at once and, while recording, links a node;
 * tape_backward walks the nodes newest first. Backward always ADDS into in[i]->grad and skips inputs whose grad
 * is NULL.
 *
 * Memory: forward pushes on the step stack. Once a node's backward has run, everything pushed at or after that
 * node's mark is dead (later nodes are done, earlier ones never read it), so the stack pops as the tape is
 * walked. Gradients of intermediates come from the arena's pool: taken at first write, given back when the
 * producing node's backward has run. Everything is deterministic, so addresses repeat from step to step.
 *
 * Types: an op's output has the type of the activations it reads (f32 or bf16, all of one type); op_embed
 * begins in `compute`, op_cast changes it. Gradients are f32, and so are trainable weights, losses and what ops
 * save. */
#ifndef TENSOR_TAPE_H
#define TENSOR_TAPE_H
#include "tensor/tensor.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { NODE_INPUTS = 6, NODE_SAVED = 2, NODE_PARAMS = 64 };

typedef struct Tape Tape;
typedef struct Node Node;

typedef struct Op {
    const char *name;
    int id; /* row in ops.def */
    bool differentiable;
    void (*shape)(Tape *, Node *); /* checks inputs (die naming op and shapes), sets out and saved */
} Op;

struct Node {
    const Op *op;
    int n_in;
    Tensor *in[NODE_INPUTS]; /* NULL: an optional input that is absent */
    Tensor *out, *saved[NODE_SAVED];
    unsigned char params[NODE_PARAMS] __attribute__((aligned(8)));
    ArenaMark mark; /* of the step arena before this op */
    Node *prev;
};

typedef void TapeTap(void *user, const char *name, Tensor *x);

struct Tape {
    Arena *step, *scratch;
    Node *last;
    DType compute;        /* of the activations that a model begins with: f32, or (not on cpu) bf16 */
    bool recording;       /* false: inference */
    bool first_run;       /* inside the unrecorded first run of a checkpoint */
    uint64_t seed, calls; /* counter-based dropout: op call number `calls` under `seed` */
    TapeTap *tap;         /* NULL unless somebody listens */
    void *tap_user;
    bool debug, trace; /* TENSOR_DEBUG=1, TENSOR_TRACE=1 */
};

/* Not recording, computing in f32; debug and trace from the environment. */
void tape_init(Tape *t, Arena *step, Arena *scratch, uint64_t seed);

/* Runs op on its inputs. params (at most NODE_PARAMS bytes) is copied. All inputs on one backend, or dies
 * naming both. The result is never NULL and lives in t->step (or is in[0] for an op that updates). */
Tensor *op_apply(Tape *t, const Op *op, int n_in, Tensor *const *in, const void *params, size_t bytes);

/* Whether dropout acts: while recording, and in the first run of a checkpoint, which must compute what its
 * second run will. */
static inline bool tape_drops(const Tape *t) { return t->recording || t->first_run; }

/* Inside a kernel: memory that is gone when the kernel returns. */
void *tape_scratch(Tape *t, size_t bytes);
/* Inside a shape function or between ops: a tensor on the step stack. */
Tensor *tape_tensor(Tape *t, DType dtype, int ndim, const int64_t *dim);

/* Walks the tape from the newest node; out is one element and its gradient 1, or out->grad was set by the
 * caller; NULL: whatever has a gradient from branches joined before. What the caller wants to know of
 * intermediates it must read before: the stack is popped on the way. */
void tape_backward(Tape *t, Tensor *out);

/* Branch by branch: losses that read the same tensors one after the other, so that only one branch's
 * activations are held at a time. tape_fork hides the nodes so far; tape_join walks those recorded since, from
 * `loss` (NULL: nothing to walk), drops everything made since the fork, `loss` included, and brings the hidden
 * ones back. What the branches leave in their inputs' gradients adds up until tape_backward(t, NULL) walks the
 * rest. */
typedef struct TapeFork {
    Node *last;
    ArenaMark mark;
} TapeFork;
TapeFork tape_fork(Tape *t);
void tape_join(Tape *t, TapeFork fork, Tensor *loss);
/* Forgets all nodes, empties the step arena and its pool. */
void tape_reset(Tape *t);

/* Inference: moves x down to the mark, drops everything else pushed since; returns x's new header. While
 * recording it does nothing and returns x. */
Tensor *tape_keep(Tape *t, ArenaMark mark, Tensor *x);

/* Runs fn without recording and keeps only its output; backward re-runs it on the stack top, walks it, pops.
 * arg is copied. fn must be a pure function of in and arg (same ops in the same order; no BatchNorm in training
 * mode). */
typedef Tensor *TapeFunction(Tape *t, Tensor *const *in, const void *arg);
Tensor *tape_checkpoint(Tape *t, TapeFunction *fn, int n_in, Tensor *const *in, const void *arg, size_t bytes);

/* Shows x to whoever listens; costs a NULL test otherwise. Name is a printf format. */
void tape_tap(Tape *t, Tensor *x, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* x's gradient, taken zeroed from the pool if there is none yet. For tape.c and tests. */
Tensor *tape_grad(Tape *t, Tensor *x);

/* The parameters of a node as its op's struct. */
#define NODE_AS(Type, node) ((const Type *)(const void *)(node)->params)

#ifdef __cplusplus
}
#endif
#endif
