#include "data/image.h"
#include "data/file.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include "tests/data/fail_alloc.h"

static char folder[] = "/tmp/test-image-XXXXXX";
static char path[64];

/* ---- PNG files built chunk by chunk, independently of libpng ---- */

typedef struct Built {
    uint8_t bytes[4096];
    size_t n;
} Built;

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void put_chunk(Built *b, const char *type, const void *data, size_t n)
{
    uint8_t *p = b->bytes + b->n;
    ck_assert(b->n + n + 12 <= sizeof b->bytes);
    put_u32(p, (uint32_t)n);
    memcpy(p + 4, type, 4);
    if (n) memcpy(p + 8, data, n);
    put_u32(p + 8 + n, (uint32_t)crc32(0, p + 4, (unsigned)n + 4));
    b->n += n + 12;
}

static Built start(uint32_t width, uint32_t height, int depth, int colour)
{
    Built b = {.bytes = {137, 'P', 'N', 'G', 13, 10, 26, 10}, .n = 8};
    uint8_t header[13] = {0};
    put_u32(header, width);
    put_u32(header + 4, height);
    header[8] = (uint8_t)depth;
    header[9] = (uint8_t)colour;
    put_chunk(&b, "IHDR", header, sizeof header);
    return b;
}

static void put_rows(Built *b, const uint8_t *rows, size_t n)
{
    uint8_t packed[1024];
    uLongf size = sizeof packed;
    ck_assert(compress(packed, &size, rows, n) == Z_OK);
    put_chunk(b, "IDAT", packed, size);
}

static bool read_built(const Built *b, size_t n, Image *image, Error *e)
{
    FILE *f = fopen(path, "wb");
    ck_assert(f && fwrite(b->bytes, 1, n, f) == n && fclose(f) == 0);
    return image_read_png(path, image, e);
}

START_TEST(round_trip)
{
    for (int channels = 1; channels <= 3; channels += 2) {
        Error e = {0};
        uint8_t pixel[7 * 5 * 3];
        for (size_t i = 0; i < sizeof pixel; i++) pixel[i] = (uint8_t)(i * 37);
        Image in = {7, 5, channels, pixel}, out = {0};
        ck_assert_msg(image_write_png(path, &in, &e), "%s", e.msg);
        ck_assert_msg(image_read_png(path, &out, &e), "%s", e.msg);
        ck_assert(out.width == 7 && out.height == 5 && out.channels == channels);
        ck_assert_mem_eq(out.pixel, pixel, (size_t)(7 * 5 * channels));
        free(out.pixel);
        uint8_t *memory, *disk;
        size_t n, m;
        ck_assert(image_encode_png(&in, &memory, &n, &e) && file_read(path, 100000, &disk, &m, &e));
        ck_assert(n == m && memcmp(memory, disk, n) == 0);
        free(memory);
        free(disk);
    }
}
END_TEST

/* Two rows of every colour type and depth; each row begins with its filter byte 0. */
START_TEST(colour_types)
{
    static const struct {
        int colour, depth, width, channels;
        size_t n; /* bytes of rows */
        uint8_t rows[32], pixel[16];
    } cases[] = {
        {0, 1, 3, 1, 4, {0, 0xa0, 0, 0x40}, {255, 0, 255, 0, 255, 0}},
        {0, 2, 3, 1, 4, {0, 0x1b, 0, 0xe4}, {0, 85, 170, 255, 170, 85}},
        {0, 4, 2, 1, 4, {0, 0x0f, 0, 0x8a}, {0, 255, 136, 170}},
        {0, 8, 2, 1, 6, {0, 1, 2, 0, 3, 4}, {1, 2, 3, 4}},
        {0, 16, 1, 1, 6, {0, 0x80, 0x00, 0, 0xff, 0xff}, {128, 255}},
        {2, 8, 1, 3, 8, {0, 1, 2, 3, 0, 4, 5, 6}, {1, 2, 3, 4, 5, 6}},
        {2, 16, 1, 3, 14, {0, 1, 1, 2, 2, 3, 3, 0, 4, 4, 5, 5, 6, 6}, {1, 2, 3, 4, 5, 6}},
        {3, 1, 2, 3, 4, {0, 0x40, 0, 0x80}, {10, 11, 12, 20, 21, 22, 20, 21, 22, 10, 11, 12}},
        {3, 8, 1, 3, 4, {0, 0, 0, 1}, {10, 11, 12, 20, 21, 22}},
        {4, 8, 1, 1, 6, {0, 7, 99, 0, 8, 1}, {7, 8}},
        {4, 16, 1, 1, 10, {0, 7, 7, 9, 9, 0, 8, 8, 1, 1}, {7, 8}},
        {6, 8, 1, 3, 10, {0, 1, 2, 3, 0, 0, 4, 5, 6, 255}, {1, 2, 3, 4, 5, 6}},
        {6, 16, 1, 3, 18, {0, 1, 1, 2, 2, 3, 3, 0, 0, 0, 4, 4, 5, 5, 6, 6, 0, 1}, {1, 2, 3, 4, 5, 6}},
    };
    static const uint8_t palette[6] = {10, 11, 12, 20, 21, 22};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Built b = start((uint32_t)cases[i].width, 2, cases[i].depth, cases[i].colour);
        if (cases[i].colour == 3) {
            put_chunk(&b, "PLTE", palette, sizeof palette);
            put_chunk(&b, "tRNS", "\0", 1);
        }
        put_rows(&b, cases[i].rows, cases[i].n);
        put_chunk(&b, "IEND", NULL, 0);
        Error e = {0};
        Image image = {0};
        ck_assert_msg(read_built(&b, b.n, &image, &e), "%zu: %s", i, e.msg);
        ck_assert(image.width == cases[i].width && image.height == 2 && image.channels == cases[i].channels);
        ck_assert_msg(!memcmp(image.pixel, cases[i].pixel, (size_t)(image.width * 2 * image.channels)), "%zu",
                      i);
        free(image.pixel);
    }
}
END_TEST

/* ---- damaged and hostile files: what is wrong, and the words after "PATH: " ---- */

typedef enum Fault {
    NO_SIGNATURE,
    NO_WIDTH,
    TOO_WIDE,
    TOO_HIGH,
    BAD_DEPTH,
    BAD_COLOUR,
    NO_PALETTE,
    NO_ROWS,
    SHORT_ROWS,
    ALL_DECLARED,
    BAD_CHECKSUM,
    BAD_DEFLATE,
    BAD_FILTER,
    LONG_CHUNK,
    NO_END,
    EMPTY,
} Fault;

static Built build_fault(Fault fault)
{
    static const uint8_t rows[6] = {0, 1, 2, 0, 3, 4};
    uint8_t bad[6] = {9, 1, 2, 0, 3, 4};
    Built b = start(fault == NO_WIDTH       ? 0
                    : fault == TOO_WIDE     ? 16385
                    : fault == ALL_DECLARED ? 16384
                                            : 2,
                    fault == TOO_HIGH       ? 0x7fffffff
                    : fault == ALL_DECLARED ? 16384
                                            : 2,
                    fault == BAD_DEPTH ? 3 : 8,
                    fault == BAD_COLOUR   ? 5
                    : fault == NO_PALETTE ? 3
                                          : 0);
    if (fault == BAD_DEFLATE)
        put_chunk(&b, "IDAT", "not zlib", 8);
    else if (fault == SHORT_ROWS)
        put_rows(&b, rows, 3);
    else if (fault != NO_ROWS)
        put_rows(&b, fault == BAD_FILTER ? bad : rows, 6);
    if (fault == BAD_CHECKSUM) b.bytes[b.n - 1] ^= 1;
    if (fault == LONG_CHUNK) put_u32(b.bytes + 33, 0x80000001);
    if (fault != NO_END) put_chunk(&b, "IEND", NULL, 0);
    if (fault == NO_SIGNATURE) b.bytes[1] = 'Q';
    if (fault == EMPTY) b.n = 0;
    return b;
}

START_TEST(hostile)
{
    static const char *const messages[] = {
        [NO_SIGNATURE] = "not a PNG file (its first 8 bytes are another signature)",
        [NO_WIDTH] = "PNG: Invalid IHDR data",
        [TOO_WIDE] = "PNG: Invalid IHDR data",
        [TOO_HIGH] = "PNG: Invalid IHDR data",
        [BAD_DEPTH] = "PNG: Invalid IHDR data",
        [BAD_COLOUR] = "PNG: Invalid IHDR data",
        [NO_PALETTE] = "PNG: IDAT: Missing PLTE before IDAT",
        [NO_ROWS] = "PNG: IEND: out of place",
        [SHORT_ROWS] = "PNG: Not enough image data",
        [ALL_DECLARED] = "PNG: declares more pixels than its bytes can hold",
        [BAD_CHECKSUM] = "PNG: IDAT: CRC error",
        [BAD_DEFLATE] = "PNG: IDAT: incorrect header check",
        [BAD_FILTER] = "PNG: bad adaptive filter value",
        [LONG_CHUNK] = "PNG: PNG unsigned integer out of range",
        [NO_END] = "PNG: the file ends early",
        [EMPTY] = "not a PNG file (its first 8 bytes are another signature)",
    };
    Built b = build_fault((Fault)_i);
    Error e = {0};
    Image image;
    char expected[200];
    failing.largest = 0;
    ck_assert_msg(!read_built(&b, b.n, &image, &e), "read; expected: %s", messages[_i]);
    ck_assert_uint_lt(failing.largest, 100000);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    snprintf(expected, sizeof expected, "%s: %s", path, messages[_i]);
    ck_assert_str_eq(e.msg, expected);
}
END_TEST

START_TEST(prefixes)
{
    Built b = start(2, 2, 8, 0);
    put_rows(&b, (const uint8_t[]){0, 1, 2, 0, 3, 4}, 6);
    put_chunk(&b, "IEND", NULL, 0);
    for (size_t k = 0; k <= b.n; k++) {
        Error e = {0};
        Image image = {0};
        bool ok = read_built(&b, k, &image, &e);
        ck_assert_msg(k == b.n ? ok : !ok && e.code == ERROR_INPUT, "%zu: %s", k, e.msg);
        free(image.pixel);
    }
}
END_TEST

static bool read_file(Error *e)
{
    Image image = {0};
    bool ok = image_read_png(path, &image, e);
    free(image.pixel);
    return ok;
}

static bool write_file(Error *e)
{
    uint8_t pixel[6] = {1, 2, 3, 4, 5, 6};
    return image_write_png(path, &(Image){2, 1, 3, pixel}, e);
}

START_TEST(allocations)
{
    ck_assert_int_gt(fail_each(write_file), 4);
    ck_assert_int_gt(fail_each(read_file), 4);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/t.png", folder);
    Suite *s = suite_create("image");
    TCase *t = tcase_create("image");
    tcase_add_test(t, round_trip);
    tcase_add_test(t, colour_types);
    tcase_add_loop_test(t, hostile, 0, EMPTY + 1);
    tcase_add_test(t, prefixes);
    tcase_add_test(t, allocations);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    unlink(path);
    rmdir(folder);
    return failed != 0;
}
