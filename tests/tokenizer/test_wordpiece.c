/* WordPiece against transformers' BertTokenizer and BertTokenizerFast (tests/golden/make_wordpiece.py); what
 * their strings cannot hold; vocabularies that are not sound. */
#include "data/file.h"
#include "data/json.h"
#include "tokenizer/wordpiece.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"
#include "tests/tokenizer/wordpiece_bad.h"

static char path[64];

static void write_vocabulary(const json_t *list)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    for (size_t i = 0; i < json_array_size(list); i++)
        fprintf(f, "%s\n", json_string_value(json_array_get(list, i)));
    fclose(f);
    Error e = {0};
    ck_assert_msg(file_write(path, text, n, &e), "%s", e.msg);
    free(text);
}

/* The golden's vocabulary. */
static json_t *open_golden(Wordpiece *w)
{
    Error e = {0};
    json_t *root = json_read("tests/golden/wordpiece.json", &e);
    ck_assert_msg(root != NULL, "%s", e.msg);
    write_vocabulary(json_object_get(root, "vocab"));
    ck_assert_msg(wordpiece_open(w, path, &e), "%s", e.msg);
    return root;
}

static void check_ids(const Wordpiece *w, const char *text, size_t n, int most, const json_t *expect)
{
    Error e = {0};
    int32_t *ids;
    int k;
    ck_assert_msg(wordpiece_encode(w, text, n, most, &ids, &k, &e), "'%s': %s", text, e.msg);
    ck_assert_msg((size_t)k == json_array_size(expect), "'%s': %d ids, expected %zu", text, k,
                  json_array_size(expect));
    for (int i = 0; i < k; i++) {
        int32_t want = (int32_t)json_integer_value(json_array_get(expect, (size_t)i));
        ck_assert_msg(ids[i] == want, "'%s': id %d is %d, expected %d", text, i, ids[i], want);
    }
    free(ids);
}

START_TEST(goldens)
{
    Wordpiece w;
    json_t *root = open_golden(&w), *cases = json_object_get(root, "cases");
    ck_assert_uint_eq(json_array_size(json_object_get(root, "vocab")), (size_t)w.n);
    ck_assert_uint_ge(json_array_size(cases), 400);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *text = json_array_get(json_array_get(cases, i), 0);
        check_ids(&w, json_string_value(text), json_string_length(text), 77,
                  json_array_get(json_array_get(cases, i), 1));
    }
    json_decref(root);
    wordpiece_close(&w);
}
END_TEST

static void same_ids(const Wordpiece *w, const char *a, size_t n, const char *b, int most)
{
    Error e = {0};
    int32_t *ids[2];
    int k[2];
    ck_assert(wordpiece_encode(w, a, n, most, &ids[0], &k[0], &e));
    ck_assert(wordpiece_encode(w, b, strlen(b), most, &ids[1], &k[1], &e));
    ck_assert_int_eq(k[0], k[1]);
    ck_assert_mem_eq(ids[0], ids[1], (size_t)k[0] * sizeof **ids);
    free(ids[0]);
    free(ids[1]);
}

/* NUL is a control character like others; names of special tokens are text; any length is cut to. */
START_TEST(edges)
{
    Wordpiece w;
    Error e = {0};
    int32_t *ids;
    int k;
    json_decref(open_golden(&w));
    same_ids(&w, "un\0able", 7, "unable", 77);
    same_ids(&w, "[CLS]", 5, "[ cls ]", 77);
    same_ids(&w, "the brain is low", 16, "the brain", 4);
    same_ids(&w, "infarction", 10, "infarct", 3); /* cut inside a word */
    ck_assert(wordpiece_encode(&w, "the brain", 9, 2, &ids, &k, &e));
    ck_assert_int_eq(k, 2);
    ck_assert(ids[0] == w.cls && ids[1] == w.sep);
    free(ids);
    ck_assert(!wordpiece_encode(&w, "the \xffrain", 9, 77, &ids, &k, &e));
    ck_assert_str_eq(e.msg, "text: byte 4 is not UTF-8");
    ck_assert_int_eq(e.code, ERROR_INPUT);
    ck_assert_int_eq(wordpiece_id(&w, "##ing", 5), wordpiece_id(&w, "##ing!", 5));
    ck_assert_int_eq(wordpiece_id(&w, "[MASK]", 6), w.masked);
    ck_assert_int_eq(wordpiece_id(&w, "nowhere", 7), -1);
    ck_assert_int_eq(wordpiece_id(&w, "the\0", 4), -1);
    wordpiece_close(&w);
}
END_TEST

/* A vocabulary with the five, then `more`; line ends as Windows has them, or none at the end, change nothing.
 */
static void write_file(const char *more, size_t n)
{
    char text[256] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    size_t at = strlen(text);
    Error e = {0};
    memcpy(text + at, more, n);
    ck_assert(file_write(path, text, at + n, &e));
}

START_TEST(decodes)
{
    static const int32_t ids[] = {2, 5, 6, 4, 7, 8, 0, 1, 9, 3};
    Wordpiece w;
    Error e = {0};
    char *text;
    write_file("un\n##able\nleft\n##\n##s\n", 22);
    ck_assert_msg(wordpiece_open(&w, path, &e), "%s", e.msg);
    ck_assert(wordpiece_decode(&w, ids, 10, false, &text, &e));
    ck_assert_str_eq(text, "unable left ##s"); /* "##" alone is a token of its own, to which s joins */
    free(text);
    ck_assert(wordpiece_decode(&w, ids, 10, true, &text, &e));
    ck_assert_str_eq(text, "[CLS] unable [MASK] left ## [PAD] [UNK]s [SEP]");
    free(text);
    ck_assert(wordpiece_decode(&w, ids, 0, true, &text, &e));
    ck_assert_str_eq(text, "");
    free(text);
    ck_assert(wordpiece_decode(&w, (const int32_t[]){6, 5}, 2, true, &text, &e)); /* nothing to join to */
    ck_assert_str_eq(text, "##able un");
    free(text);
    ck_assert(!wordpiece_decode(&w, (const int32_t[]){5, 10}, 2, true, &text, &e));
    ck_assert_str_eq(e.msg, "ids to decode: number 1 is 10, expected 0..9");
    wordpiece_close(&w);
}
END_TEST

START_TEST(words_alone)
{
    static const char text[] = "Left-sided (CT) 左侧Áb\u00ad.",
                      expect[] = "left\0-\0sided\0(\0ct\0)\0左\0侧\0ab\0.";
    char *words;
    int n;
    Error e = {0};
    ck_assert(wordpiece_words(text, sizeof text - 1, &words, &n, &e));
    ck_assert_int_eq(n, 10);
    ck_assert_mem_eq(words, expect, sizeof expect);
    free(words);
}
END_TEST

START_TEST(vocabularies)
{
    Wordpiece w;
    Error e = {0};
    write_file("the\r\n##ing \t\n左", 16);
    ck_assert_msg(wordpiece_open(&w, path, &e), "%s", e.msg);
    ck_assert_int_eq(w.n, 8);
    ck_assert_int_eq(wordpiece_id(&w, "the", 3), 5);
    ck_assert_int_eq(wordpiece_id(&w, "##ing", 5), 6);
    ck_assert_int_eq(wordpiece_id(&w, "左", 3), 7);
    wordpiece_close(&w);
    for (size_t i = 0; i < sizeof bad_vocabularies / sizeof *bad_vocabularies; i++) {
        const BadVocabulary *bad = &bad_vocabularies[i];
        size_t length = strlen(path);
        e = (Error){0};
        ck_assert(file_write(path, bad->text, bad->n, &e));
        ck_assert_msg(!wordpiece_open(&w, path, &e), "file %zu was accepted", i);
        ck_assert_msg(e.code == ERROR_INPUT && !strncmp(e.msg, path, length) &&
                          !strcmp(e.msg + length, bad->message),
                      "file %zu: %s", i, e.msg);
    }
    unlink(path);
    ck_assert(!wordpiece_open(&w, path, &e));
    ck_assert_int_eq(e.code, ERROR_IO);
}
END_TEST

/* Larger than any vocabulary: refused before memory is taken for it. */
START_TEST(too_large)
{
    Wordpiece w;
    Error e = {0};
    enum { LINES = (1 << 22) + 1 };
    char *text = malloc(2 * LINES);
    for (int i = 0; i < 2 * LINES; i++) text[i] = i % 2 ? '\n' : 'a';
    ck_assert(file_write(path, text, 2 * LINES, &e));
    free(text);
    ck_assert(!wordpiece_open(&w, path, &e));
    ck_assert_msg(strstr(e.msg, ": 4194305 lines, expected at most 4194304"), "%s", e.msg);
    ck_assert_int_eq(truncate(path, (64 << 20) + 1), 0);
    ck_assert(!wordpiece_open(&w, path, &e));
    ck_assert_msg(strstr(e.msg, ": 67108865 bytes, more than the limit of 67108864"), "%s", e.msg);
}
END_TEST

/* Cut off anywhere a vocabulary is the lines up to there, or refused. */
START_TEST(every_prefix)
{
    static const char text[] = FIVE "left\n##s\n左\n##侧";
    for (size_t n = 0; n < sizeof text; n++) {
        Wordpiece w;
        Error e = {0};
        ck_assert(file_write(path, text, n, &e));
        if (!wordpiece_open(&w, path, &e)) {
            ck_assert_int_eq(e.code, ERROR_INPUT);
            continue;
        }
        ck_assert_uint_ge(n, 30);
        ck_assert_int_ge(w.n, 5);
        wordpiece_close(&w);
    }
}
END_TEST

static bool open_and_encode(Error *e)
{
    static const char text[] =
        "a left brain, 左侧 and more words than at first there is room for, many times over";
    Wordpiece w;
    int32_t *ids;
    int n;
    if (!wordpiece_open(&w, path, e)) return false;
    bool ok = wordpiece_encode(&w, text, sizeof text - 1, 77, &ids, &n, e);
    if (ok) free(ids);
    wordpiece_close(&w);
    return ok;
}

START_TEST(out_of_memory)
{
    write_file("a\nleft\n", 7);
    ck_assert_int_ge(fail_each(open_and_encode), 5);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {goldens,      edges,     decodes,      words_alone,
                                  vocabularies, too_large, every_prefix, out_of_memory};
    snprintf(path, sizeof path, "/tmp/test-wordpiece-%ld.txt", (long)getpid());
    Suite *s = suite_create("wordpiece");
    TCase *c = tcase_create("wordpiece");
    tcase_set_timeout(c, 0);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) tcase_add_test(c, tests[i]);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    unlink(path);
    return failed != 0;
}
