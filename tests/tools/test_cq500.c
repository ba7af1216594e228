/* pcrl-import --cq500 on phantoms in CQ500's layout, as DICOM: the series chosen, the slices, sides and labels
 * that come out, and a call that goes on where an earlier one ended. */
#include "data/ctrg.h"
#include "data/study.h"
#include "tests/data/cq500_export.h"
#include "tests/data/cq500_fixture.h"
#include "tests/data/dicom_export.h"
#include "tests/tools/stages.h"
#include "tools/cq500.h"

enum { SIZE = 96 };
#define IMPORT(...) TOOL("pcrl-import", "--cq500", at("cq500"), "--size", "96", __VA_ARGS__)

static Phantom phantom(int number)
{
    PhantomOptions o = phantom_options();
    Phantom p = {0};
    o.size = SIZE;
    o.below_mm = 20;
    ck_assert(phantom_make(3000023 + (uint64_t)number, &o, &p, NULL));
    return p;
}

static void export_study(int number, const char *series, ExportOptions way)
{
    char path[300];
    Phantom p = phantom(number);
    snprintf(path, sizeof path, "%s/cq500/qct%02d/CQ500CT%d CQ500CT%d/Unknown Study/%s", folder, number / 3,
             number, number, series);
    if (!way.last) way.last = p.n_slices - 1;
    ck_assert(export_series(&p, number, path, &way));
    phantom_free(&p);
}

/* Studies 0 to 5, all but 1 with a bleed; 6 whose only series is one of bone, 7 that is not on disk. */
static void write_root(void)
{
    ck_assert(file_make_folder(at("cq500"), NULL));
    FILE *f = fopen(at("cq500/reads.csv"), "w");
    ck_assert_ptr_nonnull(f);
    fputs(HEADER, f);
    for (int k = 7; k >= 0; k--) {
        Phantom p = phantom(k);
        write_read(f, k, phantom_labels(&p));
        phantom_free(&p);
    }
    ck_assert(!fclose(f));
    for (int k = 0; k < 6; k++)
        export_study(k, "CT Plain",
                     (ExportOptions){.backwards = k % 2, .offset = k % 3 ? -1024 : 0, .series = 2});
    export_study(0, "CT BONE", (ExportOptions){.first = 4, .series = 3});
    /* Before its "CT Plain" comes one that is a neck: it is tried and passed over. */
    export_study(1, "CT Plain 3mm", (ExportOptions){.last = 9, .series = 4});
    export_study(6, "CT BONE", (ExportOptions){.last = 8, .series = 3});
    ck_assert(!rename(at("cq500/qct00/CQ500CT1 CQ500CT1/Unknown Study/CT Plain"),
                      at("cq500/qct00/CQ500CT1 CQ500CT1/Unknown Study/CT 5mm")));
}

static const CtrgStudy *study_of(const Ctrg *set, int64_t id)
{
    for (int k = 0; k < set->n; k++)
        if (set->study[k].id == id) return &set->study[k];
    return NULL;
}

/* Whether a pixel of the study lies within the scan, away from its very edge, where a millionth of a millimetre
 * decides between the last voxel and the air outside. */
static bool inside(const Study *s, int i, double side_mm)
{
    double x = s->centre_x + (i % SIZE + 0.5 - SIZE / 2.0) * s->pixel_mm,
           y = s->centre_y + (i / SIZE % SIZE + 0.5 - SIZE / 2.0) * s->pixel_mm;
    return fmin(x, y) > s->pixel_mm && fmax(x, y) < side_mm - s->pixel_mm;
}

/* The study's slices are those of the phantom itself, so left is left. */
static void check_study(const Ctrg *set, int number)
{
    const CtrgStudy *s = study_of(set, number);
    Phantom p = phantom(number);
    Volume v = {p.size, p.size, p.n_slices, p.pixel_mm, p.pixel_mm, p.slice_mm, p.hu};
    StudyOptions o = study_options();
    Study own = {0};
    Error e = {0};
    uint8_t *pixel;
    int16_t *hu;
    int width, height, side, differ = 0, grey = 0, mirrored = 0, compared = 0;
    ck_assert_ptr_nonnull(s);
    ck_assert(s->has_votes);
    ck_assert_uint_eq(cq500_majority(s->vote), phantom_labels(&p));
    for (size_t i = 0; i < (size_t)(SIZE * SIZE) * (size_t)p.n_slices; i++) p.hu[i] = rintf(p.hu[i]);
    o.size = SIZE;
    ck_assert_msg(study_from_volume(&v, &o, "phantom", &own, &e), "%s", e.msg);
    ck_assert_msg(ctrg_read_slices(set, s, &pixel, &width, &height, &e), "%s", e.msg);
    ck_assert_msg(study_read_hu(set->folder, number, &hu, &side, &e), "%s", e.msg);
    ck_assert(width == SIZE && height == SIZE && side == SIZE);
    for (int i = 0; i < STUDY_SLICES * SIZE * SIZE; i++) {
        if (!inside(&own, i, p.size * p.pixel_mm)) continue;
        compared++;
        differ += abs(hu[i] - own.hu[i]) > 1;
        grey += abs(pixel[i] - own.pixel[i]) > 4; /* 1 HU is 3.2 grey values */
        mirrored += abs(hu[i] - own.hu[i - i % SIZE + SIZE - 1 - i % SIZE]) > 1;
    }
    ck_assert_msg(differ == 0 && grey == 0, "study %d: %d voxels, %d pixels differ", number, differ, grey);
    ck_assert_int_gt(compared, STUDY_SLICES * SIZE * SIZE * 3 / 4);
    ck_assert_int_gt(mirrored, 20000);
    free(pixel);
    free(hu);
    study_free(&own);
    phantom_free(&p);
}

static int votes_of(const char *table, const char *label, int column)
{
    char start[64];
    snprintf(start, sizeof start, "\n%s\t", label);
    const char *p = strstr(table, start);
    ck_assert_msg(p, "%s", table);
    for (p += strlen(start); column--; p++) ck_assert_ptr_nonnull(p = strchr(p, '\t'));
    return atoi(p);
}

START_TEST(imports)
{
    Run r;
    IMPORT("--out", at("set"), "--validation", at("more"), "--hu");
    ck_assert_int_eq(r.code, 2); /* of study 6 */
    ck_assert_msg(strstr(r.err, "CQ500-CT-6: none of its 1 series says to be plain or says nothing of it"),
                  "%s", r.err);
    ck_assert_msg(strstr(r.err, "1 studies could not be imported, the first: CQ500-CT-6"), "%s", r.err);
    ck_assert_msg(strstr(r.err, "/CT Plain 3mm: "), "%s", r.err); /* why CT 5mm was taken */
    ck_assert_msg(strstr(r.err, "reads.csv: 1 of 8 studies have no folder under"), "%s", r.err);
    ck_assert_msg(strstr(r.err, "6 studies written, 0 there already, 1 left out, 0 of earlier calls taken out"),
                  "%s", r.err);
    Error e = {0};
    Ctrg *set = ctrg_open(at("set"), NULL, NULL, &e);
    ck_assert_msg(set, "%s", e.msg);
    int bleeds = 0, shifts = 0, n[2] = {0}, fifth = -1;
    for (int k = 0; k < 8; k++) { /* which one is the fifth of its kind */
        Phantom p = phantom(k);
        uint32_t labels = phantom_labels(&p);
        bool bleed = labels >> CQ500_ICH & 1;
        if (++n[bleed] == CQ500_EVERY) fifth = k;
        if (k < 6 && k != fifth) {
            bleeds += bleed;
            shifts += labels >> MIDLINE_SHIFT & 1;
        }
        phantom_free(&p);
    }
    ck_assert_int_ge(fifth, 0);
    for (int k = 0; k < 6; k++)
        if (k != fifth) check_study(set, k);
    ck_assert_int_eq(set->n, 6 - (fifth < 6));
    ck_assert_int_eq(votes_of(r.out, "studies", 0), set->n);
    ck_assert_int_eq(votes_of(r.out, "ICH", 0), bleeds);
    ck_assert_int_eq(votes_of(r.out, "MidlineShift", 0), shifts);
    ck_assert(bleeds > 0 && bleeds < set->n);
    ck_assert_int_gt(votes_of(r.out, "ICH", 2) + votes_of(r.out, "IPH", 2) + votes_of(r.out, "SDH", 2), 0);
    ctrg_free(set);
    json_t *list = json_read(at("set/annotations.json"), NULL);
    for (size_t k = 0; k < json_array_size(list); k++) {
        const json_t *entry = json_array_get(list, k);
        bool one = !strcmp(json_string_value(json_object_get(entry, "id")), "1");
        ck_assert_str_eq(json_string_value(json_object_get(json_object_get(entry, "labels"), "series")),
                         one ? "CT 5mm" : "CT Plain");
    }
    json_decref(list);
}
END_TEST

/* reads.csv of the studies 0..n-1, `other` of which has another vote. */
static void write_reads(int n, int other)
{
    FILE *f = fopen(at("reads.csv"), "w");
    ck_assert_ptr_nonnull(f);
    fputs(HEADER, f);
    for (int k = 0; k < n; k++) {
        Phantom p = phantom(k);
        write_read(f, k, phantom_labels(&p) ^ (k == other ? 1u << MASS_EFFECT : 0));
        phantom_free(&p);
    }
    ck_assert(!fclose(f));
}

/* What is there needs no dcm2niix; another vote or size is done again. */
START_TEST(goes_on)
{
    Run r;
    const char *path = strdup(getenv("PATH"));
    setenv("PATH", "/nowhere", 1);
    IMPORT("--out", at("set"), "--validation", at("more"), "--hu", "--skip-bad");
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert_msg(strstr(r.err, "0 studies written, 6 there already, 1 left out"), "%s", r.err);
    TOOL("pcrl-import", "--cq500", at("cq500"), "--out", at("other"));
    ck_assert_int_eq(r.code, 3);
    ck_assert_msg(strstr(r.err, "the program dcm2niix is not in PATH; it is in Debian's package dcm2niix"),
                  "%s", r.err);
    setenv("PATH", path, 1);
    IMPORT("--out", at("more"), "--validation", at("set"), "--hu", "--skip-bad");
    ck_assert_msg(r.code == 2 && strstr(r.err, "set: holds study 0, which now belongs to ") &&
                      strstr(r.err, "more: choose other folders"),
                  "%s", r.err);
    ck_assert(!unlink(at("set/hu/2/11.png")));
    write_reads(6, 3);
    IMPORT("--out", at("set"), "--validation", at("more"), "--hu", "--reads", at("reads.csv"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert_msg(strstr(r.err, "2 studies written, 4 there already"), "%s", r.err);
    ck_assert_msg(strstr(r.err, "1 studies are not in"), "%s", r.err);
    free((char *)(uintptr_t)path);
}
END_TEST

/* The studies of a data set, in its order; "none" where there is none. */
static const char *studies_of(const char *set)
{
    static char text[256];
    char path[256];
    json_t *list = NULL;
    snprintf(path, sizeof path, "%s/%s/annotations.json", folder, set);
    if (access(path, F_OK)) return "none";
    ck_assert_ptr_nonnull(list = json_read(path, NULL));
    text[0] = 0;
    for (size_t k = 0; k < json_array_size(list); k++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", k ? " " : "",
                 json_string_value(json_object_get(json_array_get(list, k), "id")));
    json_decref(list);
    return text;
}

#define SAID(text) ck_assert_msg(strstr(r.err, text), "expected %s\nfound %s", text, r.err)
#define SERIES     "/Unknown Study/CT Plain"
#define AGAIN()    IMPORT("--out", at("set"), "--validation", at("more"), "--hu", "--reads", at("reads.csv"))

/* Goes on with what the test before has left: studies 0 to 4 in set, 5 in more. The sets are the last import's,
 * whatever was in them. */
START_TEST(takes_out)
{
    Run r;
    char plain[256], bone[256], away[256], there[256];
    snprintf(plain, sizeof plain, "%s", at("cq500/qct01/CQ500CT4 CQ500CT4" SERIES));
    snprintf(bone, sizeof bone, "%s", at("cq500/qct01/CQ500CT4 CQ500CT4/Unknown Study/CT BONE"));
    snprintf(there, sizeof there, "%s", at("cq500/qct00/CQ500CT2 CQ500CT2" SERIES));
    snprintf(away, sizeof away, "%s", at("away"));
    /* Not among the reads: out. Its folder gone, all else the same: it stays. */
    ck_assert(!rename(there, away));
    write_reads(5, 3);
    AGAIN();
    ck_assert_msg(r.code == 0, "%s", r.err);
    SAID("more: study 5 is taken out: it is not among the reads");
    SAID("more: no study is left, so no data set");
    SAID("1 of 5 studies have no folder under");
    SAID("; 1 of them are there already and stay");
    SAID("0 studies written, 5 there already, 0 left out, 1 of earlier calls taken out");
    ck_assert_str_eq(studies_of("set"), "0 1 2 3 4");
    ck_assert_str_eq(studies_of("more"), "none");
    ck_assert(!access(at("more/images/5/23.png"), F_OK) && votes_of(r.out, "studies", 0) == 5);
    /* A call that ends early takes nothing out. */
    IMPORT("--out", at("set"), "--reads", at("none.csv"));
    ck_assert_int_eq(r.code, 3);
    ck_assert(file_write(at("far.csv"), HEADER ROW_490, strlen(HEADER ROW_490), NULL));
    IMPORT("--out", at("set"), "--reads", at("far.csv"));
    ck_assert(r.code == 2 && !strstr(r.err, "taken out"));
    ck_assert_str_eq(studies_of("set"), "0 1 2 3 4");
    /* Another vote and no folder; pictures to be made again, but no series for it. */
    write_reads(5, 2);
    ck_assert(!rename(plain, bone) && !unlink(at("set/images/4/00.png")));
    AGAIN();
    ck_assert_msg(r.code == 2, "%s", r.err);
    SAID("set: study 2 is taken out: its votes, size or files are others now, and it has no folder");
    SAID("set: study 4 is taken out: it could not be imported");
    SAID("; 0 of them are there already and stay");
    SAID("1 studies written, 2 there already, 1 left out, 2 of earlier calls taken out"); /* 3: its vote */
    ck_assert_str_eq(studies_of("set"), "0 1 3");
    ck_assert(votes_of(r.out, "studies", 0) == 3 && !access(at("set/images/2/00.png"), F_OK));
    /* All is there again: as in empty folders, order included. */
    ck_assert(!rename(bone, plain) && !rename(away, there));
    write_reads(6, 2);
    AGAIN();
    SAID("3 studies written, 3 there already, 0 left out, 0 of earlier calls taken out");
    IMPORT("--out", at("set2"), "--validation", at("more2"), "--hu", "--reads", at("reads.csv"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert_str_eq(studies_of("set"), "0 1 2 3 4");
    ck_assert(same_file(at("set/annotations.json"), at("set2/annotations.json")) &&
              same_file(at("more/annotations.json"), at("more2/annotations.json")));
}
END_TEST

START_TEST(faults)
{
    Run r;
    IMPORT("--out", at("set"), "x.nii");
    ck_assert(r.code == 1 && strstr(r.err, "--cq500 takes no INPUT, found 'x.nii'"));
    IMPORT("--out", at("set"), "--id", "3");
    ck_assert(
        r.code == 1 &&
        strstr(r.err, "--cq500 goes with --out, --reads, --validation, --size, --hu and --skip-bad alone"));
    IMPORT("--out", at("set"), "--dtype", "i16");
    ck_assert(r.code == 1 && strstr(r.err, "--cq500 goes with"));
    IMPORT("--validation", at("set"));
    ck_assert(r.code == 1 && strstr(r.err, "no --out"));
    IMPORT("--out", at("set"), "--validation", at("set"));
    ck_assert(r.code == 1 && strstr(r.err, "expected two folders"));
    IMPORT("--out", at("set"), "--ctrg", at("set"));
    ck_assert(r.code == 1 && strstr(r.err, "--cq500 goes with"));
    TOOL("pcrl-import", "--out", at("set"), "--skip-bad", "x.nii");
    ck_assert(r.code == 1 && strstr(r.err, "--skip-bad needs --ctrg ROOT or --cq500 ROOT"));
    TOOL("pcrl-import", "--out", at("set"), "--reads", "x", "x.nii");
    ck_assert(r.code == 1 && strstr(r.err, "--reads and --validation are for --cq500"));
    IMPORT("--out", at("set"), "--reads", at("none.csv"));
    ck_assert(r.code == 3 && strstr(r.err, "none.csv: cannot open: No such file"));
    ck_assert(file_write(at("bad.csv"), "a,b\n", 4, NULL));
    IMPORT("--out", at("set"), "--reads", at("bad.csv"));
    ck_assert(r.code == 2 && strstr(r.err, "bad.csv: line 1: column 1 is \"a\", expected"));
    ck_assert(file_write(at("far.csv"), HEADER ROW_490, strlen(HEADER ROW_490), NULL));
    IMPORT("--out", at("set"), "--reads", at("far.csv"));
    ck_assert(r.code == 2 && strstr(r.err, "no series of the 1 studies in"));
    /* Another data set is not written into. */
    static const char others[] = "[{\"id\": \"3\"}]", no_list[] = "{}";
    ck_assert(file_make_folder(at("others"), NULL) &&
              file_write(at("others/annotations.json"), others, strlen(others), NULL));
    IMPORT("--out", at("others"));
    ck_assert_msg(r.code == 2 &&
                      strstr(r.err, "study 3 has no labels of CQ500, expected a data set of its own"),
                  "%s", r.err);
    ck_assert(file_write(at("others/annotations.json"), no_list, strlen(no_list), NULL));
    IMPORT("--out", at("others"));
    ck_assert_msg(r.code == 2 && strstr(r.err, "expected a list of studies"), "%s", r.err);
}
END_TEST

int main(void)
{
    if (!dicom_programs("tests/tools/test_cq500")) return EXIT_SUCCESS;
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    Suite *s = suite_create("cq500");
    TCase *t = tcase_create("cq500");
    tcase_set_timeout(t, 300);
    tcase_add_unchecked_fixture(t, write_root, NULL);
    tcase_add_test(t, imports);
    tcase_add_test(t, goes_on);
    tcase_add_test(t, takes_out);
    tcase_add_test(t, faults);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    remove_folder();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
