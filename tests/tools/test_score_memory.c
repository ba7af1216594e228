/* Every allocation of the scores fails in turn: an error, no crash, nothing left, and no JSON that lacks a
 * part. */
#include "data/file.h"
#include "tools/score_clues.h"
#include "tools/score_masks.h"
#include "tools/score_pairs.h"
#include "tools/score_systems.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"

static char folder[] = "/tmp/test_score_memory_XXXXXX";
static char reports_path[64], keywords_path[64], each_path[64];

static const char REPORTS[] = "{\"id\": \"1\", \"report\": \"左侧丘脑见小片状低密度影，脑沟增宽。\"}\n"
                              "{\"id\": \"2\", \"report\": \"右侧额叶见片状高密度影，2 cm。\"}\n";
static char *id[] = {"1", "2"}, *truth[] = {"左侧丘脑见小片状低密度影，脑沟增宽。", "中线结构居中，14 mm。"};
static const ReportList truths = {.n = 2, .id = id, .text = truth};

static bool fill(ScoreSheet *s, Error *e)
{
    char **reports = NULL;
    *s = (ScoreSheet){.truth_path = "truth", .bootstrap = 4, .seed = 1};
    bool ok = (s->cutters.by[SPLIT_CHAR] = cutter_open(SPLIT_CHAR, NULL, e)) &&
              score_truth_list(&truths, &s->truth, e) && clinical_lists_open(&s->lists, keywords_path, e) &&
              score_prepare(s, e) && score_add_file(s, "model", reports_path, false, false, &reports, e) &&
              score_add_training(s, reports_path, e) && score_add_shuffled(s, reports, e) &&
              score_compare(s, e);
    if (reports) score_reports_free(reports, 2);
    return ok;
}

static ScoreSheet sheet;
static bool fill_once(Error *e)
{
    bool ok = fill(&sheet, e) && sheet.n == 6 && sheet.system[5].paired[MEASURE_BLEU_1].p > 0;
    score_sheet_free(&sheet);
    return ok;
}

START_TEST(sheets) { ck_assert_int_gt(fail_each(fill_once), 200); }
END_TEST

/* ---- JSON ---- */

static json_t *(*make)(void);
static json_t *whole; /* what it must be */

static bool make_once(Error *e)
{
    json_t *j = make();
    if (!j) return error_set(e, ERROR_MEMORY, "no JSON");
    bool ok = !whole || json_equal(j, whole);
    json_decref(j);
    return ok;
}

static void check_json(json_t *(*f)(void), int least)
{
    make = f;
    whole = NULL;
    whole = f();
    ck_assert(whole != NULL);
    ck_assert_int_gt(fail_each(make_once), least);
    json_decref(whole);
}

static json_t *sheet_json(void) { return score_json(&sheet); }

static ScorePairs pairs;
static json_t *pairs_json(void) { return score_pairs_json(&pairs); }

static ScoreMasks masks[2] = {{.name = "model"}, {.name = "other"}};
static json_t *masks_json(void) { return score_masks_json(masks, 2); }

static ClueRow rows[2] = {{.name = "a", .of_gallery = true, .count = {[CLUE_CELLS - 1] = 1}}, {.name = "b"}};
static json_t *clues_json(void) { return score_clues_json(&(ClueScores){.studies = 1, .n = 2, .row = rows}); }

START_TEST(json)
{
    Error e = {0};
    ck_assert_msg(fill(&sheet, &e), "%s", e.msg);
    sheet.n = 2; /* the model and one control have all there is */
    check_json(sheet_json, 1000);
    sheet.n = 6;
    score_sheet_free(&sheet);
    check_json(pairs_json, 50);
    check_json(masks_json, 20);
    check_json(clues_json, 50);
}
END_TEST

static bool write_each(Error *e) { return score_write_each(each_path, &sheet, e); }

START_TEST(each)
{
    Error e = {0};
    ck_assert_msg(fill(&sheet, &e), "%s", e.msg);
    ck_assert_int_gt(fail_each(write_each), 50);
    score_sheet_free(&sheet);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    snprintf(reports_path, sizeof reports_path, "%s/reports.jsonl", folder);
    snprintf(keywords_path, sizeof keywords_path, "%s/keywords.txt", folder);
    snprintf(each_path, sizeof each_path, "%s/each.jsonl", folder);
    if (!file_write(reports_path, REPORTS, sizeof REPORTS - 1, NULL) ||
        !file_write(keywords_path, "低密度\n", 10, NULL))
        return EXIT_FAILURE;
    Suite *s = suite_create("score_memory");
    TCase *t = tcase_create("score_memory");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, sheets);
    tcase_add_test(t, json);
    tcase_add_test(t, each);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    unlink(reports_path);
    unlink(keywords_path);
    unlink(each_path);
    rmdir(folder);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
