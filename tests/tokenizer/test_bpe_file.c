/* tokenizer.json files that are not what they should be: one line naming the file and the offender. */
#include "data/file.h"
#include "tokenizer/bpe.h"
#include "tokenizer/bpe_train.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/test_bpe_XXXXXX";

static char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* One edit of the good file each (first occurrence), and what the message must say. */
START_TEST(malformed_files)
{
    static const struct {
        const char *from, *to, *message;
    } edit[] = {
        {"\"BPE\"", "\"Unigram\"", "model.type: expected BPE, found Unigram"},
        {"\"model\"", "\"modle\"", "model"},
        {"\"Isolated\"", "\"Removed\"", "Split must be Isolated"},
        {"\"Split\"", "\"Digits\"", "expected a Split first, found Digits"},
        {"\"use_regex\": false", "\"use_regex\": true", "expected ByteLevel"},
        {"\"normalizer\": null", "\"normalizer\": {}", "normalizer"},
        {"\"dropout\": null", "\"dropout\": 0.1", "model.dropout is set"},
        {"\"byte_fallback\": false", "\"byte_fallback\": true", "model.byte_fallback is set"},
        {"\"A\": 65", "\"A\": 66", "have the same id 66"},
        {"\"A\": 65", "\"A\": 9999", "vocab entry 'A': expected an id in 0.."},
        {"\"A\": 65", "\"A\": \"x\"", "vocab entry 'A': expected an id in 0.."},
        {"\"A\": 65", "\"AA\": 65", "no token for the single byte 0x41"},
        {"\"A\": 65", "\"左\": 65", "is not written in the byte-level alphabet"},
        {"<|eot_id|>", "<|end_of_text|>", "added token '<|end_of_text|>' is listed twice"},
        {"\"a b\"", "\"a bb\"", "merge 0: expected two tokens of the vocabulary that make a third"},
        {"\"a b\"", "\"ab\"", "merge 0"},
        {"\"a b\"", "[\"a\"]", "merge 0"},
        {"\"content\": \"<|eot_id|>\"", "\"content\": \"\"", "is empty"},
        {"\\\\p{L}", "\\\\p{Q}", "split pattern"},
    };
    Error e = {0};
    uint8_t *good;
    size_t n;
    ck_assert(file_read(in_folder("tokenizer.json"), 1 << 24, &good, &n, &e));
    for (size_t i = 0; i < sizeof edit / sizeof *edit; i++) {
        const char *at = strstr((const char *)good, edit[i].from);
        ck_assert_msg(at != NULL, "edit %zu: '%s' is not in the file", i, edit[i].from);
        size_t head = (size_t)(at - (const char *)good), cut = strlen(edit[i].from), put = strlen(edit[i].to);
        char *text = malloc(n + put + 1);
        memcpy(text, good, head);
        memcpy(text + head, edit[i].to, put);
        memcpy(text + head + put, at + cut, n - head - cut);
        e = (Error){0};
        ck_assert(file_write(in_folder("bad.json"), text, n + put - cut, &e));
        Bpe *b = bpe_open(in_folder("bad.json"), &e);
        ck_assert_msg(!b, "edit %zu was accepted", i);
        ck_assert_msg(strstr(e.msg, edit[i].message) && strstr(e.msg, "bad.json"), "edit %zu: %s", i, e.msg);
        ck_assert_int_eq(e.code, ERROR_INPUT);
        free(text);
    }
    free(good);
    ck_assert_ptr_null(bpe_open(in_folder("absent.json"), &e));
}
END_TEST

int main(void)
{
    Error e = {0};
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    if (!bpe_train((const char *const[]){"abab abab"}, 1, 300, in_folder("tokenizer.json"), &e)) {
        fprintf(stderr, "%s\n", e.msg);
        return EXIT_FAILURE;
    }
    Suite *suite = suite_create("bpe_file");
    TCase *t = tcase_create("bpe_file");
    tcase_add_test(t, malformed_files);
    suite_add_tcase(suite, t);
    SRunner *sr = srunner_create(suite);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    unlink(in_folder("tokenizer.json"));
    unlink(in_folder("bad.json"));
    rmdir(folder);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
