/* How sure a score is: what it becomes when the studies are drawn anew with replacement (Efron 1979). The same
 * seed gives the same numbers, and the same draws for every system scored on n studies. */
#ifndef LOSSES_BOOTSTRAP_H
#define LOSSES_BOOTSTRAP_H
#include "tensor/error.h"
#include <math.h>
#include <stdint.h>

/* A percentile interval: the 2.5th and 97.5th percentile of one score's resamples, interpolated linearly
 * between neighbours, and their standard deviation. n counts the resamples in which the score was defined; with
 * fewer than two, low and high are NaN. */
typedef struct Interval {
    double low, high, sd;
    int n;
} Interval;
/* room: (repeats) numbers of scratch. */
Interval bootstrap_interval(const double *score, int repeats, double *room);

/* The intervals (k) of the ratios sum part / sum whole over n patients; part, whole (n, k). A ratio that is
 * undefined in a resample does not count there; with n less than 2 no interval is defined. repeats >= 2. False
 * only without memory. */
bool bootstrap_ratios(const double *part, const double *whole, int n, int k, int repeats, uint64_t seed,
                      Interval *interval, Error *e);

/* m scores of a set of studies, from the sum (k) of their rows; NaN where one is undefined. Scores of a whole
 * corpus that are no means (F1, BLEU, METEOR) are resampled in this form at the price of a sum. */
typedef void BootstrapScores(const void *context, const double *sum, double *score);

/* rows (n, k): each score under `repeats` resamples of the n studies, score (m, repeats); all NaN when n is
 * less than 2, since one study does not say how a score varies. all (m): the scores of the n studies
 * themselves. False only without memory. */
bool bootstrap_scores(const double *rows, int n, int k, BootstrapScores *f, const void *context, int m,
                      int repeats, uint64_t seed, double *all, double *score, Error *e);

static inline bool intervals_overlap(const Interval *a, const Interval *b)
{
    return a->low <= b->high && b->low <= a->high; /* false with a NaN */
}

/* Two systems on the same studies, resampled with the same seed: resample i has the same studies for both. p is
 * two-sided: twice the smaller of the shares of resamples in which the difference is <= 0 and >= 0, each with
 * one added to both counts, and at most 1; so a difference of 0 has p = 1, the least possible p is 2/(repeats +
 * 1), and p < 0.05 goes with an interval that leaves out 0. */
typedef struct PairedTest {
    double difference; /* of a less that of b, on all studies */
    Interval interval; /* of the difference */
    double p;          /* NaN where the difference is undefined, or in all resamples but one */
} PairedTest;
/* a, b: one score's resamples; all_a, all_b: the score of all studies. room: (2 repeats) numbers. */
PairedTest bootstrap_paired(const double *a, const double *b, double all_a, double all_b, int repeats,
                            double *room);
#endif
