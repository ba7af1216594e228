#include "tensor/tape.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool flag(const char *name)
{
    const char *v = getenv(name);
    return v && *v && strcmp(v, "0");
}

void tape_init(Tape *t, Arena *step, Arena *scratch, uint64_t seed)
{
    *t = (Tape){.step = step, .scratch = scratch, .seed = seed};
    t->debug = flag("TENSOR_DEBUG");
    t->trace = flag("TENSOR_TRACE");
    if (t->debug) step->guard = scratch->guard = true;
}

void *tape_scratch(Tape *t, size_t bytes) { return arena_push(t->scratch, bytes); }

Tensor *tape_tensor(Tape *t, DType dtype, int ndim, const int64_t *dim)
{
    return tensor_new(t->step, dtype, ndim, dim);
}

static double now_us(void)
{
    struct timespec s;
    clock_gettime(CLOCK_MONOTONIC, &s);
    return (double)s.tv_sec * 1e6 + (double)s.tv_nsec * 1e-3;
}

static void trace(const Node *n, const char *pass, double us)
{
    fprintf(stderr, "trace %-14s %-8s %9.1f us  %s <-", n->op->name, pass, us, tensor_text(n->out));
    for (int i = 0; i < n->n_in; i++) fprintf(stderr, " %s", tensor_text(n->in[i]));
    fputc('\n', stderr);
}

/* TENSOR_DEBUG: the first op whose output holds a NaN or Inf is the offender. */
static void check_finite(const Node *n, const Tensor *x, const char *what)
{
    if (!x || x->dtype != DTYPE_f32 || x->backend->kernels == kernels_plan) return;
    size_t bytes = tensor_bytes(x);
    float *host = malloc(bytes);
    if (!host) die("out of host memory for checking %s", n->op->name);
    tensor_download(x, host);
    for (int64_t i = 0; i < tensor_len(x); i++)
        if (!isfinite(host[i]))
            die("%s: %s %s has %g at element %lld", n->op->name, what, tensor_text(x), (double)host[i],
                (long long)i);
    free(host);
}

static void run(Tape *t, Node *n, bool backward)
{
    const Kernel *k = &n->out->backend->kernels[n->op->id];
    if (!k->forward) die("%s: no kernel for it on device %s", n->op->name, n->out->backend->name);
    if (n->out->dtype == DTYPE_bf16 && n->out->backend->kernels == kernels_cpu)
        die("%s: %s: device cpu computes in f32", n->op->name, tensor_text(n->out));
    ArenaMark mark = arena_mark(t->scratch);
    double start = t->trace ? now_us() : 0;
    (backward ? k->backward : k->forward)(t, n);
    if (t->trace) {
        n->out->backend->sync();
        trace(n, backward ? "backward" : "forward", now_us() - start);
    }
    if (t->scratch->guard) arena_check(t->scratch);
    arena_pop(t->scratch, mark);
    if (!t->debug) return;
    arena_check(t->step);
    if (!backward) check_finite(n, n->out, "output");
    for (int i = 0; backward && i < n->n_in; i++)
        if (n->in[i]) check_finite(n, n->in[i]->grad, "gradient");
}

static void check_backends(const Op *op, int n_in, Tensor *const *in)
{
    const Tensor *first = NULL;
    for (int i = 0; i < n_in; i++) {
        if (!in[i]) continue;
        if (!first) first = in[i];
        if (in[i]->backend != first->backend)
            die("%s: inputs on two backends: %s on %s, %s on %s", op->name, tensor_text(first),
                first->backend->name, tensor_text(in[i]), in[i]->backend->name);
    }
    if (!first) die("%s: no input", op->name);
}

Tensor *op_apply(Tape *t, const Op *op, int n_in, Tensor *const *in, const void *params, size_t bytes)
{
    if (n_in > NODE_INPUTS || bytes > NODE_PARAMS)
        die("%s: %d inputs, %zu bytes of parameters", op->name, n_in, bytes);
    check_backends(op, n_in, in);
    ArenaMark mark = arena_mark(t->step);
    Node *n = arena_push_host(t->step, sizeof *n);
    n->op = op;
    n->n_in = n_in;
    n->mark = mark;
    memcpy(n->in, in, (size_t)n_in * sizeof *in);
    if (bytes) memcpy(n->params, params, bytes);
    op->shape(t, n);
    if (op->differentiable)
        for (int i = 0; i < n_in; i++) n->out->needs_grad |= in[i] && in[i]->needs_grad;
    run(t, n, false);
    if (t->recording && op->differentiable && n->out->needs_grad) {
        n->prev = t->last;
        t->last = n;
    }
    return n->out;
}

Tensor *tape_grad(Tape *t, Tensor *x)
{
    if (x->grad) return x->grad;
    Tensor *g = x + 1; /* the second half of the header pair */
    memset(g, 0, sizeof *g);
    g->dtype = DTYPE_f32;
    g->ndim = x->ndim;
    memcpy(g->dim, x->dim, sizeof g->dim);
    g->backend = x->backend;
    if (x->base) {
        g->data = (float *)tape_grad(t, x->base)->data + x->base_offset;
    } else {
        g->data = arena_pool_take(t->step, tensor_bytes(g));
        g->backend->zero(g->data, tensor_bytes(g));
    }
    x->grad = g;
    return g;
}

static Tensor *checkpoint_backward(Tape *t, Node *n);
static void checkpoint_shape(Tape *t, Node *n) { (void)t, (void)n; }
static const Op checkpoint_op = {"checkpoint", -1, true, checkpoint_shape};

static void give_grad(Tape *t, Tensor *x)
{
    if (x->grad && !x->base && (char *)x->grad->data >= t->step->base &&
        (char *)x->grad->data < t->step->base + t->step->capacity)
        arena_pool_give(t->step, x->grad->data);
    x->grad = NULL;
}

/* A view read through its owner: the owner's gradient may exist although nobody asked for the view's, and the
 * other way round. */
static bool has_grad(Tape *t, Tensor *x)
{
    if (!x->grad && x->base && x->base->grad) tape_grad(t, x);
    return x->grad;
}

static void walk(Tape *t)
{
    for (Node *n = t->last, *prev; n; n = prev) {
        prev = n->prev;
        t->last = prev;
        if (has_grad(t, n->out)) {
            if (n->op == &checkpoint_op) {
                checkpoint_backward(t, n);
            } else {
                for (int i = 0; i < n->n_in; i++)
                    if (n->in[i] && n->in[i]->needs_grad) tape_grad(t, n->in[i]);
                run(t, n, true);
                give_grad(t, n->out);
            }
        }
        arena_pop(t->step, n->mark);
    }
}

void tape_backward(Tape *t, Tensor *out)
{
    if (out && !out->grad) {
        if (tensor_len(out) != 1)
            die("backward: %s is not one number and has no gradient of its own", tensor_text(out));
        float one = 1;
        tensor_upload(tape_grad(t, out), &one);
    }
    bool recording = t->recording;
    t->recording = false;
    walk(t);
    t->recording = recording;
}

TapeFork tape_fork(Tape *t)
{
    TapeFork fork = {t->last, arena_mark(t->step)};
    t->last = NULL;
    return fork;
}

void tape_join(Tape *t, TapeFork fork, Tensor *loss)
{
    if (t->last) tape_backward(t, loss); /* else nothing in the branch wants a gradient */
    t->last = fork.last;
    arena_pop(t->step, fork.mark);
}

void tape_reset(Tape *t)
{
    t->last = NULL;
    t->step->n_pool = 0;
    t->step->pool_extent = 0;
    arena_pop(t->step, (ArenaMark){0, 0});
}

Tensor *tape_keep(Tape *t, ArenaMark mark, Tensor *x)
{
    if (t->recording) return x;
    Tensor copy = *x;
    size_t bytes = tensor_bytes(x);
    bool inside =
        (char *)x->data >= t->step->base + mark.used && (char *)x->data < t->step->base + t->step->used;
    arena_pop(t->step, mark);
    if (!inside && (char *)x < t->step->host + mark.host_used && (char *)x >= t->step->host) return x;
    Tensor *y = arena_push_host(t->step, 2 * sizeof *y);
    *y = copy;
    y->grad = y->base = NULL;
    y->base_offset = 0;
    if (inside) { /* moved first: a guard behind the new place may lie on the old one */
        y->backend->move(t->step->base + t->step->used, copy.data, bytes);
        y->data = arena_push(t->step, bytes);
    }
    return y;
}

/* What a checkpoint's node needs to run again. */
typedef struct Checkpoint {
    TapeFunction *fn;
    const void *arg;
    uint64_t calls; /* the dropout counter at the first run */
} Checkpoint;

Tensor *tape_checkpoint(Tape *t, TapeFunction *fn, int n_in, Tensor *const *in, const void *arg, size_t bytes)
{
    if (!t->recording) return fn(t, in, arg);
    if (n_in > NODE_INPUTS) die("checkpoint: %d inputs", n_in);
    ArenaMark mark = arena_mark(t->step);
    Node *n = arena_push_host(t->step, sizeof *n);
    void *own = arena_push_host(t->step, bytes);
    memcpy(own, arg, bytes);
    *n = (Node){.op = &checkpoint_op, .n_in = n_in, .mark = mark};
    memcpy(n->in, in, (size_t)n_in * sizeof *in);
    *(Checkpoint *)(void *)n->params = (Checkpoint){fn, own, t->calls};
    ArenaMark inner = arena_mark(t->step);
    t->recording = false;
    t->first_run = true;
    n->out = tape_keep(t, inner, fn(t, n->in, own));
    t->first_run = false;
    t->recording = true;
    if (n->out->needs_grad) {
        n->prev = t->last;
        t->last = n;
    }
    return n->out;
}

static Tensor *checkpoint_backward(Tape *t, Node *n)
{
    Checkpoint c = *NODE_AS(Checkpoint, n);
    Node *last = t->last;
    uint64_t calls = t->calls;
    t->calls = c.calls;
    t->last = NULL;
    t->recording = true;
    Tensor *y = c.fn(t, n->in, c.arg);
    t->recording = false;
    t->calls = calls;
    if (y->base) die("checkpoint: the function returned a view, %s", tensor_text(y));
    if (y->grad) die("checkpoint: the function returned its input");
    y->grad = n->out->grad; /* the inner walk gives it back */
    n->out->grad = NULL;
    walk(t);
    t->last = last;
    return y;
}

void tape_tap(Tape *t, Tensor *x, const char *format, ...)
{
    if (!t->tap) return;
    char name[160];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    t->tap(t->tap_user, name, x);
}
