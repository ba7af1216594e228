/* pcrl-report: studies in, reports out. */
#include "data/ctrg.h"
#include "data/file.h"
#include "data/safetensors.h"
#include "tools/evidence.h"
#include "tools/system.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char doc[] =
    "Write a findings report for each study of a data set (24 slices each, as pcrl-synth "
    "and pcrl-import make them). One "
    "JSON line a study on standard output: {\"id\": ..., \"report\": ...}. Research use "
    "only, not a medical device.\v"
    "Examples:\n"
    "  pcrl-report --model data/mini studies > reports.jsonl\n"
    "  pcrl-report --model data/mini --temperature 0.6 --top-p 0.9 --seed 7 studies\n"
    "  pcrl-report --model data/mini --control shuffle studies > shuffled.jsonl   # each "
    "study gets another one's images\n"
    "  pcrl-report --model data/mini --masks masks.safetensors --evidence pictures studies "
    "> reports.jsonl\n"
    "  pcrl-report --model data/mini --dry-run --studies 1 studies   # memory that one report needs";

enum {
    KEY_MODEL = 256,
    KEY_OUT,
    KEY_TEMPERATURE,
    KEY_TOP_P,
    KEY_MAX,
    KEY_BATCH,
    KEY_CONTROL,
    KEY_LIMIT,
    KEY_MASKS,
    KEY_EVIDENCE,
    KEY_STATS,
    KEY_DRY
};

static const struct argp_option options[] = {
    {"model", KEY_MODEL, "DIR", 0, "model folder (data/mini)", 0},
    {"out", KEY_OUT, "FILE", 0, "write there instead of standard output, crash-safe", 0},
    {"temperature", KEY_TEMPERATURE, "X", 0, "0: greedy (default); the paper samples with 0.6", 0},
    {"top-p", KEY_TOP_P, "X", 0, "nucleus (0.9)", 0},
    {"max-tokens", KEY_MAX, "N", 0, "longest report (256)", 0},
    {"batch", KEY_BATCH, "N", 0, "studies decoded together (50)", 0},
    {"studies", KEY_LIMIT, "N", 0, "the first N studies only", 0},
    {"control", KEY_CONTROL, "KIND", 0, "shuffle: images of the study 7 places on; blank: empty images", 0},
    {"masks", KEY_MASKS, "FILE", 0,
     "also write the segmentation: safetensors, a tensor (24,14,14) of probabilities a study, named by its id",
     0},
    {"evidence", KEY_EVIDENCE, "DIR", 0,
     "also draw it over the slices: DIR/ID/00.png to 23.png, and all of them as DIR/ID.png", 0},
    {"stats", KEY_STATS, 0, 0, "end with the seconds of each stage and the peak of memory, on standard error",
     0},
    {"dry-run", KEY_DRY, 0, 0, "print the memory that a batch needs (of that many studies), write nothing", 0},
    {0},
};

typedef struct Arguments {
    CliCommon common;
    const char *model, *out, *control, *data, *masks, *evidence;
    double temperature, top_p;
    int max_tokens, batch, limit;
    bool stats, dry_run;
} Arguments;

/* Seconds of the stages. */
typedef struct Stages {
    double opening, images;
    SamplerTimes text;
    int studies;
} Stages;

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Arguments *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &a->common; break;
    case KEY_MODEL: a->model = arg; break;
    case KEY_OUT: a->out = arg; break;
    case KEY_TEMPERATURE: a->temperature = cli_number_option(state, "--temperature", arg, 0, 100); break;
    case KEY_TOP_P: a->top_p = cli_number_option(state, "--top-p", arg, 0, 1); break;
    case KEY_MAX: a->max_tokens = (int)cli_int_option(state, "--max-tokens", arg, 1, 8192); break;
    case KEY_BATCH: a->batch = (int)cli_int_option(state, "--batch", arg, 1, 4096); break;
    case KEY_LIMIT: a->limit = (int)cli_int_option(state, "--studies", arg, 1, 1 << 30); break;
    case KEY_MASKS: a->masks = arg; break;
    case KEY_EVIDENCE: a->evidence = arg; break;
    case KEY_STATS: a->stats = true; break;
    case KEY_DRY: a->dry_run = true; break;
    case KEY_CONTROL:
        if (strcmp(arg, "shuffle") && strcmp(arg, "blank"))
            argp_error(state, "--control %s: expected shuffle or blank", arg);
        a->control = arg;
        break;
    case ARGP_KEY_ARG:
        if (a->data) argp_error(state, "one data set at a time");
        a->data = arg;
        break;
    case ARGP_KEY_END:
        if (!a->data) argp_error(state, "which data set? a folder with annotations.json");
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

enum { CELLS = CTRG_SLICES * GRID_CELLS };

/* Visual tokens of study k (or of the one a control puts in its place), and what the segmentation head makes of
 * it unless prob is NULL. */
static bool tokens(System *s, const Arguments *a, const Ctrg *c, int n, int k, float *hv, float *prob, Error *e)
{
    const char *control = a->control;
    uint8_t *pixel;
    int width, height;
    int from = control && !strcmp(control, "shuffle") ? (k + 7) % n : k;
    if (!ctrg_read_slices(c, &c->study[from], &pixel, &width, &height, e)) return false;
    if (control && !strcmp(control, "blank"))
        memset(pixel, 0, (size_t)CTRG_SLICES * (size_t)width * (size_t)height);
    Error why = {0};
    bool ok = system_check_size(s, width, height, &why) ||
              error_set(e, why.code, "%s: study %lld: %s", c->folder, (long long)c->study[from].id, why.msg);
    if (ok) system_visual_tokens(s, pixel, width, height, hv, prob);
    ok = ok && (!a->evidence || evidence_write(a->evidence, c->study[k].id, pixel, width, prob, e));
    free(pixel);
    return ok;
}

static bool write_line(FILE *f, int64_t id, const char *report)
{
    char number[32];
    snprintf(number, sizeof number, "%lld", (long long)id);
    json_t *line = json_pack("{s:s, s:s}", "id", number, "report", report);
    bool ok = line && json_dumpf(line, f, 0) == 0 && fputc('\n', f) != EOF;
    json_decref(line);
    return ok;
}

static bool write_batch(System *s, const Arguments *a, const Ctrg *c, int from, int count, const float *hv,
                        SamplerTimes *times, FILE *f, Error *e)
{
    SamplerOptions so = {.temperature = (float)a->temperature,
                         .top_p = (float)a->top_p,
                         .seed = a->common.seed + (uint64_t)from,
                         .max_tokens = a->max_tokens,
                         .times = times};
    char **text = calloc((size_t)count, sizeof *text);
    if (!text) die("out of host memory");
    bool ok = system_reports(s, hv, count, &so, text, e);
    for (int i = 0; i < count; i++) {
        if (ok && f && !write_line(f, c->study[from + i].id, text[i]))
            ok = error_set(e, ERROR_IO, "%s: cannot write report %lld", a->out ? a->out : "standard output",
                           (long long)c->study[from + i].id);
        free(text[i]);
    }
    free(text);
    return ok;
}

static int study_count(const Arguments *a, const Ctrg *c)
{
    return a->limit && a->limit < c->n ? a->limit : c->n;
}

/* prob: [n][24][14][14] to fill, or NULL. f: where to, or NULL. */
static bool reports(const Arguments *a, System *s, const Ctrg *c, float *prob, Stages *stages, FILE *f,
                    Error *e)
{
    int n = study_count(a, c);
    if (a->control && !strcmp(a->control, "shuffle") && n < 8)
        return error_set(e, ERROR_INPUT, "%s: %d studies; shuffling needs at least 8", a->data, n);
    int64_t per = system_token_count(s);
    float *hv = malloc((size_t)(a->batch * per) * sizeof *hv);
    if (!hv) return error_set(e, ERROR_MEMORY, "no memory for a batch of %d studies", a->batch);
    CliProgress p = cli_progress_start("reports", 0, n);
    bool ok = true;
    for (int k = 0; ok && k < n; k += a->batch) {
        int count = n - k < a->batch ? n - k : a->batch;
        double begun = cli_seconds();
        for (int i = 0; ok && i < count; i++) {
            float *own = prob ? prob + (size_t)(k + i) * CELLS : NULL;
            ok = tokens(s, a, c, n, k + i, hv + i * per, own, e);
            cli_progress(&p, k + i, NULL);
        }
        stages->images += cli_seconds() - begun;
        ok = ok && write_batch(s, a, c, k, count, hv, a->stats ? &stages->text : NULL, f, e);
        stages->studies += count;
    }
    cli_progress_end(&p);
    free(hv);
    return ok;
}

static bool write_masks(const Arguments *a, const Ctrg *c, const float *prob, Error *e)
{
    StWriter *w = st_writer_new();
    for (int k = 0; k < study_count(a, c); k++) {
        char name[32];
        snprintf(name, sizeof name, "%lld", (long long)c->study[k].id);
        st_writer_add(w, name, ST_F32, 3, (int64_t[]){CTRG_SLICES, GRID, GRID}, prob + (size_t)k * CELLS);
    }
    bool ok = st_writer_save(w, a->masks, e);
    st_writer_free(w);
    return ok;
}

/* Reports to `out` or standard output, masks once they are there. */
static bool write_all(const Arguments *a, System *s, const Ctrg *c, Stages *stages, Error *e)
{
    FileWriter w;
    bool segment = a->masks || a->evidence;
    if (segment && !system_check_segmentation(s, e)) return false;
    float *prob = segment ? malloc((size_t)study_count(a, c) * CELLS * sizeof *prob) : NULL;
    if (segment && !prob)
        return error_set(e, ERROR_MEMORY, "no memory for the masks of %d studies", study_count(a, c));
    bool file = a->out, ok = !file || file_create(&w, a->out, e);
    if (ok) {
        ok = reports(a, s, c, prob, stages, file ? w.stream : stdout, e) &&
             (!a->masks || write_masks(a, c, prob, e));
        if (file && ok)
            ok = file_commit(&w, e);
        else if (file)
            file_abandon(&w);
        else if (ok && fflush(stdout))
            ok = error_set(e, ERROR_IO, "standard output: cannot write");
    }
    free(prob);
    return ok;
}

/* The first batch on backend plan, and what memory it took. */
static bool plan(const Arguments *a, System *s, const Ctrg *c, Error *e)
{
    Arguments one = *a;
    Stages stages = {0};
    one.limit = study_count(a, c) < a->batch ? study_count(a, c) : a->batch;
    one.evidence = NULL;
    bool segment = a->masks || a->evidence;
    if (segment && !system_check_segmentation(s, e)) return false;
    float *prob = segment ? malloc((size_t)one.limit * CELLS * sizeof *prob) : NULL;
    bool ok = reports(&one, s, c, prob, &stages, NULL, e);
    free(prob);
    if (ok) system_print_memory(s, stdout);
    return ok;
}

static void print_stats(const System *s, const Stages *t)
{
    system_print_memory(s, stderr);
    cli_note(
        "seconds: opening %.2f, images %.2f, prompts %.2f, tokens %.2f (%lld steps, %.3f each); %d studies",
        t->opening, t->images, t->text.prefix, t->text.steps, (long long)t->text.n,
        t->text.n ? t->text.steps / (double)t->text.n : 0, t->studies);
}

static bool run(const Arguments *a, Error *e)
{
    Ctrg *c = ctrg_open(a->data, NULL, NULL, e);
    if (!c) return false;
    System s;
    Stages stages = {0};
    double begun = cli_seconds();
    bool ok = system_open(&s, a->model, &a->common, a->dry_run, e);
    stages.opening = cli_seconds() - begun;
    if (ok) {
        ok = a->dry_run ? plan(a, &s, c, e) : write_all(a, &s, c, &stages, e);
        if (ok && a->stats && !a->dry_run) print_stats(&s, &stages);
        system_close(&s);
    }
    ctrg_free(c);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {options, parse, "DATA", doc, children, NULL, NULL};
    Arguments a = {.model = "data/mini", .temperature = 0, .top_p = 0.9, .max_tokens = 256, .batch = 50};
    Error e = {0};
    cli_parse(&argp, argc, argv, &a);
    if (!run(&a, &e)) cli_fail(&e);
    return 0;
}
