/* The overlay: probabilities resized by known values, colours where there is something and grey where not. */
#include "data/image.h"
#include "tools/evidence.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 56 };
static char folder[] = "/tmp/pcrl-evidence-XXXXXX";

START_TEST(resize)
{
    float prob[GRID_CELLS], same[GRID_CELLS], out[SIZE * SIZE];
    for (int i = 0; i < GRID_CELLS; i++) prob[i] = (float)(i % GRID) / 32 + (float)(i / GRID) / 64;
    evidence_resize(prob, GRID, same);
    ck_assert_mem_eq(prob, same, sizeof prob);
    /* a plane stays a plane between the first and last cell's middle, and is level outside */
    evidence_resize(prob, SIZE, out);
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++) {
            double u = fmin(fmax((x + 0.5) / 4 - 0.5, 0), 13), v = fmin(fmax((y + 0.5) / 4 - 0.5, 0), 13);
            ck_assert(fabs((double)out[y * SIZE + x] - (u / 32 + v / 64)) < 1e-6);
        }
}
END_TEST

START_TEST(drawing)
{
    static uint8_t grey[SIZE * SIZE], rgb[3 * SIZE * SIZE];
    float prob[GRID_CELLS] = {0};
    memset(grey, 100, sizeof grey);
    evidence_draw(grey, SIZE, prob, rgb);
    for (int i = 0; i < 3 * SIZE * SIZE; i++) ck_assert_int_eq(rgb[i], 100);
    for (int r = 4; r < 8; r++)
        for (int c = 4; c < 8; c++) prob[r * GRID + c] = 1;
    evidence_draw(grey, SIZE, prob, rgb);
    const uint8_t *inside = rgb + 3 * (24 * SIZE + 24), *outside = rgb + 3 * (2 * SIZE + 2);
    ck_assert(inside[0] > inside[1] && inside[0] > inside[2] && outside[0] == 100 && outside[1] == 100);
    int contour = 0; /* the pixels nearest to 0.5 from inside: a ring round 16 x 16 pixels */
    for (int i = 0; i < SIZE * SIZE; i++) contour += rgb[3 * i] == 110 && rgb[3 * i + 2] == 255;
    ck_assert_int_ge(contour, 48);
    ck_assert_int_le(contour, 60);
}
END_TEST

START_TEST(files)
{
    char path[256];
    uint8_t *pixel = calloc(CTRG_SLICES, SIZE * SIZE);
    float *prob = calloc(CTRG_SLICES, GRID_CELLS * sizeof *prob);
    Error e = {0};
    Image image;
    prob[23 * GRID_CELLS] = 1;
    ck_assert_msg(evidence_write(folder, 12, pixel, SIZE, prob, &e), "%s", e.msg);
    snprintf(path, sizeof path, "%s/12/23.png", folder);
    ck_assert_msg(image_read_png(path, &image, &e), "%s", e.msg);
    ck_assert(image.width == SIZE && image.height == SIZE && image.channels == 3 && image.pixel[0] > 0);
    free(image.pixel);
    snprintf(path, sizeof path, "%s/12.png", folder);
    ck_assert_msg(image_read_png(path, &image, &e), "%s", e.msg);
    ck_assert(image.width == 8 * (SIZE + 2) - 2 && image.height == 3 * (SIZE + 2) - 2);
    free(image.pixel);
    ck_assert(!evidence_write("/proc/none", 12, pixel, SIZE, prob, &e) && e.code == ERROR_IO);
    free(pixel);
    free(prob);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    Suite *s = suite_create("evidence");
    TCase *t = tcase_create("evidence");
    tcase_add_test(t, resize);
    tcase_add_test(t, drawing);
    tcase_add_test(t, files);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    char command[160];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) || failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
