#include "tools/score_clues.h"
#include "tools/score_tables.h"
#include <math.h>

static const char *const size_names[CLUE_SIZES] = {"< 6 mm",   "6-12 mm",  "12-24 mm",
                                                   ">= 24 mm", ">= 12 mm", "all"};
static const double size_low[CLUE_SIZES] = {0, 6, 12, 24, 12, 0},
                    size_high[CLUE_SIZES] = {6, 12, 24, INFINITY, INFINITY, INFINITY};
static const char *const kind_names[2] = {"All focal findings", "Without subarachnoid blood"};

static void print_rows(FILE *out, const ClueScores *s, bool of_gallery, int kind)
{
    const ClueRow *first = NULL;
    for (int i = 0; i < s->n && !first; i++)
        if (s->row[i].of_gallery == of_gallery) first = &s->row[i];
    if (!first) return;
    fprintf(out, "%-38s", kind_names[kind]);
    for (int b = 0; b < CLUE_SIZES; b++) {
        char head[48];
        snprintf(head, sizeof head, "%s (%lld)", size_names[b], (long long)first->count[kind * CLUE_SIZES + b]);
        fprintf(out, "  %17s", head);
    }
    fputc('\n', out);
    for (int i = 0; i < s->n; i++) {
        const ClueRow *r = &s->row[i];
        if (r->of_gallery != of_gallery) continue;
        fprintf(out, "  %-36s", r->name);
        for (int b = 0; b < CLUE_SIZES; b++) {
            int c = kind * CLUE_SIZES + b;
            fprintf(out, "  %5s %11s", score_share(r->value[c]), score_range(&r->interval[c]));
        }
        fputc('\n', out);
    }
}

/* Every row's ratio for each finding, all sizes together. */
static void print_findings(FILE *out, const ClueScores *s)
{
    fputs("\nClues by finding, all sizes (rows as above)\n", out);
    for (int f = 0; f < FINDING_COUNT; f++) {
        const FindingKind *k = finding_kind(f);
        int c = (2 + f) * CLUE_SIZES + CLUE_SIZES - 1;
        bool any = false;
        for (int i = 0; i < s->n; i++) any |= s->row[i].count[c] > 0;
        if (!any) continue;
        for (int i = 0; i < s->n; i++) {
            bool head = !i || s->row[i].of_gallery != s->row[i - 1].of_gallery;
            if (head)
                fprintf(out, "%s%5lld %s:", i ? "  " : "", (long long)s->row[i].count[c],
                        s->row[i].of_gallery ? "lesions" : "findings");
            if (isnan(s->row[i].value[c]))
                fprintf(out, " %5s", "-");
            else
                fprintf(out, " %5.3f", s->row[i].value[c]);
        }
        fprintf(out, "  %s %s (%s, %s)\n", entity_name(k->entity), density_name(k->density),
                entity_english(k->entity), density_english(k->density));
    }
}

void score_clues_print(FILE *out, const ClueScores *s)
{
    bool gallery = false, clues = false;
    for (int i = 0; i < s->n; i++) s->row[i].of_gallery ? (gallery = true) : (clues = true);
    fprintf(out, "\nClues of %d studies", s->studies);
    if (s->skipped) fprintf(out, " (%d left out: no gallery or no clues)", s->skipped);
    fputs(
        "; ranges hold 95 % of the scores of resampled studies\n"
        "Counted: focal findings with masks. A lesion is a connected part of one on one side (of subarachnoid\n"
        "blood: all of a side), looked at where it is largest; its size is the diameter of the circle of that "
        "area.\n",
        out);
    if (gallery)
        fputs(
            "\nMasks: share of the lesions that a mask of the gallery covers (IoU at least 0.5, same slice)\n",
            out);
    for (int k = 0; gallery && k < 2; k++) print_rows(out, s, true, k);
    if (clues)
        fputs("\nRetrieval: top-1, share of the findings whose clue's mask has an IoU of at least 0.5 with the "
              "left, the "
              "right or\nboth sides' mask in its slice, and the best Dice; by the finding's largest lesion\n",
              out);
    for (int k = 0; clues && k < 2; k++) print_rows(out, s, false, k);
    print_findings(out, s);
}

static json_t *kind_json(const ClueRow *r, int kind)
{
    json_t *sizes = json_array();
    for (int b = 0; b < CLUE_SIZES; b++) {
        int c = kind * CLUE_SIZES + b;
        json_array_append_new(sizes, json_pack("{s:f, s:o, s:I, s:o, s:o, s:{s:o}}", "low_mm", size_low[b],
                                               "high_mm", score_number(size_high[b]), "n",
                                               (json_int_t)r->count[c], "value", score_number(r->value[c]),
                                               "sd", score_number(isnan(r->value[c]) ? NAN : r->interval[c].sd),
                                               "intervals", "value", score_interval(&r->interval[c])));
    }
    return sizes;
}

static json_t *clues_json(const void *context)
{
    const ClueScores *s = context;
    json_t *rows = json_array();
    for (int i = 0; i < s->n; i++) {
        const ClueRow *r = &s->row[i];
        json_t *findings = json_array();
        for (int f = 0; f < FINDING_COUNT; f++) {
            if (!r->count[(2 + f) * CLUE_SIZES + CLUE_SIZES - 1]) continue;
            json_array_append_new(findings,
                                  json_pack("{s:s, s:s, s:o}", "entity", entity_name(finding_kind(f)->entity),
                                            "density", density_name(finding_kind(f)->density), "by_size",
                                            kind_json(r, 2 + f)));
        }
        json_array_append_new(rows,
                              json_pack("{s:s, s:s, s:o, s:o, s:o}", "name", r->name, "of",
                                        r->of_gallery ? "lesions" : "findings", "by_size", kind_json(r, 0),
                                        "without_subarachnoid_by_size", kind_json(r, 1), "findings", findings));
    }
    return json_pack("{s:i, s:i, s:o}", "studies", s->studies, "skipped", s->skipped, "rows", rows);
}

json_t *score_clues_json(const ClueScores *s) { return json_make(clues_json, s); }
