/* What MedCLIP's image tower reads of an 8-bit image (models/medclip.h), byte by byte as its reference does
 * with Pillow. */
#ifndef DATA_MEDCLIP_IMAGE_H
#define DATA_MEDCLIP_IMAGE_H
#include "data/image.h"

/* Grey (colour by (19595 R + 38470 G + 7471 B + 32768) >> 16), in the middle of a black square of side
 * max(side, width, height) (the odd pixel right and below), bicubically to side x side, then (p/255 - 0.5863) /
 * 0.2795, thrice. x has side * side * 3 elements (H,W,C); nothing of it is set on false. */
bool medclip_pixels(const Image *in, int side, float *x, Error *e);
#endif
