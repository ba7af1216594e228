/* Phantoms as files; see phantom_study.h. */
#include "data/phantom_study.h"
#include "data/ctrg.h"
#include "data/file.h"
#include "data/image.h"
#include "data/json.h"
#include "data/rle.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const regimes[] = {"balanced", "ctrg"}, *const edits[] = {"none", "flip", "remove"};

/* One mask bit in one slice, as an object; *empty where the slice has none of it. */
static json_t *mask_object(const Phantom *p, int slice, int bit, uint8_t *plane, Error *e, bool *empty)
{
    size_t n = (size_t)p->size * (size_t)p->size, area = 0;
    const uint32_t *mask = p->mask + (size_t)slice * n;
    for (size_t i = 0; i < n; i++) area += plane[i] = mask[i] >> bit & 1;
    *empty = !area;
    if (!area) return NULL;
    Rle rle;
    if (!rle_encode(plane, p->size, p->size, &rle, e)) return NULL;
    char *text = rle_to_text(&rle);
    rle_free(&rle);
    const FindingLabel *label = finding_label(phantom_mask_label(p, bit));
    json_t *object =
        text ? json_pack("{s:i, s:s, s:s}", "slice", slice, "side", side_name(label->side), "counts", text)
             : NULL;
    free(text);
    if (!object) error_set(e, ERROR_MEMORY, "phantom %llu: no memory for a mask", (unsigned long long)p->seed);
    return object;
}

static json_t *masks_of(const Phantom *p, int k, uint8_t *plane, Error *e)
{
    json_t *list = json_array();
    for (int slice = 0; slice < p->n_slices; slice++)
        for (int bit = 2 * k; bit <= 2 * k + 1; bit++) {
            bool empty;
            json_t *object = mask_object(p, slice, bit, plane, e, &empty);
            if (empty) continue;
            if (!object || json_array_append_new(list, object)) {
                json_decref(list);
                return NULL;
            }
        }
    return list;
}

static json_t *truth_findings(const Phantom *p, Error *e)
{
    json_t *list = json_array();
    uint8_t *plane = malloc((size_t)p->size * (size_t)p->size);
    bool ok = list && plane;
    if (!ok) error_set(e, ERROR_MEMORY, "phantom %llu: no memory for masks", (unsigned long long)p->seed);
    for (int k = 0; ok && k < p->n_truth; k++) {
        const PhantomTruth *t = &p->truth[k];
        const FindingKind *kind = finding_kind(t->finding);
        json_t *masks = masks_of(p, k, plane, e);
        ok = masks && !json_array_append_new(
                          list, json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:o}", "entity",
                                          entity_name(kind->entity), "side", side_name(t->side), "density",
                                          density_name(kind->density), "clause", t->clause, "radius_mm",
                                          t->radius_mm, "volume_ml", t->volume_ml, "masks", masks));
    }
    free(plane);
    if (ok) return list;
    json_decref(list);
    return NULL;
}

static json_t *truth_block(const Phantom *p, Error *e)
{
    json_t *findings = truth_findings(p, e);
    if (!findings) return NULL;
    const PhantomOptions *o = &p->options;
    return json_pack("{s:I, s:i, s:s, s:i, s:I, s:s, s:i, s:[i,i], s:f, s:f, s:o}", "seed", (json_int_t)p->seed,
                     "version", PHANTOM_VERSION, "regime", regimes[o->regime], "style", p->style, "noise",
                     (json_int_t)o->noise, "edit", edits[o->edit], "edit_truth", o->edit_truth, "size", p->size,
                     p->size, "pixel_mm", p->pixel_mm, "slice_mm", p->slice_mm, "findings", findings);
}

/* Slice in which truth k shows most pixels; -1 where it shows none. */
static int best_slice(const Phantom *p, int k)
{
    size_t n = (size_t)p->size * (size_t)p->size, most = 0;
    int best = -1;
    for (int slice = 0; slice < p->n_slices; slice++) {
        size_t area = 0;
        for (size_t i = 0; i < n; i++) area += (p->mask[(size_t)slice * n + i] >> 2 * k & 3) != 0;
        if (area > most) most = area, best = slice;
    }
    return best;
}

json_t *phantom_annotation(const Phantom *p, int64_t id, Error *e)
{
    if (p->n_slices != CTRG_SLICES) die("phantom_annotation: %d slices, expected %d", p->n_slices, CTRG_SLICES);
    char name[64];
    snprintf(name, sizeof name, "%lld", (long long)id);
    json_t *images = json_array(), *entities = json_array(), *clauses = json_array(), *slices = json_array();
    for (int i = 0; i < CTRG_SLICES; i++) {
        char path[96];
        snprintf(path, sizeof path, "images/%s/%02d.png", name, i);
        json_array_append_new(images, json_string(path));
    }
    for (int k = 0; k < p->n_truth; k++) {
        json_array_append_new(entities, json_string(entity_name(finding_kind(p->truth[k].finding)->entity)));
        json_array_append_new(clauses, json_string(p->truth[k].clause));
        json_array_append_new(slices, json_integer(best_slice(p, k)));
    }
    json_t *truth = truth_block(p, e);
    json_t *out =
        json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "id", name, "findings", p->report, "impression",
                  p->impression, "images", images, "finding_entities", entities, "finding_entities_lession",
                  clauses, "finding_idx_images_contain_entity", slices, "truth", truth);
    if (!out && !(e && e->code)) error_set(e, ERROR_MEMORY, "phantom %s: no memory for its annotation", name);
    return out;
}

/* Not synced one by one: study.json is written last, and a reader that finds it missing draws the study anew.
 */
static bool write_slice(const Phantom *p, int k, const char *path, uint8_t *plane, Error *e)
{
    phantom_window(p, k, plane);
    return image_put_png(path, &(Image){p->size, p->size, 1, plane}, e);
}

bool phantom_write_study(const Phantom *p, const char *folder, int64_t id, Error *e)
{
    char path[4096];
    int used = snprintf(path, sizeof path - 32, "%s/images/%lld", folder, (long long)id);
    if (used >= (int)sizeof path - 32) return error_set(e, ERROR_INPUT, "%.100s...: path too long", folder);
    if (!file_make_folder(path, e)) return false;
    uint8_t *plane = malloc((size_t)p->size * (size_t)p->size);
    if (!plane) return error_set(e, ERROR_MEMORY, "%s: no memory for a slice", path);
    bool ok = true;
    for (int k = 0; ok && k < p->n_slices; k++) {
        snprintf(path + used, 32, "/%02d.png", k);
        ok = write_slice(p, k, path, plane, e);
    }
    free(plane);
    if (!ok) return false;
    json_t *entry = phantom_annotation(p, id, e);
    if (!entry) return false;
    snprintf(path + used, 32, "/study.json");
    ok = json_write(path, entry, e);
    json_decref(entry);
    return ok;
}

static bool same(const json_t *truth, uint64_t seed, const PhantomOptions *o)
{
    const char *regime = json_string_value(json_object_get(truth, "regime"));
    const char *edit = json_string_value(json_object_get(truth, "edit"));
    const json_t *style = json_object_get(truth, "style");
    return regime && edit && !strcmp(regime, regimes[o->regime]) && !strcmp(edit, edits[o->edit]) &&
           json_integer_value(json_object_get(truth, "seed")) == (json_int_t)seed &&
           json_integer_value(json_object_get(truth, "version")) == PHANTOM_VERSION &&
           json_integer_value(json_object_get(truth, "noise")) == (json_int_t)o->noise &&
           json_integer_value(json_object_get(truth, "edit_truth")) == o->edit_truth &&
           json_integer_value(json_array_get(json_object_get(truth, "size"), 0)) == o->size &&
           (o->style < 0 || json_integer_value(style) == o->style);
}

bool phantom_find_study(const char *folder, int64_t id, uint64_t seed, const PhantomOptions *o, json_t **entry)
{
    char path[4096];
    Error ignored = {0};
    *entry = NULL;
    if (snprintf(path, sizeof path, "%s/images/%lld/study.json", folder, (long long)id) >= (int)sizeof path)
        return false;
    json_t *found = json_read(path, &ignored);
    if (found && same(json_object_get(found, "truth"), seed, o)) {
        *entry = found;
        return true;
    }
    json_decref(found);
    return false;
}
