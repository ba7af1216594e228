/* Studies: framing and scale, which slices are taken, the automatic range on phantoms whose levels are known,
 * PNG folders, files written and read back, and inputs that are no head. */
#include "data/ctrg.h"
#include "data/file.h"
#include "data/head.h"
#include "data/json.h"
#include "data/montage.h"
#include "data/phantom.h"
#include "data/study.h"
#include <check.h>
#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/pcrl-study-XXXXXX";

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}
static void remove_tree(const char *path) { nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS); }

static void in_folder(char *path, const char *name) { snprintf(path, 256, "%s/%s", folder, name); }

/* A skull of bone round brain, egg-shaped: half-axes 65, 80, 75 mm, centred at (cx, cy) mm of a square field
 * `wide` mm across and `high` mm tall; `step` and `dz` are the voxel's size. `gap` mm are cut out of the bone
 * on the patient's left. */
static Volume egg(double wide, double high, double step, double dz, double cx, double cy, double gap)
{
    int64_t extent[3] = {(int64_t)(wide / step), (int64_t)(wide / step), (int64_t)(high / dz)};
    double spacing[3] = {step, step, dz};
    Volume v = {0};
    ck_assert(volume_make(extent, spacing, "egg", &v, NULL));
    for (int64_t i = 0; i < extent[0] * extent[1] * extent[2]; i++) {
        double x = ((double)(i % v.nx) + 0.5) * step - cx, y = ((double)(i / v.nx % v.ny) + 0.5) * step - cy;
        double z = ((double)(i / v.nx / v.ny) + 0.5) * dz - high / 2;
        double r = sqrt(x * x / (65 * 65) + y * y / (80 * 80) + z * z / (75 * 75));
        v.hu[i] = r < 0.9 ? 33 : r < 1 ? (x > 0 && fabs(y) < gap / 2 ? 35 : 1000) : -1000;
    }
    return v;
}

static Study make(const Volume *v, const StudyOptions *o)
{
    Study s = {0};
    Error e = {0};
    ck_assert_msg(study_from_volume(v, o, "scan", &s, &e), "%s", e.msg);
    return s;
}

START_TEST(window)
{
    ck_assert_int_eq(study_window(-1000, 40, 80), 0);
    ck_assert_int_eq(study_window(0, 40, 80), 0);
    ck_assert_int_eq(study_window(40, 40, 80), 128);
    ck_assert_int_eq(study_window(80, 40, 80), 255);
    ck_assert_int_eq(study_window(3000, 40, 80), 255);
    ck_assert_int_eq(study_window(300, 300, 2000), 128);
}
END_TEST

/* A cube of 1 at a known place relative to the middle must show there, on every matrix and study size, with the
 * same area in mm^2. */
START_TEST(framing)
{
    static const double step[] = {1.7, 1.0, 0.8};
    static const int size[] = {128, 224, 96};
    for (int k = 0; k < 3; k++) {
        Volume v = egg(230, 160, step[k], 5, 110, 121, 0);
        for (int64_t i = 0; i < (int64_t)v.nx * v.ny * v.nz; i++) {
            double x = ((double)(i % v.nx) + 0.5) * v.dx, y = ((double)(i / v.nx % v.ny) + 0.5) * v.dy;
            if (fabs(x - 140) < 10 && fabs(y - 91) < 10) v.hu[i] = 80;
        }
        StudyOptions o = study_options();
        o.size = size[k];
        Study s = make(&v, &o);
        double sum = 0, mx = 0, my = 0, mm = STUDY_FIELD_MM / o.size;
        const int16_t *hu = s.hu + (size_t)12 * (size_t)(o.size * o.size);
        for (int i = 0; i < o.size * o.size; i++) {
            double x = (i % o.size + 0.5 - o.size / 2.0) * mm, y = (i / o.size + 0.5 - o.size / 2.0) * mm;
            if (fabs(x - 30) > 15 || fabs(y + 30) > 15) continue;
            double w = (hu[i] - 33) / 47.0;
            sum += w, mx += w * x, my += w * y;
        }
        ck_assert_double_eq_tol(s.centre_x, 110, 2.5);
        ck_assert_double_eq_tol(s.centre_y, 121, 2.5);
        ck_assert_double_eq_tol(mx / sum, 140 - s.centre_x, 1.0);
        ck_assert_double_eq_tol(my / sum, 91 - s.centre_y, 1.0);
        ck_assert_double_eq_tol(sum * mm * mm, 400, 45);
        ck_assert_int_eq(s.pixel[0], 0);
        study_free(&s);
        volume_free(&v);
    }
}
END_TEST

/* Each slice of the scan holds its own number, so the study tells what it was made of. */
static Volume numbered(double dz, int nz)
{
    Volume v = egg(200, nz * dz, 2, dz, 100, 100, 0);
    int plane = v.nx * v.ny;
    for (int64_t i = 0; i < (int64_t)plane * v.nz; i++)
        if (v.hu[i] == 33) v.hu[i] = (float)(i / plane);
    return v;
}
static double middle(const Study *s, int i)
{
    return s->hu[(size_t)(i * s->size + s->size / 2) * (size_t)s->size + (size_t)s->size / 2];
}

START_TEST(repeats_and_skips)
{
    StudyOptions o = study_options();
    o.size = 64;
    Volume v = numbered(10, 16);
    o.from = 20, o.to = 140; /* 12 slices of 10 mm: each twice */
    Study s = make(&v, &o);
    for (int i = 0; i < 24; i++) {
        ck_assert_int_eq(s.first[i], 2 + i / 2);
        ck_assert_int_eq(s.last[i], 2 + i / 2);
        ck_assert_double_eq_tol(middle(&s, i), 2 + i / 2, 0.5);
    }
    ck_assert(!s.automatic);
    study_free(&s);
    volume_free(&v);

    v = numbered(4, 36);
    o.from = 0, o.to = 144;
    /* 36 slices of 4 mm, a step of 6 mm: every third is left out */
    s = make(&v, &o);
    for (int i = 0; i < 24; i++) ck_assert_int_eq(s.first[i], (6 * i + 3) / 4);
    study_free(&s);
    volume_free(&v);
}
END_TEST

START_TEST(thin_slices_are_averaged)
{
    StudyOptions o = study_options();
    o.size = 64;
    Volume v = numbered(1, 150);
    o.from = 15, o.to = 135; /* 24 steps of 5 mm: slice i is the mean of 15 + 5 i .. 19 + 5 i */
    Study s = make(&v, &o);
    for (int i = 2; i < 22; i++) {
        ck_assert_int_eq(s.first[i], 15 + 5 * i);
        ck_assert_int_eq(s.last[i], 19 + 5 * i);
        ck_assert_double_eq_tol(middle(&s, i), 17 + 5 * i, 0.5);
    }
    study_free(&s);
    volume_free(&v);
}
END_TEST

START_TEST(gap_in_the_skull)
{
    Volume v = egg(200, 160, 2, 5, 100, 100, 40);
    StudyOptions o = study_options();
    Study s = make(&v, &o);
    ck_assert(s.automatic && s.to - s.from > 100 && s.to - s.from < 160);
    study_free(&s);
    volume_free(&v);
}
END_TEST

/* 40 phantoms of several slice thicknesses and depths below the base: 95 % of the slices within one layer. */
START_TEST(range_on_phantoms)
{
    static const double slice_mm[] = {5, 3, 5, 7.5}, below_mm[] = {40, 50, 60, 20};
    int all = 0, wrong = 0;
    for (int k = 0; k < 40; k++) {
        PhantomOptions o = phantom_options();
        o.slice_mm = slice_mm[k % 4], o.below_mm = below_mm[k % 4];
        Phantom p = {0};
        Error e = {0};
        ck_assert_msg(phantom_make(7000 + (uint64_t)k, &o, &p, &e), "%s", e.msg);
        Volume v = {p.size, p.size, p.n_slices, p.pixel_mm, p.pixel_mm, p.slice_mm, p.hu};
        StudyOptions so = study_options();
        Study s = make(&v, &so);
        ck_assert_double_eq_tol(p.pixel_mm, s.pixel_mm, 1e-9);
        for (int i = 0; i < 24; i++, all++) {
            int z = (int)(s.at[i] / v.dz), layer = (int)floor(p.level[z] / 3);
            wrong += abs(layer - i / 3) > 1;
        }
        study_free(&s);
        phantom_free(&p);
    }
    ck_assert_int_eq(all, 960);
    ck_assert_msg(wrong * 20 <= all, "%d of %d slices are more than one layer off", wrong, all);
}
END_TEST

/* The phantom's own 24 slices come out as phantom_window draws them, within the blur of one resampling. */
START_TEST(phantom_grey_values)
{
    PhantomOptions o = phantom_options();
    Phantom p = {0};
    ck_assert(phantom_make(3, &o, &p, NULL));
    Volume v = {p.size, p.size, p.n_slices, p.pixel_mm, p.pixel_mm, p.slice_mm, p.hu};
    StudyOptions so = study_options();
    so.from = 0, so.to = 120;
    Study s = make(&v, &so);
    uint8_t *own = malloc((size_t)(p.size * p.size));
    for (int i = 0; i < 24; i++) {
        double a = 0, b = 0;
        phantom_window(&p, i, own);
        for (int k = 0; k < p.size * p.size; k++) a += own[k], b += s.pixel[i * p.size * p.size + k];
        ck_assert_double_eq_tol(b / a, 1, 0.05);
    }
    free(own);
    study_free(&s);
    phantom_free(&p);
}
END_TEST

static void refuse(const Volume *v, const StudyOptions *o, const char *expected)
{
    Study s = {0};
    Error e = {0};
    ck_assert(!study_from_volume(v, o, "scan", &s, &e));
    ck_assert_ptr_null(s.pixel);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, expected) && strstr(e.msg, "scan") && !strchr(e.msg, '\n'), "'%s' lacks '%s'",
                  e.msg, expected);
}

START_TEST(no_heads)
{
    StudyOptions o = study_options();
    Volume v = egg(200, 160, 2, 5, 100, 100, 0);
    int64_t n = (int64_t)v.nx * v.ny * v.nz;
    o.size = 63, refuse(&v, &o, "size 63");
    o.size = 1025, refuse(&v, &o, "size 1025");
    o = study_options();
    o.from = 100, o.to = 170, refuse(&v, &o, "range 100:170 mm is not inside the scan, 0:160 mm");
    o.from = 40, o.to = 70, refuse(&v, &o, "6 slices between 40 and 70 mm");
    o = study_options();
    v.nz = 5, refuse(&v, &o, "no closed skull"); /* only the lower tip */
    v.nz = 32;
    for (int64_t i = 0; i < n; i++)
        if (v.hu[i] > 500) v.hu[i] = 40;
    refuse(&v, &o, "no closed skull: at most 0 mm2");
    for (int64_t i = 0; i < n; i++) v.hu[i] = -1000;
    refuse(&v, &o, "no head: nothing over -300 HU");
    volume_free(&v);

    v = egg(200, 160, 2, 5, 100, 100, 0); /* stored values that are not HU: 1024 too high */
    for (int64_t i = 0; i < n; i++) v.hu[i] += 1024;
    refuse(&v, &o, "Hounsfield");
    volume_free(&v);
    v = egg(200, 160, 2, 5, 100, 100, 0);
    v.dz = 1; /* a wrong spacing: a head 32 mm high */
    refuse(&v, &o, "expected 60 to 180; give the range with --range");
    v.dz = 5;
    v.hu[4321] = NAN;
    refuse(&v, &o, "voxel (21, 43, 0) is ");
    volume_free(&v);
    Volume tiny = {.nx = 1, .ny = 1, .nz = 1, .dx = 1, .dy = 1, .dz = 1, .hu = &(float){0}};
    refuse(&tiny, &o, "no head");
}
END_TEST

/* n grey files of one size whose value is 2 * number; names count without leading zeros. */
static void write_pngs(const char *where, int n, int width, int height)
{
    char path[320];
    remove_tree(where);
    ck_assert(file_make_folder(where, NULL));
    uint8_t *pixel = malloc((size_t)(width * height));
    for (int i = 1; i <= n; i++) {
        memset(pixel, 2 * i, (size_t)(width * height));
        Image image = {width, height, 1, pixel};
        snprintf(path, sizeof path, "%s/slice%d.png", where, i);
        ck_assert(image_write_png(path, &image, NULL));
    }
    free(pixel);
}

static void refuse_folder(const char *where, const StudyOptions *o, const char *expected)
{
    Study s = {0};
    Error e = {0};
    ck_assert(!study_from_folder(where, o, &s, &e));
    ck_assert_ptr_null(s.pixel);
    ck_assert_msg(strstr(e.msg, expected) && strstr(e.msg, where), "'%s' lacks '%s'", e.msg, expected);
    ck_assert_msg(!strstr(e.msg, "slice7"), "'%s' names a file", e.msg);
}

START_TEST(png_folders)
{
    char where[256], path[320];
    StudyOptions o = study_options();
    Study s = {0};
    Error e = {0};
    o.size = 64;
    in_folder(where, "png");
    write_pngs(where, 24, 50, 50);
    ck_assert_msg(study_from_folder(where, &o, &s, &e), "%s", e.msg);
    for (int i = 0; i < 24; i++) ck_assert_int_eq(s.pixel[i * 64 * 64 + 777], 2 * i + 2);
    ck_assert_int_eq(s.first[9], 9);
    study_free(&s);
    o.from_vertex = true;
    ck_assert(study_from_folder(where, &o, &s, &e) && s.pixel[0] == 48);
    study_free(&s);
    o.from_vertex = false;

    snprintf(path, sizeof path, "%s/slice7.png", where);
    ck_assert(file_write(path, "\x89PNG\r\n\x1a\n", 8, &e));
    refuse_folder(where, &o, ": file 7: ");
    Image odd = {40, 50, 1, calloc(40, 50)};
    ck_assert(image_write_png(path, &odd, &e));
    refuse_folder(where, &o, ": file 7: 40 x 50, expected 50 x 50");
    free(odd.pixel);

    write_pngs(where, 23, 50, 50);
    refuse_folder(where, &o, "23 PNG or JPEG files, expected 24");
    write_pngs(where, 25, 50, 50);
    refuse_folder(where, &o, "25 PNG or JPEG files, expected 24");
    o.from = 2, o.to = 25.5, o.any_count = true;
    refuse_folder(where, &o, "range 2:25.5");
    o.from = 2, o.to = 25;
    ck_assert(study_from_folder(where, &o, &s, &e) && s.pixel[0] == 4 && s.pixel[23 * 64 * 64] == 50);
    study_free(&s);
    o.from = o.to = 0;
    write_pngs(where, 12, 50, 50);
    ck_assert(study_from_folder(where, &o, &s, &e));
    for (int i = 0; i < 24; i++) ck_assert_int_eq(s.pixel[i * 64 * 64], 2 * (i / 2) + 2);
    study_free(&s);
    write_pngs(where, 7, 50, 50);
    refuse_folder(where, &o, "7 slices, expected at least 8");
    write_pngs(where, 24, 40, 50);
    o.any_count = false;
    refuse_folder(where, &o, "40 x 50, expected a square picture");
    remove_tree(where);
    refuse_folder(where, &o, "No such file");
}
END_TEST

/* With a pixel size a picture of another matrix comes to the common scale, outside black. */
START_TEST(png_scale)
{
    char where[256];
    StudyOptions o = study_options();
    Study s = {0};
    in_folder(where, "scale");
    write_pngs(where, 24, 100, 80); /* 100 x 80 mm in a field of 202 mm */
    o.pixel_mm = 1;
    ck_assert(study_from_folder(where, &o, &s, NULL));
    const uint8_t *p = s.pixel + 23 * 128 * 128;
    double sum = 0;
    for (int i = 0; i < 128 * 128; i++) sum += p[i];
    ck_assert_double_eq_tol(sum / 48 * s.pixel_mm * s.pixel_mm, 8000, 80);
    ck_assert(p[64 * 128 + 64] == 48 && p[64 * 128 + 20] == 0 && p[30 * 128 + 64] == 0);
    study_free(&s);
    remove_tree(where);
}
END_TEST

START_TEST(written_and_read)
{
    char where[256], path[320];
    Error e = {0};
    Volume v = egg(200, 160, 2, 5, 100, 100, 0);
    StudyOptions o = study_options();
    Study s = make(&v, &o);
    in_folder(where, "set");
    ck_assert_msg(study_write(&s, where, 7, "脑实质内未见明显异常。", true, &e), "%s", e.msg);
    ck_assert_msg(study_write(&s, where, 9, "中线结构居中。", false, &e), "%s", e.msg);
    ck_assert_msg(study_write(&s, where, 7, "双侧大脑半球对称。", true, &e), "%s", e.msg);
    snprintf(path, sizeof path, "%s/annotations.json", where);
    json_t *list = json_read(path, &e);
    ck_assert_int_eq((int)json_array_size(list), 2);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 0), "findings")),
                     "双侧大脑半球对称。");
    json_decref(list);
    ck_assert_msg(study_write(&s, where, 11, "", false, &e), "%s", e.msg);
    Ctrg *set = ctrg_open(where, NULL, NULL, &e);
    ck_assert_msg(set != NULL, "%s", e.msg);
    uint8_t *pixels = NULL;
    int width = 0, height = 0;
    ck_assert(set->n == 3 && !strcmp(set->study[2].findings, ""));
    ck_assert(ctrg_read_slices(set, &set->study[0], &pixels, &width, &height, &e));
    ck_assert(width == 128 && height == 128 && !memcmp(pixels, s.pixel, 24 * 128 * 128));
    free(pixels);
    ctrg_free(set);
    int16_t *hu = NULL;
    int size = 0;
    ck_assert_msg(study_read_hu(where, 7, &hu, &size, &e), "%s", e.msg);
    ck_assert_int_eq(size, 128);
    ck_assert(!memcmp(hu, s.hu, 24 * 128 * 128 * sizeof *hu));
    free(hu);
    ck_assert(!study_read_hu(where, 9, &hu, &size, &e) && e.code == 0);

    ck_assert(!study_write(&s, where, 8, "\xff\xfe", false, &e) && strstr(e.msg, "UTF-8"));
    ck_assert(file_write(path, "{}", 2, &e));
    ck_assert(!study_write(&s, where, 8, "", false, &e) && strstr(e.msg, "expected a list"));
    study_free(&s);
    volume_free(&v);
    remove_tree(where);
}
END_TEST

START_TEST(montage)
{
    Volume v = egg(200, 160, 2, 5, 100, 100, 0);
    StudyOptions o = study_options();
    o.size = 512;
    Study s = make(&v, &o);
    Image with = {0}, without = {0};
    ck_assert(montage_draw(&s, &v, &with, NULL) && montage_draw(&s, NULL, &without, NULL));
    ck_assert(without.width == 8 * 172 - 2 && without.height == 3 * 172 - 2 && without.channels == 3);
    ck_assert(with.height == without.height && with.width > without.width + 100);
    const uint8_t *p = without.pixel + 3 * (85 * without.width + 85); /* middle of slice 1: brain or bone */
    ck_assert(p[0] > 80 && p[0] == p[1] && p[1] == p[2]);
    free(with.pixel);
    free(without.pixel);
    study_free(&s);
    volume_free(&v);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    Suite *s = suite_create("study");
    TCase *t = tcase_create("study");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, window);
    tcase_add_test(t, framing);
    tcase_add_test(t, repeats_and_skips);
    tcase_add_test(t, thin_slices_are_averaged);
    tcase_add_test(t, gap_in_the_skull);
    tcase_add_test(t, range_on_phantoms);
    tcase_add_test(t, phantom_grey_values);
    tcase_add_test(t, no_heads);
    tcase_add_test(t, png_folders);
    tcase_add_test(t, png_scale);
    tcase_add_test(t, written_and_read);
    tcase_add_test(t, montage);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    remove_tree(folder);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
