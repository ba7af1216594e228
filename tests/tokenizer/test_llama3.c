/* LLaMA-3's vocabulary against the tokenizers library and tiktoken (tests/golden/make_llama3_ids.py), from
 * tokenizer.json and from tokenizer.model: those of the folder PCRL_LLAMA3, else the tokenizer.model of PyPI's
 * package llama-models, which make test downloads into build/llama3. The 47 public vectors are only in that
 * folder. */
#include "data/file.h"
#include "data/json.h"
#include "data/sha256.h"
#include "tests/golden/strings.h"
#include "tokenizer/bpe_tables.h"
#include <check.h>
#include <stdio.h>
#include <unistd.h>

static const char *folder;
static Bpe *form[2]; /* tokenizer.json, tokenizer.model; NULL where there is none */
static json_t *golden;

static void check_ids(const Bpe *b, const char *text, size_t n, bool specials, const int32_t *expect, int count)
{
    Error e = {0};
    int32_t *ids;
    int k;
    ck_assert_msg(bpe_encode(b, text, n, specials, &ids, &k, &e), "%s", e.msg);
    ck_assert_msg(k == count, "'%s': %d ids, expected %d", text, k, count);
    for (int i = 0; i < k; i++)
        ck_assert_msg(ids[i] == expect[i], "'%s': id %d is %d, expected %d", text, i, ids[i], expect[i]);
    free(ids);
}

/* Whole and id by id. */
static void check_decoded(const Bpe *b, const int32_t *ids, int count, const char *text, size_t n)
{
    Error e = {0};
    char *back;
    size_t m, k = 0, room = bpe_stream_room(b);
    ck_assert_msg(bpe_decode(b, ids, count, true, &back, &m, &e), "%s", e.msg);
    ck_assert_msg(m == n && !memcmp(back, text, n), "'%s' came back as '%s'", text, back);
    free(back);
    char *piece = malloc(room + 8), *all = malloc(room * ((size_t)count + 1) + 8);
    BpeStream s = {0};
    for (int i = 0; i < count; i++) {
        m = bpe_stream(b, &s, ids[i], piece, room);
        memcpy(all + k, piece, m);
        k += m;
    }
    k += bpe_stream_end(&s, all + k, 8);
    ck_assert_msg(k == n && !memcmp(all, text, n), "'%s' came out of the stream as '%.*s'", text, (int)k, all);
    free(piece);
    free(all);
}

static void check_round_trip(const Bpe *b, const char *text, size_t n, int32_t **ids, int *count)
{
    Error e = {0};
    ck_assert_msg(bpe_encode(b, text, n, false, ids, count, &e), "%s", e.msg);
    check_decoded(b, *ids, *count, text, n);
}

static void check_encoder(BpeEncoder *x, const char *text, size_t n, const int32_t *ids, int count)
{
    Error e = {0};
    const int32_t *again;
    int k;
    if (!bpe_encoder_run(x, text, n, false, &again, &k, &e)) ck_abort_msg("%s", e.msg);
    if (k != count || memcmp(again, ids, (size_t)k * sizeof *ids))
        ck_abort_msg("'%s': an encoder's are others", text);
}

/* ids as JSON -> ints; at most 4096. */
static int read_ids(const json_t *list, int32_t *ids)
{
    size_t n = json_array_size(list);
    ck_assert_uint_le(n, 4096);
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return (int)n;
}

START_TEST(known_texts)
{
    static const char *const lists[] = {"texts", "whole"};
    static int32_t ids[4096];
    for (int f = 0; f < 2; f++)
        for (int l = 0; form[f] && l < 2; l++) {
            const json_t *list = json_object_get(golden, lists[l]);
            ck_assert_uint_ge(json_array_size(list), 18);
            for (size_t i = 0; i < json_array_size(list); i++) {
                const json_t *text = json_array_get(json_array_get(list, i), 0);
                const char *s = json_string_value(text);
                int n = read_ids(json_array_get(json_array_get(list, i), 1), ids);
                check_ids(form[f], s, json_string_length(text), false, ids, n);
                check_decoded(form[f], ids, n, s, json_string_length(text));
            }
        }
}
END_TEST

static void check_block(const Bpe *b, BpeEncoder *x, int block, int n, const json_t *expect)
{
    static char text[STRING_ROOM];
    char hex[2][65];
    Sha256 sum[2];
    sha256_open(&sum[0]);
    sha256_open(&sum[1]);
    for (int i = 0; i < n; i++) {
        uint32_t seed = (uint32_t)json_integer_value(json_object_get(golden, "seed")),
                 parts = (uint32_t)json_integer_value(json_object_get(golden, "parts"));
        size_t length = string_make(latin_rows, sizeof latin_rows / sizeof *latin_rows, "latin", seed, parts,
                                    (uint32_t)(block * n + i), text);
        int32_t *ids, count;
        sha256_add(&sum[0], text, length + 1);
        check_round_trip(b, text, length, &ids, &count);
        check_encoder(x, text, length, ids, count);
        sha256_add(&sum[1], &count, sizeof count);
        sha256_add(&sum[1], ids, (size_t)count * sizeof *ids);
        free(ids);
    }
    for (int k = 0; k < 2; k++) {
        sha256_close(&sum[k], hex[k]);
        const char *want = json_string_value(json_array_get(expect, (size_t)k));
        ck_assert_msg(want && !strcmp(hex[k], want), "strings %d to %d: their %s differ", block * n,
                      block * n + n - 1, k ? "ids" : "bytes");
    }
}

START_TEST(random_strings)
{
    const json_t *blocks = json_object_get(golden, "blocks");
    int n = (int)json_integer_value(json_object_get(golden, "block"));
    ck_assert_uint_eq(json_array_size(blocks) * (size_t)n, 10000);
    for (int f = 0; f < 2; f++) {
        Error e = {0};
        BpeEncoder *x = form[f] ? bpe_encoder_open(form[f], &e) : NULL;
        for (size_t i = 0; x && i < json_array_size(blocks); i++)
            check_block(form[f], x, (int)i, n, json_array_get(blocks, i));
        bpe_encoder_close(x);
    }
}
END_TEST

START_TEST(fragments)
{
    static int32_t ids[4096];
    const json_t *list = json_object_get(golden, "fragments");
    ck_assert_uint_ge(json_array_size(list), 50);
    for (int f = 0; f < 2; f++)
        for (size_t i = 0; form[f] && i < json_array_size(list); i++) {
            const json_t *text = json_array_get(json_array_get(list, i), 1);
            int n = read_ids(json_array_get(json_array_get(list, i), 0), ids);
            check_decoded(form[f], ids, n, json_string_value(text), json_string_length(text));
        }
}
END_TEST

START_TEST(special_tokens)
{
    static const char *const names[] = {"begin_of_text",   "end_of_text",   NULL, NULL,    NULL, NULL,
                                        "start_header_id", "end_header_id", NULL, "eot_id"};
    static const int32_t expect[] = {128000, 2028, 374, 264, 1296, 11914, 13, 128001};
    const char *text = "<|begin_of_text|>This is a test sentence.<|end_of_text|>";
    for (int f = 0; f < 2; f++) {
        const Bpe *b = form[f];
        if (!b) continue;
        check_ids(b, text, strlen(text), true, expect, 8);
        ck_assert_int_eq(bpe_vocab_size(b), 128256);
        for (int i = 0, reserved = 0; i < 256; i++) {
            char name[64];
            if (i < 10 && names[i])
                snprintf(name, sizeof name, "<|%s|>", names[i]);
            else
                snprintf(name, sizeof name, "<|reserved_special_token_%d|>", reserved++);
            ck_assert_msg(bpe_special(b, name) == 128000 + i, "%s is %d", name, bpe_special(b, name));
            ck_assert(bpe_is_special(b, 128000 + i));
        }
        ck_assert(!bpe_is_special(b, 127999));
        /* the two halves of a character come out of a stream together */
        size_t room = bpe_stream_room(b);
        char *out = malloc(room);
        BpeStream s = {0};
        ck_assert_uint_eq(bpe_stream(b, &s, 19817, out, room), 0);
        ck_assert_uint_eq(bpe_stream(b, &s, 252, out, room), 3);
        ck_assert_str_eq(out, "颞");
        ck_assert_uint_eq(bpe_stream(b, &s, 101921, out, room), 0);
        ck_assert_uint_eq(bpe_stream(b, &s, 242, out, room), 3);
        ck_assert_str_eq(out, "腔");
        free(out);
    }
}
END_TEST

/* The list of merges of one form, and what the other makes of ranks alone. */
START_TEST(forms_agree)
{
    size_t n, m, pairs[2] = {0, 0};
    if (!form[0] || !form[1]) return;
    for (int32_t id = 0; id < 128256; id++) {
        const char *a = bpe_token(form[0], id, &n), *b = bpe_token(form[1], id, &m);
        ck_assert_msg(n == m && !memcmp(a, b, n), "token %d", id);
    }
    for (int f = 0; f < 2; f++)
        for (size_t slot = 0; slot <= form[f]->merges_mask; slot++) {
            const Merge *x = &form[f]->merges[slot];
            if (x->rank < 0) continue;
            const Merge *y = bpe_find_merge(form[!f], (int32_t)(x->pair >> 32), (int32_t)(uint32_t)x->pair);
            ck_assert_msg(y->rank >= 0 && y->id == x->id, "merge of %d and %d", (int)(x->pair >> 32),
                          (int)(uint32_t)x->pair);
            pairs[f]++;
        }
    ck_assert_uint_eq(pairs[0], 280147);
    ck_assert_uint_eq(pairs[1], 280147);
}
END_TEST

START_TEST(public_vectors)
{
    char path[1024];
    uint8_t *text, *lines;
    size_t n, m;
    Error e = {0};
    snprintf(path, sizeof path, "%s/vectors.inp", folder);
    ck_assert_msg(file_read(path, 1 << 20, &text, &n, &e), "%s", e.msg);
    snprintf(path, sizeof path, "%s/vectors.out", folder);
    ck_assert_msg(file_read(path, 1 << 20, &lines, &m, &e), "%s", e.msg);
    static const char end_of_block[] = "\n__ggml_vocab_test__\n";
    const char *block = (const char *)text;
    char *line = (char *)lines;
    int count = 0;
    for (const char *end; (end = strstr(block, end_of_block)); block = end + sizeof end_of_block - 1) {
        int32_t expect[2000];
        int k = 0;
        char *stop = strchr(line, '\n');
        ck_assert_ptr_nonnull(stop);
        *stop = 0;
        for (char *next; strtol(line, &next, 10), next != line; line = next)
            expect[k++] = (int32_t)strtol(line, NULL, 10);
        line = stop + 1;
        for (int f = 0; f < 2; f++) {
            if (!form[f]) continue;
            check_ids(form[f], block, (size_t)(end - block), false, expect, k);
            check_decoded(form[f], expect, k, block, (size_t)(end - block));
        }
        count++;
    }
    ck_assert_int_eq(count, 46); /* and the empty text after the last mark */
    for (int f = 0; f < 2; f++)
        if (form[f]) check_ids(form[f], "", 0, false, NULL, 0);
    free(text);
    free(lines);
}
END_TEST

/* FOLDER/NAME when it is there. */
static bool open_form(Bpe **b, const char *in, const char *name)
{
    char path[1024];
    Error e = {0};
    snprintf(path, sizeof path, "%s/%s", in, name);
    if (access(path, F_OK)) return true;
    *b = bpe_open(path, &e);
    if (!*b) fprintf(stderr, "%s\n", e.msg);
    return *b != NULL;
}

int main(void)
{
    const TTest *const tests[] = {known_texts, random_strings, fragments, special_tokens, forms_agree};
    Error e = {0};
    folder = getenv("PCRL_LLAMA3");
    const char *in = folder ? folder : "build/llama3";
    if (!open_form(&form[0], in, "tokenizer.json") || !open_form(&form[1], in, "tokenizer.model"))
        return EXIT_FAILURE;
    if (!form[0] && !form[1]) {
        printf(
            "SKIPPED: LLaMA-3's ids: neither tokenizer.json nor tokenizer.model in %s (PCRL_LLAMA3=FOLDER)\n",
            in);
        return folder ? EXIT_FAILURE : EXIT_SUCCESS;
    }
    golden = json_read("tests/golden/llama3_ids.json", &e);
    if (!golden) {
        fprintf(stderr, "%s\n", e.msg);
        return EXIT_FAILURE;
    }
    Suite *suite = suite_create("llama3");
    TCase *t = tcase_create("llama3");
    tcase_set_timeout(t, 0);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) tcase_add_test(t, tests[i]);
    char path[1024];
    snprintf(path, sizeof path, "%s/vectors.inp", in);
    if (folder && !access(path, F_OK))
        tcase_add_test(t, public_vectors);
    else
        puts(
            "SKIPPED: the 47 public vectors: set PCRL_LLAMA3 to a folder with vectors.inp and vectors.out too");
    suite_add_tcase(suite, t);
    SRunner *sr = srunner_create(suite);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    json_decref(golden);
    bpe_close(form[0]);
    bpe_close(form[1]);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
