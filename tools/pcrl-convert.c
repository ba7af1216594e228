/* pcrl-convert: weights into the 4-bit form. */
#include "data/safetensors.h"
#include "models/llama.h"
#include "tools/cli.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char doc[] = "Convert a LLaMA-form safetensors file: quantise its Linears to nf4 with double "
                          "quantisation, under bitsandbytes' "
                          "tensor names; embeddings, head and norms stay as they are.\v"
                          "Example:\n"
                          "  pcrl-convert --nf4 runs/llama/llama.safetensors models/mini/llama.safetensors";

static const struct argp_option options[] = {
    {"nf4", 'n', 0, 0, "4-bit NormalFloat, block 64 (the default and only format so far)", 0},
    {"plain-absmax", 'p', 0, 0, "keep the scales as f32, without double quantisation", 0},
    {0},
};

typedef struct Arguments {
    CliCommon common;
    const char *from, *to;
    bool nested;
} Arguments;

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Arguments *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &a->common; break;
    case 'n': break;
    case 'p': a->nested = false; break;
    case ARGP_KEY_ARG:
        if (!a->from)
            a->from = arg;
        else if (!a->to)
            a->to = arg;
        else
            argp_error(state, "two files: from, to");
        break;
    case ARGP_KEY_END:
        if (!a->to) argp_error(state, "two files are needed: from, to");
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static bool convert(const Arguments *a, Error *e)
{
    Arena weights, state;
    Weights w;
    Llama m;
    const size_t capacity = a->common.memory ? a->common.memory : (size_t)64 << 30;
    if (!arena_open(&weights, "weights", &backend_cpu, capacity, e) ||
        !arena_open(&state, "state", &backend_cpu, 1 << 20, e))
        return false;
    weights_init(&w, &weights, &state, NULL, 0);
    w.quantise = true;
    w.nested = a->nested;
    bool ok = weights_open(&w, a->from, e) && llama_open(&m, &w, e) &&
              weights_save((Weights *[]){&w}, 1, true, NULL, a->to, e);
    if (ok) {
        struct stat before, after;
        if (stat(a->from, &before) == 0 && stat(a->to, &after) == 0)
            printf("%s: %lld bytes -> %s: %lld bytes\n", a->from, (long long)before.st_size, a->to,
                   (long long)after.st_size);
    }
    weights_close(&w);
    arena_close(&state);
    arena_close(&weights);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {options, parse, "FROM TO", doc, children, NULL, NULL};
    Arguments a = {.nested = true};
    Error e = {0};
    cli_parse(&argp, argc, argv, &a);
    if (!convert(&a, &e)) cli_fail(&e);
    return 0;
}
