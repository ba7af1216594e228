/* pcrl-train STAGE: resnet, llama, sam, bert, medclip, pcrl. Its settings are the table in
 * tools/settings_table.c. */
#include "data/file.h"
#include "tools/checkpoint.h"
#include "tools/settings.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char doc[] =
    "Train one stage of the report system.\v"
    "Stages, each resumable:\n"
    "  resnet   ResNet on synthetic labels: grid cells and slices (in the place of the paper's CQ500 "
    "fine-tuning), or on CQ500's labels as the paper has it (--labels)\n"
    "  llama    byte-level BPE vocabulary, language model on report text, then on 24 label slots\n"
    "  sam      Segment Anything from nothing: point prompts, masks of lesions and of grey regions\n"
    "  bert     WordPiece vocabulary, masked language model on reports and English queries\n"
    "  medclip  contrast of masked slices with the English queries of their clauses; begins with that BERT\n"
    "  pcrl     the paper's training on cached features: report generation with LoRA, segmentation, alignment "
    "of entities and themes (equations 1-10); the head may be warmed up before\n"
    "llama leaves its model in RUN, from where pcrl-convert brings it, in 4 bits, into the model folder; bert "
    "leaves RUN/bert.safetensors for medclip and vocab.txt in the model folder; the others write to the model "
    "folder themselves.\n\n"
    "Every setting can also be given as a variable, PCRL_TRAIN_SLOT_STEPS for --slot-steps, or as a key of the "
    "file named by --config, \"slot_steps\": 800. The command line beats the environment, which beats the "
    "file. "
    "The run folder's run.json has them all as they were used; --config with it repeats the run, "
    "bit for bit unless it once went on with other settings.\n\n"
    "Examples:\n"
    "  pcrl-train resnet --data sets/train --out runs/resnet --model models/mini\n"
    "  pcrl-train llama --data sets/train --out runs/llama --model models/mini --steps 1000 --slot-steps 800\n"
    "  pcrl-train resnet --labels bleed --backbone resnet101.pth --lr 1e-4 --batch 8 --data sets/cq500 "
    "--validation sets/cq500-validation --validate-every 500 --out runs/cq500 --model models/paper\n"
    "  pcrl-convert --nf4 runs/llama/llama.safetensors models/mini/llama.safetensors\n"
    "  pcrl-train sam --data sets/train224 --out runs/sam --model models/mini --dim 64 --heads 2 --ffn 256\n"
    "  pcrl-train bert --data sets/train --out runs/bert --model models/mini --dim 64 --heads 4 --ffn 256\n"
    "  pcrl-train medclip --data sets/train224 --out runs/medclip --model models/mini --bert "
    "runs/bert/bert.safetensors --image 64 --patch 4 --window 4 --stages 3 --dim 24 --heads 1 --embed 64\n"
    "  pcrl-train pcrl --data sets/train --out runs/pcrl --slots runs/llama/slots.safetensors --model "
    "models/mini --cache cache --warmup-steps 900\n"
    "  pcrl-train pcrl --data sets/train --out runs/release --model models/release --cache cache --preset "
    "release --validation sets/validation --validate-every 200\n"
    "  pcrl-train --config runs/pcrl/run.json --out runs/again --model models/again";

enum { KEY_CONFIG = 256 };
static const struct argp_option own_options[] = {
    {"config", KEY_CONFIG, "FILE", 0, "run file: settings as JSON", 1}, {0}};

typedef struct Arguments {
    Settings settings;
    const char *config;
} Arguments;

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Arguments *a = state->input;
    switch (key) {
    case KEY_CONFIG: a->config = arg; return 0;
    case ARGP_KEY_INIT: state->child_inputs[0] = &a->settings; return 0;
    case ARGP_KEY_ARG:
        if (a->settings.stage) argp_error(state, "one stage at a time: %s or %s", a->settings.stage, arg);
        a->settings.stage = arg;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_setting(int key, char *arg, struct argp_state *state)
{
    return settings_parse(state->input, key, arg, state);
}

/* Removes the checkpoints of all parts of the run. */
static bool forget(const Settings *s, Error *e)
{
    static const struct {
        const char *stage, *folder;
    } part[] = {{"resnet", ""}, {"llama", "llama"}, {"llama", "slots"}, {"sam", ""},
                {"bert", ""},   {"medclip", ""},    {"pcrl", "warmup"}, {"pcrl", "pcrl"}};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        char path[4096];
        train_path(path, s->train.out, part[i].folder);
        if (!strcmp(part[i].stage, s->stage) && !checkpoint_clear(path, e)) return false;
    }
    return true;
}

/* Locks the run folder for the rest of this process and writes run.json; says what is no longer as the run that
 * goes on was begun with. An earlier run that is not to go on is forgotten before: never would a later call go
 * on with it as if it were this one. */
static bool begin(const Settings *s, Error *e)
{
    char path[4096], changed[1024];
    const TrainOptions *o = &s->train;
    int lock;
    if (!file_make_folder(o->out, e) || !checkpoint_lock(o->out, &lock, e)) return false;
    train_path(path, o->out, "run.json");
    if (!settings_changed(s, path, changed, sizeof changed, e) || (o->restart && !forget(s, e))) return false;
    if (!o->restart && *changed) cli_note("%s: going on with other settings: %s", path, changed);
    return settings_write(s, path, e);
}

int main(int argc, char **argv)
{
    const struct argp settings = {.options = settings_options(), .parser = parse_setting};
    const struct argp_child children[] = {{&settings, 0, NULL, 0}, {0}};
    const struct argp argp = {own_options, parse, "[STAGE]", doc, children, NULL, NULL};
    Arguments a = {0};
    Settings *s = &a.settings;
    Error e = {0};
    settings_open(s);
    cli_parse(&argp, argc, argv, &a);
    cli_catch_interrupt();
    bool ok = settings_environment(s, environ, &e) && (!a.config || settings_file(s, a.config, &e)) &&
              settings_resolve(s, &e);
    if (!ok && e.code == ERROR_USAGE) cli_usage("%s", e.msg);
    ok = ok && (s->train.dry_run || begin(s, &e));
    if (ok && !strcmp(s->stage, "resnet"))
        ok = s->train.labels == LABELS_TRUTH ? train_resnet(&s->train, &e) : train_slices(&s->train, &e);
    else if (ok && !strcmp(s->stage, "llama"))
        ok = train_llama(&s->train, &e);
    else if (ok && !strcmp(s->stage, "sam"))
        ok = train_sam(&s->train, &e);
    else if (ok && !strcmp(s->stage, "bert"))
        ok = train_bert(&s->train, &e);
    else if (ok && !strcmp(s->stage, "medclip"))
        ok = train_medclip(&s->train, &e);
    else if (ok)
        ok = train_pcrl(&s->train, &e);
    if (!ok) cli_fail(&e);
    settings_close(s);
    return 0;
}
