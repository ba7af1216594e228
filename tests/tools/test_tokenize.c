/* pcrl-tokenize on each kind of tokenizer, there and back, and what it says of lines that are not sound. */
#include "tests/tokenizer/jieba_small.h"
#include "tests/tools/run.h"
#include "tokenizer/bpe_train.h"
#include "tools/prompt.h"
#include <sys/stat.h>

static char folder[] = "/tmp/test-tokenize-XXXXXX", bpe[64], vocab[64], ranks[64], jieba[64], user[64];
static Run r;

/* FOLDER/input with this content. */
static const char *input(const char *text)
{
    static char path[64];
    small_put(folder, "input", text, strlen(text));
    snprintf(path, sizeof path, "%s/input", folder);
    return path;
}

static void run(const char *tokenizer, const char *text, const char *const more[3])
{
    run_tool(&r, "pcrl-tokenize",
             (const char *const[]){"--tokenizer", tokenizer, input(text), more[0], more[0] ? more[1] : NULL,
                                   more[0] && more[1] ? more[2] : NULL, NULL});
}

#define MORE(...) ((const char *const[3]){__VA_ARGS__})

static void gives(const char *tokenizer, const char *text, const char *const more[3], const char *expect)
{
    run(tokenizer, text, more);
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert_str_eq(r.out, expect);
}

static void refuses(const char *tokenizer, const char *text, const char *const more[3], int code,
                    const char *message)
{
    run(tokenizer, text, more);
    ck_assert_msg(r.code == code, "code %d, expected %d: %s", r.code, code, r.err);
    ck_assert_msg(strstr(r.err, message) != NULL, "'%s', expected '%s'", r.err, message);
}

/* "abab": a and b are one token, 256; then the four special ones. */
START_TEST(byte_pairs)
{
    gives(bpe, "abba\n\nb", MORE(NULL), "256 98 97\n\n98\n");
    gives(bpe, "256 98 97\n\n  98\t97\r\n", MORE("--decode"), "abba\n\nba\n");
    gives(bpe, "a<|eot_id|>\n", MORE(NULL), "97 60 124 101 111 116 95 105 100 124 62\n");
    gives(bpe, "a<|eot_id|>\n", MORE("--specials"), "97 259\n");
    gives(bpe, "97 259\n", MORE("--decode"), "a\n");
    gives(bpe, "97 259\n", MORE("--decode", "--specials"), "a<|eot_id|>\n");
    gives(bpe, "229\n", MORE("--decode"), "\uFFFD\n");
    gives(bpe, "{\"id\":7,\"text\":\"ab\\nb\",\"x\":[]}\n{\"text\":\"\"}\n", MORE("--jsonl"),
          "{\"id\":7,\"x\":[],\"ids\":[256,10,98]}\n{\"ids\":[]}\n");
    gives(bpe, "{\"id\":7,\"ids\":[256,10,98]}\n{\"ids\":[]}", MORE("--jsonl", "--decode"),
          "{\"id\":7,\"text\":\"ab\\nb\"}\n{\"text\":\"\"}\n");
    gives(ranks, "ab", MORE(NULL), "97 98\n");
    gives(ranks, "<|eot_id|>", MORE("--specials"), "265\n");
    run(bpe, "abab\n", MORE("--time"));
    ck_assert_msg(r.code == 0 && strstr(r.err, "MB/s"), "%s", r.err);
    run_tool(&r, "pcrl-tokenize",
             (const char *const[]){"--tokenizer", bpe, NULL}); /* an empty standard input */
    ck_assert(r.code == 0 && !*r.out && !*r.err);
}
END_TEST

START_TEST(word_pieces)
{
    gives(vocab, "Lesions left\n", MORE(NULL), "2 6 7 5 3\n");
    gives(vocab, "Lesions left\n", MORE("--length", "4"), "2 6 7 3\n");
    gives(vocab, "2 6 7 5 3\n", MORE("--decode"), "lesions left\n");
    gives(vocab, "2 6 7 5 3\n\n", MORE("--decode", "--specials"), "[CLS] lesions left [SEP]\n\n");
    gives(vocab, "{\"text\":\"left q\"}\n", MORE("--jsonl"), "{\"ids\":[2,5,1,3]}\n");
    refuses(vocab, "5 99\n", MORE("--decode"), 2,
            "input: line 1: ids to decode: number 1 is 99, expected 0..7");
}
END_TEST

START_TEST(chinese_words)
{
    gives(jieba, "甲乙丙，a1 丁七\n", MORE(NULL), "甲乙 丙 ， a1   丁 七\n");
    gives(jieba, "丁丂a\n", MORE(NULL), "丁丂 a\n"); /* the model's word */
    gives(jieba, "丁丂a\n", MORE("--no-hmm"), "丁 丂 a\n");
    gives(jieba, "乙丙\n", MORE("--user-dict", user), "乙丙\n");
    gives(jieba, "{\"text\":\"甲乙 \\n丙\"}\n", MORE("--jsonl"),
          "{\"words\":[\"甲乙\",\" \",\"\\n\",\"丙\"]}\n");
    gives(jieba, "{\"words\":[\"甲乙\",\" \",\"\\n\",\"丙\"]}\n", MORE("--jsonl", "--decode"),
          "{\"text\":\"甲乙 \\n丙\"}\n");
    refuses(jieba, "甲\n乙\xff\n", MORE(NULL), 2, "input: line 2: text to cut: byte 3 (0xFF) is not UTF-8");
    refuses(jieba, "{\"words\":[\"a\",1]}\n", MORE("--jsonl", "--decode"), 2,
            "input: line 1: words: number 1 is not a string");
}
END_TEST

START_TEST(refused_lines)
{
    refuses(bpe, "ab\nx\xffy\n", MORE(NULL), 2, "input: line 2: text to encode: byte 1 (0xFF) is not UTF-8");
    ck_assert_str_eq(r.out, "256\n"); /* the lines before it */
    refuses(bpe, "97\n97 b\n", MORE("--decode"), 2,
            "input: line 2: expected ids separated by spaces, found 'b'");
    refuses(bpe, "97,98\n", MORE("--decode"), 2,
            "input: line 1: expected ids separated by spaces, found '97,98'");
    refuses(bpe, "-1\n", MORE("--decode"), 2, "input: line 1: expected ids separated by spaces, found '-1'");
    refuses(bpe, "99999999999\n", MORE("--decode"), 2, "found '99999999999'");
    refuses(bpe, "261\n", MORE("--decode"), 2,
            "input: line 1: ids to decode: number 0 is 261, expected 0..260");
    const char *path = input("");
    small_put(folder, "input", "97\0 98\n", 7);
    run_tool(&r, "pcrl-tokenize", (const char *const[]){"--tokenizer", bpe, "--decode", path, NULL});
    ck_assert_msg(r.code == 2 && strstr(r.err, "expected ids separated by spaces"), "%d: %s", r.code, r.err);
    refuses(bpe, "{}\n", MORE("--jsonl"), 2, "input: line 1: key \"text\" is missing (expected a string)");
    refuses(bpe, "{\"text\":1}\n", MORE("--jsonl"), 2,
            "input: line 1: key \"text\": expected a string, found an integer");
    refuses(bpe, "{\"text\":\"a\"}\n\n", MORE("--jsonl"), 2, "input: line 2:1:0: not JSON");
    refuses(bpe, "[]\n", MORE("--jsonl"), 2, "input: line 1: expected a JSON object");
    refuses(bpe, "{\"ids\":[1,\"a\"]}\n", MORE("--jsonl", "--decode"), 2,
            "input: line 1: ids: number 1 is not an id");
    refuses(bpe, "{\"ids\":[-1]}\n", MORE("--jsonl", "--decode"), 2,
            "input: line 1: ids: number 0 is not an id");
    refuses(bpe, "{\"ids\":[0]}\n", MORE("--jsonl", "--decode"), 2, "input: line 1: the text has a NUL");
}
END_TEST

START_TEST(refused_calls)
{
    static const struct {
        const char *args[8];
        int code;
        const char *message;
    } calls[] = {
        {{NULL}, 1, "expected --tokenizer FILE"},
        {{"--tokenizer", bpe, "--no-hmm"}, 1, "--user-dict and --no-hmm are jieba's"},
        {{"--tokenizer", bpe, "--length", "7"}, 1, "--length is WordPiece's"},
        {{"--tokenizer", vocab, "--length", "1"}, 1, "--length"},
        {{"--tokenizer", jieba, "--specials"}, 1, "jieba has no special tokens"},
        {{"--tokenizer", jieba, "--decode"}, 1, "--decode needs --jsonl"},
        {{"--tokenizer", "/nowhere/x"}, 3, "/nowhere/x: cannot open: No such file"},
        {{"--tokenizer", bpe, "/nowhere/y"}, 3, "/nowhere/y: cannot open: No such file"},
        {{"--tokenizer", bpe, folder}, 3, "Is a directory"},
        {{"--tokenizer", folder}, 2, ": no dict.txt of jieba's in this folder"},
        {{"--tokenizer", "/dev/null"}, 2, "/dev/null: is empty"},
        {{"--tokenizer", "/bin/sh"}, 2, "/bin/sh: begins with 7f 45 4c 46: expected tokenizer.json, "},
        {{"--tokenizer", jieba, "--user-dict", "/nowhere/z"}, 3, "/nowhere/z: cannot open: No such file"},
        {{"--tokenizer", user}, 2, "no [PAD] among 1 tokens"},
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        run_tool(&r, "pcrl-tokenize", calls[i].args);
        ck_assert_msg(r.code == calls[i].code && strstr(r.err, calls[i].message), "call %zu: code %d, '%s'", i,
                      r.code, r.err);
    }
}
END_TEST

/* A model's folder may have Meta's file alone, or in the language model's folder. */
START_TEST(model_folders)
{
    char away[80], beside[80], inside[120];
    Prompt p;
    Error e = {0};
    ck_assert_msg(prompt_open(&p, folder, &e), "%s", e.msg);
    ck_assert(p.bos == 257 && p.eos == 258); /* tokenizer.json's, which has one merge */
    prompt_close(&p);
    snprintf(away, sizeof away, "%s.away", bpe);
    ck_assert_int_eq(rename(bpe, away), 0);
    ck_assert_msg(prompt_open(&p, folder, &e), "%s", e.msg);
    ck_assert(p.bos == 256 && p.eos == 257);
    prompt_close(&p);
    ck_assert_int_eq(rename(ranks, bpe), 0); /* told by content, not by name */
    ck_assert_msg(prompt_open(&p, folder, &e), "%s", e.msg);
    ck_assert_int_eq(p.bos, 256);
    prompt_close(&p);
    snprintf(beside, sizeof beside, "%s/llama", folder); /* with the language model */
    snprintf(inside, sizeof inside, "%s/tokenizer.model", beside);
    ck_assert(!mkdir(beside, 0700) && !rename(bpe, inside));
    ck_assert_msg(prompt_open(&p, folder, &e), "%s", e.msg);
    ck_assert_int_eq(p.bos, 256);
    prompt_close(&p);
    ck_assert(!rename(inside, ranks) && !rmdir(beside) && !prompt_open(&p, jieba, &e));
    ck_assert_msg(strstr(e.msg, "jieba/tokenizer.json: cannot open"), "%s", e.msg);
    ck_assert_int_eq(rename(away, bpe), 0);
}
END_TEST

/* The 256 bytes as tokenizer.model has them. */
static void write_ranks(void)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[4096], *end = text;
    for (int i = 0; i < 256; i++) end += sprintf(end, "%c%c== %d\n", digit[i >> 2], digit[(i & 3) << 4], i);
    small_put(folder, "tokenizer.model", text, (size_t)(end - text));
}

static void make_files(void)
{
    Error e = {0};
    static const char words[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nleft\nlesion\n##s\n", own[] = "乙丙\n";
    snprintf(bpe, sizeof bpe, "%s/tokenizer.json", folder);
    snprintf(vocab, sizeof vocab, "%s/vocab.txt", folder);
    snprintf(ranks, sizeof ranks, "%s/tokenizer.model", folder);
    snprintf(user, sizeof user, "%s/user.txt", folder);
    snprintf(jieba, sizeof jieba, "%s/jieba", folder);
    ck_assert(bpe_train((const char *const[]){"abab"}, 1, 400, bpe, &e));
    small_put(folder, "vocab.txt", words, sizeof words - 1);
    small_put(folder, "user.txt", own, sizeof own - 1);
    write_ranks();
    small_make(jieba);
}

static void remove_files(void)
{
    static const char *const made[] = {"tokenizer.json", "vocab.txt", "tokenizer.model", "user.txt", "input"};
    small_remove(jieba);
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder, made[i]);
        unlink(path);
    }
    rmdir(folder);
}

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    const TTest *const tests[] = {byte_pairs,    word_pieces,   chinese_words,
                                  refused_lines, refused_calls, model_folders};
    Suite *suite = suite_create("tokenize");
    TCase *t = tcase_create("tokenize");
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
