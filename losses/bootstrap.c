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
