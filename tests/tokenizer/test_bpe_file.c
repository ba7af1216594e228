/* tokenizer.json and tokenizer.model: what they hold, and files that are not what they should be. */
#include "data/file.h"
#include "tokenizer/bpe_tables.h"
#include "tokenizer/bpe_train.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"
#include "tests/tokenizer/bpe_bad.h"

static char folder[] = "/tmp/test_bpe_XXXXXX", json[64], model[64], bad[64];
static char *good[2]; /* the sound files */
static size_t length[2];

/* Not crash-safe: thousands are written. */
static void put(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "w");
    if (!f || fwrite(text, 1, n, f) != n || fclose(f)) ck_abort_msg("%s: not written", path);
}

static void refused(const char *message, size_t i)
{
    Error e = {0};
    size_t n = strlen(bad);
    Bpe *b = bpe_open(bad, &e);
    ck_assert_msg(!b, "file %zu was accepted", i);
    size_t said = strlen(e.msg), want = strlen(message);
    bool same = said >= n && (message[want - 1] == '*' ? !strncmp(e.msg + n, message, want - 1)
                                                       : !strcmp(e.msg + n, message));
    ck_assert_msg(e.code == ERROR_INPUT && !strncmp(e.msg, bad, n) && same,
                  "file %zu: expected '%s', found '%s'", i, message, e.msg);
}

START_TEST(malformed_json)
{
    for (size_t i = 0; i < sizeof bad_json / sizeof *bad_json; i++) {
        const char *from = bad_json[i].from, *to = bad_json[i].to, *at = strstr(good[0], from);
        ck_assert_msg(at != NULL, "edit %zu: '%s' is not in the file", i, from);
        size_t head = (size_t)(at - good[0]), cut = strlen(from), n = strlen(to);
        char *text = malloc(length[0] + n + 1);
        memcpy(text, good[0], head);
        memcpy(text + head, to, n);
        memcpy(text + head + n, at + cut, length[0] - head - cut);
        put(bad, text, length[0] + n - cut);
        free(text);
        refused(bad_json[i].message, i);
    }
}
END_TEST

START_TEST(malformed_ranks)
{
    for (size_t i = 0; i < sizeof bad_ranks / sizeof *bad_ranks; i++) {
        const BadRanks *x = &bad_ranks[i];
        const char *from = good[1], *to = good[1];
        for (int k = 1; k < x->line; k++) from = strchr(from, '\n') + 1;
        to = x->line ? strchr(from, '\n') + 1 : good[1] + length[1];
        size_t head = (size_t)(from - good[1]), tail = length[1] - (size_t)(to - good[1]);
        char *text = malloc(length[1] + x->n + 1);
        memcpy(text, good[1], head);
        memcpy(text + head, x->text, x->n);
        memcpy(text + head + x->n, to, tail);
        put(bad, text, head + x->n + tail);
        free(text);
        refused(x->message, i);
    }
}
END_TEST

/* Files of other models, known by how many ranks they have. */
START_TEST(other_models)
{
    static const struct {
        size_t ranks;
        const char *message;
    } others[] = {{50256, ": 50256 ranks are GPT-2's; expected LLaMA-3's"},
                  {100256, ": 100256 ranks are GPT-4's; expected LLaMA-3's"},
                  {128001, ": 128001 ranks; expected LLaMA-3's, at most 128000"},
                  {200000, ": 200000 ranks; expected LLaMA-3's, at most 128000"}};
    char *text = malloc(200001);
    memset(text, '\n', 200001);
    text[0] = 'A';
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        put(bad, text, others[i].ranks + 1);
        refused(others[i].message, i);
    }
    free(text);
    ck_assert_int_eq(truncate(bad, (8 << 20) + 1), 0);
    refused(": 8388609 bytes, more than the limit of 8388608", 9);
}
END_TEST

START_TEST(sound_ranks)
{
    Error e = {0};
    Bpe *b = bpe_open(model, &e);
    ck_assert_msg(b != NULL, "%s", e.msg);
    ck_assert_int_eq(bpe_vocab_size(b), 258 + 256);
    ck_assert_int_eq(bpe_special(b, "<|begin_of_text|>"), 258);
    ck_assert_int_eq(bpe_special(b, "<|eot_id|>"), 258 + 9);
    ck_assert_int_eq(bpe_special(b, "<|reserved_special_token_250|>"), 258 + 255);
    /* abc = ab + c; a + bc is none, bc being no token */
    ck_assert(bpe_find_merge(b, 256, 'c')->id == 257 && bpe_find_merge(b, 'a', 'b')->id == 256);
    ck_assert_int_lt(bpe_find_merge(b, 'b', 'c')->rank, 0);
    int32_t *ids;
    int n;
    ck_assert(bpe_encode(b, "abc xabcab<|eot_id|>", 20, true, &ids, &n, &e));
    static const int32_t expect[] = {257, ' ', 'x', 257, 256, 267};
    ck_assert_int_eq(n, 6);
    ck_assert_mem_eq(ids, expect, sizeof expect);
    free(ids);
    bpe_close(b);
    /* a last line without its end, and lines in any order */
    size_t n_last = strlen("YWJj 257\n");
    char *text = malloc(length[1] + 1);
    memcpy(text, good[1] + length[1] - n_last, n_last);
    memcpy(text + n_last, good[1], length[1] - n_last - 1);
    put(bad, text, length[1] - 1);
    free(text);
    b = bpe_open(bad, &e);
    ck_assert_msg(b && bpe_vocab_size(b) == 258 + 256, "%s", e.msg);
    bpe_close(b);
    ck_assert_ptr_null(bpe_open("/tmp/test_bpe_absent", &e));
    ck_assert_int_eq(e.code, ERROR_IO);
    ck_assert_str_eq(e.msg, "/tmp/test_bpe_absent: cannot open: No such file or directory");
    ck_assert_ptr_null(bpe_open(folder, &e));
    ck_assert_int_eq(e.code, ERROR_IO);
}
END_TEST

/* Cut off anywhere a file is refused; a tokenizer.model may also end after a line, where its ranks have no
 * hole. */
START_TEST(every_prefix)
{
    for (int f = 0; f < 2; f++)
        for (size_t n = 0; n < length[f]; n++) {
            Error e = {0};
            put(bad, good[f], n);
            Bpe *b = bpe_open(bad, &e);
            if (!b && e.code == ERROR_INPUT) continue;
            size_t last = strlen("YWJj 257\n"), before = strlen("YWI= 256\n");
            bool whole = f ? n + 1 == length[f] || n + last == length[f] || n + last + 1 == length[f] ||
                                 n + last + before == length[f] || n + last + before + 1 == length[f]
                           : good[f][n] == '\n' && n + 1 == length[f];
            if (!whole) ck_abort_msg("%zu bytes of file %d: %s", n, f, b ? "accepted" : e.msg);
            bpe_close(b);
        }
}
END_TEST

static const char *opened;

static bool open_and_encode(Error *e)
{
    static const char text[] = "abcabc 左侧 abab<|eot_id|>";
    int32_t *ids;
    const int32_t *kept;
    int n;
    char *back;
    Bpe *b = bpe_open(opened, e);
    if (!b) return false;
    BpeEncoder *x = bpe_encoder_open(b, e);
    bool ok = x && bpe_encoder_run(x, text, sizeof text - 1, true, &kept, &n, e) &&
              bpe_encode(b, text, sizeof text - 1, true, &ids, &n, e);
    bpe_encoder_close(x);
    if (ok) {
        ok = bpe_decode(b, ids, n, true, &back, NULL, e);
        free(ids);
    }
    if (ok) free(back);
    bpe_close(b);
    return ok;
}

START_TEST(out_of_memory)
{
    opened = model;
    ck_assert_int_ge(fail_each(open_and_encode), 20);
    opened = json;
    ck_assert_int_ge(fail_each(open_and_encode), 100);
}
END_TEST

static void write_ranks(void)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[8192], *end = text;
    for (int i = 0; i < 256; i++) end += sprintf(end, "%c%c== %d\n", digit[i >> 2], digit[(i & 3) << 4], i);
    end = stpcpy(end, "YWI= 256\nYWJj 257\n");
    put(model, text, (size_t)(end - text));
}

static void make_files(void)
{
    Error e = {0};
    snprintf(json, sizeof json, "%s/tokenizer.json", folder);
    snprintf(model, sizeof model, "%s/tokenizer.model", folder);
    snprintf(bad, sizeof bad, "%s/bad", folder);
    ck_assert_msg(bpe_train((const char *const[]){"abab abab"}, 1, 300, json, &e), "%s", e.msg);
    write_ranks();
    for (int f = 0; f < 2; f++)
        ck_assert_msg(file_read(f ? model : json, 1 << 20, (uint8_t **)&good[f], &length[f], &e), "%s", e.msg);
}

static void remove_files(void)
{
    free(good[0]);
    free(good[1]);
    unlink(json);
    unlink(model);
    unlink(bad);
    rmdir(folder);
}

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    const TTest *const tests[] = {malformed_json, malformed_ranks, other_models,
                                  sound_ranks,    every_prefix,    out_of_memory};
    Suite *suite = suite_create("bpe_file");
    TCase *t = tcase_create("bpe_file");
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
