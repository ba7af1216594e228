/* Galleries made by hand: masks from pictures, and the masks that a phantom's lesions should give. */
#ifndef TESTS_TOOLS_GALLERY_FIXTURE_H
#define TESTS_TOOLS_GALLERY_FIXTURE_H
#include "data/ctrg.h"
#include "data/file.h"
#include "data/gallery.h"
#include "data/rle.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

static inline Gallery *fixture_gallery(int64_t id, int width, int height)
{
    Gallery *g = calloc(1, sizeof *g);
    *g = (Gallery){.id = id, .width = width, .height = height, .pixel_mm = 1};
    g->slice = calloc(CTRG_SLICES, sizeof *g->slice);
    for (g->n = 0; g->n < CTRG_SLICES; g->n++) g->slice[g->n].slice = g->n;
    return g;
}

/* Adds the plane's ones as a mask. */
static inline void fixture_add(Gallery *g, int slice, const uint8_t *plane)
{
    GallerySlice *s = &g->slice[slice];
    GalleryMask m = {.predicted_iou = 0.9, .stability = 0.95, .crop_box = {0, 0, g->width, g->height}};
    int box[4] = {g->width, g->height, 0, 0};
    Rle rle;
    Error e = {0};
    for (int i = 0; i < g->width * g->height; i++) {
        int x = i % g->width, y = i / g->width;
        if (!plane[i]) continue;
        if (x < box[0]) box[0] = x;
        if (y < box[1]) box[1] = y;
        if (x > box[2]) box[2] = x;
        if (y > box[3]) box[3] = y;
    }
    ck_assert(rle_encode(plane, g->width, g->height, &rle, &e));
    m.counts = rle_to_text(&rle);
    m.area = (int64_t)rle_area(&rle);
    rle_free(&rle);
    memcpy(m.bbox, (int[]){box[0], box[1], box[2] - box[0], box[3] - box[1]}, sizeof m.bbox);
    m.point[0] = box[0];
    m.point[1] = box[1];
    s->mask = realloc(s->mask, (size_t)(s->n + 1) * sizeof *s->mask);
    s->mask[s->n++] = m;
}

/* x0 <= x < x1, y0 <= y < y1. */
static inline void fixture_rectangle(Gallery *g, int slice, int x0, int y0, int x1, int y1)
{
    uint8_t *plane = calloc((size_t)g->width * (size_t)g->height, 1);
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) plane[y * g->width + x] = 1;
    fixture_add(g, slice, plane);
    free(plane);
}

/* In each slice the masks of the study's focal findings and three squares. */
static inline Gallery *fixture_truth(const CtrgStudy *s)
{
    Gallery *g = fixture_gallery(s->id, s->width, s->height);
    uint8_t *plane = malloc((size_t)s->width * (size_t)s->height);
    g->pixel_mm = s->pixel_mm;
    for (int i = 0; i < CTRG_SLICES; i++)
        for (int k = 0; k < 3; k++) fixture_rectangle(g, i, 10 + 12 * k, 20 + i, 20 + 12 * k, 30 + i);
    for (int k = 0; k < s->n_truth; k++)
        for (int m = 0; m < s->truth[k].n_masks; m++) {
            if (!finding_kind(s->truth[k].finding)->focal) continue;
            ck_assert(ctrg_read_mask(s, &s->truth[k].mask[m], plane, NULL));
            fixture_add(g, s->truth[k].mask[m].slice, plane);
        }
    free(plane);
    return g;
}

static inline void fixture_write(const Gallery *g, const char *folder)
{
    char path[4096];
    Error e = {0};
    ck_assert_msg(file_make_folder(folder, &e) && gallery_path(folder, g->id, path, &e) &&
                      gallery_write(g, path, &e),
                  "%s", e.msg);
}
#endif
