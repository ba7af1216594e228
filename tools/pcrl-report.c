/* pcrl-report: studies in, reports out. */
#include "data/ctrg.h"
#include "data/file.h"
#include "tools/system.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char doc[] = "Write a findings report for each study of a data set (24 slices each, as pcrl-synth "
                          "and pcrl-import make them). One "
                          "JSON line a study on standard output: {\"id\": ..., \"report\": ...}. Research use "
                          "only, not a medical device.\v"
                          "Examples:\n"
                          "  pcrl-report --model data/mini studies > reports.jsonl\n"
                          "  pcrl-report --model data/mini --temperature 0.6 --top-p 0.9 --seed 7 studies\n"
                          "  pcrl-report --model data/mini --control shuffle studies > shuffled.jsonl   # each "
                          "study gets another one's images";

enum { KEY_MODEL = 256, KEY_OUT, KEY_TEMPERATURE, KEY_TOP_P, KEY_MAX, KEY_BATCH, KEY_CONTROL, KEY_LIMIT };

static const struct argp_option options[] = {
    {"model", KEY_MODEL, "DIR", 0, "model folder (data/mini)", 0},
    {"out", KEY_OUT, "FILE", 0, "write there instead of standard output, crash-safe", 0},
    {"temperature", KEY_TEMPERATURE, "X", 0, "0: greedy (default); the paper samples with 0.6", 0},
    {"top-p", KEY_TOP_P, "X", 0, "nucleus (0.9)", 0},
    {"max-tokens", KEY_MAX, "N", 0, "longest report (256)", 0},
    {"batch", KEY_BATCH, "N", 0, "studies decoded together (50)", 0},
    {"studies", KEY_LIMIT, "N", 0, "the first N studies only", 0},
    {"control", KEY_CONTROL, "KIND", 0, "shuffle: images of the study 7 places on; blank: empty images", 0},
    {0},
};

typedef struct Arguments {
    CliCommon common;
    const char *model, *out, *control, *data;
    double temperature, top_p;
    int max_tokens, batch, limit;
} Arguments;

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

/* Visual tokens of study k (or of the one a control puts in its place). */
static bool tokens(System *s, const Ctrg *c, int n, int k, const char *control, float *hv, Error *e)
{
    uint8_t *pixel;
    int width, height;
    int from = control && !strcmp(control, "shuffle") ? (k + 7) % n : k;
    if (!ctrg_read_slices(c, &c->study[from], &pixel, &width, &height, e)) return false;
    if (control && !strcmp(control, "blank"))
        memset(pixel, 0, (size_t)CTRG_SLICES * (size_t)width * (size_t)height);
    Error why = {0};
    bool ok = system_check_size(s, width, height, &why) ||
              error_set(e, why.code, "%s: study %lld: %s", c->folder, (long long)c->study[from].id, why.msg);
    if (ok) system_visual_tokens(s, pixel, width, height, hv);
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
                        FILE *f, Error *e)
{
    SamplerOptions so = {.temperature = (float)a->temperature,
                         .top_p = (float)a->top_p,
                         .seed = a->common.seed + (uint64_t)from,
                         .max_tokens = a->max_tokens};
    char **text = calloc((size_t)count, sizeof *text);
    if (!text) die("out of host memory");
    bool ok = system_reports(s, hv, count, &so, text, e);
    for (int i = 0; i < count; i++) {
        if (ok && !write_line(f, c->study[from + i].id, text[i]))
            ok = error_set(e, ERROR_IO, "%s: cannot write report %lld", a->out ? a->out : "standard output",
                           (long long)c->study[from + i].id);
        free(text[i]);
    }
    free(text);
    return ok;
}

static bool reports(const Arguments *a, System *s, const Ctrg *c, FILE *f, Error *e)
{
    int n = a->limit && a->limit < c->n ? a->limit : c->n;
    if (a->control && !strcmp(a->control, "shuffle") && n < 8)
        return error_set(e, ERROR_INPUT, "%s: %d studies; shuffling needs at least 8", a->data, n);
    int64_t per = system_token_count(s);
    float *hv = malloc((size_t)(a->batch * per) * sizeof *hv);
    if (!hv) return error_set(e, ERROR_MEMORY, "no memory for a batch of %d studies", a->batch);
    CliProgress p = cli_progress_start("reports", 0, n);
    bool ok = true;
    for (int k = 0; ok && k < n; k += a->batch) {
        int count = n - k < a->batch ? n - k : a->batch;
        for (int i = 0; ok && i < count; i++) {
            ok = tokens(s, c, n, k + i, a->control, hv + i * per, e);
            cli_progress(&p, k + i, NULL);
        }
        ok = ok && write_batch(s, a, c, k, count, hv, f, e);
    }
    cli_progress_end(&p);
    free(hv);
    return ok;
}

static bool run(const Arguments *a, Error *e)
{
    Ctrg *c = ctrg_open(a->data, NULL, NULL, e);
    if (!c) return false;
    System s;
    FileWriter w;
    bool ok = system_open(&s, a->model, &a->common, e);
    if (ok) {
        bool file = a->out;
        ok = !file || file_create(&w, a->out, e);
        if (ok) {
            ok = reports(a, &s, c, file ? w.stream : stdout, e);
            if (file && ok)
                ok = file_commit(&w, e);
            else if (file)
                file_abandon(&w);
            else if (ok && fflush(stdout))
                ok = error_set(e, ERROR_IO, "standard output: cannot write");
        }
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
