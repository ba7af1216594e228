#include "tools/settings_parts.h"
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEY_FIRST = 0x2000, HELP = 320 };

/* What "the stage's own" is. */
static const struct Own {
    const char *stage;
    int bit;
    int64_t steps, batch, warm;
    double lr, clip;
} own[] = {{"resnet", STAGE_RESNET, 2400, 64, 50, 2e-3, 0},
           {"llama", STAGE_LLAMA, 1000, 24, 50, 1.5e-3, 1},
           {"pcrl", STAGE_PCRL, 1000, 16, 30, 1e-3, 1}};
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
        for (int k = 0; k < STAGES; k++)
            if (r->stages & own[k].bit)
                return error_set(e, ERROR_USAGE, "--%s is a setting of stage %s, not of stage %s", r->name,
                                 own[k].stage, s->stage);
    }
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
    if (bit == STAGE_PCRL && o->validate_every && !o->validation)
        return error_set(e, ERROR_USAGE, "--validate-every %lld: --validation is needed",
                         (long long)o->validate_every);
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
        return error_set(e, ERROR_USAGE, "%s%.40s: expected stage resnet, llama or pcrl",
                         s->stage ? "unknown stage " : "which stage?", s->stage ? s->stage : "");
    if (!check_stage(s, stage->bit, e)) return false;
    apply_preset(s);
    if (!o->steps) o->steps = stage->steps;
    if (!o->batch) o->batch = stage->batch;
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
    if (r->offset < sizeof(CliCommon)) return 90; /* `common` is the first field */
    return stages == STAGE_RESNET ? 2 : stages == STAGE_LLAMA ? 3 : stages == STAGE_PCRL ? 4 : 1;
}

const struct argp_option *settings_options(void)
{
    static struct argp_option option[SETTINGS_MAX + 8];
    static char help[SETTINGS_MAX][HELP];
    static const struct argp_option heading[] = {{.doc = "All stages:", .group = 1},
                                                 {.doc = "Stage resnet:", .group = 2},
                                                 {.doc = "Stage llama:", .group = 3},
                                                 {.doc = "Stage pcrl:", .group = 4},
                                                 {.doc = "Common options:", .group = 90}};
    int n = 0;
    for (size_t i = 0; i < sizeof heading / sizeof *heading; i++) option[n++] = heading[i];
    for (int i = 0; i < settings_count; i++) {
        const Setting *r = &settings_table[i];
        bool has = r->value && r->type != SETTING_FLAG && strcmp(r->value, "0") && strcmp(r->value, "-1");
        snprintf(help[i], HELP, "%s%s%s%s%s%s", r->help, has ? " (default " : "", has ? r->value : "",
                 r->release ? "; release " : "", r->release ? r->release : "", has ? ")" : "");
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
