#include "tools/score_systems.h"
#include <stdlib.h>

static bool no_memory(Error *e, int n)
{
    return error_set(e, ERROR_MEMORY, "no memory for the scores of %d studies", n);
}

static bool label_reports(const ScoreSheet *s, char *const *reports, uint8_t **labels, Error *e)
{
    size_t width = (size_t)s->lists.width;
    *labels = calloc((size_t)s->truth.n * width + 1, sizeof **labels);
    if (!*labels) return no_memory(e, s->truth.n);
    for (int i = 0; i < s->truth.n; i++) clinical_labels(&s->lists, reports[i], *labels + (size_t)i * width);
    return true;
}

bool score_prepare(ScoreSheet *s, Error *e)
{
    return label_reports(s, s->truth.report, &s->labels, e) &&
           diversity_count((const char *const *)s->truth.report, s->truth.n, &s->diversity, e);
}

static bool take_measures(const ScoreSheet *s, ScoreSystem *y, Error *e)
{
    const ScoreTruth *t = &s->truth;
    uint8_t sided[FINDING_COUNT], focal[FINDING_COUNT];
    TupleTable table = score_table(sided, focal);
    TupleStudy *tuples = calloc((size_t)t->n + 1, sizeof *tuples);
    if (!tuples) return no_memory(e, t->n);
    for (int i = 0; i < t->n; i++)
        tuples[i] = (TupleStudy){t->set[i].side, y->said[i].side, score_radius(t, i), t->set[i].other,
                                 y->said[i].other};
    MeasureInput in = {t->n, &table, tuples, y->text[s->cutters.main].sums, &s->lists, s->labels, y->labels};
    bool ok = measures_take(&in, s->bootstrap, s->seed, &y->measures, e);
    free(tuples);
    for (int i = 0; i < SPLIT_COUNT; i++) { /* a million studies' are 180 MB */
        free(y->text[i].sums);
        y->text[i].sums = NULL;
    }
    return ok;
}

/* The next system of the sheet, scored. It is the sheet's to free, whatever comes of it. */
static bool add_system(ScoreSheet *s, const char *name, const char *how, char *const *reports,
                       ScoreSystem **out, Error *e)
{
    if (s->n == SCORE_SYSTEMS)
        return error_set(e, ERROR_INPUT, "%s: one set of reports too many, at most %d", name, SCORE_SYSTEMS);
    ScoreSystem *y = &s->system[s->n++];
    snprintf(y->name, sizeof y->name, "%s", name);
    snprintf(y->how, sizeof y->how, "%s", how);
    if (out) *out = y;
    return score_system(&s->truth, reports, &s->cutters, y, e) && label_reports(s, reports, &y->labels, e) &&
           diversity_count((const char *const *)reports, s->truth.n, &y->diversity, e) &&
           take_measures(s, y, e);
}

bool score_add_file(ScoreSheet *s, const char *name, const char *path, bool against, bool unknown,
                    char ***reports, Error *e)
{
    char **read, how[256] = "";
    ReportCounts counts;
    ScoreSystem *y = NULL;
    if (s->n) snprintf(how, sizeof how, "the reports of %s", path);
    if (!score_read_reports(path, &s->truth, false, unknown, &read, &counts, e)) return false;
    bool ok = add_system(s, name, how, read, &y, e);
    if (y) {
        y->against = against;
        y->path = path;
        y->counts = counts;
    }
    if (ok && reports)
        *reports = read;
    else
        score_reports_free(read, s->truth.n);
    return ok;
}

/* ---- controls from training reports ---- */

/* One report for every study. what: what it was chosen by. */
static bool add_constant(ScoreSheet *s, const char *name, const char *what, const ControlChoice *c,
                         const char **reports, Error *e)
{
    char how[256];
    for (int i = 0; i < s->truth.n; i++) reports[i] = c->report;
    snprintf(how, sizeof how, "one report for every study, of %d %s (%.3f; %d training %s it)", c->tried, what,
             c->score, c->times, c->times == 1 ? "study has" : "studies have");
    return add_system(s, name, how, (char *const *)reports, NULL, e);
}

static bool add_training(ScoreSheet *s, const ControlTrain *t, const char **reports, Error *e)
{
    ControlChoice c;
    if (!control_commonest(t, &c, e) ||
        !add_constant(s, "commonest", "different training reports the commonest", &c, reports, e) ||
        !control_best_findings(t, &c, e) ||
        !add_constant(s, "constant", "training reports the one with the best lesion F1 on the training set", &c,
                      reports, e) ||
        !control_best_text(t, &c, e) ||
        !add_constant(
            s, "constant-text",
            "commonest training reports the one with the best BLEU-4 by characters on the training set", &c,
            reports, e))
        return false;
    control_random(t, s->truth.n, s->seed, reports);
    return add_system(s, "random", "a training report drawn at random for each study", (char *const *)reports,
                      NULL, e);
}

bool score_add_training(ScoreSheet *s, const char *train, Error *e)
{
    char file[4096];
    ReportList list = {0};
    const char **reports = calloc((size_t)s->truth.n + 1, sizeof *reports);
    bool ok = (reports || no_memory(e, s->truth.n)) && score_annotations_path(train, file, e) &&
              report_list_read(file, &list, e) &&
              add_training(s, &(ControlTrain){list.n, (const char *const *)list.text}, reports, e);
    report_list_free(&list);
    free(reports);
    return ok;
}

bool score_add_shuffled(ScoreSheet *s, char *const *reports, Error *e)
{
    int n = s->truth.n, *from = calloc((size_t)n + 1, sizeof *from);
    char **dealt = calloc((size_t)n + 1, sizeof *dealt);
    bool ok = (from && dealt) || no_memory(e, n);
    if (ok && n > 1) {
        control_shuffled(n, s->seed, from);
        for (int i = 0; i < n; i++) dealt[i] = reports[from[i]];
        ok = add_system(s, "shuffled", "the model's report of another study", dealt, NULL, e);
    }
    free(from);
    free(dealt);
    return ok;
}

bool score_compare(ScoreSheet *s, Error *e)
{
    for (int i = 1; i < s->n; i++)
        if (!measures_compare(&s->system[0].measures, &s->system[i].measures, s->bootstrap, s->system[i].paired,
                              e))
            return false;
    return true;
}
