/* pcrl-gpu's rows of kernels: the cases that pcrl-bench times on the CPU. Each run follows a read of more than
 * the last-level cache holds, which also lets the host get ahead: what lies between a run's two marks is the
 * device's time, with the gaps of several launches in it. */
#include "tests/kernels/kernel_case.h"
#include "tools/gpu_bench.h"
#include <stdlib.h>
#include <string.h>

enum { MINI_ELEMENTS = 1 << 13, BATCH = 5 };

typedef struct Case {
    GpuBench *b;
    const KernelTest *test;
    const KernelCase *kase;
    Tensor *in[NODE_INPUTS], *dy;
    Tensor *before[NODE_INPUTS]; /* what a counter that the op raises is set back to; NULL: none */
    double bytes;                /* of inputs and output */
    double halved;               /* of them, values in bf16: the case's own count takes them for f32 */
} Case;

/* Forward, or backward after it, between marks 2i and 2i + 1. */
static void enqueue(Case *c, bool backward, int i)
{
    GpuBench *b = c->b;
    Tape t;
    gpu_tape(b, &t);
    t.recording = backward;
    for (int k = 0; k < c->test->n_in; k++)
        if (c->before[k]) b->backend->move(c->in[k]->data, c->before[k]->data, tensor_bytes(c->in[k]));
    gpu_flush(b);
    b->probe->mark(2 * i);
    Tensor *out = op_apply(&t, c->test->op, c->test->n_in, c->in, c->kase->params, c->kase->params_bytes);
    b->probe->mark(2 * i + 1);
    if (!c->dy) {
        c->bytes += (double)tensor_bytes(out);
        if (out->dtype == DTYPE_bf16) c->halved += (double)tensor_len(out);
        c->dy = tensor_like(&b->state, out);
        gpu_random(b, c->dy, -1, 1);
    }
    if (backward) {
        out->grad = c->dy;
        gpu_flush(b);
        b->probe->mark(2 * i);
        tape_backward(&t, out);
        b->probe->mark(2 * i + 1);
    }
    tape_reset(&t);
}

static GpuTimes repeat(Case *c, bool backward)
{
    GpuBench *b = c->b;
    double run[GPU_RUNS_MOST];
    int n = 0;
    enqueue(c, backward, 0); /* loads the kernel, maps memory */
    b->backend->sync();
    const double start = cli_seconds();
    while (!n || (n + BATCH <= GPU_RUNS_MOST && cli_seconds() - start < b->seconds)) {
        for (int i = 0; i < BATCH; i++) enqueue(c, backward, i);
        b->backend->sync();
        for (int i = 0; i < BATCH; i++) run[n++] = b->probe->between(2 * i, 2 * i + 1);
    }
    return gpu_times(run, n);
}

/* What a backward pass must do, of its op's forward pass: the products made again, those for each of the first
 * two inputs' gradients; whether it reads the inputs again. Ops that touch only a part of a gradient are not
 * here, and not counted. */
static const struct Backward {
    const char *op;
    double again, each;
    bool reads;
} backwards[] = {
    {"matmul", 0, 1, true},
    {"matmul_q", 0, 1, true},
    {"conv2d", 0, 1, true},
    {"deconv2d", 0, 1, true},
    {"attention", 2.5, 0, true},
    {"relpos_attention", 2.5, 0, true},
    {"window_attention", 2.5, 0, true},
    {"cross_entropy", 1, 1, true},
    {"rmsnorm", 0, 0, true},
    {"l2norm", 0, 0, true},
    {"batchnorm", 0, 0, true},
    {"softmax", 0, 0, true},
    {"relu", 0, 0, true},
    {"sigmoid", 0, 0, true},
    {"mul", 0, 0, true},
    {"swiglu", 0, 0, true},
    {"multilabel", 0, 0, true},
    {"dice", 0, 0, true},
    {"infonce", 0, 0, true},
    {"layernorm", 0, 0, true},
    {"gelu", 0, 0, true},
    {"focal", 0, 0, true},
    {"window", 0, 0, false},
    {"unwindow", 0, 0, false},
    {"cast", 0, 0, false},
    {"scale", 0, 0, false},
    {"add", 0, 0, false},
    {"sub", 0, 0, false},
    {"add_bias", 0, 0, false},
    {"sum", 0, 0, false},
    {"concat", 0, 0, false},
    {"avg_pool", 0, 0, false},
    {"adaptive_pool", 0, 0, false},
    {"resize", 0, 0, false},
    {"rope", 0, 0, false},
    {NULL, 0, 0, false},
};

/* Products; the output's gradient and, if need be, the inputs read; gradients added to. */
static void backward_work(const Case *c, unsigned diff, GpuRow *row)
{
    const struct Backward *w = backwards;
    while (w->op && strcmp(w->op, c->test->op->name)) w++;
    if (!w->op) return;
    row->flops = c->kase->flops * (w->again + w->each * (int)((diff & 1) + (diff >> 1 & 1)));
    row->bytes = w->reads ? c->bytes : (double)tensor_bytes(c->dy);
    for (int i = 0; i < c->test->n_in; i++)
        if (diff >> i & 1) row->bytes += 2.0 * (double)tensor_bytes(c->in[i]->grad);
    row->floor = gpu_floor(c->b, row->flops, row->bytes);
}

static void bench_case(GpuBench *b, const KernelTest *test, const KernelCase *kase)
{
    Case c = {.b = b, .test = test, .kase = kase};
    CaseInputs inputs;
    ArenaMark mark = arena_mark(&b->state);
    char name[64];
    unsigned bf16 = b->compute == DTYPE_bf16 ? test->bf16 | test->bf16_weights : 0;
    case_inputs_make(&inputs, test, kase, b->common->seed, bf16, false);
    for (int i = 0; i < test->n_in; i++) {
        if (!(c.in[i] = case_tensor(&inputs, i, &b->state))) continue;
        if (test->updates >> i & 1 && c.in[i]->dtype == DTYPE_i32)
            c.before[i] = case_tensor(&inputs, i, &b->state);
        if (!kase->twin || i != 1) c.bytes += (double)tensor_bytes(c.in[i]);
        if (c.in[i]->dtype == DTYPE_bf16) c.halved += (double)tensor_len(c.in[i]);
    }
    case_inputs_free(&inputs);
    GpuRow row = {test->op->name, kase->what, repeat(&c, false), kase->flops, kase->bytes, 0, 0};
    row.bytes = row.bytes > 0 ? row.bytes * c.bytes / (c.bytes + 2 * c.halved) : c.bytes;
    row.floor = gpu_floor(b, row.flops, row.bytes);
    gpu_row(b, &row);
    unsigned diff = 0;
    for (int i = 0; i < test->n_in; i++) {
        if (!c.in[i] || !(test->diff >> i & 1)) continue;
        diff |= 1u << i;
        c.in[i]->needs_grad = true;
        c.in[i]->grad = tensor_like(&b->state, c.in[i]);
        tensor_fill(c.in[i]->grad, 0);
    }
    if (diff) {
        snprintf(name, sizeof name, "%s, backward", test->op->name);
        row = (GpuRow){.what = name, .detail = kase->what, .time = repeat(&c, true)};
        backward_work(&c, diff, &row);
        gpu_row(b, &row);
    }
    arena_pop(&b->state, mark);
}

static int64_t elements(const KernelTest *test, const KernelCase *kase)
{
    int64_t n = 0;
    for (int i = 0; i < test->n_in; i++)
        if (kase->in[i].fill != FILL_NONE) n += case_len(kase, i);
    return n;
}

/* The cases for this size: those marked, or the op's largest small one. */
static bool is_wanted(const GpuBench *b, const KernelTest *test, const KernelCase *kase)
{
    if (!b->mini) return kase->bench;
    const KernelCase *best = NULL;
    for (int k = 0; k < test->n_cases; k++) {
        const KernelCase *one = &test->cases[k];
        int64_t n = elements(test, one);
        if (!one->dies && n <= MINI_ELEMENTS && (!best || n > elements(test, best))) best = one;
    }
    return kase == best;
}

bool gpu_kernels(GpuBench *b, Error *e)
{
    (void)e;
    bool begun = !b->after;
    gpu_print_head(b, "Kernels, caches flushed before every run");
    for (int i = 0; kernel_tests[i]; i++) {
        const KernelTest *test = kernel_tests[i];
        const bool asked = !b->op || !strcmp(b->op, test->op->name);
        for (int k = 0; begun && asked && k < test->n_cases; k++)
            if (is_wanted(b, test, &test->cases[k])) {
                if (!gpu_begin(b, "kernels", test->op->name)) return true;
                bench_case(b, test, &test->cases[k]);
            }
        if (b->after && !strcmp(b->after, test->op->name)) begun = true;
    }
    return true;
}

/* op, case, the inputs' shapes ("-": absent), the parameters' bytes, separated by tabs. */
void gpu_list(GpuBench *b)
{
    for (int i = 0; kernel_tests[i]; i++)
        for (int k = 0; k < kernel_tests[i]->n_cases; k++) {
            const KernelTest *test = kernel_tests[i];
            const KernelCase *kase = &test->cases[k];
            if (!is_wanted(b, test, kase)) continue;
            printf("%s\t%s\t", test->op->name, kase->what);
            for (int j = 0; j < test->n_in; j++) {
                printf("%s", j ? " " : "");
                for (int d = 0; d < TENSOR_DIMS && kase->in[j].dim[d] && kase->in[j].fill != FILL_NONE; d++)
                    printf("%s%lld", d ? "," : "", (long long)kase->in[j].dim[d]);
                if (kase->in[j].fill == FILL_NONE || !kase->in[j].dim[0]) putchar('-');
            }
            putchar('\t');
            const unsigned char *p = kase->params;
            for (size_t j = 0; j < kase->params_bytes; j++) printf("%02x", p[j]);
            putchar('\n');
        }
}
