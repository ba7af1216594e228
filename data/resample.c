#include "data/resample.h"
#include <math.h>
#include <stdlib.h>

enum { SIDE_LIMIT = 16384, BITS = 22, SMALL = 1 << 16 };

/* Output i is the sum of weight[i * most + k] * input[first[i] + k] over k < count[i]. */
typedef struct {
    int most;
    int *first, *count;
    int32_t *weight;
} Taps;

static double hat(double x) { return fabs(x) < 1 ? 1 - fabs(x) : 0; }

static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static void taps_free(Taps *t)
{
    free(t->first);
    free(t->count);
    free(t->weight);
}

/* Of output i; w: room for t->most weights. */
static void make_tap(Taps *t, int i, int from, double scale, double support, ImageFilter filter, double *w)
{
    const double narrow = 1 / fmax(scale, 1), centre = (i + 0.5) * scale;
    int first = (int)(centre - support + 0.5), end = (int)(centre + support + 0.5);
    if (first < 0) first = 0;
    if (end > from) end = from;
    double sum = 0;
    for (int k = 0; k < end - first; k++) {
        double x = (k + first - centre + 0.5) * narrow;
        w[k] = filter == IMAGE_BILINEAR ? hat(x) : cubic(x);
        sum += w[k];
    }
    for (int k = 0; k < end - first; k++) {
        if (sum != 0) w[k] /= sum;
        double fixed = w[k] * (1 << BITS);
        t->weight[(size_t)i * (size_t)t->most + (size_t)k] = (int32_t)(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    t->first[i] = first;
    t->count[i] = end - first;
}

/* Along one axis, from `from` to `to` pixels. False where memory is short. */
static bool taps_make(Taps *t, int from, int to, ImageFilter filter)
{
    const double scale = (double)from / to, support = (filter == IMAGE_BILINEAR ? 1 : 2) * fmax(scale, 1);
    t->most = 2 * (int)ceil(support) + 1;
    t->first = malloc((size_t)to * sizeof *t->first);
    t->count = malloc((size_t)to * sizeof *t->count);
    t->weight = malloc((size_t)to * (size_t)t->most * sizeof *t->weight);
    double *w = malloc((size_t)t->most * sizeof *w);
    bool ok = t->first && t->count && t->weight && w;
    for (int i = 0; ok && i < to; i++) make_tap(t, i, from, scale, support, filter, w);
    free(w);
    return ok;
}

static inline uint8_t clip(int32_t sum)
{
    sum >>= BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* A row to `width` pixels. The sums stay below 2^31: weights add up to 1, and their magnitudes to less
 * than 1.5. */
static inline void row_across(const Taps *t, const uint8_t *in, int width, int channels, uint8_t *out)
{
    for (int i = 0; i < width; i++) {
        const int32_t *w = t->weight + (size_t)i * (size_t)t->most;
        const uint8_t *x = in + t->first[i] * channels;
        int32_t sum[3] = {1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1)};
        for (int k = 0; k < t->count[i]; k++)
            for (int c = 0; c < channels; c++) sum[c] += w[k] * x[k * channels + c];
        for (int c = 0; c < channels; c++) out[i * channels + c] = clip(sum[c]);
    }
}

static void across(const Taps *t, const Image *in, Image *out)
{
    const size_t from = (size_t)in->width * (size_t)in->channels,
                 to = (size_t)out->width * (size_t)in->channels;
#pragma omp parallel for schedule(static) if (to * (size_t)in->height > SMALL)
    for (int y = 0; y < in->height; y++) {
        const uint8_t *row = in->pixel + (size_t)y * from;
        uint8_t *made = out->pixel + (size_t)y * to;
        if (in->channels == 1)
            row_across(t, row, out->width, 1, made);
        else
            row_across(t, row, out->width, 3, made);
    }
}

/* `line` bytes a row. */
static void down(const Taps *t, const uint8_t *in, size_t line, int height, uint8_t *out)
{
    enum { BLOCK = 256 };
#pragma omp parallel for schedule(static) if (line * (size_t)height > SMALL)
    for (int y = 0; y < height; y++) {
        const int32_t *w = t->weight + (size_t)y * (size_t)t->most;
        for (size_t from = 0; from < line; from += BLOCK) {
            const uint8_t *x = in + (size_t)t->first[y] * line + from;
            size_t n = line - from < BLOCK ? line - from : BLOCK;
            int32_t sum[BLOCK];
            for (size_t j = 0; j < n; j++) sum[j] = 1 << (BITS - 1);
            for (int k = 0; k < t->count[y]; k++)
#pragma omp simd
                for (size_t j = 0; j < n; j++) sum[j] += w[k] * x[(size_t)k * line + j];
            for (size_t j = 0; j < n; j++) out[(size_t)y * line + from + j] = clip(sum[j]);
        }
    }
}

static bool check(const Image *in, int width, int height, ImageFilter filter, Error *e)
{
    if (!in->pixel || in->width < 1 || in->height < 1 || in->width > SIDE_LIMIT || in->height > SIDE_LIMIT)
        return error_set(e, ERROR_INPUT, "resize: image of %d x %d pixels, expected sides 1..%d%s", in->width,
                         in->height, SIDE_LIMIT, in->pixel ? "" : "; it has no pixels");
    if (in->channels != 1 && in->channels != 3)
        return error_set(e, ERROR_INPUT, "resize: image of %d channels, expected 1 or 3", in->channels);
    if (width < 1 || height < 1 || width > SIDE_LIMIT || height > SIDE_LIMIT)
        return error_set(e, ERROR_INPUT, "resize: to %d x %d pixels, expected sides 1..%d", width, height,
                         SIDE_LIMIT);
    if (filter != IMAGE_BILINEAR && filter != IMAGE_BICUBIC)
        return error_set(e, ERROR_INPUT, "resize: filter %d, expected %d or %d", (int)filter, IMAGE_BILINEAR,
                         IMAGE_BICUBIC);
    return true;
}

bool image_resize(const Image *in, int width, int height, ImageFilter filter, Image *out, Error *e)
{
    if (!check(in, width, height, filter, e)) return false;
    Taps columns = {0}, rows = {0};
    const size_t line = (size_t)width * (size_t)in->channels;
    Image wide = {width, in->height, in->channels, malloc(line * (size_t)in->height)};
    uint8_t *pixel = malloc(line * (size_t)height);
    bool ok = wide.pixel && pixel && taps_make(&columns, in->width, width, filter) &&
              taps_make(&rows, in->height, height, filter);
    if (ok) {
        across(&columns, in, &wide);
        down(&rows, wide.pixel, line, height, pixel);
        *out = (Image){width, height, in->channels, pixel};
    } else {
        free(pixel);
        error_set(e, ERROR_MEMORY, "resize: no memory for %d x %d pixels", width, height);
    }
    free(wide.pixel);
    taps_free(&columns);
    taps_free(&rows);
    return ok;
}
