/* How sure a score is: what it becomes when the studies are drawn anew with replacement (Efron 1979). The same
 * seed gives the same numbers, and the same draws for every system scored on n studies. */
#ifndef LOSSES_BOOTSTRAP_H
#define LOSSES_BOOTSTRAP_H
#include "tensor/error.h"
#include <math.h>
#include <stdint.h>

/* Running mean and sum of squared deviations (Welford); NaN does not count. */
typedef struct Running {
    int n;
    double mean, square;
} Running;

static inline void running_add(Running *r, double x)
{
    if (isnan(x)) return;
    double before = x - r->mean;
    r->n++;
    r->mean += before / r->n;
    r->square += before * (x - r->mean);
}

/* 0 for fewer than two numbers. */
static inline double running_sd(const Running *r) { return r->n > 1 ? sqrt(r->square / (r->n - 1)) : 0; }

/* sd[j], j < k, of the ratio sum part / sum whole over n patients; part, whole [n][k]. A ratio that is
 * undefined in a resample does not count there. repeats >= 2. Same seed, same numbers. False only without
 * memory. */
bool bootstrap_ratios(const double *part, const double *whole, int n, int k, int repeats, uint64_t seed,
                      double *sd, Error *e);

/* m scores of a set of studies, from the sum (k) of their rows; NaN where one is undefined. Scores of a whole
 * corpus that are no means (F1, BLEU, METEOR) are resampled in this form at the price of a sum. */
typedef void BootstrapScores(const void *context, const double *sum, double *score);

/* A percentile interval: of the resamples' scores the 2.5th and 97.5th percentile, interpolated linearly
 * between neighbours, and their standard deviation. n counts the resamples in which the score was defined; with
 * fewer than two, low and high are NaN. */
typedef struct Interval {
    double low, high, sd;
    int n;
} Interval;

static inline bool intervals_overlap(const Interval *a, const Interval *b)
{
    return a->low <= b->high && b->low <= a->high; /* false with a NaN */
}

/* rows (n, k): out[j], j < m, under `repeats` resamples of the n studies. False only without memory. */
bool bootstrap_intervals(const double *rows, int n, int k, BootstrapScores *f, const void *context, int m,
                         int repeats, uint64_t seed, Interval *out, Error *e);

/* Two systems on the same studies. p is two-sided: twice the smaller of the shares of resamples in which the
 * difference is <= 0 and >= 0, each with one added to both counts, and at most 1; so a difference of 0 has p =
 * 1, the least possible p is 2/(repeats + 1), and p < 0.05 goes with an interval that leaves out 0. */
typedef struct PairedTest {
    double difference; /* of a less that of b, on all studies */
    Interval interval; /* of the difference */
    double p;          /* NaN where the difference is undefined */
} PairedTest;

/* rows a and b (n, k), row i of both being study i: each resample draws the same studies for both. */
bool bootstrap_paired(const double *a, const double *b, int n, int k, BootstrapScores *f, const void *context,
                      int m, int repeats, uint64_t seed, PairedTest *out, Error *e);
#endif
