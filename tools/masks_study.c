/* A study's slices and their masks. */
#include "tools/masks.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

void mask_study_free(MaskStudy *s)
{
    free(s->pixel);
    *s = (MaskStudy){0};
}

bool mask_study_read(MaskStudy *s, const Ctrg *data, const CtrgStudy *study, const MaskOptions *o, Error *e)
{
    MaskStudy new = {.id = study->id, .n = CTRG_SLICES, .channels = 1};
    new.pixel_mm = study->has_truth ? study->pixel_mm : o->pixel_mm;
    if (!ctrg_read_slices(data, study, &new.pixel, &new.width, &new.height, e)) return false;
    *s = new;
    return true;
}

bool mask_study_file(MaskStudy *s, const char *path, Error *e)
{
    Image image;
    if (!image_read(path, &image, e)) return false;
    *s = (MaskStudy){.n = 1, .width = image.width, .height = image.height, .channels = image.channels};
    s->pixel = image.pixel;
    return true;
}

static int is_picture(const struct dirent *d) { return image_is_name(d->d_name); }

/* File i of the folder to the end of s; the first sets size and channels. */
static bool add_file(MaskStudy *s, const char *path, Error *e)
{
    MaskStudy one;
    if (!mask_study_file(&one, path, e)) return false;
    size_t plane = (size_t)one.width * (size_t)one.height * (size_t)one.channels;
    bool ok = true;
    if (s->n == 0) {
        s->width = one.width, s->height = one.height, s->channels = one.channels;
        s->pixel = malloc(CTRG_SLICES * plane);
        ok = s->pixel || error_set(e, ERROR_MEMORY, "%s: no memory for %d slices", path, CTRG_SLICES);
    } else if (one.width != s->width || one.height != s->height || one.channels != s->channels) {
        ok = error_set(e, ERROR_INPUT, "%s: %d x %d pixels of %d channels, expected %d x %d of %d as before it",
                       path, one.width, one.height, one.channels, s->width, s->height, s->channels);
    }
    if (ok) memcpy(s->pixel + plane * (size_t)s->n++, one.pixel, plane);
    mask_study_free(&one);
    return ok;
}

bool mask_study_folder(MaskStudy *s, const char *folder, const MaskOptions *o, Error *e)
{
    struct dirent **file;
    MaskStudy new = {.id = o->id < 0 ? 0 : o->id, .pixel_mm = o->pixel_mm};
    int n = scandir(folder, &file, is_picture, versionsort);
    if (n < 0) return error_set(e, ERROR_IO, "%s: cannot read the folder", folder);
    bool ok = (n >= 1 && n <= CTRG_SLICES) ||
              error_set(e, ERROR_INPUT, "%s: neither annotations.json nor 1 to %d PNG or JPEG files (%d)",
                        folder, CTRG_SLICES, n);
    for (int i = 0; i < n; i++) {
        char path[4096];
        if (ok && snprintf(path, sizeof path, "%s/%s", folder, file[i]->d_name) >= (int)sizeof path)
            ok = error_set(e, ERROR_INPUT, "%.100s...: path too long", folder);
        ok = ok && add_file(&new, path, e);
        free(file[i]);
    }
    free(file);
    if (ok)
        *s = new;
    else
        mask_study_free(&new);
    return ok;
}

int mask_slices(const MaskOptions *o, int n)
{
    int count = 0;
    for (int i = 0; i < n; i++) count += o->slices >> i & 1;
    return count;
}

Gallery *mask_study_gallery(MaskModel *m, const MaskOptions *o, const MaskStudy *s, const json_t *settings,
                            SamMaskTimes *times, MaskTick *tick, void *context, Error *e)
{
    Gallery *g = calloc(1, sizeof *g);
    if (g) g->slice = calloc((size_t)s->n, sizeof *g->slice);
    if (g) g->settings = json_deep_copy(settings);
    bool ok = (g && g->slice && g->settings) ||
              error_set(e, ERROR_MEMORY, "no memory for a gallery of %d slices", s->n);
    if (ok) g->id = s->id, g->width = s->width, g->height = s->height, g->pixel_mm = s->pixel_mm;
    size_t plane = (size_t)s->width * (size_t)s->height * (size_t)s->channels;
    for (int i = 0; ok && i < s->n; i++) {
        if (!(o->slices >> i & 1)) continue;
        const Image image = {s->width, s->height, s->channels, s->pixel + (size_t)i * plane};
        GallerySlice *slice = &g->slice[g->n];
        slice->slice = i;
        Error why = {0};
        if (cli_interrupted())
            ok = error_set(e, ERROR_INTERRUPTED, "interrupted");
        else if (!sam_masks(&m->tape, &m->source, &m->settings, &image, slice, times, &why))
            ok = error_set(e, why.code, "study %lld, slice %d: %s", (long long)s->id, i, why.msg);
        if (!ok) break;
        g->n++;
        if (tick) tick(context);
    }
    if (ok) return g;
    gallery_free(g);
    return NULL;
}
