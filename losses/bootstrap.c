/* Resampling sums. A resample of n studies is how often each was drawn; its scores come from the sum of the
 * drawn studies' rows, so a resample costs one pass over numbers, whatever a score is. */
#include "losses/bootstrap.h"
#include "tensor/rng.h"
#include <stdlib.h>
#include <string.h>

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

bool bootstrap_scores(const double *rows, int n, int k, BootstrapScores *f, const void *context, int m,
                      int repeats, uint64_t seed, double *all, double *score, Error *e)
{
    int *times = calloc((size_t)n + 1, sizeof *times);
    double *sum = calloc((size_t)k + (size_t)m + 1, sizeof *sum), *one = sum + k;
    bool ok = times && sum;
    if (!ok) error_set(e, ERROR_MEMORY, "no memory to resample %d scores of %d studies", m, n);
    Rng rng = rng_open(seed, "bootstrap");
    for (int repeat = -1; ok && repeat < repeats; repeat++) { /* -1: each study once */
        for (int j = 0; j < m; j++) one[j] = NAN;
        if (n > 1 || (n == 1 && repeat < 0)) {
            if (repeat >= 0) draw(&rng, n, times);
            add_rows(rows, repeat < 0 ? NULL : times, n, k, sum);
            f(context, sum, one);
        }
        for (int j = 0; j < m; j++)
            *(repeat < 0 ? &all[j] : &score[(size_t)j * (size_t)repeats + (size_t)repeat]) = one[j];
    }
    free(times);
    free(sum);
    return ok;
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

Interval bootstrap_interval(const double *score, int repeats, double *room)
{
    int n = 0;
    double mean = 0, square = 0; /* the running mean and sum of squared deviations (Welford) */
    for (int i = 0; i < repeats; i++) {
        if (isnan(score[i])) continue;
        room[n++] = score[i];
        double before = score[i] - mean;
        mean += before / n;
        square += before * (score[i] - mean);
    }
    if (n < 2) return (Interval){NAN, NAN, 0, n};
    qsort(room, (size_t)n, sizeof *room, compare_numbers);
    return (Interval){percentile(room, n, 0.025), percentile(room, n, 0.975), sqrt(square / (n - 1)), n};
}

bool bootstrap_ratios(const double *part, const double *whole, int n, int k, int repeats, uint64_t seed,
                      Interval *interval, Error *e)
{
    size_t width = (size_t)k, rounds = (size_t)repeats;
    int *times = calloc((size_t)n + 1, sizeof *times);
    double *sum = calloc(2 * width + 1, sizeof *sum), *total = sum + width;
    double *score = calloc((width + 1) * rounds + 1, sizeof *score), *room = score + width * rounds;
    bool ok = times && sum && score;
    if (!ok) error_set(e, ERROR_MEMORY, "no memory to resample %d ratios of %d patients", k, n);
    Rng rng = rng_open(seed, "bootstrap");
    for (size_t repeat = 0; ok && repeat < rounds; repeat++) {
        if (n > 1) draw(&rng, n, times);
        add_rows(part, times, n, k, sum);
        add_rows(whole, times, n, k, total);
        for (size_t j = 0; j < width; j++)
            score[j * rounds + repeat] = n > 1 && total[j] > 0 ? sum[j] / total[j] : NAN;
    }
    for (size_t j = 0; ok && j < width; j++)
        interval[j] = bootstrap_interval(score + j * rounds, repeats, room);
    free(times);
    free(sum);
    free(score);
    return ok;
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

PairedTest bootstrap_paired(const double *a, const double *b, double all_a, double all_b, int repeats,
                            double *room)
{
    for (int i = 0; i < repeats; i++) room[i] = a[i] - b[i];
    double difference = all_a - all_b;
    Interval i = bootstrap_interval(room, repeats, room + repeats);
    return (PairedTest){difference, i, isnan(difference) || i.n < 2 ? NAN : two_sided(room, repeats)};
}
