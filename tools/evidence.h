/* What the segmentation head saw, as pictures: slices in grey with its probabilities over them. */
#ifndef TOOLS_EVIDENCE_H
#define TOOLS_EVIDENCE_H
#include "data/image.h"
#include "tools/train_data.h"

/* One slice's probabilities [14][14] at size x size: bilinear, half-pixel centres, as op_resize. */
void evidence_resize(const float prob[GRID_CELLS], int size, float *out);

/* rgb u8[size][size][3]: the slice grey u8[size][size], tinted by probability (blue, through violet at 0.5, to
 * red; the more opaque the likelier), and the contour of 0.5 in light blue. */
void evidence_draw(const uint8_t *grey, int size, const float prob[GRID_CELLS], uint8_t *rgb);

/* Writes folder/<id>/00.png .. 23.png and their montage folder/<id>.png. pixel u8[24][size][size], prob
 * [24][14][14].
 */
bool evidence_write(const char *folder, int64_t id, const uint8_t *pixel, int size, const float *prob,
                    Error *e);
#endif
