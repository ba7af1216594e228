#include "tools/score.h"
#include "data/file.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_LIMIT = 1 << 30 };

static bool no_memory(Error *e, int n)
{
    return error_set(e, ERROR_MEMORY, "no memory to score %d studies", n);
}

static bool reserve(ScoreTruth *t, int n, bool ids)
{
    size_t room = (size_t)n + 1;
    *t = (ScoreTruth){n,
                      ids ? calloc(room, sizeof *t->id) : NULL,
                      calloc(room, sizeof *t->name),
                      calloc(room, sizeof *t->report),
                      calloc(room, sizeof *t->set),
                      ids ? calloc(room, sizeof *t->radius) : NULL,
                      n,
                      {0}};
    return (!ids || (t->id && t->radius)) && t->name && t->report && t->set;
}

bool score_truth(const Ctrg *c, ScoreTruth *out, Error *e)
{
    bool ok = reserve(out, c->n, true);
    for (int i = 0; ok && i < c->n; i++) {
        const CtrgStudy *s = &c->study[i];
        out->id[i] = s->id;
        out->report[i] = strdup(s->findings);
        ok = asprintf(&out->name[i], "%lld", (long long)s->id) >= 0 && out->report[i];
        out->set[i] = s->has_truth ? ctrg_findings(s) : findings_parse(s->findings);
        for (int k = 0; k < s->n_truth; k++) {
            double *radius = &out->radius[i][s->truth[k].finding];
            if (s->truth[k].radius_mm > *radius) *radius = s->truth[k].radius_mm;
        }
    }
    if (ok) return true;
    score_truth_free(out);
    return no_memory(e, c->n);
}

bool score_truth_list(const ReportList *l, ScoreTruth *out, Error *e)
{
    bool ok = reserve(out, l->n, false);
    out->counts = l->counts;
    for (int i = 0; ok && i < l->n; i++) {
        out->name[i] = strdup(l->id[i]);
        out->report[i] = strdup(l->text[i]);
        ok = out->name[i] && out->report[i];
        if (ok) out->set[i] = findings_parse(l->text[i]);
    }
    if (ok) return true;
    score_truth_free(out);
    return no_memory(e, l->n);
}

static void free_texts(char **text, int n)
{
    for (int i = 0; text && i < n; i++) free(text[i]);
    free(text);
}

void score_truth_free(ScoreTruth *t)
{
    free_texts(t->name, t->n);
    free_texts(t->report, t->n);
    free(t->id);
    free(t->set);
    free(t->radius);
    *t = (ScoreTruth){0};
}

void score_keep_reported(ScoreTruth *t, char **reports)
{
    int kept = 0;
    for (int i = 0; i < t->n; i++) {
        if (!reports[i]) {
            free(t->name[i]);
            free(t->report[i]);
            continue;
        }
        reports[kept] = reports[i];
        if (t->id) t->id[kept] = t->id[i];
        t->name[kept] = t->name[i];
        t->report[kept] = t->report[i];
        t->set[kept] = t->set[i];
        if (kept != i && t->radius) memcpy(t->radius[kept], t->radius[i], sizeof t->radius[i]);
        kept++;
    }
    t->n = kept;
}

bool score_annotations_path(const char *path, char file[4096], Error *e)
{
    struct stat st;
    const char *inside = !stat(path, &st) && S_ISDIR(st.st_mode) ? "/annotations.json" : "";
    if (snprintf(file, 4096, "%s%s", path, inside) < 4096) return true;
    return error_set(e, ERROR_INPUT, "%.100s...: path too long", path);
}

Ctrg *score_open_annotations(const char *path, Error *e)
{
    char file[4096];
    uint8_t *bytes;
    size_t n;
    if (!score_annotations_path(path, file, e) || !file_read(file, FILE_LIMIT, &bytes, &n, e)) return NULL;
    Ctrg *c = ctrg_parse((const char *)bytes, n, file, NULL, NULL, e);
    free(bytes);
    return c;
}

/* Moves the texts of the list to their studies; NULL where there is none. */
static bool match(const char *path, ReportList *l, const ScoreTruth *t, bool unknown, char **reports, Error *e)
{
    char place[32];
    bool *used = calloc((size_t)l->n + 1, sizeof *used);
    if (!used) return no_memory(e, l->n);
    for (int i = 0; i < t->n; i++) {
        int k = report_list_find(l, t->name[i]);
        if (k < 0) continue;
        reports[i] = l->text[k];
        l->text[k] = NULL;
        used[k] = true;
    }
    int strange = 0, first = 0;
    for (int k = l->n - 1; k >= 0; k--)
        if (!used[k]) {
            strange++;
            first = k;
        }
    free(used);
    return !strange || unknown ||
           error_set(e, ERROR_INPUT,
                     "%s: %s: study %.100s is not in the truth (%d of %d reports are of no study)", path,
                     report_list_place(l, first, place), l->id[first], strange, l->n);
}

bool score_read_reports(const char *path, const ScoreTruth *t, bool missing, bool unknown, char ***reports,
                        ReportCounts *counts, Error *e)
{
    ReportList l = {0};
    char **out = calloc((size_t)t->n + 1, sizeof *out);
    bool ok = out || no_memory(e, t->n);
    ok = ok && report_list_read(path, &l, e);
    if (ok && counts) *counts = l.counts;
    ok = ok && match(path, &l, t, unknown, out, e);
    report_list_free(&l);
    int lacking = 0, first = 0;
    for (int i = t->n - 1; ok && i >= 0; i--)
        if (!out[i]) {
            lacking++;
            first = i;
        }
    if (ok && lacking && lacking == t->n)
        ok = error_set(e, ERROR_INPUT, "%s: no report for any study of the truth", path);
    if (ok && lacking && !missing)
        ok = error_set(e, ERROR_INPUT, "%s: no report for study %.100s (%d of %d studies have none)", path,
                       t->name[first], lacking, t->n);
    if (ok)
        *reports = out;
    else
        free_texts(out, t->n);
    return ok;
}

void score_reports_free(char **reports, int n) { free_texts(reports, n); }

void score_cutters_close(ScoreCutters *c)
{
    for (int i = 0; i < SPLIT_COUNT; i++) cutter_close(c->by[i]);
    *c = (ScoreCutters){0};
}

TupleTable score_table(uint8_t sided[FINDING_COUNT], uint8_t focal[FINDING_COUNT])
{
    for (int f = 0; f < FINDING_COUNT; f++) {
        sided[f] = finding_kind(f)->sided;
        focal[f] = finding_kind(f)->parenchymal;
    }
    return (TupleTable){FINDING_COUNT, sided, focal};
}

bool score_system(const ScoreTruth *t, char *const *reports, const ScoreCutters *cutters, ScoreSystem *out,
                  Error *e)
{
    uint8_t sided[FINDING_COUNT], focal[FINDING_COUNT];
    TupleTable table = score_table(sided, focal);
    TupleStudy *studies = calloc((size_t)t->n + 1, sizeof *studies);
    out->said = calloc((size_t)t->n + 1, sizeof *out->said);
    out->empty = 0;
    bool ok = (out->said && studies) || no_memory(e, t->n);
    for (int i = 0; ok && i < t->n; i++) {
        const FindingSet *said = &out->said[i];
        out->said[i] = findings_parse(reports[i]);
        studies[i] = (TupleStudy){t->set[i].side, said->side, score_radius(t, i), t->set[i].other, said->other};
        out->empty += report_empty(reports[i]);
    }
    if (ok) tuples_score(&table, studies, t->n, &out->tuples);
    for (int i = 0; i < SPLIT_COUNT; i++) {
        out->has_text[i] = ok && cutters->by[i];
        if (out->has_text[i]) ok = text_scores(cutters->by[i], reports, t->report, t->n, &out->text[i], e);
    }
    free(studies);
    if (!ok) score_system_free(out);
    return ok;
}

void score_system_free(ScoreSystem *s)
{
    for (int i = 0; i < SPLIT_COUNT; i++) {
        if (s->has_text[i]) text_scores_free(&s->text[i]);
        s->has_text[i] = false;
    }
    free(s->said);
    free(s->labels);
    s->said = NULL;
    s->labels = NULL;
    measures_free(&s->measures);
}

void score_sheet_free(ScoreSheet *s)
{
    for (int i = 0; i < s->n; i++) score_system_free(&s->system[i]);
    free(s->labels);
    s->labels = NULL;
    score_truth_free(&s->truth);
    score_cutters_close(&s->cutters);
}
