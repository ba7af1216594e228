/* PNG through libpng's sequential reader and writer, both on memory. libpng reports errors by longjmp: what the
 * error path needs lives in one struct, not in locals. */
#include "data/image.h"
#include "data/file.h"
#include "data/jpeg.h"
#include "tensor/checked.h"
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SIDE_LIMIT = 16384, CHUNK_LIMIT = 8 << 20, CHUNK_COUNT = 128 };
static const size_t FILE_LIMIT = (size_t)1 << 30;
/* deflate never unpacks one byte to more than 1032 (zlib's technical details), so a header that promises more
 * than that lies. */
static const uint64_t DEFLATE_RATIO = 1032;

typedef struct Png {
    const char *path; /* NULL for memory */
    Error *e;
    bool no_memory; /* an allocation failed: whatever libpng says of the file follows from that */
    jmp_buf fault;
    const uint8_t *in; /* bounded reader: the next byte and how many there are */
    size_t remaining;
    uint8_t *out; /* written so far */
    size_t out_used, out_room;
    uint8_t *pixel;
    png_bytep *row;
} Png;

static void on_error(png_structp png, png_const_charp text)
{
    Png *p = png_get_error_ptr(png);
    if (p->no_memory)
        error_set(p->e, ERROR_MEMORY, "%s: PNG: out of memory", p->path ? p->path : "picture");
    else
        error_set(p->e, ERROR_INPUT, "%s: PNG: %s", p->path ? p->path : "picture", text);
    longjmp(p->fault, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void take(png_structp png, png_bytep dst, size_t n)
{
    Png *p = png_get_io_ptr(png);
    if (n > p->remaining) png_error(png, "the file ends early");
    memcpy(dst, p->in, n);
    p->in += n;
    p->remaining -= n;
}

static void put(png_structp png, png_bytep src, size_t n)
{
    Png *p = png_get_io_ptr(png);
    if (n > p->out_room - p->out_used) {
        uint64_t room = 0;
        bool fits = u64_add(p->out_used, n, &room) && u64_mul(room, 2, &room);
        uint8_t *larger = fits ? realloc(p->out, room) : NULL;
        p->no_memory = !larger;
        if (!larger) png_error(png, "out of memory");
        p->out = larger;
        p->out_room = room;
    }
    memcpy(p->out + p->out_used, src, n);
    p->out_used += n;
}

static void no_flush(png_structp png) { (void)png; }
static void *allocate(Png *p, size_t n)
{
    void *memory = malloc(n);
    if (!memory) p->no_memory = true;
    return memory;
}
static png_voidp get_memory(png_structp png, png_alloc_size_t n) { return allocate(png_get_mem_ptr(png), n); }
static void give_memory(png_structp png, png_voidp p)
{
    (void)png;
    free(p);
}

/* Everything becomes 8-bit grey or RGB. */
static void set_conversions(png_structp png, png_infop info)
{
    int colour = png_get_color_type(png, info);
    if (colour == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (colour == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png);
    png_set_scale_16(png);
    png_set_strip_alpha(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
}

static void read_pixels(Png *p, png_structp png, png_infop info, size_t file_bytes, Image *image)
{
    png_read_info(png, info);
    set_conversions(png, info);
    uint32_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
    int channels = png_get_channels(png, info);
    uint64_t line = (uint64_t)width * (uint64_t)channels, bytes, most;
    if (channels != 1 && channels != 3) png_error(png, "neither grey nor RGB");
    if (png_get_rowbytes(png, info) != line) png_error(png, "rows of an unexpected length");
    /* the smallest packing is one bit a channel before unpacking to eight */
    if (!u64_mul(line, height, &bytes) || !u64_mul(file_bytes, DEFLATE_RATIO * 24, &most) || bytes > most)
        png_error(png, "declares more pixels than its bytes can hold");
    p->pixel = allocate(p, bytes);
    p->row = allocate(p, height * sizeof *p->row);
    if (!p->pixel || !p->row) png_error(png, "out of memory");
    for (uint32_t y = 0; y < height; y++) p->row[y] = p->pixel + y * line;
    png_read_image(png, p->row);
    png_read_end(png, NULL);
    *image = (Image){(int)width, (int)height, channels, p->pixel};
    p->pixel = NULL;
}

static bool decode(const char *path, const uint8_t *bytes, size_t n, Image *image, Error *e)
{
    static const uint8_t signature[8] = {137, 'P', 'N', 'G', 13, 10, 26, 10};
    if (n < 8 || memcmp(bytes, signature, 8) != 0)
        return error_set(e, ERROR_INPUT, "%s: not a PNG file (its first 8 bytes are another signature)", path);
    Png p = {.path = path, .e = e, .in = bytes, .remaining = n};
    png_structp volatile png = NULL;
    png_infop volatile info = NULL;
    volatile bool ok = false;
    if (setjmp(p.fault) == 0) {
        png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &p, on_error, on_warning, &p, get_memory,
                                       give_memory);
        if (png) info = png_create_info_struct(png);
        if (info) {
            png_set_read_fn(png, &p, take);
            png_set_user_limits(png, SIDE_LIMIT, SIDE_LIMIT);
            png_set_chunk_cache_max(png, CHUNK_COUNT);
            png_set_chunk_malloc_max(png, CHUNK_LIMIT);
            read_pixels(&p, png, info, n, image);
            ok = true;
        } else {
            error_set(e, ERROR_MEMORY, "%s: PNG: out of memory", path);
        }
    }
    png_structp png_now = png;
    png_infop info_now = info;
    if (png_now) png_destroy_read_struct(&png_now, info_now ? &info_now : NULL, NULL);
    free(p.row);
    free(p.pixel);
    return ok;
}

bool image_read_png(const char *path, Image *image, Error *e)
{
    uint8_t *bytes;
    size_t n;
    if (!file_read(path, FILE_LIMIT, &bytes, &n, e)) return false;
    bool ok = decode(path, bytes, n, image, e);
    free(bytes);
    return ok;
}

bool image_decode(const char *what, const uint8_t *bytes, size_t n, Image *image, Error *e)
{
    if (n >= 8 && bytes[0] == 137) return decode(what, bytes, n, image, e);
    if (n >= 2 && bytes[0] == 0xff && bytes[1] == 0xd8) return jpeg_decode(what, bytes, n, image, e);
    return error_set(e, ERROR_INPUT, "%s: neither PNG nor JPEG (its first bytes are another signature)", what);
}

bool image_read_as(const char *path, const char *what, Image *image, Error *e)
{
    uint8_t *bytes;
    size_t n, length = strlen(path);
    Error own = {0};
    if (!file_read(path, FILE_LIMIT, &bytes, &n, &own)) {
        bool named = !strncmp(own.msg, path, length);
        return error_set(e, own.code, "%s%.200s", what, named ? own.msg + length : ": cannot be read");
    }
    bool ok = image_decode(what, bytes, n, image, e);
    free(bytes);
    return ok;
}

bool image_read(const char *path, Image *image, Error *e) { return image_read_as(path, path, image, e); }

bool image_is_name(const char *name)
{
    const char *end = *name == '.' ? NULL : strrchr(name, '.');
    return end && (!strcasecmp(end, ".png") || !strcasecmp(end, ".jpg") || !strcasecmp(end, ".jpeg"));
}

void image_to_grey(Image *image)
{
    size_t n = image->channels == 3 ? (size_t)image->width * (size_t)image->height : 0;
    const uint8_t *p = image->pixel;
    for (size_t i = 0; i < n; i++, p += 3)
        image->pixel[i] = (uint8_t)((19595u * p[0] + 38470u * p[1] + 7471u * p[2] + 32768u) >> 16);
    image->channels = 1;
}

static void write_pixels(png_structp png, png_infop info, const Image *image)
{
    png_set_IHDR(png, info, (uint32_t)image->width, (uint32_t)image->height, 8,
                 image->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(png, 3); /* filters and harder levels gain nothing on grainy slices */
    png_set_filter(png, 0, PNG_FILTER_NONE);
    png_write_info(png, info);
    size_t line = (size_t)image->width * (size_t)image->channels;
    for (int y = 0; y < image->height; y++) png_write_row(png, image->pixel + (size_t)y * line);
    png_write_end(png, info);
}

static bool encode(const char *path, const Image *image, uint8_t **bytes, size_t *n, Error *e)
{
    if (image->width < 1 || image->height < 1 || image->width > SIDE_LIMIT || image->height > SIDE_LIMIT ||
        (image->channels != 1 && image->channels != 3))
        die("image_encode_png: %d x %d x %d, expected sides 1..%d and 1 or 3 channels", image->width,
            image->height, image->channels, SIDE_LIMIT);
    Png p = {.path = path, .e = e};
    png_structp volatile png = NULL;
    png_infop volatile info = NULL;
    volatile bool ok = false;
    if (setjmp(p.fault) == 0) {
        png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &p, on_error, on_warning, &p, get_memory,
                                        give_memory);
        if (png) info = png_create_info_struct(png);
        if (info) {
            png_set_write_fn(png, &p, put, no_flush);
            write_pixels(png, info, image);
            ok = true;
        } else {
            error_set(e, ERROR_MEMORY, "%s: PNG: out of memory", path ? path : "picture");
        }
    }
    png_structp png_now = png;
    png_infop info_now = info;
    if (png_now) png_destroy_write_struct(&png_now, info_now ? &info_now : NULL);
    if (ok) {
        *bytes = p.out;
        *n = p.out_used;
    } else {
        free(p.out);
    }
    return ok;
}

bool image_encode_png(const Image *image, uint8_t **bytes, size_t *n, Error *e)
{
    return encode(NULL, image, bytes, n, e);
}

bool image_write_png(const char *path, const Image *image, Error *e)
{
    uint8_t *bytes;
    size_t n;
    if (!encode(path, image, &bytes, &n, e)) return false;
    bool ok = file_write(path, bytes, n, e);
    free(bytes);
    return ok;
}

bool image_put_png(const char *path, const Image *image, Error *e)
{
    uint8_t *bytes;
    size_t n;
    if (!encode(path, image, &bytes, &n, e)) return false;
    FILE *f = fopen(path, "wb");
    bool ok = f && fwrite(bytes, 1, n, f) == n;
    ok = f && !fclose(f) && ok;
    free(bytes);
    return ok || error_set(e, ERROR_IO, "%s: cannot write %zu bytes: %m", path, n);
}
