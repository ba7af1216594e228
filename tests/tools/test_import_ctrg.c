/* pcrl-import --ctrg as a user meets it, on a tiny corpus made here. */
#include "data/ctrg.h"
#include "data/json.h"
#include "tests/data/brain_fixture.h"
#include "tests/tools/run.h"
#include <sys/stat.h>

static char out[] = "/tmp/pcrl-sets-XXXXXX";
static Run r;

static void clear_out(void) { nftw(out, brain_remove_one, 16, FTW_DEPTH | FTW_PHYS); }

#define CTRG(...) run_tool(&r, "pcrl-import", (const char *const[]){"--ctrg", brain_root, __VA_ARGS__, NULL})

/* Names do not leave the corpus: not in what is said, not in any file or name below OUT. */
static void no_names(const char *text, size_t n, const char *where)
{
    ck_assert_msg(!memmem(text, n, "ceshi", 5), "a name is in %s", where);
}
static int look_for_names(const char *path, const struct stat *st, int type, struct FTW *f)
{
    uint8_t *bytes;
    size_t n;
    (void)f;
    no_names(path, strlen(path), path);
    if (type != FTW_F) return 0;
    ck_assert(file_read(path, (size_t)st->st_size, &bytes, &n, NULL));
    no_names((char *)bytes, n, path);
    free(bytes);
    return 0;
}
static void check_names(void)
{
    no_names(r.out, strlen(r.out), "stdout");
    no_names(r.err, strlen(r.err), "stderr");
    nftw(out, look_for_names, 16, FTW_PHYS);
}

static const char *in_out(const char *name)
{
    static char ring[4][256];
    static unsigned turn;
    char *s = ring[turn++ & 3];
    snprintf(s, sizeof ring[0], "%s/%s", out, name);
    return s;
}

/* ---- verify ---- */

START_TEST(verify_sound)
{
    brain_make(true);
    CTRG("--verify");
    ck_assert_msg(r.code == 0 && !*r.err, "%d: %s", r.code, r.err);
    ck_assert_str_eq(r.out, "note: 5 studies\n"
                            "note: 120 pictures\n"
                            "note: 1 studies repeat slices, 12 in all\n"
                            "note: 1 studies skip slices, 12 in all\n"
                            "note: 5 findings, 4 of them distinct\n"
                            "note: 5 studies of 64 x 64 pixels\n"
                            "0 problems; 5 of 5 studies can be used\n"
                            "cleaning: 3 of 10 texts changed\n"
                            "cleaning: 1 replaced\t，建议\n"
                            "cleaning: 1 replaced\t。建议进一步检查。\n"
                            "cleaning: 1 replaced\t脑千\n"
                            "cleaning: 1 replaced\t题\n"
                            "cleaning: 1 replaced\t若侧\n"
                            "cleaning: 1 dropped\t肺\n"
                            "cleaning: 1 stripped\t头颅CT平扫：\n");
    CTRG("--verify", "--no-clean");
    ck_assert(r.code == 0 && strstr(r.out, "0 problems") && !strstr(r.out, "cleaning"));
}
END_TEST

/* Cut, of another kind, of another size, not square, empty after cleaning: all in one pass. */
START_TEST(verify_damaged)
{
    uint8_t *bytes;
    size_t n;
    brain_make(false);
    ck_assert(file_read(brain_slice(0, 2, 7), 1 << 20, &bytes, &n, NULL));
    brain_write(brain_slice(0, 2, 7), bytes, n / 2);
    free(bytes);
    brain_text(brain_slice(0, 2, 9), "GIF89a");
    brain_write(brain_slice(0, 2, 10), "", 0);
    brain_picture(brain_slice(1, 2, 12), 32, 32, 9);
    for (int k = 3; k <= 14; k++) brain_picture(brain_slice(3, 2, k), 64, 48, 9);
    char text[4096];
    snprintf(text, sizeof text,
             "[{\"id\": \"0\", \"findings\": \"%s\"}, {\"id\": \"1\", \"findings\": \"%s\"}, "
             "{\"id\": \"2\", \"findings\": \"双肺清晰。\"}, {\"id\": \"3\", \"findings\": \"%s\"}, "
             "{\"id\": \"4\", \"findings\": \"%s\", \"sex\": 1}]",
             brain_texts[0], brain_texts[1], brain_texts[3], brain_texts[4]);
    brain_text(brain_at("origin_anno.json"), text);
    char expected[8192], *to = expected;
#define LINE(format, ...) to += sprintf(to, format "\n", __VA_ARGS__)
    LINE("%s: study 4: unknown key \"sex\"", brain_at("origin_anno.json"));
    LINE("%s: study 2: cleaning leaves nothing of findings", brain_at("origin_anno.json"));
    LINE("%s/0: series 02, slice 7: JPEG: Premature end of JPEG file", brain_at("samples"));
    LINE("%s/0: series 02, slice 9: neither PNG nor JPEG (its first bytes are another signature)",
         brain_at("samples"));
    LINE("%s/0: series 02, slice 10: neither PNG nor JPEG (its first bytes are another signature)",
         brain_at("samples"));
    LINE("%s/1: series 02, slice 12: 32 x 32 pixels, expected 64 x 64 as the first", brain_at("samples"));
    LINE("%s/3: 64 x 48 pixels, expected square pictures", brain_at("samples"));
    LINE("note: %d studies", 5);
    LINE("note: %d pictures", 120);
    LINE("note: %d studies repeat slices, 12 in all", 1);
    LINE("note: %d studies skip slices, 12 in all", 1);
    LINE("note: %d findings, 4 of them distinct", 5);
    LINE("note: %d studies of 64 x 64 pixels", 4);
    LINE("note: %d studies of 64 x 48 pixels", 1);
    LINE("problem: %d unknown keys", 1);
    LINE("problem: %d pictures that cannot be read", 3);
    LINE("problem: %d pictures of another size than their study's first", 1);
    LINE("problem: %d studies whose pictures are not square", 1);
    LINE("problem: %d findings of which cleaning leaves nothing", 1);
    LINE("%d problems; 1 of 5 studies can be used", 7);
    for (int threads = 1; threads <= 2; threads++) {
        CTRG("--verify", "--threads", threads == 1 ? "1" : "2");
        char *cleaning = strstr(r.out, "cleaning: ");
        ck_assert_int_eq(r.code, 2);
        ck_assert_ptr_nonnull(cleaning);
        *cleaning = 0;
        ck_assert_str_eq(r.out, expected);
        snprintf(text, sizeof text, "pcrl-import: %s: 7 problems\n", brain_root);
        ck_assert_str_eq(r.err, text);
        check_names();
    }
}
END_TEST

/* ---- import ---- */

static void check_ids(const char *part, int n, const int *id, char hash[65])
{
    Error e = {0};
    Ctrg *c = ctrg_open(in_out(part), NULL, NULL, &e);
    ck_assert_msg(c != NULL, "%s", e.msg);
    ck_assert_int_eq(c->n, n);
    for (int i = 0; i < n; i++) ck_assert_int_eq(c->study[i].id, id[i]);
    json_t *split = json_read(in_out("split.json"), &e);
    json_t *row = json_object_get(json_object_get(split, "parts"), part);
    ck_assert_int_eq(json_integer_value(json_object_get(row, "studies")), n);
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(atoi(json_string_value(json_array_get(json_object_get(row, "ids"), (size_t)i))),
                         id[i]);
    snprintf(hash, 65, "%s", json_string_value(json_object_get(row, "sha256")));
    json_decref(split);
    ctrg_free(c);
}
#define IDS(part, ...)                                                                                         \
    check_ids(part, sizeof((int[]){__VA_ARGS__}) / sizeof(int), (const int[]){__VA_ARGS__}, hash)

START_TEST(sets)
{
    static const char *const clean[BRAIN_STUDIES] = {
        "双侧大脑半球对称，左侧丘脑见斑点状低密度影。中线结构居中。",
        "右侧基底节区见片状低密度影，脑干未见异常。", "双侧大脑半球对称，脑沟增宽。",
        "中线结构居中，右侧颞叶见低密度影。", "双侧大脑半球对称，左侧丘脑见斑点状低密度影。中线结构居中。"};
    char hash[65];
    clear_out();
    brain_make(_i); /* with a manifest and without one: the same slices here */
    CTRG("--out", out, "--size", "64");
    ck_assert_msg(r.code == 0, "%d: %s", r.code, r.err);
    check_names();
    IDS("train", 0, 1, 2);
    ck_assert_str_eq(hash, "b78a1987bcbdc0903ba6ba29ee3e1f4e7cc1ca868a60889beb141e26e06cb005");
    ck_assert(strstr(r.out, "train\t3\tb78a1987bcbdc0903ba6ba29ee3e1f4e7cc1ca868a60889beb141e26e06cb005\n") &&
              strstr(r.out, "left out\t0\n"));
    IDS("test", 3);
    IDS("validation", 4);
    const char *const parts[BRAIN_STUDIES] = {"train", "train", "train", "test", "validation"};
    for (int id = 0; id < BRAIN_STUDIES; id++) {
        Error e = {0};
        Ctrg *c = ctrg_open(in_out(parts[id]), NULL, NULL, &e);
        const CtrgStudy *s = &c->study[id < 3 ? id : 0];
        uint8_t *pixel;
        int width, height, count = id == 3 ? 12 : id == 4 ? 36 : 24;
        ck_assert_str_eq(s->findings, clean[id]);
        ck_assert_str_eq(s->impression, "腔隙性脑梗死。");
        ck_assert(!s->has_truth && ctrg_read_slices(c, s, &pixel, &width, &height, &e) && width == 64);
        for (int k = 0; k < 24; k++)
            ck_assert_int_eq(pixel[k * 64 * 64 + 99], 20 * id + 3 * (3 + (2 * k + 1) * count / 48));
        free(pixel);
        ctrg_free(c);
    }
}
END_TEST

static int64_t when(const char *name)
{
    struct stat st;
    ck_assert_msg(!stat(in_out(name), &st), "%s", name);
    return st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

/* What is there and complete stays as it is. */
START_TEST(goes_on)
{
    clear_out();
    brain_make(true);
    CTRG("--out", out, "--size", "64");
    ck_assert_int_eq(r.code, 0);
    static const char *const marks[] = {"train/images/0/study.json", "train/images/1/study.json",
                                        "train/images/2/study.json"};
    int64_t before[3];
    for (int i = 0; i < 3; i++) before[i] = when(marks[i]);
    unlink(in_out(marks[0]));                /* stopped before its last file */
    unlink(in_out("train/images/1/23.png")); /* a slice taken away */
    unlink(in_out("test/annotations.json"));
    brain_picture(brain_slice(0, 2, 3), 64, 64, 200);
    CTRG("--out", out, "--size", "64");
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert(when(marks[0]) != before[0] && when(marks[1]) != before[1] && when(marks[2]) == before[2]);
    when("train/images/1/23.png");
    when("test/annotations.json");
    Image image = {0};
    ck_assert(image_read_png(in_out("train/images/0/00.png"), &image, NULL) && image.pixel[0] == 200);
    free(image.pixel);
    /* A picture of another length is read again. */
    brain_write(brain_slice(2, 2, 3), "x", 1);
    CTRG("--out", out, "--size", "64");
    ck_assert(r.code == 2 && strstr(r.err, "samples/2: series 02, slice 3: neither PNG nor JPEG"));
    brain_make(true);
    CTRG("--out", out, "--size", "96");
    ck_assert(r.code == 2 && strstr(r.err, "import.json: made with pixels 64, now 96: choose another --out"));
    CTRG("--out", out, "--size", "64", "--split", "mepnet");
    ck_assert(r.code == 2 && strstr(r.err, "import.json: made with split \"pcrl\", now \"mepnet\""));
    CTRG("--out", out, "--size", "64", "--no-clean");
    ck_assert(r.code == 2 && strstr(r.err, "made with cleaned true, now false"));
}
END_TEST

START_TEST(splits)
{
    char hash[65];
    brain_make(false);
    clear_out();
    CTRG("--out", out, "--size", "64", "--split", "mepnet");
    ck_assert_int_eq(r.code, 0);
    IDS("train", 0, 1, 2);
    IDS("validation", 3);
    IDS("test", 4);
    clear_out();
    brain_text(brain_at("first.json"), "[\"4\", \"0\"]");
    brain_text(brain_at("rest.json"),
               "[{\"id\": \"3\", \"finding_etities_lession\": []}, {\"id\": \"1\"}, {\"id\": \"2\"}]");
    CTRG("--out", out, "--size", "64", "--order", brain_at("first.json"), "--order", brain_at("rest.json"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    IDS("train", 0, 3, 4); /* of positions 0 to 2, in the annotations' order */
    IDS("test", 1);
    IDS("validation", 2);
    clear_out();
    ck_assert(file_make_folder(brain_at("splits"), NULL));
    brain_text(brain_at("splits/validation.json"), "[{\"id\": \"2\"}, {\"id\": \"0\"}]");
    brain_text(brain_at("splits/test.json"), "[{\"id\": \"1\"}]");
    brain_text(brain_at("seg_mask_anno_train.json"), "[{\"id\": \"4\"}, {\"id\": \"3\"}]");
    CTRG("--out", out, "--size", "64", "--split", "files");
    ck_assert_msg(r.code == 0, "%s", r.err);
    IDS("train", 3, 4);
    IDS("test", 1);
    IDS("validation", 0, 2);
    clear_out();
    CTRG("--out", out, "--size", "64", "--split", "seed", "--seed", "7");
    ck_assert_int_eq(r.code, 0);
    json_t *split = json_read(in_out("split.json"), NULL);
    ck_assert_int_eq(json_integer_value(json_object_get(split, "seed")), 7);
    json_decref(split);
    CTRG("--out", out, "--size", "64", "--split", "seed", "--seed", "7");
    ck_assert_int_eq(r.code, 0);
    CTRG("--out", out, "--size", "64", "--split", "seed", "--seed", "8");
    ck_assert(r.code == 2 && strstr(r.err, "made with seed 7, now 8"));
}
END_TEST

START_TEST(split_faults)
{
    brain_make(false);
    clear_out();
    ck_assert(file_make_folder(brain_at("splits"), NULL));
    static const struct {
        const char *train, *validation, *fault;
    } lists[] = {
        {"[0, 1, 2]", "[3]", "splits: study 4 is in none of the lists\n"},
        {"[0, 1, 2, 4]", "[3, 4]", "splits/validation.json: study 4 is in another part too\n"},
        {"[0, 1, 2, 4, 9]", "[3]", "splits/train.json: the annotations have no study 9\n"},
    };
    brain_text(brain_at("splits/test.json"), "[]");
    CTRG("--out", out, "--split", "files");
    ck_assert(r.code == 2 && strstr(r.err, "splits: no train.json in this folder\n"));
    for (size_t i = 0; i < 3; i++) {
        brain_text(brain_at("splits/train.json"), lists[i].train);
        brain_text(brain_at("splits/validation.json"), lists[i].validation);
        CTRG("--out", out, "--split", "files");
        ck_assert_msg(r.code == 2 && strstr(r.err, lists[i].fault), "%s", r.err);
    }
    brain_text(brain_at("a.json"), "[0, 1, 2, 3]");
    brain_text(brain_at("b.json"), "[3]");
    CTRG("--out", out, "--order", brain_at("a.json"));
    ck_assert_msg(r.code == 2 && strstr(r.err, "the order has 4 ids, the annotations 5\n"), "%s", r.err);
    CTRG("--out", out, "--order", brain_at("a.json"), "--order", brain_at("b.json"));
    ck_assert_msg(r.code == 2 && strstr(r.err, "b.json: study 3 is in an earlier file of the order too\n"),
                  "%s", r.err);
    CTRG("--out", out, "--order", brain_at("a.json"), "--order", brain_at("a.json"));
    ck_assert_msg(r.code == 2 && strstr(r.err, "a.json: more ids than the 5 studies of the annotations\n"),
                  "%s", r.err);
}
END_TEST

/* A study that cannot be used is named; only --skip-bad goes on without it, and its place in the split stays.
 */
START_TEST(skip_bad)
{
    char hash[65];
    brain_make(false);
    clear_out();
    unlink(brain_slice(1, 2, 7));
    brain_text(brain_slice(1, 2, 7), "no picture");
    CTRG("--out", out, "--size", "64");
    ck_assert_int_eq(r.code, 2);
    ck_assert(strstr(r.err, "samples/1: series 02, slice 7: neither PNG nor JPEG"));
    ck_assert(strstr(r.err, ": 1 of 5 studies cannot be used; --skip-bad leaves them out\n"));
    ck_assert_int_ne(access(in_out("train/annotations.json"), F_OK), 0);
    CTRG("--out", out, "--size", "64", "--skip-bad");
    ck_assert_msg(r.code == 0 && strstr(r.err, "samples/1: series 02, slice 7"), "%s", r.err);
    ck_assert_ptr_nonnull(strstr(r.out, "left out\t1\n"));
    IDS("train", 0, 2);
    IDS("test", 3);
    json_t *split = json_read(in_out("split.json"), NULL);
    const json_t *left = json_object_get(split, "left_out");
    ck_assert(json_array_size(left) == 1 && !strcmp(json_string_value(json_array_get(left, 0)), "1"));
    json_decref(split);
    check_names();
    /* The test's only study goes bad: its data set goes too. */
    ck_assert_int_eq(access(in_out("test/annotations.json"), F_OK), 0);
    brain_text(brain_slice(3, 2, 7), "no picture");
    CTRG("--out", out, "--size", "64", "--skip-bad");
    ck_assert_msg(r.code == 0 && strstr(r.err, "test: no study in this part, so no data set"), "%s", r.err);
    ck_assert_int_ne(access(in_out("test/annotations.json"), F_OK), 0);
    clear_out();
    brain_remove();
    ck_assert(file_make_folder(brain_at("samples"), NULL));
    brain_annotations();
    CTRG("--out", out, "--skip-bad");
    ck_assert(r.code == 2 && strstr(r.err, ": none of 5 studies can be used\n"));
}
END_TEST

START_TEST(usage)
{
    static const struct {
        const char *args[5], *fault;
    } cases[] = {
        {{"--ctrg", "/x"}, "no --out FOLDER"},
        {{"--ctrg", "/x", "--out", "y", "z"}, "--ctrg takes no INPUT, found 'z'"},
        {{"--verify", "z"}, "--verify, --split and the like need --ctrg ROOT"},
        {{"--ctrg", "/x", "--verify", "--out", "y"}, "--verify writes nothing: no --out"},
        {{"--ctrg", "/x", "--split", "half"}, "--split: expected pcrl, mepnet, seed or files, found 'half'"},
        {{"--ctrg", "/x", "--series", "least"}, "--series: expected most, found 'least'"},
        {{"--ctrg", "/x", "--splits", "y", "--verify"}, "--splits is for --split files"},
        {{"--ctrg", "/x", "--hu", "--verify"}, "of the options for an INPUT, --ctrg takes --size alone"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *args[6] = {0};
        for (int k = 0; k < 5; k++) args[k] = cases[i].args[k];
        run_tool(&r, "pcrl-import", args);
        ck_assert_msg(r.code == 1 && strstr(r.err, cases[i].fault), "%d: %s", r.code, r.err);
    }
    run_tool(&r, "pcrl-import", (const char *const[]){"--ctrg", "/nowhere", "--verify", NULL});
    ck_assert_msg(r.code == 2 && strstr(r.err, "/nowhere: neither samples nor png_process in this folder"),
                  "%s", r.err);
}
END_TEST

int main(void)
{
    if (!mkdtemp(brain_root) || !mkdtemp(out)) return EXIT_FAILURE;
    Suite *s = suite_create("import_ctrg");
    TCase *t = tcase_create("import_ctrg");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, verify_sound);
    tcase_add_test(t, verify_damaged);
    tcase_add_loop_test(t, sets, 0, 2);
    tcase_add_test(t, goes_on);
    tcase_add_test(t, splits);
    tcase_add_test(t, split_faults);
    tcase_add_test(t, skip_bad);
    tcase_add_test(t, usage);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    clear_out();
    brain_remove();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
