/* Eight-bit images and PNG files (libpng, plain row reading only). */
#ifndef DATA_IMAGE_H
#define DATA_IMAGE_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>

/* Row-major, channels interleaved: pixel[(y * width + x) * channels + c]. channels is 1 (grey) or 3 (RGB). The
 * pixels belong to the holder of the struct: free(image.pixel). */
typedef struct Image {
    int width, height, channels;
    uint8_t *pixel;
} Image;

/* Limits on what a file may declare: 16384 x 16384. Accepts every PNG colour type; palette is expanded, alpha
 * is dropped, 16 bits become 8; grey stays one channel. On false *image is untouched. */
bool image_read_png(const char *path, Image *image, Error *e);

/* Crash-safe (temporary name, fsync, rename). */
bool image_write_png(const char *path, const Image *image, Error *e);

/* The same to memory; *bytes is malloc'ed and the caller's. For pages that embed their pictures. */
bool image_encode_png(const Image *image, uint8_t **bytes, size_t *n, Error *e);
#endif
