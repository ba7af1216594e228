/* pcrl-import as a user meets it: exit codes, one-line messages, the files it leaves. */
#include "data/file.h"
#include "data/image.h"
#include "data/json.h"
#include "data/phantom.h"
#include "data/volume.h"
#include "tests/tools/run.h"
#include <check.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/pcrl-import-XXXXXX", raw[64], out[64], dims[64], spacing[64], montage[96];

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}

/* A phantom reaching 40 mm below the base as a headerless int16 file, rows from back to front, HU + 1000. */
static void write_phantom(void)
{
    PhantomOptions o = phantom_options();
    o.below_mm = 40;
    Phantom p = {0};
    ck_assert(phantom_make(11, &o, &p, NULL));
    size_t plane = (size_t)(p.size * p.size), n = plane * (size_t)p.n_slices;
    int16_t *stored = malloc(n * sizeof *stored);
    for (size_t i = 0; i < n; i++) {
        size_t z = i / plane, y = i % plane / (size_t)p.size, x = i % (size_t)p.size;
        stored[i] = (int16_t)(p.hu[z * plane + ((size_t)p.size - 1 - y) * (size_t)p.size + x] + 1000.5f);
    }
    ck_assert(file_write(raw, stored, n * sizeof *stored, NULL));
    snprintf(dims, sizeof dims, "%d,%d,%d", p.size, p.size, p.n_slices);
    snprintf(spacing, sizeof spacing, "%g,%g,%g", p.pixel_mm, p.pixel_mm, p.slice_mm);
    free(stored);
    phantom_free(&p);
}

#define RAW         "--dtype", "i16", "--dims", dims, "--spacing", spacing, "--axes", "LAS", "--offset", "-1000"
#define IMPORT(...) run_tool(&r, "pcrl-import", (const char *const[]){__VA_ARGS__, NULL})

START_TEST(raw_volume)
{
    Run r;
    IMPORT("--out", out, "--id", "5", "--hu", "--montage", montage, RAW, raw);
    ck_assert_msg(r.code == 0, "%s", r.err);
    int lines = 0;
    for (const char *p = r.out; *p; p++) lines += *p == '\n';
    ck_assert_int_eq(lines, 25);
    ck_assert(!strncmp(r.out, "slice\tlayer\tmm\tfirst\tlast\n0\t0\t", 30));
    ck_assert(strstr(r.err, "(found)") && strstr(r.err, "1.58 mm a pixel"));
    char path[128];
    Image image = {0};
    snprintf(path, sizeof path, "%s/images/5/23.png", out);
    ck_assert(image_read_png(path, &image, NULL) && image.width == 128 && image.height == 128);
    free(image.pixel);
    snprintf(path, sizeof path, "%s/hu/5/00.png", out);
    ck_assert(image_read_png(path, &image, NULL) && image.channels == 3);
    free(image.pixel);
    ck_assert(image_read_png(montage, &image, NULL) && image.width > 1024);
    free(image.pixel);
    snprintf(path, sizeof path, "%s/annotations.json", out);
    json_t *list = json_read(path, NULL);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 0), "id")), "5");
    json_decref(list);
}
END_TEST

/* Names of files may be patients': files go by their numbers. */
START_TEST(folder_of_names)
{
    Run r;
    char slices[64], path[128];
    uint8_t pixel[70 * 70] = {0}, *text;
    size_t n;
    snprintf(slices, sizeof slices, "%s/slices", folder);
    ck_assert(file_make_folder(slices, NULL));
    for (int i = 1; i <= 24; i++) {
        Image image = {70, 70, 1, pixel};
        snprintf(path, sizeof path, "%s/NOBODY_02_%04d_%04d.png", slices, i, i);
        ck_assert(image_write_png(path, &image, NULL));
    }
    IMPORT("--out", out, "--id", "6", slices);
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert(!strncmp(r.out, "slice\tlayer\tfile\n0\t0\t1\n1\t0\t2\n", 29) && strstr(r.out, "\n23\t7\t24\n"));
    ck_assert(!strstr(r.out, "NOBODY") && !strstr(r.err, "NOBODY"));
    snprintf(path, sizeof path, "%s/annotations.json", out);
    ck_assert(file_read(path, 1 << 20, &text, &n, NULL) && !memmem(text, n, "NOBODY", 6));
    free(text);
    snprintf(path, sizeof path, "%s/NOBODY_02_0009_0009.png", slices);
    ck_assert(file_write(path, "\x89PNG", 4, NULL));
    IMPORT("--out", out, "--id", "6", slices);
    ck_assert_msg(r.code == 2 && strstr(r.err, "/slices: file 9: ") && !strstr(r.err, "NOBODY"), "%s", r.err);
}
END_TEST

START_TEST(faults)
{
    Run r;
    IMPORT("--out", out);
    ck_assert(r.code == 1 && strstr(r.err, "no INPUT"));
    IMPORT(raw);
    ck_assert(r.code == 1 && strstr(r.err, "no --out"));
    IMPORT("--out", out, raw);
    ck_assert(r.code == 1 && strstr(r.err, "needs --dtype, --dims and --spacing"));
    IMPORT("--out", out, "--size", "63", raw);
    ck_assert(r.code == 1 && strstr(r.err, "--size: expected a whole number from 64 to 1024, found '63'"));
    IMPORT("--out", out, "--range", "90:40", raw);
    ck_assert(r.code == 1 && strstr(r.err, "--range: expected A below B"));
    IMPORT("--out", out, "--range", "90", raw);
    ck_assert(r.code == 1 && strstr(r.err, "--range"));
    IMPORT("--out", out, "--dims", "1,2.5,3", raw);
    ck_assert(r.code == 1 && strstr(r.err, "--dims"));
    IMPORT("--out", out, "--dtype", "i16", folder);
    ck_assert(r.code == 1 && strstr(r.err, "headerless"));
    IMPORT("--nonsense");
    ck_assert(r.code == 1);
    IMPORT("--help");
    ck_assert(r.code == 0 && strstr(r.out, "Examples:"));

    IMPORT("--out", out, RAW, "--dtype", "i24", raw);
    ck_assert(r.code == 2 && strstr(r.err, "dtype 'i24'"));
    IMPORT("--out", out, RAW, "--axes", "XYZ", raw);
    ck_assert(r.code == 2 && strstr(r.err, "axes 'XYZ'"));
    IMPORT("--out", out, RAW, "--dims", "128,128,9", raw);
    ck_assert(r.code == 2 && strstr(r.err, "bytes, expected 294912 for 128 x 128 x 9 i16"));
    IMPORT("--out", out, RAW, "--offset", "-3000", raw);
    ck_assert(r.code == 2 && strstr(r.err, "no head"));
    IMPORT("--out", out, RAW, "--slope", "0.01", "--offset", "0", raw);
    ck_assert(r.code == 2 && strstr(r.err, "no closed skull"));
    IMPORT("--out", out, RAW, "--range", "0:900", raw);
    ck_assert(r.code == 2 && strstr(r.err, "range 0:900"));
    IMPORT("--out", out, out);
    ck_assert(r.code == 2 && strstr(r.err, "0 PNG or JPEG files, expected 24"));
    IMPORT("--out", out, "/nowhere/scan.nii.gz");
    ck_assert(r.code == 3 && strstr(r.err, "/nowhere/scan.nii.gz"));
    IMPORT("--out", "/proc/nowhere", RAW, raw);
    ck_assert(r.code == 3 && strstr(r.err, "/proc/nowhere"));
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    snprintf(raw, sizeof raw, "%s/head.raw", folder);
    snprintf(out, sizeof out, "%s/set", folder);
    snprintf(montage, sizeof montage, "%s/montage.png", folder);
    Suite *s = suite_create("import");
    TCase *t = tcase_create("import");
    tcase_set_timeout(t, 60);
    tcase_add_unchecked_fixture(t, write_phantom, NULL);
    tcase_add_test(t, raw_volume);
    tcase_add_test(t, folder_of_names);
    tcase_add_test(t, faults);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
