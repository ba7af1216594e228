/* Resampling sums. A resample of n studies is how often each was drawn; its scores come from the sum of the
 * drawn studies' rows, so a resample costs one pass over numbers, whatever a score is. */
#include "losses/bootstrap.h"
#include "tensor/rng.h"
#include <stdlib.h>
#include <string.h>

bool bootstrap_ratios(const double *part, const double *whole, int n, int k, int repeats, uint64_t seed,
                      double *sd, Error *e)
{
    Running *r = calloc((size_t)k + 1, sizeof *r);
    double *sum = calloc(2 * (size_t)k + 1, sizeof *sum), *total = sum + k;
    if (!r || !sum) {
        free(r);
        free(sum);
        return error_set(e, ERROR_MEMORY, "no memory to resample %d scores", k);
    }
    Rng rng = rng_open(seed, "bootstrap");
    for (int repeat = 0; repeat < repeats && n > 0; repeat++) {
        memset(sum, 0, 2 * (size_t)k * sizeof *sum);
        for (int i = 0; i < n; i++) {
            size_t row = (size_t)rng_below(&rng, n) * (size_t)k;
            for (int j = 0; j < k; j++) {
                sum[j] += part[row + (size_t)j];
                total[j] += whole[row + (size_t)j];
            }
        }
        for (int j = 0; j < k; j++) running_add(&r[j], total[j] > 0 ? sum[j] / total[j] : NAN);
    }
    for (int j = 0; j < k; j++) sd[j] = running_sd(&r[j]);
    free(r);
    free(sum);
    return true;
}

static void draw(Rng *rng, int n, int *times)
{
    memset(times, 0, (size_t)n * sizeof *times);
    for (int i = 0; i < n; i++) times[rng_below(rng, n)]++;
}

/* times NULL: each once. */
static void add_rows(const double *rows, const int *times, int n, int k, double *sum)
{
    memset(sum, 0, (size_t)k * sizeof *sum);
    for (int i = 0; i < n; i++) {
        const double *row = rows + (size_t)i * (size_t)k;
        double weight = times ? times[i] : 1;
        if (weight == 0) continue;
        for (int j = 0; j < k; j++) sum[j] += weight * row[j];
    }
}

/* What one call needs: scores of every resample, [m][repeats]. */
typedef struct Space {
    int *times;
    double *sum, *score, *all;
} Space;

static void close_space(Space *s)
{
    free(s->times);
    free(s->sum);
    free(s->score);
    free(s->all);
}

static bool open_space(Space *s, int n, int k, int m, int repeats, Error *e)
{
    *s = (Space){calloc((size_t)n + 1, sizeof *s->times), calloc((size_t)k + 1, sizeof *s->sum),
                 calloc(2 * (size_t)m + 1, sizeof *s->score),
                 calloc((size_t)m * (size_t)repeats + 1, sizeof *s->all)};
    if (s->times && s->sum && s->score && s->all) return true;
    close_space(s);
    return error_set(e, ERROR_MEMORY, "no memory to resample %d scores %d times", m, repeats);
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of n sorted numbers. */
static double percentile(const double *x, int n, double share)
{
    double place = share * (n - 1);
    int below = (int)place;
    return below + 1 < n ? x[below] + (place - below) * (x[below + 1] - x[below]) : x[n - 1];
}

/* Sorts x; those that are NaN do not count. */
static Interval interval(double *x, int repeats)
{
    int n = 0;
    Running r = {0};
    for (int i = 0; i < repeats; i++) {
        running_add(&r, x[i]);
        if (!isnan(x[i])) x[n++] = x[i];
    }
    qsort(x, (size_t)n, sizeof *x, compare_numbers);
    if (n < 2) return (Interval){NAN, NAN, 0, n};
    return (Interval){percentile(x, n, 0.025), percentile(x, n, 0.975), running_sd(&r), n};
}

bool bootstrap_intervals(const double *rows, int n, int k, BootstrapScores *f, const void *context, int m,
                         int repeats, uint64_t seed, Interval *out, Error *e)
{
    Space s;
    if (!open_space(&s, n, k, m, repeats, e)) return false;
    Rng rng = rng_open(seed, "bootstrap");
    for (int repeat = 0; repeat < repeats; repeat++) {
        for (int j = 0; j < m; j++) s.score[j] = NAN;
        if (n > 0) {
            draw(&rng, n, s.times);
            add_rows(rows, s.times, n, k, s.sum);
            f(context, s.sum, s.score);
        }
        for (int j = 0; j < m; j++) s.all[(size_t)j * (size_t)repeats + (size_t)repeat] = s.score[j];
    }
    for (int j = 0; j < m; j++) out[j] = interval(s.all + (size_t)j * (size_t)repeats, repeats);
    close_space(&s);
    return true;
}

/* score[j]: of a less of b; score + m is room for b's. */
static void differences(const double *a, const double *b, const Space *s, const int *times, int n, int k,
                        BootstrapScores *f, const void *context, int m)
{
    add_rows(a, times, n, k, s->sum);
    f(context, s->sum, s->score);
    add_rows(b, times, n, k, s->sum);
    f(context, s->sum, s->score + m);
    for (int j = 0; j < m; j++) s->score[j] -= s->score[m + j];
}

static double two_sided(const double *x, int repeats)
{
    int below = 0, above = 0, n = 0;
    for (int i = 0; i < repeats; i++) {
        below += x[i] <= 0;
        above += x[i] >= 0;
        n += !isnan(x[i]);
    }
    double p = 2 * (1.0 + (below < above ? below : above)) / (n + 1.0);
    return p < 1 ? p : 1;
}

bool bootstrap_paired(const double *a, const double *b, int n, int k, BootstrapScores *f, const void *context,
                      int m, int repeats, uint64_t seed, PairedTest *out, Error *e)
{
    Space s;
    if (!open_space(&s, n, k, m, repeats, e)) return false;
    for (int j = 0; j < m; j++) s.score[j] = NAN;
    if (n > 0) differences(a, b, &s, NULL, n, k, f, context, m);
    for (int j = 0; j < m; j++) out[j].difference = s.score[j];
    Rng rng = rng_open(seed, "bootstrap");
    for (int repeat = 0; repeat < repeats; repeat++) {
        if (n > 0) {
            draw(&rng, n, s.times);
            differences(a, b, &s, s.times, n, k, f, context, m);
        }
        for (int j = 0; j < m; j++) s.all[(size_t)j * (size_t)repeats + (size_t)repeat] = s.score[j];
    }
    for (int j = 0; j < m; j++) {
        double *x = s.all + (size_t)j * (size_t)repeats;
        out[j].p = isnan(out[j].difference) ? NAN : two_sided(x, repeats);
        out[j].interval = interval(x, repeats);
    }
    close_space(&s);
    return true;
}
