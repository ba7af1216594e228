/* jieba's words against jieba 0.42.1 (tests/golden/make_jieba.py), with the files of Debian's python3-jieba;
 * its files when they are not sound are test_jieba_files'. */
#include "data/file.h"
#include "data/json.h"
#include "data/phantom.h"
#include "data/sha256.h"
#include "tests/golden/strings.h"
#include "tokenizer/jieba.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WAYS = 4 };

static json_t *golden;
static Jieba *plain, *with_user;

static JiebaCutter *cutter_of(size_t way)
{
    Error e = {0};
    const json_t *names = json_array_get(json_object_get(golden, "ways"), way);
    JiebaCutter *x = jieba_cutter_open(json_is_true(json_object_get(names, "user")) ? with_user : plain,
                                       json_is_true(json_object_get(names, "hmm")), &e);
    ck_assert_msg(x != NULL, "%s", e.msg);
    return x;
}

START_TEST(known_sentences)
{
    const json_t *list = json_object_get(golden, "whole");
    ck_assert_uint_ge(json_array_size(list), 20);
    for (size_t way = 0; way < WAYS; way++) {
        JiebaCutter *x = cutter_of(way);
        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *text = json_array_get(json_array_get(list, i), 0),
                         *words = json_array_get(json_array_get(list, i), way + 1);
            const char *s = json_string_value(text);
            const uint32_t *ends;
            int n;
            Error e = {0};
            ck_assert_msg(jieba_cut(x, s, json_string_length(text), &ends, &n, &e), "%s", e.msg);
            for (int k = 0; k < n; k++) {
                uint32_t from = k ? ends[k - 1] : 0;
                const json_t *want = json_array_get(words, (size_t)k);
                if (json_string_length(want) != ends[k] - from ||
                    memcmp(json_string_value(want), s + from, ends[k] - from))
                    ck_abort_msg("way %zu, '%s': word %d is '%.*s', expected '%s'", way, s, k,
                                 (int)(ends[k] - from), s + from, want ? json_string_value(want) : "none");
            }
            ck_assert_uint_eq((size_t)n, json_array_size(words));
        }
        jieba_cutter_close(x);
    }
}
END_TEST

/* Sentence i of the golden's 5,000. */
static size_t make_sentence(uint32_t i, char *out)
{
    uint32_t number[3];
    static const char *const names[] = {"seed", "parts", "phantoms"};
    for (int k = 0; k < 3; k++) number[k] = (uint32_t)json_integer_value(json_object_get(golden, names[k]));
    if (i % 2)
        return string_make(report_rows, sizeof report_rows / sizeof *report_rows, "report", number[0],
                           number[1], i / 2, out);
    static Phantom p;
    PhantomOptions o = phantom_options();
    Error e = {0};
    ck_assert_msg(phantom_text_only(number[2] + i / 2, &o, &p, &e), "%s", e.msg);
    strcpy(out, p.report);
    phantom_free(&p);
    return strlen(out);
}

static void add_words(Sha256 *sum, JiebaCutter *x, const char *text, size_t n)
{
    const uint32_t *ends;
    int count;
    Error e = {0};
    if (!jieba_cut(x, text, n, &ends, &count, &e)) ck_abort_msg("%s", e.msg);
    for (int k = 0; k < count; k++) {
        uint32_t from = k ? ends[k - 1] : 0;
        sha256_add(sum, text + from, ends[k] - from);
        sha256_add(sum, "\x1f", 1);
    }
    sha256_add(sum, "\x1e", 1);
}

START_TEST(report_like_sentences)
{
    static char text[STRING_ROOM];
    const json_t *blocks = json_object_get(golden, "blocks");
    uint32_t block = (uint32_t)json_integer_value(json_object_get(golden, "block"));
    ck_assert_uint_eq(json_array_size(blocks) * block, 5000);
    JiebaCutter *x[WAYS];
    for (size_t way = 0; way < WAYS; way++) x[way] = cutter_of(way);
    for (uint32_t b = 0; b < json_array_size(blocks); b++) {
        Sha256 sum[1 + WAYS];
        for (int k = 0; k <= WAYS; k++) sha256_open(&sum[k]);
        for (uint32_t i = b * block; i < (b + 1) * block; i++) {
            size_t n = make_sentence(i, text);
            sha256_add(&sum[0], text, n + 1);
            for (int way = 0; way < WAYS; way++) add_words(&sum[1 + way], x[way], text, n);
        }
        for (size_t k = 0; k <= WAYS; k++) {
            char hex[65];
            sha256_close(&sum[k], hex);
            const char *want = json_string_value(json_array_get(json_array_get(blocks, b), k));
            ck_assert_msg(want && !strcmp(hex, want), "sentences %u to %u: their %s differ, way %zu", b * block,
                          (b + 1) * block - 1, k ? "words" : "bytes", k - 1);
        }
    }
    for (int way = 0; way < WAYS; way++) jieba_cutter_close(x[way]);
}
END_TEST

/* Words are the text, whatever it is; what is no UTF-8 is named. */
START_TEST(any_text)
{
    Error e = {0};
    const uint32_t *ends;
    int n;
    for (int hmm = 0; hmm < 2; hmm++) {
        JiebaCutter *x = jieba_cutter_open(plain, hmm, &e);
        for (uint32_t i = 0; i < 2000; i++) {
            static char text[STRING_ROOM];
            size_t length =
                string_make(latin_rows, sizeof latin_rows / sizeof *latin_rows, "any", 1, 40, i, text);
            if (!jieba_cut(x, text, length, &ends, &n, &e)) ck_abort_msg("%s", e.msg);
            for (int k = 0; k < n; k++)
                if (ends[k] <= (k ? ends[k - 1] : 0)) ck_abort_msg("text %u: word %d is empty", i, k);
            ck_assert_uint_eq(n ? ends[n - 1] : 0, length);
        }
        ck_assert(!jieba_cut(x, "左\xe5\xb7x", 6, &ends, &n, &e));
        ck_assert_str_eq(e.msg, "text to cut: byte 3 (0xE5) is not UTF-8");
        ck_assert_int_eq(e.code, ERROR_INPUT);
        ck_assert(jieba_cut(x, "a\0左", 5, &ends, &n, &e) && n == 3);
        jieba_cutter_close(x);
    }
    jieba_cutter_close(NULL);
    jieba_close(NULL);
}
END_TEST

static bool open_both(const char *folder, Error *e)
{
    char path[] = "/tmp/test-jieba-XXXXXX";
    const char *user = json_string_value(json_object_get(golden, "user"));
    plain = jieba_open(folder, e);
    with_user = plain ? jieba_open(folder, e) : NULL;
    if (!with_user) return false;
    close(mkstemp(path));
    bool ok = file_write(path, user, strlen(user), e) && jieba_add_words(with_user, path, e);
    unlink(path);
    return ok;
}

int main(void)
{
    Error e = {0};
    const char *given = getenv("PCRL_JIEBA"), *folder = given ? given : JIEBA_FOLDER;
    char path[4096];
    snprintf(path, sizeof path, "%s/dict.txt", folder);
    if (!given && access(path, F_OK)) {
        printf("SKIPPED: jieba's words: no %s (apt-get install python3-jieba, or PCRL_JIEBA=FOLDER)\n", path);
        return EXIT_SUCCESS;
    }
    golden = json_read("tests/golden/jieba.json", &e);
    if (!golden || !open_both(folder, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        return EXIT_FAILURE;
    }
    const TTest *const tests[] = {known_sentences, report_like_sentences, any_text};
    Suite *suite = suite_create("jieba");
    TCase *t = tcase_create("jieba");
    tcase_set_timeout(t, 0);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) tcase_add_test(t, tests[i]);
    suite_add_tcase(suite, t);
    SRunner *sr = srunner_create(suite);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    jieba_close(plain);
    jieba_close(with_user);
    json_decref(golden);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
