#include "tools/synth_weights.h"
#include "data/file.h"
#include "models/llama.h"
#include "models/medclip.h"
#include "models/resnet.h"
#include "models/visual.h"
#include "tools/adapter.h"
#include "tools/masks.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char doc[] =
    "Write models of random weights: the public sizes, names and shapes, to try what a machine has room and "
    "time "
    "for without the public files.\v"
    "NAME is llama3-8b (llama.safetensors, 5.7 GB in 4 bits, its tables in bf16), resnet101, sam-vit-b, "
    "sam-vit-l, "
    "sam-vit-h, medclip (Swin-T and BioClinicalBERT), or pcrl-head (the paper's heads and LoRA adapter, for "
    "resnet101 and llama3-8b). --out is a model folder, which with llama3-8b, resnet101 and pcrl-head is "
    "complete; "
    "or FILE.safetensors for a single model. Values are made while they are written, each tensor from --seed "
    "and its "
    "name. Counts of weights are printed as the public models' are given: without buffers such as running "
    "statistics.\n"
    "\n"
    "Examples:\n"
    "  pcrl-synth weights --model llama3-8b --model resnet101 --model pcrl-head --out models/full\n"
    "  pcrl-report --model models/full --max-tokens 16 studies\n"
    "  pcrl-synth weights --model sam-vit-h --dry-run   # how many weights and bytes";

enum { MOST_MODELS = 8, KEY_MODEL = 256, KEY_OUT, KEY_QUANT, KEY_VOCABULARY, KEY_DRY };
static const struct argp_option options[] = {
    {"model", KEY_MODEL, "NAME", 0, "what to write; may be given several times", 0},
    {"out", KEY_OUT, "DIR", 0, "model folder, or FILE.safetensors", 0},
    {"quant", KEY_QUANT, "FORM", 0,
     "of llama3-8b: nf4-dq (default), nf4, fp4-dq, fp4, q4_0, or none: bf16, 16 GB", 0},
    {"vocabulary", KEY_VOCABULARY, "DIR", 0,
     "folder whose tokenizer.json (llama3-8b) and vocab.txt (medclip) go along (data/mini)", 0},
    {"dry-run", KEY_DRY, 0, 0, "print counts and bytes, write nothing", 0},
    {0},
};

typedef struct Arguments {
    CliCommon common;
    const char *model[MOST_MODELS], *out, *vocabulary;
    int n;
    DType quant;
    bool nested;
    bool dry;
} Arguments;

/* ---- the models, on backend plan ---- */

enum { PAPER_CHANNELS = 2048, PAPER_EMBED = 512, LORA_RANK = 8 };
static const float lora_alpha = 32, lora_dropout = 0.05f;

typedef struct Output {
    const char *model, *file; /* in a folder */
    bool (*open)(Weights *w, const char *model, const Arguments *a, Error *e);
    const char *vocabulary; /* what goes along, or NULL */
} Output;

static bool open_llama(Weights *w, const char *model, const Arguments *a, Error *e)
{
    (void)model;
    Llama m;
    w->trainable = false;
    w->quant = a->quant;
    w->nested = a->nested;
    w->table = DTYPE_bf16;
    return llama_create(&m, w, llama_3_8b, e);
}

static bool open_resnet(Weights *w, const char *model, const Arguments *a, Error *e)
{
    (void)model, (void)a;
    enum { CLASSES = 1000 };
    Resnet net;
    if (!resnet_create(&net, w, resnet_101, e)) return false;
    weights_get(w, (WeightSpec){{CLASSES, net.channels}, .init = INIT_LINEAR}, "fc.weight");
    weights_get(w, (WeightSpec){{CLASSES}, .init = INIT_LINEAR, .a = (float)net.channels}, "fc.bias");
    return weights_ok(w, e);
}

static bool open_sam(Weights *w, const char *model, const Arguments *a, Error *e)
{
    (void)a;
    SamEncoder encoder;
    SamDecoder decoder;
    SamEncoderConfig big;
    SamDecoderConfig small;
    if (!mask_model_size(model + strlen("sam-"), &big, &small)) die("synth: no SAM %s", model);
    return sam_encoder_create(&encoder, w, big, e) && sam_decoder_create(&decoder, w, small, e);
}

/* With the text tower's pooler, which nothing reads. */
static bool open_medclip(Weights *w, const char *model, const Arguments *a, Error *e)
{
    (void)model, (void)a;
    Medclip m;
    if (!medclip_create(&m, w, medclip_public, e)) return false;
    int64_t D = medclip_public.bert.dim;
    w->prefix = NULL;
    weights_get(w, (WeightSpec){{D, D}, .init = INIT_NORMAL, .a = 0.02f},
                "text_model.model.pooler.dense.weight");
    weights_get(w, (WeightSpec){{D}, .init = INIT_ZEROS}, "text_model.model.pooler.dense.bias");
    return weights_ok(w, e);
}

static bool open_head(Weights *w, const char *model, const Arguments *a, Error *e)
{
    (void)model, (void)a;
    Visual v;
    return visual_create(&v, w, PAPER_CHANNELS, llama_3_8b.dim, PAPER_EMBED, HV_LOCAL24, e);
}

static bool open_adapter(Weights *w, const char *model, const Arguments *a, Error *e)
{
    (void)model, (void)a;
    Llama m = {.config = llama_3_8b};
    m.layer = calloc((size_t)m.config.layers, sizeof *m.layer);
    if (!m.layer) return error_set(e, ERROR_MEMORY, "no memory for %lld layers", (long long)m.config.layers);
    bool ok = llama_add_lora(&m, w, LORA_RANK, lora_alpha, lora_dropout, e);
    free(m.layer);
    return ok;
}

static const Output outputs[] = {
    {"llama3-8b", "llama.safetensors", open_llama, "tokenizer.json"},
    {"resnet101", "resnet.safetensors", open_resnet, NULL},
    {"sam-vit-b", "sam.safetensors", open_sam, NULL},
    {"sam-vit-l", "sam.safetensors", open_sam, NULL},
    {"sam-vit-h", "sam.safetensors", open_sam, NULL},
    {"medclip", "medclip.safetensors", open_medclip, "vocab.txt"},
    {"pcrl-head", "pcrl_heads.safetensors", open_head, NULL},
    {"pcrl-head", "adapter_model.safetensors", open_adapter, NULL},
};
enum { OUTPUTS = sizeof outputs / sizeof *outputs };

/* ---- the command line ---- */

static bool known(const char *model)
{
    for (int i = 0; i < OUTPUTS; i++)
        if (!strcmp(outputs[i].model, model)) return true;
    return false;
}

static bool is_asked(const Arguments *a, const Output *o)
{
    for (int i = 0; i < a->n; i++)
        if (!strcmp(a->model[i], o->model)) return true;
    return false;
}

static bool is_file(const char *out)
{
    static const char end[] = ".safetensors";
    size_t n = strlen(out);
    return n >= sizeof end && !strcmp(out + n - strlen(end), end);
}

static void add_model(struct argp_state *state, const char *name)
{
    Arguments *a = state->input;
    if (!known(name))
        argp_error(
            state,
            "--model: expected llama3-8b, resnet101, sam-vit-b, sam-vit-l, sam-vit-h, medclip or pcrl-head, "
            "found '%s'",
            name);
    for (int i = 0; i < a->n; i++) {
        if (!strcmp(a->model[i], name)) return;
        if (!strncmp(a->model[i], name, 4) && !strncmp(name, "sam-", 4))
            argp_error(state, "%s and %s are both sam.safetensors", a->model[i], name);
    }
    if (a->n < MOST_MODELS) a->model[a->n++] = name;
}

static void check(struct argp_state *state)
{
    const Arguments *a = state->input;
    int files = 0;
    for (int i = 0; i < OUTPUTS; i++) files += is_asked(a, &outputs[i]);
    if (!a->n) argp_error(state, "which --model?");
    if (!a->out && !a->dry) argp_error(state, "--out is missing: a model folder or FILE.safetensors");
    if (a->out && is_file(a->out) && files > 1)
        argp_error(state, "--out %s: these are %d files, name a folder", a->out, files);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Arguments *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &a->common; return 0;
    case KEY_MODEL: add_model(state, arg); return 0;
    case KEY_OUT: a->out = arg; return 0;
    case KEY_VOCABULARY: a->vocabulary = arg; return 0;
    case KEY_DRY: a->dry = true; return 0;
    case KEY_QUANT: cli_quant_option(state, "--quant", arg, &a->quant, &a->nested); return 0;
    case ARGP_KEY_END: check(state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- writing ---- */

typedef struct Job {
    const Output *output;
    Arena weights, state;
    Params params;
    Weights part;
    char path[4096];
    uint64_t bytes;
} Job;

typedef struct Work {
    Job job[OUTPUTS];
    int n;
    uint64_t bytes, done;
    CliProgress progress;
} Work;

/* Buffers are not counted. */
static int64_t weight_count(const Weights *w)
{
    int64_t n = 0;
    for (int i = 0; i < w->n; i++)
        if (w->item[i].spec.kind != WEIGHT_BUFFER) n += tensor_len(w->item[i].tensor);
    return n;
}

static bool open_output(Job *j, const Output *o, const Arguments *a, Error *e)
{
    const size_t capacity = (size_t)1 << 42; /* of a plan: reserved, never touched */
    const char *out = a->out ? a->out : ".";
    *j = (Job){.output = o};
    int n = is_file(out) ? snprintf(j->path, sizeof j->path, "%s", out)
                         : snprintf(j->path, sizeof j->path, "%s/%s", out, o->file);
    if (n >= (int)sizeof j->path) return error_set(e, ERROR_USAGE, "%.100s...: path too long", out);
    if (!arena_open(&j->weights, "weights", &backend_plan, capacity, e) ||
        !arena_open(&j->state, "state", &backend_plan, capacity, e))
        return false;
    params_init(&j->params, &j->state);
    weights_init(&j->part, &j->weights, &j->state, &j->params, a->common.seed);
    j->part.trainable = true;
    return o->open(&j->part, o->model, a, e) &&
           weights_draw_size((Weights *[]){&j->part}, 1, j->path, &j->bytes, e);
}

static void close_output(Job *j)
{
    weights_close(&j->part);
    params_close(&j->params);
    arena_close(&j->state);
    arena_close(&j->weights);
}

static bool tick(void *context, uint64_t bytes, Error *e)
{
    enum { MB = 1000000 };
    Work *w = context;
    w->done += bytes;
    cli_progress(&w->progress, (int64_t)(w->done / MB), "MB");
    return !cli_interrupted() ||
           error_set(e, ERROR_INTERRUPTED, "interrupted; the file that was begun is gone");
}

/* The vocabulary's file beside the weights. */
static bool copy_vocabulary(const Job *j, const Arguments *a, Error *e)
{
    char from[4096], to[4096];
    uint8_t *bytes;
    size_t n;
    const char *file = j->output->vocabulary;
    if (!file || is_file(a->out)) return true;
    snprintf(from, sizeof from, "%s/%s", a->vocabulary, file);
    snprintf(to, sizeof to, "%s/%s", a->out, file);
    if (!file_read(from, (size_t)1 << 28, &bytes, &n, e)) return false;
    bool ok = file_write(to, bytes, n, e);
    free(bytes);
    return ok;
}

static bool write_output(Work *w, Job *j, const Arguments *a, Error *e)
{
    WeightsDraw draw = {.seed = a->common.seed, .tick = tick, .context = w};
    return (j->output->open != open_adapter ||
            adapter_save_config(a->out, LORA_RANK, (double)lora_alpha, 0.05, e)) &&
           weights_draw((Weights *[]){&j->part}, 1, &draw, j->path, e);
}

/* What pcrl-train says of the head and its adapter. */
static void print_head(const Work *w)
{
    int64_t all = 0, lora = 0;
    for (int i = 0; i < w->n; i++) {
        const Output *o = w->job[i].output;
        int64_t n = weight_count(&w->job[i].part);
        if (o->open == open_head || o->open == open_adapter) all += n;
        if (o->open == open_adapter) lora = n;
    }
    if (all) printf("trainable %lld, of which LoRA %lld\n", (long long)all, (long long)lora);
}

static bool run(Work *w, const Arguments *a, Error *e)
{
    for (int i = 0; i < OUTPUTS; i++) {
        if (!is_asked(a, &outputs[i])) continue;
        Job *j = &w->job[w->n++];
        if (!open_output(j, &outputs[i], a, e)) return false;
        w->bytes += j->bytes;
        printf("%-10s %14lld weights %14llu bytes  %s\n", j->output->model, (long long)weight_count(&j->part),
               (unsigned long long)j->bytes, a->dry ? j->output->file : j->path);
    }
    print_head(w);
    if (a->dry) return true;
    if (!is_file(a->out) && !file_make_folder(a->out, e)) return false;
    bool ok = true;
    for (int i = 0; ok && i < w->n; i++) ok = copy_vocabulary(&w->job[i], a, e);
    if (!ok || !file_check_room(a->out, w->bytes, e)) return false;
    cli_catch_interrupt();
    w->progress = cli_progress_start("weights", 0, (int64_t)(w->bytes / 1000000));
    for (int i = 0; ok && i < w->n; i++) ok = write_output(w, &w->job[i], a, e);
    cli_progress_end(&w->progress);
    return ok;
}

int synth_weights(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {options, parse, NULL, doc, children, NULL, NULL};
    static char name[] = "pcrl-synth weights";
    static Work w;
    Arguments a = {.quant = DTYPE_nf4, .nested = true, .vocabulary = "data/mini"};
    Error e = {0};
    argv[0] = name;
    cli_parse(&argp, argc, argv, &a);
    bool ok = run(&w, &a, &e);
    for (int i = 0; i < w.n; i++) close_output(&w.job[i]);
    if (!ok) cli_fail(&e);
    return 0;
}
