/* jieba's files: a small sound folder, and files that are not what they should be. */
#include "tensor/utf8.h"
#include "tokenizer/jieba_parts.h"
#include "tokenizer/python_literal.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"
#include "tests/tokenizer/jieba_bad.h"
#include "tests/tokenizer/jieba_small.h"

static char folder[] = "/tmp/test-jieba-XXXXXX", user[64];

/* Words with | between them. */
static void cuts(const Jieba *j, bool hmm, const char *text, const char *expect)
{
    char got[256] = "";
    Error e = {0};
    const uint32_t *ends;
    int n;
    JiebaCutter *x = jieba_cutter_open(j, hmm, &e);
    ck_assert_msg(x && jieba_cut(x, text, strlen(text), &ends, &n, &e), "%s", e.msg);
    for (int i = 0; i < n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), i ? "|%.*s" : "%.*s",
                 (int)(ends[i] - (i ? ends[i - 1] : 0)), text + (i ? ends[i - 1] : 0));
    ck_assert_str_eq(got, expect);
    jieba_cutter_close(x);
}

static Jieba *open_sound(void)
{
    Error e = {0};
    Jieba *j = jieba_open(folder, &e);
    ck_assert_msg(j != NULL, "%s", e.msg);
    return j;
}

static void add_words(Jieba *j, const char *text)
{
    Error e = {0};
    small_put(folder, "user.txt", text, strlen(text));
    ck_assert_msg(jieba_add_words(j, user, &e), "%s", e.msg);
}

static int64_t frequency(const Jieba *j, const char *word)
{
    int32_t c[16], node;
    size_t n = 0;
    for (size_t at = 0; word[at]; n++) at += (size_t)utf8_next(word + at, strlen(word) - at, &c[n]);
    node = jieba_find(j, c, n);
    return node < 0 ? -1 : j->node[node].frequency;
}

/* Expectations are the reference's with the same dictionary and tables. */
START_TEST(small_folder)
{
    Jieba *j = open_sound();
    ck_assert_int_eq(j->total, 16);
    cuts(j, false, "甲乙丙", "甲乙|丙"); /* exactly as probable as 甲|乙: the longer first word */
    cuts(j, true, "甲乙丙", "甲乙|丙");
    cuts(j, true, "丁丂", "丁丂"); /* begin, end */
    cuts(j, false, "丁丂", "丁|丂");
    cuts(j, true, "七丁丂丂七", "七|丁丂丂|七");
    cuts(j, true, "ab1丙3.5%-", "ab1|丙|3.5%|-");
    cuts(j, false, "ab1丙3.5%-", "ab1|丙|3|.|5|%|-");
    cuts(j, true, "a\r\nb\r \n", "a|\r\n|b|\r| |\n");
    cuts(j, true, "", "");
    ck_assert_int_eq(frequency(j, "甲乙"), 1);
    ck_assert_int_eq(frequency(j, "丁"), -1);
    jieba_close(j);
}
END_TEST

START_TEST(user_words)
{
    Jieba *j = open_sound();
    add_words(j, "\xef\xbb\xbf乙丙 5 n\r\n\n \n丁 丂 3\nx y\n丁丂 0\nA1 2 nz\n甲 9\n丙甲乙\n七 1 2 x\n");
    ck_assert_int_eq(frequency(j, "乙丙"), 5);
    ck_assert_int_eq(frequency(j, "丁 丂"), 3); /* a space inside */
    ck_assert_int_eq(frequency(j, "丁 "), 0);
    ck_assert_int_eq(frequency(j, "x"), 2); /* y is its tag */
    ck_assert_int_eq(frequency(j, "x y"), -1);
    ck_assert_int_eq(frequency(j, "A1"), 2);
    ck_assert_int_eq(frequency(j, "甲"), 9);
    ck_assert_int_eq(frequency(j, "七 1"), 2);
    /* 丙 and 甲乙 together: 7/37 * 1/37 of 37, less than 1, and one more */
    ck_assert_int_eq(frequency(j, "丙甲乙"), 1);
    ck_assert_int_eq(j->total, 16 + 5 + 3 + 2 + 0 + 2 + 9 + 1 + 2);
    cuts(j, true, "丁丂", "丁|丂"); /* forbidden */
    cuts(j, true, "乙丙", "乙丙");
    cuts(j, true, "七丁丂丂七", "七|丁丂丂|七");
    jieba_close(j);
}
END_TEST

static void refused(const char *name, const BadJieba *bad, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (size_t i = 0; i < n; i++) {
        Error e = {0};
        size_t length = strlen(path);
        bool words = !strcmp(name, "user.txt");
        small_put(folder, name, bad[i].text, bad[i].n);
        Jieba *j = jieba_open(folder, &e);
        ck_assert_msg(!j == !words, "%s %zu: %s", name, i, j ? "accepted" : e.msg);
        ck_assert_msg(!words || !jieba_add_words(j, path, &e), "%s %zu: accepted", name, i);
        ck_assert_msg(e.code == ERROR_INPUT && !strncmp(e.msg, path, length) &&
                          !strcmp(e.msg + length, bad[i].message),
                      "%s %zu: expected '%s', found '%s'", name, i, bad[i].message, e.msg);
        jieba_close(j);
    }
    for (int f = 0; f < SMALL_FILES; f++)
        if (!strcmp(name, small_name[f])) small_put(folder, name, small_text[f], strlen(small_text[f]));
}

#define REFUSED(name, bad) refused(name, bad, sizeof(bad) / sizeof *(bad))

START_TEST(malformed_files)
{
    REFUSED("dict.txt", bad_dict);
    REFUSED("user.txt", bad_user);
    REFUSED("finalseg/prob_start.py", bad_start);
    REFUSED("finalseg/prob_trans.py", bad_trans);
    REFUSED("finalseg/prob_emit.py", bad_emit);
    REFUSED("finalseg/prob_start.py", bad_source);
}
END_TEST

START_TEST(missing_files)
{
    for (int f = 0; f < SMALL_FILES; f++) {
        char path[128];
        Error e = {0};
        snprintf(path, sizeof path, "%s/%s", folder, small_name[f]);
        unlink(path);
        ck_assert_ptr_null(jieba_open(folder, &e));
        ck_assert_msg(e.code == ERROR_IO && strstr(e.msg, small_name[f]), "%s", e.msg);
        small_put(folder, small_name[f], small_text[f], strlen(small_text[f]));
    }
}
END_TEST

/* Frequencies that each pass, but not their sum. */
START_TEST(sums)
{
    char *text = malloc(5000 * 32), *end = text, path[128];
    Error e = {0};
    for (int i = 0; i < 5000; i++) end += sprintf(end, "w%d 1099511627776\n", i);
    small_put(folder, "dict.txt", text, (size_t)(end - text));
    free(text);
    snprintf(path, sizeof path, "%s/dict.txt: line 4097: the frequencies' sum is above 4503599627370496",
             folder);
    ck_assert_ptr_null(jieba_open(folder, &e));
    ck_assert_str_eq(e.msg, path);
    small_put(folder, "dict.txt", SMALL_DICT, sizeof SMALL_DICT - 1);
}
END_TEST

/* One byte more than a word may have, in the one dictionary and the other, with a frequency and without. */
START_TEST(long_words)
{
    char text[1100], path[128], expected[200];
    static const char *const ends[] = {" 5\n", "\n"};
    memset(text, 'a', sizeof text);
    for (size_t n = 1024; n < 1026; n++)
        for (int k = 0; k < 3; k++) {
            Error e = {0};
            const char *name = k ? "user.txt" : "dict.txt", *end = ends[k == 2];
            memcpy(text + n, end, strlen(end));
            small_put(folder, name, text, n + strlen(end));
            snprintf(path, sizeof path, "%s/%s", folder, name);
            Jieba *j = jieba_open(folder, &e);
            bool ok = j && (!k || jieba_add_words(j, path, &e));
            jieba_close(j);
            ck_assert_msg(ok == (n == 1024), "%s: %s", name, e.msg);
            snprintf(expected, sizeof expected, "%s: line 1: a word of 1025 bytes, expected at most 1024",
                     path);
            if (!ok) ck_assert_str_eq(e.msg, expected);
            small_put(folder, "dict.txt", SMALL_DICT, sizeof SMALL_DICT - 1);
            memset(text, 'a', sizeof text);
        }
}
END_TEST

/* Cut off anywhere a table is refused until its last brace, a dictionary wherever a line is no entry. */
START_TEST(every_prefix)
{
    for (int f = 0; f < SMALL_FILES; f++) {
        size_t whole = strlen(small_text[f]) - 1; /* without the last line end */
        for (size_t n = 0; n <= whole + 1; n++) {
            Error e = {0};
            small_put(folder, small_name[f], small_text[f], n);
            Jieba *j = jieba_open(folder, &e);
            if (j ? f && n < whole : n >= whole || e.code != ERROR_INPUT)
                ck_abort_msg("%zu bytes of %s: %s", n, small_name[f], j ? "accepted" : e.msg);
            jieba_close(j);
        }
    }
}
END_TEST

typedef struct Seen {
    char text[512];
} Seen;

static bool see(void *into, const PythonItem *item, Error *e)
{
    Seen *s = into;
    (void)e;
    snprintf(s->text + strlen(s->text), sizeof s->text - strlen(s->text), "%s.%s=%.17g;",
             item->outer ? item->outer : "", item->key, item->value);
    return true;
}

START_TEST(literals)
{
    static const char source[] =
        "# -*- coding: utf-8 -*-\nfrom __future__ import unicode_literals\n\n"
        "Name_a = { # one\n 'a': 1, \"b'\" : -2.5e-3 ,\n'c':{'\\u4e00':+0.1,'\\x41\\\\\\'\\n':1e2,},"
        "'\\U0001f600': {}, 'd' :{\"\\t\":7}\t}\r\n # end";
    char path[128];
    Seen s = {""};
    Error e = {0};
    small_put(folder, "user.txt", source, sizeof source - 1);
    snprintf(path, sizeof path, "%s/user.txt", folder);
    ck_assert_msg(python_literal_read(path, see, &s, &e), "%s", e.msg);
    ck_assert_str_eq(s.text, ".a=1;.b'=-0.0025000000000000001;c.一=0.10000000000000001;c.A\\'\n=100;d.\t=7;");
}
END_TEST

static bool open_and_cut(Error *e)
{
    static const char text[] = "甲乙丙丁丂,ab 七甲乙丙丁丂,ab 七甲乙丙丁丂";
    const uint32_t *ends;
    int n;
    Jieba *j = jieba_open(folder, e);
    if (!j) return false;
    JiebaCutter *x = jieba_add_words(j, user, e) ? jieba_cutter_open(j, true, e) : NULL;
    bool ok = x && jieba_cut(x, text, sizeof text - 1, &ends, &n, e);
    jieba_cutter_close(x);
    jieba_close(j);
    return ok;
}

START_TEST(out_of_memory)
{
    small_put(folder, "user.txt", "乙丙丁\n", strlen("乙丙丁\n"));
    ck_assert_int_ge(fail_each(open_and_cut), 15);
}
END_TEST

static void make_files(void)
{
    small_make(folder);
    snprintf(user, sizeof user, "%s/user.txt", folder);
}

static void remove_files(void)
{
    unlink(user);
    small_remove(folder);
}

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    const TTest *const tests[] = {small_folder, user_words,   malformed_files, missing_files, sums,
                                  long_words,   every_prefix, literals,        out_of_memory};
    Suite *suite = suite_create("jieba_files");
    TCase *t = tcase_create("jieba_files");
    tcase_set_timeout(t, 0);
    tcase_add_unchecked_fixture(t, make_files, remove_files);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) tcase_add_test(t, tests[i]);
    suite_add_tcase(suite, t);
    SRunner *sr = srunner_create(suite);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
