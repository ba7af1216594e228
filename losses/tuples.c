/* Counting tuples. Micro scores add the counts of all studies first; macro is the plain mean of the findings'
 * F1; side accuracy looks at sided findings that both sets name, whatever else they get wrong. */
#include "losses/tuples.h"
#include <stdlib.h>
#include <string.h>

static const double SIZE_EDGES[TUPLES_SIZE_BINS] = {0, 6, 9, 14}; /* mm, lower edges */

static double share(int64_t part, int64_t whole) { return whole ? (double)part / (double)whole : 0; }

static void count(TupleScore *s, bool sided, uint8_t truth, uint8_t said)
{
    s->truth += truth != 0;
    s->said += said != 0;
    if (!truth || !said) return;
    s->right += truth == said;
    s->side_n += sided;
    s->side_right += sided && truth == said;
}

static void finish(TupleScore *s)
{
    s->precision = share(s->right, s->said);
    s->recall = share(s->right, s->truth);
    s->f1 = share(2 * s->right, s->said + s->truth);
    s->side = s->side_n ? share(s->side_right, s->side_n) : NAN;
}

static void count_size(TupleBin bins[TUPLES_SIZE_BINS], double radius, bool sided, uint8_t truth, uint8_t said)
{
    if (!truth || !(radius > 0)) return;
    int b = TUPLES_SIZE_BINS - 1;
    while (b && radius < bins[b].low_mm) b--;
    bins[b].truth++;
    bins[b].found += said != 0;
    bins[b].right += said == truth;
    bins[b].side_n += said && sided;
    bins[b].side_right += said && sided && said == truth;
}

static void finish_sizes(TupleBin bins[TUPLES_SIZE_BINS], double precision)
{
    for (int b = 0; b < TUPLES_SIZE_BINS; b++) {
        bins[b].recall = share(bins[b].right, bins[b].truth);
        double sum = precision + bins[b].recall;
        bins[b].f1 = sum > 0 ? 2 * precision * bins[b].recall / sum : 0;
        bins[b].side = bins[b].side_n ? share(bins[b].side_right, bins[b].side_n) : NAN;
    }
}

/* The precision of the findings that have a size in the truth somewhere: the focal kinds, collections too. */
static double sized_precision(const TupleScores *s, const bool *sized, int n)
{
    int64_t right = 0, said = 0;
    for (int f = 0; f < n; f++) {
        right += sized[f] ? s->finding[f].right : 0;
        said += sized[f] ? s->finding[f].said : 0;
    }
    return share(right, said);
}

static void start_sizes(TupleScores *s)
{
    for (int b = 0; b < TUPLES_SIZE_BINS; b++) {
        double high = b + 1 < TUPLES_SIZE_BINS ? SIZE_EDGES[b + 1] : INFINITY;
        s->size[b] = s->focal_size[b] = (TupleBin){.low_mm = SIZE_EDGES[b], .high_mm = high};
    }
}

/* Means over the findings that have been named. */
static void finish_macro(const TupleTable *t, TupleScores *s)
{
    for (int f = 0; f < t->n_findings; f++) {
        TupleScore *one = &s->finding[f];
        finish(one);
        one->macro = one->f1;
        one->macro_n = one->said + one->truth > 0;
        s->all.macro += one->f1;
        s->all.macro_n += one->macro_n;
        if (!t->focal[f]) continue;
        s->focal.macro += one->f1;
        s->focal.macro_n += one->macro_n;
    }
    if (s->all.macro_n) s->all.macro /= s->all.macro_n;
    if (s->focal.macro_n) s->focal.macro /= s->focal.macro_n;
}

static void check(const TupleTable *t)
{
    if (t->n_findings > TUPLES_MAX_FINDINGS)
        die("tuples: %d findings, at most %d", t->n_findings, TUPLES_MAX_FINDINGS);
}

void tuples_score(const TupleTable *t, const TupleStudy *studies, int n, TupleScores *out)
{
    check(t);
    bool sized[TUPLES_MAX_FINDINGS] = {0};
    memset(out, 0, sizeof *out);
    start_sizes(out);
    int64_t exact = 0;
    for (int i = 0; i < n; i++) {
        const TupleStudy *s = &studies[i];
        exact += !s->truth_other && !s->said_other && !memcmp(s->truth, s->said, (size_t)t->n_findings);
        out->all.truth += s->truth_other;
        out->all.said += s->said_other;
        for (int f = 0; f < t->n_findings; f++) {
            double radius = s->radius_mm && s->truth[f] ? s->radius_mm[f] : 0;
            sized[f] |= radius > 0;
            count(&out->all, t->sided[f], s->truth[f], s->said[f]);
            count(&out->finding[f], t->sided[f], s->truth[f], s->said[f]);
            count_size(out->size, radius, t->sided[f], s->truth[f], s->said[f]);
            if (!t->focal[f]) continue;
            count(&out->focal, t->sided[f], s->truth[f], s->said[f]);
            count_size(out->focal_size, radius, t->sided[f], s->truth[f], s->said[f]);
        }
    }
    finish(&out->all);
    finish(&out->focal);
    finish_macro(t, out);
    finish_sizes(out->size, sized_precision(out, sized, t->n_findings));
    finish_sizes(out->focal_size, out->focal.precision);
    out->exact = share(exact, n);
}

void tuples_row(const TupleTable *t, const TupleStudy *s, double *row)
{
    bool exact = !s->truth_other && !s->said_other;
    for (int f = 0; f < t->n_findings; f++, row += 5) {
        TupleScore one = {0};
        count(&one, t->sided[f], s->truth[f], s->said[f]);
        row[0] = (double)one.right;
        row[1] = (double)one.said;
        row[2] = (double)one.truth;
        row[3] = (double)one.side_right;
        row[4] = (double)one.side_n;
        exact = exact && s->truth[f] == s->said[f];
    }
    row[0] = s->said_other;
    row[1] = s->truth_other;
    row[2] = exact;
    row[3] = 1;
}

static void add(TupleScore *to, const TupleScore *one)
{
    to->right += one->right;
    to->said += one->said;
    to->truth += one->truth;
    to->side_right += one->side_right;
    to->side_n += one->side_n;
}

void tuples_from_sums(const TupleTable *t, const double *sum, TupleScores *out)
{
    check(t);
    memset(out, 0, sizeof *out);
    for (int f = 0; f < t->n_findings; f++, sum += 5) {
        out->finding[f] = (TupleScore){.right = (int64_t)sum[0],
                                       .said = (int64_t)sum[1],
                                       .truth = (int64_t)sum[2],
                                       .side_right = (int64_t)sum[3],
                                       .side_n = (int64_t)sum[4]};
        add(&out->all, &out->finding[f]);
        if (t->focal[f]) add(&out->focal, &out->finding[f]);
    }
    out->all.said += (int64_t)sum[0];
    out->all.truth += (int64_t)sum[1];
    finish(&out->all);
    finish(&out->focal);
    finish_macro(t, out);
    out->exact = share((int64_t)sum[2], (int64_t)sum[3]);
}

static TupleChange change_of(const TupleTable *t, const TuplePair *p)
{
    TupleChange change = TUPLES_SAME;
    for (int f = 0; f < t->n_findings; f++) {
        if (p->a.truth[f] == p->b.truth[f]) continue;
        if (!p->a.truth[f] || !p->b.truth[f]) return TUPLES_REMOVED;
        change = TUPLES_MIRRORED;
    }
    return change;
}

/* The bin of the largest lesion that changes, -1 if none has a size. */
static int bin_of(const TupleTable *t, const TuplePair *p)
{
    double radius = 0;
    for (int f = 0; p->a.radius_mm && f < t->n_findings; f++)
        if (p->a.truth[f] != p->b.truth[f] && p->a.radius_mm[f] > radius) radius = p->a.radius_mm[f];
    int b = TUPLES_SIZE_BINS - 1;
    while (b && radius < SIZE_EDGES[b]) b--;
    return radius > 0 ? b : -1;
}

static bool follows(const TupleTable *t, const TuplePair *p)
{
    for (int f = 0; f < t->n_findings; f++) {
        bool same = p->a.truth[f] == p->b.truth[f];
        if (same && p->a.said[f] != p->b.said[f]) return false;
        if (!same && (p->a.said[f] != p->a.truth[f] || p->b.said[f] != p->b.truth[f])) return false;
    }
    return p->a.said_other == p->b.said_other;
}

static bool still(const TupleTable *t, const TuplePair *p)
{
    return p->a.said_other == p->b.said_other && !memcmp(p->a.said, p->b.said, (size_t)t->n_findings);
}

/* A patient's row: follow and still for each shift of TuplePairScores in order, against the number of pairs. */
enum { SHIFTS = 4 + TUPLES_SIZE_BINS };

static void count_pair(const TupleTable *t, const TuplePair *p, double part[2 * SHIFTS],
                       double whole[2 * SHIFTS])
{
    TupleChange change = change_of(t, p);
    int bin = bin_of(t, p);
    bool in[SHIFTS] = {change != TUPLES_SAME, change == TUPLES_MIRRORED, change == TUPLES_REMOVED,
                       change == TUPLES_SAME};
    for (int b = 0; b < TUPLES_SIZE_BINS; b++) in[4 + b] = b == bin;
    for (int s = 0; s < SHIFTS; s++) {
        if (!in[s]) continue;
        part[2 * s] += follows(t, p);
        part[2 * s + 1] += still(t, p);
        whole[2 * s]++;
        whole[2 * s + 1]++;
    }
}

bool tuples_pairs(const TupleTable *t, const TuplePair *pairs, int n, int repeats, uint64_t seed,
                  TuplePairScores *out, Error *e)
{
    enum { K = 2 * SHIFTS };
    TupleShift *shift[SHIFTS] = {&out->changed, &out->mirrored, &out->removed, &out->same};
    for (int b = 0; b < TUPLES_SIZE_BINS; b++) shift[4 + b] = &out->size[b];
    double *part = calloc(2 * (size_t)n * K + 1, sizeof *part), *whole = part + (size_t)n * K;
    Interval interval[K];
    if (!part) return error_set(e, ERROR_MEMORY, "no memory to score %d pairs", n);
    int patients = 0;
    for (int i = 0; i < n; i++) {
        patients += !i || pairs[i].patient != pairs[i - 1].patient;
        size_t row = (size_t)(patients - 1) * K;
        count_pair(t, &pairs[i], part + row, whole + row);
    }
    bool ok = bootstrap_ratios(part, whole, patients, K, repeats, seed, interval, e);
    memset(out, 0, sizeof *out);
    for (int s = 0; ok && s < SHIFTS; s++) {
        TupleShift *one = shift[s];
        one->low_mm = s < 4 ? 0 : SIZE_EDGES[s - 4];
        one->high_mm = s < 4 || s + 1 == SHIFTS ? INFINITY : SIZE_EDGES[s - 3];
        for (size_t row = 0; row < (size_t)patients * K; row += K) {
            one->n += (int64_t)whole[row + 2 * s];
            one->follow += (int64_t)part[row + 2 * s];
            one->still += (int64_t)part[row + 2 * s + 1];
        }
        one->follow_share = one->n ? share(one->follow, one->n) : NAN;
        one->still_share = one->n ? share(one->still, one->n) : NAN;
        one->follow_interval = interval[2 * s];
        one->still_interval = interval[2 * s + 1];
    }
    free(part);
    return ok;
}
