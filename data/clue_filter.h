/* Which masks may be the clue of an entity: those that a filter leaves, in the slices of the entity's layers.
 * Tables: data/clue_filters.def, data/clue_layers.def. */
#ifndef DATA_CLUE_FILTER_H
#define DATA_CLUE_FILTER_H
#include "data/gallery.h"

typedef enum ClueLayers { CLUE_LAYERS_RELEASE, CLUE_LAYERS_CLINICAL } ClueLayers;
bool clue_layers_from_name(const char *name, ClueLayers *map); /* "release", "clinical" */
/* Bit l: the entity is seen in layer l, slices 3l..3l+2. */
uint8_t clue_layers(ClueLayers map, int entity);

typedef struct ClueFilter {
    const char *name;
    double min_mm2, max_head, min_stability;
    int crowd;
} ClueFilter;
int clue_filter_count(void);
const ClueFilter *clue_filter(int i);                  /* 0..count-1 */
const ClueFilter *clue_filter_named(const char *name); /* NULL if unknown */

/* mm a pixel. Where the gallery does not say, the field of view that every study is brought to (data/study.h)
 * over the width. */
double clue_pixel_mm(const Gallery *g);
/* The head in a windowed slice u8[n]: pixels that are not black. */
int64_t clue_head_pixels(const uint8_t *grey, size_t n);

/* keep[i]: mask i of the slice remains. Returns how many. head: of clue_head_pixels in that slice. Of equally
 * large masks the earlier counts as the larger. */
int clue_filter_slice(const ClueFilter *f, const Gallery *g, const GallerySlice *s, int64_t head, bool *keep);
#endif
