#include "tools/table_page.h"
#include <string.h>

/* ---- what is measured, and where it stands ---- */

/* The object of a system in a run, "model" or a control; NULL: the run does not have it. */
typedef const json_t *Where(const json_t *run, const char *system);
typedef bool Measure(const json_t *o, const char *what, Estimate *out, Error *e);

static const json_t *in_scores(const json_t *run, const char *system)
{
    const json_t *scores = json_object_get(run, "scores");
    return strcmp(system, "model") ? json_object_get(json_object_get(scores, "controls"), system) : scores;
}

static const json_t *named(const json_t *list, const char *name)
{
    size_t i;
    const json_t *one;
    json_array_foreach(list, i, one)
    {
        const char *text = json_string_value(json_object_get(one, "name"));
        if (text && !strcmp(text, name)) return one;
    }
    return NULL;
}

static const json_t *in_held_out(const json_t *run, const char *system)
{
    return named(table_find(run, "held_out/systems"), system);
}

static const json_t *in_systems(const json_t *run, const char *system)
{
    return named(table_find(run, "scores/systems"), system);
}

static const json_t *in_masks(const json_t *run, const char *system)
{
    return named(table_find(run, "scores/masks"), system);
}

static const json_t *in_pairs(const json_t *run, const char *system)
{
    if (!strcmp(system, "model")) return table_find(run, "scores/pairs/counterfactual/all");
    return strcmp(system, "shuffled") ? NULL : table_find(run, "scores/pairs/shuffled/all");
}

static bool lesion_f1(const json_t *o, const char *what, Estimate *out, Error *e)
{
    return table_estimate(o, "lesion/f1", what, out, e);
}

static bool side(const json_t *o, const char *what, Estimate *out, Error *e)
{
    return table_estimate(o, "lesion/side", what, out, e);
}

static bool follow(const json_t *o, const char *what, Estimate *out, Error *e)
{
    return table_estimate(o, "follow_share", what, out, e);
}

static bool dice(const json_t *o, const char *what, Estimate *out, Error *e)
{
    return table_estimate(o, "dice", what, out, e);
}

static bool held_out_recall(const json_t *o, const char *what, Estimate *out, Error *e)
{
    TableCounts c;
    if (!table_held_out(o, what, false, &c, e)) return false;
    *out = table_wilson(c.right, c.truth);
    return true;
}

static bool mirrored_recall(const json_t *o, const char *what, Estimate *out, Error *e)
{
    TableCounts c;
    if (!table_held_out(o, what, true, &c, e)) return false;
    *out = table_wilson(c.right, c.truth);
    return true;
}

typedef struct Claim {
    const char *quantity;
    Where *where;
    Measure *measure;
    const char
        *paired; /* its place in "paired": the model less a control on the same studies; NULL: not there */
} Claim;

/* Over a row's runs: the mean, and all that their intervals cover. */
static bool over_runs(const Table *t, int row, const Claim *c, const char *system, Estimate *out, Error *e)
{
    *out = (Estimate){0};
    for (int i = 0; i < t->n; i++) {
        Estimate one;
        char what[400];
        const json_t *o = t->run[i].row == row ? c->where(t->run[i].json, system) : NULL;
        if (!o) continue;
        snprintf(what, sizeof what, "%s: %s", t->run[i].path, system);
        if (!c->measure(o, what, &one, e)) return false;
        if (!one.n) continue;
        if (!out->n || one.low < out->low) out->low = one.low;
        if (!out->n || one.high > out->high) out->high = one.high;
        out->value += (one.value - out->value) / ++out->n;
    }
    return true;
}

/* "+0.748", and what the intervals of the difference cover over the row's runs, where they have it. */
static bool put_difference(FILE *f, const Table *t, int row, const Claim *c, const char *system,
                           double difference, Error *e)
{
    double low = 0, high = 0;
    int n = 0;
    fprintf(f, " %+.3f", difference);
    for (int i = 0; c->paired && i < t->n; i++) {
        const json_t *scores = json_object_get(t->run[i].json, "scores");
        const json_t *one = table_find(json_object_get(json_object_get(scores, "paired"), system), c->paired);
        const json_t *pair = json_object_get(one, "ci95"), *from = json_array_get(pair, 0),
                     *to = json_array_get(pair, 1);
        if (t->run[i].row != row || !one || json_is_null(from)) continue;
        if (json_array_size(pair) != 2 || !json_is_number(from) || !json_is_number(to))
            return error_set(e, ERROR_INPUT, "%s: paired: %s: \"%s\": expected \"ci95\", a pair of numbers",
                             t->run[i].path, system, c->paired);
        if (!n || json_number_value(from) < low) low = json_number_value(from);
        if (!n++ || json_number_value(to) > high) high = json_number_value(to);
    }
    if (n) fprintf(f, " (%+.3f to %+.3f)", low, high);
    fputs(" |", f);
    return true;
}

/* Names in a sentence: "a", "a and b", "a, b and c". */
static void put_names(FILE *f, const char *const *name, int n)
{
    for (int i = 0; i < n; i++) fprintf(f, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " and ", name[i]);
}

static void put_sentence(FILE *f, const char *who, const char *const *above, int n_above,
                         const char *const *level, int n_level, const char *const *below, int n_below)
{
    fprintf(f, "\n%s: ", who);
    if (!n_above && !n_level && !n_below) fputs("there is no control to compare with", f);
    if (n_above) fputs("the interval lies above ", f), put_names(f, above, n_above);
    if (n_level)
        fputs(n_above ? "; it overlaps with " : "the interval overlaps with ", f), put_names(f, level, n_level);
    if (n_below)
        fputs(n_above || n_level ? "; it lies below " : "the interval lies below ", f),
            put_names(f, below, n_below);
    fputs(".\n", f);
}

static bool put_row(FILE *f, const Table *t, int row, const Claim *c, const Estimate *model, Error *e)
{
    const char *list[3][TABLE_SYSTEMS];
    int n[3] = {0};
    fprintf(
        f,
        "\n| | %s | 95 %% interval | less | |\n|---|---|---|---|---|\n| **%s** | %.3f | %.3f to %.3f | | |\n",
        c->quantity, table_row(row)->name, model->value, model->low, model->high);
    for (int s = 1; s < t->n_systems; s++) {
        static const char *const verdict[] = {"below", "overlap", "above"};
        Estimate control;
        if (!over_runs(t, row, c, t->system[s], &control, e)) return false;
        if (!control.n) continue;
        int apart = table_apart(model, &control) + 1;
        fprintf(f, "| %s | %.3f | %.3f to %.3f |", t->system[s], control.value, control.low, control.high);
        if (!put_difference(f, t, row, c, t->system[s], model->value - control.value, e)) return false;
        fprintf(f, " %s |\n", verdict[apart]);
        list[apart][n[apart]++] = t->system[s];
    }
    put_sentence(f, table_row(row)->name, list[2], n[2], list[1], n[1], list[0], n[0]);
    return true;
}

static bool put_claim(FILE *f, const Table *t, const Claim *c, Error *e)
{
    static const int rows[] = {ROW_OURS, ROW_RELEASE};
    bool any = false;
    for (int i = 0; i < 2; i++) {
        Estimate model;
        if (!over_runs(t, rows[i], c, "model", &model, e)) return false;
        if (!model.n) continue;
        any = true;
        if (!put_row(f, t, rows[i], c, &model, e)) return false;
    }
    if (!any) fputs("\nNot measured: no run has it.\n", f);
    return true;
}

bool table_claim_reads(FILE *f, const Table *t, Error *e)
{
    return put_claim(f, t, &(Claim){"lesion F1", in_scores, lesion_f1, "lesion/f1"}, e);
}

bool table_claim_side(FILE *f, const Table *t, Error *e)
{
    return put_claim(f, t, &(Claim){"side accuracy", in_scores, side, "lesion/side"}, e);
}

bool table_claim_pairs(FILE *f, const Table *t, Error *e)
{
    return put_claim(f, t, &(Claim){"pairs that follow", in_pairs, follow, NULL}, e);
}

bool table_claim_held_out(FILE *f, const Table *t, Error *e)
{
    static const int rows[] = {ROW_OURS, ROW_RELEASE};
    if (!put_claim(f, t, &(Claim){"named, on the right side", in_held_out, held_out_recall, NULL}, e))
        return false;
    for (int i = 0; i < 2; i++) {
        Estimate x;
        if (!over_runs(t, rows[i], &(Claim){"", in_systems, mirrored_recall, NULL}, "model", &x, e))
            return false;
        if (x.n)
            fprintf(f, "\n%s: their mirror images in the test studies, %.3f (%.3f to %.3f).\n",
                    table_row(rows[i])->name, x.value, x.low, x.high);
    }
    return true;
}

bool table_claim_masks(FILE *f, const Table *t, Error *e)
{
    return put_claim(f, t, &(Claim){"Dice", in_masks, dice, NULL}, e);
}

/* ---- retrieval ---- */

/* A row's estimate over lesions from 12 mm. */
static bool retrieved(const json_t *rows, const char *name, const char *path, Estimate *out, Error *e)
{
    const json_t *one = named(rows, name), *size;
    char what[400];
    size_t i;
    snprintf(what, sizeof what, "%s: clues: %s", path, name);
    if (!one) return error_set(e, ERROR_INPUT, "%s: no such row", what);
    json_array_foreach(json_object_get(one, "by_size"), i, size)
    {
        if (json_number_value(json_object_get(size, "low_mm")) != 12 ||
            !json_is_null(json_object_get(size, "high_mm")))
            continue;
        return table_estimate(size, "value", what, out, e);
    }
    return error_set(e, ERROR_INPUT, "%s: by_size has nothing from 12 mm", what);
}

bool table_claim_retrieval(FILE *f, const json_t *scores, const char *path, Error *e)
{
    static const struct {
        const char *what, *row, *control, *control_name;
    } pairs[] = {
        {"lesions covered by a mask, before the filter", "before the filter",
         "another patient's, before the filter", "another patient's masks"},
        {"lesions covered by a mask, after it", "filter size", "another patient's, filter size",
         "another patient's masks"},
        {"findings whose mask was retrieved first", "model, top-1", "random, top-1", "a random mask"},
        {"Dice of the mask retrieved", "model, Dice", "random, Dice", "a random mask"},
    };
    enum { N = sizeof pairs / sizeof *pairs };
    int n[3] = {0};
    json_t *clues, *rows;
    int64_t studies;
    if (!scores) {
        fputs("\nNot measured.\n", f);
        return true;
    }
    if (!json_get_object(scores, "clues", path, &clues, e) || !json_get_array(clues, "rows", path, &rows, e) ||
        !json_get_int(clues, "studies", path, &studies, e))
        return false;
    fprintf(f,
            "\n%lld studies, lesions from 12 mm.\n\n| | | 95 %% interval | control | | 95 %% interval | "
            "|\n|---|---|---|---|---|---|---|\n",
            (long long)studies);
    for (size_t i = 0; i < N; i++) {
        static const char *const verdict[] = {"below", "overlap", "above"};
        Estimate model, control;
        if (!retrieved(rows, pairs[i].row, path, &model, e) ||
            !retrieved(rows, pairs[i].control, path, &control, e))
            return false;
        if (!model.n || !control.n) continue;
        int apart = table_apart(&model, &control) + 1;
        fprintf(f, "| %s | %.3f | %.3f to %.3f | %s | %.3f | %.3f to %.3f | %s |\n", pairs[i].what, model.value,
                model.low, model.high, pairs[i].control_name, control.value, control.low, control.high,
                verdict[apart]);
        n[apart]++;
    }
    fprintf(f, "\nAbove their control: %d; overlapping with it: %d; below it: %d.\n", n[2], n[1], n[0]);
    return true;
}
