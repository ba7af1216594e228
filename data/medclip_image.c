#include "data/medclip_image.h"
#include "data/resample.h"
#include <stdlib.h>

static const float mean = 0.5862785803043838f, sd = 0.27950088968644304f;

static uint8_t grey(const Image *in, int64_t i)
{
    if (in->channels == 1) return in->pixel[i];
    const uint8_t *p = in->pixel + 3 * i;
    return (uint8_t)((19595u * p[0] + 38470u * p[1] + 7471u * p[2] + 32768u) >> 16);
}

bool medclip_pixels(const Image *in, int side, float *x, Error *e)
{
    int S = side > in->width ? side : in->width;
    if (in->height > S) S = in->height;
    int left = (S - in->width) / 2, top = (S - in->height) / 2;
    Image square = {S, S, 1, calloc((size_t)S, (size_t)S)}, small;
    if (!square.pixel) return error_set(e, ERROR_MEMORY, "no memory for an image of %d x %d", S, S);
    for (int64_t row = 0; row < in->height; row++)
        for (int64_t column = 0; column < in->width; column++)
            square.pixel[(top + row) * S + left + column] = grey(in, row * in->width + column);
    bool ok = image_resize(&square, side, side, IMAGE_BICUBIC, &small, e);
    free(square.pixel);
    if (!ok) return false;
    for (int64_t i = 0; i < (int64_t)side * side; i++)
        for (int c = 0; c < 3; c++) x[3 * i + c] = ((float)small.pixel[i] / 255.0f - mean) / sd;
    free(small.pixel);
    return true;
}
