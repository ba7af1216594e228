/* pcrl-figure: figures 3 and 4 of one model's reports on a data set with truth. */
#include "data/safetensors.h"
#include "tools/cli.h"
#include "tools/figure.h"
#include "tools/score.h"
#include <stdlib.h>
#include <string.h>

static const char doc[] =
    "Writes figure 3, lesions with the segmentation head's probabilities and the sentences that name them, and "
    "figure 4, the "
    "truth beside the reports of a baseline and of the model, each as HTML and PNG."
    "\vDATASET is a folder as pcrl-synth writes it, REPORTS the lines that pcrl-report printed for it. Figure "
    "3 needs --masks, "
    "figure 4 --baseline. Shown are the first studies that have a lesion of the brain tissue, or those of "
    "--ids. Research use "
    "only, not a medical device.\n\n"
    "Example:\n"
    "  pcrl-figure --out figures --masks masks.safetensors --baseline baseline.jsonl phantoms reports.jsonl";

enum { KEY_MASKS = 0x3001, KEY_BASELINE, KEY_STUDIES, KEY_IDS, MAX_STUDIES = 20 };

static const struct argp_option options[] = {
    {"out", 'o', "FOLDER", 0, "where the figures go", 0},
    {"masks", KEY_MASKS, "FILE", 0, "the segmentation that pcrl-report --masks wrote: figure 3", 0},
    {"baseline", KEY_BASELINE, "FILE", 0, "reports of a baseline: figure 4", 0},
    {"studies", KEY_STUDIES, "N", 0, "how many studies (default 4)", 0},
    {"ids", KEY_IDS, "A,B,...", 0, "these studies", 0},
    {0}};

typedef struct Options {
    CliCommon common;
    const char *out, *masks, *baseline, *folder, *reports, *ids;
    int limit;
} Options;

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; return 0;
    case 'o': o->out = arg; return 0;
    case KEY_MASKS: o->masks = arg; return 0;
    case KEY_BASELINE: o->baseline = arg; return 0;
    case KEY_STUDIES: o->limit = (int)cli_int_option(state, "--studies", arg, 1, MAX_STUDIES); return 0;
    case KEY_IDS: o->ids = arg; return 0;
    case ARGP_KEY_ARG:
        if (o->reports) argp_error(state, "unexpected argument '%s'", arg);
        *(o->folder ? &o->reports : &o->folder) = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->reports) argp_error(state, "expected DATASET and REPORTS");
        if (!o->out) argp_error(state, "--out is missing");
        if (!o->masks && !o->baseline) argp_error(state, "expected --masks, --baseline or both");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static bool has_lesion(const CtrgStudy *s)
{
    for (int k = 0; k < s->n_truth; k++)
        if (finding_kind(s->truth[k].finding)->parenchymal && s->truth[k].n_masks) return true;
    return false;
}

/* The places in the truth of the studies to show; each has a report. */
static bool choose(const Options *o, const Ctrg *c, char *const *reports, int place[MAX_STUDIES], int *n,
                   Error *e)
{
    *n = 0;
    for (int i = 0; !o->ids && i < c->n && *n < o->limit; i++)
        if (reports[i] && has_lesion(&c->study[i])) place[(*n)++] = i;
    for (const char *p = o->ids; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        char text[32];
        int64_t id;
        int at = 0;
        snprintf(text, sizeof text, "%.*s", (int)strcspn(p, ","), p);
        if (!cli_int(text, 0, INT64_MAX, &id))
            return error_set(e, ERROR_USAGE, "--ids: expected numbers, found '%s'", text);
        while (at < c->n && c->study[at].id != id) at++;
        if (at == c->n) return error_set(e, ERROR_INPUT, "%s: no study %s", o->folder, text);
        if (!reports[at]) return error_set(e, ERROR_INPUT, "%s: no report of study %s", o->reports, text);
        if (*n == MAX_STUDIES) return error_set(e, ERROR_USAGE, "--ids: at most %d", MAX_STUDIES);
        place[(*n)++] = at;
    }
    return *n || error_set(e, ERROR_INPUT, "%s: no study with a report in %s has a lesion of the brain tissue",
                           o->folder, o->reports);
}

static bool load(const Options *o, const Ctrg *c, int place, TensorFile *masks, FigureStudy *s, Error *e)
{
    static const int64_t dim[] = {CTRG_SLICES, GRID, GRID};
    const CtrgStudy *t = &c->study[place];
    uint8_t *pixel;
    int width, height;
    char name[32];
    if (!t->has_truth)
        return error_set(e, ERROR_INPUT, "%s: study %lld: no truth block with masks", o->folder,
                         (long long)t->id);
    if (!ctrg_read_slices(c, t, &pixel, &width, &height, e)) return false;
    s->truth = t, s->size = width, s->pixel = pixel;
    if (width != height || t->width != width || t->height != height)
        return error_set(e, ERROR_INPUT,
                         "%s: study %lld: slices of %d x %d and masks of %d x %d, expected one square size",
                         o->folder, (long long)t->id, width, height, t->width, t->height);
    if (!masks) return true;
    snprintf(name, sizeof name, "%lld", (long long)t->id);
    float *segment = malloc((size_t)(dim[0] * dim[1] * dim[2]) * sizeof *segment);
    s->segment = segment;
    return (segment || error_set(e, ERROR_MEMORY, "%s: no memory for study %s", o->masks, name)) &&
           tensor_file_load_f32(masks, name, 3, dim, segment, e);
}

static bool draw(const Options *o, const Ctrg *c, char *const *ours, char *const *baseline, Error *e)
{
    FigureStudy study[MAX_STUDIES] = {0};
    int place[MAX_STUDIES], n = 0;
    TensorFile *masks = o->masks ? safetensors_open(o->masks, e) : NULL;
    bool ok = (masks || !o->masks) && choose(o, c, ours, place, &n, e);
    for (int i = 0; ok && i < n; i++) {
        study[i].ours = ours[place[i]];
        study[i].baseline = baseline ? baseline[place[i]] : NULL;
        if (baseline && !study[i].baseline)
            ok = error_set(e, ERROR_INPUT, "%s: no report of study %lld", o->baseline,
                           (long long)c->study[place[i]].id);
        ok = ok && load(o, c, place[i], masks, &study[i], e);
    }
    ok = ok && (!o->masks || figure3_write(o->out, study, n, e)) &&
         (!o->baseline || figure4_write(o->out, study, n, e));
    for (int i = 0; i < n; i++) {
        free((uint8_t *)(uintptr_t)study[i].pixel);
        free((float *)(uintptr_t)study[i].segment);
    }
    tensor_file_close(masks);
    return ok;
}

static bool run(const Options *o, Error *e)
{
    ScoreTruth t = {0};
    char **ours = NULL, **baseline = NULL;
    Ctrg *c = ctrg_open(o->folder, NULL, NULL, e);
    bool ok = c && score_truth(c, &t, e) && score_read_reports(o->reports, &t, true, true, &ours, e) &&
              (!o->baseline || score_read_reports(o->baseline, &t, true, true, &baseline, e)) &&
              draw(o, c, ours, baseline, e);
    if (ours) score_reports_free(ours, t.n);
    if (baseline) score_reports_free(baseline, t.n);
    score_truth_free(&t);
    ctrg_free(c);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {options, parse, "DATASET REPORTS", doc, children, NULL, NULL};
    Options o = {.limit = 4};
    Error e = {0};
    cli_parse(&argp, argc, argv, &o);
    if (!run(&o, &e)) cli_fail(&e);
    return 0;
}
