/* The quantised blocks of GGUF files to float. Each block holds its own scales, as fp16; facts of the layouts:
 *
 *   type  values bytes  block                                                        value
 *   Q4_0  32     18     d, 16 bytes: low nibbles are values 0..15, high ones 16..31  d (q - 8)
 *   Q4_1  32     20     d, m, 16 bytes likewise                                      d q + m
 *   Q8_0  32     34     d, 32 int8                                                   d q
 *   Q4_K  256    144    d, dmin, 12 bytes of eight 6-bit scales s and minima m,      (d s) q - (dmin m)
 *                       128 bytes: of each 32 the low nibbles are 32 values, the
 *                       high ones the next 32
 *   Q6_K  256    210    128 bytes of low nibbles, 64 bytes of two high bits,         (d s) (q - 32)
 *                       sixteen int8 scales s, d
 *
 * Products and sums are rounded in that order, one by one: bit-equal to the gguf package's own decoding. */
#ifndef DATA_GGUF_BLOCKS_H
#define DATA_GGUF_BLOCKS_H
#include "data/tensor_file.h"

/* `blocks` blocks of one of the five types to float. Dies at any other type. */
void gguf_blocks_decode(StDType type, const uint8_t *raw, size_t blocks, float *x);
#endif
