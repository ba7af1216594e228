/* The page: nothing from elsewhere, nothing in the data can break out of it, and clauses are marked by what
 * they claim. */
#include "data/file.h"
#include "tools/page.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/pcrl-page-XXXXXX";

static void expect_clauses(const char *report, const char *other, const char *absent, int n,
                           const char *const states[])
{
    FindingSet set = findings_parse(other);
    json_t *list = page_clauses(report, &set, absent);
    char joined[1024] = "";
    ck_assert_int_eq((int)json_array_size(list), n);
    for (int i = 0; i < n; i++) {
        json_t *pair = json_array_get(list, (size_t)i);
        strcat(joined, json_string_value(json_array_get(pair, 0)));
        ck_assert_str_eq(json_string_value(json_array_get(pair, 1)), states[i]);
    }
    ck_assert_str_eq(joined, report);
    json_decref(list);
}

START_TEST(clauses)
{
    static const char truth[] = "左侧基底节区见片状低密度影，中线结构居中。";
    expect_clauses("双侧大脑半球对称，左侧基底节区见斑片状低密度影；右侧丘脑见片状高密度影。", truth, "wrong",
                   3, (const char *const[]){"", "hit", "wrong"});
    expect_clauses("右侧基底节区见片状低密度影，中线结构居中。", truth, "wrong", 2,
                   (const char *const[]){"wrong", ""});
    expect_clauses(truth, "脑实质内未见异常。", "missed", 2, (const char *const[]){"missed", ""});
    expect_clauses("", truth, "wrong", 0, NULL);
    expect_clauses("，。", truth, "wrong", 2, (const char *const[]){"", ""});
}
END_TEST

START_TEST(comparison)
{
    CtrgStudy t = {.findings = (char *)(uintptr_t) "左侧基底节区见片状低密度影，右侧丘脑见片状高密度影。"};
    json_t *list = page_compare(&t, "左侧基底节区见片状低密度影，左侧丘脑见片状高密度影。", NULL);
    static const char *const expected[] = {"hit", "missed", "wrong"};
    ck_assert_int_eq((int)json_array_size(list), 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_str_eq(json_string_value(json_object_get(json_array_get(list, i), "state")), expected[i]);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 2), "text")), "左侧丘脑 高密度");
    json_decref(list);
}
END_TEST

/* How often needle occurs. */
static int count(const char *text, const char *needle)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, needle)); p++) n++;
    return n;
}

static char *write_and_read(const PageStudy *s, int n, const json_t *scores)
{
    Error e = {0};
    uint8_t *bytes;
    size_t length;
    ck_assert_msg(page_write(path, "<b>T</b>", s, n, scores, &e), "%s", e.msg);
    ck_assert(file_read(path, 64 << 20, &bytes, &length, &e));
    char *text = strdup((char *)bytes);
    free(bytes);
    return text;
}

static void expect_cell(const json_t *values, size_t at, const char *expected)
{
    char *text = json_text(json_array_get(values, at), JSON_COMPACT);
    ck_assert_str_eq(text, expected);
    free(text);
}

START_TEST(self_contained)
{
    enum { SIZE = 32, PIXELS = 24 * SIZE * SIZE };
    uint8_t *pixel = malloc(PIXELS);
    int16_t *hu = malloc(PIXELS * sizeof *hu);
    for (int i = 0; i < PIXELS; i++) pixel[i] = (uint8_t)(i % 251), hu[i] = (int16_t)(i % 3000 - 1024);
    static float segment[24 * GRID * GRID] = {0.5f, NAN, -1, 2};
    PageStudy s[2] = {
        {.name = "</script><script>alert(1)</script>", .size = SIZE, .pixel = pixel, .report = "<!-- ]]>"},
        {.name = "二", .size = SIZE, .pixel_mm = 1.5, .pixel = pixel, .hu = hu, .segment = segment}};
    json_t *scores = json_pack(
        "{s:i, s:{s:{s:[f,f]}}, s:{s:{s:{s:{s:[n,n], s:{s:[f,f]}}}}}, s:[{s:s, s:s, s:{s:f}}, {s:s, s:{s:f}}]}",
        "studies", 3, "intervals", "lesion", "f1", 0.25, 0.75, "controls", "blank", "intervals", "lesion",
        "side", "focal", "f1", 0.0, 0.125, "systems", "name", "model", "how", "", "all", "f1", 0.5, "name",
        "blank", "focal", "f1", 0.0625);
    char *page = write_and_read(s, 2, scores);
    ck_assert_int_eq(count(page, "</script>"), 2);
    ck_assert_int_eq(count(page, "<script"), 2);
    ck_assert_int_eq(count(page, "<!--"), 0);
    ck_assert_int_eq(count(page, "://") + count(page, " src=") + count(page, " href=") + count(page, "url("),
                     0);
    ck_assert_int_eq(count(page, "@import"), 0);
    ck_assert_int_ge(count(page, "仅供研究使用，非医疗器械"), 1);
    ck_assert_int_ge(count(page, "Research use only, not a medical device"), 1);
    ck_assert_int_eq(count(page, "data:image/png;base64,iVBORw0KGgo"), 3);

    const char *data = strstr(page, "id=\"data\">") + 10;
    json_error_t error;
    json_t *o = json_loadb(data, (size_t)(strstr(data, "</script>") - data), 0, &error);
    ck_assert_msg(o != NULL, "%s", error.text);
    ck_assert_str_eq(json_string_value(json_object_get(o, "title")), "<b>T</b>");
    json_t *studies = json_object_get(o, "studies");
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(studies, 0), "name")), s[0].name);
    ck_assert(json_is_true(json_object_get(json_array_get(studies, 1), "packed")));
    ck_assert(!json_object_get(json_array_get(studies, 0), "segment"));
    ck_assert(json_object_get(json_array_get(studies, 1), "segment"));
    json_t *rows = json_object_get(json_object_get(o, "scores"), "rows");
    json_t *values = json_object_get(json_array_get(rows, 0), "values");
    expect_cell(values, 0, "[0.5,0.25,0.75]");
    expect_cell(values, 1, "[null,null,null]");
    values = json_object_get(json_array_get(rows, 1), "values");
    expect_cell(values, 2, "[0.0625,0.0,0.125]");
    expect_cell(values, 3, "[null,null,null]");
    json_decref(o);
    json_decref(scores);
    free(page);
    free(pixel);
    free(hu);
}
END_TEST

/* Retrieved masks are pictures of their own size; a sentence without one says so. */
START_TEST(evidence)
{
    uint8_t *pixel = calloc(24, 32 * 32);
    Clue clue[2] = {
        {.entity = 0, .text = (char *)(uintptr_t) "左侧丘脑低", .slice = 9, .counts = (char *)(uintptr_t) "13"},
        {.entity = 1, .text = (char *)(uintptr_t) "b", .slice = 3}};
    StudyClues clues = {.id = 1, .width = 2, .height = 2, .n = 2, .clue = clue};
    PageStudy s = {.name = "a", .size = 32, .pixel = pixel, .report = "", .clues = &clues};
    char *page = write_and_read(&s, 1, NULL);
    const char *data = strstr(page, "id=\"data\">") + 10;
    json_error_t error;
    json_t *o = json_loadb(data, (size_t)(strstr(data, "</script>") - data), 0, &error);
    json_t *list = json_object_get(json_array_get(json_object_get(o, "studies"), 0), "evidence");
    ck_assert_int_eq((int)json_array_size(list), 2);
    json_t *row = json_array_get(list, 0);
    ck_assert_str_eq(json_string_value(json_object_get(row, "text")), "左侧丘脑低");
    ck_assert_str_eq(json_string_value(json_object_get(row, "entity")), clue_entity_name(0));
    ck_assert_int_eq((int)json_integer_value(json_object_get(row, "slice")), 9);
    ck_assert(strstr(json_string_value(json_object_get(row, "mask")), "data:image/png;base64,") != NULL);
    ck_assert(json_is_null(json_object_get(json_array_get(list, 1), "mask")));
    json_decref(o);
    free(page);

    Error e = {0};
    clue[1].text = (char *)(uintptr_t) "\xff";
    ck_assert(!page_write(path, "t", &s, 1, NULL, &e) && strstr(e.msg, "UTF-8"));
    clue[0].counts = (char *)(uintptr_t) "1";
    ck_assert(!page_write(path, "t", &s, 1, NULL, &e) && e.code == ERROR_INPUT);
    free(pixel);
}
END_TEST

START_TEST(faults)
{
    uint8_t *pixel = calloc(24, 64 * 64);
    PageStudy s = {.name = "a\xff", .size = 64, .pixel = pixel};
    Error e = {0};
    ck_assert(!page_write(path, "t", &s, 0, NULL, &e) && strstr(e.msg, "no study"));
    ck_assert(!page_write(path, "t", &s, 1, NULL, &e) && strstr(e.msg, "UTF-8") && e.code == ERROR_INPUT);
    s.name = "a";
    ck_assert(!page_write(path, "\xff", &s, 1, NULL, &e) && strstr(e.msg, "UTF-8"));
    ck_assert(!page_write("/proc/none/page.html", "t", &s, 1, NULL, &e) && e.code == ERROR_IO);
    free(pixel);
}
END_TEST

int main(void)
{
    int fd = mkstemp(path);
    if (fd < 0) return EXIT_FAILURE;
    close(fd);
    Suite *s = suite_create("page");
    TCase *t = tcase_create("page");
    tcase_add_test(t, clauses);
    tcase_add_test(t, comparison);
    tcase_add_test(t, self_contained);
    tcase_add_test(t, evidence);
    tcase_add_test(t, faults);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    unlink(path);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
