/* pcrl-bench: how fast is each op, and how near to what this machine can do? Times the cases of the kernel
 * tests that are marked for it, and then the whole system. */
#include "tests/kernels/kernel_case.h"
#include "tools/bench_quant.h"
#include "tools/bench_sam.h"
#include "tools/bench_seeing.h"
#include "tools/bench_system.h"
#include "tools/cli.h"
#include "tools/roofs.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS_LEAST = 5, RUNS_MOST = 100, KEY_CSV = 0x100, KEY_SECONDS, KEY_MODEL };

typedef struct Options {
    CliCommon common;
    const char *op, *model;
    bool csv;
    double seconds;
} Options;

typedef struct Bench {
    const Options *options;
    const Backend *backend;
    Roofs roofs;
    Arena step, scratch, state;
    int cases;
} Bench;

static const struct argp_option options[] = {
    {"op", 'o', "NAME", 0,
     "only this op; \"decode\", \"prefill\": only a language model's 4-bit layer, of one row, of 512; "
     "\"seeing\": only MedCLIP, \"sam\": only SAM's mask decoder; \"system\": only the whole system, "
     "\"start\": of it only what a start costs",
     0},
    {"model", KEY_MODEL, "DIR", 0, "model folder of the whole system (data/mini)", 0},
    {"csv", KEY_CSV, 0, 0, "comma-separated values instead of a table", 0},
    {"seconds", KEY_SECONDS, "S", 0, "time to spend on each row (default 0.5)", 0},
    {0}};

static const char doc[] =
    "Times every op, forward and backward, and the whole system.\v"
    "First the machine's roofs are measured: memory read by all threads, and multiply-adds in registers. Each "
    "row is "
    "then an op's case: median and minimum of several runs on random inputs, caches flushed before each; GB/s "
    "and "
    "GFLOP/s from the bytes that must move and the operations that must be done; and the larger of the two "
    "shares of "
    "the roofs. Backward, for all inputs that have a gradient, is timed alone; its work is not counted. "
    "Then come a 4-bit layer of the 8B model, beside memory's speed and the peaks of dot products, "
    "MedCLIP's embeddings and SAM's mask decoder at their public sizes, the decoder naive and with "
    "each of its savings on top of the last. Last come a report and a training step of the model "
    "in DIR, on synthetic studies drawn for it, and what a "
    "start costs on each device whose plug-in is there.\n"
    "\n"
    "Examples:\n"
    "  pcrl-bench\n"
    "  pcrl-bench --op matmul --csv > matmul.csv\n"
    "\n"
    "Exit codes: 0 ok, 1 usage, 2 or 3 no model, 6 out of memory.";

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; return 0;
    case 'o': o->op = arg; return 0;
    case KEY_MODEL: o->model = arg; return 0;
    case KEY_CSV: o->csv = true; return 0;
    case KEY_SECONDS: o->seconds = cli_number_option(state, "--seconds", arg, 0, 3600); return 0;
    case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", arg); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* One run of a case; returns the seconds of the pass that is asked for. */
static double once(Bench *b, const KernelTest *test, const KernelCase *kase, Tensor *const *in, Tensor **dy,
                   bool backward)
{
    Tape t;
    tape_init(&t, &b->step, &b->scratch, b->options->common.seed);
    t.recording = backward;
    roofs_flush(&b->roofs);
    double from = cli_seconds();
    Tensor *out = op_apply(&t, test->op, test->n_in, in, kase->params, kase->params_bytes);
    b->backend->sync();
    if (backward) {
        if (!*dy) {
            *dy = tensor_like(&b->state, out);
            float *host = malloc(tensor_bytes(*dy));
            if (!host) die("out of memory for %s", tensor_text(*dy));
            case_uniform(host, tensor_len(*dy), b->options->common.seed, "output gradient");
            tensor_upload(*dy, host);
            free(host);
        }
        out->grad = *dy;
        roofs_flush(&b->roofs);
        from = cli_seconds();
        tape_backward(&t, out);
        b->backend->sync();
    }
    double seconds = cli_seconds() - from;
    tape_reset(&t);
    return seconds;
}

static BenchTimes repeat(Bench *b, const KernelTest *test, const KernelCase *kase, Tensor *const *in,
                         bool backward)
{
    double run[RUNS_MOST];
    Tensor *dy = NULL;
    int n = 0;
    once(b, test, kase, in, &dy, backward); /* touches memory, makes primitives */
    const double start = cli_seconds(), most = b->options->seconds;
    double spent = 0;
    while (!n || (n < RUNS_MOST && spent < most) || (n < RUNS_LEAST && spent < 8 * most)) {
        run[n++] = once(b, test, kase, in, &dy, backward);
        spent = cli_seconds() - start;
    }
    return bench_times(run, n);
}

static void print_row(Bench *b, const char *op, const char *what, const char *pass, BenchTimes t, double flops,
                      double bytes)
{
    const bool roofed = b->backend == &backend_cpu; /* the roofs are the processor's */
    double flop_share = roofed ? flops / t.median / b->roofs.fma : 0;
    double byte_share = roofed ? bytes / t.median / b->roofs.read : 0;
    double share = flop_share > byte_share ? flop_share : byte_share;
    const char *roof = flop_share > byte_share ? "fma" : "read";
    if (b->options->csv) {
        printf("%s,\"%s\",%s,%.2f,%.2f,%.3f,%.3f,%.4f,%s\n", op, what, pass, t.median * 1e6, t.least * 1e6,
               bytes / t.median * 1e-9, flops / t.median * 1e-9, share, share > 0 ? roof : "");
        return;
    }
    printf("%-13s %-28s %-8s %11.1f %11.1f", op, what, pass, t.median * 1e6, t.least * 1e6);
    if (flops > 0 || bytes > 0) printf(" %8.2f %9.2f", bytes / t.median * 1e-9, flops / t.median * 1e-9);
    if (share > 0) printf("  %5.1f %% of %s", share * 100, roof);
    putchar('\n');
}

static void bench_case(Bench *b, const KernelTest *test, const KernelCase *kase)
{
    CaseInputs c;
    Tensor *in[NODE_INPUTS] = {NULL};
    case_inputs_make(&c, test, kase, b->options->common.seed, 0, false);
    for (int i = 0; i < test->n_in; i++) in[i] = case_tensor(&c, i, &b->state);
    case_inputs_free(&c); /* gigabytes, some of them */
    print_row(b, test->op->name, kase->what, "forward", repeat(b, test, kase, in, false), kase->flops,
              kase->bytes);
    unsigned diff = 0;
    for (int i = 0; i < test->n_in; i++) {
        if (!in[i] || !(test->diff >> i & 1)) continue;
        diff |= 1u << i;
        in[i]->needs_grad = true;
        in[i]->grad = tensor_like(&b->state, in[i]);
        tensor_fill(in[i]->grad, 0);
    }
    if (diff) print_row(b, test->op->name, kase->what, "backward", repeat(b, test, kase, in, true), 0, 0);
    fflush(stdout);
    arena_pop(&b->state, (ArenaMark){0, 0});
    b->cases++;
}

static void print_roofs(const Bench *b, const char *when)
{
    const Roofs *r = &b->roofs;
    if (b->options->csv)
        printf("roof,read%s,,,,%.3f,,1,read\nroof,fma%s,,,,,%.3f,1,fma\n", when, r->read * 1e-9, when,
               r->fma * 1e-9);
    else
        printf("roofs of this processor%s, %d threads: read %.2f GB/s, fma %.1f GFLOP/s (%s)\n", when,
               omp_get_max_threads(), r->read * 1e-9, r->fma * 1e-9, r->vectors);
}

static bool is_start(const char *op) { return !strcmp(op, "start"); }
static bool is_seeing(const char *op) { return !strcmp(op, "seeing"); }
static bool is_sam(const char *op) { return !strcmp(op, "sam"); }
static bool is_decode(const char *op) { return !strcmp(op, "decode"); }
static bool is_prefill(const char *op) { return !strcmp(op, "prefill"); }
static bool is_system(const char *op) { return !strcmp(op, "system") || is_start(op); }
static bool is_whole(const char *op)
{
    return is_system(op) || is_seeing(op) || is_sam(op) || is_decode(op) || is_prefill(op);
}

static void print_head(const Bench *b)
{
    if (b->options->csv) printf("op,case,pass,median_us,min_us,gb_s,gflop_s,share,roof\n");
    print_roofs(b, "");
    if (!b->options->csv && !(b->options->op && is_whole(b->options->op)))
        printf("\n%-13s %-28s %-8s %11s %11s %8s %9s  share of the nearer roof\n", "op", "case", "pass",
               "us, median", "us, min", "GB/s", "GFLOP/s");
}

static bool known(const char *op)
{
    if (is_whole(op)) return true;
    for (int i = 0; kernel_tests[i]; i++)
        if (!strcmp(kernel_tests[i]->op->name, op)) return true;
    return false;
}

static bool open_arenas(Bench *b, Error *e)
{
    size_t capacity = b->options->common.memory ? b->options->common.memory / 3 : (size_t)8 << 30;
    return arena_open(&b->step, "step", b->backend, capacity, e) &&
           arena_open(&b->scratch, "scratch", b->backend, capacity, e) &&
           arena_open(&b->state, "state", b->backend, capacity, e);
}

static bool run(Bench *b, Error *e)
{
    const Options *o = b->options;
    b->backend = backend_open(o->common.device, e);
    if (!b->backend || !roofs_measure(&b->roofs, e) || !open_arenas(b, e)) return false;
    print_head(b);
    for (int i = 0; kernel_tests[i]; i++) {
        const KernelTest *test = kernel_tests[i];
        for (int k = 0; k < test->n_cases && (!o->op || !strcmp(o->op, test->op->name)); k++)
            if (test->cases[k].bench) bench_case(b, test, &test->cases[k]);
    }
    const Roofs *roofs = b->backend == &backend_cpu ? &b->roofs : NULL;
    const BenchSystem whole = {o->model, &o->common, roofs, o->csv, o->op && is_start(o->op), o->seconds};
    if (roofs && (!o->op || is_decode(o->op)) && !bench_decode(&whole, e)) return false;
    if (roofs && (!o->op || is_prefill(o->op)) && !bench_prefill(&whole, e)) return false;
    if ((!o->op || is_seeing(o->op)) && !bench_seeing(&whole, e)) return false;
    if ((!o->op || is_sam(o->op)) && !bench_sam(&whole, b->backend, e)) return false;
    if ((!o->op || is_system(o->op)) && !bench_system(&whole, e)) return false;
    if (o->op && !b->cases && !is_whole(o->op)) { cli_note("%s has no case to time", o->op); }
    /* Where they differ from those above, something else ran on this machine. */
    roofs_close(&b->roofs);
    if (!roofs_measure(&b->roofs, e)) return false;
    print_roofs(b, " at the end");
    if (!fflush(stdout) && !ferror(stdout)) return true;
    return error_set(e, ERROR_IO, "standard output: cannot write the table");
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {options, parse, NULL, doc, children, NULL, NULL};
    Options o = {.model = "data/mini", .seconds = 0.5};
    Bench b = {.options = &o};
    Error e = {0};
    cli_parse(&argp, argc, argv, &o);
    if (o.op && !known(o.op)) cli_usage("--op: there is no op '%s'", o.op);
    bool ok = run(&b, &e);
    arena_close(&b.step);
    arena_close(&b.scratch);
    arena_close(&b.state);
    roofs_close(&b.roofs);
    if (!ok) cli_fail(&e);
    return 0;
}
