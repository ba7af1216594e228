#include "tools/lesions.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One label's voxels [24][height][width]: 1 of the mask, 2 queued or done. */
typedef struct Field {
    int width, height;
    uint8_t *voxel;
    int32_t *queue;
} Field;

typedef struct List {
    Lesion *lesion;
    int n, room;
} List;

static bool no_memory(const CtrgStudy *s, Error *e)
{
    return error_set(e, ERROR_MEMORY, "study %lld: no memory for its lesions", (long long)s->id);
}

/* Collects the part that voxel `start` is in: its voxels are queue[0..n). */
static int32_t flood(Field *f, int32_t start)
{
    int32_t n = 0, plane = f->width * f->height;
    f->queue[n++] = start;
    f->voxel[start] = 2;
    for (int32_t at = 0; at < n; at++) {
        int z = f->queue[at] / plane, y = f->queue[at] % plane / f->width, x = f->queue[at] % f->width;
        for (int dz = z ? -1 : 0; dz <= (z + 1 < CTRG_SLICES); dz++)
            for (int dy = y ? -1 : 0; dy <= (y + 1 < f->height); dy++)
                for (int dx = x ? -1 : 0; dx <= (x + 1 < f->width); dx++) {
                    int32_t to = f->queue[at] + dz * plane + dy * f->width + dx;
                    if (f->voxel[to] != 1) continue;
                    f->voxel[to] = 2;
                    f->queue[n++] = to;
                }
    }
    return n;
}

/* The lesion made of queue[0..n), unless it is a splinter. False without memory. */
static bool add_part(List *l, const Field *f, int32_t n, int truth, int label, double pixel_mm)
{
    int64_t area[CTRG_SLICES] = {0};
    int32_t plane = f->width * f->height;
    int slice = 0;
    for (int32_t i = 0; i < n; i++) area[f->queue[i] / plane]++;
    for (int i = 1; i < CTRG_SLICES; i++)
        if (area[i] > area[slice]) slice = i;
    if (area[slice] < LESION_PIXELS) return true;
    if (l->n == l->room) {
        int room = l->room ? 2 * l->room : 16;
        Lesion *grown = realloc(l->lesion, (size_t)room * sizeof *grown);
        if (!grown) return false;
        l->lesion = grown;
        l->room = room;
    }
    uint8_t *mask = calloc((size_t)plane, 1);
    if (!mask) return false;
    for (int32_t i = 0; i < n; i++)
        if (f->queue[i] / plane == slice) mask[f->queue[i] % plane] = 1;
    double mm = 2 * sqrt((double)area[slice] / 3.14159265358979323846) * pixel_mm;
    l->lesion[l->n++] = (Lesion){truth, label, slice, area[slice], mm, mask};
    return true;
}

/* The lesions of one label of a truth row. */
static bool add_label(List *l, const CtrgStudy *s, Field *f, int truth, int label, uint8_t *one, Error *e)
{
    const CtrgTruth *t = &s->truth[truth];
    size_t plane = (size_t)f->width * (size_t)f->height;
    memset(f->voxel, 0, CTRG_SLICES * plane);
    for (int m = 0; m < t->n_masks; m++) {
        uint8_t *to = f->voxel + (size_t)t->mask[m].slice * plane;
        if (t->mask[m].label != label) continue;
        if (!ctrg_read_mask(s, &t->mask[m], one, e)) return false;
        for (size_t i = 0; i < plane; i++) to[i] |= one[i];
    }
    if (t->finding == FIND_SUBARACHNOID_HIGH) {
        int32_t n = 0;
        for (int32_t i = 0; i < (int32_t)(CTRG_SLICES * plane); i++)
            if (f->voxel[i]) f->queue[n++] = i;
        return add_part(l, f, n, truth, label, s->pixel_mm) || no_memory(s, e);
    }
    for (int32_t i = 0; i < (int32_t)(CTRG_SLICES * plane); i++)
        if (f->voxel[i] == 1 && !add_part(l, f, flood(f, i), truth, label, s->pixel_mm)) return no_memory(s, e);
    return true;
}

static bool has_label(const CtrgTruth *t, int label)
{
    for (int m = 0; m < t->n_masks; m++)
        if (t->mask[m].label == label) return true;
    return false;
}

bool lesions_find(const CtrgStudy *s, Lesion **lesion, int *n, Error *e)
{
    size_t plane = (size_t)s->width * (size_t)s->height;
    List l = {0};
    *lesion = NULL;
    *n = 0;
    if (CTRG_SLICES * plane > INT32_MAX)
        return error_set(e, ERROR_INPUT, "study %lld: masks of %d x %d are too large", (long long)s->id,
                         s->width, s->height);
    Field f = {s->width, s->height, malloc(CTRG_SLICES * plane + 1),
               malloc((CTRG_SLICES * plane + 1) * sizeof(int32_t))};
    uint8_t *one = malloc(plane + 1);
    bool ok = f.voxel && f.queue && one;
    if (!ok) no_memory(s, e);
    for (int k = 0; ok && k < s->n_truth; k++) {
        if (!finding_kind(s->truth[k].finding)->focal) continue;
        for (int label = 0; ok && label < LABEL_COUNT; label++)
            if (has_label(&s->truth[k], label)) ok = add_label(&l, s, &f, k, label, one, e);
    }
    free(f.voxel);
    free(f.queue);
    free(one);
    if (!ok) {
        lesions_free(l.lesion, l.n);
        return false;
    }
    *lesion = l.lesion;
    *n = l.n;
    return true;
}

void lesions_free(Lesion *lesion, int n)
{
    for (int i = 0; i < n; i++) free(lesion[i].mask);
    free(lesion);
}
