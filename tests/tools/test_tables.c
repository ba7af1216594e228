/* tools/table1.sh and table2.sh from end to end at tiny counts, with the shipped model: what they leave, that a
 * finished run is not done again, and that a run whose scores are gone is scored without being trained again.
 * The numbers mean nothing; make table1 and table2 compare those that do. */
#include "data/json.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNTS "SIZE=128 TRAIN=8 TEST=8 UNSEEN=1 WARMUP_STEPS=1 STEPS=1 OMP_NUM_THREADS=1"

static char folder[] = "/tmp/pcrl-tables-XXXXXX";

static int script(const char *settings, const char *name)
{
    char line[4096];
    const char *build = getenv("BUILD");
    snprintf(line, sizeof line, COUNTS " %s tools/%s.sh %s/bin data/mini %s/%s %s/none >%s/log 2>&1", settings,
             name, build ? build : "build/release", folder, name, folder, folder);
    return system(line);
}

static json_t *result(const char *name)
{
    char path[4096];
    Error e = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    json_t *j = json_read(path, &e);
    ck_assert_msg(j != NULL, "%s", e.msg);
    return j;
}

static time_t changed(const char *name)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    ck_assert_msg(!stat(path, &st), "%s", path);
    return st.st_mtime;
}

START_TEST(table2)
{
    ck_assert_int_eq(script("SEEDS=3 ROWS='e release'", "table2"), 0);
    json_t *j = result("table2/e-3/result.json");
    ck_assert_str_eq(json_string_value(json_object_get(j, "row")), "e");
    ck_assert_int_eq(json_integer_value(json_object_get(j, "seed")), 3);
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(j, "train"), "text_features")), "bert");
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(j, "scores"), "studies")), 8);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(j, "held_out"), "studies")), 1);
    json_decref(j);
    j = result("table2/release-3/result.json");
    ck_assert_str_eq(json_string_value(json_object_get(j, "row")), "ours");
    ck_assert_ptr_nonnull(json_object_get(json_object_get(j, "scores"), "pairs"));
    json_decref(j);

    time_t weights = changed("table2/e-3/model/pcrl_heads.safetensors"),
           other = changed("table2/release-3/result.json");
    char path[4096];
    snprintf(path, sizeof path, "%s/table2/e-3/result.json", folder);
    ck_assert_int_eq(unlink(path), 0);
    sleep(1);
    ck_assert_int_eq(script("SEEDS=3 ROWS='e release'", "table2"), 0);
    ck_assert_int_gt(changed("table2/e-3/result.json"), other);
    ck_assert_int_eq(changed("table2/e-3/model/pcrl_heads.safetensors"), weights);
    ck_assert_int_eq(changed("table2/release-3/result.json"), other);
}
END_TEST

START_TEST(table1)
{
    ck_assert_int_eq(script("", "table1"), 0);
    json_t *j = result("table1/jieba.json");
    ck_assert_int_eq(json_integer_value(json_object_get(j, "studies")), 8);
    ck_assert_ptr_nonnull(json_object_get(json_object_get(j, "controls"), "blank"));
    json_decref(j);
    char line[4096];
    snprintf(line, sizeof line, "grep -q 'SKIPPED: .*LLaMA-3' %s/log && ! test -e %s/table1/llama3.json",
             folder, folder);
    ck_assert_int_eq(system(line), 0);
}
END_TEST

START_TEST(unknown_row)
{
    ck_assert_int_ne(script("SEEDS=3 ROWS=f", "table2"), 0);
    char line[4096];
    snprintf(line, sizeof line, "grep -q 'unknown way of training f' %s/log", folder);
    ck_assert_int_eq(system(line), 0);
}
END_TEST

int main(void)
{
    if (strstr(getenv("BUILD") ? getenv("BUILD") : "",
               "/san-")) { /* minutes; its programs are each tested so */
        printf("SKIPPED: tests/tools/test_tables under sanitizers\n");
        return 0;
    }
    if (access("/usr/lib/python3/dist-packages/jieba", F_OK)) {
        printf("SKIPPED: tests/tools/test_tables: jieba's dictionary (Debian's python3-jieba) is not here\n");
        return 0;
    }
    if (!mkdtemp(folder)) return 1;
    Suite *s = suite_create("tables");
    TCase *c = tcase_create("tables");
    tcase_set_timeout(c, 900);
    tcase_add_test(c, table2);
    tcase_add_test(c, table1);
    tcase_add_test(c, unknown_row);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    char line[4096];
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line) || failed;
}
