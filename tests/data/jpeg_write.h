/* JPEG files for tests, through libjpeg. */
#ifndef TESTS_DATA_JPEG_WRITE_H
#define TESTS_DATA_JPEG_WRITE_H
#include "data/image.h"
#include <stdio.h>
#include <stdlib.h>
#include <jpeglib.h>

typedef struct JpegWrite {
    int quality; /* 1..100 */
    bool progressive, arithmetic, two,
        half; /* two: in two scans; half: colours at half resolution, as most encoders write them */
} JpegWrite;

/* malloc'ed, the caller's. channels may be 4 (CMYK) too. */
static inline uint8_t *jpeg_write(const Image *image, JpegWrite o, size_t *n)
{
    struct jpeg_compress_struct z = {0};
    struct jpeg_error_mgr manager;
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    z.err = jpeg_std_error(&manager);
    jpeg_create_compress(&z);
    jpeg_mem_dest(&z, &bytes, &size);
    z.image_width = (JDIMENSION)image->width;
    z.image_height = (JDIMENSION)image->height;
    z.input_components = image->channels;
    z.in_color_space = image->channels == 1 ? JCS_GRAYSCALE : image->channels == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&z);
    jpeg_set_quality(&z, o.quality, TRUE);
    if (o.progressive) jpeg_simple_progression(&z);
    static const jpeg_scan_info two[] = {{1, {0}, 0, 0, 0, 0}, {1, {0}, 1, 63, 0, 0}};
    if (o.two) z.scan_info = two, z.num_scans = 2;
    z.arith_code = o.arithmetic;
    if (image->channels == 3 && !o.half) z.comp_info[0].h_samp_factor = z.comp_info[0].v_samp_factor = 1;
    jpeg_start_compress(&z, TRUE);
    size_t line = (size_t)image->width * (size_t)image->channels;
    while (z.next_scanline < z.image_height) {
        JSAMPROW row = image->pixel + line * z.next_scanline;
        jpeg_write_scanlines(&z, &row, 1);
    }
    jpeg_finish_compress(&z);
    jpeg_destroy_compress(&z);
    *n = size;
    return bytes;
}
#endif
