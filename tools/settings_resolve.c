#include "tools/settings_parts.h"
#include "tools/train_pcrl.h"
#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEY_FIRST = 0x2000, HELP = 320 };
enum { GROUP_ALL = 1, GROUP_SEVERAL, GROUP_STAGE, GROUP_COMMON = 90 };

/* What "the stage's own" is. */
static const struct Own {
    const char *stage;
    int bit;
    int64_t steps, batch, warm;
    double lr, clip;
} own[] = {{"resnet", STAGE_RESNET, 2400, 64, 50, 2e-3, 0},   {"llama", STAGE_LLAMA, 1000, 24, 50, 1.5e-3, 1},
           {"sam", STAGE_SAM, 2000, 4, 50, 2e-3, 1},          {"bert", STAGE_BERT, 1000, 32, 50, 2e-3, 1},
           {"medclip", STAGE_MEDCLIP, 1000, 32, 50, 2e-3, 1}, {"pcrl", STAGE_PCRL, 1000, 16, 30, 1e-3, 1}};
enum { STAGES = sizeof own / sizeof *own };

static const struct Own *find_own(const char *stage)
{
    for (int i = 0; stage && i < STAGES; i++)
        if (!strcmp(own[i].stage, stage)) return &own[i];
    return NULL;
}

int stage_bit(const char *stage)
{
    const struct Own *o = find_own(stage);
    return o ? o->bit : 0;
}

/* "llama, sam": whose setting it is. */
static void stage_list(const Setting *r, char *out, size_t room)
{
    size_t at = 0;
    *out = 0;
    for (int i = 0; i < STAGES && at < room; i++)
        if (r->stages & own[i].bit)
            at += (size_t)snprintf(out + at, room - at, "%s%s", at ? ", " : "", own[i].stage);
}

static void apply_preset(Settings *s)
{
    for (int i = 0; i < settings_count; i++) {
        const Setting *r = &settings_table[i];
        if (s->train.preset != PRESET_RELEASE || !r->release || s->from[i] != FROM_DEFAULT) continue;
        if (!setting_from_text(r, r->release, (char *)&s->train + r->offset))
            die("settings: %s: preset release's %s is not allowed", r->name, r->release);
    }
}

/* A setting of another stage on the command line is a slip; environment and file may serve several stages. */
static bool check_stage(const Settings *s, int bit, Error *e)
{
    for (int i = 0; i < settings_count; i++) {
        const Setting *r = &settings_table[i];
        if (s->from[i] != FROM_COMMAND || r->stages & bit) continue;
        char stages[64];
        stage_list(r, stages, sizeof stages);
        return error_set(e, ERROR_USAGE, "--%s is a setting of stage %s, not of stage %s", r->name, stages,
                         s->stage);
    }
    return true;
}

static bool check_sam(const TrainOptions *o, Error *e)
{
    if (o->image % o->patch || o->patch % 4)
        return error_set(e, ERROR_USAGE,
                         "--image %lld --patch %lld: the image must be whole patches, a patch a multiple of 4",
                         (long long)o->image, (long long)o->patch);
    if (o->dim % o->heads)
        return error_set(e, ERROR_USAGE, "--dim %lld --heads %lld: the width must be a multiple of the heads",
                         (long long)o->dim, (long long)o->heads);
    if (o->decoder_dim % 8 || o->decoder_dim / 2 % o->decoder_heads)
        return error_set(e, ERROR_USAGE,
                         "--decoder-dim %lld --decoder-heads %lld: the width must be a multiple of 8, half of "
                         "it of the heads",
                         (long long)o->decoder_dim, (long long)o->decoder_heads);
    return true;
}

/* What stage resnet has with other labels alone is a slip on the command line too. */
static bool check_truth(const Settings *s, Error *e)
{
    static const char *const name[] = {"backbone", "validation", "validate-every", "validation-studies"};
    for (int i = 0; i < settings_count; i++)
        for (size_t k = 0; k < sizeof name / sizeof *name; k++)
            if (s->from[i] == FROM_COMMAND && !strcmp(settings_table[i].name, name[k]))
                return error_set(e, ERROR_USAGE, "--%s: of stage resnet only with --labels bleed or cq500",
                                 name[k]);
    return true;
}

/* On the command line it is a slip; elsewhere it may be stage medclip's. */
static bool check_bert(const Settings *s, Error *e)
{
    for (int i = 0; s->train.text_features != TEXTS_BERT && i < settings_count; i++)
        if (settings_table[i].offset == offsetof(TrainOptions, bert) && s->from[i] == FROM_COMMAND)
            return error_set(e, ERROR_USAGE,
                             "--bert %.200s: stage pcrl reads it with --text-features bert only",
                             s->train.bert);
    return true;
}

static bool check(const Settings *s, int bit, Error *e)
{
    const TrainOptions *o = &s->train;
    bool paper = bit == STAGE_PCRL && o->sizes == SIZES_PAPER;
    if (paper && !o->dry_run)
        return error_set(e, ERROR_USAGE, "--sizes paper: only a --dry-run can have the paper's sizes");
    if (paper) return true; /* needs no files */
    if (!o->data || !o->out || !o->model)
        return error_set(e, ERROR_USAGE, "--data, --out and --model are needed");
    if (bit == STAGE_LLAMA && (o->dim % o->heads || o->dim / o->heads % 2 || o->heads % o->kv_heads))
        return error_set(
            e, ERROR_USAGE,
            "--dim %lld --heads %lld --kv-heads %lld: the width must be heads times an even number, "
            "the heads a multiple of the key/value heads",
            (long long)o->dim, (long long)o->heads, (long long)o->kv_heads);
    if (bit == STAGE_RESNET && o->labels == LABELS_TRUTH) return check_truth(s, e);
    if (bit & (STAGE_RESNET | STAGE_PCRL | STAGE_SAM | STAGE_MEDCLIP) && o->validate_every && !o->validation)
        return error_set(e, ERROR_USAGE, "--validate-every %lld: --validation is needed",
                         (long long)o->validate_every);
    if (bit == STAGE_BERT && o->dim % o->heads)
        return error_set(e, ERROR_USAGE, "--dim %lld --heads %lld: the width must be a multiple of the heads",
                         (long long)o->dim, (long long)o->heads);
    if (bit == STAGE_SAM && !check_sam(o, e)) return false;
    if (bit == STAGE_MEDCLIP && !o->bert) return error_set(e, ERROR_USAGE, "stage medclip: --bert is needed");
    if (bit == STAGE_PCRL && !check_bert(s, e)) return false;
    if (bit == STAGE_PCRL && !o->cache) return error_set(e, ERROR_USAGE, "stage pcrl: --cache is needed");
    if (bit == STAGE_PCRL && o->warmup_steps && o->init)
        return error_set(e, ERROR_USAGE, "--init %s, --warmup-steps %lld: a head begins from one or the other",
                         o->init, (long long)o->warmup_steps);
    if (bit == STAGE_PCRL && o->warmup_steps && !o->slots)
        return error_set(e, ERROR_USAGE, "stage pcrl: --warmup-steps %lld: --slots is needed",
                         (long long)o->warmup_steps);
    return true;
}

bool settings_resolve(Settings *s, Error *e)
{
    TrainOptions *o = &s->train;
    const struct Own *stage = find_own(s->stage);
    if (!stage)
        return error_set(e, ERROR_USAGE, "%s%.40s: expected stage " STAGE_NAMES,
                         s->stage ? "unknown stage " : "which stage?", s->stage ? s->stage : "");
    if (!check_stage(s, stage->bit, e)) return false;
    apply_preset(s);
    if (!o->steps) o->steps = stage->steps;
    if (!o->batch) o->batch = o->sizes == SIZES_PAPER ? PAPER_BATCH : stage->batch;
    if (!(o->lr > 0)) o->lr = stage->lr;
    if (o->warm < 0) o->warm = stage->warm;
    if (o->clip < 0) o->clip = stage->clip;
    if (!check(s, stage->bit, e)) return false;
    DType compute;
    if (o->common.no_vendor) cli_no_vendor();
    const Backend *backend = backend_open(o->common.device, e);
    if (!backend || !cli_compute(&o->common, backend, o->dry_run, &compute, e)) return false;
    o->common.device = backend->name;
    o->common.compute = dtype_name(compute);
    if (o->common.threads) omp_set_num_threads(o->common.threads);
    o->common.threads = omp_get_max_threads();
    return true;
}

bool settings_changed(const Settings *s, const char *path, char *text, size_t room, Error *e)
{
    Settings was;
    Error why = {0};
    size_t at = 0;
    *text = 0;
    if (access(path, F_OK)) return true;
    settings_open(&was);
    char *now = malloc(SETTING_TEXT_ROOM), *then = malloc(SETTING_TEXT_ROOM);
    if (!now || !then) die("settings: out of host memory");
    bool readable = settings_file(&was, path, &why), same = !was.stage || !strcmp(was.stage, s->stage);
    if (!same)
        error_set(e, ERROR_INPUT, "%s: a run of stage %.40s, expected none or one of stage %s", path, was.stage,
                  s->stage);
    else if (!readable)
        cli_note("settings not compared: %s", why.msg);
    for (int i = 0; readable && same && i < settings_count && at < room; i++) {
        const Setting *r = &settings_table[i];
        if (was.from[i] == FROM_DEFAULT || !(r->stages & stage_bit(s->stage))) continue;
        setting_text(r, &s->train, now, SETTING_TEXT_ROOM);
        setting_text(r, &was.train, then, SETTING_TEXT_ROOM);
        if (strcmp(now, then))
            at +=
                (size_t)snprintf(text + at, room - at, "%s%s %s (was %s)", at ? ", " : "", r->name, now, then);
    }
    free(now);
    free(then);
    settings_close(&was);
    return same;
}

/* ---- argp ---- */

static const char *value_name(const Setting *r)
{
    switch (r->type) {
    case SETTING_INT: return "N";
    case SETTING_NUMBER: return "X";
    case SETTING_TEXT: return r->choices ? r->choices : "PATH";
    case SETTING_CHOICE: return r->choices;
    case SETTING_FLAG: return "yes|no";
    case SETTING_LIST: return "A,B,C,D";
    case SETTING_SIZE: return "SIZE";
    }
    return NULL;
}

static int group(const Setting *r)
{
    int stages = r->stages & STAGE_ALL;
    if (r->offset < sizeof(CliCommon)) return GROUP_COMMON; /* `common` is the first field */
    if (stages == STAGE_ALL) return GROUP_ALL;
    for (int i = 0; i < STAGES; i++)
        if (stages == own[i].bit) return GROUP_STAGE + i;
    return GROUP_SEVERAL;
}

const struct argp_option *settings_options(void)
{
    static struct argp_option option[SETTINGS_MAX + STAGES + 4];
    static char help[SETTINGS_MAX][HELP], heading[STAGES][32];
    int n = 0;
    option[n++] = (struct argp_option){.doc = "All stages:", .group = GROUP_ALL};
    option[n++] = (struct argp_option){.doc = "Several stages:", .group = GROUP_SEVERAL};
    for (int i = 0; i < STAGES; i++) {
        snprintf(heading[i], sizeof heading[i], "Stage %s:", own[i].stage);
        option[n++] = (struct argp_option){.doc = heading[i], .group = GROUP_STAGE + i};
    }
    option[n++] = (struct argp_option){.doc = "Common options:", .group = GROUP_COMMON};
    for (int i = 0; i < settings_count; i++) {
        const Setting *r = &settings_table[i];
        bool has = r->value && r->type != SETTING_FLAG && strcmp(r->value, "0") && strcmp(r->value, "-1");
        char stages[64];
        bool list = group(r) == GROUP_SEVERAL;
        stage_list(r, stages, sizeof stages);
        snprintf(help[i], HELP, "%s%s%s%s%s%s%s%s%s", r->help, has ? " (default " : "", has ? r->value : "",
                 r->release ? "; release " : "", r->release ? r->release : "", has ? ")" : "", list ? " [" : "",
                 list ? stages : "", list ? "]" : "");
        option[n++] = (struct argp_option){.name = r->name,
                                           .key = KEY_FIRST + i,
                                           .arg = value_name(r),
                                           .flags = r->type == SETTING_FLAG ? OPTION_ARG_OPTIONAL : 0,
                                           .doc = help[i],
                                           .group = group(r)};
    }
    option[n] = (struct argp_option){0};
    return option;
}

error_t settings_parse(Settings *s, int key, char *arg, struct argp_state *state)
{
    int row = key - KEY_FIRST;
    char what[80];
    Error e = {0};
    if (row < 0 || row >= settings_count) return ARGP_ERR_UNKNOWN;
    snprintf(what, sizeof what, "--%s", settings_table[row].name);
    if (!settings_set(s, row, arg, FROM_COMMAND, what, &e)) argp_error(state, "%s", e.msg);
    return 0;
}
