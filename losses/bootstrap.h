/* How sure a score is: its standard deviation when the patients are drawn anew with replacement. */
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
#endif
