/* Pictures for people: rectangles, other pictures, outlines of masks, and Latin text in letters of 5 x 7 dots.
 * What lies outside the picture is left out. All pictures are RGB. */
#ifndef TOOLS_DRAW_H
#define TOOLS_DRAW_H
#include "data/image.h"

/* White; the caller's (free(image->pixel)). */
bool draw_new(Image *image, int width, int height, Error *e);
void draw_rectangle(Image *image, int x, int y, int width, int height, const uint8_t rgb[3]);
/* A square picture u8[size][size][channels] (1 or 3), each pixel drawn times x times. */
void draw_picture(Image *image, int x, int y, const uint8_t *pixel, int size, int channels, int times);
/* Another picture, as it is. */
void draw_copy(Image *image, int x, int y, const Image *from);
/* The pixels of a mask u8[size][size] that have a neighbour outside it or lie on the border; of the enlarged
 * mask. */
void draw_outline(Image *image, int x, int y, const uint8_t *mask, int size, int times, const uint8_t rgb[3]);

/* A dot is scale x scale pixels, a letter takes 6 x scale across and 7 x scale down. Small letters are drawn as
 * capitals, UTF-8 beyond ASCII as blanks. */
void draw_text(Image *image, int x, int y, int scale, const uint8_t rgb[3], const char *text);
int draw_text_width(const char *text, int scale);
#endif
