/* The lesions of a study with exact masks, one by one: the connected parts (26 neighbours, across slices too)
 * of each focal finding's mask on each side. Subarachnoid blood, a net of sulci, is one lesion a side. A lesion
 * is looked at in the slice where it has most pixels (the lowest on ties), and its size is the diameter of the
 * circle of that area. Parts of fewer than LESION_PIXELS there are splinters, not lesions. */
#ifndef TOOLS_LESIONS_H
#define TOOLS_LESIONS_H
#include "data/ctrg.h"

enum { LESION_PIXELS = 4 };

typedef struct Lesion {
    int truth; /* row of the study's truth */
    int label; /* of the finding on this side */
    int slice;
    int64_t area;  /* pixels, in that slice */
    double mm;     /* diameter; pixel_mm of the truth block */
    uint8_t *mask; /* [height][width] of 0 or 1: its pixels in that slice */
} Lesion;

/* By truth row, side, and first voxel. *lesion is malloc'ed (lesions_free). */
bool lesions_find(const CtrgStudy *s, Lesion **lesion, int *n, Error *e);
void lesions_free(Lesion *lesion, int n);
#endif
