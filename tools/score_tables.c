#include "tools/score_tables.h"
#include <math.h>
#include <string.h>

const char *score_share(double x)
{
    static char text[16][16];
    static int next;
    char *s = text[next++ % 16];
    if (isnan(x)) return strcpy(s, "-");
    snprintf(s, sizeof text[0], "%.3f", x);
    return s;
}

const char *score_range(const Interval *i)
{
    static char text[16][32];
    static int next;
    char *s = text[next++ % 16];
    if (isnan(i->low)) return strcpy(s, "");
    snprintf(s, sizeof text[0], "%.3f-%.3f", i->low, i->high);
    return s;
}

int score_column(const ScoreSystem *y)
{
    int n = (int)strlen(y->name);
    return n < 6 ? 6 : n > 16 ? 16 : n;
}

void score_print_names(FILE *out, const ScoreSheet *s)
{
    for (int i = 1; i < s->n; i++) fprintf(out, " %*.16s", score_column(&s->system[i]), s->system[i].name);
}

void score_print_text_intervals(FILE *out, const ScoreSheet *s)
{
    static const int shown[] = {MEASURE_BLEU_1, MEASURE_BLEU_2, MEASURE_BLEU_3, MEASURE_BLEU_4,
                                MEASURE_METEOR, MEASURE_ROUGE,  MEASURE_CIDER};
    enum { SHOWN = sizeof shown / sizeof *shown };
    fprintf(out, "\nText with its intervals, split: %s\n%-18s", text_split_name(s->cutters.main), "");
    for (int j = 0; j < SHOWN; j++) fprintf(out, " %11s", measure_name(shown[j]));
    fputc('\n', out);
    for (int i = 0; i < s->n; i++) {
        const Measures *m = &s->system[i].measures;
        fprintf(out, "%-18s", s->system[i].name);
        for (int j = 0; j < SHOWN; j++) fprintf(out, " %11s", score_share(m->value[shown[j]]));
        fprintf(out, "\n%-18s", "");
        for (int j = 0; j < SHOWN; j++) fprintf(out, " %11s", score_range(&m->interval[shown[j]]));
        fputc('\n', out);
    }
}

static void print_list(FILE *out, const ScoreSheet *s, ClinicalList list)
{
    const int micro = MEASURE_MENTION_MICRO + 3 * (int)list, macro = micro + 1, example = micro + 2;
    fprintf(out, "\nClinical labels, %s: %s\n%-18s %6s %11s %6s %6s %6s %11s %7s %11s\n",
            clinical_list_name(list), clinical_list_about(list), "", "F1", "", "P", "R", "macro", "", "example",
            "");
    for (int i = 0; i < s->n; i++) {
        const Measures *m = &s->system[i].measures;
        const LabelScores *l = &m->list[list];
        fprintf(out, "%-18s %6s %11s %6s %6s %6s %11s %7s %11s\n", s->system[i].name, score_share(l->micro.f1),
                score_range(&m->interval[micro]), score_share(l->micro.precision), score_share(l->micro.recall),
                score_share(l->macro_f1), score_range(&m->interval[macro]), score_share(l->example_f1),
                score_range(&m->interval[example]));
    }
}

static void print_labels(FILE *out, const ScoreSheet *s, ClinicalList list)
{
    fprintf(out, "\nBy label, %s\n%6s %6s %6s %6s %6s", clinical_list_name(list), "true", "said", "F1", "P",
            "R");
    score_print_names(out, s);
    fputs("  label\n", out);
    for (int k = 0; k < s->lists.k[list]; k++) {
        int at = s->lists.first[list] + k;
        const LabelScore *l = &s->system[0].measures.label[at];
        const char *english, *chinese = clinical_label(&s->lists, list, k, &english);
        if (!l->truth && !l->said) continue;
        fprintf(out, "%6lld %6lld %6s %6s %6s", (long long)l->truth, (long long)l->said, score_share(l->f1),
                score_share(l->precision), score_share(l->recall));
        for (int i = 1; i < s->n; i++)
            fprintf(out, " %*s", score_column(&s->system[i]), score_share(s->system[i].measures.label[at].f1));
        fprintf(out, *english ? "  %s (%s)\n" : "  %s%s\n", chinese, english);
    }
}

void score_print_clinical(FILE *out, const ScoreSheet *s)
{
    for (int i = 0; i < LIST_COUNT; i++)
        if (s->lists.k[i]) print_list(out, s, (ClinicalList)i);
    for (int i = 0; i < LIST_COUNT; i++)
        if (s->lists.k[i] && i != LIST_PRESENCE) print_labels(out, s, (ClinicalList)i);
}

static void print_diverse(FILE *out, const char *name, const Diversity *d)
{
    double reports = d->reports ? (double)d->reports : NAN, clauses = d->clauses ? (double)d->clauses : NAN;
    fprintf(out, "%-18s %8lld %8lld %6s %9s %8lld %8lld %6s\n", name, (long long)d->reports,
            (long long)d->distinct_reports, score_share((double)d->distinct_reports / reports),
            score_share((double)d->commonest / reports), (long long)d->clauses, (long long)d->distinct_clauses,
            score_share((double)d->distinct_clauses / clauses));
}

void score_print_diversity(FILE *out, const ScoreSheet *s)
{
    fprintf(out, "\nDiversity\n%-18s %8s %8s %6s %9s %8s %8s %6s\n", "", "reports", "distinct", "share",
            "commonest", "clauses", "distinct", "share");
    print_diverse(out, "references", &s->diversity);
    for (int i = 0; i < s->n; i++) print_diverse(out, s->system[i].name, &s->system[i].diversity);
}

static const char *signed_number(double x)
{
    static char text[16];
    if (isnan(x)) return "-";
    snprintf(text, sizeof text, "%+.3f", x);
    return text;
}

static void print_test(FILE *out, const ScoreSheet *s, const ScoreSystem *y, int measure)
{
    const Interval *a = &s->system[0].measures.interval[measure], *b = &y->measures.interval[measure];
    const PairedTest *p = &y->paired[measure];
    char range[40] = "", probability[16] = "-";
    if (!isnan(p->interval.low))
        snprintf(range, sizeof range, "%+.3f to %+.3f", p->interval.low, p->interval.high);
    if (!isnan(p->p)) snprintf(probability, sizeof probability, "%.4f", p->p);
    bool defined = !isnan(a->low) && !isnan(b->low);
    fprintf(out, "%-18s %-19s %6s %6s %7s %16s %7s  %s\n", y->name, measure_name(measure),
            score_share(s->system[0].measures.value[measure]), score_share(y->measures.value[measure]),
            signed_number(p->difference), range, probability,
            !defined                  ? "-"
            : intervals_overlap(a, b) ? "overlap"
                                      : "apart");
}

void score_print_paired(FILE *out, const ScoreSheet *s)
{
    static const int shown[] = {MEASURE_LESION,        MEASURE_SIDE,          MEASURE_FOCAL,
                                MEASURE_FINDING_MICRO, MEASURE_MENTION_MICRO, MEASURE_BLEU_4,
                                MEASURE_METEOR,        MEASURE_ROUGE,         MEASURE_CIDER};
    if (s->n < 2) return;
    fprintf(
        out,
        "\nThe model less each other system: difference, its interval, p (two-sided, paired over studies); and "
        "do the two systems' own intervals overlap?\n%-18s %-19s %6s %6s %7s %16s %7s\n",
        "", "", "model", "other", "less", "", "p");
    for (int i = 1; i < s->n; i++)
        for (size_t j = 0; j < sizeof shown / sizeof *shown; j++) print_test(out, s, &s->system[i], shown[j]);
}
