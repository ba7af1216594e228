#include "tools/table.h"
#include <math.h>
#include <string.h>

static const double Z = 1.959963984540054; /* of 95 % */

/* The value at nested keys, NULL where there is none. */
const json_t *table_find(const json_t *o, const char *path)
{
    char key[64];
    for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
        snprintf(key, sizeof key, "%.*s", (int)(slash - path), path);
        o = json_object_get(o, key);
    }
    return json_object_get(o, path);
}

bool table_estimate(const json_t *o, const char *path, const char *what, Estimate *out, Error *e)
{
    const json_t *pair = table_find(json_object_get(o, "intervals"), path), *low = json_array_get(pair, 0),
                 *high = json_array_get(pair, 1);
    double value;
    *out = (Estimate){0};
    if (!table_number(o, path, what, 1, &value, e)) return false;
    if (isnan(value)) return true;
    if (!pair) return error_set(e, ERROR_INPUT, "%s: intervals: no interval of \"%s\"", what, path);
    *out = (Estimate){!(json_is_null(low) && json_is_null(high)), value, json_number_value(low),
                      json_number_value(high)};
    if (!out->n) return true; /* undefined in the resamples */
    if (json_array_size(pair) != 2 || !json_is_number(low) || !json_is_number(high))
        return error_set(e, ERROR_INPUT, "%s: intervals: \"%s\": expected a pair of numbers", what, path);
    return true;
}

Estimate table_wilson(int64_t right, int64_t n)
{
    if (!n) return (Estimate){0};
    double m = (double)n, p = (double)right / m, d = 1 + Z * Z / m;
    double middle = (p + Z * Z / (2 * m)) / d, half = Z * sqrt(p * (1 - p) / m + Z * Z / (4 * m * m)) / d;
    return (Estimate){1, p, fmax(0, middle - half), fmin(1, middle + half)};
}

int table_apart(const Estimate *a, const Estimate *b)
{
    return a->low > b->high ? 1 : a->high < b->low ? -1 : 0;
}

double table_sd(const Estimate *x) { return (x->high - x->low) / (2 * Z); }
