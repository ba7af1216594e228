#include "tools/table.h"
#include <math.h>
#include <string.h>

enum { CELL = 12, HEAD = 37 };
static const int about_findings[] = {METRIC_LESION,   METRIC_MACRO,   METRIC_FOCAL,  METRIC_SIDE,
                                     METRIC_HELD_OUT, METRIC_MENTION, METRIC_FINDING};
static const int about_text[] = {METRIC_BLEU4, METRIC_METEOR, METRIC_ROUGE, METRIC_CIDER};
static const int compared[] = {METRIC_LESION, METRIC_FOCAL, METRIC_SIDE, METRIC_HELD_OUT, METRIC_FINDING};

typedef struct Columns {
    const int *metric;
    int n;
} Columns;

static void put_mean(FILE *out, const TableRange *r)
{
    if (r->n)
        fprintf(out, " %*.3f", CELL - 1, r->mean);
    else
        fprintf(out, " %*s", CELL - 1, "-");
}

/* %.3f without a "-" before a zero. */
static double tidy(double x) { return fabs(x) < 0.0005 ? 0 : x; }

static void put_range(FILE *out, const TableRange *r, bool sign)
{
    char text[32] = "";
    if (r->n && sign)
        snprintf(text, sizeof text, "%+.3f..%+.3f", tidy(r->min), tidy(r->max));
    else if (r->n)
        snprintf(text, sizeof text, "%.3f-%.3f", r->min, r->max);
    fprintf(out, " %*s", (sign ? CELL + 4 : CELL) - 1, text);
}

/* A row's or a control's line of means, and one of ranges where there are several runs. */
static void put_lines(FILE *out, const Table *t, int row, int system, const Columns *c)
{
    for (int i = 0; i < c->n; i++) {
        TableRange r = table_range(t, row, system, c->metric[i]);
        put_mean(out, &r);
    }
    if (!system && c->metric == about_findings) {
        TableRange s = table_seconds(t, row);
        fprintf(out, " %6d %7.0f", table_runs(t, row), s.mean);
    }
    fputc('\n', out);
    if (table_runs(t, row) < 2 || table_shared(t, system)) return;
    fprintf(out, "%*s", HEAD, "");
    for (int i = 0; i < c->n; i++) {
        TableRange r = table_range(t, row, system, c->metric[i]);
        put_range(out, &r, false);
    }
    fputc('\n', out);
}

static void put_block(FILE *out, const Table *t, const char *title, const Columns *c)
{
    bool findings = c->metric == about_findings;
    fprintf(out, "\n%s\n%-18s %-8s %-9s", title, "", "losses", "texts by");
    for (int i = 0; i < c->n; i++) fprintf(out, " %*s", CELL - 1, table_metric(c->metric[i])->name);
    fputs(findings ? "  seeds s a run\n" : "\n", out);
    int first = -1;
    for (int row = 0; row < TABLE_ROWS; row++) {
        const TableRow *r = table_row(row);
        if (!table_runs(t, row)) continue;
        if (first < 0) first = row;
        fprintf(out, "%-18s %-8s %-9s", r->name, r->losses, r->texts);
        put_lines(out, t, row, 0, c);
        for (int s = 1; s < t->n_systems; s++) {
            if (table_shared(t, s)) continue;
            fprintf(out, "  %-*.*s", HEAD - 2, HEAD - 2, t->system[s]);
            put_lines(out, t, row, s, c);
        }
    }
    bool any = false;
    for (int s = 1; s < t->n_systems; s++) {
        if (!table_shared(t, s)) continue;
        if (!any) fputs("controls with the same reports in every run\n", out);
        any = true;
        fprintf(out, "  %-*.*s", HEAD - 2, HEAD - 2, t->system[s]);
        put_lines(out, t, first, s, c);
    }
}

static void put_pairs(FILE *out, const Table *t)
{
    enum { N = sizeof compared / sizeof *compared };
    double noise = table_noise(t);
    fprintf(out,
            "\nWhat each clue does: differences in the same seed, mean and range; the verdict is on lesion "
            "F1\n%-47s",
            "");
    for (int i = 0; i < N; i++) fprintf(out, " %*s", CELL + 3, table_metric(compared[i])->name);
    fputs("  seeds  verdict\n", out);
    for (int p = 0; p < TABLE_PAIRS; p++) {
        const TablePair *pair = table_pair(p);
        char rows[64];
        TableRange d[N];
        for (int i = 0; i < N; i++) d[i] = table_difference(t, pair, compared[i]);
        if (!d[0].n) continue;
        snprintf(rows, sizeof rows, "%s - %s", table_row(pair->row)->key, table_row(pair->against)->key);
        fprintf(out, "%-23s %-23s", pair->what, rows);
        for (int i = 0; i < N; i++)
            if (d[i].n)
                fprintf(out, " %+*.3f", CELL + 3, tidy(d[i].mean));
            else
                fprintf(out, " %*s", CELL + 3, "-");
        fprintf(out, " %6d  %s\n", d[0].n, table_verdict(&d[0], noise));
        if (d[0].n < 2) continue;
        fprintf(out, "%47s", "");
        for (int i = 0; i < N; i++) put_range(out, &d[i], true);
        fputc('\n', out);
    }
    fprintf(out,
            "A clue helps (harms) if lesion F1 rises (falls) in every one of three seeds or more, and on "
            "average by more than %.3f, "
            "one standard deviation of "
            "a\nsingle score over resampled studies. Of a clue that does nothing, three seeds have one sign "
            "once in four times.\n",
            noise);
}

static bool has_seed(const Table *t, int row, int64_t seed)
{
    for (int i = 0; i < t->n; i++)
        if (t->run[i].row == row && t->run[i].seed == seed) return true;
    return false;
}

static bool seed_before(const Table *t, int run)
{
    for (int i = 0; i < run; i++)
        if (t->run[i].seed == t->run[run].seed) return true;
    return false;
}

/* What a reader of the table should know: missing rows, seeds that not every row has, several commits. */
static void put_notes(FILE *out, const Table *t)
{
    for (int row = 0; row < TABLE_ROWS; row++)
        if (!table_runs(t, row)) fprintf(out, "note: no run of row %s\n", table_row(row)->name);
    for (int i = 0; i < t->n; i++)
        for (int row = 0; !seed_before(t, i) && row < TABLE_ROWS; row++)
            if (table_runs(t, row) && !has_seed(t, row, t->run[i].seed))
                fprintf(out, "note: row %s has no seed %lld: not compared there\n", table_row(row)->name,
                        (long long)t->run[i].seed);
    for (int i = 1; i < t->n; i++) {
        if (strcmp(t->run[i].commit, t->run[0].commit))
            fprintf(out, "note: %s is of commit %s, %s of %s\n", t->run[i].path, t->run[i].commit,
                    t->run[0].path, t->run[0].commit);
        if (t->run[i].studies != t->run[0].studies || t->run[i].held_out_studies != t->run[0].held_out_studies)
            fprintf(out, "note: %s scored %lld and %lld studies, %s %lld and %lld\n", t->run[i].path,
                    (long long)t->run[i].studies, (long long)t->run[i].held_out_studies, t->run[0].path,
                    (long long)t->run[0].studies, (long long)t->run[0].held_out_studies);
    }
}

void table_print(FILE *out, const Table *t)
{
    if (!t->n) return;
    Columns findings = {about_findings, sizeof about_findings / sizeof *about_findings},
            text = {about_text, sizeof about_text / sizeof *about_text};
    fprintf(out,
            "Table 2: %d runs on %lld test studies (held-out F1: %lld studies), commit %s. Mean over seeds, "
            "below it the range.\n"
            "Losses beside report generation: S segmentation, E entities, T themes.\n",
            t->n, (long long)t->run[0].studies, (long long)t->run[0].held_out_studies, t->run[0].commit);
    put_block(out, t, "Findings", &findings);
    char title[64];
    snprintf(title, sizeof title, "Text, words by %s", t->split);
    put_block(out, t, title, &text);
    put_pairs(out, t);
    put_notes(out, t);
}
