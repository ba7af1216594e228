#include "tools/table_page.h"
#include "data/file.h"
#include <math.h>
#include <string.h>

/* The page around the numbers: tools/results.md.in, whose {{NAMES}} are replaced. */
__asm__(".section .rodata\n"
        ".global results_template\n"
        "results_template:\n"
        ".incbin \"tools/results.md.in\"\n"
        ".byte 0\n"
        ".previous\n");
extern const char results_template[] __attribute__((visibility("hidden")));

static bool put_runs(FILE *f, const TablePage *p, Error *e)
{
    const Table *t = p->two;
    double seconds = 0;
    (void)e;
    fputs("Commit ", f);
    for (int i = 0; i < t->n; i++) {
        bool before = false;
        for (int k = 0; k < i; k++) before |= !strcmp(t->run[k].commit, t->run[i].commit);
        if (!before) fprintf(f, "%s`%s`", i ? ", " : "", t->run[i].commit);
        seconds += t->run[i].seconds;
    }
    fputs("; seeds ", f);
    for (int i = 0, n = 0; i < t->n; i++) {
        bool before = false;
        for (int k = 0; k < i; k++) before |= t->run[k].seed == t->run[i].seed;
        if (!before) fprintf(f, "%s%lld", n++ ? ", " : "", (long long)t->run[i].seed);
    }
    fprintf(f,
            "; %d run%s, %.0f s each, %.1f h together; %lld test studies, %lld with held-out combinations.\n",
            t->n, t->n == 1 ? "" : "s", t->n ? seconds / t->n : 0, seconds / 3600,
            t->n ? (long long)t->run[0].studies : 0, t->n ? (long long)t->run[0].held_out_studies : 0);
    return true;
}

static bool put_reads(FILE *f, const TablePage *p, Error *e) { return table_claim_reads(f, p->two, e); }
static bool put_side(FILE *f, const TablePage *p, Error *e) { return table_claim_side(f, p->two, e); }
static bool put_pairs(FILE *f, const TablePage *p, Error *e) { return table_claim_pairs(f, p->two, e); }
static bool put_held_out(FILE *f, const TablePage *p, Error *e) { return table_claim_held_out(f, p->two, e); }
static bool put_masks(FILE *f, const TablePage *p, Error *e) { return table_claim_masks(f, p->two, e); }
static bool put_retrieval(FILE *f, const TablePage *p, Error *e)
{
    return table_claim_retrieval(f, p->retrieval, p->retrieval_path, e);
}

/* "0.936 (0.930 to 0.939)". */
static void put_cell(FILE *f, const TableRange *r, bool sign)
{
    if (!r->n)
        fputs(" - |", f);
    else if (r->min == r->max)
        fprintf(f, sign ? " %+.3f |" : " %.3f |", r->mean);
    else
        fprintf(f, sign ? " %+.3f (%+.3f to %+.3f) |" : " %.3f (%.3f to %.3f) |", r->mean, r->min, r->max);
}

static bool put_clues(FILE *f, const TablePage *p, Error *e)
{
    static const int metric[] = {METRIC_LESION, METRIC_FOCAL, METRIC_SIDE, METRIC_HELD_OUT};
    (void)e;
    fputs("| | rows |", f);
    for (int i = 0; i < 4; i++) fprintf(f, " %s |", table_metric(metric[i])->name);
    fputs(" seeds | lesion F1 |\n|---|---|---|---|---|---|---|---|\n", f);
    for (int k = 0; k < TABLE_PAIRS; k++) {
        const TablePair *pair = table_pair(k);
        TableRange d = table_difference(p->two, pair, METRIC_LESION);
        if (!d.n) continue;
        fprintf(f, "| %s | %s - %s |", pair->what, table_row(pair->row)->name, table_row(pair->against)->name);
        for (int i = 0; i < 4; i++) {
            TableRange r = table_difference(p->two, pair, metric[i]);
            put_cell(f, &r, true);
        }
        fprintf(f, " %d | %s |\n", d.n, table_verdict(&d, table_noise(p->two)));
    }
    fprintf(f, "\nOne standard deviation of a single lesion F1 over resampled studies: %.3f.\n",
            table_noise(p->two));
    return true;
}

static bool put_two(FILE *f, const TablePage *p, Error *e)
{
    const Table *t = p->two;
    int first = -1;
    (void)e;
    fputs("| | losses | texts | seeds | s a run |", f);
    for (int m = 0; m < TABLE_METRICS; m++) fprintf(f, " %s |", table_metric(m)->name);
    fputs("\n|---|---|---|---|---|", f);
    for (int m = 0; m < TABLE_METRICS; m++) fputs("---|", f);
    fputc('\n', f);
    for (int row = 0; row < TABLE_ROWS; row++) {
        const TableRow *r = table_row(row);
        if (!table_runs(t, row)) continue;
        if (first < 0) first = row;
        for (int s = 0; s < t->n_systems; s++) {
            if (s && table_shared(t, s)) continue;
            if (s)
                fprintf(f, "| · %s | | | | |", t->system[s]);
            else
                fprintf(f, "| **%s** | %s | %s | %d | %.0f |", r->name, r->losses, r->texts, table_runs(t, row),
                        table_seconds(t, row).mean);
            for (int m = 0; m < TABLE_METRICS; m++) {
                TableRange x = table_range(t, row, s, m);
                put_cell(f, &x, false);
            }
            fputc('\n', f);
        }
    }
    for (int s = 1; first >= 0 && s < t->n_systems; s++) {
        if (!table_shared(t, s)) continue;
        fprintf(f, "| %s, in all runs | | | | |", t->system[s]);
        for (int m = 0; m < TABLE_METRICS; m++) {
            TableRange x = table_range(t, first, s, m);
            put_cell(f, &x, false);
        }
        fputc('\n', f);
    }
    fprintf(f, "\nWords of the text metrics by %s.\n", t->split);
    return true;
}

static bool put_one(FILE *f, const TablePage *p, Error *e)
{
    (void)e;
    if (p->one)
        table_one_markdown(f, p->one);
    else
        fputs("Not measured.\n", f);
    return true;
}

typedef bool Put(FILE *f, const TablePage *p, Error *e);
static const struct {
    const char *name;
    Put *put;
} slots[] = {{"RUNS", put_runs},   {"READS", put_reads},         {"SIDE", put_side},
             {"PAIRS", put_pairs}, {"HELD_OUT", put_held_out},   {"CLUES", put_clues},
             {"MASKS", put_masks}, {"RETRIEVAL", put_retrieval}, {"TABLE2", put_two},
             {"TABLE1", put_one}};

/* Writes what belongs to the name at `slot`, which ends with }}. */
static bool fill(FILE *f, const TablePage *p, const char *slot, Error *e)
{
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        size_t n = strlen(slots[i].name);
        if (!strncmp(slot, slots[i].name, n) && !strncmp(slot + n, "}}", 2)) return slots[i].put(f, p, e);
    }
    die("results.md.in: no slot {{%.20s", slot);
}

bool table_page_write(const char *path, const TablePage *p, Error *e)
{
    const char *rest = results_template, *slot;
    FileWriter w;
    if (!file_create(&w, path, e)) return false;
    while ((slot = strstr(rest, "{{"))) {
        fwrite(rest, 1, (size_t)(slot - rest), w.stream);
        if (!fill(w.stream, p, slot + 2, e)) {
            file_abandon(&w);
            return false;
        }
        rest = strstr(slot, "}}") + 2;
        rest += !strncmp(rest, "\n\n", 2); /* a section ends its last line itself */
    }
    fputs(rest, w.stream);
    return file_commit(&w, e);
}
