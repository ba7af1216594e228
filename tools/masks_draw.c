/* The picture of a study's masks. */
#include "data/montage.h"
#include "tools/masks.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 288 }; /* pixels a side of a slice in the montage */
static const float TINT = 0.4f;

/* Colours that follow one another stand far apart on the wheel: steps of the golden ratio. */
static void colour(int i, float rgb[3])
{
    double hue = fmod(0.61803398875 * i + 0.05, 1) * 6;
    for (int c = 0; c < 3; c++) {
        double at = fabs(fmod(hue + (c == 0 ? 3 : c == 1 ? 1 : 5), 6) - 3) - 1;
        rgb[c] = (float)(55 + 200 * fmin(fmax(at, 0), 1));
    }
}

/* Pixel i of the mask has a neighbour that is out of it, or of the picture. */
static bool on_outline(const uint8_t *mask, int width, int height, int x, int y)
{
    const uint8_t *p = mask + (size_t)y * (size_t)width + x;
    return x == 0 || y == 0 || x == width - 1 || y == height - 1 || !p[-1] || !p[1] || !p[-width] || !p[width];
}

typedef struct BySize {
    int64_t area;
    int i;
} BySize;

static int larger_first(const void *a, const void *b)
{
    const BySize *p = a, *q = b;
    return p->area != q->area ? (p->area > q->area ? -1 : 1) : p->i - q->i;
}

/* rgb: rows of `stride` pixels. */
static void draw_mask(const Gallery *g, const uint8_t *mask, int i, uint8_t *rgb, int stride)
{
    float ink[3];
    colour(i, ink);
    for (int y = 0; y < g->height; y++)
        for (int x = 0; x < g->width; x++) {
            if (!mask[(size_t)y * (size_t)g->width + (size_t)x]) continue;
            float share = on_outline(mask, g->width, g->height, x, y) ? 1 : TINT;
            uint8_t *p = rgb + 3 * ((size_t)y * (size_t)stride + (size_t)x);
            for (int c = 0; c < 3; c++) p[c] = (uint8_t)lrintf((1 - share) * (float)p[c] + share * ink[c]);
        }
}

static bool draw_slice(const Gallery *g, const GallerySlice *s, uint8_t *rgb, int stride, Error *e)
{
    BySize *order = malloc(((size_t)s->n + 1) * sizeof *order);
    uint8_t *mask = malloc((size_t)g->width * (size_t)g->height);
    bool ok = (order && mask) || error_set(e, ERROR_MEMORY, "no memory for %d masks", s->n);
    for (int i = 0; ok && i < s->n; i++) order[i] = (BySize){s->mask[i].area, i};
    if (ok) qsort(order, (size_t)s->n, sizeof *order, larger_first);
    for (int i = 0; ok && i < s->n; i++) {
        ok = gallery_mask(g, &s->mask[order[i].i], mask, e);
        if (ok) draw_mask(g, mask, i, rgb, stride);
    }
    free(order);
    free(mask);
    return ok;
}

/* Slice i of the study in colour, at the upper left of side x side pixels. */
static void paint(const MaskStudy *s, int i, uint8_t *rgb, int stride)
{
    const uint8_t *p = s->pixel + (size_t)i * (size_t)s->width * (size_t)s->height * (size_t)s->channels;
    for (int y = 0; y < s->height; y++)
        for (int x = 0; x < s->width; x++, p += s->channels)
            for (int c = 0; c < 3; c++)
                rgb[3 * ((size_t)y * (size_t)stride + (size_t)x) + (size_t)c] = p[c % s->channels];
}

bool mask_draw(const MaskStudy *s, const Gallery *g, const char *path, Error *e)
{
    bool alone = s->n == 1;
    int side = s->width > s->height ? s->width : s->height, width = alone ? s->width : side,
        height = alone ? s->height : side;
    size_t plane = 3 * (size_t)width * (size_t)height;
    uint8_t *rgb = calloc(alone ? 1 : STUDY_SLICES, plane);
    bool ok = rgb || error_set(e, ERROR_MEMORY, "%s: no memory for the picture", path);
    for (int i = 0; ok && i < s->n; i++) {
        const GallerySlice *slice = gallery_slice(g, i);
        paint(s, i, rgb + plane * (size_t)i, width);
        if (slice) ok = draw_slice(g, slice, rgb + plane * (size_t)i, width, e);
    }
    Image image = {width, height, 3, rgb};
    if (ok && !alone) {
        ok = montage_cells(rgb, side, 3, LARGEST, &image, e);
        free(rgb);
        rgb = ok ? image.pixel : NULL;
    }
    ok = ok && image_write_png(path, &image, e);
    free(rgb);
    return ok;
}
