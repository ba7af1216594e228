/* libjpeg reports errors by longjmp: what the error path needs lives in one struct, not in locals. */
#include "data/jpeg.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <jpeglib.h>
#include <jerror.h>

/* Each scan of a progressive file costs a pass over the whole picture; encoders write about ten. */
enum { SIDE_LIMIT = 16384, SCAN_LIMIT = 64 };
/* For the coefficients of a progressive picture, which libjpeg holds whole. */
static const long MEMORY_LIMIT = 1L << 30;
/* A block of 64 samples is at least one bit, so a byte is at most 512 pixels; twice that, for colours at less
 * than full resolution. A header that promises more lies. */
static const uint64_t PIXELS_PER_BYTE = 1024;

typedef struct Jpeg {
    struct jpeg_decompress_struct z;
    struct jpeg_error_mgr manager;
    struct jpeg_progress_mgr progress;
    jmp_buf fault;
    const char *what;
    Error *e;
    uint8_t *pixel;
} Jpeg;

static void leave(j_common_ptr z)
{
    Jpeg *j = z->client_data;
    char text[JMSG_LENGTH_MAX];
    z->err->format_message(z, text);
    int code = z->err->msg_code == JERR_OUT_OF_MEMORY ? ERROR_MEMORY : ERROR_INPUT;
    error_set(j->e, code, "%s: JPEG: %s", j->what, text);
    longjmp(j->fault, 1);
}

static void on_message(j_common_ptr z, int level)
{
    if (level < 0) leave(z); /* a warning; others only tell what is done */
}

static void refuse(Jpeg *j, int code, const char *why)
{
    error_set(j->e, code, "%s: JPEG: %s", j->what, why);
    longjmp(j->fault, 1);
}

static void on_progress(j_common_ptr z)
{
    if (((j_decompress_ptr)z)->input_scan_number > SCAN_LIMIT)
        refuse(z->client_data, ERROR_INPUT, "too many scans");
}

static void check_header(Jpeg *j, size_t n)
{
    const struct jpeg_decompress_struct *z = &j->z;
    char text[80];
    if (z->image_width > SIDE_LIMIT || z->image_height > SIDE_LIMIT) {
        snprintf(text, sizeof text, "%u x %u pixels, expected sides of at most %d", z->image_width,
                 z->image_height, SIDE_LIMIT);
        refuse(j, ERROR_INPUT, text);
    }
    if (z->num_components != 1 && z->num_components != 3) {
        snprintf(text, sizeof text, "%d channels, expected grey or colour", z->num_components);
        refuse(j, ERROR_INPUT, text);
    }
    if (z->arith_code) refuse(j, ERROR_INPUT, "arithmetic coding, expected Huffman's");
    if ((uint64_t)z->image_width * z->image_height > PIXELS_PER_BYTE * n)
        refuse(j, ERROR_INPUT, "declares more pixels than its bytes can hold");
}

static void read_pixels(Jpeg *j, const uint8_t *bytes, size_t n)
{
    struct jpeg_decompress_struct *z = &j->z;
    jpeg_create_decompress(z);
    z->mem->max_memory_to_use = MEMORY_LIMIT;
    z->progress = &j->progress;
    j->progress.progress_monitor = on_progress;
    jpeg_mem_src(z, bytes, n);
    jpeg_read_header(z, TRUE);
    check_header(j, n);
    z->out_color_space = z->num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    z->dct_method = JDCT_ISLOW;
    jpeg_start_decompress(z);
    size_t line = (size_t)z->output_width * (size_t)z->output_components;
    j->pixel = malloc(line * z->output_height);
    if (!j->pixel) refuse(j, ERROR_MEMORY, "out of memory");
    while (z->output_scanline < z->output_height) {
        JSAMPROW row = j->pixel + line * z->output_scanline;
        jpeg_read_scanlines(z, &row, 1);
    }
    jpeg_finish_decompress(z);
}

static bool try_read(Jpeg *j, const uint8_t *bytes, size_t n)
{
    if (setjmp(j->fault)) return false;
    read_pixels(j, bytes, n);
    return true;
}

bool jpeg_decode(const char *what, const uint8_t *bytes, size_t n, Image *image, Error *e)
{
    if (n < 2 || bytes[0] != 0xff || bytes[1] != 0xd8)
        return error_set(e, ERROR_INPUT, "%s: not a JPEG file (its first 2 bytes are another signature)", what);
    Jpeg *j = calloc(1, sizeof *j); /* not on the stack: it changes between setjmp and longjmp */
    if (!j) return error_set(e, ERROR_MEMORY, "%s: JPEG: out of memory", what);
    j->what = what;
    j->e = e;
    j->z.err = jpeg_std_error(&j->manager);
    j->manager.error_exit = leave;
    j->manager.emit_message = on_message;
    j->z.client_data = j;
    bool ok = try_read(j, bytes, n);
    if (ok) *image = (Image){(int)j->z.output_width, (int)j->z.output_height, j->z.output_components, j->pixel};
    if (!ok) free(j->pixel);
    jpeg_destroy_decompress(&j->z);
    free(j);
    return ok;
}
