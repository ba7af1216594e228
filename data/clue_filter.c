#include "data/clue_filter.h"
#include "data/clues.h"
#include "data/study.h"
#include <stdlib.h>
#include <string.h>

static const char *const layer_entities[2][STUDY_LAYERS] = {
#define CLUE_LAYER(map, layer, entities) [CLUE_LAYERS_##map][layer] = entities,
#include "data/clue_layers.def"
};
static const ClueFilter filters[] = {
#define CLUE_FILTER(name, min_mm2, max_head, min_stability, crowd)                                             \
    {name, min_mm2, max_head, min_stability, crowd},
#include "data/clue_filters.def"
};
enum { FILTERS = sizeof filters / sizeof *filters };

bool clue_layers_from_name(const char *name, ClueLayers *map)
{
    *map = !strcmp(name, "release") ? CLUE_LAYERS_RELEASE : CLUE_LAYERS_CLINICAL;
    return *map == CLUE_LAYERS_RELEASE || !strcmp(name, "clinical");
}

uint8_t clue_layers(ClueLayers map, int entity)
{
    const char *name = clue_entity_name(entity);
    size_t n = strlen(name);
    uint8_t layers = 0;
    for (int l = 0; l < STUDY_LAYERS; l++)
        for (const char *s = layer_entities[map][l]; *s;) {
            size_t word = strcspn(s, " ");
            if (word == n && !memcmp(s, name, n)) layers |= (uint8_t)(1 << l);
            s += word + (s[word] == ' ');
        }
    return layers;
}

int clue_filter_count(void) { return FILTERS; }

const ClueFilter *clue_filter(int i)
{
    if (i < 0 || i >= FILTERS) die("clue_filter: %d is not in 0..%d", i, FILTERS - 1);
    return &filters[i];
}

const ClueFilter *clue_filter_named(const char *name)
{
    for (int i = 0; i < FILTERS; i++)
        if (!strcmp(filters[i].name, name)) return &filters[i];
    return NULL;
}

double clue_pixel_mm(const Gallery *g) { return g->pixel_mm > 0 ? g->pixel_mm : STUDY_FIELD_MM / g->width; }

int64_t clue_head_pixels(const uint8_t *grey, size_t n)
{
    int64_t head = 0;
    for (size_t i = 0; i < n; i++) head += grey[i] > 0;
    return head;
}

/* How many of the slice's masks are larger than mask i. */
static int larger(const GallerySlice *s, int i)
{
    int n = 0;
    for (int k = 0; k < s->n; k++)
        n += s->mask[k].area > s->mask[i].area || (s->mask[k].area == s->mask[i].area && k < i);
    return n;
}

int clue_filter_slice(const ClueFilter *f, const Gallery *g, const GallerySlice *s, int64_t head, bool *keep)
{
    double mm = clue_pixel_mm(g);
    bool crowded = f->crowd && s->n > f->crowd;
    int kept = 0;
    for (int i = 0; i < s->n; i++) {
        const GalleryMask *m = &s->mask[i];
        double area = (double)m->area;
        keep[i] = area * mm * mm >= f->min_mm2 && m->stability >= f->min_stability &&
                  (f->max_head <= 0 || area <= f->max_head * (double)head);
        if (crowded) {
            int rank = larger(s, i);
            keep[i] &= rank >= 1 && rank <= f->crowd;
        }
        kept += keep[i];
    }
    return kept;
}
