/* Table 1 from made-up scores: every value times 100 at its place, tokenizers apart, seeds as ranges; what was
 * written compares with itself; damaged scores are one line. */
#include "tools/table_one.h"
#include "tests/tools/run.h"
#include "tests/tools/table_fixture.h"
#include <math.h>

enum { FILES = 4 };
static char folder[] = "/tmp/pcrl-table-one-XXXXXX", path[FILES][256], ranges[64];

/* Three seeds by jieba, one by LLaMA-3's. */
static void make_files(void)
{
    ck_assert(mkdtemp(folder) != NULL);
    snprintf(ranges, sizeof ranges, "%s/ranges.json", folder);
    for (int i = 0; i < FILES; i++) {
        json_t *o = fixture_scores(TABLE_ROWS - 2, i + 1, false);
        if (i == 3) json_object_set_new(json_object_get(o, "settings"), "split", json_string("llama3"));
        snprintf(path[i], sizeof path[i], "%s/%d.json", folder, i);
        ck_assert(json_write(path[i], o, NULL));
        json_decref(o);
    }
}

static void remove_files(void)
{
    for (int i = 0; i < FILES; i++) unlink(path[i]);
    unlink(ranges);
    rmdir(folder);
}

/* Whether text has this line, blanks in a row counted as one and those at its ends as none. */
static bool has_line(const char *text, const char *line)
{
    char tidy[65536], *to = tidy;
    *to++ = '\n';
    for (const char *p = text; *p; p++) {
        if (*p == ' ' && (to[-1] == ' ' || to[-1] == '\n')) continue;
        if (*p == '\n' && to[-1] == ' ') to--;
        *to++ = *p;
    }
    *to = 0;
    const char *at = strstr(tidy, line);
    return at && at[-1] == '\n' && at[strlen(line)] == '\n';
}

START_TEST(printing)
{
    Run r;
    run_tool(&r, "pcrl-table", (const char *[]){"table1", path[0], path[3], path[1], path[2], NULL});
    ck_assert_msg(!r.code, "%s", r.err);
    static const char *const line[] = {
        "tokenizer BLEU-1 BLEU-2 BLEU-3 BLEU-4 METEOR ROUGE-L CIDEr CE F1 finding F1",
        "jieba ours 90.0 80.0 70.0 48.5 50.5 52.5 54.5 44.5 46.5",
        "90.0-90.0 80.0-80.0 70.0-70.0 48.1-48.9 50.1-50.9 52.1-52.9 54.1-54.9 44.1-44.9 46.1-46.9",
        "constant 90.0 80.0 70.0 17.0 18.0 19.0 20.0 15.0 16.0",
        "llama3 ours 90.0 80.0 70.0 49.6 51.6 53.6 55.6 45.6 47.6",
        "shuffled 90.0 80.0 70.0 12.4 13.4 14.4 15.4 10.4 11.4",
    };
    for (size_t i = 0; i < sizeof line / sizeof *line; i++)
        ck_assert_msg(has_line(r.out, line[i]), "%s", line[i]);
}
END_TEST

START_TEST(writing_and_checking)
{
    Run r;
    run_tool(&r, "pcrl-table",
             (const char *[]){"table1", "--write", ranges, path[0], path[1], path[2], path[3], NULL});
    ck_assert_msg(!r.code, "%s", r.err);
    run_tool(&r, "pcrl-table",
             (const char *[]){"table1", "--check", ranges, "--margin", "0", path[1], path[3], NULL});
    ck_assert_msg(!r.code, "%s", r.err);
    ck_assert(strstr(r.out, "12 numbers (F1s) compared"));
    run_tool(&r, "pcrl-table", (const char *[]){"table1", "--write", ranges, path[0], NULL});
    ck_assert(!r.code);
    run_tool(&r, "pcrl-table",
             (const char *[]){"table1", "--check", ranges, "--margin", "0.0079", path[2], NULL});
    ck_assert_int_eq(r.code, 2);
    ck_assert(strstr(r.out, "2.json, model, CE F1: 0.4490 is outside 0.4410 to 0.4410 widened by 0.0079"));
    ck_assert(strstr(r.err, "2 of the numbers are outside"));
    run_tool(&r, "pcrl-table", (const char *[]){"table1", "--check", ranges, path[3], NULL});
    ck_assert_int_eq(r.code, 2);
    ck_assert(strstr(r.err, "key \"llama3\" is missing"));
}
END_TEST

static void expect_bad(json_t *o, const char *expected)
{
    char file[64], message[512];
    Error e = {0};
    TableOne t;
    snprintf(file, sizeof file, "%s/bad.json", folder);
    ck_assert(json_write(file, o, &e));
    ck_assert(!table_one_read((const char *[]){path[0], file}, 2, &t, &e));
    snprintf(message, sizeof message, "%s: %s", file, expected);
    ck_assert_int_eq(e.code, 2);
    ck_assert_msg(!strncmp(e.msg, message, strlen(message)), "'%s' for '%s'", e.msg, message);
    unlink(file);
    json_decref(o);
}

START_TEST(damaged)
{
    json_t *o = fixture_scores(0, 1, false);
    json_object_del(o, "settings");
    expect_bad(o, "key \"settings\" is missing");
    o = fixture_scores(0, 1, false);
    json_object_set_new(o, "BLEU-2", json_real(1.5));
    expect_bad(o, "key \"BLEU-2\": expected a number from 0 to 1, found 1.5");
    o = fixture_scores(0, 1, false);
    json_object_set_new(o, "CIDEr", json_string("x"));
    expect_bad(o, "key \"CIDEr\": expected a number, found a string");
    o = fixture_scores(0, 1, false);
    json_object_del(json_object_get(o, "controls"), "constant");
    expect_bad(o, "1 controls, expected 2 as in");
    json_object_set_new(json_object_get(o = fixture_scores(0, 1, false), "controls"), "constant",
                        json_integer(1));
    expect_bad(o, "key \"constant\": expected an object, found an integer");
    o = fixture_scores(0, 1, false);
    json_object_del(json_object_get(json_object_get(o, "controls"), "shuffled"), "METEOR");
    expect_bad(o, "controls: shuffled: key \"METEOR\" is missing");
    o = fixture_scores(0, 1, false);
    json_object_set_new(json_object_get(o, "settings"), "split",
                        json_string("a name that is much too long for one"));
    expect_bad(o, "split \"a name that");
    expect_bad(json_array(), "expected an object with key \"settings\"");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("table_one");
    TCase *t = tcase_create("table_one");
    tcase_add_unchecked_fixture(t, make_files, remove_files);
    tcase_add_test(t, printing);
    tcase_add_test(t, writing_and_checking);
    tcase_add_test(t, damaged);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
