/* Phantoms written as DICOM by dcmtk come back through dcm2niix as they were: every voxel, left on the right
 * side, slices from the feet to the head, millimetres. */
#include "data/dicom.h"
#include "data/study.h"
#include "data/volume.h"
#include "tests/data/dicom_export.h"
#include <check.h>
#include <dirent.h>
#include <ftw.h>

static char folder[] = "/tmp/pcrl-dicom-test-XXXXXX";

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}

static const char *at(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* Nothing may be left behind: TMPDIR is ours. */
static int left_behind(void)
{
    int n = 0;
    DIR *d = opendir(at("tmp"));
    for (struct dirent *f; (f = readdir(d));) n += f->d_name[0] != '.';
    closedir(d);
    return n;
}

static Phantom phantom(int size, double slice_mm, double below_mm)
{
    PhantomOptions o = phantom_options();
    Phantom p = {0};
    o.size = size;
    o.slice_mm = slice_mm;
    o.below_mm = below_mm;
    ck_assert(phantom_make(11, &o, &p, NULL));
    return p;
}

static void check_equal(const Volume *v, const Phantom *p, int first, int last)
{
    ck_assert_int_eq(v->nx, p->size);
    ck_assert_int_eq(v->ny, p->size);
    ck_assert_int_eq(v->nz, last - first + 1);
    ck_assert_double_eq_tol(v->dx, p->pixel_mm, 1e-5);
    ck_assert_double_eq_tol(v->dy, p->pixel_mm, 1e-5);
    ck_assert_double_eq_tol(v->dz, p->slice_mm, 1e-5);
    size_t plane = (size_t)p->size * (size_t)p->size;
    for (size_t i = 0; i < plane * (size_t)v->nz; i++) {
        float want = rintf(p->hu[(size_t)first * plane + i]);
        if (v->hu[i] != want)
            ck_abort_msg("slice %zu, row %zu, column %zu: %g HU, expected %g", i / plane,
                         i % plane / (size_t)p->size, i % (size_t)p->size, (double)v->hu[i], (double)want);
    }
}

/* Whichever end the files begin at, and whatever the intercept. */
START_TEST(comes_back)
{
    static const ExportOptions way[] = {
        {false, 0, 0, 27, 1, 0}, {true, -1024, 0, 27, 2, 0}, {true, 0, 3, 20, 3, 0}};
    Phantom p = phantom(96, 5, 20);
    ck_assert_int_eq(p.n_slices, 28);
    for (size_t k = 0; k < sizeof way / sizeof *way; k++) {
        Error e = {0};
        Volume v = {0};
        int others = -1;
        char series[160];
        snprintf(series, sizeof series, "%s/CT Plain %zu; touch x", folder, k);
        ck_assert(export_series(&p, 7, series, &way[k]));
        ck_assert_msg(dicom_read_series(series, &v, &others, &e), "%s", e.msg);
        ck_assert_int_eq(others, 0);
        check_equal(&v, &p, way[k].first, way[k].last);
        volume_free(&v);
    }
    ck_assert_int_eq(left_behind(), 0);
    phantom_free(&p);
}
END_TEST

/* Where the distance of slices changes, as from the skull base upwards on many scanners, the volume is the one
 * that dcm2niix filled up to even distances, not the one that pretends they are even. */
START_TEST(uneven_slices)
{
    Phantom p = phantom(96, 5, 20);
    Error e = {0};
    Volume v = {0};
    char file[160];
    int others = -1;
    ck_assert(export_series(&p, 9, at("uneven"), &(ExportOptions){.last = 27, .series = 1}));
    for (int z = 15; z < 27; z += 2) {
        snprintf(file, sizeof file, "%s/uneven/CT%06d.dcm", folder, z);
        ck_assert(!unlink(file));
    }
    ck_assert_msg(dicom_read_series(at("uneven"), &v, &others, &e), "%s", e.msg);
    ck_assert_int_eq(others, 0);
    ck_assert_double_eq_tol(v.dz, 5, 1e-4);
    ck_assert_int_ge(v.nz, 27); /* 22 files */
    v.nz = 15;
    check_equal(&v, &p, 0, 14);
    volume_free(&v);
    phantom_free(&p);
}
END_TEST

/* A tilted gantry: the slices that dcm2niix shears back, each shifted to the front or back against the one
 * below. */
START_TEST(tilted_gantry)
{
    Phantom p = phantom(96, 5, 20);
    Error e = {0};
    Volume v = {0};
    int others = -1;
    ck_assert(export_series(&p, 10, at("tilted"), &(ExportOptions){.last = 27, .series = 1, .tilt = 15}));
    ck_assert_msg(dicom_read_series(at("tilted"), &v, &others, &e), "%s", e.msg);
    ck_assert_int_eq(others, 0);
    ck_assert(v.nx == 96 && v.nz == 28);
    ck_assert_int_gt(v.ny, 96 + 10); /* 27 shifts of 5 mm sin 15 are 17 rows */
    ck_assert_double_eq_tol(v.dz, 5 * cos(15 * PI / 180), 1e-4);
    volume_free(&v);
    phantom_free(&p);
}
END_TEST

/* A mirrored image would not pass comes_back: the phantom is not its own mirror. */
START_TEST(no_phantom_is_symmetric)
{
    Phantom p = phantom(96, 5, 20);
    int differ = 0;
    for (int i = 0; i < p.size * p.size; i++) {
        int mirrored = i - i % p.size + p.size - 1 - i % p.size;
        differ += rintf(p.hu[12 * p.size * p.size + i]) != rintf(p.hu[12 * p.size * p.size + mirrored]);
    }
    ck_assert_int_gt(differ, p.size * p.size / 4);
    phantom_free(&p);
}
END_TEST

/* The study made of the DICOM files is the one made of the phantom itself. */
START_TEST(same_study)
{
    Phantom p = phantom(128, 2.5, 20);
    Volume own = {p.size, p.size, p.n_slices, p.pixel_mm, p.pixel_mm, p.slice_mm, NULL}, v = {0};
    size_t n = (size_t)p.size * (size_t)p.size * (size_t)p.n_slices;
    Error e = {0};
    StudyOptions o = study_options();
    Study a = {0}, b = {0};
    own.hu = malloc(n * sizeof *own.hu);
    for (size_t i = 0; i < n; i++) own.hu[i] = rintf(p.hu[i]);
    ck_assert(export_series(&p, 8, at("thin"), &(ExportOptions){.last = p.n_slices - 1, .series = 1}));
    ck_assert_msg(dicom_read_series(at("thin"), &v, NULL, &e), "%s", e.msg);
    ck_assert_msg(study_from_volume(&own, &o, "own", &a, &e), "%s", e.msg);
    ck_assert_msg(study_from_volume(&v, &o, "dicom", &b, &e), "%s", e.msg);
    int differ = 0;
    for (int i = 0; i < STUDY_SLICES * o.size * o.size; i++) differ += abs(a.hu[i] - b.hu[i]) > 1;
    ck_assert_int_eq(differ, 0);
    ck_assert_double_eq_tol(a.from, b.from, 1e-3);
    ck_assert_double_eq_tol(a.to, b.to, 1e-3);
    study_free(&a);
    study_free(&b);
    volume_free(&v);
    volume_free(&own);
    phantom_free(&p);
}
END_TEST

/* Reading that folder fails with this code; what it says is e's. */
static void refused(const char *path, int code, Error *e)
{
    Volume v = {0};
    *e = (Error){0};
    bool read = dicom_read_series(path, &v, NULL, e);
    ck_assert_msg(!read && e->code == code, "%s: %s, code %d, expected %d: %s", path, read ? "read" : "refused",
                  e->code, code, e->msg);
    ck_assert_ptr_null(v.hu);
    ck_assert_int_eq(left_behind(), 0);
}

START_TEST(faults)
{
    Error e;
    char want[256];
    ck_assert(file_make_folder(at("empty"), NULL));
    refused(at("empty"), ERROR_INPUT, &e);
    snprintf(want, sizeof want, "%s: dcm2niix ended with code 2: ", at("empty"));
    ck_assert_msg(!strncmp(e.msg, want, strlen(want)), "%s", e.msg);
    ck_assert(file_make_folder(at("text"), NULL) && file_write(at("text/CT000000.dcm"), "not DICOM", 9, NULL));
    refused(at("text"), ERROR_INPUT, &e);
    ck_assert_msg(strstr(e.msg, "/text: dcm2niix"), "%s", e.msg);
    refused(at("nowhere"), ERROR_IO, &e);
    ck_assert_msg(strstr(e.msg, "/nowhere: No such file or directory"), "%s", e.msg);
    refused(at("text/CT000000.dcm"), ERROR_INPUT, &e);
    ck_assert_msg(strstr(e.msg, "/CT000000.dcm: not a folder, expected one of DICOM files"), "%s", e.msg);
}
END_TEST

/* Needs no program: there is none, or it is ours. */
START_TEST(program_missing)
{
    static const char own[] = "#!/bin/sh\nfor last; do :; done\necho \"$last\"\nexit 9\n";
    Error e;
    char *path = strdup(getenv("PATH")), want[256];
    setenv("PATH", "/nowhere", 1);
    refused(folder, ERROR_IO, &e);
    snprintf(want, sizeof want, "%s: the program dcm2niix is not in PATH; it is in Debian's package dcm2niix",
             folder);
    ck_assert_str_eq(e.msg, want);
    ck_assert(file_make_folder(at("own"), NULL) && file_write(at("own/dcm2niix"), own, strlen(own), NULL));
    setenv("PATH", at("own"), 1);
    ck_assert(!chmod(at("own/dcm2niix"), 0600));
    refused(folder, ERROR_IO, &e);
    snprintf(want, sizeof want, "%s: dcm2niix: Permission denied", folder);
    ck_assert_str_eq(e.msg, want);
    /* What it is told to read is inside the folder: of a path that is not there it may take the parent. */
    ck_assert(!chmod(at("own/dcm2niix"), 0700));
    refused(folder, ERROR_INPUT, &e);
    snprintf(want, sizeof want, "%s: dcm2niix ended with code 9: %s/.", folder, folder);
    ck_assert_str_eq(e.msg, want);
    setenv("PATH", path, 1);
    free(path);
    setenv("TMPDIR", "/proc/nowhere", 1);
    refused(folder, ERROR_IO, &e);
    setenv("TMPDIR", at("tmp"), 1);
    ck_assert_msg(strstr(e.msg, "/proc/nowhere/pcrl-dicom-"), "%s", e.msg);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder) || !file_make_folder(at("tmp"), NULL)) return EXIT_FAILURE;
    setenv("TMPDIR", at("tmp"), 1);
    Suite *s = suite_create("dicom");
    TCase *t = tcase_create("dicom");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, no_phantom_is_symmetric);
    if (dicom_programs("tests/data/test_dicom")) {
        tcase_add_test(t, comes_back);
        tcase_add_test(t, uneven_slices);
        tcase_add_test(t, tilted_gantry);
        tcase_add_test(t, same_study);
        tcase_add_test(t, faults);
    }
    tcase_add_test(t, program_missing); /* last: another PATH */
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
