/* Galleries and clues against true lesions: worked examples by hand, and the program on phantoms. */
#include "data/file.h"
#include "tests/tools/gallery_fixture.h"
#include "tests/tools/run.h"
#include "tools/score_clues.h"
#include "tools/table.h"
#include <math.h>

#define CLOSE(a, b)                                                                                            \
    ck_assert_msg(fabs((a) - (b)) < 1e-9, #a " = %.12g, expected %.12g", (double)(a), (double)(b))
enum { SIDE = 64, SMALLEST, SMALL, MIDDLE, LARGE, TWELVE, ALL };
static char folder[] = "/tmp/pcrl-score-clues-XXXXXX";

static const char *at(const char *name)
{
    static char ring[8][128];
    static unsigned turn;
    char *s = ring[turn++ & 7];
    snprintf(s, sizeof ring[0], "%s/%s", folder, name);
    return s;
}

/* Cell of a kind and a size. */
static int cell(int kind, int size) { return kind * CLUE_SIZES + size - SMALLEST; }

/* A rectangle's run lengths, malloc'ed. */
static char *rectangle(int x0, int y0, int x1, int y1)
{
    Gallery *g = fixture_gallery(0, SIDE, SIDE);
    fixture_rectangle(g, 0, x0, y0, x1, y1);
    char *text = strdup(g->slice[0].mask[0].counts);
    gallery_free(g);
    return text;
}

/* 1 mm pixels. Row 0, thalamus low on both sides: left a square of 10 x 10 in slice 8 and 8 x 8 in slice 9,
 * touching (one lesion of 11.3 mm), and 4 x 4 far away in slice 8 (4.5 mm); right 20 x 20 in slice 9 (22.6 mm);
 * left a splinter of 3 pixels in slice 20. Row 1: blood in the sulci of the right, 30 x 30 (33.9 mm) in slice
 * 6, and 3 pixels apart from it: one lesion. Row 2 is diffuse. */
static CtrgMask first[5], second[2], wide[1];
static CtrgTruth truth[3];
static CtrgStudy study = {
    .id = 5, .has_truth = true, .width = SIDE, .height = SIDE, .pixel_mm = 1, .n_truth = 3, .truth = truth};

static void setup(void)
{
    int low = finding_index(ENTITY_THALAMUS, DENSITY_LOW), left = finding_kind(low)->first_label;
    int right = finding_kind(FIND_SUBARACHNOID_HIGH)->first_label + 1;
    memcpy(first,
           (CtrgMask[]){{8, left, rectangle(40, 10, 50, 20)},
                        {9, left, rectangle(42, 12, 50, 20)},
                        {8, left, rectangle(30, 50, 34, 54)},
                        {9, left + 1, rectangle(4, 10, 24, 30)},
                        {20, left, rectangle(30, 50, 33, 51)}},
           sizeof first);
    memcpy(second, (CtrgMask[]){{6, right, rectangle(4, 20, 34, 50)}, {6, right, rectangle(60, 60, 63, 61)}},
           sizeof second);
    wide[0] = (CtrgMask){3, finding_kind(FIND_SULCI_WIDENED)->first_label, rectangle(0, 0, SIDE, SIDE)};
    truth[0] = (CtrgTruth){low, SIDE_BOTH, (char *)(uintptr_t) "双侧丘脑见低密度影", 0, 0, 5, first};
    truth[1] = (CtrgTruth){FIND_SUBARACHNOID_HIGH,
                           SIDE_RIGHT,
                           (char *)(uintptr_t) "右侧外侧裂池及脑沟内见高密度影",
                           0,
                           0,
                           2,
                           second};
    truth[2] = (CtrgTruth){FIND_SULCI_WIDENED, SIDE_NONE, (char *)(uintptr_t) "脑沟增宽", 0, 0, 1, wide};
}

static void teardown(void)
{
    for (int i = 0; i < 5; i++) free(first[i].counts);
    for (int i = 0; i < 2; i++) free(second[i].counts);
    free(wide[0].counts);
}

START_TEST(lesions)
{
    Lesion *l;
    int n;
    Error e = {0};
    ck_assert(lesions_find(&study, &l, &n, &e));
    ck_assert_int_eq(n, 4);
    ck_assert(l[0].truth == 0 && l[0].slice == 8 && l[0].area == 100 && l[0].mask[15 * SIDE + 45] == 1);
    ck_assert(l[0].mask[51 * SIDE + 31] == 0 && l[0].mask[9 * SIDE + 45] == 0);
    CLOSE(l[0].mm, 2 * sqrt(100 / 3.14159265358979323846));
    ck_assert(l[1].truth == 0 && l[1].slice == 8 && l[1].area == 16);
    ck_assert(l[2].truth == 0 && l[2].slice == 9 && l[2].area == 400 && l[2].label == l[0].label + 1);
    ck_assert(l[3].truth == 1 && l[3].slice == 6 && l[3].area == 903);
    lesions_free(l, n);
    study.pixel_mm = 0.5;
    ck_assert(lesions_find(&study, &l, &n, &e));
    CLOSE(l[2].mm, sqrt(400 / 3.14159265358979323846));
    lesions_free(l, n);
    study.pixel_mm = 1;
}
END_TEST

START_TEST(galleries)
{
    double part[GALLERY_ROWS][CLUE_CELLS] = {{0}}, whole[CLUE_CELLS] = {0};
    int64_t head[CTRG_SLICES];
    Lesion *l;
    int n, low = 2 + finding_index(ENTITY_THALAMUS, DENSITY_LOW);
    ck_assert(lesions_find(&study, &l, &n, NULL));
    Gallery *g = fixture_gallery(5, SIDE, SIDE);
    for (int i = 0; i < CTRG_SLICES; i++) head[i] = 2900; /* 30 % are 870 pixels */
    fixture_rectangle(g, 8, 40, 10, 50, 15);              /* IoU 50/100: covers the first lesion */
    fixture_rectangle(g, 8, 30, 50, 34, 54); /* the small one exactly; too small for the filter size */
    fixture_rectangle(g, 9, 4, 10, 14, 29);  /* 190/400 */
    fixture_rectangle(g, 6, 4, 20, 34, 50);  /* all but 3 pixels; too large for the filter size */
    fixture_rectangle(g, 10, 4, 10, 24, 30); /* the third lesion, in another slice */
    for (int i = 0; i < 5; i++)
        fixture_rectangle(g, 6, 0, 0, 7, 7 - i); /* a crowd: release drops the largest */
    score_gallery_study(&study, l, n, g, head, part, whole);
    static const double want[1 + GALLERY_ROWS][CLUE_SIZES] = {
        {1, 1, 1, 1, 2, 4}, {1, 1, 0, 1, 1, 3}, {1, 1, 0, 0, 0, 2}, {0, 1, 0, 0, 0, 1}};
    ck_assert_str_eq(clue_filter(0)->name, "release");
    for (int b = 0; b < CLUE_SIZES; b++) {
        CLOSE(whole[b], want[0][b]);
        for (int r = 0; r < GALLERY_ROWS; r++) CLOSE(part[r][b], want[1 + r][b]);
    }
    CLOSE(whole[cell(1, ALL)], 3); /* without the blood in the sulci */
    CLOSE(part[0][cell(1, ALL)], 2);
    CLOSE(whole[cell(low, ALL)], 3);
    CLOSE(whole[cell(2 + FIND_SUBARACHNOID_HIGH, LARGE)], 1);
    CLOSE(part[0][cell(2 + FIND_SUBARACHNOID_HIGH, LARGE)], 1);
    lesions_free(l, n);
    gallery_free(g);
}
END_TEST

/* One study's clues of the two entities. */
static void retrieved(const char *thalamus, int slice, const char *sulci, double top[2], double dice[2])
{
    double part[RETRIEVED_ROWS][CLUE_CELLS] = {{0}}, whole[CLUE_CELLS] = {0};
    Clue clue[2];
    StudyClues s = {.id = 5, .width = SIDE, .height = SIDE, .clue = clue};
    Lesion *l;
    int n, low = 2 + finding_index(ENTITY_THALAMUS, DENSITY_LOW);
    Error e = {0};
    if (sulci) clue[s.n++] = (Clue){clue_entity_from_name("脑沟"), NULL, 6, (char *)(uintptr_t)sulci, NAN, -1};
    if (thalamus)
        clue[s.n++] = (Clue){clue_entity_from_name("丘脑"), NULL, slice, (char *)(uintptr_t)thalamus, NAN, -1};
    ck_assert(lesions_find(&study, &l, &n, &e));
    ck_assert_msg(score_clues_study(&study, l, n, &s, part, whole, &e), "%s", e.msg);
    CLOSE(whole[cell(0, ALL)], 2);
    CLOSE(whole[cell(low, MIDDLE)], 1); /* by its largest lesion */
    CLOSE(whole[cell(low, SMALL)], 0);
    top[0] = part[RETRIEVED_TOP][cell(low, ALL)];
    dice[0] = part[RETRIEVED_DICE][cell(low, ALL)];
    top[1] = part[RETRIEVED_TOP][cell(2 + FIND_SUBARACHNOID_HIGH, ALL)];
    dice[1] = part[RETRIEVED_DICE][cell(2 + FIND_SUBARACHNOID_HIGH, ALL)];
    lesions_free(l, n);
}

START_TEST(retrieval)
{
    double top[2], dice[2];
    char *right = rectangle(4, 10, 24, 30), *half = rectangle(4, 10, 14, 30), *less = rectangle(4, 10, 14, 29),
         *left = rectangle(42, 12, 50, 20), *blood = rectangle(4, 20, 34, 50);
    retrieved(right, 9, blood, top, dice); /* one side exactly; slice 9 has both */
    ck_assert(top[0] == 1 && top[1] == 1);
    CLOSE(dice[0], 1);
    CLOSE(dice[1], 2 * 900 / 1803.); /* with the three apart */
    retrieved(half, 9, NULL, top, dice);
    ck_assert(top[0] == 1 && top[1] == 0 && dice[1] == 0);
    CLOSE(dice[0], 2 * 200 / 600.);
    retrieved(less, 9, NULL, top, dice);
    ck_assert(top[0] == 0);
    CLOSE(dice[0], 2 * 190 / 590.);
    retrieved(left, 9, NULL, top, dice); /* not where it is largest, and yet the finding */
    ck_assert(top[0] == 1 && dice[0] == 1);
    retrieved(right, 8, right, top, dice); /* right mask, wrong slice */
    ck_assert(top[0] == 0 && dice[0] == 0 && top[1] == 0);
    retrieved(NULL, 0, NULL, top, dice);
    ck_assert(top[0] == 0 && dice[0] == 0);
    /* both sides in one mask */
    Gallery *g = fixture_gallery(5, SIDE, SIDE);
    uint8_t *plane = calloc(SIDE, SIDE);
    for (int y = 10; y < 30; y++)
        for (int x = 4; x < 50; x++) plane[y * SIDE + x] = (x < 24) || (x >= 42 && y >= 12 && y < 20);
    fixture_add(g, 9, plane);
    retrieved(g->slice[9].mask[0].counts, 9, NULL, top, dice);
    ck_assert(top[0] == 1 && dice[0] == 1);
    gallery_free(g);
    free(plane);
    free(right), free(half), free(less), free(left), free(blood);
}
END_TEST

/* ---- the program ---- */

/* The value of a row in the JSON, all sizes, without the blood in sulci. */
static double value(const json_t *root, const char *name, json_int_t *n)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(json_object_get(root, "clues"), "rows"), i, row)
    {
        const json_t *all =
            json_array_get(json_object_get(row, "without_subarachnoid_by_size"), CLUE_SIZES - 1);
        if (strcmp(json_string_value(json_object_get(row, "name")), name) != 0) continue;
        Estimate x; /* as pcrl-table finds it */
        Error e = {0};
        ck_assert_msg(table_estimate(all, "value", name, &x, &e), "%s", e.msg);
        ck_assert(x.low <= x.value && x.value <= x.high && (x.low < x.high || x.value == 0 || x.value == 1));
        *n = json_integer_value(json_object_get(all, "n"));
        return x.value;
    }
    ck_abort_msg("no row %s", name);
    return 0;
}

static void expect(Run *r, int code, const char *message)
{
    ck_assert_msg(r->code == code && strstr(r->err, message), "code %d, expected %d with '%s': %s", r->code,
                  code, message, r->err);
}

/* Nine phantoms with their exact masks as galleries and as clues, and a clue file that has none: `none` in
 * memory, the studies' clues the caller's. */
static char set[128], masks[128], clues[128], nothing[128], control[160];
static void make_files(Clues *none)
{
    static Run r;
    Error e = {0};
    strcpy(set, at("set")), strcpy(masks, at("galleries")), strcpy(clues, at("clues.json"));
    strcpy(nothing, at("none.json"));
    snprintf(control, sizeof control, "none=%s", nothing);
    run_tool(&r, "pcrl-synth",
             (const char *const[]){"--out", set, "--n", "9", "--seed-base", "60", "--size", "64", NULL});
    ck_assert_msg(r.code == 0, "%s", r.err);
    Ctrg *c = ctrg_open(set, NULL, NULL, &e);
    *none = (Clues){0};
    ck_assert(c && clues_from_truth(c, clues, &e));
    for (int k = 0; k < c->n; k++) {
        Gallery *g = fixture_truth(&c->study[k]);
        StudyClues s = {.id = c->study[k].id, .width = 64, .height = 64, .clue = calloc(1, sizeof *s.clue)};
        fixture_write(g, masks);
        gallery_free(g);
        ck_assert(clues_add(none, &s, &e));
    }
    ck_assert(clues_write(none, nothing, &e));
    ctrg_free(c);
}

static void drop_files(Clues *none)
{
    for (int k = 0; k < none->n; k++) clues_free_study(&none->study[k]);
    free(none->study);
}

/* With the exact masks everything is covered and found, with nothing nothing. */
START_TEST(program)
{
    static Run r;
    Error e = {0};
    json_int_t n, findings;
    ClueScores s;
    Clues none;
    make_files(&none);
    const ClueFile file[] = {{"model", clues}, {"none", nothing}};
    ck_assert_msg(score_clues(set, masks, file, 2, false, 20, 1, &s, &e), "%s", e.msg);
    json_t *root = json_pack("{s:o}", "clues", score_clues_json(&s));
    ck_assert_double_gt(value(root, "before the filter", &n), 0.9); /* two lesions of a side are in one mask */
    ck_assert_int_gt(n, 10);
    ck_assert_double_ge(value(root, "filter size", &n), value(root, "filter release", &n));
    ck_assert(value(root, "another patient's, before the filter", &n) < 0.3);
    CLOSE(value(root, "model, top-1", &findings), 1);
    CLOSE(value(root, "model, Dice", &findings), 1);
    CLOSE(value(root, "none, top-1", &findings), 0);
    CLOSE(value(root, "none, Dice", &findings), 0);
    ck_assert_int_gt(findings, 5);
    json_decref(root);
    score_clues_free(&s);
    /* the program: tables, and JSON that is alone on standard output */
    const char *args[] = {"--truth", set,   "--bootstrap",    "20",    "--gallery", masks,
                          "--clues", clues, "--clue-control", control, NULL};
    run_tool(&r, "pcrl-score", args);
    ck_assert_msg(r.code == 0 && strstr(r.out, "Clues of 9 studies") &&
                      strstr(r.out, "another patient's, filter size"),
                  "%s%s", r.out, r.err);
    run_tool(&r, "pcrl-score", (const char *const[]){"--truth", set, "--clues", clues, "--json", NULL});
    root = json_loads(r.out, 0, NULL);
    ck_assert_msg(r.code == 0 && root, "%s%s", r.out, r.err);
    CLOSE(value(root, "model, top-1", &findings), 1);
    json_decref(root);
    drop_files(&none);
}
END_TEST

START_TEST(faults)
{
    static Run r;
    Error e = {0};
    Clues none;
    make_files(&none);
    const char *args[] = {"--truth", set, "--bootstrap", "20", "--gallery", masks, NULL, NULL};
    const char *only[] = {"--truth", set, "--clues", clues, "--clue-control", control, NULL};
    unlink(at("galleries/61.json"));
    run_tool(&r, "pcrl-score", args);
    expect(&r, ERROR_IO, "galleries/61.json");
    args[6] = "--partial";
    run_tool(&r, "pcrl-score", args);
    ck_assert_msg(r.code == 0 && strstr(r.out, "Clues of 8 studies (1 left out"), "%s%s", r.out, r.err);
    args[6] = NULL;
    Gallery *g = fixture_gallery(61, 65, 64);
    fixture_write(g, masks);
    gallery_free(g);
    run_tool(&r, "pcrl-score", args);
    expect(&r, ERROR_INPUT, "galleries/61.json: masks of 65x64, expected 64x64");
    none.study[8].id = 99;
    ck_assert(clues_write(&none, nothing, &e));
    run_tool(&r, "pcrl-score", only);
    expect(&r, ERROR_INPUT, "none.json: study 99 is not in the truth");
    none.study[8].id = 68;
    none.study[3].width = 65;
    none.study[3].n = 1;
    none.study[3].clue[0] = (Clue){0, strdup("丘脑"), 3, NULL, NAN, -1};
    ck_assert(clues_write(&none, nothing, &e));
    run_tool(&r, "pcrl-score", only);
    expect(&r, ERROR_INPUT, "study 63: masks of 65x64, expected 64x64");
    none.study[3].width = 64;
    none.n = 8;
    ck_assert(clues_write(&none, nothing, &e));
    run_tool(&r, "pcrl-score", only);
    expect(&r, ERROR_INPUT, "none.json: no clues of study 68");
    none.n = 9;
    run_tool(&r, "pcrl-score", (const char *const[]){"--truth", set, NULL});
    expect(&r, ERROR_USAGE, "--reports is missing");
    run_tool(&r, "pcrl-score",
             (const char *const[]){"--truth", set, "--gallery", masks, "--clue-control", control, NULL});
    expect(&r, ERROR_USAGE, "--clue-control needs --clues");
    drop_files(&none);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    Suite *s = suite_create("score_clues");
    TCase *t = tcase_create("score_clues");
    tcase_set_timeout(t, 0);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, lesions);
    tcase_add_test(t, galleries);
    tcase_add_test(t, retrieval);
    tcase_add_test(t, program);
    tcase_add_test(t, faults);
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
