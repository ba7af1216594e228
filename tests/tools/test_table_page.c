/* docs/results.md from made-up results: which controls are beaten, what is not measured; its template has no
 * measured number. */
#include "data/file.h"
#include "tests/tools/run.h"
#include "tests/tools/table_fixture.h"
#include "tools/table_page.h"
#include <ctype.h>

enum { RUNS = 4 };
static char folder[] = "/tmp/pcrl-page-XXXXXX", path[RUNS][256], page_path[64];

static void make_folder(void)
{
    ck_assert(mkdtemp(folder) != NULL);
    snprintf(page_path, sizeof page_path, "%s/results.md", folder);
}

static void remove_folder(void)
{
    for (int i = 0; i < RUNS; i++) unlink(path[i]);
    unlink(page_path);
    rmdir(folder);
}

static json_t *parse(const char *text)
{
    Error e = {0};
    json_t *o = json_parse(text, strlen(text), "test", &e);
    ck_assert_msg(o != NULL, "%s", e.msg);
    return o;
}

START_TEST(estimates)
{
    Error e = {0};
    Estimate x;
    json_t *o = parse("{\"a\": {\"f1\": 0.5, \"none\": null, \"sure\": 0.95}, \"b\": 0.2,"
                      "\"intervals\": {\"a\": {\"f1\": [0.3040036, 0.6959964]}, \"b\": [0.15, 0.3]}}");
    ck_assert(table_estimate(o, "a/f1", "x", &x, &e));
    ck_assert(x.n == 1 && x.value == 0.5 && x.low == 0.3040036 && x.high == 0.6959964);
    ck_assert_double_eq_tol(table_sd(&x), 0.1, 1e-6);
    ck_assert(table_estimate(o, "a/none", "x", &x, &e) && x.n == 0);
    ck_assert(!table_estimate(o, "a/sure", "x", &x, &e));
    ck_assert_str_eq(e.msg, "x: intervals: no interval of \"a/sure\"");
    ck_assert(!table_estimate(o, "c", "x", &x, &e));
    ck_assert_str_eq(e.msg, "x: key \"c\" is missing (expected a number)");
    json_object_set_new(json_object_get(o, "intervals"), "b", parse("[0.1, null]"));
    ck_assert(!table_estimate(o, "b", "x", &x, &e));
    ck_assert_str_eq(e.msg, "x: intervals: \"b\": expected a pair of numbers");
    json_object_set_new(json_object_get(o, "intervals"), "b", parse("[null, null]"));
    ck_assert(table_estimate(o, "b", "x", &x, &e) && x.n == 0);
    json_decref(o);
}
END_TEST

START_TEST(wilson)
{
    Estimate x = table_wilson(8, 10), none = table_wilson(0, 0), zero = table_wilson(0, 10),
             all = table_wilson(10, 10);
    ck_assert(x.n == 1 && x.value == 0.8 && none.n == 0);
    ck_assert_double_eq_tol(x.low, 0.4901625, 1e-6);
    ck_assert_double_eq_tol(x.high, 0.9433178, 1e-6);
    ck_assert(zero.low == 0);
    ck_assert_double_eq_tol(zero.high, 0.2775328, 1e-6);
    ck_assert_double_eq_tol(all.low, 0.7224672, 1e-6);
    ck_assert(table_apart(&x, &zero) == 1 && table_apart(&zero, &x) == -1 && table_apart(&x, &all) == 0);
    ck_assert(table_apart(&x, &(Estimate){1, 0, 0, x.low}) == 0); /* they touch */
}
END_TEST

/* The page of n runs: the baseline, then ours, seeds 1 to n - 1. Retrieval: a file or NULL. The caller's. */
static char *make_page(json_t *run[], int n, const char *retrieval, const char *one)
{
    Run r;
    const char *args[20] = {"page", "--out", page_path};
    int k = 3;
    for (int i = 0; i < n; i++) {
        snprintf(path[i], sizeof path[i], "%s/%d.json", folder, i);
        ck_assert(json_write(path[i], run[i], NULL));
        json_decref(run[i]);
    }
    if (retrieval) args[k++] = "--retrieval", args[k++] = retrieval;
    if (one) args[k++] = "--table1", args[k++] = one;
    for (int i = 0; i < n; i++) args[k++] = path[i];
    run_tool(&r, "pcrl-table", args);
    ck_assert_msg(!r.code, "%s", r.err);
    uint8_t *bytes;
    size_t length;
    ck_assert(file_read(page_path, 1 << 20, &bytes, &length, NULL));
    return (char *)bytes;
}

/* The section of the page with this heading, the caller's. */
static char *section(const char *page, const char *heading)
{
    const char *at = strstr(page, heading), *end = at ? strstr(at + 3, "\n## ") : NULL;
    ck_assert_msg(at != NULL, "%s", heading);
    return end ? strndup(at, (size_t)(end - at)) : strdup(at);
}

#define EXPECT(text, part) ck_assert_msg(strstr(text, part), "expected %s\nin %s", part, text)

START_TEST(claims)
{
    json_t *run[RUNS] = {fixture_result(ROW_BASELINE, 1), fixture_result(ROW_OURS, 1),
                         fixture_result(ROW_OURS, 2), fixture_result(ROW_OURS, 3)};
    json_object_set_new(json_object_get(run[1], "scores"), "paired",
                        parse("{\"constant\": {\"lesion\": {\"f1\": {\"ci95\": [0.21, 0.28]}}}}"));
    json_object_set_new(json_object_get(run[3], "scores"), "paired",
                        parse("{\"constant\": {\"lesion\": {\"f1\": {\"ci95\": [0.22, 0.29]}}}, \"shuffled\": "
                              "{\"lesion\": {\"f1\": {\"ci95\": [null, null]}}}}"));
    char *page = make_page(run, RUNS, "data/mini/scores-masks.json", NULL),
         *text = section(page, "## Does it read");
    EXPECT(page, "Commit `0123abcd`; seeds 1, 2, 3; 4 runs, 102 s each");
    EXPECT(text, "| **ours (paper)** | 0.345 | 0.321 to 0.369 | | |");
    EXPECT(text, "| constant | 0.100 | 0.080 to 0.120 | +0.245 (+0.210 to +0.290) | above |");
    EXPECT(text, "ours (paper): the interval lies above constant and shuffled.");
    EXPECT(text, "| shuffled | 0.052 | 0.031 to 0.073 | +0.293 | above |");
    ck_assert(!strstr(text, "release"));
    free(text);
    text = section(page, "## Does it name");
    EXPECT(text, "| **ours (paper)** | 0.405 | 0.009 to 0.801 | | |"); /* 0.401 and 0.409, sd 0.2 */
    EXPECT(text, "ours (paper): the interval overlaps with shuffled.");
    ck_assert(!strstr(text, "| constant"));
    free(text);
    text = section(page, "## Do the reports");
    EXPECT(text, "| shuffled | 0.100 | 0.080 to 0.120 | +0.500 | above |");
    free(text);
    text = section(page, "## Does it know");
    EXPECT(text, "ours (paper): the interval lies above constant."); /* shuffled is not there */
    EXPECT(text, "ours (paper): their mirror images in the test studies, 0.400 (0.399 to 0.401).");
    free(text);
    text = section(page, "## Does the segmentation");
    EXPECT(text, "| shuffled | 0.300 | 0.280 to 0.320 | -0.100 | below |");
    EXPECT(text, "ours (paper): the interval lies below shuffled.");
    free(text);
    text = section(page, "## What does each clue");
    EXPECT(text, "| all, paper | ours (paper) - baseline | +0.040 |");
    EXPECT(text, "| 1 | one seed |");
    free(text);
    text = section(page, "## Are the right masks");
    EXPECT(text,
           "| findings whose mask was retrieved first | 0.826 | 0.785 to 0.869 | a random mask | 0.237 |");
    EXPECT(text, "Above their control: 4; overlapping with it: 0; below it: 0.");
    free(text);
    text = section(page, "## Table 2");
    EXPECT(text, "| **ours (paper)** | S E T | LLaMA | 3 | 102 | 0.345 (0.341 to 0.349) |");
    EXPECT(text, "| constant, in all runs | | | | | 0.100 | 0.110 | 0.120 | - | 0.140 |");
    free(text);
    ck_assert(!strstr(page, "{{") && !strstr(page, "}}"));
    free(page);
}
END_TEST

START_TEST(not_measured)
{
    json_t *run[1] = {fixture_result(ROW_OURS, 1)};
    json_object_del(json_object_get(run[0], "scores"), "pairs");
    char *page = make_page(run, 1, NULL, NULL), *text = section(page, "## Do the reports");
    EXPECT(text, "Not measured: no run has it.");
    free(text);
    text = section(page, "## Table 1");
    EXPECT(text, "Not measured.");
    free(text);
    text = section(page, "## Are the right masks");
    EXPECT(text, "Not measured.");
    free(text);
    free(page);
}
END_TEST

START_TEST(table1)
{
    json_t *run[1] = {fixture_result(ROW_OURS, 1)};
    char one[64];
    snprintf(one, sizeof one, "%s/one.json", folder);
    json_t *scores = fixture_scores(ROW_OURS, 2, false);
    ck_assert(json_write(one, scores, NULL));
    json_decref(scores);
    char *page = make_page(run, 1, NULL, one), *text = section(page, "## Table 1");
    EXPECT(text, "| jieba | **ours** | 90.0 | 80.0 | 70.0 | 48.4 | 50.4 | 52.4 | 54.4 | 44.4 | 46.4 |");
    EXPECT(text, "|  | shuffled | 90.0 |");
    free(text);
    free(page);
    unlink(one);
}
END_TEST

START_TEST(faults)
{
    Run r;
    json_t *o = fixture_result(ROW_OURS, 1);
    json_object_del(json_object_get(o, "scores"), "intervals");
    snprintf(path[0], sizeof path[0], "%s/0.json", folder);
    ck_assert(json_write(path[0], o, NULL));
    json_decref(o);
    unlink(page_path);
    run_tool(&r, "pcrl-table", (const char *[]){"page", "--out", page_path, path[0], NULL});
    ck_assert(r.code == 2 && strstr(r.err, "intervals: no interval of \"lesion/f1\""));
    ck_assert(access(page_path, F_OK));
    o = fixture_result(ROW_OURS, 1);
    ck_assert(json_write(path[0], o, NULL));
    json_decref(o);
    run_tool(&r, "pcrl-table",
             (const char *[]){"page", "--out", page_path, "--retrieval", path[0], path[0], NULL});
    ck_assert(r.code == 2 && strstr(r.err, "key \"clues\" is missing"));
    ck_assert(access(page_path, F_OK));
    o = fixture_result(ROW_OURS, 1);
    json_object_set_new(json_object_get(o, "scores"), "paired",
                        parse("{\"constant\": {\"lesion\": {\"f1\": {\"ci95\": [1]}}}}"));
    ck_assert(json_write(path[0], o, NULL));
    json_decref(o);
    run_tool(&r, "pcrl-table", (const char *[]){"page", "--out", page_path, path[0], NULL});
    ck_assert(r.code == 2 && strstr(r.err, "paired: constant: \"lesion/f1\": expected \"ci95\""));
    run_tool(&r, "pcrl-table", (const char *[]){"page", path[0], NULL});
    ck_assert(r.code == 1 && strstr(r.err, "--out is missing"));
    run_tool(&r, "pcrl-table", (const char *[]){"table2", "--out", page_path, path[0], NULL});
    ck_assert_int_eq(r.code, 1);
    run_tool(&r, "pcrl-table", (const char *[]){"page", "--out", "/nowhere/x.md", path[0], NULL});
    ck_assert_int_eq(r.code, 3);
}
END_TEST

/* Numbers with a decimal point come from files. */
START_TEST(template)
{
    uint8_t *bytes;
    size_t n;
    ck_assert(file_read("tools/results.md.in", 1 << 20, &bytes, &n, NULL));
    for (size_t i = 1; i + 1 < n; i++)
        ck_assert_msg(bytes[i] != '.' || !isdigit(bytes[i - 1]) || !isdigit(bytes[i + 1]), "%.20s",
                      (char *)bytes + i - 1);
    free(bytes);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("table_page");
    TCase *t = tcase_create("table_page");
    tcase_add_unchecked_fixture(t, make_folder, remove_folder);
    tcase_add_test(t, estimates);
    tcase_add_test(t, wilson);
    tcase_add_test(t, claims);
    tcase_add_test(t, not_measured);
    tcase_add_test(t, table1);
    tcase_add_test(t, faults);
    tcase_add_test(t, template);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
