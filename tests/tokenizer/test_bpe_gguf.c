/* A GGUF file's tokenizer: ids of every pre-split name against the tokenizers package, and files that are
 * refused. */
#include "data/file.h"
#include "data/json.h"
#include "tokenizer/bpe.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"

static const char fixture[] = "tests/golden/gguf_tokenizer.gguf";
static char path[40]; /* of a file in memory */
static int fd;
static uint8_t *good;
static size_t n_good;

static void put_file(const void *bytes, size_t n)
{
    ck_assert(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, n, 0) == (ssize_t)n);
}

/* The fixture with the first `from` replaced. A string's length stands in the 8 bytes before it. */
static void write_edited(const char *from, size_t n_from, const char *to, size_t n_to)
{
    const uint8_t *at = memmem(good, n_good, from, n_from);
    ck_assert_msg(at != NULL, "%s is not in the file", from);
    size_t head = (size_t)(at - good);
    uint8_t *bytes = malloc(n_good + n_to);
    memcpy(bytes, good, head);
    memcpy(bytes + head, to, n_to);
    memcpy(bytes + head + n_to, at + n_from, n_good - head - n_from);
    put_file(bytes, n_good - n_from + n_to);
    free(bytes);
}

/* With another tokenizer.ggml.pre. */
static void write_pre(const char *pre)
{
    char from[80], to[80];
    int head = snprintf(from, sizeof from, "tokenizer.ggml.pre%c%c%c%c", 8, 0, 0, 0);
    memcpy(to, from, (size_t)head);
    uint64_t n_from = 6, n_to = strlen(pre);
    memcpy(from + head, &n_from, 8);
    memcpy(to + head, &n_to, 8);
    memcpy(from + head + 8, "smollm", n_from);
    memcpy(to + head + 8, pre, n_to);
    write_edited(from, (size_t)head + 8 + n_from, to, (size_t)head + 8 + n_to);
}

static void compare_ids(const Bpe *b, const char *pre, size_t k, const json_t *text, const json_t *want)
{
    Error e = {0};
    int32_t *ids;
    int n;
    const char *s = json_string_value(text);
    ck_assert_msg(bpe_encode(b, s, json_string_length(text), false, &ids, &n, &e), "%s", e.msg);
    for (int i = 0; i < n || i < (int)json_array_size(want); i++) {
        int id = i < n ? ids[i] : -1;
        int reference =
            i < (int)json_array_size(want) ? (int)json_integer_value(json_array_get(want, (size_t)i)) : -1;
        ck_assert_msg(id == reference, "%s, text %zu \"%s\": id %d is %d, the reference's %d", pre, k, s, i, id,
                      reference);
    }
    char *back;
    size_t length;
    ck_assert_msg(bpe_decode(b, ids, n, false, &back, &length, &e), "%s", e.msg);
    ck_assert(length == json_string_length(text) && !memcmp(back, s, length));
    free(back);
    free(ids);
}

START_TEST(golden)
{
    static const char *const names[] = {"smollm", "gpt-2", "llama-bpe", "default"};
    Error e = {0};
    json_t *g = json_read("tests/golden/gguf_tokenizer.json", &e);
    ck_assert_msg(g != NULL, "%s", e.msg);
    const json_t *texts = json_object_get(g, "texts");
    ck_assert_uint_gt(json_array_size(texts), 300);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        write_pre(names[i]);
        Bpe *b = bpe_open(path, &e);
        ck_assert_msg(b != NULL, "%s", e.msg);
        ck_assert_int_eq(bpe_vocab_size(b), json_integer_value(json_object_get(g, "tokens")));
        const json_t *ids = json_object_get(json_object_get(g, "ids"), names[i]);
        ck_assert_uint_eq(json_array_size(ids), json_array_size(texts));
        for (size_t k = 0; k < json_array_size(texts); k++)
            compare_ids(b, names[i], k, json_array_get(texts, k), json_array_get(ids, k));
        bpe_close(b);
    }
    json_decref(g);
}
END_TEST

START_TEST(specials)
{
    Error e = {0};
    Bpe *b = bpe_open(fixture, &e);
    ck_assert_msg(b != NULL, "%s", e.msg);
    ck_assert_int_eq(bpe_special(b, "<|start|>"), 1);
    int32_t *ids;
    int n;
    ck_assert(bpe_encode(b, "<|end|>a", 8, true, &ids, &n, &e));
    ck_assert(n == 2 && ids[0] == 0 && bpe_is_special(b, ids[0]) && !bpe_is_special(b, ids[1]));
    free(ids);
    ck_assert(bpe_encode(b, "<|end|>a", 8, false, &ids, &n, &e));
    ck_assert(n > 2 && !bpe_is_special(b, ids[0]));
    free(ids);
    bpe_close(b);
}
END_TEST

static void must_fail(const char *message)
{
    Error e = {0};
    char expected[300];
    Bpe *b = bpe_open(path, &e);
    ck_assert_msg(!b, "opened; expected: %s", message);
    snprintf(expected, sizeof expected, "%s: %s", path, message);
    ck_assert_str_eq(e.msg, expected);
    ck_assert_int_eq(e.code, ERROR_INPUT);
}

/* A u64 or u32 as bytes, inside text. */
#define U64(digit) digit "\0\0\0\0\0\0\0"
#define U32(digit) digit "\0\0\0"

START_TEST(refused)
{
#define EDIT(from, to) from, sizeof from - 1, to, sizeof to - 1
    static const struct {
        const char *from;
        size_t n_from;
        const char *to;
        size_t n_to;
        const char *message;
    } edit[] = {
        {EDIT("ggml.model", "ggml.modex"), "key tokenizer.ggml.model: expected gpt2, found none"},
        {EDIT("gpt2", "bert"), "key tokenizer.ggml.model: expected gpt2, found bert"},
        {EDIT("ggml.pre", "ggml.prx"),
         "key tokenizer.ggml.pre: expected llama-bpe (or llama3, llama-v3), gpt-2, "
         "smollm or default, found none"},
        {EDIT("ggml.tokens", "ggml.tokenx"),
         "key tokenizer.ggml.tokens: expected a list of string, found none"},
        {EDIT("ggml.token_type", "ggml.token_typx"),
         "key tokenizer.ggml.token_type: expected a list of i32, found none"},
        {EDIT("ggml.merges", "ggml.mergex"),
         "key tokenizer.ggml.merges: expected a list of string, found none"},
        {EDIT("token_type" U32("\x9") U32("\x5"), "token_type" U32("\x9") U32("\x6")),
         "key tokenizer.ggml.token_type: expected 530 i32, found 530 f32"},
        {EDIT("token_type" U32("\x9") U32("\x5") "\x12\2\0\0\0\0\0\0" U32("\3"),
              "token_type" U32("\x9") U32("\x5") "\x11\2\0\0\0\0\0\0"),
         "key tokenizer.ggml.token_type: expected 530 i32, found 529 i32"},
        {EDIT(U32("\3") U32("\3") U32("\1"), U32("\3") U32("\3") U32("\0")),
         "token 2: type 0, expected 1 (normal) to 5"},
        {EDIT(U32("\3") U32("\3") U32("\1"), U32("\3") U32("\3") U32("\6")),
         "token 2: type 6, expected 1 (normal) to 5"},
        {EDIT(U64("\1") "A", U64("\1") " "), "token 34 ' ' is not written in the byte-level alphabet"},
        {EDIT(U64("\1") "A", U64("\1") "B"), "tokens 34 and 35 are the same bytes"},
        {EDIT(U64("\1") "A", U64("\0")), "token 34 is empty"},
        {EDIT(U64("\3") "c a", U64("\3") "c_a"),
         "merge 14: expected two tokens with a space between, found 'c_a'"},
        {EDIT(U64("\3") "c a", U64("\3") "z a"),
         "merge 14: expected two tokens of the vocabulary that make a third"},
        {EDIT(U64("\3") "c a", U64("\3") "c  "),
         "merge 14: expected two tokens of the vocabulary that make a third"},
        {EDIT(U64("\3") "c a", U64("\1") " "),
         "merge 14: expected two tokens of the vocabulary that make a third"},
    };
#undef EDIT
    for (size_t i = 0; i < sizeof edit / sizeof *edit; i++) {
        write_edited(edit[i].from, edit[i].n_from, edit[i].to, edit[i].n_to);
        must_fail(edit[i].message);
    }
    write_pre("qwen2");
    must_fail(
        "key tokenizer.ggml.pre: expected llama-bpe (or llama3, llama-v3), gpt-2, smollm or default, found "
        "qwen2");
}
END_TEST

/* A file of nothing but special tokens. */
START_TEST(many_specials)
{
    enum { N = 4097 };
    size_t n;
    char *bytes;
    FILE *f = open_memstream(&bytes, &n);
    ck_assert(f != NULL);
#define PUT(text)          fwrite(text, sizeof(text) - 1, 1, f)
#define KEY(n, name, type) U64(n) "tokenizer.ggml." name U32(type)
    PUT("GGUF" U32("\3") U64("\0") U64("\4") KEY("\24", "model", "\10") U64("\4") "gpt2");
    PUT(KEY("\22", "pre", "\10") U64("\5") "gpt-2");
    PUT(KEY("\25", "tokens", "\11") U32("\10"));
    fwrite(&(uint64_t){N}, 8, 1, f);
    for (int i = 0; i < N; i++) {
        PUT(U64("\6"));
        fprintf(f, "<%04x>", (unsigned)i);
    }
    PUT(KEY("\31", "token_type", "\11") U32("\5"));
    fwrite(&(uint64_t){N}, 8, 1, f);
    for (int i = 0; i < N; i++) fwrite(&(int32_t){3}, 4, 1, f);
#undef PUT
#undef KEY
    ck_assert(fclose(f) == 0);
    put_file(bytes, n);
    free(bytes);
    must_fail("4097 special tokens, expected at most 4096");
}
END_TEST

/* '"' as a control token: text that has one is not encoded, other text is. */
START_TEST(gaps)
{
    Error e = {0};
    int32_t *ids;
    int n;
    write_edited(U32("\3") U32("\3") U32("\1") U32("\1"), 16, U32("\3") U32("\3") U32("\1") U32("\3"), 16);
    Bpe *b = bpe_open(path, &e);
    ck_assert_msg(b != NULL, "%s", e.msg);
    ck_assert(!bpe_encode(b, "no\"", 3, false, &ids, &n, &e) && e.code == ERROR_INPUT);
    ck_assert_str_eq(e.msg, "text to encode: byte 2 (0x22) has no token in this vocabulary");
    ck_assert(bpe_encode(b, "no", 2, false, &ids, &n, &e));
    free(ids);
    bpe_close(b);
}
END_TEST

START_TEST(prefixes)
{
    Error e = {0};
    for (size_t k = 0; k < n_good; k += 7) {
        put_file(good, k);
        ck_assert(!bpe_open(path, &e) && e.code == ERROR_INPUT);
    }
}
END_TEST

/* Every byte of the keys, and of what stands before and behind each list's text. */
START_TEST(flips)
{
    Error e = {0};
    for (size_t k = 0; k < 3 * n_good; k += k < 1500 ? 1 : 37) {
        uint8_t old = good[k / 3];
        good[k / 3] = k % 3 == 0 ? 0 : k % 3 == 1 ? 0xff : old ^ 0x80;
        put_file(good, n_good);
        good[k / 3] = old;
        Bpe *b = bpe_open(path, &e);
        int32_t *ids;
        int n;
        if (b && bpe_encode(b, "don't  12 the", 13, true, &ids, &n, &e)) free(ids);
        bpe_close(b);
    }
}
END_TEST

static bool open_fixture(Error *e)
{
    Bpe *b = bpe_open(fixture, e);
    bpe_close(b);
    return b;
}

START_TEST(allocations) { ck_assert_int_gt(fail_each(open_fixture), 300); }
END_TEST

int main(void)
{
    Error e = {0};
    fd = memfd_create("gguf", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || !file_read(fixture, 1 << 20, &good, &n_good, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        return EXIT_FAILURE;
    }
    Suite *suite = suite_create("bpe_gguf");
    TCase *t = tcase_create("bpe_gguf");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, golden);
    tcase_add_test(t, specials);
    tcase_add_test(t, refused);
    tcase_add_test(t, many_specials);
    tcase_add_test(t, gaps);
    tcase_add_test(t, prefixes);
    tcase_add_test(t, flips);
    tcase_add_test(t, allocations);
    suite_add_tcase(suite, t);
    SRunner *sr = srunner_create(suite);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    free(good);
    close(fd);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
