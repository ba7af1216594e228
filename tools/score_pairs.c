#include "tools/score_pairs.h"
#include "data/phantom_study.h"
#include "tools/score_tables.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Member {
    int64_t patient, kind; /* kind 0: the original, 1: its counterfactual, 2 k: twin k */
    int place;             /* in the truth */
} Member;

static int compare_members(const void *a, const void *b)
{
    const Member *x = a, *y = b;
    if (x->patient != y->patient) return x->patient < y->patient ? -1 : 1;
    return (x->kind > y->kind) - (x->kind < y->kind);
}

/* The truth's studies, patient by patient, the original first. */
static bool sort_members(const char *data, const ScoreTruth *t, Member *m, Error *e)
{
    for (int i = 0; i < t->n; i++)
        m[i] = (Member){t->id[i] % PHANTOM_COUNTERFACTUAL_ID, t->id[i] / PHANTOM_COUNTERFACTUAL_ID, i};
    qsort(m, (size_t)t->n, sizeof *m, compare_members);
    for (int i = 0; i < t->n; i++) {
        if (m[i].kind > 1 && m[i].kind % 2)
            return error_set(e, ERROR_INPUT,
                             "%s: study %lld is neither a patient nor a counterfactual nor a twin", data,
                             (long long)t->id[m[i].place]);
        if (m[i].kind && (!i || m[i - 1].patient != m[i].patient))
            return error_set(e, ERROR_INPUT, "%s: study %lld: its original, study %lld, is missing", data,
                             (long long)t->id[m[i].place], (long long)m[i].patient);
    }
    return true;
}

/* The pairs of each original. *n counts them. */
static bool make_pairs(const char *data, const ScoreTruth *t, const FindingSet *said, const Member *m,
                       TuplePair *pairs, int *n, Error *e)
{
    TupleStudy original = {0};
    *n = 0;
    for (int i = 0; i < t->n; i++) {
        int at = m[i].place;
        TupleStudy s = {t->set[at].side, said[at].side, t->radius[at], t->set[at].other, said[at].other};
        if (!m[i].kind) {
            original = s;
            continue;
        }
        if (!memcmp(original.truth, s.truth, FINDING_COUNT) != (m[i].kind != 1))
            return error_set(e, ERROR_INPUT, "%s: study %lld is a %s of study %lld, but its findings are %s",
                             data, (long long)t->id[at], m[i].kind == 1 ? "counterfactual" : "twin",
                             (long long)m[i].patient, m[i].kind == 1 ? "the same" : "others");
        pairs[(*n)++] = (TuplePair){original, s, m[i].patient};
    }
    return *n ||
           error_set(e, ERROR_INPUT, "%s: no counterfactual and no twin in it (pcrl-synth makes them)", data);
}

/* Gives each counterfactual pair the reports of the next one. */
static int shuffle(const TuplePair *pairs, int n, TuplePair *out)
{
    int k = 0;
    for (int i = 0; i < n; i++)
        if (memcmp(pairs[i].a.truth, pairs[i].b.truth, FINDING_COUNT)) out[k++] = pairs[i];
    if (k < 2) return 0;
    const TuplePair first = out[0];
    for (int i = 0; i < k; i++) {
        const TuplePair *next = i + 1 < k ? &out[i + 1] : &first;
        out[i].a.said = next->a.said;
        out[i].a.said_other = next->a.said_other;
        out[i].b.said = next->b.said;
        out[i].b.said_other = next->b.said_other;
    }
    return k;
}

static bool score(const char *data, const ScoreTruth *t, char *const *reports, int repeats, uint64_t seed,
                  ScorePairs *out, Error *e)
{
    uint8_t sided[FINDING_COUNT], focal[FINDING_COUNT];
    TupleTable table = score_table(sided, focal);
    size_t n = (size_t)t->n + 1;
    FindingSet *said = calloc(n, sizeof *said);
    Member *member = calloc(n, sizeof *member);
    TuplePair *pairs = calloc(2 * n, sizeof *pairs);
    int n_pairs;
    bool ok = said && member && pairs;
    if (!ok) error_set(e, ERROR_MEMORY, "%s: no memory to score %d studies", data, t->n);
    for (int i = 0; ok && i < t->n; i++) said[i] = findings_parse(reports[i]);
    ok = ok && sort_members(data, t, member, e) && make_pairs(data, t, said, member, pairs, &n_pairs, e) &&
         tuples_pairs(&table, pairs, n_pairs, repeats, seed, &out->model, e) &&
         tuples_pairs(&table, pairs + n, shuffle(pairs, n_pairs, pairs + n), repeats, seed, &out->shuffled, e);
    free(said);
    free(member);
    free(pairs);
    return ok;
}

bool score_pairs(const char *data, const char *reports, int repeats, uint64_t seed, ScorePairs *out, Error *e)
{
    ScoreTruth t = {0};
    char **text;
    Ctrg *c = score_open_annotations(data, e);
    bool ok = c && score_truth(c, &t, e);
    ctrg_free(c);
    ok = ok && score_read_reports(reports, &t, false, false, &text, NULL, e);
    if (ok) {
        memset(out, 0, sizeof *out);
        ok = score(data, &t, text, repeats, seed, out, e);
        score_reports_free(text, t.n);
    }
    score_truth_free(&t);
    return ok;
}

/* Of the share of the other pairs. */
static Interval complement(const Interval *i) { return (Interval){1 - i->high, 1 - i->low, i->sd, i->n}; }

static void print_shift(FILE *out, const char *name, const TupleShift *s)
{
    if (s->n)
        fprintf(out, "%-18s %6lld  %6s %11s  %14s %11s\n", name, (long long)s->n, score_share(s->follow_share),
                score_range(&s->follow_interval), score_share(s->still_share), score_range(&s->still_interval));
}

void score_pairs_print(FILE *out, const ScorePairs *p)
{
    const TuplePairScores *s = &p->model;
    if (s->changed.n) {
        fprintf(out,
                "\nCounterfactual pairs: one lesion mirrored or removed. The reports follow if both are right "
                "about "
                "it and\nequal in all else; ranges are over resampled patients\n%-18s %6s  %18s  %26s\n",
                "", "pairs", "follow", "change nothing");
        print_shift(out, "all", &s->changed);
        print_shift(out, "mirrored", &s->mirrored);
        print_shift(out, "removed", &s->removed);
        for (int b = 0; b < TUPLES_SIZE_BINS; b++) {
            char name[64];
            if (isinf(s->size[b].high_mm))
                snprintf(name, sizeof name, "radius >= %g mm", s->size[b].low_mm);
            else
                snprintf(name, sizeof name, "radius %g-%g mm", s->size[b].low_mm, s->size[b].high_mm);
            print_shift(out, name, &s->size[b]);
        }
        fputs("Controls: ", out);
        if (p->shuffled.changed.n)
            fprintf(out, "the next patient's two reports follow in %.3f; ", p->shuffled.changed.follow_share);
        fputs("a report that ignores the image in 0, and it changes nothing in 1\n", out);
    }
    if (s->same.n) {
        Interval differ = complement(&s->same.still_interval);
        fprintf(out, "\nTwins: other noise. Of %lld the findings differ from the original's in %.3f (%s)\n",
                (long long)s->same.n, 1 - s->same.still_share, score_range(&differ));
    }
}

static json_t *shift_json(const TupleShift *s)
{
    return json_pack("{s:I, s:I, s:o, s:f, s:I, s:o, s:f, s:{s:o, s:o}}", "pairs", (json_int_t)s->n, "follow",
                     (json_int_t)s->follow, "follow_share", score_number(s->follow_share), "follow_sd",
                     s->follow_interval.sd, "still", (json_int_t)s->still, "still_share",
                     score_number(s->still_share), "still_sd", s->still_interval.sd, "intervals",
                     "follow_share", score_interval(&s->follow_interval), "still_share",
                     score_interval(&s->still_interval));
}

static json_t *changed_json(const TuplePairScores *s)
{
    json_t *sizes = json_array();
    for (int b = 0; b < TUPLES_SIZE_BINS; b++) {
        json_t *one = shift_json(&s->size[b]);
        json_object_set_new(one, "low_mm", json_real(s->size[b].low_mm));
        json_object_set_new(one, "high_mm", score_number(s->size[b].high_mm));
        json_array_append_new(sizes, one);
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "all", shift_json(&s->changed), "mirrored",
                     shift_json(&s->mirrored), "removed", shift_json(&s->removed), "by_size", sizes);
}

static json_t *pairs_json(const void *context)
{
    const ScorePairs *p = context;
    const TupleShift *twins = &p->model.same;
    Interval changed = complement(&twins->still_interval);
    return json_pack("{s:o, s:o, s:{s:I, s:I, s:o, s:f, s:{s:o}}}", "counterfactual", changed_json(&p->model),
                     "shuffled", changed_json(&p->shuffled), "twins", "pairs", (json_int_t)twins->n, "changed",
                     (json_int_t)(twins->n - twins->still), "changed_share",
                     score_number(1 - twins->still_share), "changed_sd", changed.sd, "intervals",
                     "changed_share", score_interval(&changed));
}

json_t *score_pairs_json(const ScorePairs *p) { return json_make(pairs_json, p); }
