/* One picture of a study: a column for each of the 8 layers, its 3 slices from top (caudal) to bottom, and on
 * the left, when the scan is at hand, its midline seen from the side with a line where each slice was taken. */
#ifndef DATA_MONTAGE_H
#define DATA_MONTAGE_H
#include "data/study.h"

/* v may be NULL. The image is the caller's (free(image->pixel)). */
bool montage_draw(const Study *s, const Volume *v, Image *image, Error *e);

/* The slices alone: pixel u8[24][size][size][channels], grey (1) or RGB (3). */
bool montage_slices(const uint8_t *pixel, int size, int channels, Image *image, Error *e);
/* The same with cells of up to `largest` pixels a side. */
bool montage_cells(const uint8_t *pixel, int size, int channels, int largest, Image *image, Error *e);
#endif
