/* Studies from PNG and JPEG files, and to PNG files. */
#include "data/file.h"
#include "data/json.h"
#include "data/study_plane.h"
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LEAST_FILES = 8, MOST_FILES = 4096 };

static int is_picture(const struct dirent *d) { return image_is_name(d->d_name); }

static bool join(char *path, size_t n, Error *e, const char *folder, const char *name)
{
    int length = snprintf(path, n, "%s/%s", folder, name);
    return (length > 0 && (size_t)length < n) || error_set(e, ERROR_INPUT, "%.400s: path too long", folder);
}

/* Which of n files each study slice takes. */
static bool choose_files(const char *folder, const StudyOptions *o, int n, Study *s, Error *e)
{
    double from = 1, to = n;
    if (n != STUDY_SLICES && !o->any_count)
        return error_set(
            e, ERROR_INPUT,
            "%s: %d PNG or JPEG files, expected %d; --any-count repeats or skips slices of other studies",
            folder, n, STUDY_SLICES);
    if (o->to > o->from) from = o->from, to = o->to;
    if (from < 1 || to > n || from != floor(from) || to != floor(to))
        return error_set(e, ERROR_INPUT, "%s: range %g:%g, expected file numbers from 1 to %d", folder, from,
                         to, n);
    int count = (int)(to - from) + 1;
    if (count < LEAST_FILES)
        return error_set(e, ERROR_INPUT, "%s: %d slices, expected at least %d (one a layer)", folder, count,
                         LEAST_FILES);
    for (int i = 0; i < STUDY_SLICES; i++) {
        int k = (int)from - 1 + study_pick(i, count);
        s->first[i] = s->last[i] = o->from_vertex ? n - 1 - k : k;
    }
    s->from = from, s->to = to;
    return true;
}

/* The two axes of a picture: with a pixel size the common field of view round its middle, else all of it. */
static bool picture_axes(const Image *image, const char *path, const Study *s, double file_mm,
                         PlaneAxis axis[2], Error *e)
{
    if (file_mm <= 0 && image->width != image->height)
        return error_set(e, ERROR_INPUT, "%s: %d x %d, expected a square picture or a pixel size", path,
                         image->width, image->height);
    double in = file_mm > 0 ? file_mm : 1, out = file_mm > 0 ? s->pixel_mm : (double)image->width / s->size;
    axis[0] = (PlaneAxis){image->width, in, image->width * in / 2, out};
    axis[1] = (PlaneAxis){image->height, in, image->height * in / 2, out};
    return true;
}

static bool read_slice(const char *path, const char *what, const StudyOptions *o, int i, Study *s,
                       PlaneResampler *r, Error *e)
{
    Image image = {0};
    size_t plane = (size_t)s->size * (size_t)s->size;
    if (!image_read_as(path, what, &image, e)) return false;
    image_to_grey(&image);
    bool ok = true;
    PlaneAxis axis[2];
    if (!r->size) {
        ok = picture_axes(&image, what, s, o->pixel_mm, axis, e);
        ok = ok && (plane_resampler_make(r, axis[0], axis[1], s->size) ||
                    error_set(e, ERROR_MEMORY, "%s: no memory for a slice", what));
    } else if (image.width != r->nx || image.height != r->ny)
        ok = error_set(e, ERROR_INPUT, "%s: %d x %d, expected %d x %d as the slices before", what, image.width,
                       image.height, r->nx, r->ny);
    size_t n = (size_t)image.width * (size_t)image.height;
    float *in = malloc((n + plane) * sizeof *in), *out = in ? in + n : NULL;
    if (ok && !in) ok = error_set(e, ERROR_MEMORY, "%s: no memory for a slice", what);
    if (ok) {
        for (size_t k = 0; k < n; k++) in[k] = image.pixel[k];
        plane_resample(r, in, 0, out);
        for (size_t k = 0; k < plane; k++) s->pixel[(size_t)i * plane + k] = (uint8_t)lrintf(out[k]);
    }
    free(in);
    free(image.pixel);
    return ok;
}

static bool read_slices(const char *const path[STUDY_SLICES], const char *const what[STUDY_SLICES],
                        const StudyOptions *o, Study *s, Error *e)
{
    s->pixel = malloc((size_t)STUDY_SLICES * (size_t)s->size * (size_t)s->size);
    if (!s->pixel) return error_set(e, ERROR_MEMORY, "%s: no memory for the slices", what[0]);
    PlaneResampler r = {0};
    bool ok = true;
    for (int i = 0; ok && i < STUDY_SLICES; i++) ok = read_slice(path[i], what[i], o, i, s, &r, e);
    plane_resampler_free(&r);
    return ok;
}

static Study new_study(const StudyOptions *o)
{
    return (Study){.size = o->size, .pixel_mm = o->pixel_mm > 0 ? STUDY_FIELD_MM / o->size : 0};
}

bool study_from_files(const char *const path[STUDY_SLICES], const char *const what[STUDY_SLICES],
                      const StudyOptions *o, Study *s, Error *e)
{
    Study made = new_study(o);
    bool ok = study_check_size(o, what[0], e) && read_slices(path, what, o, &made, e);
    for (int i = 0; i < STUDY_SLICES; i++) made.first[i] = made.last[i] = i;
    if (ok)
        *s = made;
    else
        study_free(&made);
    return ok;
}

static bool read_files(const char *folder, const StudyOptions *o, struct dirent **file, int n, Study *s,
                       Error *e)
{
    char path[STUDY_SLICES][4096], words[STUDY_SLICES][400];
    const char *at[STUDY_SLICES], *what[STUDY_SLICES];
    if (!choose_files(folder, o, n, s, e)) return false;
    for (int i = 0; i < STUDY_SLICES; i++) {
        if (!join(path[i], sizeof path[i], e, folder, file[s->first[i]]->d_name)) return false;
        snprintf(words[i], sizeof words[i], "%.300s: file %d", folder, s->first[i] + 1);
        at[i] = path[i], what[i] = words[i];
    }
    return read_slices(at, what, o, s, e);
}

bool study_from_folder(const char *folder, const StudyOptions *o, Study *s, Error *e)
{
    if (!study_check_size(o, folder, e)) return false;
    struct dirent **file;
    int n = scandir(folder, &file, is_picture, versionsort);
    if (n < 0) return error_set(e, ERROR_IO, "%s: %s", folder, strerror(errno));
    Study made = new_study(o);
    bool ok = n <= MOST_FILES ||
              error_set(e, ERROR_INPUT, "%s: %d PNG or JPEG files, expected at most %d", folder, n, MOST_FILES);
    ok = ok && read_files(folder, o, file, n, &made, e);
    for (int i = 0; i < n; i++) free(file[i]);
    free(file);
    if (ok)
        *s = made;
    else
        study_free(&made);
    return ok;
}

/* folder/kind/<id>, made if it is missing. */
static bool slice_folder(char *path, size_t n, const char *folder, const char *kind, int64_t id, Error *e)
{
    int length = snprintf(path, n, "%s/%s/%lld", folder, kind, (long long)id);
    if (length < 0 || (size_t)length >= n - 16) return error_set(e, ERROR_INPUT, "%s: path too long", folder);
    return true;
}

static bool write_slices(const Study *s, const char *folder, int64_t id, Error *e)
{
    char path[4096];
    if (!slice_folder(path, sizeof path, folder, "images", id, e) || !file_make_folder(path, e)) return false;
    size_t end = strlen(path), plane = (size_t)s->size * (size_t)s->size;
    for (int i = 0; i < STUDY_SLICES; i++) {
        Image image = {s->size, s->size, 1, s->pixel + (size_t)i * plane};
        snprintf(path + end, sizeof path - end, "/%02d.png", i);
        if (!image_write_png(path, &image, e)) return false;
    }
    return true;
}

static bool write_hu(const Study *s, const char *folder, int64_t id, Error *e)
{
    char path[4096];
    if (!slice_folder(path, sizeof path, folder, "hu", id, e) || !file_make_folder(path, e)) return false;
    size_t end = strlen(path), plane = (size_t)s->size * (size_t)s->size;
    Image image = {s->size, s->size, 3, malloc(3 * plane)};
    if (!image.pixel) return error_set(e, ERROR_MEMORY, "%s: no memory for a slice", path);
    bool ok = true;
    for (int i = 0; ok && i < STUDY_SLICES; i++) {
        for (size_t k = 0; k < plane; k++) {
            int value = s->hu[(size_t)i * plane + k] + 1024;
            image.pixel[3 * k] = (uint8_t)(value >> 8);
            image.pixel[3 * k + 1] = (uint8_t)(value & 255);
            image.pixel[3 * k + 2] = 0;
        }
        snprintf(path + end, sizeof path - end, "/%02d.png", i);
        ok = image_write_png(path, &image, e);
    }
    free(image.pixel);
    return ok;
}

/* The entry of annotations.json. NULL when memory is short. */
static json_t *entry(const Study *s, int64_t id, const char *findings)
{
    char text[64];
    snprintf(text, sizeof text, "%lld", (long long)id);
    json_t *images = json_array(), *at = json_array();
    for (int i = 0; i < STUDY_SLICES; i++) {
        char path[96];
        snprintf(path, sizeof path, "images/%s/%02d.png", text, i);
        json_array_append_new(images, json_string(path));
        json_array_append_new(at, json_real(floor(100 * s->at[i] + 0.5) / 100));
    }
    json_t *import = json_pack("{s:f, s:b, s:f, s:f, s:o}", "pixel_mm", s->pixel_mm, "automatic", s->automatic,
                               "from", s->from, "to", s->to, "at", at);
    return json_pack("{s:s, s:s, s:s, s:o, s:[], s:[], s:[], s:o}", "id", text, "findings", findings,
                     "impression", "", "images", images, "finding_entities", "finding_entities_lession",
                     "finding_idx_images_contain_entity", "import", import);
}

static bool write_entry(const Study *s, const char *folder, int64_t id, const char *findings, const char *key,
                        json_t *value, Error *e)
{
    char path[4096], text[64];
    struct stat there;
    if (!join(path, sizeof path, e, folder, "annotations.json")) return false;
    json_t *list = stat(path, &there) ? json_array() : json_read(path, e);
    if (!list) return false;
    json_t *made = entry(s, id, findings);
    snprintf(text, sizeof text, "%lld", (long long)id);
    bool ok = json_is_array(list) || error_set(e, ERROR_INPUT, "%s: expected a list of studies", path);
    if (ok && !made) ok = error_set(e, ERROR_INPUT, "%s: study %s: findings are not UTF-8", path, text);
    if (ok && key && json_object_set(made, key, value))
        ok = error_set(e, ERROR_MEMORY, "%s: no memory for an entry", path);
    size_t k = 0;
    while (ok && k < json_array_size(list)) {
        const char *other = json_string_value(json_object_get(json_array_get(list, k), "id"));
        if (other && !strcmp(other, text)) break;
        k++;
    }
    if (ok) {
        int rc = k < json_array_size(list) ? json_array_set(list, k, made) : json_array_append(list, made);
        ok = !rc ? json_write(path, list, e) : error_set(e, ERROR_MEMORY, "%s: no memory for an entry", path);
    }
    json_decref(made);
    json_decref(list);
    return ok;
}

bool study_write_with(const Study *s, const char *folder, int64_t id, const char *findings, bool with_hu,
                      const char *key, json_t *value, Error *e)
{
    return write_slices(s, folder, id, e) && (!with_hu || !s->hu || write_hu(s, folder, id, e)) &&
           write_entry(s, folder, id, findings, key, value, e);
}

bool study_write(const Study *s, const char *folder, int64_t id, const char *findings, bool with_hu, Error *e)
{
    return study_write_with(s, folder, id, findings, with_hu, NULL, NULL, e);
}

bool study_read_hu(const char *folder, int64_t id, int16_t **hu, int *size, Error *e)
{
    char path[4096];
    struct stat there;
    if (!slice_folder(path, sizeof path, folder, "hu", id, e)) return false;
    if (stat(path, &there)) {
        if (e) *e = (Error){0};
        return false;
    }
    size_t end = strlen(path);
    int16_t *all = NULL;
    int side = 0;
    bool ok = true;
    for (int i = 0; ok && i < STUDY_SLICES; i++) {
        Image image = {0};
        snprintf(path + end, sizeof path - end, "/%02d.png", i);
        if (!image_read_png(path, &image, e)) {
            ok = false;
            break;
        }
        if (!i) side = image.width;
        size_t plane = (size_t)side * (size_t)side;
        if (image.channels != 3 || image.width != side || image.height != side || side > STUDY_MAX_SIZE)
            ok = error_set(e, ERROR_INPUT, "%s: %d x %d with %d channels, expected square RGB of one size",
                           path, image.width, image.height, image.channels);
        if (ok && !all && !(all = malloc(STUDY_SLICES * plane * sizeof *all)))
            ok = error_set(e, ERROR_MEMORY, "%s: no memory for the slices", path);
        for (size_t k = 0; ok && k < plane; k++)
            all[(size_t)i * plane + k] = (int16_t)(image.pixel[3 * k] * 256 + image.pixel[3 * k + 1] - 1024);
        free(image.pixel);
    }
    if (!ok) {
        free(all);
        return false;
    }
    *hu = all, *size = side;
    return true;
}
