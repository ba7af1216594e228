/* Dice on grid cells: the truth's cells from masks, worked examples, files. */
#include "data/file.h"
#include "data/rle.h"
#include "data/safetensors.h"
#include "tests/tools/run.h"
#include "tools/score_masks.h"
#include "tools/table.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>

#define CLOSE(a, b)                                                                                            \
    ck_assert_msg(fabs((a) - (b)) < 1e-12, #a " = %.12g, expected %.12g", (double)(a), (double)(b))
enum { SIZE = 56, CELL = SIZE / GRID }; /* 4 x 4 pixels a cell */
static char folder[] = "/tmp/pcrl-masks-XXXXXX";

static const char *at(const char *name)
{
    static char ring[4][128];
    static unsigned turn;
    char *s = ring[turn++ & 3];
    snprintf(s, sizeof ring[0], "%s/%s", folder, name);
    return s;
}

/* A rectangle's run lengths, malloc'ed. */
static char *rectangle(int x0, int y0, int x1, int y1)
{
    uint8_t mask[SIZE * SIZE] = {0};
    Rle r;
    Error e = {0};
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) mask[y * SIZE + x] = 1;
    ck_assert(rle_encode(mask, SIZE, SIZE, &r, &e));
    char *text = rle_to_text(&r);
    rle_free(&r);
    return text;
}

START_TEST(cells_of_masks)
{
    Error e = {0};
    /* slice 3: 3 pixels and, of another finding, one more: together a quarter of cell 0; 3 pixels of cell 1.
     * slice 4: 3 pixels only. slice 5: a diffuse finding. slice 6: cells (2..3, 5..6) exactly. */
    CtrgMask first[] = {{3, 0, rectangle(0, 0, 3, 1)},
                        {3, 0, rectangle(4, 0, 7, 1)},
                        {4, 0, rectangle(0, 0, 3, 1)},
                        {6, 0, rectangle(2 * CELL, 5 * CELL, 4 * CELL, 7 * CELL)}};
    CtrgMask second = {3, 0, rectangle(2, 0, 3, 2)}, wide = {5, 0, rectangle(0, 0, SIZE, SIZE)};
    int diffuse = 0;
    while (finding_kind(diffuse)->focal) diffuse++;
    CtrgTruth truth[] = {
        {.finding = finding_index(ENTITY_THALAMUS, DENSITY_LOW), .n_masks = 4, .mask = first},
        {.finding = finding_index(ENTITY_THALAMUS, DENSITY_HIGH), .n_masks = 1, .mask = &second},
        {.finding = diffuse, .n_masks = 1, .mask = &wide}};
    CtrgStudy s = {.has_truth = true, .width = SIZE, .height = SIZE, .n_truth = 3, .truth = truth};
    MaskTruth t;
    ck_assert_msg(mask_truth(&s, &t, &e), "%s", e.msg);
    int positive = 0;
    for (int i = 0; i < MASK_CELLS; i++) positive += t.cell[i];
    ck_assert_int_eq(positive, 5);
    ck_assert(t.cell[3 * GRID_CELLS] && !t.cell[3 * GRID_CELLS + 1]);
    for (int y = 5; y < 7; y++)
        for (int x = 2; x < 4; x++) ck_assert(t.cell[6 * GRID_CELLS + y * GRID + x]);
    for (int i = 0; i < CTRG_SLICES; i++) ck_assert_int_eq(t.healthy[i], i != 3 && i != 4 && i != 6);
    for (int i = 0; i < 4; i++) free(first[i].counts);
    free(second.counts);
    free(wide.counts);
}
END_TEST

START_TEST(worked_example)
{
    static MaskTruth truth[2];
    static float prob[2 * MASK_CELLS];
    MaskScore s;
    Error e = {0};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < CTRG_SLICES; i++) truth[k].healthy[i] = i >= 3;
    /* study 0: slice 0 has cells 0..3, of which 0 and 1 are found and 9 is false: Dice 4/7; slice 1 has cell 0,
     * nothing found. Slice 2 has a lesion too small for a cell, and a false one; slice 3, healthy, two. 0.49 is
     * not found. */
    for (int c = 0; c < 4; c++) truth[0].cell[c] = 1;
    truth[0].cell[GRID_CELLS] = 1;
    prob[0] = prob[1] = prob[9] = 0.5f;
    prob[2] = prob[GRID_CELLS] = 0.49f;
    prob[2 * GRID_CELLS] = prob[3 * GRID_CELLS] = prob[3 * GRID_CELLS + 7] = 1;
    ck_assert(mask_score(truth, prob, 2, 50, 1, &s, &e));
    ck_assert(s.slices == 2 && s.healthy == 42);
    CLOSE(s.dice, (4 / 7. + 0) / 2);
    CLOSE(s.pooled, 2 * 2. / (5 + 6));
    CLOSE(s.alarm, 1 / 42.);
    ck_assert(s.alarm_interval.low == 0 && s.alarm_interval.high > s.alarm); /* all in one study */
    json_t *list = score_masks_json(&(ScoreMasks){"model", s}, 1);
    static const char *const key[] = {"dice", "pooled_dice", "false_alarm"};
    for (int i = 0; i < 3; i++) { /* as pcrl-table finds them */
        const Interval *range = i == 0 ? &s.dice_interval : i == 1 ? &s.pooled_interval : &s.alarm_interval;
        Estimate x;
        ck_assert_msg(table_estimate(json_array_get(list, 0), key[i], "", &x, &e), "%s", e.msg);
        ck_assert(x.low == range->low && x.high == range->high && x.high >= x.value);
    }
    json_decref(list);
    for (int i = 0; i < MASK_CELLS; i++) prob[i] = truth[0].cell[i];
    ck_assert(mask_score(truth, prob, 2, 50, 1, &s, &e)); /* perfect */
    CLOSE(s.dice, 1);
    CLOSE(s.pooled, 1);
    CLOSE(s.alarm, 0);
    memset(truth[0].cell, 0, sizeof truth[0].cell);
    memset(prob, 0, sizeof prob);
    ck_assert(mask_score(truth, prob, 2, 50, 1, &s, &e)); /* nothing there, nothing said */
    ck_assert(isnan(s.dice) && isnan(s.pooled) && s.alarm == 0 && isnan(s.dice_interval.low));
}
END_TEST

/* A file with one tensor for each of n studies; the first element of the last is `odd`. */
static void write_masks(const char *const *ids, int n, int grid, float odd)
{
    static float prob[2][MASK_CELLS];
    Error e = {0};
    prob[n - 1][0] = odd;
    StWriter *w = st_writer_new();
    for (int i = 0; i < n; i++)
        st_writer_add(w, ids[i], ST_F32, 3, (int64_t[]){CTRG_SLICES, grid, grid}, prob[i]);
    ck_assert_msg(st_writer_save(w, at("masks.safetensors"), &e), "%s", e.msg);
    st_writer_free(w);
}

START_TEST(program)
{
    Run r;
    const char *const ids[] = {"60", "61"}, *const strange[] = {"60", "62"};
    run_tool(&r, "pcrl-synth",
             (const char *const[]){"--out", at("set"), "--n", "2", "--seed-base", "60", "--size", "64", NULL});
    ck_assert_msg(r.code == 0, "%s", r.err);
    static const char lines[] = "{\"id\": \"60\", \"report\": \"\"}\n{\"id\": \"61\", \"report\": \"\"}\n";
    ck_assert(file_write(at("r.jsonl"), lines, sizeof lines - 1, NULL));
    char set[128], reports[128], masks[128], control[160];
    strcpy(set, at("set")), strcpy(reports, at("r.jsonl")), strcpy(masks, at("masks.safetensors"));
    snprintf(control, sizeof control, "none=%s", masks);
    const char *const args[] = {"--truth", set,   "--reports",      reports, "--bootstrap", "20",
                                "--masks", masks, "--mask-control", control, NULL};
    write_masks(ids, 2, GRID, 0);
    run_tool(&r, "pcrl-score", args);
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert_msg(strstr(r.out, "Segmentation") && strstr(r.out, "none   "), "%s", r.out);
    static const struct {
        bool strange;
        int n, grid;
        float odd;
        const char *message;
    } bad[] = {{false, 2, 13, 0, "\"60\""},
               {true, 2, GRID, 0, "tensor '62' is of no study"},
               {false, 1, GRID, 0, "61"},
               {false, 2, GRID, 1.5f, "study 61: element 0 is 1.5"},
               {false, 2, GRID, NAN, "study 61: element 0 is nan"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_masks(bad[i].strange ? strange : ids, bad[i].n, bad[i].grid, bad[i].odd);
        run_tool(&r, "pcrl-score", args);
        ck_assert_msg(r.code == ERROR_INPUT && strstr(r.err, bad[i].message) &&
                          strstr(r.err, "masks.safetensors"),
                      "case %zu: %d %s", i, r.code, r.err);
    }
    /* a study without a truth block */
    Ctrg *c = score_open_annotations(set, NULL);
    ScoreTruth t;
    ScoreMasks m;
    Error e = {0};
    ck_assert(c && score_truth(c, &t, &e));
    c->study[1].has_truth = false;
    ck_assert(!score_masks(c, &t, masks, false, 10, 1, &m, &e) && strstr(e.msg, "study 61 has no truth masks"));
    score_truth_free(&t);
    ctrg_free(c);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    Suite *s = suite_create("score_masks");
    TCase *t = tcase_create("score_masks");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, cells_of_masks);
    tcase_add_test(t, worked_example);
    tcase_add_test(t, program);
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
