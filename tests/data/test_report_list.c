/* Lists of reports in their four forms, what is wrong with wrong ones, every beginning of a small one, every
 * allocation failing. */
#include "data/report_list.h"
#include "data/file.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"
#include "tests/data/reports_bad.h"

/* ' becomes ". */
static char *quoted(const char *text)
{
    char *copy = strdup(text);
    for (char *s = copy; (s = strchr(s, '\'')); s++) *s = '"';
    return copy;
}

static ReportList parse(const char *text)
{
    Error e = {0};
    ReportList l;
    char *json = quoted(text);
    ck_assert_msg(report_list_parse(json, strlen(json), "list", &l, &e), "%s: %s", text, e.msg);
    free(json);
    return l;
}

static const char *const forms[] = {
    "[{'id':'12','findings':'左','impression':'x','images':[1,[2]]},\n{'id':7,'findings':''}]",
    "[{'image_id':12,'caption':'左'},{'image_id':'7','caption':''}]",
    "{'info':{'a':1}, 'images':[{'id':12},{'id':'x'}], 'type':'captions',\n 'annotations': [{'image_id':12, "
    "'id':1, 'caption':'左'}, {'image_id':7,'id':2,'caption':''}], 'licenses':[]}",
    "{'id':'12','report':'左'}\r\n\n  {'id':7,'report':''}  \n",
    " \n{'report':'左','id':12}\n{'findings':'','id':'7'}",
};

START_TEST(all_forms)
{
    char text[32];
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        ReportList l = parse(forms[i]);
        ck_assert_int_eq(l.n, 2);
        ck_assert_str_eq(l.id[0], "12");
        ck_assert_str_eq(l.text[0], "左");
        ck_assert_str_eq(l.id[1], "7");
        ck_assert_str_eq(l.text[1], "");
        ck_assert(l.counts.reports == 2 && l.counts.empty == 1);
        ck_assert_int_eq(report_list_find(&l, "12"), 0);
        ck_assert_int_eq(report_list_find(&l, "7"), 1);
        ck_assert_int_eq(report_list_find(&l, "07"), -1);
        ck_assert_int_eq(report_list_find(&l, ""), -1);
        ck_assert_str_eq(report_list_place(&l, 1, text), i == 3 ? "line 3" : i == 4 ? "line 3" : "entry 1");
        report_list_free(&l);
    }
    /* one object that is the whole file, on several lines */
    ReportList l = parse("{'id':'a b','caption':'x'}");
    ck_assert_str_eq(l.id[0], "a b");
    ck_assert(l.lines && l.n == 1);
    report_list_free(&l);
}
END_TEST

/* What is not read is counted by its name. */
START_TEST(ignored_keys)
{
    ReportList l = parse(forms[2]);
    static const char *const names[] = {"info", "images", "type", "id", "licenses"};
    ck_assert_int_eq(l.counts.n_keys, 5);
    for (int i = 0; i < 5; i++) {
        ck_assert_str_eq(l.counts.key[i].name, names[i]);
        ck_assert_int_eq(l.counts.key[i].n, i == 3 ? 2 : 1);
    }
    report_list_free(&l);
    /* more names than are kept, and names longer than are kept */
    char text[8000] = "[{'id':1,'report':''";
    for (int i = 0; i < 30; i++) sprintf(text + strlen(text), ",'key %d':%d", i, i);
    strcat(text, "},{'id':2,'report':'','key 3':0,'key 29':0}]");
    l = parse(text);
    ck_assert_int_eq(l.counts.n_keys, REPORT_KEYS);
    ck_assert_int_eq(l.counts.key[3].n, 2);
    ck_assert_int_eq(l.counts.other_keys, 30 - REPORT_KEYS + 1);
    report_list_free(&l);
    l = parse("[{'id':1,'report':'','0123456789012345678901234567890123456789a':0,'"
              "012345678901234567890123456789012345678':0}]");
    ck_assert(l.counts.n_keys == 1 && l.counts.key[0].n == 2 && strlen(l.counts.key[0].name) == 39);
    report_list_free(&l);
}
END_TEST

START_TEST(texts_without_a_word)
{
    ck_assert(report_empty("") &&
              report_empty(" \t\r\n\x1c\xc2\x85\xc2\xa0\xe1\x9a\x80\xe2\x80\x83\xe3\x80\x80"));
    ck_assert(!report_empty(" \u200b") && !report_empty("。") && !report_empty("\xff") && !report_empty(" a"));
    ReportList l = parse("[{'id':1,'report':' \\u3000\\n'},{'id':2,'report':'。'},{'id':3,'report':''}]");
    ck_assert_int_eq(l.counts.empty, 2);
    report_list_free(&l);
}
END_TEST

START_TEST(malformed)
{
    for (size_t i = 0; i < sizeof bad_reports / sizeof *bad_reports; i++) {
        Error e = {0};
        ReportList l;
        char *json = quoted(bad_reports[i].text), expected[300];
        snprintf(expected, sizeof expected, "bad.json: %s", bad_reports[i].message);
        bool ok = report_list_parse(json, strlen(json), "bad.json", &l, &e);
        ck_assert_msg(!ok && e.code == ERROR_INPUT, "case %zu: %s", i, bad_reports[i].text);
        ck_assert_msg(!strncmp(e.msg, expected, strlen(expected)), "case %zu: %s\nfound    %s\nexpected %s", i,
                      bad_reports[i].text, e.msg, expected);
        ck_assert(!strchr(e.msg, '\n') && !l.n && !l.id && !l.text && !l.by_id && !l.place);
        free(json);
    }
    char deep[200] = "[{\"id\":1,\"report\":\"\",\"x\":";
    memset(deep + strlen(deep), '[', 80);
    Error e = {0};
    ReportList l;
    ck_assert(!report_list_parse(deep, strlen(deep), "deep", &l, &e) && strstr(e.msg, "deeper than 64 levels"));
    ck_assert(!report_list_read("/no/such/file.json", &l, &e) && e.code == ERROR_IO &&
              strstr(e.msg, "/no/such/file.json"));
}
END_TEST

/* No beginning of a file is another file, but that lines may be missing. */
START_TEST(every_beginning)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char *json = quoted(forms[i]);
        size_t n = strlen(json), whole = n;
        while (strchr(" \r\n", json[whole - 1])) whole--;
        for (size_t k = 0; k < n; k++) {
            Error e = {0};
            ReportList l;
            char *part = malloc(k + 1); /* no byte behind it may be looked at */
            memcpy(part, json, k);
            bool ok = report_list_parse(part, k, "part", &l, &e);
            if (ok) {
                ck_assert_msg(k >= whole || (l.lines && l.n == 1), "form %zu, %zu bytes", i, k);
                report_list_free(&l);
            } else {
                ck_assert(e.code == ERROR_INPUT && !strncmp(e.msg, "part", 4));
            }
            free(part);
        }
        free(json);
    }
}
END_TEST

static const char *failing_text;
static bool attempt(Error *e)
{
    ReportList l;
    if (!report_list_parse(failing_text, strlen(failing_text), "list", &l, e)) return false;
    report_list_free(&l);
    return true;
}

START_TEST(allocations)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char *json = quoted(forms[i]);
        failing_text = json;
        ck_assert_int_gt(fail_each(attempt), 10);
        free(json);
    }
}
END_TEST

/* Many reports in one line, from a file. */
START_TEST(many)
{
    enum { N = 20000 };
    char path[] = "/tmp/test_report_list_XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    for (int i = 0; i < N; i++)
        fprintf(f, "%s{\"id\":%d,\"findings\":\"%d\"}", i ? "," : "[", (i * 7919) % N, i);
    fputs("]", f);
    ck_assert(!fclose(f));
    Error e = {0};
    ReportList l;
    ck_assert_msg(report_list_read(path, &l, &e), "%s", e.msg);
    ck_assert(l.n == N && !l.lines);
    for (int i = 0; i < N; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", (i * 7919) % N);
        ck_assert_int_eq(report_list_find(&l, id), i);
    }
    report_list_free(&l);
    unlink(path);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("report_list");
    TCase *t = tcase_create("report_list");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, all_forms);
    tcase_add_test(t, ignored_keys);
    tcase_add_test(t, texts_without_a_word);
    tcase_add_test(t, malformed);
    tcase_add_test(t, every_beginning);
    tcase_add_test(t, allocations);
    tcase_add_test(t, many);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
