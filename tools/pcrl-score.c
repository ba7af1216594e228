/* pcrl-score: how good are these reports, and how much of that needs the image? The scores of a set of reports
 * stand beside those of controls that cannot have seen the right scan. */
#include "tools/score_clues.h"
#include "tools/score_masks.h"
#include "tools/score_options.h"
#include "tools/score_pairs.h"
#include "tools/score_systems.h"
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

/* Drops the studies without a report. */
static bool keep_reported(const ScoreOptions *o, ScoreTruth *t, Error *e)
{
    char **reports;
    ReportCounts counts;
    if (!score_read_reports(o->reports, t, true, true, &reports, &counts, e)) return false;
    score_keep_reported(t, reports);
    score_reports_free(reports, t->n);
    if (t->n < t->all)
        cli_note("scoring %d of %d studies: the others have no report in %s", t->n, t->all, o->reports);
    if (t->n < counts.reports)
        cli_note("%s: %d of %d reports are of no study, left out", o->reports, counts.reports - t->n,
                 counts.reports);
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

/* A file's shuffled control takes the place of the one made here. */
static bool has_control(const ScoreOptions *o, const char *name)
{
    for (int i = 0; i < o->control.n; i++)
        if (!strcmp(o->control.of[i].name, name)) return true;
    return false;
}

/* The model, its controls, other models. */
static bool systems(const ScoreOptions *o, ScoreSheet *s, Error *e)
{
    char **reports = NULL;
    bool ok = score_add_file(s, "model", o->reports, false, o->partial, &reports, e) &&
              (!o->train || score_add_training(s, o->train, e)) &&
              (has_control(o, "shuffled") || score_add_shuffled(s, reports, e));
    if (reports) score_reports_free(reports, s->truth.n);
    for (int i = 0; ok && i < o->control.n; i++)
        ok = score_add_file(s, o->control.of[i].name, o->control.of[i].path, false, o->partial, NULL, e);
    for (int i = 0; ok && i < o->against.n; i++)
        ok = score_add_file(s, o->against.of[i].name, o->against.of[i].path, true, o->partial, NULL, e);
    return ok;
}

/* The model's text metrics, the dictionary's start apart. */
static void say_time(const ScoreSheet *s)
{
    const double *t = s->system[0].text[s->cutters.main].seconds;
    double all = 0;
    for (int i = 0; i < TEXT_TIMES; i++) all += t[i];
    cli_note("%.3f s to open the splitter (%s); then %d pairs in %.3f s: cut %.3f, BLEU %.3f, METEOR %.3f, "
             "ROUGE-L %.3f, "
             "CIDEr %.3f",
             cutter_seconds(s->cutters.by[s->cutters.main]), text_split_name(s->cutters.main), s->truth.n, all,
             t[TIME_CUT], t[TIME_BLEU], t[TIME_METEOR], t[TIME_ROUGE], t[TIME_CIDER]);
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
         clinical_lists_open(&s->lists, o->keywords, e) && score_prepare(s, e) && systems(o, s, e) &&
         score_compare(s, e);
    ok = ok && masks(o, c, r, e);
    ok = ok && (!o->pair_reports ||
                score_pairs(o->pairs, o->pair_reports, o->bootstrap, o->common.seed, &r->pairs, e));
    ctrg_free(c);
    if (ok && o->time) say_time(s);
    return ok && (!o->each || score_write_each(o->each, s, e));
}

/* What --json prints of them. */
typedef struct Wanted {
    const ScoreOptions *o;
    const Results *r;
} Wanted;

static json_t *results_json(const void *context)
{
    const ScoreOptions *o = ((const Wanted *)context)->o;
    const Results *r = ((const Wanted *)context)->r;
    json_t *j = o->reports ? score_json(&r->sheet) : json_object();
    if (r->clues.n) json_object_set_new(j, "clues", score_clues_json(&r->clues));
    if (r->n_masks) json_object_set_new(j, "masks", score_masks_json(r->masks, r->n_masks));
    if (o->pair_reports) json_object_set_new(j, "pairs", score_pairs_json(&r->pairs));
    return j;
}

static bool print_json(const ScoreOptions *o, const Results *r, Error *e)
{
    json_t *j = json_make(results_json, &(Wanted){o, r});
    bool ok = j && (!json_dumpf(j, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(15)) || ferror(stdout));
    putchar('\n');
    json_decref(j);
    return ok || error_set(e, ERROR_MEMORY, "no memory for the scores");
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
