/* Each way in which the corpus can be damaged, and the lines it must give: all of them, in their order, and no
 * other. */
#include "data/ctrg_brain.h"
#include "data/ctrg.h"
#include "tests/data/brain_fixture.h"
#include <sys/stat.h>
#include "tests/data/fail_alloc.h"

typedef struct Said {
    int n;
    BrainIssue issue[64];
    char line[64][512];
} Said;

static void keep(void *context, BrainIssue issue, const char *line)
{
    Said *s = context;
    if (s->n == 64) ck_abort_msg("more: %s", line); /* ck_assert allocates */
    s->issue[s->n] = issue;
    snprintf(s->line[s->n++], sizeof s->line[0], "%s", line);
}

static Said said;
static Brain *open_brain(bool most, Error *e)
{
    said.n = 0;
    return brain_open(brain_root, &(BrainOptions){.most = most, .report = keep, .context = &said}, e);
}

static int good_studies(const Brain *b)
{
    int n = 0;
    for (int i = 0; i < b->n; i++) n += b->study[i].good;
    return n;
}

/* ---- the sound corpus ---- */

START_TEST(sound)
{
    brain_make(_i);
    if (_i) {
        brain_text(brain_at("samples/0/notes.txt"), "x"); /* other files are counted, no more */
        brain_text(brain_at("samples/.DS_Store"), "x");
    }
    Error e = {0};
    Brain *b = open_brain(false, &e);
    ck_assert_msg(b != NULL, "%s", e.msg);
    ck_assert_msg(said.n == 0, "%s", said.line[0]);
    ck_assert_int_eq(b->n, BRAIN_STUDIES);
    ck_assert_int_eq(good_studies(b), BRAIN_STUDIES);
    ck_assert_int_eq(b->pictures, 3 * 24 + 12 + 36);
    ck_assert(b->repeat_studies == 1 && b->repeats == 12 && b->skip_studies == 1 && b->others == _i &&
              !b->plain);
    ck_assert_int_eq(b->skips, 12);
    ck_assert_ptr_null(brain_find(b, 5));
    for (int i = 0; i < b->n; i++) {
        const BrainStudy *s = &b->study[i];
        ck_assert_ptr_eq(brain_find(b, i), s);
        ck_assert_str_eq(s->findings, brain_texts[i]);
        int count = i == 3 ? 12 : i == 4 ? 36 : 24;
        for (int k = 0; k < 24; k++) {
            const BrainFile *f = &s->file[s->pick[k]];
            ck_assert_int_eq(f->number, 3 + (2 * k + 1) * count / 48);
            ck_assert_int_eq(f->series, i == 4 ? 3 : 2);
        }
    }
    Image image = {0};
    char words[400];
    ck_assert_msg(brain_read_file(b, &b->study[1], 4, &image, &e), "%s", e.msg);
    ck_assert_int_eq(image.pixel[0], 20 + 3 * 7);
    free(image.pixel);
    brain_file_words(b, &b->study[1], 4, words, sizeof words);
    ck_assert_str_eq(words, brain_at("samples/1: series 02, slice 7"));
    brain_free(b);
}
END_TEST

/* WGAM-HI's: 24 PNG files of any name, COCO's annotations. */
START_TEST(plain_names)
{
    brain_remove();
    ck_assert(file_make_folder(brain_at("png_process/12"), NULL));
    for (int n = 1; n <= 24; n++) brain_picture(brain_at("png_process/12/layer%d.png", n), 64, 64, 3 * n);
    brain_text(brain_at("origin_anno.json"),
               "{\"annotations\": [{\"image_id\": 12, \"caption\": \"中线结构居中。\"}], \"images\": []}");
    Error e = {0};
    Brain *b = open_brain(false, &e);
    ck_assert_msg(b && !said.n && b->n == 1 && b->study[0].good && b->plain == 1, "%s", e.msg);
    ck_assert_str_eq(b->study[0].findings, "中线结构居中。");
    Image image = {0};
    for (int k = 0; k < 24; k++) {
        ck_assert(b->study[0].pick[k] == k && b->study[0].file[k].number == k + 1);
        ck_assert(brain_read_file(b, &b->study[0], k, &image, &e) && image.pixel[0] == 3 * (k + 1));
        free(image.pixel);
    }
    char words[400];
    brain_file_words(b, &b->study[0], 10, words, sizeof words);
    ck_assert_str_eq(words, brain_at("png_process/12: slice 11"));
    brain_free(b);
}
END_TEST

/* ---- damage ---- */

/* The text of FILE with the first `from` replaced. */
static void edit(const char *file, const char *from, const char *to)
{
    uint8_t *bytes;
    size_t n;
    ck_assert(file_read(brain_at("%s", file), 1 << 20, &bytes, &n, NULL));
    char *at = strstr((char *)bytes, from), *out = malloc(n + strlen(to) + 1);
    ck_assert_msg(at != NULL, "%s has no %s", file, from);
    size_t head = (size_t)(at - (char *)bytes);
    memcpy(out, bytes, head);
    strcpy(stpcpy(out + head, to), at + strlen(from));
    brain_text(brain_at("%s", file), out);
    free(out);
    free(bytes);
}
static void anno(const char *from, const char *to) { edit("origin_anno.json", from, to); }
static void list(const char *from, const char *to) { edit("total_image_list_final.json", from, to); }
static void move(const char *from, const char *to) { ck_assert(!rename(from, to)); }

static void no_id(void) { anno("\"id\": \"1\"", "\"ID\": \"1\""); }
static void bad_id(void) { anno("\"id\": \"1\"", "\"id\": \"01\""); }
static void odd_id(void) { anno("\"id\": \"1\"", "\"id\": [1]"); }
static void no_object(void) { anno("[{", "[7, {"); }
static void same_id(void) { anno("\"id\": \"1\"", "\"id\": \"0\""); }
static void extra_key(void) { anno("\"id\": \"1\"", "\"id\": \"1\", \"age\": 7, \"sex\": 1"); }
static void empty_text(void) { anno(brain_texts[2], " \\n"); }
static void no_text(void) { anno("\"findings\": \"右", "\"finding\": \"右"); }
static void number_text(void)
{
    anno("\"impression\": \"腔隙性脑梗死。\", \"findings\": \"右", "\"impression\": 3, \"findings\": \"右");
}
static void not_utf8(void) { anno("右侧基底节区", "右\xe4\xbe侧\xff"); }
/* The signs that stand for such bytes, beside them, before them and in another text. */
static void signs_too(void)
{
    anno("右侧基底节区", "右\x7f?侧\xff");
    anno("左侧丘脑", "左侧?\x7f\\u007f丘脑");
}
static void no_folder(void) { move(brain_at("samples/2"), brain_at("samples/77")); }
static void named_folder(void) { ck_assert(!mkdir(brain_at("samples/ceshi"), 0777)); }
static void other_names(void)
{
    brain_picture(brain_at("samples/0/ceshi.jpg"), 64, 64, 9);
    brain_picture(brain_at("samples/0/_02_0001_0001.jpg"), 64, 64, 9);
}
static void two_numbers(void) { move(brain_slice(0, 2, 7), brain_at("samples/0/ceshi_02_0007_0008.jpg")); }
static void slice_twice(void) { brain_picture(brain_at("samples/0/wo_02_0007_0007.jpg"), 64, 64, 9); }
static void mixed_series(void) { brain_slices(0, 3, 1, 9); }
static void few_slices(void)
{
    for (int n = 8; n <= 14; n++) unlink(brain_slice(3, 2, n));
}
static void no_slices(void)
{
    for (int n = 3; n <= 14; n++) unlink(brain_slice(3, 2, n));
}
static void several(void)
{
    empty_text();
    extra_key();
    no_folder();
    few_slices();
}
static void bad_manifest(void) { list("[", "[[[\"/x/ceshi.jpg\" 3"); }
static void manifest_list(void) { brain_text(brain_at("total_image_list_final.json"), "[1]"); }
static void twice_listed(void) { list("\"1\": [", "\"0\": ["); }
static void unlisted(void) { list("\"1\": [", "\"78\": ["); }
static void short_row(void)
{
    list("\"3\": [\"/data/a b/samples/CTRG/samples/3/ceshi_02_0003_0003.jpg\", ", "\"3\": [");
}
static void no_row(void) { list("\"3\": [", "\"3\": null, \"x\": ["); }
static void other_place(void) { list("samples/CTRG/samples/0/", "simples/CTRG/simples/0/"); }
static void other_study(void) { list("samples/0/", "samples/1/"); }
static void climbing(void) { list("samples/0/", "samples/0/../1/"); }
static void no_string(void) { list("\"/data/a b/samples/CTRG/samples/0/ceshi_02_0003_0003.jpg\"", "3"); }
static void missing(void)
{
    unlink(brain_slice(1, 2, 5));
    unlink(brain_slice(1, 2, 6));
}
static void missing_plain(void) { list("0/ceshi_02_0004_0004.jpg", "0/ceshi.jpg"); }
static void out_of_order(void) { list("0/ceshi_02_0004_0004.jpg", "0/ceshi_02_0009_0009.jpg"); }
static void series_in_row(void)
{
    brain_slices(0, 3, 4, 4);
    list("0/ceshi_02_0004_0004.jpg", "0/ceshi_03_0004_0004.jpg");
}

/* A is the annotations, S the pictures' folder, M the manifest. */
static const struct {
    const char *name;
    void (*damage)(void);
    bool manifest;
    int good;
    const char *lines[5];
} cases[] = {
    {"no id",
     no_id,
     false,
     4,
     {"A: entry 1: id missing, expected a decimal number", "S/1: the annotations have no study 1"}},
    {"bad id",
     bad_id,
     false,
     4,
     {"A: entry 1: id of another form, expected a decimal number", "S/1: the annotations have no study 1"}},
    {"odd id",
     odd_id,
     false,
     4,
     {"A: entry 1: id of another type, expected a decimal number", "S/1: the annotations have no study 1"}},
    {"no object", no_object, false, 5, {"A: entry 0 is not an object"}},
    {"same id",
     same_id,
     false,
     3,
     {"A: study 0: entries 0 and 1 have the same id", "S/1: the annotations have no study 1"}},
    {"extra key", extra_key, false, 5, {"A: study 1: unknown key \"age\"", "A: study 1: unknown key \"sex\""}},
    {"empty text", empty_text, false, 4, {"A: study 2: findings is empty, expected a report"}},
    {"no text",
     no_text,
     false,
     4,
     {"A: study 1: unknown key \"finding\"", "A: study 1: findings is missing, expected a text"}},
    {"number", number_text, false, 4, {"A: study 1: impression is of another type, expected a text"}},
    {"not UTF-8", not_utf8, false, 4, {"A: study 1: findings: byte 3 is not UTF-8"}},
    {"its signs too", signs_too, false, 4, {"A: study 1: findings: byte 8 is not UTF-8"}},
    {"no folder", no_folder, false, 4, {"S/77: the annotations have no study 77", "S: no folder of study 2"}},
    {"named folder", named_folder, false, 5, {"S: folder 6 of 6 is not named by an id"}},
    {"other names", other_names, false, 5, {"S/0: 2 of 26 pictures are not named NAME_SERIES_NUMBER_NUMBER"}},
    {"two numbers", two_numbers, false, 5, {"S/0: series 02, slice 7: its name says 7 and 8"}},
    {"slice twice", slice_twice, false, 4, {"S/0: series 02: slice 7 is there twice"}},
    {"mixed series",
     mixed_series,
     false,
     4,
     {"S/0: 33 slices of 2 series, expected one series (the largest is 02, of 24)"}},
    {"few slices", few_slices, false, 4, {"S/3: 5 slices, expected at least 8 (one a layer)"}},
    {"no slices", no_slices, false, 4, {"S/3: 0 slices, expected at least 8 (one a layer)"}},
    {"several",
     several,
     false,
     3,
     {"A: study 1: unknown key \"age\"", "A: study 1: unknown key \"sex\"",
      "A: study 2: findings is empty, expected a report", "S/77: the annotations have no study 77",
      "S: no folder of study 2"}},
    {"bad manifest", bad_manifest, true, 0, {"M:1:25: not JSON: ']' expected"}},
    {"manifest list", manifest_list, true, 0, {"M: not an object of rows by id"}},
    {"twice listed", twice_listed, true, 0, {"M:1:1427: not JSON: duplicate object key"}},
    {"unlisted", unlisted, true, 4, {"M: the annotations have no study 78", "M: no row of study 1"}},
    {"short row", short_row, true, 4, {"M: study 3: 23 images, expected 24"}},
    {"no row", no_row, true, 4, {"M: study 3: 0 images, expected 24", "M: row 5 is not named by an id"}},
    {"other place", other_place, true, 4, {"M: study 0: image 0 is not in the folder of samples"}},
    {"other study", other_study, true, 4, {"M: study 0: image 0 is not in the study's folder"}},
    {"climbing", climbing, true, 4, {"M: study 0: image 0 is not in the study's folder"}},
    {"no string", no_string, true, 4, {"M: study 0: image 0 is not a string"}},
    {"missing",
     missing,
     true,
     4,
     {"M: study 1: image 2 (series 02, slice 5) is missing",
      "M: study 1: image 3 (series 02, slice 6) is missing"}},
    {"missing, plain", missing_plain, true, 4, {"M: study 0: image 1 is missing"}},
    {"out of order", out_of_order, true, 4, {"M: study 0: image 2 is slice 5 after 9"}},
    {"series in a row", series_in_row, true, 4, {"M: study 0: image 1 is of series 03 after 02"}},
};
enum { CASES = sizeof cases / sizeof *cases };

START_TEST(damage)
{
    brain_make(cases[_i].manifest);
    cases[_i].damage();
    Error e = {0};
    Brain *b = open_brain(false, &e);
    ck_assert_msg(b != NULL, "%s: %s", cases[_i].name, e.msg);
    for (int k = 0; k < 5 && cases[_i].lines[k]; k++) {
        const char *expected = cases[_i].lines[k];
        char line[512];
        snprintf(line, sizeof line, "%s%s",
                 *expected == 'A'   ? b->annotations
                 : *expected == 'S' ? b->folder
                                    : b->manifest,
                 expected + 1);
        ck_assert_msg(k < said.n, "%s: lacks %s", cases[_i].name, line);
        ck_assert_msg(!strcmp(said.line[k], line), "%s: %s, expected %s", cases[_i].name, said.line[k], line);
        ck_assert_ptr_null(strstr(said.line[k], "ceshi"));
    }
    int n = 0;
    while (n < 5 && cases[_i].lines[n]) n++;
    if (strcmp(cases[_i].name, "several"))
        ck_assert_msg(said.n == n, "%s: more: %s", cases[_i].name, said.line[n]);
    else
        ck_assert_int_eq(said.n, 6);
    int64_t counted = 0;
    for (BrainIssue i = 0; i < BRAIN_ISSUES; i++) counted += b->issue[i];
    ck_assert_int_eq(counted, said.n);
    ck_assert_msg(good_studies(b) == cases[_i].good, "%s: %d good", cases[_i].name, good_studies(b));
    brain_free(b);
}
END_TEST

/* Signs of a sound text are text. */
START_TEST(signs)
{
    Error e = {0};
    brain_make(false);
    anno("右侧", "右?\x7f\\u007f侧");
    Brain *b = open_brain(false, &e);
    ck_assert_msg(b && !said.n && good_studies(b) == BRAIN_STUDIES, "%s", b ? said.line[0] : e.msg);
    ck_assert_int_eq(strncmp(b->study[1].findings, "右?\x7f\x7f侧", 9), 0);
    brain_free(b);
}
END_TEST

START_TEST(series_most)
{
    brain_make(false);
    brain_slices(0, 3, 1, 9);
    brain_slices(1, 9, 1, 25);
    Error e = {0};
    Brain *b = open_brain(true, &e);
    ck_assert(b && !said.n && good_studies(b) == 5 && b->several == 2);
    ck_assert_int_eq(b->study[0].file[b->study[0].pick[0]].series, 2);
    ck_assert_int_eq(b->study[1].file[b->study[1].pick[0]].series, 9);
    brain_free(b);
}
END_TEST

/* Where there is nothing to go on with. */
START_TEST(hopeless)
{
    static const struct {
        const char *annotations, *fault; /* after the annotations' path */
    } texts[] = {
        {"[]", ": 0 studies, expected 1 to 10000000"},
        {"{}", ": not a list of studies"},
        {"3", ": not a list of studies"},
        {"{\"annotations\": {}}", ": not a list of studies"},
        {"[{]", ":1:3: not JSON: string or '}' expected"},
        {"", ":1:0: not JSON: unexpected token"},
        {"[{\"id\": \"1\", \"id\": \"1\"}]", ":1:17: not JSON: duplicate object key"},
    };
    brain_make(false);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        Error e = {0};
        char expected[512];
        brain_text(brain_at("origin_anno.json"), texts[i].annotations);
        snprintf(expected, sizeof expected, "%s%s", brain_at("origin_anno.json"), texts[i].fault);
        ck_assert(!open_brain(false, &e) && e.code == ERROR_INPUT);
        ck_assert_str_eq(e.msg, expected);
    }
    Error e = {0};
    unlink(brain_at("origin_anno.json"));
    ck_assert(!open_brain(false, &e) && e.code == ERROR_IO);
    move(brain_at("samples"), brain_at("simples"));
    ck_assert(!open_brain(false, &e) && e.code == ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, "neither samples nor png_process in this folder") != NULL, "%s", e.msg);
}
END_TEST

/* Every prefix of annotations and manifest: an error or issues, never a study that is not there. */
START_TEST(prefixes)
{
    for (int manifest = 0; manifest < 2; manifest++) {
        const char *file = manifest ? "total_image_list_final.json" : "origin_anno.json";
        uint8_t *bytes;
        size_t n;
        brain_make(true);
        ck_assert(file_read(brain_at("%s", file), 1 << 20, &bytes, &n, NULL));
        for (size_t k = 0; k < n - 1; k += 1 + (size_t)manifest * 37) {
            Error e = {0};
            brain_write(brain_at("%s", file), bytes, k);
            Brain *b = open_brain(false, &e);
            ck_assert_msg(manifest ? b && said.n == 1 && good_studies(b) == 0 : !b && e.code == ERROR_INPUT,
                          "%zu", k);
            brain_free(b);
        }
        free(bytes);
    }
}
END_TEST

/* JPEG slices, grey and colour, wherever PNG slices are read: a folder as one study, a data set's images. */
START_TEST(as_slices)
{
    Error e = {0};
    Study study = {0};
    StudyOptions o = study_options();
    brain_make(false);
    uint8_t rgb[BRAIN_SIDE * BRAIN_SIDE * 3];
    size_t n;
    for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = 77;
    uint8_t *bytes = jpeg_write(&(Image){BRAIN_SIDE, BRAIN_SIDE, 3, rgb}, (JpegWrite){.quality = 95}, &n);
    brain_write(brain_slice(0, 2, 5), bytes, n);
    free(bytes);
    o.size = BRAIN_SIDE;
    ck_assert_msg(study_from_folder(brain_at("samples/0"), &o, &study, &e), "%s", e.msg);
    char text[4096];
    int at = snprintf(text, sizeof text, "[{\"id\": \"0\", \"findings\": \"x\", \"images\": [");
    for (int i = 0; i < 24; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%s\"samples/0/ceshi_02_%04d_%04d.jpg\"",
                       i ? ", " : "", i + 3, i + 3);
    snprintf(text + at, sizeof text - (size_t)at, "]}]");
    brain_text(brain_at("annotations.json"), text);
    Ctrg *c = ctrg_open(brain_root, NULL, NULL, &e);
    uint8_t *pixel = NULL;
    int width, height;
    ck_assert_msg(c && ctrg_read_slices(c, &c->study[0], &pixel, &width, &height, &e), "%s", e.msg);
    ck_assert(width == BRAIN_SIDE && height == BRAIN_SIDE);
    for (int i = 0; i < 24; i++) ck_assert_int_eq(study.pixel[i * 64 * 64 + 9], i == 2 ? 77 : 3 * (i + 3));
    ck_assert_mem_eq(study.pixel, pixel, 24 * BRAIN_SIDE * BRAIN_SIDE);
    free(pixel);
    ctrg_free(c);
    study_free(&study);
}
END_TEST

static bool open_once(Error *e)
{
    Brain *b = open_brain(false, e);
    bool ok = b != NULL;
    brain_free(b);
    return ok;
}

START_TEST(allocations)
{
    brain_make(_i == 1);
    if (_i == 2) not_utf8();
    ck_assert_int_gt(fail_each(open_once), 40);
}
END_TEST

static void make_folder(void) { ck_assert_ptr_nonnull(mkdtemp(brain_root)); }

int main(void)
{
    Suite *s = suite_create("ctrg_brain");
    TCase *t = tcase_create("ctrg_brain");
    tcase_set_timeout(t, 60);
    tcase_add_unchecked_fixture(t, make_folder, brain_remove);
    tcase_add_loop_test(t, sound, 0, 2);
    tcase_add_test(t, plain_names);
    tcase_add_test(t, as_slices);
    tcase_add_loop_test(t, damage, 0, CASES);
    tcase_add_test(t, signs);
    tcase_add_test(t, series_most);
    tcase_add_test(t, hopeless);
    tcase_add_test(t, prefixes);
    tcase_add_loop_test(t, allocations, 0, 3);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
