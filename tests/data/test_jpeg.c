#include "data/jpeg.h"
#include "data/file.h"
#include "tests/data/jpeg_write.h"
#include <check.h>
#include <string.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"

/* Smooth, so that little is lost: grey, and colours that differ. */
static Image picture(int width, int height, int channels)
{
    Image p = {width, height, channels, malloc((size_t)(width * height * channels))};
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++)
                p.pixel[(y * width + x) * channels + c] =
                    (uint8_t)(40 + 3 * x + 2 * (c == 1 ? height - y : y) + 10 * c);
    return p;
}

static int worst(const Image *a, const Image *b)
{
    int most = 0;
    ck_assert(a->width == b->width && a->height == b->height && a->channels == b->channels);
    for (int i = 0; i < a->width * a->height * a->channels; i++)
        most = abs(a->pixel[i] - b->pixel[i]) > most ? abs(a->pixel[i] - b->pixel[i]) : most;
    return most;
}

START_TEST(round_trip)
{
    static const struct {
        int width, height, channels;
        JpegWrite o;
        int within;
    } cases[] = {
        {1, 1, 1, {.quality = 95}, 1},
        {37, 21, 1, {.quality = 95}, 3},
        {37, 21, 1, {.quality = 95, .progressive = true}, 3},
        {24, 17, 3, {.quality = 98}, 4},
        {37, 21, 3, {.quality = 98, .half = true}, 9},
        {37, 21, 3, {.quality = 98, .half = true, .progressive = true}, 9},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Image in = picture(cases[i].width, cases[i].height, cases[i].channels), out = {0};
        Error e = {0};
        size_t n;
        uint8_t *bytes = jpeg_write(&in, cases[i].o, &n);
        ck_assert_msg(jpeg_decode("x", bytes, n, &out, &e), "%zu: %s", i, e.msg);
        ck_assert_msg(worst(&in, &out) <= cases[i].within, "%zu: %d", i, worst(&in, &out));
        free(in.pixel);
        free(out.pixel);
        free(bytes);
    }
}
END_TEST

/* Beyond libjpeg's own messages: what is refused, and the words after "x: JPEG: ". */
START_TEST(refused)
{
    Image grey = picture(37, 21, 1), cmyk = picture(8, 8, 4), out = {0};
    Error e = {0};
    size_t n, m, k;
    uint8_t *plain = jpeg_write(&grey, (JpegWrite){.quality = 90}, &n),
            *arithmetic = jpeg_write(&grey, (JpegWrite){.quality = 90, .arithmetic = true}, &m),
            *four = jpeg_write(&cmyk, (JpegWrite){.quality = 90}, &k);
    ck_assert(!jpeg_decode("x", arithmetic, m, &out, &e) && e.code == ERROR_INPUT);
    ck_assert_str_eq(e.msg, "x: JPEG: arithmetic coding, expected Huffman's");
    ck_assert(!jpeg_decode("x", four, k, &out, &e) && e.code == ERROR_INPUT);
    ck_assert_str_eq(e.msg, "x: JPEG: 4 channels, expected grey or colour");
    ck_assert(!jpeg_decode("x", (const uint8_t *)"GIF89a", 6, &out, &e) && e.code == ERROR_INPUT);
    ck_assert_str_eq(e.msg, "x: not a JPEG file (its first 2 bytes are another signature)");

    uint8_t *sof = memmem(plain, n, "\xff\xc0", 2);
    ck_assert_ptr_nonnull(sof);
    memcpy(sof + 5, "\x40\x01\x40\x01", 4);
    ck_assert(!jpeg_decode("x", plain, n, &out, &e) && e.code == ERROR_INPUT);
    ck_assert_str_eq(e.msg, "x: JPEG: 16385 x 16385 pixels, expected sides of at most 16384");
    memcpy(sof + 5, "\x40\x00\x40\x00", 4);
    failing.largest = 0;
    ck_assert(!jpeg_decode("x", plain, n, &out, &e) && e.code == ERROR_INPUT);
    ck_assert_str_eq(e.msg, "x: JPEG: declares more pixels than its bytes can hold");
    ck_assert_uint_lt(failing.largest, 100000);
    memcpy(sof + 5, "\x00\x15\x00\x00", 4);
    ck_assert(!jpeg_decode("x", plain, n, &out, &e) && e.code == ERROR_INPUT);
    ck_assert_str_eq(e.msg, "x: JPEG: Empty JPEG image (DNL not supported)");
    memcpy(sof + 5, "\x00\x15\x00\x25", 4);
    ck_assert(jpeg_decode("x", plain, n, &out, &e));
    free(out.pixel);
    memset(plain + n - 30, 0xff, 20); /* markers inside the pixels: libjpeg warns, and goes on with grey */
    ck_assert(!jpeg_decode("x", plain, n, &out, &e) && e.code == ERROR_INPUT);
    ck_assert_msg(!strncmp(e.msg, "x: JPEG: Corrupt JPEG data", 26), "%s", e.msg);
    free(plain), free(arithmetic), free(four), free(grey.pixel), free(cmyk.pixel);
}
END_TEST

/* Scans without end cost a pass over the picture each. */
START_TEST(many_scans)
{
    Image grey = picture(37, 21, 1), out = {0};
    Error e = {0};
    size_t n;
    uint8_t *plain = jpeg_write(&grey, (JpegWrite){.quality = 90, .two = true}, &n);
    uint8_t *last = plain;
    for (uint8_t *at = plain; (at = memmem(at, n - (size_t)(at - plain), "\xff\xda", 2)); at++) last = at;
    size_t head = (size_t)(last - plain), scan = n - 2 - head, m = head + 100 * scan + 2;
    uint8_t *many = malloc(m);
    memcpy(many, plain, head);
    for (int i = 0; i < 100; i++) memcpy(many + head + (size_t)i * scan, last, scan);
    memcpy(many + m - 2, "\xff\xd9", 2);
    ck_assert(!jpeg_decode("x", many, m, &out, &e) && e.code == ERROR_INPUT);
    ck_assert_str_eq(e.msg, "x: JPEG: too many scans");
    free(plain), free(many), free(grey.pixel);
}
END_TEST

/* No prefix is a picture: libjpeg alone would fill up what is missing. */
START_TEST(prefixes)
{
    for (int progressive = 0; progressive < 2; progressive++) {
        Image grey = picture(37, 21, 1);
        size_t n;
        uint8_t *bytes = jpeg_write(&grey, (JpegWrite){.quality = 90, .progressive = progressive}, &n);
        for (size_t k = 0; k <= n; k++) {
            Error e = {0};
            Image out = {0};
            bool ok = jpeg_decode("x", bytes, k, &out, &e);
            ck_assert_msg(k == n ? ok : !ok && e.code == ERROR_INPUT, "%zu of %zu: %s", k, n, e.msg);
            free(out.pixel);
        }
        free(bytes);
        free(grey.pixel);
    }
}
END_TEST

static uint8_t *sound;
static size_t sound_n;
static bool decode_sound(Error *e)
{
    Image out = {0};
    bool ok = jpeg_decode("x", sound, sound_n, &out, e);
    free(out.pixel);
    return ok;
}

START_TEST(allocations)
{
    Image grey = picture(37, 21, 1);
    sound = jpeg_write(&grey, (JpegWrite){.quality = 90}, &sound_n);
    ck_assert_int_gt(fail_each(decode_sound), 1);
    free(sound);
    free(grey.pixel);
}
END_TEST

/* Whatever the file, messages of image_read_as hold the given name only. */
START_TEST(named)
{
    char path[] = "/tmp/test-jpeg-XXXXXX";
    Image image = {0}, grey = picture(37, 21, 1);
    Error e = {0};
    size_t n;
    uint8_t *bytes = jpeg_write(&grey, (JpegWrite){.quality = 90}, &n);
    close(mkstemp(path));
    ck_assert(file_write(path, bytes, n, &e) && image_read_as(path, "slice 7", &image, &e));
    ck_assert(image.width == 37 && image.height == 21 && image.channels == 1);
    free(image.pixel);
    ck_assert(file_write(path, bytes, n - 2, &e) && !image_read_as(path, "slice 7", &image, &e));
    ck_assert_str_eq(e.msg, "slice 7: JPEG: Premature end of JPEG file");
    ck_assert(file_write(path, "GIF89a", 6, &e) && !image_read_as(path, "slice 7", &image, &e));
    ck_assert_str_eq(e.msg, "slice 7: neither PNG nor JPEG (its first bytes are another signature)");
    unlink(path);
    ck_assert(!image_read_as(path, "slice 7", &image, &e) && e.code == ERROR_IO);
    ck_assert_str_eq(e.msg, "slice 7: cannot open: No such file or directory");
    char deep[5000] = "/tmp/x";
    memset(deep + 6, 'a', sizeof deep - 7);
    ck_assert(!image_read_as(deep, "slice 7", &image, &e) && e.code == ERROR_IO);
    ck_assert_str_eq(e.msg, "slice 7: cannot be read");
    free(bytes);
    free(grey.pixel);
}
END_TEST

/* Pillow's Image.convert("L"). */
START_TEST(grey)
{
    uint8_t pixel[] = {255, 255, 255, 1, 2, 3, 200, 10, 90, 0, 255, 0, 17, 17, 17, 3, 250, 199};
    static const uint8_t expected[] = {255, 2, 76, 150, 17, 170};
    Image image = {6, 1, 3, pixel};
    image_to_grey(&image);
    ck_assert_int_eq(image.channels, 1);
    ck_assert_mem_eq(pixel, expected, 6);
    image_to_grey(&image);
    ck_assert_mem_eq(pixel, expected, 6);
}
END_TEST

START_TEST(names)
{
    ck_assert(image_is_name("a.png") && image_is_name("a.JPG") && image_is_name("x.y.jpeg"));
    ck_assert(!image_is_name("a.gif") && !image_is_name("png") && !image_is_name(".jpg") &&
              !image_is_name("a.png.gz"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("jpeg");
    TCase *t = tcase_create("jpeg");
    tcase_add_test(t, round_trip);
    tcase_add_test(t, refused);
    tcase_add_test(t, many_scans);
    tcase_add_test(t, prefixes);
    tcase_add_test(t, allocations);
    tcase_add_test(t, named);
    tcase_add_test(t, grey);
    tcase_add_test(t, names);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
