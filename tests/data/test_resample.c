/* The 8-bit resize against Pillow's results (tests/golden/make_resample.py), byte by byte. */
#include "data/resample.h"
#include "data/safetensors.h"
#include "data/sha256.h"
#include "tensor/rng.h"
#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/data/fail_alloc.h"

enum { CASES = 210, INPUTS = 5678 };

typedef struct Case {
    int32_t channels, width, height, new_width, new_height, filter;
} Case;

static uint8_t *make_pixels(const Case *k, int i)
{
    size_t n = (size_t)k->width * (size_t)k->height * (size_t)k->channels;
    uint8_t *pixel = malloc(n);
    float *x = malloc(n * sizeof *x);
    char name[32];
    ck_assert(pixel && x);
    snprintf(name, sizeof name, "resample.%d", i);
    rng_fill(x, (int64_t)n, INPUTS, name, 1);
    for (size_t j = 0; j < n; j++) {
        int byte = (int)((x[j] + 1) * 128);
        pixel[j] = (uint8_t)(i % 2 ? (byte < 128 ? 0 : 255) : byte);
    }
    free(x);
    return pixel;
}

static void sum_of(const Image *image, char hex[65])
{
    Sha256 s;
    sha256_open(&s);
    sha256_add(&s, image->pixel, (size_t)image->width * (size_t)image->height * (size_t)image->channels);
    sha256_close(&s, hex);
}

START_TEST(as_pillow)
{
    static Case cases[CASES];
    static uint8_t sums[CASES][32];
    Error e = {0};
    TensorFile *g = safetensors_open("tests/golden/resample.safetensors", &e);
    ck_assert_msg(g != NULL, "%s", e.msg);
    const TensorEntry *shape = tensor_file_find(g, "cases"), *sum = tensor_file_find(g, "sha256");
    ck_assert(shape && shape->size == sizeof cases && tensor_file_read(g, shape, cases, &e));
    ck_assert(sum && sum->size == sizeof sums && tensor_file_read(g, sum, sums, &e));
    for (int i = 0; i < CASES; i++) {
        const Case *k = &cases[i];
        Image in = {k->width, k->height, k->channels, make_pixels(k, i)}, out = {0};
        char got[65], want[65];
        ck_assert_msg(image_resize(&in, k->new_width, k->new_height, (ImageFilter)k->filter, &out, &e), "%s",
                      e.msg);
        ck_assert(out.width == k->new_width && out.height == k->new_height && out.channels == k->channels);
        sum_of(&out, got);
        for (int j = 0; j < 32; j++) snprintf(want + 2 * j, 3, "%02x", sums[i][j]);
        ck_assert_msg(!strcmp(got, want), "case %d: %d x %d x %d to %d x %d, %s, differs", i, k->width,
                      k->height, k->channels, k->new_width, k->new_height, k->filter ? "bicubic" : "bilinear");
        free(in.pixel);
        free(out.pixel);
    }
    tensor_file_close(g);
}
END_TEST

START_TEST(hostile)
{
    static uint8_t pixel[16];
    static const struct {
        Image in;
        int width, height, filter;
        const char *says;
    } cases[] = {
        {{2, 2, 1, NULL}, 4, 4, 0, "resize: image of 2 x 2 pixels, expected sides 1..16384; it has no pixels"},
        {{0, 2, 1, pixel}, 4, 4, 0, "resize: image of 0 x 2 pixels, expected sides 1..16384"},
        {{2, -2, 1, pixel}, 4, 4, 0, "resize: image of 2 x -2 pixels, expected sides 1..16384"},
        {{16385, 2, 1, pixel}, 4, 4, 0, "resize: image of 16385 x 2 pixels, expected sides 1..16384"},
        {{2, 2, 4, pixel}, 4, 4, 0, "resize: image of 4 channels, expected 1 or 3"},
        {{2, 2, 0, pixel}, 4, 4, 0, "resize: image of 0 channels, expected 1 or 3"},
        {{2, 2, 1, pixel}, 0, 4, 0, "resize: to 0 x 4 pixels, expected sides 1..16384"},
        {{2, 2, 1, pixel}, 4, INT_MIN, 0, "resize: to 4 x -2147483648 pixels, expected sides 1..16384"},
        {{2, 2, 1, pixel}, INT_MAX, 4, 0, "resize: to 2147483647 x 4 pixels, expected sides 1..16384"},
        {{2, 2, 1, pixel}, 4, 4, 2, "resize: filter 2, expected 0 or 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error e = {0};
        Image out = {7, 7, 7, pixel};
        ck_assert(!image_resize(&cases[i].in, cases[i].width, cases[i].height, (ImageFilter)cases[i].filter,
                                &out, &e));
        ck_assert_int_eq(e.code, ERROR_INPUT);
        ck_assert_str_eq(e.msg, cases[i].says);
        ck_assert(out.width == 7 && out.height == 7 && out.channels == 7 && out.pixel == pixel);
    }
}
END_TEST

static bool resize_one(Error *e)
{
    uint8_t pixel[6] = {1, 2, 3, 4, 5, 6};
    Image out;
    bool ok = image_resize(&(Image){2, 1, 3, pixel}, 5, 3, IMAGE_BICUBIC, &out, e);
    if (ok) free(out.pixel);
    return ok;
}

START_TEST(allocations) { ck_assert_int_gt(fail_each(resize_one), 4); }
END_TEST

int main(void)
{
    Suite *s = suite_create("resample");
    TCase *t = tcase_create("resample");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, as_pillow);
    tcase_add_test(t, hostile);
    tcase_add_test(t, allocations);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
