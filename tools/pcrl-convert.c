/* pcrl-convert: weights into the 4-bit form. */
#include "data/safetensors.h"
#include "models/llama.h"
#include "tools/cli.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char doc[] =
    "Convert a LLaMA, in any form that it is published in (safetensors or PyTorch file, folder, GGUF), to one "
    "safetensors file under Hugging Face's names: its Linears in 4 bits, embeddings, head and norms as they "
    "are. nf4 and fp4 are written under bitsandbytes' tensor names, with "
    "double quantisation; q4_0 has GGUF's blocks under names of our own.\v"
    "Examples:\n"
    "  pcrl-convert --nf4 runs/llama/llama.safetensors models/mini/llama.safetensors\n"
    "  pcrl-convert --q4_0 Meta-Llama-3-8B.Q4_0.gguf llama.safetensors\n"
    "  pcrl-convert --fp4 --plain-absmax llama.safetensors llama-fp4.safetensors";

static const struct argp_option options[] = {
    {"nf4", 'n', 0, 0, "4-bit NormalFloat, block 64 (the default)", 0},
    {"fp4", 'f', 0, 0, "4-bit floats, block 64", 0},
    {"q4_0", 'q', 0, 0, "16 even steps, block 32, as in GGUF; scales are fp16", 0},
    {"plain-absmax", 'p', 0, 0, "keep the scales of nf4 or fp4 as f32, without double quantisation", 0},
    {0},
};

typedef struct Arguments {
    CliCommon common;
    const char *from, *to;
    DType quant; /* f32: not said yet */
    bool plain;
} Arguments;

static void choose(struct argp_state *state, DType quant)
{
    Arguments *a = state->input;
    if (a->quant != DTYPE_f32 && a->quant != quant)
        argp_error(state, "one format: --%s or --%s", dtype_name(a->quant), dtype_name(quant));
    a->quant = quant;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Arguments *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &a->common; break;
    case 'n': choose(state, DTYPE_nf4); break;
    case 'f': choose(state, DTYPE_fp4); break;
    case 'q': choose(state, DTYPE_q4_0); break;
    case 'p': a->plain = true; break;
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
        if (a->quant == DTYPE_f32) a->quant = DTYPE_nf4;
        if (a->plain && !dtype_is_planar(a->quant)) argp_error(state, "--plain-absmax is for nf4 and fp4");
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* Weights that come in 4 bits are copied, so they must be what is asked for. */
static bool check_format(const Arguments *a, const Weights *w, Error *e)
{
    for (int i = 0; i < w->n; i++) {
        const Tensor *x = w->item[i].tensor;
        if (!dtype_is_quant(x->dtype)) continue;
        bool nested = x->quant && x->quant->nested, want = w->nested;
        if (x->dtype != a->quant || nested != want)
            return error_set(e, ERROR_INPUT, "%s: tensor %s: expected plain values or %s%s, found %s%s",
                             a->from, w->item[i].name, dtype_name(a->quant), want ? ", nested" : "",
                             dtype_name(x->dtype), nested ? ", nested" : "");
    }
    return true;
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
    w.quant = a->quant;
    w.nested = dtype_is_planar(a->quant) && !a->plain;
    bool ok = weights_open(&w, a->from, e) && llama_open(&m, &w, e) && check_format(a, &w, e) &&
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
    Arguments a = {.quant = DTYPE_f32};
    Error e = {0};
    cli_parse(&argp, argc, argv, &a);
    if (!convert(&a, &e)) cli_fail(&e);
    return 0;
}
