/* Resizing 8-bit images bit by bit as Pillow's Image.resize does (held against 9.4),
 * which the reference pipelines of SAM (bilinear) and MedCLIP (bicubic) begin with. */
#ifndef DATA_RESAMPLE_H
#define DATA_RESAMPLE_H
#include "data/image.h"

typedef enum {
    IMAGE_BILINEAR, /* a hat over 1 input pixel to either side */
    IMAGE_BICUBIC,  /* Keys 1981, a = -0.5, over 2 */
} ImageFilter;

/* Horizontally, then vertically, with 8 bits in between; where the image shrinks the filter is as much wider
 * (antialias). Weights in double, normalised to 1, then whole multiples of 2^-22 (halves away from 0); sums are
 * rounded to nearest and clipped to 0..255. Sides are 1..16384, channels 1 or 3; anything else, no pixels or
 * another filter is ERROR_INPUT. out's pixels are malloc'ed and the caller's; on false *out is untouched. */
bool image_resize(const Image *in, int width, int height, ImageFilter filter, Image *out, Error *e);
#endif
