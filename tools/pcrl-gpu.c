/* pcrl-gpu: how fast are kernels and models on this GPU, and how near to what it could do? */
#include "tools/gpu_bench.h"
#include <stdlib.h>
#include <string.h>

enum { KEY_SIZES = 0x100, KEY_ONLY, KEY_TABLE, KEY_SECONDS, KEY_LIMIT, KEY_AFTER, KEY_LIST };

typedef struct Part {
    const char *name;
    bool (*run)(GpuBench *b, Error *e);
} Part;

static bool card(GpuBench *b, Error *e)
{
    (void)e;
    gpu_print_card(b);
    return true;
}

static const Part parts[] = {{"card", card},         {"kernels", gpu_kernels}, {"llama", gpu_llama},
                             {"resnet", gpu_resnet}, {"train", gpu_train},     {NULL, NULL}};

typedef struct Options {
    CliCommon common;
    const char *table, *only, *op, *after;
    bool mini, list;
    double seconds, limit;
} Options;

static const struct argp_option options[] = {
    {"sizes", KEY_SIZES, "SIZES", 0, "mini or paper (default)", 0},
    {"only", KEY_ONLY, "PART", 0, "card, kernels, llama, resnet or train (default: all, in this order)", 0},
    {"op", 'o', "NAME", 0, "of the kernels only this op", 0},
    {"after", KEY_AFTER, "NAME", 0, "of the kernels only those after this op", 0},
    {"table", KEY_TABLE, "FILE", 0, "where lines are added (gpu-results.md)", 0},
    {"seconds", KEY_SECONDS, "S", 0, "time to spend on each kernel's row (default 0.2)", 0},
    {"limit", KEY_LIMIT, "S", 0, "begin no row of a part later than this (default: none)", 0},
    {"list", KEY_LIST, NULL, 0, "print the kernels' cases, one a line, and end; opens no device", 0},
    {0}};

static const char doc[] =
    "Times the CUDA kernels and the models at the paper's sizes on a GPU.\v"
    "The roofs come first, measured on the card: memory read and copied, and tensor-core products in "
    "registers. "
    "A row has the median, least and most of at least five runs on random inputs; GB/s and TFLOP/s from the "
    "bytes that must move and the operations that must be done; their share of the nearer roof; and how much "
    "of the time the floor is, which is what the card's data sheet leaves (where it is known). Kernels: every "
    "timed case, caches flushed before each run. llama: 4-bit LLaMA3-8B, weights random and made on the "
    "device; "
    "decoding at batch 1, 4, 16, and a prompt of 300 tokens. resnet: ResNet-101 on 96 slices of 512x512. "
    "train: the paper's training step, batch 4. Every line is on disk before the next row begins.\n"
    "\n"
    "Examples:\n"
    "  pcrl-gpu\n"
    "  pcrl-gpu --only kernels --op matmul_q\n"
    "  pcrl-gpu --device emu --sizes mini\n"
    "\n"
    "Exit codes: 0 ok, 1 usage, 2 no device, 5 the table cannot be written, 6 out of memory.";

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; return 0;
    case KEY_SIZES:
        if (strcmp(arg, "mini") && strcmp(arg, "paper")) argp_error(state, "--sizes: expected mini or paper");
        o->mini = !strcmp(arg, "mini");
        return 0;
    case KEY_ONLY:
        for (const Part *p = parts; p->name; p++)
            if (!strcmp(p->name, arg)) o->only = p->name;
        if (!o->only) argp_error(state, "--only: there is no part '%s'", arg);
        return 0;
    case 'o': o->op = arg; return 0;
    case KEY_AFTER: o->after = arg; return 0;
    case KEY_TABLE: o->table = arg; return 0;
    case KEY_SECONDS: o->seconds = cli_number_option(state, "--seconds", arg, 0, 3600); return 0;
    case KEY_LIMIT: o->limit = cli_number_option(state, "--limit", arg, 0, 1e6); return 0;
    case KEY_LIST: o->list = true; return 0;
    case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", arg); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static bool run(GpuBench *b, const Options *o, Error *e)
{
    if (!gpu_open(b, o->table, e)) return false;
    for (const Part *p = parts; p->name; p++) {
        if (o->only && strcmp(o->only, p->name)) continue;
        b->until = o->limit > 0 ? cli_seconds() + o->limit : 0;
        b->unbegun = 0;
        if (!p->run(b, e)) return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {options, parse, NULL, doc, children, NULL, NULL};
    Options o = {.table = "gpu-results.md", .seconds = 0.2};
    GpuBench b = {.common = &o.common};
    Error e = {0};
    cli_parse(&argp, argc, argv, &o);
    b.mini = o.mini;
    b.seconds = o.mini ? 0 : o.seconds;
    b.op = o.op;
    b.after = o.after;
    if (o.list) {
        gpu_list(&b);
        return 0;
    }
    bool ok = run(&b, &o, &e);
    gpu_close(&b);
    if (!ok) cli_fail(&e);
    return 0;
}
