/* pcrl-score: how good are these reports, and how much of that needs the image? The scores of a set of reports
 * stand beside those of controls that cannot have seen the right scan. */
#include "tensor/rng.h"
#include "tools/score_clues.h"
#include "tools/score_masks.h"
#include "tools/score_options.h"
#include "tools/score_pairs.h"
#include <stdlib.h>
#include <string.h>

/* All that is printed. */
typedef struct Results {
    ScoreSheet sheet;
    ScoreMasks masks[1 + SCORE_CONTROLS];
    ScorePairs pairs;
    ClueScores clues;
    int n_masks;
} Results;

static ScoreSystem *next_system(ScoreSheet *s, const char *name, const char *how)
{
    ScoreSystem *y = &s->system[s->n++];
    snprintf(y->name, sizeof y->name, "%s", name);
    snprintf(y->how, sizeof y->how, "%s", how);
    return y;
}

static bool score(ScoreSheet *s, char *const *reports, ScoreSystem *y, Error *e)
{
    return score_system(&s->truth, reports, &s->cutters, s->bootstrap, s->seed, y, e);
}

/* The two controls that need only training reports. */
static bool training_controls(const char *path, ScoreSheet *s, Error *e)
{
    Ctrg *train = score_open_annotations(path, e);
    int n = s->truth.n, tried;
    const char **reports = calloc((size_t)n + 1, sizeof *reports), *constant;
    char how[256];
    bool ok = train != NULL;
    if (ok && !reports) ok = error_set(e, ERROR_MEMORY, "no memory for %d reports", n);
    ok = ok && score_best_constant(&s->truth, train, &constant, &tried, e);
    if (ok) {
        for (int i = 0; i < n; i++) reports[i] = constant;
        snprintf(how, sizeof how,
                 "one report for every study: of %d training reports (the 40 commonest and the first 400) the "
                 "one with the best F1 on these very studies",
                 tried);
        ok = score(s, (char *const *)reports, next_system(s, "constant", how), e);
    }
    if (ok) {
        Rng rng = rng_open(s->seed, "random training report");
        for (int i = 0; i < n; i++) reports[i] = train->study[rng_below(&rng, train->n)].findings;
        ok = score(s, (char *const *)reports,
                   next_system(s, "random", "a training report drawn at random for each study"), e);
    }
    free(reports);
    ctrg_free(train);
    return ok;
}

static bool file_system(const ScoreOptions *o, ScoreSheet *s, const char *path, ScoreSystem *y, Error *e)
{
    char **reports;
    y->path = path;
    if (!score_read_reports(path, &s->truth, false, o->partial, &reports, &y->counts, e)) return false;
    bool ok = score(s, reports, y, e);
    score_reports_free(reports, s->truth.n);
    return ok;
}

/* Drops the studies without a report. */
static bool keep_reported(const ScoreOptions *o, ScoreTruth *t, Error *e)
{
    char **reports;
    if (!score_read_reports(o->reports, t, true, true, &reports, NULL, e)) return false;
    score_keep_reported(t, reports);
    score_reports_free(reports, t->n);
    if (t->n < t->all)
        cli_note("scoring %d of %d studies: the others have no report in %s", t->n, t->all, o->reports);
    return true;
}

static bool open_cutters(const ScoreOptions *o, ScoreCutters *c, Error *e)
{
    bool wanted[SPLIT_COUNT] = {[SPLIT_CHAR] = o->truth, [SPLIT_TOKENS] = o->cutter.tokenizer};
    bool ok = true;
    wanted[c->main = o->split] = true;
    for (int i = 0; ok && i < SPLIT_COUNT; i++)
        ok = !wanted[i] || (c->by[i] = cutter_open((TextSplit)i, &o->cutter, e));
    return ok;
}

static bool read_texts(const char *path, ScoreTruth *t, Error *e)
{
    ReportList l;
    if (!report_list_read(path, &l, e)) return false;
    bool ok = score_truth_list(&l, t, e);
    report_list_free(&l);
    return ok;
}

static bool masks(const ScoreOptions *o, const Ctrg *c, Results *r, Error *e)
{
    bool ok = true;
    for (int i = -1; ok && o->masks && i < o->mask_control.n; i++) {
        ScoreMasks *m = &r->masks[r->n_masks++];
        snprintf(m->name, sizeof m->name, "%s", i < 0 ? "model" : o->mask_control.of[i].name);
        ok = score_masks(c, &r->sheet.truth, i < 0 ? o->masks : o->mask_control.of[i].path, o->partial,
                         o->bootstrap, o->common.seed, m, e);
    }
    return ok;
}

static bool clues(const ScoreOptions *o, Results *r, Error *e)
{
    ClueFile file[1 + SCORE_CONTROLS] = {{"model", o->clues}};
    for (int i = 0; i < o->clue_control.n; i++)
        file[1 + i] = (ClueFile){o->clue_control.of[i].name, o->clue_control.of[i].path};
    if (!o->gallery && !o->clues) return true;
    return score_clues(o->truth, o->gallery, file, o->clues ? 1 + o->clue_control.n : 0, o->partial,
                       o->bootstrap, o->common.seed, &r->clues, e);
}

static bool reports(const ScoreOptions *o, Results *r, Error *e)
{
    ScoreSheet *s = &r->sheet;
    s->truth_path = o->truth ? o->truth : o->ref;
    s->bootstrap = o->bootstrap;
    s->seed = o->common.seed;
    Ctrg *c = o->truth ? score_open_annotations(o->truth, e) : NULL;
    bool ok = o->truth ? c && score_truth(c, &s->truth, e) : read_texts(o->ref, &s->truth, e);
    ok = ok && (!o->partial || keep_reported(o, &s->truth, e)) && open_cutters(o, &s->cutters, e) &&
         file_system(o, s, o->reports, next_system(s, "model", ""), e) &&
         (!o->train || training_controls(o->train, s, e));
    for (int i = 0; ok && i < o->control.n; i++) {
        const ScoreControl *k = &o->control.of[i];
        char how[256];
        snprintf(how, sizeof how, "the reports of %s", k->path);
        ok = file_system(o, s, k->path, next_system(s, k->name, how), e);
    }
    ok = ok && masks(o, c, r, e);
    ok = ok && (!o->pair_reports ||
                score_pairs(o->pairs, o->pair_reports, o->bootstrap, o->common.seed, &r->pairs, e));
    ctrg_free(c);
    return ok && (!o->each || score_write_each(o->each, s, e));
}

static bool print_json(const ScoreOptions *o, const Results *r, Error *e)
{
    json_t *j = o->reports ? score_json(&r->sheet) : json_object();
    if (r->clues.n) json_object_set_new(j, "clues", score_clues_json(&r->clues));
    if (r->n_masks) json_object_set_new(j, "masks", score_masks_json(r->masks, r->n_masks));
    if (o->pair_reports) json_object_set_new(j, "pairs", score_pairs_json(&r->pairs));
    if (!j) return error_set(e, ERROR_MEMORY, "no memory for the scores");
    json_dumpf(j, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    putchar('\n');
    json_decref(j);
    return true;
}

static bool print(const ScoreOptions *o, const Results *r, Error *e)
{
    if (o->json) {
        if (!print_json(o, r, e)) return false;
    } else if (o->row) {
        score_print_rows(stdout, &r->sheet);
    } else {
        if (o->reports) score_print(stdout, &r->sheet);
        if (r->n_masks) score_masks_print(stdout, r->masks, r->n_masks);
        if (o->pair_reports) score_pairs_print(stdout, &r->pairs);
        if (r->clues.n) score_clues_print(stdout, &r->clues);
    }
    if (!fflush(stdout) && !ferror(stdout)) return true;
    return error_set(e, ERROR_IO, "standard output: cannot write the scores");
}

int main(int argc, char **argv)
{
    static Results r;
    ScoreOptions o;
    Error e = {0};
    score_options_parse(argc, argv, &o);
    bool ok = (!o.reports || reports(&o, &r, &e)) && clues(&o, &r, &e) && print(&o, &r, &e);
    score_sheet_free(&r.sheet);
    score_clues_free(&r.clues);
    if (!ok) cli_fail(&e);
    return 0;
}
