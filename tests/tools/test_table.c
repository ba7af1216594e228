/* Table 2 from made-up results: means, ranges and paired differences are those of the files; what was written
 * compares with itself; a number outside is named; a damaged result is one line. */
#include "data/file.h"
#include "tests/tools/run.h"
#include "tests/tools/table_fixture.h"
#include <math.h>

enum { SEEDS = 3, ALL = TABLE_ROWS * SEEDS };
static char folder[] = "/tmp/pcrl-table-XXXXXX", path[ALL][256], ranges[64];
static const char *paths[ALL];

static void read_all(Table *t)
{
    Error e = {0};
    ck_assert_msg(table_read(paths, ALL, t, &e), "%s", e.msg);
}

START_TEST(reading)
{
    Table t;
    read_all(&t);
    ck_assert_int_eq(t.n, ALL);
    ck_assert_int_eq(t.n_systems, FIXTURE_SYSTEMS);
    for (int i = 0; i < t.n; i++) {
        const TableRun *r = &t.run[i];
        ck_assert_int_eq(r->row, i / SEEDS);
        ck_assert_int_eq(r->seed, i % SEEDS + 1);
        ck_assert_int_eq(r->studies, 300);
        ck_assert_int_eq(r->held_out_studies, 60);
        for (int s = 0; s < FIXTURE_SYSTEMS; s++)
            for (int m = 0; m < TABLE_METRICS; m++)
                if ((s == 1 && m == METRIC_SIDE) || (s == 2 && m == METRIC_HELD_OUT))
                    ck_assert(isnan(r->value[s][m]));
                else
                    ck_assert_double_eq_tol(r->value[s][m], fixture_value(r->row, r->seed, s, m), 1e-9);
    }
    ck_assert(table_shared(&t, 1) && !table_shared(&t, 2) && !table_shared(&t, 0));
    table_free(&t);
}
END_TEST

START_TEST(ranges_and_differences)
{
    Table t;
    read_all(&t);
    TableRange r = table_range(&t, 1, 0, METRIC_LESION), none = table_range(&t, 1, 1, METRIC_SIDE);
    ck_assert_int_eq(r.n, 3);
    ck_assert_double_eq_tol(r.min, 0.351, 1e-12);
    ck_assert_double_eq_tol(r.max, 0.359, 1e-12);
    ck_assert_double_eq_tol(r.mean, 0.35 + 0.014 / 3, 1e-12);
    ck_assert(!none.n && isnan(none.mean));
    r = table_seconds(&t, 1);
    ck_assert(r.min == 101 && r.mean == 102 && r.max == 103);
    static const char *const verdict[TABLE_PAIRS] = {"helps", "does not help", "harms", "helps", "helps",
                                                     "helps", "harms",         "helps", "helps"};
    for (int p = 0; p < TABLE_PAIRS; p++) {
        r = table_difference(&t, table_pair(p), METRIC_LESION);
        ck_assert_int_eq(r.n, 3);
        ck_assert_str_eq(table_verdict(&r, 0.011), verdict[p]);
    }
    ck_assert_double_eq_tol(table_noise(&t), 0.01, 1e-6);
    r = table_difference(&t, table_pair(8), METRIC_LESION); /* 0.02 in every seed */
    ck_assert_str_eq(table_verdict(&r, 0.019), "helps");
    ck_assert_str_eq(table_verdict(&r, 0.021), "does not help");
    r = table_difference(&t, table_pair(6), METRIC_LESION);
    ck_assert_str_eq(table_verdict(&r, 0.019), "harms");
    ck_assert_str_eq(table_verdict(&r, 0.021), "does not help");
    r = table_difference(&t, table_pair(1), METRIC_LESION);
    ck_assert_double_eq_tol(r.min, -0.005, 1e-12);
    ck_assert_double_eq_tol(r.max, 0.01, 1e-12);
    table_free(&t);
    ck_assert(table_read(paths, 2 * SEEDS - 2, &t, &(Error){0})); /* row a has one seed */
    r = table_difference(&t, table_pair(0), METRIC_LESION);
    ck_assert_int_eq(r.n, 1);
    ck_assert_str_eq(table_verdict(&r, 0.011), "one seed");
    r.n = 2;
    ck_assert_str_eq(table_verdict(&r, 0.011), "two seeds");
    r = table_difference(&t, table_pair(1), METRIC_LESION);
    ck_assert_str_eq(table_verdict(&r, 0.011), "-");
    table_free(&t);
}
END_TEST

/* Whether some line of text has all of the words, in that order. */
static bool has_line(const char *text, const char *first, const char *second, const char *third)
{
    for (const char *p = text; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
        char line[400];
        snprintf(line, sizeof line, "%.*s", (int)strcspn(p, "\n"), p);
        const char *at = strstr(line, first);
        at = at ? strstr(at + strlen(first), second) : NULL;
        if (at && strstr(at + strlen(second), third)) return true;
    }
    return false;
}

static void run_table(Run *r, const char *const options[], int n, const char *const *files)
{
    const char *args[62] = {"table2"};
    int k = 1;
    for (int i = 0; options[i]; i++) args[k++] = options[i];
    for (int i = 0; i < n; i++) args[k++] = files[i];
    run_tool(r, "pcrl-table", args);
}

START_TEST(printing)
{
    Run r;
    run_table(&r, (const char *[]){NULL}, ALL, paths);
    ck_assert_msg(!r.code, "%s", r.err);
    ck_assert(strstr(r.out, "24 runs on 300 test studies (held-out F1: 60 studies), commit 0123abcd"));
    ck_assert_msg(has_line(r.out, "a  ", "S ", "0.355"), "%.300s", r.out);
    ck_assert(has_line(r.out, "0.351-0.359", "0.371-0.379", ""));
    ck_assert(has_line(r.out, "e  ", "S E T", "BERT"));
    ck_assert(has_line(r.out, "  shuffled", "0.052", "0.062"));
    ck_assert(has_line(r.out, "entities", "b - baseline", "does not help"));
    ck_assert(has_line(r.out, "themes ", "c - baseline", "harms"));
    ck_assert(!strstr(r.out, "note:"));
    const char *at = strstr(r.out, "  constant"); /* once a block */
    ck_assert(at && (at = strstr(at + 1, "  constant")) && !strstr(at + 1, "  constant"));
    run_table(&r, (const char *[]){NULL}, SEEDS + 1, paths);
    ck_assert(strstr(r.out, "note: row a has no seed 2: not compared there"));
    ck_assert(strstr(r.out, "note: no run of row ours (release)"));
}
END_TEST

START_TEST(writing_and_checking)
{
    Run r;
    run_table(&r, (const char *[]){"--write", ranges, NULL}, ALL, paths);
    ck_assert_msg(!r.code, "%s", r.err);
    Error e = {0};
    json_t *o = json_read(ranges, &e), *row, *metric;
    ck_assert_msg(o != NULL, "%s", e.msg);
    ck_assert(json_number_value(json_object_get(o, "seconds")) == TABLE_ROWS * 306.0);
    ck_assert(json_array_size(json_object_get(o, "commits")) == 1);
    row = json_object_get(json_object_get(o, "rows"), "ours-release");
    ck_assert(json_array_size(json_object_get(row, "seeds")) == 3);
    metric = json_object_get(json_object_get(row, "metrics"), "lesion_f1");
    ck_assert_double_eq_tol(json_number_value(json_object_get(metric, "min")), 0.331, 1e-9);
    run_table(&r, (const char *[]){"--check", ranges, "--margin", "0", NULL}, ALL, paths);
    ck_assert_msg(!r.code, "%s", r.err);
    ck_assert_msg(strstr(r.out, "456 numbers"), "%s",
                  r.out); /* 24 runs: 7 of the model, 6 of each of 2 controls */
    /* One seed of every row lies in the range of three. */
    const char *one[TABLE_ROWS];
    for (int i = 0; i < TABLE_ROWS; i++) one[i] = paths[i * SEEDS + 1];
    run_table(&r, (const char *[]){"--check", ranges, "--margin", "0", NULL}, TABLE_ROWS, one);
    ck_assert_msg(!r.code, "%s", r.err);
    run_table(&r, (const char *[]){"--check", ranges, NULL}, TABLE_ROWS - 1, one);
    ck_assert_int_eq(r.code, 2);
    ck_assert(strstr(r.out, "ours (release): no run, and"));
    /* The largest of row a was 0.359: 0.03 more is inside, a little more is not; of a control likewise. */
    metric = json_object_get(json_object_get(json_object_get(json_object_get(o, "rows"), "a"), "metrics"),
                             "lesion_f1");
    json_object_set_new(metric, "max", json_real(0.3291));
    ck_assert(json_write(ranges, o, &e));
    run_table(&r, (const char *[]){"--check", ranges, NULL}, ALL, paths);
    ck_assert_msg(!r.code, "%s", r.err);
    json_object_set_new(metric, "max", json_real(0.3289));
    ck_assert(json_write(ranges, o, &e));
    run_table(&r, (const char *[]){"--check", ranges, NULL}, ALL, paths);
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.out, "a, seed 3, lesion F1: 0.3590 is outside 0.3510 to 0.3289 widened by 0.03"),
                  "%.300s", r.out);
    ck_assert(strstr(r.err, "1 of the numbers are outside"));
    /* A number where none was defined, and none where one was. */
    json_object_set_new(metric, "max", json_real(0.359));
    metric =
        json_object_get(json_object_get(json_object_get(json_object_get(o, "rows"), "a"), "metrics"), "side");
    json_object_set_new(metric, "min", json_null());
    json_object_set_new(metric, "max", json_null());
    ck_assert(json_write(ranges, o, &e));
    run_table(&r, (const char *[]){"--check", ranges, NULL}, ALL, paths);
    ck_assert_int_eq(r.code, 2);
    ck_assert(strstr(r.out, "a, seed 1, side: 0.4110 is outside - to - widened by 0.03"));
    ck_assert(strstr(r.err, "3 of the numbers are outside"));
    json_decref(o);
}
END_TEST

/* Reports of a run that name no side. */
START_TEST(undefined)
{
    Run r;
    Error e = {0};
    char file[64];
    snprintf(file, sizeof file, "%s/bad.json", folder);
    json_t *o = fixture_result(0, 1);
    json_object_set_new(json_object_get(json_object_get(o, "scores"), "lesion"), "side", json_null());
    ck_assert(json_write(file, o, &e));
    json_decref(o);
    const char *one = file;
    run_table(&r, (const char *[]){"--write", ranges, NULL}, 1, paths);
    ck_assert(!r.code);
    run_table(&r, (const char *[]){"--check", ranges, NULL}, 1, &one);
    ck_assert(r.code == 2 && strstr(r.out, "baseline, seed 1, side: - is outside 0.3610 to 0.3610"));
    run_table(&r, (const char *[]){"--write", ranges, NULL}, 1, &one);
    ck_assert(!r.code && has_line(r.out, "baseline", " - ", ""));
    run_table(&r, (const char *[]){"--check", ranges, NULL}, 1, &one);
    ck_assert_msg(!r.code, "%s", r.err);
}
END_TEST

/* Edits to a result's text, and the line that follows. */
static const struct {
    const char *from, *to, *expected;
} bad[] = {
    {"\"row\": \"a\"", "\"row\": \"f\"",
     ": no row \"f\" of preset \"paper\": expected baseline, a, b, c, d, e or ours"},
    {"\"preset\": \"paper\"", "\"preset\": \"release\"", ": no row \"a\" of preset \"release\""},
    {"\"seed\": 1", "\"seed\": \"1\"", ": key \"seed\": expected an integer, found a string"},
    {"\"commit\"", "\"comit\"", ": key \"commit\" is missing (expected a string)"},
    {"\"seconds\": 101.0", "\"seconds\": -1", ": -1 seconds"},
    {"\"train\": {}", "\"train\": 3", ": key \"train\": expected an object, found an integer"},
    {"\"scores\"", "\"score\"", ": key \"scores\" is missing"},
    {"\"held_out\"", "\"held\"", ": key \"held_out\" is missing"},
    {"\"split\": \"jieba\"", "\"spit\": \"jieba\"", ": key \"split\" is missing (expected a string)"},
    {"\"studies\": 300", "\"studies\": []", ": key \"studies\": expected an integer, found an array"},
    {"\"BLEU-4\"", "\"BLEU-5\"", ": scores: key \"BLEU-4\" is missing (expected a number)"},
    {"\"mention\"", "\"mentions\"", ": scores: clinical: key \"mention\" is missing (expected an object)"},
    {"\"micro\": {", "\"macro\": {", ": scores: clinical: mention: key \"micro\" is missing"},
    {"\"macro_f1\": 0.37", "\"macro_f1\": 37.",
     ": scores: lesion: key \"macro_f1\": expected a number from 0 to 1, found 37"},
    {"\"controls\"", "\"control\"", ": key \"controls\" is missing (expected an object)"},
    {"\"said\": 900000", "\"said\": 0",
     ": held_out: model: findings: 丘脑 高: 左: 430900 right of 0 said and 950000 true"},
    {"\"sides\"", "\"side\"",
     ": held_out: model: findings: 丘脑 高: key \"sides\" is missing (expected an object)"},
    {"\"entity\": \"丘脑\"", "\"entity\": 5",
     ": held_out: model: key \"entity\": expected a string, found an integer"},
    {"{\n", "[\n", "not JSON"},
};

START_TEST(damaged)
{
    char file[64];
    snprintf(file, sizeof file, "%s/bad.json", folder);
    uint8_t *bytes;
    size_t n;
    Error e = {0};
    ck_assert(file_read(path[SEEDS], 1 << 20, &bytes, &n, &e));
    const char *text = (const char *)bytes;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bool unseen = !strncmp(bad[i].expected, ": held_out", 10); /* both have findings */
        const char *at = strstr(unseen ? strstr(text, "\"held_out\"") : text, bad[i].from);
        char *edited = malloc(n + 64), expected[512];
        Table t;
        ck_assert_msg(at != NULL, "%s", bad[i].from);
        int length = sprintf(edited, "%.*s%s%s", (int)(at - text), text, bad[i].to, at + strlen(bad[i].from));
        ck_assert(file_write(file, edited, (size_t)length, &e));
        e = (Error){0};
        ck_assert_msg(!table_read((const char *[]){file}, 1, &t, &e), "%.100s", bad[i].to);
        snprintf(expected, sizeof expected, "%s%s", i + 1 < sizeof bad / sizeof *bad ? file : "",
                 bad[i].expected);
        ck_assert_msg(e.code == 2 && strstr(e.msg, expected), "'%s' -> %s", bad[i].to, e.msg);
        free(edited);
    }
    for (size_t k = 0; k + 2 < n; k++) { /* every beginning; the last byte is a line end */
        Table t;
        FILE *f = fopen(file, "w"); /* in haste: file_write waits for the disk */
        ck_assert(f && fwrite(text, 1, k, f) == k && !fclose(f));
        e = (Error){0};
        ck_assert_msg(!table_read((const char *[]){file}, 1, &t, &e) && e.code == 2, "%zu bytes", k);
    }
    free(bytes);
}
END_TEST

START_TEST(two_files)
{
    Table t;
    Error e = {0};
    ck_assert(!table_read((const char *[]){path[0], path[4], path[0]}, 3, &t, &e));
    ck_assert_msg(strstr(e.msg, "both are row baseline with seed 1"), "%s", e.msg);
    json_t *o = fixture_result(1, 1), *scores = json_object_get(o, "scores"),
           *controls = json_object_get(scores, "controls");
    char file[64], expected[512];
    snprintf(file, sizeof file, "%s/bad.json", folder);
    json_object_del(controls, "constant");
    ck_assert(json_write(file, o, &e));
    ck_assert(!table_read((const char *[]){path[0], file}, 2, &t, &e));
    snprintf(expected, sizeof expected, "%s: 1 controls, expected 2 as in %s", file, path[0]);
    ck_assert_str_eq(e.msg, expected);
    json_object_set_new(controls, "blank", fixture_values(0, 1, 1));
    ck_assert(json_write(file, o, &e));
    ck_assert(!table_read((const char *[]){path[0], file}, 2, &t, &e));
    snprintf(expected, sizeof expected, "%s: no control \"constant\", which %s has", file, path[0]);
    ck_assert_str_eq(e.msg, expected);
    json_object_set_new(json_object_get(scores, "settings"), "split", json_string("char"));
    ck_assert(json_write(file, o, &e));
    ck_assert(!table_read((const char *[]){path[0], file}, 2, &t, &e));
    snprintf(expected, sizeof expected, "%s: texts cut by char, expected jieba as in %s", file, path[0]);
    ck_assert_str_eq(e.msg, expected);
    json_decref(o);
    ck_assert(!table_read((const char *[]){"/nowhere.json"}, 1, &t, &e));
    ck_assert_int_eq(e.code, 3);
}
END_TEST

START_TEST(usage)
{
    Run r;
    run_tool(&r, "pcrl-table", (const char *[]){NULL});
    ck_assert_int_eq(r.code, 1);
    run_tool(&r, "pcrl-table", (const char *[]){"table3", path[0], NULL});
    ck_assert_int_eq(r.code, 1);
    run_tool(&r, "pcrl-table", (const char *[]){"table2", NULL});
    ck_assert_int_eq(r.code, 1);
    run_tool(&r, "pcrl-table", (const char *[]){"table2", "--margin", "2", path[0], NULL});
    ck_assert_int_eq(r.code, 1);
    run_tool(&r, "pcrl-table", (const char *[]){"table2", "--check", path[0], path[0], NULL});
    ck_assert_int_eq(r.code, 2);
    ck_assert(strstr(r.err, "key \"version\" is missing"));
}
END_TEST

static void make_files(void)
{
    ck_assert(mkdtemp(folder) != NULL);
    snprintf(ranges, sizeof ranges, "%s/ranges.json", folder);
    for (int i = 0; i < ALL; i++) {
        fixture_write(folder, i / SEEDS, i % SEEDS + 1, path[i]);
        paths[i] = path[i];
    }
}

static void remove_files(void)
{
    char file[64];
    for (int i = 0; i < ALL; i++) unlink(path[i]);
    unlink(ranges);
    snprintf(file, sizeof file, "%s/bad.json", folder);
    unlink(file);
    rmdir(folder);
}

int main(void)
{
    Suite *s = suite_create("table");
    TCase *t = tcase_create("table");
    tcase_add_unchecked_fixture(t, make_files, remove_files);
    tcase_add_test(t, reading);
    tcase_add_test(t, ranges_and_differences);
    tcase_add_test(t, printing);
    tcase_add_test(t, writing_and_checking);
    tcase_add_test(t, undefined);
    tcase_add_test(t, damaged);
    tcase_add_test(t, two_files);
    tcase_add_test(t, usage);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
