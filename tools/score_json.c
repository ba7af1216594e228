#include "data/file.h"
#include "tensor/utf8.h"
#include "tools/score_values.h"
#include <math.h>
#include <string.h>

json_t *score_number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

json_t *score_interval(const Interval *i)
{
    return json_pack("[o, o]", score_number(i->low), score_number(i->high));
}

/* A path may hold any bytes: those that are not UTF-8 become U+FFFD. */
static json_t *path_json(const char *path)
{
    static const char unknown[] = "\xEF\xBF\xBD";
    char text[16384];
    size_t n = 0;
    for (size_t at = 0, end = strlen(path), used; at < end && n + 4 < sizeof text; at += used) {
        int32_t c;
        used = (size_t)utf8_next(path + at, end - at, &c);
        const char *from = c < 0 ? unknown : path + at;
        size_t length = c < 0 ? sizeof unknown - 1 : used;
        memcpy(text + n, from, length);
        n += length;
    }
    return json_stringn(text, n);
}

static json_t *tuple_json(const TupleScore *s)
{
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:i, s:o, s:I}", "right", (json_int_t)s->right,
                     "said", (json_int_t)s->said, "truth", (json_int_t)s->truth, "precision",
                     score_number(s->precision), "recall", score_number(s->recall), "f1", score_number(s->f1),
                     "macro_f1", score_number(s->macro), "macro_findings", s->macro_n, "side",
                     score_number(s->side), "side_n", (json_int_t)s->side_n);
}

static json_t *bins_json(const TupleBin bins[TUPLES_SIZE_BINS])
{
    json_t *list = json_array();
    for (int b = 0; b < TUPLES_SIZE_BINS; b++)
        json_array_append_new(list,
                              json_pack("{s:f, s:o, s:I, s:I, s:o, s:o, s:o, s:I}", "low_mm", bins[b].low_mm,
                                        "high_mm", score_number(bins[b].high_mm), "truth",
                                        (json_int_t)bins[b].truth, "right", (json_int_t)bins[b].right, "recall",
                                        score_number(bins[b].recall), "f1", score_number(bins[b].f1), "side",
                                        score_number(bins[b].side), "side_n", (json_int_t)bins[b].side_n));
    return list;
}

static json_t *text_json(const TextScore *t)
{
    return json_pack("{s:[f,f,f,f], s:f, s:f, s:f, s:f}", "bleu", t->bleu[0], t->bleu[1], t->bleu[2],
                     t->bleu[3], "meteor", t->meteor, "rouge_l", t->rouge_l, "rouge_l_space", t->rouge_l_space,
                     "cider", t->cider);
}

/* A finding's tuples that are exactly on the left, and those on the right. */
static json_t *sides_json(const ScoreTruth *t, const FindingSet *said, int finding)
{
    json_t *o = json_object();
    for (int side = SIDE_LEFT; side <= SIDE_RIGHT; side++) {
        json_int_t right = 0, n_said = 0, n_truth = 0;
        for (int i = 0; i < t->n; i++) {
            bool is = t->set[i].side[finding] == side, named = said[i].side[finding] == side;
            right += is && named;
            n_said += named;
            n_truth += is;
        }
        json_object_set_new(o, side_name((Side)side),
                            json_pack("{s:I, s:I, s:I}", "right", right, "said", n_said, "truth", n_truth));
    }
    return o;
}

static json_t *findings_json(const ScoreTruth *t, const ScoreSystem *s)
{
    json_t *list = json_array();
    for (int f = 0; f < FINDING_COUNT; f++) {
        const FindingKind *k = finding_kind(f);
        json_t *one = tuple_json(&s->tuples.finding[f]);
        if (k->sided) json_object_set_new(one, "sides", sides_json(t, s->said, f));
        json_object_del(one, "macro_f1");
        json_object_del(one, "macro_findings");
        json_object_set_new(one, "entity", json_string(entity_name(k->entity)));
        json_object_set_new(one, "density", json_string(density_name(k->density)));
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *spread_json(const Measures *m)
{
    const Interval *i = m->interval;
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "f1", i[MEASURE_LESION].sd, "macro_f1",
                     i[MEASURE_LESION_MACRO].sd, "side", i[MEASURE_SIDE].sd, "focal_f1", i[MEASURE_FOCAL].sd,
                     "focal_macro_f1", i[MEASURE_FOCAL_MACRO].sd, "focal_side", i[MEASURE_FOCAL_SIDE].sd,
                     "exact", i[MEASURE_EXACT].sd);
}

static json_t *system_json(const ScoreTruth *t, const ScoreSystem *s)
{
    static const char *const key[SPLIT_COUNT] = {"characters", "tokens", "jieba", "space"};
    json_t *o = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", s->name, "how",
                          path_json(s->how), "all", tuple_json(&s->tuples.all), "focal",
                          tuple_json(&s->tuples.focal), "exact", score_number(s->tuples.exact), "sd",
                          spread_json(&s->measures), "by_size", bins_json(s->tuples.size), "focal_by_size",
                          bins_json(s->tuples.focal_size), "findings", findings_json(t, s));
    for (int i = 0; i < SPLIT_COUNT; i++)
        if (s->has_text[i]) json_object_set_new(o, key[i], text_json(&s->text[i].all));
    return o;
}

/* Puts the text metrics into o under their usual names. */
static void set_text(json_t *o, const TextScore *t)
{
    for (int k = 0; k < BLEU_ORDERS; k++) {
        char name[24];
        snprintf(name, sizeof name, "BLEU-%d", k + 1);
        json_object_set_new(o, name, json_real(t->bleu[k]));
    }
    json_object_set_new(o, "METEOR", json_real(t->meteor));
    json_object_set_new(o, "ROUGE-L", json_real(t->rouge_l));
    json_object_set_new(o, "ROUGE-L (trailing space)", json_real(t->rouge_l_space));
    json_object_set_new(o, "CIDEr", json_real(t->cider));
}

/* Puts a system's numbers into o. */
static void set_values(json_t *o, const ScoreSheet *sheet, const ScoreSystem *s)
{
    json_t *lesion = tuple_json(&s->tuples.all);
    set_text(o, &s->text[sheet->cutters.main].all);
    json_object_set_new(lesion, "focal", tuple_json(&s->tuples.focal));
    json_object_set_new(lesion, "exact", score_number(s->tuples.exact));
    json_object_set_new(lesion, "sd", spread_json(&s->measures));
    json_object_set_new(o, "lesion", lesion);
    json_object_set_new(o, "clinical", score_clinical_json(sheet, s));
    json_object_set_new(o, "diversity", score_diversity_json(&s->diversity));
    json_object_set_new(o, "intervals", score_intervals_json(sheet, &s->measures));
}

static json_t *counts_json(const char *path, const ReportCounts *c, int empty)
{
    json_t *ignored = json_object();
    for (int i = 0; i < c->n_keys; i++) json_object_set_new(ignored, c->key[i].name, json_integer(c->key[i].n));
    if (c->other_keys) json_object_set_new(ignored, "(others)", json_integer(c->other_keys));
    return json_pack("{s:o, s:i, s:i, s:o}", "file", path_json(path), "reports", c->reports,
                     "scored_without_a_word", empty, "ignored_keys", ignored);
}

static json_t *settings_json(const ScoreSheet *s)
{
    const ScoreTruth *t = &s->truth;
    ReportCounts truth = t->counts;
    int empty = 0;
    for (int i = 0; i < t->n; i++) empty += report_empty(t->report[i]);
    truth.reports = t->all;
    const ScoreSystem *y = &s->system[0];
    json_t *counts = json_pack("{s:i, s:o, s:o}", "scored", t->n, "references",
                               counts_json(s->truth_path, &truth, empty), "hypotheses",
                               counts_json(y->path, &y->counts, y->empty)),
           *controls = json_object();
    for (int i = 1; i < s->n; i++) {
        y = &s->system[i];
        if (y->path) json_object_set_new(controls, y->name, counts_json(y->path, &y->counts, y->empty));
    }
    json_object_set_new(counts, "controls", controls);
    json_t *averages = json_object(), *conventions = json_object();
    for (const ScoreAbout *a = score_about; a->metric; a++) {
        if (*a->average) json_object_set_new(averages, a->metric, json_string(a->average));
        json_object_set_new(conventions, a->metric, json_string(a->how));
    }
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:I, s:i}", "split", text_split_name(s->cutters.main),
                     "tokenizer", path_json(cutter_about(s->cutters.by[s->cutters.main])), "averages", averages,
                     "conventions", conventions, "counts", counts, "seed", (json_int_t)s->seed, "bootstrap",
                     s->bootstrap);
}

static json_t *sheet_json(const void *context)
{
    const ScoreSheet *s = context;
    json_t *list = json_array(), *controls = json_object(), *against = json_object(), *paired = json_object();
    json_t *o = json_pack("{s:i}", "studies", s->truth.n);
    set_values(o, s, &s->system[0]);
    for (int i = 0; i < s->n; i++) {
        const ScoreSystem *y = &s->system[i];
        if (!y->against) json_array_append_new(list, system_json(&s->truth, y));
        if (!i) continue;
        json_t *one = json_object();
        set_values(one, s, y);
        json_object_set_new(y->against ? against : controls, y->name, one);
        json_object_set_new(paired, y->name, score_paired_json(s, y));
    }
    json_object_set_new(json_object_get(o, "diversity"), "references", score_diversity_json(&s->diversity));
    json_object_set_new(o, "controls", controls);
    json_object_set_new(o, "against", against);
    json_object_set_new(o, "paired", paired);
    json_object_set_new(o, "settings", settings_json(s));
    json_object_set_new(o, "systems", list);
    return o;
}

json_t *score_json(const ScoreSheet *s) { return json_make(sheet_json, s); }

/* One of the model's. */
typedef struct SheetStudy {
    const ScoreSheet *sheet;
    const TupleTable *table;
    int i;
} SheetStudy;

static json_t *study_json(const void *context)
{
    const SheetStudy *of = context;
    const ScoreSheet *s = of->sheet;
    const ScoreTruth *t = &s->truth;
    int i = of->i;
    const ScoreSystem *y = &s->system[0];
    TupleStudy study = {t->set[i].side, y->said[i].side, score_radius(t, i), t->set[i].other, y->said[i].other};
    TupleScores tuples;
    tuples_score(of->table, &study, 1, &tuples);
    json_t *o = json_pack("{s:s}", "id", t->name[i]), *lesion = tuple_json(&tuples.all);
    set_text(o, &y->text[s->cutters.main].each[i]);
    json_object_set_new(lesion, "exact", json_boolean(tuples.exact == 1));
    json_object_set_new(o, "lesion", lesion);
    json_object_set_new(o, "clinical", score_clinical_study_json(s, i));
    return o;
}

bool score_write_each(const char *path, const ScoreSheet *s, Error *e)
{
    uint8_t sided[FINDING_COUNT], focal[FINDING_COUNT];
    TupleTable table = score_table(sided, focal);
    FileWriter w;
    if (!file_create(&w, path, e)) return false;
    bool ok = true;
    for (int i = 0; ok && i < s->truth.n; i++) {
        json_t *one = json_make(study_json, &(SheetStudy){s, &table, i});
        ok = one && (!json_dumpf(one, w.stream, JSON_REAL_PRECISION(15)) || ferror(w.stream));
        fputc('\n', w.stream);
        json_decref(one);
    }
    if (ok) return file_commit(&w, e);
    file_abandon(&w);
    return error_set(e, ERROR_MEMORY, "%s: no memory for the scores of a study", path);
}
