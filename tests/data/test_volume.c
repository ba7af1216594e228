/* Volumes: every order of the axes, every stored type, and files that are not what their options say. */
#include "data/file.h"
#include "data/volume.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/pcrl-volume-XXXXXX", path[64];

static RawLayout layout(void)
{
    return (RawLayout){.dtype = "i16", .extent = {3, 4, 5}, .spacing = {0.5, 1, 2}, .axes = "LPS", .slope = 1};
}

/* The voxel at (x, y, z) in patient directions holds x + 10 y + 100 z whatever order the file has. */
START_TEST(every_axis_order)
{
    static const char pair[3][3] = {"LR", "PA", "SI"};
    static const int order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const int extent[3] = {3, 4, 5};
    for (int p = 0; p < 6; p++)
        for (int flip = 0; flip < 8; flip++) {
            char axes[4] = {0};
            RawLayout l = layout();
            for (int i = 0; i < 3; i++) {
                axes[i] = pair[order[p][i]][flip >> i & 1];
                l.extent[i] = extent[order[p][i]];
                l.spacing[i] = 0.5 + order[p][i];
            }
            l.axes = axes;
            int16_t file[60];
            for (int i = 0; i < 60; i++) {
                int at[3] = {i % (int)l.extent[0], i / (int)l.extent[0] % (int)l.extent[1],
                             i / (int)(l.extent[0] * l.extent[1])};
                int patient[3];
                for (int k = 0; k < 3; k++)
                    patient[order[p][k]] = flip >> k & 1 ? (int)l.extent[k] - 1 - at[k] : at[k];
                file[i] = (int16_t)(patient[0] + 10 * patient[1] + 100 * patient[2]);
            }
            Error e = {0};
            Volume v = {0};
            ck_assert(file_write(path, file, sizeof file, &e));
            ck_assert_msg(volume_read_raw(path, &l, &v, &e), "%s", e.msg);
            ck_assert(v.nx == 3 && v.ny == 4 && v.nz == 5 && v.dx == 0.5 && v.dy == 1.5 && v.dz == 2.5);
            for (int i = 0; i < 60; i++)
                ck_assert_msg(v.hu[i] == (float)(i % 3 + 10 * (i / 3 % 4) + 100 * (i / 12)), "%s voxel %d",
                              axes, i);
            volume_free(&v);
        }
}
END_TEST

START_TEST(every_type)
{
    static const struct {
        const char *dtype;
        uint8_t bytes[8];
        size_t n;
        float value;
    } row[] = {{"u8", {200}, 1, 200},
               {"i8", {200}, 1, -56},
               {"u16", {0x34, 0x12}, 2, 0x1234},
               {"i16", {0x00, 0xfc}, 2, -1024},
               {"i16b", {0xfc, 0x00}, 2, -1024},
               {"u16b", {0x12, 0x34}, 2, 0x1234},
               {"u32", {0x40, 0x0d, 0x03, 0}, 4, 200000},
               {"i32", {0xff, 0xff, 0xff, 0xff}, 4, -1},
               {"i32b", {0xff, 0xff, 0xff, 0xfe}, 4, -2},
               {"f32", {0, 0, 0xc0, 0x3f}, 4, 1.5f},
               {"f64b", {0x3f, 0xf8}, 8, 1.5f}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        RawLayout l = {.dtype = row[i].dtype, .extent = {1, 1, 1}, .spacing = {1, 1, 1}, .axes = "LPS"};
        l.slope = 0.25, l.offset = -8, l.skip = 3;
        uint8_t file[11] = {9, 9, 9};
        memcpy(file + 3, row[i].bytes, row[i].n);
        Error e = {0};
        Volume v = {0};
        ck_assert(file_write(path, file, 3 + row[i].n, &e));
        ck_assert_msg(volume_read_raw(path, &l, &v, &e), "%s", e.msg);
        ck_assert_msg(v.hu[0] == 0.25f * row[i].value - 8, "%s: %g", row[i].dtype, (double)v.hu[0]);
        volume_free(&v);
    }
}
END_TEST

static void refuse(const RawLayout *l, const char *expected)
{
    Error e = {0};
    Volume v = {0};
    ck_assert(!volume_read_raw(path, l, &v, &e));
    ck_assert_ptr_null(v.hu);
    ck_assert_int_ne(e.code, 0);
    ck_assert_msg(strstr(e.msg, expected) && strstr(e.msg, path) && !strchr(e.msg, '\n'), "'%s' lacks '%s'",
                  e.msg, expected);
}

START_TEST(wrong_files)
{
    Error e = {0};
    uint8_t zero[121] = {0};
    RawLayout l = layout();
    ck_assert(file_write(path, zero, 119, &e));
    refuse(&l, "119 bytes, expected 120 for 3 x 4 x 5 i16");
    ck_assert(file_write(path, zero, 121, &e));
    refuse(&l, "121 bytes, expected 120");
    ck_assert(file_write(path, zero, 120, &e));
    l.dtype = "i12", refuse(&l, "dtype 'i12'");
    l.dtype = "i16x", refuse(&l, "dtype 'i16x'");
    l = layout();
    l.axes = "LLS", refuse(&l, "axes 'LLS'");
    l.axes = "LP", refuse(&l, "axes 'LP'");
    l.axes = "LPSX", refuse(&l, "axes 'LPSX'");
    l.axes = "lps", refuse(&l, "axes 'lps'");
    l = layout();
    l.spacing[1] = 0, refuse(&l, "spacing 2");
    l.spacing[1] = NAN, refuse(&l, "spacing 2");
    l = layout();
    l.extent[2] = -1, refuse(&l, "voxels");
    l.extent[2] = INT64_MAX, refuse(&l, "voxels");
    l = layout();
    l.offset = NAN, refuse(&l, "voxel (0, 0, 0)");
    float values[60] = {0};
    values[26] = INFINITY;
    ck_assert(file_write(path, values, sizeof values, &e));
    l = layout();
    l.dtype = "f32", refuse(&l, "voxel (2, 0, 2) is inf");
    unlink(path);
    refuse(&l, "No such file");
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    snprintf(path, sizeof path, "%s/volume.raw", folder);
    Suite *s = suite_create("volume");
    TCase *t = tcase_create("raw");
    tcase_add_test(t, every_axis_order);
    tcase_add_test(t, every_type);
    tcase_add_test(t, wrong_files);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    unlink(path);
    rmdir(folder);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
