/* Binary masks as COCO run lengths: the mask is read column by column (down, then right), counts alternate
 * between zeros and ones and begin with zeros. The text form writes each count (from the fourth on, its
 * difference to the count two before) as a signed number in 5-bit groups, low first, sign-extended, bit 5 =
 * "more follows", plus 48: printable ASCII, the form that pycocotools reads and writes. */
#ifndef DATA_RLE_H
#define DATA_RLE_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct Rle {
    int width, height;
    size_t n;
    uint32_t *count; /* malloc'ed; sums to width * height */
} Rle;

/* mask is row-major height x width; every non-zero byte is one. *rle is the caller's (rle_free). */
bool rle_encode(const uint8_t *mask, int width, int height, Rle *rle, Error *e);
/* mask gets width * height bytes of 0 or 1. */
void rle_decode(const Rle *rle, uint8_t *mask);
uint64_t rle_area(const Rle *rle);
void rle_free(Rle *rle);

/* NUL-terminated, malloc'ed, the caller's; NULL when memory is short. */
char *rle_to_text(const Rle *rle);
/* Checks that every count is in range and that they sum to width * height. */
bool rle_from_text(const char *text, size_t n, int width, int height, Rle *rle, Error *e);
/* The same for plain counts. */
bool rle_from_counts(const int64_t *count, size_t n, int width, int height, Rle *rle, Error *e);
#endif
