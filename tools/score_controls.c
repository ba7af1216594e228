#include "tools/score_controls.h"
#include "losses/bleu.h"
#include "tensor/rng.h"
#include <stdlib.h>
#include <string.h>

static bool no_memory(Error *e, int n)
{
    return error_set(e, ERROR_MEMORY, "no memory to choose a control from %d reports", n);
}

/* ---- constant reports ---- */

typedef struct Common {
    const char *report;
    int first, times;
} Common;

static int compare_reports(const void *a, const void *b)
{
    const Common *x = a, *y = b;
    int order = strcmp(x->report, y->report);
    return order ? order : (x->first > y->first) - (x->first < y->first);
}

static int compare_times(const void *a, const void *b)
{
    const Common *x = a, *y = b;
    return x->times != y->times ? (x->times < y->times ? 1 : -1)
                                : (x->first > y->first) - (x->first < y->first);
}

/* The distinct reports, commonest first, malloc'ed; NULL without memory. */
static Common *rank(const char *const *report, int n, int *distinct, Error *e)
{
    Common *c = calloc((size_t)n + 1, sizeof *c);
    if (!c) {
        no_memory(e, n);
        return NULL;
    }
    int k = 0;
    for (int i = 0; i < n; i++) c[i] = (Common){report[i], i, 1};
    qsort(c, (size_t)n, sizeof *c, compare_reports);
    for (int i = 0; i < n; i++) {
        if (k && !strcmp(c[k - 1].report, c[i].report))
            c[k - 1].times++;
        else
            c[k++] = c[i];
    }
    qsort(c, (size_t)k, sizeof *c, compare_times);
    *distinct = k;
    return c;
}

bool control_commonest(const ControlTrain *t, ControlChoice *out, Error *e)
{
    int n;
    Common *c = rank(t->report, t->n, &n, e);
    if (!c) return false;
    *out = (ControlChoice){c[0].report, c[0].times, n, (double)c[0].times / t->n};
    free(c);
    return true;
}

/* BLEU-4 of each of m reports, given to every training study. */
static bool constant_bleu(const ControlTrain *t, const Common *c, int m, double *score, Error *e)
{
    Tokens *said = calloc((size_t)m + (size_t)t->n, sizeof *said), *truth = said + m;
    BleuCounts *sum = calloc((size_t)m, sizeof *sum);
    bool ok = (said && sum) || no_memory(e, t->n);
    for (int j = 0; ok && j < m; j++) ok = words_characters(c[j].report, &said[j], e);
    for (int i = 0; ok && i < t->n; i++) ok = words_characters(t->report[i], &truth[i], e);
    ok = ok && bleu_constants(said, m, truth, t->n, sum, e);
    for (int j = 0; ok && j < m; j++) {
        double bleu[BLEU_ORDERS];
        bleu_from_counts(&sum[j], bleu);
        score[j] = bleu[BLEU_ORDERS - 1];
    }
    for (int i = 0; said && i < m + t->n; i++) tokens_free(&said[i]);
    free(said);
    free(sum);
    return ok;
}

bool control_best_text(const ControlTrain *t, ControlChoice *out, Error *e)
{
    int n;
    double score[CONTROL_COMMONEST];
    Common *c = rank(t->report, t->n, &n, e);
    if (!c) return false;
    if (n > CONTROL_COMMONEST) n = CONTROL_COMMONEST;
    bool ok = constant_bleu(t, c, n, score, e);
    for (int j = 0, best = 0; ok && j < n; j++) {
        if (score[j] > score[best]) best = j;
        *out = (ControlChoice){c[best].report, c[best].times, n, score[best]};
    }
    free(c);
    return ok;
}

/* Micro F1 of one report given to every study. */
static double constant_f1(const FindingSet *truth, int n, const char *report)
{
    FindingSet said = findings_parse(report);
    int64_t right = 0, total = 0;
    for (int i = 0; i < n; i++) {
        total += truth[i].other + said.other;
        for (int f = 0; f < FINDING_COUNT; f++) {
            right += said.side[f] && said.side[f] == truth[i].side[f];
            total += (said.side[f] != 0) + (truth[i].side[f] != 0);
        }
    }
    return total ? 2 * (double)right / (double)total : 0;
}

bool control_best_findings(const ControlTrain *t, ControlChoice *out, Error *e)
{
    int n;
    FindingSet *truth = calloc((size_t)t->n, sizeof *truth);
    Common *c = truth ? rank(t->report, t->n, &n, e) : NULL;
    if (!truth) no_memory(e, t->n);
    for (int i = 0; c && i < t->n; i++) truth[i] = findings_parse(t->report[i]);
    int tried = 0;
    for (int i = 0; c && i < n; i++) { /* the commonest, and of the rest those among the first */
        if (i >= CONTROL_COMMONEST && c[i].first >= CONTROL_FIRST) continue;
        double f1 = constant_f1(truth, t->n, c[i].report);
        if (!tried++ || f1 > out->score) *out = (ControlChoice){c[i].report, c[i].times, 0, f1};
    }
    bool ok = c != NULL;
    if (ok) out->tried = tried;
    free(c);
    free(truth);
    return ok;
}

/* ---- the wrong reports ---- */

void control_random(const ControlTrain *t, int n, uint64_t seed, const char **report)
{
    Rng rng = rng_open(seed, "random training report");
    for (int i = 0; i < n; i++) report[i] = t->report[rng_below(&rng, t->n)];
}

void control_shuffled(int n, uint64_t seed, int *from)
{
    Rng rng = rng_open(seed, "reports of other studies");
    for (int i = 0; i < n; i++) from[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = (int)rng_below(&rng, i), kept = from[i];
        from[i] = from[j];
        from[j] = kept;
    }
}

/* ---- diversity ---- */

typedef struct Span {
    const char *text;
    size_t n;
} Span;

static int compare_spans(const void *a, const void *b)
{
    const Span *x = a, *y = b;
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return memcmp(x->text, y->text, x->n);
}

/* Sorts the spans; the most that are equal goes to *most. */
static int64_t count_distinct(Span *s, int64_t n, int64_t *most)
{
    int64_t distinct = 0, run = 0;
    qsort(s, (size_t)n, sizeof *s, compare_spans);
    *most = 0;
    for (int64_t i = 0; i < n; i++) {
        bool same = i && !compare_spans(&s[i - 1], &s[i]);
        run = same ? run + 1 : 1;
        distinct += !same;
        if (run > *most) *most = run;
    }
    return distinct;
}

/* The clauses of a text into s, or only how many, where s is NULL. */
static int64_t clauses(const char *text, Span *s)
{
    int64_t n = 0;
    while (*text) {
        size_t end = 0, gap;
        while (text[end] && !findings_separator(text + end)) end++;
        gap = text[end] ? findings_separator(text + end) : 0;
        size_t from = 0, to = end;
        while (from < to && strchr(" \t", text[from])) from++;
        while (to > from && strchr(" \t", text[to - 1])) to--;
        if (to > from) {
            if (s) s[n] = (Span){text + from, to - from};
            n++;
        }
        text += end + gap;
    }
    return n;
}

bool diversity_count(const char *const *reports, int n, Diversity *out, Error *e)
{
    *out = (Diversity){.reports = n};
    for (int i = 0; i < n; i++) out->clauses += clauses(reports[i], NULL);
    Span *s = calloc((size_t)(out->clauses > n ? out->clauses : n) + 1, sizeof *s);
    if (!s) return error_set(e, ERROR_MEMORY, "no memory to compare %d reports", n);
    for (int i = 0; i < n; i++) s[i] = (Span){reports[i], strlen(reports[i])};
    out->distinct_reports = count_distinct(s, n, &out->commonest);
    int64_t used = 0, most;
    for (int i = 0; i < n; i++) used += clauses(reports[i], s + used);
    out->distinct_clauses = count_distinct(s, used, &most);
    free(s);
    return true;
}
