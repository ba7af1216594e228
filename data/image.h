/* Eight-bit images; PNG files (libpng, plain row reading only), and JPEG files (data/jpeg.h), which are only
 * read. */
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

/* PNG or JPEG, told apart by the first bytes. image_decode reads it from memory, and `what` names it in
 * messages; so it does for image_read_as, whose messages never hold `path`: file names may hold patients'
 * names. */
bool image_read(const char *path, Image *image, Error *e);
bool image_read_as(const char *path, const char *what, Image *image, Error *e);
bool image_decode(const char *what, const uint8_t *bytes, size_t n, Image *image, Error *e);

/* Whether a file's name ends as a picture's: .png, .jpg or .jpeg. Hidden files are none. */
bool image_is_name(const char *name);

/* RGB to grey in place, as Pillow's convert("L"): (19595 R + 38470 G + 7471 B + 32768) >> 16. */
void image_to_grey(Image *image);

/* Crash-safe (temporary name, fsync, rename); image_put_png is neither, for pictures after which a crash-safe
 * file says that they are complete. */
bool image_write_png(const char *path, const Image *image, Error *e);
bool image_put_png(const char *path, const Image *image, Error *e);

/* The same to memory; *bytes is malloc'ed and the caller's. For pages that embed their pictures. */
bool image_encode_png(const Image *image, uint8_t **bytes, size_t *n, Error *e);
#endif
