#include "data/study.h"
#include "data/head.h"
#include "data/study_plane.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double THIN_MM = 4;
enum { LEAST_SLICES = 8 };

void study_free(Study *s)
{
    free(s->pixel);
    free(s->hu);
    *s = (Study){0};
}

uint8_t study_window(double hu, double level, double width)
{
    double g = floor(255 * (hu - (level - width / 2)) / width + 0.5);
    return (uint8_t)(g < 0 ? 0 : g > 255 ? 255 : g);
}

StudyOptions study_options(void) { return (StudyOptions){.size = 128}; }

/* One output row or column: weights of the inputs first .. first + n - 1, which sum to 1. n = 0: outside. */
typedef struct Tap {
    int first, n;
    float *weight;
} Tap;

static void taps_free(Tap *taps, int size)
{
    for (int i = 0; taps && i < size; i++) free(taps[i].weight);
    free(taps);
}

static bool tap_make(const PlaneAxis *a, double u, Tap *t)
{
    if (u < -0.5 || u >= a->n - 0.5) return true;
    double reach = fmax(1, a->step_out / a->step_in), sum = 0;
    int from = (int)fmax(0, floor(u - reach) + 1), to = (int)fmin(a->n - 1, ceil(u + reach) - 1);
    t->weight = malloc((size_t)(to - from + 1) * sizeof *t->weight);
    if (!t->weight) return false;
    t->first = from, t->n = to - from + 1;
    for (int j = from; j <= to; j++) sum += 1 - fabs(j - u) / reach;
    for (int j = from; j <= to; j++) t->weight[j - from] = (float)((1 - fabs(j - u) / reach) / sum);
    return true;
}

static Tap *taps_make(const PlaneAxis *a, int size)
{
    Tap *taps = calloc((size_t)size, sizeof *taps);
    for (int i = 0; taps && i < size; i++) {
        double u = (a->centre + (i + 0.5 - size / 2.0) * a->step_out) / a->step_in - 0.5;
        if (!tap_make(a, u, &taps[i])) {
            taps_free(taps, size);
            return NULL;
        }
    }
    return taps;
}

bool plane_resampler_make(PlaneResampler *r, PlaneAxis x, PlaneAxis y, int size)
{
    *r = (PlaneResampler){.size = size, .nx = x.n, .ny = y.n};
    r->x = taps_make(&x, size);
    r->y = taps_make(&y, size);
    r->rows = malloc((size_t)size * (size_t)y.n * sizeof *r->rows);
    if (r->x && r->y && r->rows) return true;
    plane_resampler_free(r);
    return false;
}

void plane_resampler_free(PlaneResampler *r)
{
    taps_free(r->x, r->size);
    taps_free(r->y, r->size);
    free(r->rows);
    *r = (PlaneResampler){0};
}

void plane_resample(PlaneResampler *r, const float *src, float air, float *dst)
{
    int n = r->size;
    for (int y = 0; y < r->ny; y++)
        for (int i = 0; i < n; i++) {
            const Tap *t = &r->x[i];
            const float *p = src + (int64_t)y * r->nx + t->first;
            float sum = t->n ? 0 : air;
            for (int k = 0; k < t->n; k++) sum += t->weight[k] * p[k];
            r->rows[(int64_t)y * n + i] = sum;
        }
    for (int j = 0; j < n; j++) {
        const Tap *t = &r->y[j];
        for (int i = 0; i < n; i++) {
            const float *p = r->rows + (int64_t)t->first * n + i;
            float sum = t->n ? 0 : air;
            for (int k = 0; k < t->n; k++) sum += t->weight[k] * p[(int64_t)k * n];
            dst[(int64_t)j * n + i] = sum;
        }
    }
}

/* Chooses the scan's slices for study slice i: the nearest one of thick slices, or all that touch the slab. */
static void choose(const Volume *v, Study *s, int i)
{
    double step = (s->to - s->from) / STUDY_SLICES, at = s->from + (i + 0.5) * step;
    double low = at, high = at;
    if (v->dz < THIN_MM) low -= STUDY_SLAB_MM / 2, high += STUDY_SLAB_MM / 2;
    int first = (int)floor(low / v->dz + 1e-6), last = (int)ceil(high / v->dz - 1e-6) - 1;
    if (v->dz >= THIN_MM) last = first;
    s->at[i] = at;
    s->first[i] = first < 0 ? 0 : first >= v->nz ? v->nz - 1 : first;
    s->last[i] = last < s->first[i] ? s->first[i] : last >= v->nz ? v->nz - 1 : last;
}

/* The mean of the chosen slices, each weighted by how much of it lies in the slab. */
static void average(const Volume *v, const Study *s, int i, float *plane)
{
    size_t n = (size_t)v->nx * (size_t)v->ny;
    double low = s->at[i] - STUDY_SLAB_MM / 2, high = s->at[i] + STUDY_SLAB_MM / 2, sum = 0;
    memset(plane, 0, n * sizeof *plane);
    for (int z = s->first[i]; z <= s->last[i]; z++) sum += fmin(high, (z + 1) * v->dz) - fmax(low, z * v->dz);
    for (int z = s->first[i]; z <= s->last[i]; z++) {
        const float *src = v->hu + (size_t)z * n;
        float w = (float)((fmin(high, (z + 1) * v->dz) - fmax(low, z * v->dz)) / sum);
        if (s->first[i] == s->last[i]) w = 1;
        for (size_t k = 0; k < n; k++) plane[k] += w * fminf(3071, fmaxf(-1024, src[k]));
    }
}

static bool check_range(const Volume *v, const Study *s, const char *what, Error *e)
{
    double length = v->nz * v->dz;
    if (s->from < -0.01 || s->to > length + 0.01)
        return error_set(e, ERROR_INPUT, "%s: range %g:%g mm is not inside the scan, 0:%g mm", what, s->from,
                         s->to, length);
    int inside = 0;
    for (int z = 0; z < v->nz; z++) {
        double at = (z + 0.5) * v->dz;
        inside += at >= s->from && at <= s->to;
    }
    if (inside < LEAST_SLICES)
        return error_set(e, ERROR_INPUT,
                         "%s: %d slices between %g and %g mm, expected at least %d (one a layer)", what, inside,
                         s->from, s->to, LEAST_SLICES);
    return true;
}

static bool draw(const Volume *v, Study *s)
{
    size_t plane = (size_t)s->size * (size_t)s->size;
    PlaneResampler r = {0};
    PlaneAxis x = {v->nx, v->dx, s->centre_x, s->pixel_mm}, y = {v->ny, v->dy, s->centre_y, s->pixel_mm};
    float *slab = malloc((size_t)v->nx * (size_t)v->ny * sizeof *slab), *out = malloc(plane * sizeof *out);
    s->pixel = malloc(STUDY_SLICES * plane);
    s->hu = malloc(STUDY_SLICES * plane * sizeof *s->hu);
    bool ok = slab && out && s->pixel && s->hu && plane_resampler_make(&r, x, y, s->size);
    for (int i = 0; ok && i < STUDY_SLICES; i++) {
        average(v, s, i, slab);
        plane_resample(&r, slab, -1000, out);
        for (size_t k = 0; k < plane; k++) {
            s->hu[(size_t)i * plane + k] = (int16_t)lrintf(out[k]);
            s->pixel[(size_t)i * plane + k] = study_window((double)out[k], 40, 80);
        }
    }
    plane_resampler_free(&r);
    free(slab);
    free(out);
    return ok;
}

bool study_check_size(const StudyOptions *o, const char *what, Error *e)
{
    return (o->size >= STUDY_MIN_SIZE && o->size <= STUDY_MAX_SIZE) ||
           error_set(e, ERROR_INPUT, "%s: size %d, expected %d to %d pixels", what, o->size, STUDY_MIN_SIZE,
                     STUDY_MAX_SIZE);
}

bool study_from_volume(const Volume *v, const StudyOptions *o, const char *what, Study *s, Error *e)
{
    Head head;
    Study made = {.size = o->size, .from_volume = true, .from = o->from, .to = o->to};
    made.pixel_mm = STUDY_FIELD_MM / o->size;
    made.automatic = !(o->to > o->from);
    if (!study_check_size(o, what, e) || !volume_check(v, what, e)) return false;
    if (!head_find(v, what, &head, e)) return false;
    bool ok =
        (!made.automatic || head_range(&head, what, &made.from, &made.to, e)) && check_range(v, &made, what, e);
    if (ok) {
        for (int i = 0; i < STUDY_SLICES; i++) choose(v, &made, i);
        made.centre_x = head.centre_x, made.centre_y = head.centre_y;
        ok = draw(v, &made) || error_set(e, ERROR_MEMORY, "%s: no memory for the slices", what);
    }
    head_free(&head);
    if (ok)
        *s = made;
    else
        study_free(&made);
    return ok;
}
