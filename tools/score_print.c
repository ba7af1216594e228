#include "tools/score.h"
#include <math.h>
#include <string.h>

/* A share, "-" where it is undefined. Rotating buffers, so that one printf may take several. */
static const char *share(double x)
{
    static char text[16][16];
    static int next;
    char *s = text[next++ % 16];
    if (isnan(x)) return strcpy(s, "-");
    snprintf(s, sizeof text[0], "%.3f", x);
    return s;
}

/* The standard deviation of value, blank where that is undefined. */
static const char *spread(double value, double x)
{
    static char text[8][16];
    static int next;
    char *s = text[next++ % 8];
    if (isnan(value)) return strcpy(s, "");
    snprintf(s, sizeof text[0], "+-%.3f", x);
    return s;
}

static void print_tuples(FILE *out, const ScoreSystem *systems, int n, bool focal)
{
    fprintf(out, "\n%s\n",
            focal ? "Focal lesions of the brain tissue alone (low or high density in 11 places)"
                  : "All findings (entity, side, density)");
    fprintf(out, "%-18s %6s %8s %6s %6s %6s %8s %6s %8s%s\n", "", "F1", "", "P", "R", "macro", "", "side", "",
            focal ? "" : "  exact");
    for (int i = 0; i < n; i++) {
        const TupleScore *s = focal ? &systems[i].tuples.focal : &systems[i].tuples.all;
        const TupleSpread *d = &systems[i].spread;
        fprintf(out, "%-18s %6s %8s %6s %6s %6s %8s %6s %8s", systems[i].name, share(s->f1),
                spread(s->f1, focal ? d->focal_f1 : d->f1), share(s->precision), share(s->recall),
                share(s->macro), spread(s->macro, focal ? d->focal_macro : d->macro), share(s->side),
                spread(s->side, focal ? d->focal_side : d->side));
        fprintf(out, focal ? "\n" : "  %s\n", share(systems[i].tuples.exact));
    }
}

static void print_text(FILE *out, const ScoreSystem *systems, int n)
{
    for (int tokens = 0; tokens < 2; tokens++) {
        if (tokens && !systems[0].has_tokens) continue;
        fprintf(out, "\nText, %s\n%-18s %6s %6s %6s %6s %8s\n",
                tokens ? "by the tokenizer's tokens" : "character by character", "", "BLEU-1", "BLEU-2",
                "BLEU-3", "BLEU-4", "ROUGE-L");
        for (int i = 0; i < n; i++) {
            const ScoreText *t = tokens ? &systems[i].tokens : &systems[i].characters;
            fprintf(out, "%-18s %6s %6s %6s %6s %8s\n", systems[i].name, share(t->bleu[0]), share(t->bleu[1]),
                    share(t->bleu[2]), share(t->bleu[3]), share(t->rouge_l));
        }
    }
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
            fprintf(out, "     %6s %6s", bin->truth ? share(bin->f1) : "-", share(bin->side));
        }
        fputc('\n', out);
    }
}

/* The model's scores for each finding, and beside them the controls' F1. */
static void print_findings(FILE *out, const ScoreSystem *systems, int n)
{
    fprintf(out, "\nBy finding\n%6s %6s %6s %6s %6s %6s", "true", "said", "F1", "P", "R", "side");
    for (int i = 1; i < n; i++) fprintf(out, " %8.8s", systems[i].name);
    fputs("  finding\n", out);
    for (int f = 0; f < FINDING_COUNT; f++) {
        const TupleScore *s = &systems[0].tuples.finding[f];
        if (!s->truth && !s->said) continue;
        fprintf(out, "%6lld %6lld %6s %6s %6s %6s", (long long)s->truth, (long long)s->said, share(s->f1),
                share(s->precision), share(s->recall), share(s->side));
        for (int i = 1; i < n; i++) fprintf(out, " %8s", share(systems[i].tuples.finding[f].f1));
        const FindingKind *k = finding_kind(f);
        fprintf(out, "  %s %s (%s, %s)\n", entity_name(k->entity), density_name(k->density),
                entity_english(k->entity), density_english(k->density));
    }
}

void score_print(FILE *out, const ScoreTruth *t, const ScoreSystem *systems, int n)
{
    fprintf(out, "%d studies with %lld findings; +- is one standard deviation over resampled studies\n", t->n,
            (long long)systems[0].tuples.all.truth);
    print_tuples(out, systems, n, false);
    print_tuples(out, systems, n, true);
    if (any_size(&systems[0])) {
        print_sizes(out, systems, n, false);
        print_sizes(out, systems, n, true);
    }
    print_text(out, systems, n);
    print_findings(out, systems, n);
    if (n > 1) fputs("\nControls\n", out);
    for (int i = 1; i < n; i++) fprintf(out, "%-18s %s\n", systems[i].name, systems[i].how);
}

json_t *score_number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

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

static json_t *text_json(const ScoreText *t)
{
    return json_pack("{s:[f,f,f,f], s:f}", "bleu", t->bleu[0], t->bleu[1], t->bleu[2], t->bleu[3], "rouge_l",
                     t->rouge_l);
}

static json_t *findings_json(const TupleScores *s)
{
    json_t *list = json_array();
    for (int f = 0; f < FINDING_COUNT; f++) {
        const FindingKind *k = finding_kind(f);
        json_t *one = tuple_json(&s->finding[f]);
        json_object_del(one, "macro_f1");
        json_object_del(one, "macro_findings");
        json_object_set_new(one, "entity", json_string(entity_name(k->entity)));
        json_object_set_new(one, "density", json_string(density_name(k->density)));
        json_array_append_new(list, one);
    }
    return list;
}

static json_t *system_json(const ScoreSystem *s)
{
    const TupleSpread *d = &s->spread;
    json_t *sd = json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "f1", d->f1, "macro_f1", d->macro, "side",
                           d->side, "focal_f1", d->focal_f1, "focal_macro_f1", d->focal_macro, "focal_side",
                           d->focal_side, "exact", d->exact);
    json_t *o = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", s->name, "how", s->how,
                          "all", tuple_json(&s->tuples.all), "focal", tuple_json(&s->tuples.focal), "exact",
                          score_number(s->tuples.exact), "sd", sd, "by_size", bins_json(s->tuples.size),
                          "focal_by_size", bins_json(s->tuples.focal_size), "characters",
                          text_json(&s->characters), "findings", findings_json(&s->tuples));
    if (s->has_tokens) json_object_set_new(o, "tokens", text_json(&s->tokens));
    return o;
}

json_t *score_json(const ScoreTruth *t, const ScoreSystem *systems, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, system_json(&systems[i]));
    return json_pack("{s:i, s:o}", "studies", t->n, "systems", list);
}
