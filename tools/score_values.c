#include "tools/score_values.h"
#include <math.h>
#include <string.h>

static json_t *label_json(const LabelScore *s)
{
    return json_pack("{s:I, s:I, s:I, s:f, s:f, s:f}", "right", (json_int_t)s->right, "said",
                     (json_int_t)s->said, "truth", (json_int_t)s->truth, "precision", s->precision, "recall",
                     s->recall, "f1", s->f1);
}

static json_t *list_json(const ClinicalLists *l, ClinicalList list, const Measures *m)
{
    const LabelScores *s = &m->list[list];
    json_t *labels = json_array();
    for (int i = 0; i < l->k[list]; i++) {
        const char *english, *chinese = clinical_label(l, list, i, &english);
        json_t *one = label_json(&m->label[l->first[list] + i]);
        json_object_set_new(one, "label", json_string(chinese));
        if (*english) json_object_set_new(one, "english", json_string(english));
        json_array_append_new(labels, one);
    }
    return json_pack("{s:o, s:{s:f, s:f, s:f, s:f, s:i}, s:{s:f, s:f, s:f, s:I}, s:o}", "micro",
                     label_json(&s->micro), "macro", "precision", s->macro_precision, "recall", s->macro_recall,
                     "f1", s->macro_f1, "f1_of_all", s->macro_all_f1, "labels", s->macro_n, "example",
                     "precision", s->example_precision, "recall", s->example_recall, "f1", s->example_f1,
                     "empty_in_both", (json_int_t)s->empty, "labels", labels);
}

json_t *score_clinical_json(const ScoreSheet *s, const ScoreSystem *y)
{
    json_t *o = json_object();
    for (int i = 0; i < LIST_COUNT; i++)
        if (s->lists.k[i])
            json_object_set_new(o, clinical_list_name((ClinicalList)i),
                                list_json(&s->lists, (ClinicalList)i, &y->measures));
    return o;
}

json_t *score_clinical_study_json(const ScoreSheet *s, int study)
{
    const ClinicalLists *l = &s->lists;
    const uint8_t *truth = s->labels + (size_t)study * (size_t)l->width;
    const uint8_t *said = s->system[0].labels + (size_t)study * (size_t)l->width;
    json_t *o = json_object();
    for (int i = 0; i < LIST_COUNT; i++) {
        double row[LABEL_SUMS(KEYWORDS_MAX)];
        LabelScores scores;
        if (!l->k[i]) continue;
        labels_row(truth + l->first[i], said + l->first[i], l->k[i], row);
        labels_from_sums(row, l->k[i], &scores, NULL);
        json_object_set_new(o, clinical_list_name((ClinicalList)i), label_json(&scores.micro));
    }
    return o;
}

json_t *score_diversity_json(const Diversity *d)
{
    double reports = d->reports ? (double)d->reports : NAN, clauses = d->clauses ? (double)d->clauses : NAN;
    return json_pack("{s:I, s:I, s:o, s:I, s:I, s:o, s:I, s:o}", "reports", (json_int_t)d->reports,
                     "distinct_reports", (json_int_t)d->distinct_reports, "distinct_report_share",
                     score_number((double)d->distinct_reports / reports), "clauses", (json_int_t)d->clauses,
                     "distinct_clauses", (json_int_t)d->distinct_clauses, "distinct_clause_share",
                     score_number((double)d->distinct_clauses / clauses), "commonest_report",
                     (json_int_t)d->commonest, "commonest_report_share",
                     score_number((double)d->commonest / reports));
}

/* Puts value (the reference is o's then) where key says, as measure_key gives it. */
static void set_at(json_t *o, const char *key, json_t *value)
{
    char part[64];
    for (const char *slash; (slash = strchr(key, '/')); key = slash + 1) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - key), key);
        if (!json_object_get(o, part)) json_object_set_new(o, part, json_object());
        o = json_object_get(o, part);
    }
    json_object_set_new(o, key, value);
}

json_t *score_intervals_json(const ScoreSheet *s, const Measures *m)
{
    json_t *o = json_object();
    for (int j = 0; j < MEASURE_COUNT; j++)
        if (measure_there(&s->lists, j)) set_at(o, measure_key(j), score_interval(&m->interval[j]));
    return o;
}

json_t *score_paired_json(const ScoreSheet *s, const ScoreSystem *y)
{
    json_t *o = json_object();
    for (int j = 0; j < MEASURE_COUNT; j++) {
        const PairedTest *p = &y->paired[j];
        const Interval *a = &s->system[0].measures.interval[j], *b = &y->measures.interval[j];
        bool defined = !isnan(a->low) && !isnan(b->low);
        if (!measure_there(&s->lists, j)) continue;
        set_at(o, measure_key(j),
               json_pack("{s:o, s:o, s:o, s:o}", "difference", score_number(p->difference), "ci95",
                         score_interval(&p->interval), "p", score_number(p->p), "overlap",
                         defined ? json_boolean(intervals_overlap(a, b)) : json_null()));
    }
    return o;
}
