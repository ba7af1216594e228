/* pcrl-score: how good are these reports, and how much of that needs the image? The scores of a set of reports
 * stand beside those of controls that cannot have seen the right scan. */
#include "tensor/rng.h"
#include "tools/cli.h"
#include "tools/score_clues.h"
#include "tools/score_masks.h"
#include "tools/score_pairs.h"
#include <stdlib.h>
#include <string.h>

enum {
    MAX_CONTROLS = 16,
    KEY_JSON = 0x100,
    KEY_BOOTSTRAP,
    KEY_PARTIAL,
    KEY_PAIRS,
    KEY_MASKS,
    KEY_MASK_CONTROL,
    KEY_GALLERY,
    KEY_CLUES,
    KEY_CLUE_CONTROL
};

typedef struct Control {
    char name[64];
    const char *path;
} Control;

typedef struct Options {
    CliCommon common;
    const char *truth, *reports, *train, *tokenizer, *masks, *pair_reports, *gallery, *clues;
    char pairs[4096]; /* a data set; its reports are pair_reports, NULL: no pairs */
    Control control[MAX_CONTROLS], mask_control[MAX_CONTROLS], clue_control[MAX_CONTROLS];
    int n_controls, n_mask_controls, n_clue_controls, bootstrap;
    bool json, partial;
} Options;

static const struct argp_option options[] = {
    {"truth", 't', "FILE", 0, "annotations.json of the studies that were reported, or its folder", 0},
    {"reports", 'r', "FILE", 0, "the reports: lines {\"id\": \"12\", \"report\": \"...\"}", 0},
    {"train", 'n', "FILE", 0, "annotations.json of the training studies: adds the controls constant and random",
     0},
    {"control", 'c', "NAME=FILE", 0, "adds a control: reports made without the right image (repeatable)", 0},
    {"pairs", KEY_PAIRS, "DATA=FILE", 0,
     "also scores FILE, the reports of a data set with counterfactuals and twins: do they follow the image?",
     0},
    {"masks", KEY_MASKS, "FILE", 0, "also scores the segmentation that pcrl-report --masks wrote: Dice", 0},
    {"mask-control", KEY_MASK_CONTROL, "NAME=FILE", 0, "adds a control of --masks (repeatable)", 0},
    {"gallery", KEY_GALLERY, "DIR", 0,
     "also scores the galleries of pcrl-masks: which lesions does a mask cover, before and after the filters?",
     0},
    {"clues", KEY_CLUES, "FILE", 0, "also scores the clues of pcrl-retrieve: top-1 and Dice", 0},
    {"clue-control", KEY_CLUE_CONTROL, "NAME=FILE", 0, "adds a control of --clues (repeatable)", 0},
    {"tokenizer", 'k', "FILE", 0, "tokenizer.json: adds BLEU and ROUGE-L over its tokens", 0},
    {"bootstrap", KEY_BOOTSTRAP, "N", 0, "resamples for the standard deviations (default 1000)", 0},
    {"partial", KEY_PARTIAL, 0, 0,
     "score only the studies that --reports, and those that --gallery and --clues, have", 0},
    {"json", KEY_JSON, 0, 0, "print one JSON object instead of tables", 0},
    {0}};

static const char doc[] =
    "Scores brain CT reports against the truth.\v"
    "A report is read clause by clause into findings (entity, side, density); printed are micro F1 over all of "
    "them, "
    "macro F1 over the kinds of finding, side accuracy, the same for focal lesions of the brain tissue alone, "
    "by "
    "lesion radius and by finding, and BLEU-1 to 4 and ROUGE-L of the text. A score means little without its "
    "controls: a constant report, a random training report, and reports generated from shuffled or blank "
    "images.\n"
    "\n"
    "--gallery and --clues need no --reports. Counted are the focal findings with masks; a lesion is a "
    "connected part "
    "of one on one side (of subarachnoid blood: all of a side), looked at in the slice where it is largest, "
    "and its "
    "size is the diameter of the circle of its area there. A gallery covers it if a mask of that slice has an "
    "IoU of "
    "at least 0.5 with it. A clue is right if its mask has, in its slice, an IoU of at least 0.5 with the "
    "finding's "
    "mask on the left, the right or both sides.\n"
    "\n"
    "Examples:\n"
    "  pcrl-score --truth test/annotations.json --reports reports.jsonl\n"
    "  pcrl-score --truth test --reports reports.jsonl --train train --control shuffled=shuffled.jsonl "
    "--control blank=blank.jsonl\n"
    "  pcrl-score --truth test --reports reports.jsonl --pairs pairs=pairs.jsonl --masks masks.safetensors\n"
    "  pcrl-score --truth test --gallery galleries --clues clues.json --clue-control random=random.json\n"
    "  pcrl-score --truth test --reports reports.jsonl --json | python3 -m json.tool\n"
    "\n"
    "Exit codes: 0 ok, 1 usage, 2 bad input, 3 cannot read or write, 6 out of memory.";

/* "NAME=FILE" into its parts. */
static void split(struct argp_state *state, const char *option, const char *arg, char *name, size_t room,
                  const char **path)
{
    const char *equals = strchr(arg, '=');
    size_t n = equals ? (size_t)(equals - arg) : 0;
    if (!n || !equals[1] || n >= room) {
        argp_error(state, "%s: expected NAME=FILE, found '%s'", option, arg);
        return;
    }
    memcpy(name, arg, n);
    name[n] = 0;
    *path = equals + 1;
}

static void add_control(struct argp_state *state, const char *option, const char *arg, Control *list, int *n)
{
    Control *c = &list[*n];
    if (*n == MAX_CONTROLS)
        argp_error(state, "%s: at most %d", option, MAX_CONTROLS);
    else
        split(state, option, arg, c->name, sizeof c->name, &c->path), ++*n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    Options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->common; return 0;
    case 't': o->truth = arg; return 0;
    case 'r': o->reports = arg; return 0;
    case 'n': o->train = arg; return 0;
    case 'c': add_control(state, "--control", arg, o->control, &o->n_controls); return 0;
    case KEY_PAIRS: split(state, "--pairs", arg, o->pairs, sizeof o->pairs, &o->pair_reports); return 0;
    case KEY_MASKS: o->masks = arg; return 0;
    case KEY_MASK_CONTROL:
        add_control(state, "--mask-control", arg, o->mask_control, &o->n_mask_controls);
        return 0;
    case KEY_GALLERY: o->gallery = arg; return 0;
    case KEY_CLUES: o->clues = arg; return 0;
    case KEY_CLUE_CONTROL:
        add_control(state, "--clue-control", arg, o->clue_control, &o->n_clue_controls);
        return 0;
    case 'k': o->tokenizer = arg; return 0;
    case KEY_BOOTSTRAP: o->bootstrap = (int)cli_int_option(state, "--bootstrap", arg, 2, 1000000); return 0;
    case KEY_PARTIAL: o->partial = true; return 0;
    case KEY_JSON: o->json = true; return 0;
    case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", arg); return 0;
    case ARGP_KEY_END:
        if (!o->truth) argp_error(state, "--truth is missing");
        if (!o->reports && !o->gallery && !o->clues) argp_error(state, "--reports is missing");
        if (!o->reports && (o->masks || o->train || o->n_controls || o->pair_reports || o->tokenizer))
            argp_error(state, "--masks, --train, --control, --pairs and --tokenizer need --reports");
        if (o->n_mask_controls && !o->masks) argp_error(state, "--mask-control needs --masks");
        if (o->n_clue_controls && !o->clues) argp_error(state, "--clue-control needs --clues");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static ScoreSystem *next_system(ScoreSystem *systems, int *n, const char *name, const char *how)
{
    ScoreSystem *s = &systems[(*n)++];
    snprintf(s->name, sizeof s->name, "%s", name);
    snprintf(s->how, sizeof s->how, "%s", how);
    return s;
}

static ScoreSystem *control_system(ScoreSystem *systems, int *n, const Control *c)
{
    char how[256];
    snprintf(how, sizeof how, "the reports of %s", c->path);
    return next_system(systems, n, c->name, how);
}

/* The two controls that need only training reports. */
static bool training_controls(const Options *o, const ScoreTruth *t, const Bpe *b, ScoreSystem *systems, int *n,
                              Error *e)
{
    Ctrg *train = score_open_annotations(o->train, e);
    const char **reports = calloc((size_t)t->n + 1, sizeof *reports), *constant;
    int tried;
    char how[256];
    bool ok = train != NULL;
    if (ok && !reports) ok = error_set(e, ERROR_MEMORY, "no memory for %d reports", t->n);
    ok = ok && score_best_constant(t, train, &constant, &tried, e);
    if (ok) {
        for (int i = 0; i < t->n; i++) reports[i] = constant;
        snprintf(how, sizeof how,
                 "one report for every study: of %d training reports (the 40 commonest and the first 400) the "
                 "one with "
                 "the best F1 on these very studies",
                 tried);
        ok = score_system(t, (char *const *)reports, b, o->bootstrap, o->common.seed,
                          next_system(systems, n, "constant", how), e);
    }
    if (ok) {
        Rng rng = rng_open(o->common.seed, "random training report");
        for (int i = 0; i < t->n; i++) reports[i] = train->study[rng_below(&rng, train->n)].findings;
        ok = score_system(t, (char *const *)reports, b, o->bootstrap, o->common.seed,
                          next_system(systems, n, "random", "a training report drawn at random for each study"),
                          e);
    }
    free(reports);
    ctrg_free(train);
    return ok;
}

static bool file_system(const Options *o, const ScoreTruth *t, const char *path, const Bpe *b, ScoreSystem *s,
                        Error *e)
{
    char **reports;
    if (!score_read_reports(path, t, false, o->partial, &reports, e)) return false;
    bool ok = score_system(t, reports, b, o->bootstrap, o->common.seed, s, e);
    score_reports_free(reports, t->n);
    return ok;
}

/* Drops the studies without a report. */
static bool keep_reported(const Options *o, ScoreTruth *t, Error *e)
{
    char **reports;
    int all = t->n;
    if (!score_read_reports(o->reports, t, true, true, &reports, e)) return false;
    score_keep_reported(t, reports);
    score_reports_free(reports, t->n);
    if (t->n < all)
        cli_note("scoring %d of %d studies: the others have no report in %s", t->n, all, o->reports);
    return true;
}

/* All that is printed. */
typedef struct Results {
    ScoreTruth truth;
    ScoreSystem system[3 + MAX_CONTROLS];
    ScoreMasks masks[1 + MAX_CONTROLS];
    ScorePairs pairs;
    ClueScores clues;
    int n_systems, n_masks;
} Results;

static bool print_json(const Options *o, const Results *r, Error *e)
{
    json_t *j = o->reports ? score_json(&r->truth, r->system, r->n_systems) : json_object();
    if (r->clues.n) json_object_set_new(j, "clues", score_clues_json(&r->clues));
    if (r->n_masks) json_object_set_new(j, "masks", score_masks_json(r->masks, r->n_masks));
    if (o->pair_reports) json_object_set_new(j, "pairs", score_pairs_json(&r->pairs));
    if (!j) return error_set(e, ERROR_MEMORY, "no memory for the scores");
    json_dumpf(j, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(j);
    return true;
}

static bool print(const Options *o, const Results *r, Error *e)
{
    if (o->json) {
        if (!print_json(o, r, e)) return false;
    } else {
        if (o->reports) score_print(stdout, &r->truth, r->system, r->n_systems);
        if (r->n_masks) score_masks_print(stdout, r->masks, r->n_masks);
        if (o->pair_reports) score_pairs_print(stdout, &r->pairs);
        if (r->clues.n) score_clues_print(stdout, &r->clues);
    }
    if (!fflush(stdout) && !ferror(stdout)) return true;
    return error_set(e, ERROR_IO, "standard output: cannot write the scores");
}

static bool masks(const Options *o, const Ctrg *c, Results *r, Error *e)
{
    bool ok = true;
    for (int i = -1; ok && o->masks && i < o->n_mask_controls; i++) {
        ScoreMasks *m = &r->masks[r->n_masks++];
        snprintf(m->name, sizeof m->name, "%s", i < 0 ? "model" : o->mask_control[i].name);
        ok = score_masks(c, &r->truth, i < 0 ? o->masks : o->mask_control[i].path, o->partial, o->bootstrap,
                         o->common.seed, m, e);
    }
    return ok;
}

static bool clues(const Options *o, Results *r, Error *e)
{
    ClueFile file[1 + MAX_CONTROLS] = {{"model", o->clues}};
    for (int i = 0; i < o->n_clue_controls; i++)
        file[1 + i] = (ClueFile){o->clue_control[i].name, o->clue_control[i].path};
    if (!o->gallery && !o->clues) return true;
    return score_clues(o->truth, o->gallery, file, o->clues ? 1 + o->n_clue_controls : 0, o->partial,
                       o->bootstrap, o->common.seed, &r->clues, e);
}

static bool reports(const Options *o, Results *r, Error *e)
{
    Bpe *b = o->tokenizer ? bpe_open(o->tokenizer, e) : NULL;
    if (o->tokenizer && !b) return false;
    Ctrg *c = score_open_annotations(o->truth, e);
    bool ok = c && score_truth(c, &r->truth, e);
    ok = ok && (!o->partial || keep_reported(o, &r->truth, e)) &&
         file_system(o, &r->truth, o->reports, b, next_system(r->system, &r->n_systems, "model", ""), e) &&
         (!o->train || training_controls(o, &r->truth, b, r->system, &r->n_systems, e));
    for (int i = 0; ok && i < o->n_controls; i++)
        ok = file_system(o, &r->truth, o->control[i].path, b,
                         control_system(r->system, &r->n_systems, &o->control[i]), e);
    ok = ok && masks(o, c, r, e);
    ok = ok && (!o->pair_reports ||
                score_pairs(o->pairs, o->pair_reports, o->bootstrap, o->common.seed, &r->pairs, e));
    ctrg_free(c);
    bpe_close(b);
    return ok;
}

static bool run(const Options *o, Error *e)
{
    static Results r;
    bool ok = (!o->reports || reports(o, &r, e)) && clues(o, &r, e) && print(o, &r, e);
    score_truth_free(&r.truth);
    score_clues_free(&r.clues);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_common_argp, 0, "Common options:", 90}, {0}};
    static const struct argp argp = {options, parse, NULL, doc, children, NULL, NULL};
    Options o = {.bootstrap = 1000};
    Error e = {0};
    cli_parse(&argp, argc, argv, &o);
    if (!run(&o, &e)) cli_fail(&e);
    return 0;
}
