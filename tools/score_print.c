#include "tools/score_tables.h"
#include <math.h>

const ScoreAbout score_about[] = {
    {"lesion F1, P, R", "micro: over the tuples of all studies",
     "a tuple is (entity, side, density) as data/findings.h reads a report; macro: mean F1 over kinds of "
     "finding; "
     "side: of sided findings that both name; exact: studies with the very set"},
    {"BLEU-1 to 4", "corpus", "one reference each, clipped counts and lengths summed, 1e-15 and 1e-9 added"},
    {"METEOR", "corpus",
     "METEOR 1.5, -l en -norm, of the words with their spaces: Chinese by characters; exact matches; alpha "
     ".85, "
     "beta .20, gamma .60, delta .75, statistics summed"},
    {"ROUGE-L", "mean over studies", "beta 1.2, words as split() gives them"},
    {"ROUGE-L (trailing space)", "mean over studies",
     "beta 1.2, words as split(\" \") gives them, with a space after the last: an empty word more, which "
     "matches"},
    {"CIDEr", "mean over studies",
     "CIDEr-D, n-grams to 4, sigma 6, no stemming, document frequencies of the scored references; 0 to 10, in "
     "papers "
     "times 100"},
    {"clinical", "micro, macro, example",
     "a label counts as right where truth and report have it alike; micro: counts of all studies and labels; "
     "macro: "
     "mean over the labels in truth or report (f1_of_all: over all, one that never occurs counts 0); example: "
     "mean "
     "over studies, 1 where neither has a label; rules of the lists: data/clinical.h"},
    {"diversity", "", "clauses end at punctuation and line ends; texts are compared byte by byte"},
    {"intervals", "",
     "2.5th and 97.5th percentile over resampled studies (ones in which a score is undefined do not count); "
     "CIDEr "
     "with the document frequencies of all studies; p: twice the smaller share of differences <= 0 and >= 0, "
     "with "
     "one added, not corrected for the number of comparisons"},
    {"empty reports", "", "a report without a word is scored as the word None"},
    {0},
};

/* Below these the percentile interval of a mean holds it in less than 93 of 100 samples. */
enum { SCORE_FEW = 30 };

static void print_tuples(FILE *out, const ScoreSystem *systems, int n, bool focal)
{
    fprintf(out, "\n%s\n",
            focal ? "Focal lesions of the brain tissue alone (low or high density in 11 places)"
                  : "All findings (entity, side, density)");
    fprintf(out, "%-18s %6s %11s %6s %6s %6s %11s %6s %11s%s\n", "", "F1", "", "P", "R", "macro", "", "side",
            "", focal ? "" : "  exact");
    for (int i = 0; i < n; i++) {
        const TupleScore *s = focal ? &systems[i].tuples.focal : &systems[i].tuples.all;
        const Interval *d = &systems[i].measures.interval[focal ? MEASURE_FOCAL : MEASURE_LESION];
        const Interval *macro =
            &systems[i].measures.interval[focal ? MEASURE_FOCAL_MACRO : MEASURE_LESION_MACRO];
        const Interval *side = &systems[i].measures.interval[focal ? MEASURE_FOCAL_SIDE : MEASURE_SIDE];
        fprintf(out, "%-18s %6s %11s %6s %6s %6s %11s %6s %11s", systems[i].name, score_share(s->f1),
                score_range(d), score_share(s->precision), score_share(s->recall), score_share(s->macro),
                score_range(macro), score_share(s->side), score_range(side));
        fprintf(out, focal ? "\n" : "  %s\n", score_share(systems[i].tuples.exact));
    }
}

static void print_text(FILE *out, const ScoreSheet *sheet, TextSplit split)
{
    fprintf(out, "\nText, %s\n%-18s %6s %6s %6s %6s %6s %8s %16s %6s\n", cutter_about(sheet->cutters.by[split]),
            "", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "(trailing space)", "CIDEr");
    for (int i = 0; i < sheet->n; i++) {
        const TextScore *t = &sheet->system[i].text[split].all;
        fprintf(out, "%-18s %6s %6s %6s %6s %6s %8s %16s %6s\n", sheet->system[i].name, score_share(t->bleu[0]),
                score_share(t->bleu[1]), score_share(t->bleu[2]), score_share(t->bleu[3]),
                score_share(t->meteor), score_share(t->rouge_l), score_share(t->rouge_l_space),
                score_share(t->cider));
    }
}

static void print_texts(FILE *out, const ScoreSheet *sheet)
{
    for (int i = 0; i < SPLIT_COUNT; i++)
        if (sheet->cutters.by[i]) print_text(out, sheet, (TextSplit)i);
}

static void bin_name(char name[32], const TupleBin *b)
{
    if (isinf(b->high_mm))
        snprintf(name, 32, ">= %g mm", b->low_mm);
    else
        snprintf(name, 32, "%g-%g mm", b->low_mm, b->high_mm);
}

static bool any_size(const ScoreSystem *s)
{
    for (int b = 0; b < TUPLES_SIZE_BINS; b++)
        if (s->tuples.size[b].truth) return true;
    return false;
}

static void print_sizes(FILE *out, const ScoreSystem *systems, int n, bool focal)
{
    fprintf(out, "\nBy lesion radius, %s: F1 (precision of all sizes, recall of this one) and side\n%-18s",
            focal ? "focal lesions of the brain tissue" : "all findings that have one", "");
    for (int b = 0; b < TUPLES_SIZE_BINS; b++) {
        const TupleBin *bin = focal ? &systems[0].tuples.focal_size[b] : &systems[0].tuples.size[b];
        char name[32], head[64];
        bin_name(name, bin);
        snprintf(head, sizeof head, "%s (%lld)", name, (long long)bin->truth);
        fprintf(out, " %17s", head);
    }
    fputc('\n', out);
    for (int i = 0; i < n; i++) {
        fprintf(out, "%-18s", systems[i].name);
        for (int b = 0; b < TUPLES_SIZE_BINS; b++) {
            const TupleBin *bin = focal ? &systems[i].tuples.focal_size[b] : &systems[i].tuples.size[b];
            fprintf(out, "     %6s %6s", bin->truth ? score_share(bin->f1) : "-", score_share(bin->side));
        }
        fputc('\n', out);
    }
}

/* The model's scores for each finding, and beside them the controls' F1. */
static void print_findings(FILE *out, const ScoreSheet *sheet)
{
    const ScoreSystem *systems = sheet->system;
    int n = sheet->n;
    fprintf(out, "\nBy finding\n%6s %6s %6s %6s %6s %6s", "true", "said", "F1", "P", "R", "side");
    score_print_names(out, sheet);
    fputs("  finding\n", out);
    for (int f = 0; f < FINDING_COUNT; f++) {
        const TupleScore *s = &systems[0].tuples.finding[f];
        if (!s->truth && !s->said) continue;
        fprintf(out, "%6lld %6lld %6s %6s %6s %6s", (long long)s->truth, (long long)s->said, score_share(s->f1),
                score_share(s->precision), score_share(s->recall), score_share(s->side));
        for (int i = 1; i < n; i++)
            fprintf(out, " %*s", score_column(&systems[i]), score_share(systems[i].tuples.finding[f].f1));
        const FindingKind *k = finding_kind(f);
        fprintf(out, "  %s %s (%s, %s)\n", entity_name(k->entity), density_name(k->density),
                entity_english(k->entity), density_english(k->density));
    }
}

static void print_counts(FILE *out, const char *path, const ReportCounts *c)
{
    if (!c->n_keys) return;
    fprintf(out, "%s: not read:", path);
    for (int i = 0; i < c->n_keys; i++)
        fprintf(out, "%s %s (%lld)", i ? "," : "", c->key[i].name, (long long)c->key[i].n);
    if (c->other_keys) fprintf(out, ", members with other names (%lld)", (long long)c->other_keys);
    fputc('\n', out);
}

/* What was scored, and what of the files was not. */
static void print_head(FILE *out, const ScoreSheet *s)
{
    const ScoreTruth *t = &s->truth;
    int empty = 0;
    for (int i = 0; i < t->n; i++) empty += report_empty(t->report[i]);
    fprintf(out, "%d studies with %lld findings; ", t->n, (long long)s->system[0].tuples.all.truth);
    if (t->n < 2)
        fputs("no ranges and no tests, which need two studies\n", out);
    else
        fprintf(out, "ranges hold 95 %% of the scores of %d resamplings of the studies (seed %llu)%s\n",
                s->bootstrap, (unsigned long long)s->seed,
                t->n < SCORE_FEW ? "; of so few studies they are too narrow, and p is too small" : "");
    fprintf(out, "%s: %d references, %d scored, %d of these without a word\n", s->truth_path, t->all, t->n,
            empty);
    print_counts(out, s->truth_path, &t->counts);
    for (int i = 0; i < s->n; i++) {
        const ScoreSystem *y = &s->system[i];
        if (!y->path) continue;
        fprintf(out, "%s: %d hypotheses, %d scored, %d of these without a word\n", y->path, y->counts.reports,
                t->n, y->empty);
        print_counts(out, y->path, &y->counts);
    }
}

void score_print(FILE *out, const ScoreSheet *s)
{
    const ScoreSystem *systems = s->system;
    int n = s->n;
    print_head(out, s);
    print_tuples(out, systems, n, false);
    print_tuples(out, systems, n, true);
    if (any_size(&systems[0])) {
        print_sizes(out, systems, n, false);
        print_sizes(out, systems, n, true);
    }
    print_texts(out, s);
    score_print_text_intervals(out, s);
    print_findings(out, s);
    score_print_clinical(out, s);
    score_print_diversity(out, s);
    score_print_paired(out, s);
    if (n > 1) fputs("\nControls and other models\n", out);
    for (int i = 1; i < n; i++) fprintf(out, "%-18s %s\n", systems[i].name, systems[i].how);
    fputs("\nHow\n", out);
    for (const ScoreAbout *a = score_about; a->metric; a++)
        fprintf(out, "%s: %s%s%s\n", a->metric, a->average, *a->average ? "; " : "", a->how);
}

void score_print_rows(FILE *out, const ScoreSheet *s)
{
    fputs("| system | tokenizer | B1 | B2 | B3 | B4 | M | R-L | C | F1 "
          "|\n|---|---|---|---|---|---|---|---|---|---|\n",
          out);
    for (int i = 0; i < s->n; i++) {
        const TextScore *t = &s->system[i].text[s->cutters.main].all;
        fprintf(out, "| %s | %s |", s->system[i].name, text_split_name(s->cutters.main));
        for (int k = 0; k < BLEU_ORDERS; k++) fprintf(out, " %.1f |", 100 * t->bleu[k]);
        fprintf(out, " %.1f | %.1f | %.1f | %.1f |\n", 100 * t->meteor, 100 * t->rouge_l, 100 * t->cider,
                100 * s->system[i].measures.list[LIST_MENTION].micro.f1);
    }
    fprintf(
        out,
        "\n%d studies, %d reports of %s without a word; times 100; B1 to B4 and M of the corpus, R-L (without "
        "a trailing space) and C means over studies\nF1: micro F1 of 24 keywords, mentioned or not "
        "(data/clinical_mention.def; the paper's own 24 are not public)\n",
        s->truth.n, s->system[0].empty, s->system[0].name);
}
