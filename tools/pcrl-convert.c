/* pcrl-convert: weights into the 4-bit form; the authors' checkpoint into a model folder. */
#include "data/tensor_file.h"
#include "models/llama.h"
#include "tools/cli.h"
#include "tools/llama_config.h"
#include "tools/release.h"
#include <stdio.h>
#include <string.h>

static const char doc[] =
    "Convert a LLaMA, in any form that it is published in (safetensors or PyTorch file, folder of shards, "
    "Meta's folder, GGUF), to safetensors under Hugging Face's names: its Linears in 4 bits, embeddings, head "
    "and norms as they are. nf4 and fp4 are written under bitsandbytes' tensor names, with double "
    "quantisation; q4_0 has GGUF's blocks under names of our own. TO is a safetensors file, or with "
    "--shard-size a folder, with the config.json by which transformers opens it.\n\nWith --release, FROM is "
    "the "
    "checkpoint of the authors' released code (.pth) and TO a model folder, which gets its head and adapter.\v"
    "Examples:\n"
    "  pcrl-convert --nf4 runs/llama/llama.safetensors models/mini/llama.safetensors\n"
    "  pcrl-convert --q4_0 Meta-Llama-3-8B.Q4_0.gguf llama.safetensors\n"
    "  pcrl-convert --fp4 --plain-absmax llama.safetensors llama-fp4.safetensors\n"
    "  pcrl-convert --nf4 --shard-size 2G Meta-Llama-3-8B llama-nf4\n"
    "  pcrl-convert --release --recalibrate train checkpoint_best.pth models/release";

enum {
    KEY_SHARD_SIZE = 0x3001,
    KEY_RELEASE,
    KEY_RECALIBRATE,
    KEY_HV,
    KEY_ALPHA,
    KEY_DROPOUT,
    KEY_BATCH,
    KEY_STUDIES
};

static const struct argp_option options[] = {
    {"nf4", 'n', 0, 0, "4-bit NormalFloat, block 64 (the default)", 0},
    {"fp4", 'f', 0, 0, "4-bit floats, block 64", 0},
    {"q4_0", 'q', 0, 0, "16 even steps, block 32, as in GGUF; scales are fp16", 0},
    {"plain-absmax", 'p', 0, 0, "keep the scales of nf4 or fp4 as f32, without double quantisation", 0},
    {"shard-size", KEY_SHARD_SIZE, "SIZE", 0,
     "write TO as a folder of files of at most SIZE (M, G) bytes of tensors each, with an index", 0},
    {"release", KEY_RELEASE, 0, 0, "FROM is the authors' checkpoint, TO a model folder", 1},
    {"recalibrate", KEY_RECALIBRATE, "DATA", 0,
     "take BatchNorm's running statistics, which that checkpoint lacks, from these training studies, by the "
     "ResNet of TO",
     1},
    {"batch", KEY_BATCH, "N", 0, "studies a batch of them (4, as in training)", 1},
    {"studies", KEY_STUDIES, "N", 0, "at most so many of them (0: all)", 1},
    {"hv", KEY_HV, "MODE", 0, "visual tokens it was trained with (concat48)", 1},
    {"lora-alpha", KEY_ALPHA, "X", 0, "of its adapter (32)", 1},
    {"lora-dropout", KEY_DROPOUT, "X", 0, "of its adapter (0.05)", 1},
    {0},
};

typedef struct Arguments {
    CliCommon common;
    const char *from, *to;
    DType quant; /* f32: not said yet */
    bool plain;
    uint64_t shard_size;         /* 0: one file */
    bool is_release, of_release; /* --release; one of its options */
    ReleaseOptions release;
} Arguments;

static void choose(struct argp_state *state, DType quant)
{
    Arguments *a = state->input;
    if (a->quant != DTYPE_f32 && a->quant != quant)
        argp_error(state, "one format: --%s or --%s", dtype_name(a->quant), dtype_name(quant));
    a->quant = quant;
}

static bool parse_release(Arguments *a, int key, char *arg, struct argp_state *state)
{
    ReleaseOptions *r = &a->release;
    switch (key) {
    case KEY_RELEASE: a->is_release = true; return true;
    case KEY_RECALIBRATE: r->data = arg; break;
    case KEY_BATCH: r->batch = cli_int_option(state, "--batch", arg, 1, 1024); break;
    case KEY_STUDIES: r->studies = cli_int_option(state, "--studies", arg, 0, 1 << 30); break;
    case KEY_ALPHA: r->alpha = cli_number_option(state, "--lora-alpha", arg, 0, 1e6); break;
    case KEY_DROPOUT: r->dropout = cli_number_option(state, "--lora-dropout", arg, 0, 0.99); break;
    case KEY_HV:
        if (!hv_parse(arg, &r->hv))
            argp_error(state, "--hv: expected local24, concat48, global24 or sum24, found '%s'", arg);
        break;
    default: return false;
    }
    a->of_release = true;
    return true;
}

static void check_arguments(Arguments *a, struct argp_state *state)
{
    if (!a->to) argp_error(state, "two files are needed: from, to");
    if (a->of_release && !a->is_release)
        argp_error(state, "--recalibrate and what follows it are for --release");
    if (a->is_release && (a->quant != DTYPE_f32 || a->plain || a->shard_size))
        argp_error(state, "--release takes no format of weights");
    if (a->quant == DTYPE_f32) a->quant = DTYPE_nf4;
    if (a->plain && !dtype_is_planar(a->quant)) argp_error(state, "--plain-absmax is for nf4 and fp4");
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
    case KEY_SHARD_SIZE:
        if (!cli_size(arg, &a->shard_size) || !a->shard_size)
            argp_error(state, "--shard-size: expected a size such as 2G, found '%s'", arg);
        break;
    case ARGP_KEY_ARG:
        if (!a->from)
            a->from = arg;
        else if (!a->to)
            a->to = arg;
        else
            argp_error(state, "two files: from, to");
        break;
    case ARGP_KEY_END: check_arguments(a, state); break;
    default: return parse_release(a, key, arg, state) ? 0 : ARGP_ERR_UNKNOWN;
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

/* The source must not be written over: what is read into fewer bits is not had back. */
static bool check_target(const Arguments *a, const TensorFile *from, Error *e)
{
    char path[4096];
    bool same = tensor_file_holds(from, a->to);
    for (int i = 0; a->shard_size && i < from->n_part; i++) {
        const char *slash = strrchr(from->part[i].path, '/');
        snprintf(path, sizeof path, "%s/%s", a->to, slash ? slash + 1 : from->part[i].path);
        same = same || tensor_file_holds(from, path);
    }
    return !same || error_set(e, ERROR_USAGE, "%s: is what is read; expected another place to write to", a->to);
}

/* transformers opens only files that say that they hold PyTorch's tensors. */
static bool save(const Arguments *a, Weights *w, const Llama *m, Error *e)
{
    static const char *const meta[] = {"format", "pt", NULL};
    if (!a->shard_size) return weights_save(&w, 1, true, meta, a->to, e);
    return weights_save_shards(&w, 1, true, meta, a->to, a->shard_size, e) &&
           llama_config_save(a->to, a->from, m, a->quant, w->nested, e);
}

/* Of all its files; 0 where it cannot be read. */
static unsigned long long file_bytes(const char *path)
{
    unsigned long long bytes = 0;
    TensorFile *f = tensor_file_open(path, NULL);
    for (int i = 0; f && i < f->n_part; i++) bytes += f->part[i].size;
    tensor_file_close(f);
    return bytes;
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
    bool ok = weights_open(&w, a->from, e) && check_target(a, w.file, e) && llama_open(&m, &w, e) &&
              check_format(a, &w, e) && save(a, &w, &m, e);
    if (ok)
        printf("%s: %llu bytes -> %s: %llu bytes\n", a->from, file_bytes(a->from), a->to, file_bytes(a->to));
    weights_close(&w);
    arena_close(&state);
    arena_close(&weights);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {options, parse, "FROM TO", doc, children, NULL, NULL};
    Arguments a = {.quant = DTYPE_f32,
                   .release = {.hv = HV_CONCAT48, .alpha = 32, .dropout = 0.05, .batch = 4}};
    Error e = {0};
    cli_parse(&argp, argc, argv, &a);
    a.release.common = &a.common;
    a.release.from = a.from;
    a.release.to = a.to;
    if (!(a.is_release ? release_import(&a.release, &e) : convert(&a, &e))) cli_fail(&e);
    return 0;
}
