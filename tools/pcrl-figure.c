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

enum { KEY_MASKS = 0x3001, KEY_BASELINE, KEY_STUDIES, KEY_IDS, KEY_DIFFER, MAX_STUDIES = 20 };

static const struct argp_option options[] = {
    {"out", 'o', "FOLDER", 0, "where the figures go", 0},
    {"masks", KEY_MASKS, "FILE", 0, "the segmentation that pcrl-report --masks wrote: figure 3", 0},
    {"baseline", KEY_BASELINE, "FILE", 0, "reports of a baseline: figure 4", 0},
    {"studies", KEY_STUDIES, "N", 0, "how many studies (default 8); figure 3 has the first four", 0},
    {"differ", KEY_DIFFER, 0, 0,
     "only studies of which the baseline's report and the model's name different findings", 0},
    {"ids", KEY_IDS, "A,B,...", 0, "these studies", 0},
    {0}};

typedef struct Options {
    CliCommon common;
    const char *out, *masks, *baseline, *folder, *reports, *ids;
    int limit;
    bool differ;
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
    case KEY_DIFFER: o->differ = true; return 0;
    case ARGP_KEY_ARG:
        if (o->reports) argp_error(state, "unexpected argument '%s'", arg);
        *(o->folder ? &o->reports : &o->folder) = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->reports) argp_error(state, "expected DATASET and REPORTS");
        if (!o->out) argp_error(state, "--out is missing");
        if (!o->masks && !o->baseline) argp_error(state, "expected --masks, --baseline or both");
        if (o->differ && (!o->baseline || o->ids))
            argp_error(state, "--differ needs --baseline, and --ids excludes it");
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

/* What is shown: places in the truth of studies that all have a report, and how they were chosen. */
typedef struct Choice {
    int n, place[MAX_STUDIES];
    char how[256];
} Choice;

static bool choose_ids(const Options *o, const Ctrg *c, char *const *ours, Choice *out, Error *e)
{
    snprintf(out->how, sizeof out->how, "按编号选取。Chosen by number.");
    for (const char *p = o->ids; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        char text[32];
        int64_t id;
        int at = 0;
        snprintf(text, sizeof text, "%.*s", (int)strcspn(p, ","), p);
        if (!cli_int(text, 0, INT64_MAX, &id))
            return error_set(e, ERROR_USAGE, "--ids: expected numbers, found '%s'", text);
        while (at < c->n && c->study[at].id != id) at++;
        if (at == c->n) return error_set(e, ERROR_INPUT, "%s: no study %s", o->folder, text);
        if (!ours[at]) return error_set(e, ERROR_INPUT, "%s: no report of study %s", o->reports, text);
        if (out->n == MAX_STUDIES) return error_set(e, ERROR_USAGE, "--ids: at most %d", MAX_STUDIES);
        out->place[out->n++] = at;
    }
    return true;
}

static bool differ(const char *a, const char *b)
{
    FindingSet x = findings_parse(a), y = findings_parse(b);
    return !findings_equal(&x, &y);
}

static bool choose(const Options *o, const Ctrg *c, char *const *ours, char *const *baseline, Choice *out,
                   Error *e)
{
    int lesions = 0, different = 0;
    *out = (Choice){0};
    if (o->ids) return choose_ids(o, c, ours, out, e);
    for (int i = 0; i < c->n; i++) {
        if (!ours[i] || !has_lesion(&c->study[i])) continue;
        lesions++;
        if (o->differ && baseline[i]) {
            if (!differ(ours[i], baseline[i])) continue;
            different++;
        }
        if (out->n < o->limit) out->place[out->n++] = i;
    }
    if (o->differ)
        snprintf(out->how, sizeof out->how,
                 "%d 例脑实质病变中，两份报告所见不同者 %d 例，取最前者。Of %d studies with a lesion of the "
                 "brain tissue the two reports "
                 "name different findings in %d; the first of these.",
                 lesions, different, lesions, different);
    else
        snprintf(out->how, sizeof out->how,
                 "脑实质有病变的最前数例。The first studies with a lesion of the brain tissue.");
    return out->n ||
           error_set(e, ERROR_INPUT,
                     "%s: no study to show: none with a report in %s has a lesion of the brain tissue%s",
                     o->folder, o->reports, o->differ ? " and other findings in the baseline's" : "");
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
    Choice choice = {0};
    TensorFile *masks = o->masks ? safetensors_open(o->masks, e) : NULL;
    bool ok = (masks || !o->masks) && choose(o, c, ours, baseline, &choice, e);
    for (int i = 0; ok && i < choice.n; i++) {
        int at = choice.place[i];
        study[i].ours = ours[at];
        study[i].baseline = baseline ? baseline[at] : NULL;
        if (baseline && !study[i].baseline)
            ok = error_set(e, ERROR_INPUT, "%s: no report of study %lld", o->baseline,
                           (long long)c->study[at].id);
        ok = ok && load(o, c, at, masks, &study[i], e);
    }
    ok = ok && (!o->masks || figure3_write(o->out, study, choice.n, choice.how, e)) &&
         (!o->baseline || figure4_write(o->out, study, choice.n, choice.how, e));
    for (int i = 0; i < choice.n; i++) {
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
    bool ok = c && score_truth(c, &t, e) && score_read_reports(o->reports, &t, true, true, &ours, NULL, e) &&
              (!o->baseline || score_read_reports(o->baseline, &t, true, true, &baseline, NULL, e)) &&
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
    Options o = {.limit = 8};
    Error e = {0};
    cli_parse(&argp, argc, argv, &o);
    if (!run(&o, &e)) cli_fail(&e);
    return 0;
}
