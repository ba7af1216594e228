#include "data/image.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"

static char folder[] = "/tmp/test-image-XXXXXX";
static char path[64];

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
    }
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/t.png", folder);
    Suite *s = suite_create("image");
    TCase *t = tcase_create("image");
    tcase_add_test(t, round_trip);
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
