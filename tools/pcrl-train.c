/* pcrl-train STAGE: resnet, llama, pcrl. */
#include "tools/train.h"
#include <stdlib.h>
#include <string.h>

static const char doc[] =
    "Train one stage of the report system.\v"
    "Stages, each resumable and each writing its part of the model folder:\n"
    "  resnet   ResNet on synthetic labels: grid cells and slices (in the place of the paper's CQ500 "
    "fine-tuning)\n"
    "  llama    byte-level BPE vocabulary, language model on report text, then on 24 label slots\n"
    "  pcrl     features cached, head warmed up, then report generation with LoRA (equation 1)\n"
    "Between llama and pcrl, pcrl-convert makes the 4-bit base.\n\n"
    "Examples:\n"
    "  pcrl-train resnet --data sets/train --out runs/resnet --model models/mini\n"
    "  pcrl-train llama --data sets/train --out runs/llama --model models/mini --steps 1000 --slot-steps 800\n"
    "  pcrl-convert --nf4 runs/llama/llama.safetensors models/mini/llama.safetensors\n"
    "  pcrl-train pcrl --data sets/train --out runs/pcrl --slots runs/llama/slots.safetensors --model "
    "models/mini "
    "--cache cache";

enum {
    KEY_OUT = 256,
    KEY_MODEL,
    KEY_STEPS,
    KEY_BATCH,
    KEY_LR,
    KEY_STUDIES,
    KEY_RESTART,
    KEY_STEM,
    KEY_WIDTH,
    KEY_DEPTH,
    KEY_STRIDE,
    KEY_VOCAB,
    KEY_DIM,
    KEY_LAYERS,
    KEY_HEADS,
    KEY_KV_HEADS,
    KEY_FFN,
    KEY_SLOT_STEPS,
    KEY_PREFIX,
    KEY_WARMUP,
    KEY_PRESET,
    KEY_HV,
    KEY_RANK,
    KEY_ALPHA,
    KEY_DROPOUT,
    KEY_CACHE,
    KEY_SLOTS,
};

static const struct argp_option options[] = {
    {0, 0, 0, 0, "All stages:", 1},
    {"data", 'd', "DIR", 0, "training data set (as pcrl-synth writes it)", 0},
    {"out", KEY_OUT, "DIR", 0, "run folder: log.jsonl, checkpoint", 0},
    {"model", KEY_MODEL, "DIR", 0, "model folder: parts of earlier stages in, this stage's part out", 0},
    {"steps", KEY_STEPS, "N", 0, "updates (default: the stage's own)", 0},
    {"batch", KEY_BATCH, "N", 0, "samples an update (resnet 64 slices, llama 24 reports, pcrl 16 studies)", 0},
    {"lr", KEY_LR, "X", 0, "learning rate at its highest", 0},
    {"studies", KEY_STUDIES, "N", 0, "use the first N studies only", 0},
    {"restart", KEY_RESTART, 0, 0, "start anew although the run folder has a checkpoint", 0},
    {0, 0, 0, 0, "Stage resnet:", 2},
    {"stem", KEY_STEM, "N", 0, "channels after the stem (16)", 0},
    {"widths", KEY_WIDTH, "A,B,C,D", 0, "of the bottlenecks' 3x3 (16,32,32,32)", 0},
    {"depths", KEY_DEPTH, "A,B,C,D", 0, "blocks a stage (2,2,2,2)", 0},
    {"strides", KEY_STRIDE, "A,B,C,D", 0, "of a stage's first block (1,2,1,1: 128 pixels to 16x16 to 14x14)",
     0},
    {0, 0, 0, 0, "Stage llama:", 3},
    {"vocab", KEY_VOCAB, "N", 0, "ids of the BPE vocabulary (512)", 0},
    {"dim", KEY_DIM, "N", 0, "width (192)", 0},
    {"layers", KEY_LAYERS, "N", 0, "blocks (4)", 0},
    {"heads", KEY_HEADS, "N", 0, "query heads (6)", 0},
    {"kv-heads", KEY_KV_HEADS, "N", 0, "key/value heads (3)", 0},
    {"ffn", KEY_FFN, "N", 0, "inner width of the feed-forward part (512)", 0},
    {"slot-steps", KEY_SLOT_STEPS, "N", 0, "updates on label slots after the text (800; 0: none)", 0},
    {"prefix-share", KEY_PREFIX, "X", 0, "share of text samples that begin with their findings (0.7)", 0},
    {0, 0, 0, 0, "Stage pcrl:", 4},
    {"preset", KEY_PRESET, "NAME", 0,
     "mini (default: head warmed up towards the slots) or paper (stage llama without slots, stage pcrl without "
     "warm-up)",
     0},
    {"hv", KEY_HV, "MODE", 0, "visual tokens: local24 (default), concat48, global24, sum24", 0},
    {"warmup-steps", KEY_WARMUP, "N", 0, "updates of the head alone (900)", 0},
    {"slots", KEY_SLOTS, "FILE", 0, "slot embeddings of stage llama, for the warm-up", 0},
    {"cache", KEY_CACHE, "DIR", 0, "folder of the feature cache", 0},
    {"lora-rank", KEY_RANK, "N", 0, "8", 0},
    {"lora-alpha", KEY_ALPHA, "X", 0, "32", 0},
    {"lora-dropout", KEY_DROPOUT, "X", 0, "0.05", 0},
    {0},
};

typedef struct Arguments {
    const char *stage;
    bool paper; /* preset: neither label slots nor a warm-up towards them */
    TrainOptions train;
} Arguments;

static void four(struct argp_state *state, const char *name, const char *text, int low, int high,
                 int64_t out[4])
{
    double v[4];
    if (!cli_numbers(text, ',', 4, v))
        argp_error(state, "--%s %s: expected four numbers like 1,2,2,2", name, text);
    for (int i = 0; i < 4; i++) {
        out[i] = (int64_t)v[i];
        if ((double)out[i] != v[i] || out[i] < low || out[i] > high)
            argp_error(state, "--%s %s: expected whole numbers from %d to %d", name, text, low, high);
    }
}

static void resnet_option(int key, char *arg, struct argp_state *state, TrainOptions *o)
{
    int64_t v[4];
    if (key == KEY_STEM) o->stem = cli_int_option(state, "--stem", arg, 1, 4096);
    if (key == KEY_WIDTH) four(state, "widths", arg, 1, 4096, o->width);
    if (key == KEY_DEPTH) {
        four(state, "depths", arg, 1, 64, v);
        for (int i = 0; i < 4; i++) o->depth[i] = (int)v[i];
    }
    if (key == KEY_STRIDE) {
        four(state, "strides", arg, 1, 2, v);
        for (int i = 0; i < 4; i++) o->stride[i] = (int)v[i];
    }
}

static error_t llama_option(int key, char *arg, struct argp_state *state, TrainOptions *o)
{
    switch (key) {
    case KEY_VOCAB: o->vocab = cli_int_option(state, "--vocab", arg, 260, 1 << 20); break;
    case KEY_DIM: o->dim = cli_int_option(state, "--dim", arg, 8, 1 << 16); break;
    case KEY_LAYERS: o->layers = cli_int_option(state, "--layers", arg, 1, 1024); break;
    case KEY_HEADS: o->heads = cli_int_option(state, "--heads", arg, 1, 1024); break;
    case KEY_KV_HEADS: o->kv_heads = cli_int_option(state, "--kv-heads", arg, 1, 1024); break;
    case KEY_FFN: o->ffn = cli_int_option(state, "--ffn", arg, 8, 1 << 20); break;
    case KEY_SLOT_STEPS: o->slot_steps = cli_int_option(state, "--slot-steps", arg, 0, 1 << 30); break;
    case KEY_PREFIX: o->prefix_share = cli_number_option(state, "--prefix-share", arg, 0, 1); break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static error_t pcrl_option(int key, char *arg, struct argp_state *state, TrainOptions *o)
{
    switch (key) {
    case KEY_HV: o->hv = arg; break;
    case KEY_WARMUP: o->warmup_steps = cli_int_option(state, "--warmup-steps", arg, 0, 1 << 30); break;
    case KEY_SLOTS: o->slots = arg; break;
    case KEY_CACHE: o->cache = arg; break;
    case KEY_RANK: o->lora_rank = cli_int_option(state, "--lora-rank", arg, 1, 4096); break;
    case KEY_ALPHA: o->lora_alpha = cli_number_option(state, "--lora-alpha", arg, 0, 1e6); break;
    case KEY_DROPOUT: o->lora_dropout = cli_number_option(state, "--lora-dropout", arg, 0, 0.99); break;
    default: return llama_option(key, arg, state, o);
    }
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Arguments *a = state->input;
    TrainOptions *o = &a->train;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; break;
    case 'd': o->data = arg; break;
    case KEY_OUT: o->out = arg; break;
    case KEY_MODEL: o->model = arg; break;
    case KEY_STEPS: o->steps = cli_int_option(state, "--steps", arg, 1, 1 << 30); break;
    case KEY_BATCH: o->batch = cli_int_option(state, "--batch", arg, 1, 1 << 16); break;
    case KEY_LR: o->lr = cli_number_option(state, "--lr", arg, 1e-9, 10); break;
    case KEY_STUDIES: o->studies = cli_int_option(state, "--studies", arg, 1, 1 << 30); break;
    case KEY_RESTART: o->resume = false; break;
    case KEY_PRESET:
        if (strcmp(arg, "mini") && strcmp(arg, "paper"))
            argp_error(state, "--preset %s: expected mini or paper", arg);
        a->paper = !strcmp(arg, "paper");
        break;
    case KEY_STEM:
    case KEY_WIDTH:
    case KEY_DEPTH:
    case KEY_STRIDE: resnet_option(key, arg, state, o); break;
    case ARGP_KEY_ARG:
        if (a->stage) argp_error(state, "one stage at a time: %s or %s", a->stage, arg);
        a->stage = arg;
        break;
    case ARGP_KEY_END:
        if (!a->stage) argp_error(state, "which stage? resnet, llama or pcrl");
        if (!o->data || !o->out || !o->model) argp_error(state, "--data, --out and --model are needed");
        break;
    default: return pcrl_option(key, arg, state, o);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {options, parse, "STAGE", doc, children, NULL, NULL};
    Arguments a = {.train = {.resume = true,
                             .stem = 16,
                             .width = {16, 32, 32, 32},
                             .depth = {2, 2, 2, 2},
                             .stride = {1, 2, 1, 1},
                             .vocab = 512,
                             .dim = 192,
                             .layers = 4,
                             .heads = 6,
                             .kv_heads = 3,
                             .ffn = 512,
                             .slot_steps = 800,
                             .prefix_share = 0.7,
                             .warmup_steps = 900,
                             .hv = "local24",
                             .lora_rank = 8,
                             .lora_alpha = 32,
                             .lora_dropout = 0.05}};
    cli_parse(&argp, argc, argv, &a);
    cli_catch_interrupt();
    TrainOptions *o = &a.train;
    if (a.paper) o->slot_steps = o->warmup_steps = 0;
    if (o->dim % o->heads || o->dim / o->heads % 2 || o->heads % o->kv_heads)
        cli_usage("--dim %lld --heads %lld --kv-heads %lld: the width must be heads times an even number, the "
                  "heads a multiple of "
                  "the key/value heads",
                  (long long)o->dim, (long long)o->heads, (long long)o->kv_heads);
    Error e = {0};
    bool ok = false;
    if (!strcmp(a.stage, "resnet"))
        ok = train_resnet(&a.train, &e);
    else if (!strcmp(a.stage, "llama"))
        ok = train_llama(&a.train, &e);
    else if (!strcmp(a.stage, "pcrl")) {
        if (!a.train.cache) cli_usage("stage pcrl: --cache is needed");
        if (o->warmup_steps && !o->slots)
            cli_usage("stage pcrl: the warm-up needs --slots (or --warmup-steps 0, or --preset paper)");
        ok = train_pcrl(&a.train, &e);
    } else {
        cli_usage("unknown stage '%s': expected resnet, llama or pcrl", a.stage);
    }
    if (!ok) cli_fail(&e);
    return 0;
}
