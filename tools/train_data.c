#include "tools/train_data.h"
#include "tools/cli.h"
#include <stdlib.h>
#include <string.h>

enum { MIN_PIXELS = 3 };

static int cell_of(int i, int n) { return i * GRID / n; }

/* Appends the positive cells of one mask. */
static void add_cells(TrainData *d, const uint8_t *mask, int label, int64_t *room)
{
    int covered[GRID_CELLS] = {0}, size[GRID_CELLS] = {0}, most = 0;
    for (int y = 0; y < d->height; y++)
        for (int x = 0; x < d->width; x++) {
            int c = cell_of(y, d->height) * GRID + cell_of(x, d->width);
            size[c]++;
            covered[c] += mask[(size_t)y * (size_t)d->width + (size_t)x];
        }
    for (int c = 1; c < GRID_CELLS; c++)
        if (covered[c] > covered[most]) most = c;
    int64_t *n = &d->cell_at[0];
    for (int c = 0; c < GRID_CELLS; c++) {
        if (!covered[c] || (covered[c] * 5 < size[c] && c != most)) continue;
        if (*n == *room) {
            *room = *room ? 2 * *room : 4096;
            d->cell = realloc(d->cell, (size_t)*room * sizeof *d->cell);
            if (!d->cell) die("out of host memory for %lld grid cells", (long long)*room);
        }
        d->cell[(*n)++] = (GridCell){(uint8_t)label, (uint8_t)c};
    }
}

/* Cells of study k: all masks, slice by slice. cell_at[0] counts while reading. */
static bool read_cells(TrainData *d, int k, uint8_t *mask, int64_t *room, Error *e)
{
    const CtrgStudy *s = &d->ctrg->study[k];
    for (int slice = 0; slice < CTRG_SLICES; slice++) {
        for (int i = 0; i < s->n_truth; i++)
            for (int j = 0; j < s->truth[i].n_masks; j++) {
                const CtrgMask *m = &s->truth[i].mask[j];
                if (m->slice != slice || !finding_kind(s->truth[i].finding)->focal) continue;
                if (!ctrg_read_mask(s, m, mask, e)) return false;
                add_cells(d, mask, m->label, room);
            }
        d->cell_at[k * CTRG_SLICES + slice + 1] = d->cell_at[0];
    }
    return true;
}

bool train_data_read(const TrainData *d, int64_t k, uint8_t **pixel, Error *e)
{
    const CtrgStudy *s = &d->ctrg->study[k];
    int width, height;
    if (!ctrg_read_slices(d->ctrg, s, pixel, &width, &height, e)) return false;
    if (width == d->width && height == d->height) return true;
    free(*pixel);
    return error_set(e, ERROR_INPUT, "%s: study %lld has slices of %dx%d, expected %dx%d as in the first study",
                     d->ctrg->folder, (long long)s->id, width, height, d->width, d->height);
}

static bool read_study(TrainData *d, int k, Error *e)
{
    uint8_t *pixel;
    if (!train_data_read(d, k, &pixel, e)) return false;
    size_t bytes = (size_t)CTRG_SLICES * (size_t)d->width * (size_t)d->height;
    memcpy(d->pixel + (size_t)k * bytes, pixel, bytes);
    free(pixel);
    return true;
}

static bool read_pixels(TrainData *d, Error *e)
{
    bool ok = true;
    CliProgress p = cli_progress_start("reading slices", 0, d->n);
    d->pixel = malloc((size_t)d->n * CTRG_SLICES * (size_t)d->width * (size_t)d->height);
    if (!d->pixel)
        return error_set(e, ERROR_MEMORY, "%s: no memory for the slices of %d studies", d->ctrg->folder, d->n);
    int done = 0;
#pragma omp parallel for schedule(static, 16)
    for (int k = 0; k < d->n; k++) {
        Error own = {0};
        bool good = read_study(d, k, &own);
#pragma omp critical
        {
            if (!good && ok) {
                ok = false;
                *e = own;
            }
            cli_progress(&p, ++done, NULL);
        }
    }
    cli_progress_end(&p);
    return ok;
}

/* The size of all slices: of the masks, or of the first study's images. */
static bool read_size(TrainData *d, bool truth, Error *e)
{
    const CtrgStudy *s = &d->ctrg->study[0];
    d->width = s->width;
    d->height = s->height;
    if (truth) return true;
    uint8_t *pixel;
    if (!ctrg_read_slices(d->ctrg, s, &pixel, &d->width, &d->height, e)) return false;
    free(pixel);
    return true;
}

TrainData *train_data_open(const char *folder, int limit, bool pixels, bool truth, Error *e)
{
    TrainData *d = calloc(1, sizeof *d);
    if (!d) die("out of host memory");
    d->ctrg = ctrg_open(folder, NULL, NULL, e);
    if (!d->ctrg) goto fail;
    d->n = limit && limit < d->ctrg->n ? limit : d->ctrg->n;
    if (!d->n) {
        error_set(e, ERROR_INPUT, "%s: no studies", folder);
        goto fail;
    }
    if (!read_size(d, truth, e)) goto fail;
    size_t slices = (size_t)d->n * CTRG_SLICES;
    d->labels = calloc(slices, sizeof *d->labels);
    d->cell_at = calloc(slices + 1, sizeof *d->cell_at);
    d->focal = malloc(slices * sizeof *d->focal);
    uint8_t *mask = malloc((size_t)d->width * (size_t)d->height + 1);
    if (!d->labels || !d->cell_at || !d->focal || !mask) die("out of host memory for %zu slices", slices);
    int64_t room = 0;
    bool ok = true;
    for (int k = 0; truth && ok && k < d->n; k++) {
        const CtrgStudy *s = &d->ctrg->study[k];
        if (!s->has_truth)
            ok = error_set(e, ERROR_INPUT, "%s: study %lld has no truth block, which this stage learns from",
                           folder, (long long)s->id);
        else if (s->width != d->width || s->height != d->height)
            ok = error_set(e, ERROR_INPUT,
                           "%s: study %lld has masks of %dx%d, expected %dx%d as the first study", folder,
                           (long long)s->id, s->width, s->height, d->width, d->height);
        ok = ok && ctrg_slice_labels(s, MIN_PIXELS, d->labels + (size_t)k * CTRG_SLICES, e) &&
             read_cells(d, k, mask, &room, e);
    }
    free(mask);
    if (!ok) goto fail;
    d->cell_at[0] = 0;
    for (size_t i = 0; i < slices; i++)
        if (d->cell_at[i + 1] > d->cell_at[i]) d->focal[d->n_focal++] = (int64_t)i;
    if (pixels && !read_pixels(d, e)) goto fail;
    return d;
fail:
    train_data_close(d);
    return NULL;
}

void train_data_close(TrainData *d)
{
    if (!d) return;
    ctrg_free(d->ctrg);
    free(d->pixel);
    free(d->labels);
    free(d->cell_at);
    free(d->cell);
    free(d->focal);
    free(d);
}

const uint8_t *train_data_slice(const TrainData *d, int64_t slice)
{
    return d->pixel + (size_t)slice * (size_t)d->width * (size_t)d->height;
}

void slice_normalise(const uint8_t *src, int width, int height, bool mirror, float offset, float *dst)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            dst[y * width + x] = slice_normal(src[y * width + (mirror ? width - 1 - x : x)]) + offset;
}
