/* JPEG files through libjpeg-turbo: baseline and progressive, Huffman-coded, 8 bits. */
#ifndef DATA_JPEG_H
#define DATA_JPEG_H
#include "data/image.h"

/* Grey stays one channel, colour becomes RGB; sides up to 16384. What libjpeg only warns of (a file that ends
 * early, corrupt data, bytes that do not belong) is an error too: such a slice is not what the scanner wrote.
 * `what` names the file in messages. On false *image is untouched. */
bool jpeg_decode(const char *what, const uint8_t *bytes, size_t n, Image *image, Error *e);
#endif
