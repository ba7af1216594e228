#include "data/gallery.h"
#include "data/ctrg.h"
#include "data/file.h"
#include "data/rle.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GALLERY_VERSION = 1, MAX_MASKS = 1 << 14, MAX_SIDE = 16384 };

/* Where in the file a fault is. mask < 0: the slice; slice < 0: the file. */
typedef struct Place {
    const char *what;
    int slice, mask;
} Place;

static bool bad(const Place *p, Error *e, const char *key, const char *expected)
{
    if (p->slice < 0) return error_set(e, ERROR_INPUT, "%s: \"%s\": expected %s", p->what, key, expected);
    if (p->mask < 0)
        return error_set(e, ERROR_INPUT, "%s: slice %d: \"%s\": expected %s", p->what, p->slice, key, expected);
    return error_set(e, ERROR_INPUT, "%s: slice %d, mask %d: \"%s\": expected %s", p->what, p->slice, p->mask,
                     key, expected);
}

/* The same, with what stands there instead. */
static bool found(const Place *p, Error *e, const char *key, const char *expected, const json_t *value)
{
    char text[128], *json = value ? json_text(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    snprintf(text, sizeof text, "%.60s, found %.40s", expected, json ? json : "nothing");
    free(json);
    return bad(p, e, key, text);
}

static bool no_memory(const Place *p, Error *e)
{
    return error_set(e, ERROR_MEMORY, "%s: no memory for its masks", p->what);
}

/* n whole numbers. */
static bool read_ints(const json_t *object, const char *key, size_t n, const char *expected, const Place *p,
                      int *out, Error *e)
{
    const json_t *list = json_object_get(object, key);
    bool ok = json_is_array(list) && json_array_size(list) == n;
    for (size_t i = 0; ok && i < n; i++) {
        const json_t *x = json_array_get(list, i);
        json_int_t value = json_integer_value(x);
        ok = json_is_integer(x) && value >= 0 && value <= MAX_SIDE;
        if (ok) out[i] = (int)value;
    }
    return ok || found(p, e, key, expected, list);
}

static bool read_number(const json_t *object, const char *key, double low, double high, const Place *p,
                        double *out, Error *e)
{
    const json_t *x = json_object_get(object, key);
    char expected[64];
    *out = json_number_value(x);
    if (json_is_number(x) && *out >= low && *out <= high) return true;
    snprintf(expected, sizeof expected, "a number from %g to %g", low, high);
    return found(p, e, key, expected, x);
}

static bool read_segmentation(const Gallery *g, const json_t *row, const Place *p, GalleryMask *m, Error *e)
{
    const json_t *s = json_object_get(row, "segmentation");
    const char *counts = json_string_value(json_object_get(s, "counts"));
    int size[2];
    if (!read_ints(s, "size", 2, "[height, width]", p, size, e)) return false;
    if (size[0] != g->height || size[1] != g->width)
        return found(p, e, "size", "the gallery's", json_object_get(s, "size"));
    if (!counts) return found(p, e, "counts", "a string of run lengths", json_object_get(s, "counts"));
    Rle rle;
    Error why = {0};
    if (!rle_from_text(counts, strlen(counts), g->width, g->height, &rle, &why))
        return error_set(e, why.code, "%s: slice %d, mask %d: %.120s", p->what, p->slice, p->mask, why.msg);
    const json_t *area = json_object_get(row, "area");
    char expected[64];
    m->area = (int64_t)rle_area(&rle);
    rle_free(&rle);
    if (m->area < 1) return bad(p, e, "counts", "at least one pixel, found none");
    snprintf(expected, sizeof expected, "the mask's %" PRId64 " pixels", m->area);
    if (!json_is_integer(area) || json_integer_value(area) != m->area)
        return found(p, e, "area", expected, area);
    m->counts = strdup(counts);
    return m->counts || no_memory(p, e);
}

static bool read_mask(const Gallery *g, const json_t *row, const Place *p, GalleryMask *m, Error *e)
{
    static const char box[] = "[x, y, w, h] inside the image";
    const json_t *points = json_object_get(row, "point_coords"), *point = json_array_get(points, 0),
                 *x = json_array_get(point, 0), *y = json_array_get(point, 1);
    if (!json_is_object(row)) return bad(p, e, "masks", "a list of objects");
    if (!read_segmentation(g, row, p, m, e) || !read_ints(row, "bbox", 4, box, p, m->bbox, e) ||
        !read_ints(row, "crop_box", 4, box, p, m->crop_box, e) ||
        !read_number(row, "predicted_iou", -1e6, 1e6, p, &m->predicted_iou, e) ||
        !read_number(row, "stability_score", 0, 1, p, &m->stability, e))
        return false;
    if (m->bbox[0] + m->bbox[2] >= g->width || m->bbox[1] + m->bbox[3] >= g->height)
        return found(p, e, "bbox", box, json_object_get(row, "bbox"));
    if (m->crop_box[2] < 1 || m->crop_box[3] < 1 || m->crop_box[0] + m->crop_box[2] > g->width ||
        m->crop_box[1] + m->crop_box[3] > g->height)
        return found(p, e, "crop_box", box, json_object_get(row, "crop_box"));
    m->point[0] = json_number_value(x);
    m->point[1] = json_number_value(y);
    if (json_array_size(points) == 1 && json_array_size(point) == 2 && json_is_number(x) && json_is_number(y) &&
        m->point[0] >= 0 && m->point[0] <= g->width && m->point[1] >= 0 && m->point[1] <= g->height)
        return true;
    return found(p, e, "point_coords", "one [x, y] inside the image", points);
}

static bool read_slice(Gallery *g, const json_t *item, Place *p, Error *e)
{
    int64_t number;
    json_t *masks, *row;
    size_t i;
    if (!json_get_int(item, "slice", p->what, &number, e) || !json_get_array(item, "masks", p->what, &masks, e))
        return false;
    if (number < 0 || number >= CTRG_SLICES)
        return found(p, e, "slice", "a number from 0 to 23", json_object_get(item, "slice"));
    if (json_array_size(masks) > MAX_MASKS) return bad(p, e, "masks", "at most 16384 a slice, found more");
    GallerySlice *s = &g->slice[g->n];
    p->slice = s->slice = (int)number;
    s->mask = calloc(json_array_size(masks) + 1, sizeof *s->mask);
    if (!s->mask) return no_memory(p, e);
    g->n++;
    json_array_foreach(masks, i, row)
    {
        p->mask = (int)i;
        s->n++;
        if (!read_mask(g, row, p, &s->mask[i], e)) return false;
    }
    p->slice = p->mask = -1;
    return true;
}

static int by_slice(const void *a, const void *b)
{
    return ((const GallerySlice *)a)->slice - ((const GallerySlice *)b)->slice;
}

static bool read_slices(Gallery *g, const json_t *root, Place *p, Error *e)
{
    json_t *list, *item;
    size_t i;
    if (!json_get_array(root, "slices", p->what, &list, e)) return false;
    if (json_array_size(list) > CTRG_SLICES) return bad(p, e, "slices", "at most 24, found more");
    g->slice = calloc(CTRG_SLICES, sizeof *g->slice);
    if (!g->slice) return no_memory(p, e);
    json_array_foreach(list, i, item) if (!read_slice(g, item, p, e)) return false;
    qsort(g->slice, (size_t)g->n, sizeof *g->slice, by_slice);
    for (int k = 1; k < g->n; k++) {
        p->slice = g->slice[k].slice;
        if (p->slice == g->slice[k - 1].slice) return bad(p, e, "slice", "each slice once, found it twice");
    }
    return true;
}

static bool read_head(Gallery *g, const json_t *root, const Place *p, Error *e)
{
    const char *id;
    char *end;
    int64_t version;
    int size[2];
    json_t *settings;
    const json_t *pixel = json_object_get(root, "pixel_mm");
    if (!json_get_int(root, "version", p->what, &version, e)) return false;
    if (version != GALLERY_VERSION) return found(p, e, "version", "1", json_object_get(root, "version"));
    if (!json_get_string(root, "id", p->what, &id, e)) return false;
    g->id = strtoll(id, &end, 10);
    if (*id < '0' || *id > '9' || *end || g->id == INT64_MAX)
        return found(p, e, "id", "a string of digits", json_object_get(root, "id"));
    if (!read_ints(root, "size", 2, "[height, width] from 1 to 16384", p, size, e)) return false;
    if (size[0] < 1 || size[1] < 1)
        return found(p, e, "size", "[height, width] from 1 to 16384", json_object_get(root, "size"));
    g->height = size[0];
    g->width = size[1];
    if (!json_is_null(pixel) && !read_number(root, "pixel_mm", 0.001, 1000, p, &g->pixel_mm, e)) return false;
    if (!json_get_object(root, "settings", p->what, &settings, e)) return false;
    g->settings = json_incref(settings);
    return true;
}

Gallery *gallery_parse(const char *text, size_t n, const char *what, Error *e)
{
    json_t *root = json_parse(text, n, what, e);
    if (!root) return NULL;
    Place p = {what, -1, -1};
    Gallery *g = calloc(1, sizeof *g);
    bool ok = (g && (g->path = strdup(what))) || no_memory(&p, e);
    ok = ok && read_head(g, root, &p, e) && read_slices(g, root, &p, e);
    json_decref(root);
    if (ok) return g;
    gallery_free(g);
    return NULL;
}

Gallery *gallery_read(const char *path, Error *e)
{
    uint8_t *bytes;
    size_t n;
    if (!file_read(path, (size_t)1 << 30, &bytes, &n, e)) return NULL;
    Gallery *g = gallery_parse((const char *)bytes, n, path, e);
    free(bytes);
    return g;
}

bool gallery_path(const char *folder, int64_t id, char path[4096], Error *e)
{
    if (snprintf(path, 4096, "%s/%" PRId64 ".json", folder, id) < 4096) return true;
    return error_set(e, ERROR_INPUT, "%.100s...: path too long", folder);
}

Gallery *gallery_open(const char *folder, int64_t id, Error *e)
{
    char path[4096];
    Gallery *g = gallery_path(folder, id, path, e) ? gallery_read(path, e) : NULL;
    if (!g || g->id == id) return g;
    error_set(e, ERROR_INPUT, "%s: \"id\": expected %" PRId64 ", found %" PRId64, path, id, g->id);
    gallery_free(g);
    return NULL;
}

void gallery_free(Gallery *g)
{
    if (!g) return;
    for (int k = 0; k < g->n; k++) {
        for (int i = 0; i < g->slice[k].n; i++) free(g->slice[k].mask[i].counts);
        free(g->slice[k].mask);
    }
    json_decref(g->settings);
    free(g->slice);
    free(g->path);
    free(g);
}

const GallerySlice *gallery_slice(const Gallery *g, int slice)
{
    const GallerySlice key = {.slice = slice};
    return g->n ? bsearch(&key, g->slice, (size_t)g->n, sizeof key, by_slice) : NULL;
}

bool gallery_mask(const Gallery *g, const GalleryMask *m, uint8_t *plane, Error *e)
{
    Rle rle;
    if (!rle_from_text(m->counts, strlen(m->counts), g->width, g->height, &rle, e)) return false;
    rle_decode(&rle, plane);
    rle_free(&rle);
    return true;
}

/* ---- writing ---- */

json_t *gallery_mask_json(const Gallery *g, const GalleryMask *m)
{
    return json_pack("{s:{s:[i,i], s:s}, s:I, s:[i,i,i,i], s:f, s:[[f,f]], s:f, s:[i,i,i,i]}", "segmentation",
                     "size", g->height, g->width, "counts", m->counts, "area", (json_int_t)m->area, "bbox",
                     m->bbox[0], m->bbox[1], m->bbox[2], m->bbox[3], "predicted_iou", m->predicted_iou,
                     "point_coords", m->point[0], m->point[1], "stability_score", m->stability, "crop_box",
                     m->crop_box[0], m->crop_box[1], m->crop_box[2], m->crop_box[3]);
}

static json_t *slices_json(const Gallery *g)
{
    json_t *slices = json_array();
    for (int k = 0; k < g->n; k++) {
        const GallerySlice *s = &g->slice[k];
        json_t *masks = json_array();
        bool ok = masks;
        for (int i = 0; ok && i < s->n; i++)
            ok = !json_array_append_new(masks, gallery_mask_json(g, &s->mask[i]));
        ok = ok && !json_array_append_new(slices, json_pack("{s:i, s:O}", "slice", s->slice, "masks", masks));
        json_decref(masks);
        if (ok) continue;
        json_decref(slices);
        return NULL;
    }
    return slices;
}

bool gallery_write(const Gallery *g, const char *path, Error *e)
{
    char id[32];
    Place p = {path, -1, -1};
    FileWriter w;
    snprintf(id, sizeof id, "%" PRId64, g->id);
    json_t *slices = slices_json(g), *root = NULL;
    if (slices)
        root =
            json_pack("{s:i, s:s, s:[i,i], s:o, s:o, s:O}", "version", GALLERY_VERSION, "id", id, "size",
                      g->height, g->width, "pixel_mm", g->pixel_mm > 0 ? json_real(g->pixel_mm) : json_null(),
                      "settings", g->settings ? json_incref(g->settings) : json_object(), "slices", slices);
    char *text = root ? json_text(root, JSON_COMPACT) : NULL;
    json_decref(slices);
    json_decref(root);
    if (!text) return no_memory(&p, e);
    Error why = {0};
    Gallery *again = gallery_parse(text, strlen(text), path, &why);
    if (!again && why.code != ERROR_MEMORY) die("gallery_write: %s", why.msg);
    bool ok = again || no_memory(&p, e);
    gallery_free(again);
    if (ok && (ok = file_create(&w, path, e))) {
        fprintf(w.stream, "%s\n", text);
        ok = file_commit(&w, e);
    }
    free(text);
    return ok;
}
