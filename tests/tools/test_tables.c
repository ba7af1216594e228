/* tools/table1.sh and table2.sh from end to end at tiny counts, with the shipped model: what they leave, that a
 * finished run is not done again, that a run whose scores are gone is scored without being trained again, and
 * that table2.sh refuses other settings than those of the work that is there. The numbers mean nothing; make
 * table1 and table2 compare those that do. */
#include "data/json.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNTS "SIZE=128 TRAIN=8 TEST=8 UNSEEN=1 WARMUP_STEPS=1 STEPS=1 OMP_NUM_THREADS=1"

static char folder[] = "/tmp/pcrl-tables-XXXXXX";

/* Of the scripts in `tools` with a model. */
static int script_of(const char *tools, const char *model, const char *settings, const char *name)
{
    char line[4096];
    const char *build = getenv("BUILD");
    snprintf(line, sizeof line, COUNTS " %s %s/%s.sh %s/bin %s %s/%s %s/none >%s/log 2>&1", settings, tools,
             name, build ? build : "build/release", model, folder, name, folder, folder);
    return system(line);
}

static int script(const char *settings, const char *name)
{
    return script_of("tools", "data/mini", settings, name);
}

/* A line of the shell in the test's folder. */
static int shell(const char *words)
{
    char line[4096];
    snprintf(line, sizeof line, "set -e; cd %s; %s", folder, words);
    return system(line);
}

/* What the last script said, NUL-terminated. */
static const char *said(void)
{
    static char text[65536];
    char path[4096];
    snprintf(path, sizeof path, "%s/log", folder);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
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

/* When, in nanoseconds. */
static int64_t changed(const char *name)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    ck_assert_msg(!stat(path, &st), "%s", path);
    return st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
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

    int64_t weights = changed("table2/e-3/model/pcrl_heads.safetensors"),
            other = changed("table2/release-3/result.json");
    ck_assert_int_eq(shell("rm table2/e-3/result.json"), 0);
    ck_assert_int_eq(script("SEEDS=3 ROWS='e release'", "table2"), 0);
    ck_assert_int_gt(changed("table2/e-3/result.json"), other);
    ck_assert_int_eq(changed("table2/e-3/model/pcrl_heads.safetensors"), weights);
    ck_assert_int_eq(changed("table2/release-3/result.json"), other);
}
END_TEST

#define REFUSED(words, ...)                                                                                    \
    do {                                                                                                       \
        ck_assert_int_ne(script_of(__VA_ARGS__, "table2"), 0);                                                 \
        char want[4096];                                                                                       \
        snprintf(want, sizeof want,                                                                            \
                 "table2: %s/table2: %s: what is finished there is of the former; set it back, work in "       \
                 "another folder (make: TABLES=FOLDER), or remove this one\n",                                 \
                 folder, words);                                                                               \
        ck_assert_msg(strstr(said(), want), "expected %sfound %s", want, said());                              \
    } while (0)
#define RUNS "SEEDS=3 ROWS='e release' "

/* On what the test before has left. */
START_TEST(other_settings)
{
    static const struct {
        const char *settings, *words;
    } no[] = {{"STEPS=2", "STEPS was 1, is now 2"},
              {"WARMUP_STEPS=2", "WARMUP_STEPS was 1, is now 2"},
              {"SIZE=96", "SIZE was 128, is now 96"},
              {"TRAIN=9", "TRAIN was 8, is now 9"},
              {"TRAIN_SEED=40", "TRAIN_SEED was 0, is now 40"},
              {"TEST=7", "TEST was 8, is now 7"},
              {"TEST_SEED=1000009", "TEST_SEED was 1000000, is now 1000009"},
              {"UNSEEN=2", "UNSEEN was 1, is now 2"},
              {"UNSEEN_SEED=7", "UNSEEN_SEED was 2000000, is now 7"},
              {"STEPS=5 TEST=9", "TEST was 8, is now 9; STEPS was 1, is now 5"}};
    char line[256], tools[64], model[64];
    int64_t record = changed("table2/settings"), drawn = changed("table2/test/annotations.json"),
            done = changed("table2/release-3/result.json");
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        snprintf(line, sizeof line, RUNS "%s", no[i].settings);
        REFUSED(no[i].words, "tools", "data/mini", line);
    }
    /* Another model, whatever its folder is called; another way of training, for the rows that have run. */
    snprintf(line, sizeof line, "cp -r data/mini tools/arms.sh tools/table2.sh %s", folder);
    ck_assert(!system(line) && !shell("mkdir scripts; mv arms.sh table2.sh scripts; echo x >>mini/vocab.txt"));
    snprintf(model, sizeof model, "%s/mini", folder);
    ck_assert_int_ne(script_of("tools", model, RUNS, "table2"), 0);
    ck_assert_msg(strstr(said(), "/table2: MODEL/vocab.txt was "), "%s", said());
    ck_assert(!shell(
        "sed -i 's/^segment=\"--weight-segment 0.3\"/segment=\"--weight-segment 0.4\"/' scripts/arms.sh"));
    snprintf(tools, sizeof tools, "%s/scripts", folder);
    ck_assert_int_ne(script_of(tools, "data/mini", RUNS, "table2"), 0);
    ck_assert_msg(strstr(said(), "/table2: row e was --batch 8 ") && strstr(said(), "; row release was "), "%s",
                  said());
    ck_assert_int_eq(changed("table2/settings"), record);
    ck_assert_int_eq(changed("table2/test/annotations.json"), drawn);
    ck_assert_int_eq(changed("table2/release-3/result.json"), done);
    ck_assert(!shell("! test -e table2/settings.new"));
}
END_TEST

/* Work from before there was a record: its files are asked; what two runs say differently is refused too. */
START_TEST(no_record)
{
    int64_t done = changed("table2/release-3/result.json");
    ck_assert(!shell("rm table2/settings"));
    REFUSED("STEPS was 1, is now 2", "tools", "data/mini", RUNS "STEPS=2");
    REFUSED("WARMUP_STEPS was 1, is now 2", "tools", "data/mini", RUNS "WARMUP_STEPS=2");
    REFUSED("SIZE was 128, is now 96; TRAIN was 8, is now 9; TEST was 8, is now 7; UNSEEN was 1, is now 2",
            "tools", "data/mini", RUNS "SIZE=96 TRAIN=9 TEST=7 UNSEEN=2");
    ck_assert(!shell(
        "! test -e table2/settings && mkdir table2/a-1 && echo '  \"steps\": 30,' >table2/a-1/run.json"));
    REFUSED("STEPS was 1/30, is now 1", "tools", "data/mini", RUNS);
    ck_assert(!shell("rm -r table2/a-1"));
    ck_assert_int_eq(script(RUNS, "table2"), 0);
    ck_assert_msg(strstr(said(), "has no record of its settings; its files tell STEPS WARMUP_STEPS TEST"), "%s",
                  said());
    ck_assert_int_eq(changed("table2/release-3/result.json"), done);
    REFUSED("TEST_SEED was 1000000, is now 3", "tools", "data/mini", RUNS "TEST_SEED=3");
}
END_TEST

START_TEST(table1)
{
    ck_assert_int_eq(script("", "table1"), 0);
    json_t *j = result("table1/jieba.json");
    ck_assert_int_eq(json_integer_value(json_object_get(j, "studies")), 8);
    ck_assert_ptr_nonnull(json_object_get(json_object_get(j, "controls"), "blank"));
    json_decref(j);
    ck_assert_ptr_nonnull(strstr(said(), "SKIPPED: the rows with LLaMA-3's tokens: "));
    /* Made anew, whatever was there: the same as in an empty folder. */
    ck_assert(!shell("! test -e table1/llama3.json && touch table1/llama3.json"));
    ck_assert_int_eq(script("TEST=9 TRAIN=9", "table1"), 0);
    ck_assert(!shell("! test -e table1/llama3.json && mv table1/jieba.json of-both.json && rm -r table1"));
    ck_assert_int_eq(script("TEST=9 TRAIN=9", "table1"), 0);
    ck_assert(!shell("cmp table1/jieba.json of-both.json"));
}
END_TEST

START_TEST(unknown_row)
{
    ck_assert_int_ne(script("SEEDS=3 ROWS=f", "table2"), 0);
    ck_assert_ptr_nonnull(strstr(said(), "unknown way of training f"));
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
    tcase_add_test(c, other_settings);
    tcase_add_test(c, no_record);
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
