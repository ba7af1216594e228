/* One case is run several times, each run on fresh inputs and poisoned memory: twice with all gradients (the
 * two runs must agree bit by bit), and once for every smaller set of inputs that need one. A run records what
 * the op wrote; the checks compare records with the oracle and with each other.
 *
 * Central differences of the oracle in double (h = 1e-6) are good to about 1e-9, so the tolerance of a test is
 * that of the kernel. At a kink (relu at 0, a tie of maxima) the two one-sided slopes disagree and the element
 * is passed over; a case where that happens to more than every fourth element is at fault itself. */
#include "tests/kernels/harness.h"
#include "tensor/half.h"
#include "tensor/rng.h"
#include "tests/kernels/kernel_case.h"
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CAPACITY = 1 << 29, PREFILL = 3 };

/* Sanitizers are there for the kernels' memory: the slopes of the oracle, twice its time for each probe, are
 * measured without them, and with them only so far that the way there is walked. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { PROBES = 4, KINKS_COUNT = false };
#else
enum { PROBES = 64, KINKS_COUNT = true };
#endif

/* TSan is there for what threads do to one another, and slow: it gets one run of each case with all gradients
 * and one with each alone; what they compute is checked without it. */
#ifdef __SANITIZE_THREAD__
enum { RACES_ALONE = true };
#else
enum { RACES_ALONE = false };
#endif

typedef struct Record {
    DType dtype;
    int64_t len;
    size_t bytes;
    void *data; /* NULL: there was no such tensor */
} Record;

/* All that a run wrote. */
typedef struct Run {
    Record out, saved[NODE_SAVED], in[NODE_INPUTS], grad[NODE_INPUTS];
} Run;

typedef struct Case {
    Harness *h;
    const KernelTest *test;
    const KernelCase *kase;
    CaseInputs inputs;
    const char *types; /* " in bf16"... */
    DType compute;
    double tol;
    unsigned diff;                 /* inputs that are there and have a gradient */
    double *y, *saved[NODE_SAVED]; /* of the oracle */
    double *before[NODE_INPUTS];   /* inputs that it overwrites, as they were */
    float *dy;
    bool ok;
} Case;

/* A fault inside a kernel (die, a crash) ends the program; it says where. */
static char where[256];

static void on_crash(int number)
{
    if (write(STDERR_FILENO, where, strlen(where)) < 0) _exit(128 + number);
    signal(number, SIG_DFL);
    raise(number);
}

static bool fault(Case *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fault(Case *c, const char *format, ...)
{
    if (!c->ok) return false;
    c->ok = false;
    va_list args;
    va_start(args, format);
    printf("FAIL %s, %s [%s%s]: ", c->test->op->name, c->h->backend->name, c->kase->what, c->types);
    vprintf(format, args);
    va_end(args);
    printf(" (SEED=%llu)\n", (unsigned long long)c->h->seed);
    return false;
}

static void *take(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p) die("out of memory for %zu test values", n);
    return p;
}

/* ---- running ---- */

static Record record(const Tensor *x)
{
    if (!x || dtype_is_quant(x->dtype)) return (Record){0};
    Record r = {x->dtype, tensor_len(x), tensor_bytes(x), NULL};
    r.data = take(r.bytes, 1);
    tensor_download(x, r.data);
    return r;
}

static double at(const Record *r, int64_t i)
{
    switch (r->dtype) {
    case DTYPE_i32: return (double)((const int32_t *)r->data)[i];
    case DTYPE_bf16: return (double)bf16_to_float(((const uint16_t *)r->data)[i]);
    case DTYPE_u8: return (double)((const uint8_t *)r->data)[i];
    default: return (double)((const float *)r->data)[i];
    }
}

static void run_free(Run *r)
{
    free(r->out.data);
    for (int i = 0; i < NODE_SAVED; i++) free(r->saved[i].data);
    for (int i = 0; i < NODE_INPUTS; i++) {
        free(r->in[i].data);
        free(r->grad[i].data);
    }
    *r = (Run){0};
}

/* Empties an arena and fills what may be used of it with NaN, or with -1 as an integer. */
static void poison(Arena *a)
{
    static unsigned char ones[1 << 16];
    memset(ones, 0xFF, sizeof ones);
    arena_pop(a, (ArenaMark){0, 0});
    arena_push(a, 2 * sizeof ones); /* so that the device gives it memory */
    arena_pop(a, (ArenaMark){0, 0});
    a->n_pool = 0;
    a->pool_extent = 0;
    size_t dirty = a->peak > sizeof ones ? a->peak : sizeof ones;
    for (size_t i = 0; i + sizeof ones <= a->capacity && i < dirty; i += sizeof ones)
        a->backend->upload(a->base + i, ones, sizeof ones);
    a->peak = 0;
}

/* For a gradient of x. */
static Tensor *gradient_like(const Case *c, const Tensor *x)
{
    Arena *a = &c->h->state;
    return c->kase->view ? case_view(a, DTYPE_f32, x->ndim, x->dim) : tensor_like(a, x);
}

static Tensor *prefilled(const Case *c, const Tensor *x)
{
    Tensor *g = gradient_like(c, x);
    tensor_fill(g, PREFILL);
    return g;
}

static void check_guards(Harness *h)
{
    arena_check(&h->state);
    arena_check(&h->step);
    arena_check(&h->scratch);
}

/* Forward, and backward when any input of `need` has a gradient; bit i: input i needs one. */
static void run(Case *c, unsigned need, Run *r)
{
    Harness *h = c->h;
    poison(&h->step);
    poison(&h->scratch);
    poison(&h->state);
    Tape t;
    tape_init(&t, &h->step, &h->scratch, h->seed);
    t.compute = c->compute;
    t.recording = true;
    Tensor *in[NODE_INPUTS] = {NULL};
    for (int i = 0; i < c->test->n_in; i++) {
        in[i] = c->kase->twin && i == 1 ? in[0] : case_tensor(&c->inputs, i, &h->state);
        if (!(need >> i & 1)) continue;
        in[i]->needs_grad = true;
        in[i]->grad = prefilled(c, in[i]);
    }
    /* op_apply pushes its node before anything else, so it is found even where it is not linked. */
    const Node *n = (const Node *)(const void *)(h->step.host + h->step.host_used);
    Tensor *out = op_apply(&t, c->test->op, c->test->n_in, in, c->kase->params, c->kase->params_bytes);
    check_guards(h);
    r->out = record(out);
    for (int i = 0; i < NODE_SAVED; i++) r->saved[i] = record(n->saved[i]);
    if (t.last) {
        if (!c->dy) {
            c->dy = take((size_t)r->out.len, sizeof *c->dy);
            case_uniform(c->dy, r->out.len, h->seed, "output gradient");
            for (int64_t i = 0; c->inputs.bf16 && i < r->out.len; i++)
                c->dy[i] = bf16_to_float(bf16_from_float(c->dy[i]));
        }
        out->grad = gradient_like(c, out);
        tensor_upload(out->grad, c->dy);
        tape_backward(&t, out);
        check_guards(h);
    } else if (need) {
        fault(c, "recorded no node although an input needs a gradient");
    }
    for (int i = 0; i < c->test->n_in; i++) {
        r->in[i] = record(in[i]);
        r->grad[i] = in[i] ? record(in[i]->grad) : (Record){0};
    }
}

/* ---- checking ---- */

static bool near(double got, double want, double tol)
{
    return got == want || fabs(got - want) <= tol * (1 + fabs(want));
}

static bool check_values(Case *c, const char *what, int index, const Record *r, const double *want)
{
    for (int64_t i = 0; i < r->len; i++)
        if (!near(at(r, i), want[i], r->dtype == DTYPE_i32 ? 0 : c->tol))
            return fault(c, "%s %d, element %lld of %lld: got %.9g, want %.9g", what, index, (long long)i,
                         (long long)r->len, at(r, i), want[i]);
    return true;
}

/* Calls the oracle and puts back the inputs it overwrote; updated: where to leave what it wrote there, or NULL.
 */
static void oracle(Case *c, double *y, double **updated)
{
    c->test->oracle(y, c->saved, c->inputs.value, c->kase);
    for (int i = 0; i < c->test->n_in; i++) {
        if (!c->before[i]) continue;
        size_t bytes = (size_t)c->inputs.len[i] * sizeof(double);
        if (updated) memcpy(updated[i], c->inputs.value[i], bytes);
        memcpy(c->inputs.value[i], c->before[i], bytes);
    }
}

static bool check_forward(Case *c, const Run *r)
{
    double *updated[NODE_INPUTS] = {NULL};
    for (int i = 0; i < c->test->n_in; i++)
        if (c->before[i]) updated[i] = take((size_t)c->inputs.len[i], sizeof(double));
    oracle(c, c->y, updated);
    /* An op that updates returns its first input: compared below. */
    bool ok = (c->test->updates & 1) || check_values(c, "output", 0, &r->out, c->y);
    for (int i = 0; ok && i < NODE_SAVED; i++)
        if (c->test->saved >> i & 1) ok = check_values(c, "saved", i, &r->saved[i], c->saved[i]);
    for (int i = 0; ok && i < c->test->n_in; i++) {
        if (updated[i]) ok = check_values(c, "updated input", i, &r->in[i], updated[i]);
        if (!updated[i] && r->in[i].data && memcmp(r->in[i].data, c->inputs.raw[i], r->in[i].bytes))
            ok = fault(c, "input %d was written although the op does not update it", i);
    }
    for (int i = 0; i < NODE_INPUTS; i++) free(updated[i]);
    return ok;
}

/* sum dy (y1 - y0) / h */
static double slope(const Case *c, const double *y1, const double *y0, int64_t n, double h)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        if (y1[i] != y0[i]) s += (double)c->dy[i] * (y1[i] - y0[i]) / h;
    return s;
}

/* Element j of input i against central differences. */
static bool check_element(Case *c, const Run *r, int i, int64_t j, double *up, double *down, int *kinks)
{
    const double h = 1e-6, x = c->inputs.value[i][j];
    int64_t n = r->out.len;
    c->inputs.value[i][j] = x + h;
    oracle(c, up, NULL);
    c->inputs.value[i][j] = x - h;
    oracle(c, down, NULL);
    c->inputs.value[i][j] = x;
    double right = slope(c, up, c->y, n, h), left = slope(c, c->y, down, n, h), want = (left + right) / 2;
    if (fabs(right - left) > 1e-3 * (1 + fabs(want))) {
        ++*kinks;
        return true;
    }
    double got = at(&r->grad[i], j);
    if (near(got, PREFILL + want, c->tol)) return true;
    const char *hint = near(got, want, c->tol) ? "; it was set, not added to" : "";
    return fault(c, "gradient of input %d, element %lld of %lld: got %.9g, want %d + %.9g%s", i, (long long)j,
                 (long long)r->grad[i].len, got, PREFILL, want, hint);
}

static bool check_backward(Case *c, const Run *r)
{
    double *up = take((size_t)r->out.len, sizeof *up), *down = take((size_t)r->out.len, sizeof *down);
    Rng rng = rng_open(c->h->seed, "probes");
    bool ok = true;
    for (int i = 0; ok && i < c->test->n_in; i++) {
        if (!(c->diff >> i & 1)) continue;
        int64_t len = c->inputs.len[i], probes = len < PROBES ? len : PROBES;
        int kinks = 0;
        for (int64_t k = 0; ok && k < probes; k++) {
            int64_t j = len <= PROBES ? k : k == 0 ? len - 1 : rng_below(&rng, len);
            ok = check_element(c, r, i, j, up, down, &kinks);
        }
        if (ok && KINKS_COUNT && kinks * 4 > probes)
            ok = fault(c, "input %d: %d of %lld elements lie on a kink", i, kinks, (long long)probes);
    }
    free(up);
    free(down);
    return ok;
}

static bool check_same(Case *c, const char *what, int index, const Record *a, const Record *b)
{
    if (a->bytes == b->bytes && (!a->data || !memcmp(a->data, b->data, a->bytes))) return true;
    size_t size = dtype_bytes(a->dtype, 1);
    for (int64_t i = 0; i < a->len && a->bytes == b->bytes; i++)
        if (memcmp((char *)a->data + (size_t)i * size, (char *)b->data + (size_t)i * size, size))
            return fault(c, "%s %d, element %lld: %.9g in one run, %.9g in the next", what, index, (long long)i,
                         at(a, i), at(b, i));
    return fault(c, "%s %d: two runs disagree", what, index);
}

/* rand() stands at another place by now; so does every address that comes from malloc. */
static bool check_repeat(Case *c, const Run *first)
{
    Run again = {0};
    srand((unsigned)c->h->seed + 12345);
    run(c, c->diff, &again);
    bool ok = c->ok && check_same(c, "output", 0, &first->out, &again.out);
    for (int i = 0; ok && i < NODE_SAVED; i++)
        ok = check_same(c, "saved", i, &first->saved[i], &again.saved[i]);
    for (int i = 0; ok && i < NODE_INPUTS; i++)
        ok = check_same(c, "input", i, &first->in[i], &again.in[i]) &&
             check_same(c, "gradient of input", i, &first->grad[i], &again.grad[i]);
    run_free(&again);
    return ok;
}

/* Whether the op runs elsewhere than on the host, where it can compute in bf16. */
static bool on_device(const Harness *h) { return h->backend->upload != backend_cpu.upload; }

/* Any smaller set of inputs that need a gradient gets the same ones; in bf16 each input alone, as there is
 * nothing in the choice that its type could change; and where there are more than three (32 sets of five), on
 * devices, which the CPU runs slowly. */
static bool check_subsets(Case *c, const Run *all)
{
    bool ok = true, alone = RACES_ALONE || c->inputs.bf16;
    alone |= on_device(c->h) && __builtin_popcount(c->diff) > 3;
    for (unsigned need = 0; ok && need < c->diff; need++) {
        if (need & ~c->diff || (alone && (!need || need & (need - 1)))) continue;
        Run r = {0};
        run(c, need, &r);
        ok = c->ok;
        for (int i = 0; ok && i < c->test->n_in; i++)
            for (int64_t j = 0; ok && (need >> i & 1) && j < r.grad[i].len; j++)
                if (!near(at(&r.grad[i], j), at(&all->grad[i], j), c->tol))
                    ok = fault(
                        c, "gradient of input %d, element %lld: %.9g when inputs 0x%x need one, %.9g when 0x%x",
                        i, (long long)j, at(&r.grad[i], j), need, at(&all->grad[i], j), c->diff);
        run_free(&r);
    }
    return ok;
}

/* What of a case is in bf16. */
typedef struct Types {
    bool activations, weights;
} Types;

static void check_case(Harness *h, const KernelTest *test, const KernelCase *kase, Types in)
{
    static const char *const types[2][2] = {{"", ", weights in bf16"}, {", bf16", ", bf16, weights too"}};
    bool device = on_device(h);
    bool rounds = kase->device || in.activations || (in.weights && device);
    Case c = {.h = h, .test = test, .kase = kase, .types = types[in.activations][in.weights], .ok = true};
    c.tol = rounds ? fmax(test->tol, fmax(BF16_TOL, kase->bf16_tol)) : test->tol;
    c.compute = in.activations ? DTYPE_bf16 : DTYPE_f32;
    snprintf(where, sizeof where, "FAIL %s, %s [%s%s]: the program ended here (SEED=%llu)\n", test->op->name,
             h->backend->name, kase->what, c.types, (unsigned long long)h->seed);
    case_inputs_make(&c.inputs, test, kase, h->seed,
                     (in.activations ? test->bf16 : 0) | (in.weights ? test->bf16_weights : 0), true);
    for (int i = 0; i < test->n_in; i++) {
        if (!c.inputs.raw[i]) continue;
        c.diff |= test->diff & 1u << i;
        if (!(test->updates >> i & 1)) continue;
        c.before[i] = take((size_t)c.inputs.len[i], sizeof(double));
        memcpy(c.before[i], c.inputs.value[i], (size_t)c.inputs.len[i] * sizeof(double));
    }
    Run r = {0};
    run(&c, c.diff, &r);
    c.y = take((size_t)r.out.len, sizeof *c.y);
    for (int i = 0; i < NODE_SAVED; i++)
        if (r.saved[i].data) c.saved[i] = take((size_t)r.saved[i].len, sizeof(double));
    if (c.ok &&
        (RACES_ALONE || (check_forward(&c, &r) && check_repeat(&c, &r) && (!c.diff || check_backward(&c, &r)))))
        check_subsets(&c, &r);
    run_free(&r);
    *(c.ok ? &h->passed : &h->failed) += 1;
    for (int i = 0; i < NODE_SAVED; i++) free(c.saved[i]);
    for (int i = 0; i < NODE_INPUTS; i++) free(c.before[i]);
    free(c.y);
    free(c.dy);
    case_inputs_free(&c.inputs);
}

void harness_op(Harness *h, const KernelTest *test)
{
    if (!h->backend->kernels[test->op->id].forward) {
        printf("SKIPPED %s: no kernel for it on %s\n", test->op->name, h->backend->name);
        h->skipped++;
        return;
    }
    if (test->op->differentiable != (test->diff != 0)) {
        printf("FAIL %s: its row says it is %sdifferentiable, its test otherwise\n", test->op->name,
               test->op->differentiable ? "" : "not ");
        h->failed++;
    }
    bool device = on_device(h);
    for (int i = 0; i < test->n_cases; i++) {
        const KernelCase *k = &test->cases[i];
        if (k->bench_only || k->dies || (k->device && !device)) continue;
        for (int type = 0; type < 4; type++) {
            Types in = {type / 2, type % 2};
            bool apart = k->twin && (test->bf16 & 3) == 1; /* one tensor cannot have two types */
            if ((in.activations && (!test->bf16 || !device || k->device || apart)) ||
                (in.weights && !test->bf16_weights))
                continue;
            check_case(h, test, k, in);
        }
    }
    fflush(stdout);
}

void harness_forward(Harness *h, const KernelTest *test, const KernelCase *kase)
{
    CaseInputs inputs;
    case_inputs_make(&inputs, test, kase, h->seed, 0, false);
    Tape t;
    tape_init(&t, &h->step, &h->scratch, h->seed);
    Tensor *in[NODE_INPUTS] = {NULL};
    for (int i = 0; i < test->n_in; i++) in[i] = case_tensor(&inputs, i, &h->state);
    Record r = record(op_apply(&t, test->op, test->n_in, in, kase->params, kase->params_bytes));
    free(r.data);
    case_inputs_free(&inputs);
}

bool harness_open(Harness *h, const Backend *backend, uint64_t seed)
{
    *h = (Harness){.backend = backend, .seed = seed};
    Error e = {0};
    if (!arena_open(&h->step, "step", backend, CAPACITY, &e) ||
        !arena_open(&h->scratch, "scratch", backend, CAPACITY, &e) ||
        !arena_open(&h->state, "state", backend, CAPACITY, &e)) {
        fprintf(stderr, "test_kernels: %s\n", e.msg);
        harness_close(h);
        return false;
    }
    h->step.guard = h->scratch.guard = h->state.guard = true;
    signal(SIGABRT, on_crash);
    signal(SIGSEGV, on_crash);
    return true;
}

void harness_close(Harness *h)
{
    arena_close(&h->step);
    arena_close(&h->scratch);
    arena_close(&h->state);
}
