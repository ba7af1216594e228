/* The clue file: descriptions by the longest-match rule, exact masks of phantoms, units, files from anywhere.
 */
#include "data/clues.h"
#include "data/file.h"
#include "data/phantom_study.h"
#include "data/rle.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *path(void)
{
    static char name[64];
    snprintf(name, sizeof name, "/tmp/pcrl-clues-%d.json", (int)getpid());
    return name;
}

static void says(const char *report, const char *entity, const char *want)
{
    int i = clue_entity_from_name(entity);
    ck_assert_int_ge(i, 0);
    char *got = clue_description(report, i);
    ck_assert_msg(want ? got && !strcmp(got, want) : !got, "%s: got %s, want %s", entity, got ? got : "nothing",
                  want ? want : "nothing");
    free(got);
}

START_TEST(descriptions)
{
    static const char report[] =
        "右侧丘脑见小片状低密度影，边缘清晰；第三脑室及侧脑室扩大，左侧小脑半球见高密度影。脑室受压，"
        "左侧颞枕叶及枕叶见低密度影；双侧丘脑钙化。";
    says(report, "丘脑", "右侧丘脑见小片状低密度影；双侧丘脑钙化");
    says(report, "脑室", "脑室受压"); /* not in the clause that holds 第三脑室 and 侧脑室 */
    says(report, "侧脑室", "第三脑室及侧脑室扩大");
    says(report, "小脑", NULL); /* 小脑半球 is the longer name */
    says(report, "小脑半球", "左侧小脑半球见高密度影");
    says(report, "枕叶", NULL); /* 颞枕叶 contains it and is there */
    says(report, "颞枕叶", "左侧颞枕叶及枕叶见低密度影");
    says(report, "额叶", NULL);
    says("", "额叶", NULL);
    says("\xff\xfe，额叶", "额叶", "额叶");
    ck_assert_int_eq(clue_entity_count(), 27);
    ck_assert_int_eq(clue_entity_from_name("肝"), -1);
}
END_TEST

/* A data set of phantoms in memory. */
static Ctrg *phantoms(int n)
{
    json_t *list = json_array();
    Error e = {0};
    for (int i = 0; i < n; i++) {
        PhantomOptions o = phantom_options();
        Phantom p;
        o.size = 96;
        ck_assert_msg(phantom_make((uint64_t)i, &o, &p, &e), "%s", e.msg);
        json_array_append_new(list, phantom_annotation(&p, i, &e));
        phantom_free(&p);
    }
    char *text = json_text(list, JSON_COMPACT);
    Ctrg *c = ctrg_parse(text, strlen(text), "phantoms", NULL, NULL, &e);
    ck_assert_msg(c != NULL, "%s", e.msg);
    free(text);
    json_decref(list);
    return c;
}

/* Pixels of study s that some truth row has in the slice. */
static void truth_pixels(const CtrgStudy *s, int slice, uint8_t *any)
{
    size_t n = (size_t)s->width * (size_t)s->height;
    uint8_t *one = malloc(n);
    memset(any, 0, n);
    for (int i = 0; i < s->n_truth; i++)
        for (int j = 0; j < s->truth[i].n_masks; j++) {
            if (s->truth[i].mask[j].slice != slice) continue;
            ck_assert(ctrg_read_mask(s, &s->truth[i].mask[j], one, NULL));
            for (size_t k = 0; k < n; k++) any[k] |= one[k];
        }
    free(one);
}

START_TEST(exact_masks)
{
    enum { N = 30 };
    Ctrg *c = phantoms(N);
    Error e = {0};
    ck_assert_msg(clues_from_truth(c, path(), &e), "%s", e.msg);
    Clues *clues = clues_read(path(), &e);
    ck_assert_msg(clues != NULL, "%s", e.msg);
    ck_assert_int_eq(clues->n, N);
    int rows = 0;
    for (int k = 0; k < N; k++) {
        const CtrgStudy *s = &c->study[k];
        const StudyClues *x = clues_find(clues, s->id);
        ck_assert(x && x->width == 96 && x->height == 96);
        if (s->n_truth) ck_assert_int_gt(x->n, 0);
        ClueUnit *unit;
        int n;
        ck_assert(clue_units(x, false, false, &unit, &n, &e));
        ck_assert_int_eq(n, x->n);
        for (int i = 0; i < n; i++, rows++) {
            uint8_t any[96 * 96];
            int area = 0;
            ck_assert(strstr(s->findings, clue_entity_name(unit[i].entity)));
            truth_pixels(s, unit[i].slice, any);
            for (int p = 0; p < 96 * 96; p++) {
                ck_assert(!unit[i].mask[p] || any[p]);
                area += unit[i].mask[p];
            }
            ck_assert_int_gt(area, 0);
        }
        clue_units_free(unit, n);
    }
    ck_assert_int_gt(rows, N);
    ck_assert_ptr_null(clues_find(clues, 12345));
    clues_free(clues);
    ctrg_free(c);
    unlink(path());
}
END_TEST

#define FILE_OF(rows)                                                                                          \
    "{\"version\": 1, \"studies\": [{\"id\": \"7\", \"size\": [2, 3], \"clues\": [" rows "]}]}"
#define ROW(entity, text, slice, mask)                                                                         \
    "{\"entity\": \"" entity "\", \"text\": \"" text "\", \"slice\": " #slice ", \"mask\": " mask "}"

static Clues *read_text(const char *text, Error *e)
{
    ck_assert(file_write(path(), text, strlen(text), NULL));
    return clues_read(path(), e);
}

/* Run lengths of one pixel of a 2x3 mask. */
static const char *pixel(int at)
{
    static char text[2][32];
    uint8_t mask[6] = {0};
    Rle rle;
    mask[at] = 1;
    ck_assert(rle_encode(mask, 3, 2, &rle, NULL));
    char *counts = rle_to_text(&rle);
    snprintf(text[at & 1], sizeof text[0], "%s", counts);
    free(counts);
    rle_free(&rle);
    return text[at & 1];
}

/* Entities of one slice become one unit: texts joined, masks united; a row without a mask joins too. */
START_TEST(units)
{
    char text[1024];
    ClueUnit *unit;
    int n;
    Error e = {0};
    snprintf(
        text, sizeof text,
        FILE_OF(ROW("丘脑", "甲", 9, "\"%s\"") "," ROW("额叶", "乙", 9, "\"%s\"") "," ROW(
            "中脑", "丙", 4, "null") "," ROW("小脑", "丁", 2, "null") "," ROW("小脑半球", "戊", 2, "null")),
        pixel(0), pixel(5));
    Clues *c = read_text(text, &e);
    ck_assert_msg(c != NULL, "%s", e.msg);
    ck_assert(clue_units(&c->study[0], true, false, &unit, &n, &e));
    ck_assert_int_eq(n, 3);
    ck_assert_str_eq(unit[0].text, "甲;乙");
    ck_assert_mem_eq(unit[0].mask, ((uint8_t[]){1, 0, 0, 0, 0, 1}), 6);
    ck_assert(unit[1].slice == 4 && !unit[1].mask);
    ck_assert_str_eq(unit[2].text, "丁;戊");
    clue_units_free(unit, n);
    ck_assert(clue_units(&c->study[0], false, false, &unit, &n, &e));
    ck_assert_int_eq(n, 5);
    clue_units_free(unit, n);
    ck_assert(clue_units(&c->study[0], false, true, &unit, &n, &e)); /* 24: no 中脑, 小脑半球 is 小脑 */
    ck_assert_int_eq(n, 3);
    ck_assert_str_eq(unit[2].text, "丁;戊");
    clue_units_free(unit, n);
    clues_free(c);
    unlink(path());
}
END_TEST

START_TEST(bad_files)
{
    static const char *const bad[][2] = {
        {"[]", "version"},
        {"{\"version\": 2, \"studies\": []}", "expected 1, found 2"},
        {FILE_OF(ROW("肝", "甲", 9, "null")), "肝"},
        {FILE_OF(ROW("丘脑", "甲", 24, "null")), "0 to 23"},
        {FILE_OF(ROW("丘脑", "甲", 9, "7")), "run lengths or null"},
        {FILE_OF(ROW("丘脑", "甲", 9, "\"zzz\"")), "mask of 丘脑"},
        {FILE_OF("{\"entity\": \"丘脑\", \"text\": \"甲\"}"), "slice"},
        {FILE_OF(ROW("丘脑", "甲", 9, "null, \"score\": \"high\"")), "\"score\""},
        {FILE_OF(ROW("丘脑", "甲", 9, "null, \"mask_index\": -1")), "\"mask_index\""},
        {FILE_OF(ROW("丘脑", "甲", 9, "null, \"mask_index\": 0.5")), "\"mask_index\""},
        {"{\"version\": 1, \"settings\": 3, \"studies\": []}", "\"settings\""},
        {"{\"version\": 1, \"studies\": [{\"id\": \"x\", \"size\": [2, 3], \"clues\": []}]}", "id of digits"},
        {"{\"version\": 1, \"studies\": [{\"id\": \"1\", \"size\": [2, 99999], \"clues\": []}]}", "size"},
        {"{\"version\": 1, \"studies\": [{\"id\": \"1\", \"size\": [2, 3], \"clues\": []}, {\"id\": \"1\", "
         "\"size\": [2, 3], "
         "\"clues\": []}]}",
         "it twice"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Error e = {0};
        ck_assert_ptr_null(read_text(bad[i][0], &e));
        ck_assert_int_eq(e.code, ERROR_INPUT);
        ck_assert_msg(strstr(e.msg, bad[i][1]) && strstr(e.msg, path()), "%zu: %s", i, e.msg);
    }
    unlink(path());
    Error e = {0};
    ck_assert_ptr_null(clues_read(path(), &e));
    ck_assert_int_eq(e.code, ERROR_IO);
}
END_TEST

/* Retrieved clues: scores and places in the gallery, settings, a clue without a mask. */
START_TEST(written)
{
    Error e = {0};
    Clues c = {.settings = json_pack("{s:s}", "filter", "size")};
    for (int k = 0; k < 3; k++) {
        StudyClues s = {.id = 5 * k, .width = 3, .height = 2, .n = k, .clue = calloc(2, sizeof *s.clue)};
        for (int i = 0; i < k; i++)
            s.clue[i] =
                (Clue){.entity = 12 + i, .text = strdup("甲\"；乙"), .slice = 9 + i, .mask_index = i ? -1 : 4};
        if (k) s.clue[0].counts = strdup(pixel(3));
        s.clue[0].score = 0.25;
        s.clue[1].score = NAN;
        ck_assert(clues_add(&c, &s, &e));
    }
    ck_assert_msg(clues_write(&c, path(), &e), "%s", e.msg);
    Clues *back = clues_read(path(), &e);
    ck_assert_msg(back != NULL, "%s", e.msg);
    ck_assert(back->n == 3 && json_equal(back->settings, c.settings));
    const StudyClues *s = clues_find(back, 10);
    ck_assert(s && s->n == 2 && s->width == 3 && s->height == 2);
    ck_assert(s->clue[0].entity == 12 && s->clue[0].slice == 9 && s->clue[0].mask_index == 4);
    ck_assert_str_eq(s->clue[0].text, "甲\"；乙");
    ck_assert_str_eq(s->clue[0].counts, pixel(3));
    ck_assert(s->clue[0].score == 0.25 && isnan(s->clue[1].score) && s->clue[1].mask_index == -1);
    ck_assert_ptr_null(s->clue[1].counts);
    clues_free(back);
    for (int k = 0; k < 3; k++) clues_free_study(&c.study[k]);
    free(c.study);
    json_decref(c.settings);
    unlink(path());
}
END_TEST

int main(void)
{
    Suite *s = suite_create("clues");
    TCase *c = tcase_create("clues");
    tcase_set_timeout(c, 0);
    tcase_add_test(c, descriptions);
    tcase_add_test(c, exact_masks);
    tcase_add_test(c, units);
    tcase_add_test(c, bad_files);
    tcase_add_test(c, written);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int bad = srunner_ntests_failed(runner);
    srunner_free(runner);
    return bad != 0;
}
