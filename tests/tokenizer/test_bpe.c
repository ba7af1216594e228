/* The byte-level BPE with our own trained vocabulary; with LLaMA-3's too when PCRL_LLAMA3 names a folder with
 * its tokenizer.json (test_llama3 has its goldens). */
#include "data/file.h"
#include "tensor/rng.h"
#include "tensor/utf8.h"
#include "tokenizer/bpe_tables.h"
#include "tokenizer/bpe_train.h"
#include <check.h>
#include <stdio.h>
#include <unistd.h>

static char folder[] = "/tmp/test_bpe_XXXXXX";
static Bpe *ours, *llama3; /* llama3 is NULL when skipped */

static char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* Sentences of a report's kind, drawn from parts. */
static char *sentence(Rng *r)
{
    static const char *const side[] = {"左侧", "右侧", "双侧"};
    static const char *const place[] = {"基底节区", "丘脑", "额叶", "颞叶", "半卵圆中心", "小脑"};
    static const char *const state[] = {"见小片状低密度影，边缘欠清晰", "见斑片状高密度影，周围见低密度水肿带",
                                        "可见点状钙化影"};
    static const char *const rest[] = {"，中线结构居中。", "，脑室、脑池大小形态正常。", "；无占位效应。"};
    char *s = NULL;
    if (asprintf(&s, "%s%s%s%s", side[rng_below(r, 3)], place[rng_below(r, 6)], state[rng_below(r, 3)],
                 rest[rng_below(r, 3)]) < 0)
        die("no memory");
    return s;
}

/* Random text over everything the split tells apart. */
static size_t random_text(Rng *r, char *out, int n)
{
    static const char *const part[] = {
        "a",        "Z",    "é", "7",  "３",         "左", "脑室",   "，",     "。",     "!",
        "'s",       "'LL",  " ", "  ", "\t",         "\n", "\r\n",   "\u3000", "\u00a0", "\u180e",
        "\xc2\x85", "🧠", "ſ", "_",  "<|eot_id|>", "影", "\u0301", "½",      "\u200d", "ب"};
    size_t k = 0;
    for (int i = 0; i < n; i++) {
        const char *p = part[rng_below(r, sizeof part / sizeof *part)];
        k += (size_t)(stpcpy(out + k, p) - (out + k));
    }
    return k;
}

static void train(int vocab_size, const char *path)
{
    Rng r = rng_open(1, "sentences");
    char *text[300];
    for (int i = 0; i < 300; i++) text[i] = sentence(&r);
    Error e = {0};
    if (!bpe_train((const char *const *)text, 300, vocab_size, path, &e)) die("%s", e.msg);
    for (int i = 0; i < 300; i++) free(text[i]);
}

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

static void check_round_trip(const Bpe *b, const char *text, size_t n)
{
    Error e = {0};
    int32_t *ids;
    int k;
    char *back;
    size_t m;
    ck_assert_msg(bpe_encode(b, text, n, false, &ids, &k, &e), "%s", e.msg);
    for (int i = 0; i < k; i++) ck_assert(!bpe_is_special(b, ids[i]));
    ck_assert_msg(bpe_decode(b, ids, k, false, &back, &m, &e), "%s", e.msg);
    ck_assert_msg(m == n && !memcmp(back, text, n), "'%s' came back as '%s'", text, back);
    free(ids);
    free(back);
}

START_TEST(split_pieces)
{
    static const char *const expect[] = {"左侧丘脑", "，don",  "'T",   " x",     "123", "4",  " ",
                                         " ok",      "!!\n\n", "  \n", "\u180e", "é",   "   "};
    char text[200] = "";
    for (size_t i = 0; i < sizeof expect / sizeof *expect; i++) strcat(text, expect[i]);
    Error e = {0};
    Split *s = split_open(SPLIT_LLAMA3, "test", &e);
    ck_assert_msg(s != NULL, "%s", e.msg);
    SplitWalk *w = split_begin(s, text, strlen(text), &e);
    size_t start, end, at = 0;
    char got[400] = "", want[400] = "";
    while (split_next(w, &start, &end, &e) == 1) {
        ck_assert_uint_eq(start, at);
        at = end;
        snprintf(got + strlen(got), sizeof got - strlen(got), "%.*s|", (int)(end - start), text + start);
    }
    ck_assert_uint_eq(at, strlen(text));
    /* U+180E is no white space, so it goes with the letter after it */
    strcpy(want, "左侧丘脑|，don|'T| x|123|4| | ok|!!\n\n|  \n|\u180eé|   |");
    ck_assert_str_eq(got, want);
    split_end(w);
    split_close(s);
    ck_assert_ptr_null(split_open("a(", "the file", &e));
    ck_assert(strstr(e.msg, "the file: split pattern") && e.code == ERROR_INPUT);
}
END_TEST

START_TEST(trained_vocabulary)
{
    ck_assert_int_gt(bpe_vocab_size(ours), 300);
    ck_assert_int_le(bpe_vocab_size(ours), 420);
    int n = bpe_vocab_size(ours);
    ck_assert_int_eq(bpe_special(ours, "<|begin_of_text|>"), n - 4);
    ck_assert_int_eq(bpe_special(ours, "<|end_of_text|>"), n - 3);
    ck_assert_int_eq(bpe_special(ours, "<|eot_id|>"), n - 2);
    ck_assert_int_eq(bpe_special(ours, "<|pad|>"), n - 1);
    ck_assert_int_eq(bpe_special(ours, "<|eot_id"), -1);
    Rng r = rng_open(9, "fresh sentences");
    for (int i = 0; i < 200; i++) {
        char *s = sentence(&r);
        check_round_trip(ours, s, strlen(s));
        free(s);
    }
    for (int32_t id = 256; id < n; id++) { /* whole characters, or a prefix of one */
        size_t length;
        const char *token = bpe_token(ours, id, &length);
        int32_t c;
        bool prefix = (size_t)utf8_next(token, length, &c) == length && c == UTF8_PARTIAL;
        ck_assert_msg(prefix || utf8_valid_prefix(token, length) == length, "token %d", id);
    }
    /* It compresses: a known sentence takes far fewer ids than bytes. */
    const char *known = "左侧基底节区见小片状低密度影，边缘欠清晰，中线结构居中。";
    int32_t *ids;
    int k;
    Error e = {0};
    ck_assert(bpe_encode(ours, known, strlen(known), false, &ids, &k, &e));
    ck_assert_int_lt(k, (int)strlen(known) / 5);
    free(ids);
}
END_TEST

START_TEST(training_repeats)
{
    Error e = {0};
    uint8_t *a, *b;
    size_t n, m;
    train(420, in_folder("again.json"));
    ck_assert(file_read(in_folder("again.json"), 1 << 24, &a, &n, &e));
    ck_assert(file_read(in_folder("tokenizer.json"), 1 << 24, &b, &m, &e));
    ck_assert(n == m && !memcmp(a, b, n));
    free(a);
    free(b);
    /* "abab": (a,b) twice and (b,a) once; then (ab,ab) only once, so training stops: 256 + 1 + 4. */
    ck_assert(bpe_train((const char *const[]){"abab"}, 1, 400, in_folder("small.json"), &e));
    Bpe *small = bpe_open(in_folder("small.json"), &e);
    ck_assert_msg(small != NULL, "%s", e.msg);
    ck_assert_int_eq(bpe_vocab_size(small), 261);
    check_ids(small, "abba", 4, false, (const int32_t[]){256, 'b', 'a'}, 3);
    bpe_close(small);
    ck_assert(!bpe_train((const char *const[]){"ab"}, 1, 259, in_folder("no.json"), &e));
    ck_assert(!bpe_train((const char *const[]){"ab", "x\xff"}, 2, 300, in_folder("no.json"), &e));
    ck_assert_str_eq(e.msg, "text 1: byte 1 is not UTF-8");
    ck_assert_int_ne(access(in_folder("no.json"), F_OK), 0);
}
END_TEST

/* Merging by the definition: the pair of lowest rank, leftmost first, until none is left. */
static int merge_plainly(const Bpe *b, const char *s, size_t n, int32_t *id)
{
    if (b->ignore_merges && bpe_find_bytes(b, s, n) >= 0) {
        *id = bpe_find_bytes(b, s, n);
        return 1;
    }
    int k = 0;
    for (size_t i = 0; i < n; i++) id[k++] = b->byte_id[(unsigned char)s[i]];
    for (;;) {
        int best = -1, rank = INT32_MAX;
        for (int i = 0; i + 1 < k; i++) {
            int r = bpe_find_merge(b, id[i], id[i + 1])->rank;
            if (r >= 0 && r < rank) {
                rank = r;
                best = i;
            }
        }
        if (best < 0) return k;
        id[best] = bpe_find_merge(b, id[best], id[best + 1])->id;
        k--;
        memmove(id + best + 1, id + best + 2, (size_t)(k - best - 1) * sizeof *id);
    }
}

START_TEST(heap_merges_by_the_definition)
{
    const Bpe *vocabulary[] = {ours, llama3};
    Rng r = rng_open(2, "merge");
    Error e = {0};
    for (int v = 0; v < 2; v++)
        for (int trial = 0; vocabulary[v] && trial < 300; trial++) {
            const Bpe *b = vocabulary[v];
            char text[4000];
            size_t n = trial % 2 ? random_text(&r, text, 60) : 0, start, end;
            for (int i = 0; !n && i < 6; i++) { /* long pieces without signs, repeats included */
                char *s = sentence(&r);
                strcpy(i ? text + strlen(text) : text, s);
                free(s);
            }
            n = strlen(text);
            int32_t expect[4000], count = 0;
            SplitWalk *w = split_begin(b->split, text, n, &e);
            while (split_next(w, &start, &end, &e) == 1)
                count += merge_plainly(b, text + start, end - start, expect + count);
            split_end(w);
            check_ids(b, text, n, false, expect, count);
        }
}
END_TEST

START_TEST(random_round_trips)
{
    Rng r = rng_open(3, "round trips");
    char text[4000];
    for (int i = 0; i < 1000; i++) {
        size_t n = random_text(&r, text, (int)rng_below(&r, 80));
        text[n] = 0;
        check_round_trip(ours, text, n);
        if (llama3) check_round_trip(llama3, text, n);
    }
    check_round_trip(ours, "", 0);
    check_round_trip(ours, "a\0b", 3);
}
END_TEST

START_TEST(long_runs)
{
    size_t n = 200000;
    char *text = malloc(n + 1);
    static const char run[] = {' ', 'a', '\n', '!'};
    for (size_t k = 0; k < sizeof run; k++) {
        memset(text, run[k], n);
        text[n] = 0;
        check_round_trip(ours, text, n);
    }
    free(text);
}
END_TEST

/* What it remembers changes nothing, emptied or not: more different pieces than it holds, and some again and
 * again. */
START_TEST(encoders)
{
    Error e = {0};
    BpeEncoder *x = bpe_encoder_open(ours, &e);
    Rng r = rng_open(5, "encoder");
    ck_assert_msg(x != NULL, "%s", e.msg);
    for (int i = 0; i < 40000; i++) {
        char text[4000];
        size_t n =
            i % 8 ? (size_t)snprintf(text, sizeof text, "%c%c%c%c%d,见影%c", 'a' + i % 26, 'a' + i / 26 % 26,
                                     'a' + i / 676 % 26, 'a' + i / 17576, i, 'a' + i % 7)
                  : random_text(&r, text, 60);
        int32_t *expect;
        const int32_t *ids;
        int n_expect, n_ids;
        if (!bpe_encode(ours, text, n, i % 16 == 0, &expect, &n_expect, &e) ||
            !bpe_encoder_run(x, text, n, i % 16 == 0, &ids, &n_ids, &e))
            ck_abort_msg("%s", e.msg);
        if (n_ids != n_expect || memcmp(ids, expect, (size_t)n_ids * sizeof *ids)) ck_abort_msg("text %d", i);
        free(expect);
    }
    const int32_t *ids;
    int n;
    ck_assert(!bpe_encoder_run(x, "a\xff", 2, false, &ids, &n, &e));
    ck_assert_str_eq(e.msg, "text to encode: byte 1 (0xFF) is not UTF-8");
    ck_assert(bpe_encoder_run(x, "", 0, false, &ids, &n, &e) && n == 0);
    bpe_encoder_close(x);
    bpe_encoder_close(NULL);
}
END_TEST

START_TEST(specials_only_when_asked)
{
    int32_t eot = bpe_special(ours, "<|eot_id|>"), pad = bpe_special(ours, "<|pad|>");
    const char *text = "a<|eot_id|><|pad|>b<|eot_id";
    int32_t *ids;
    int k;
    char *back;
    Error e = {0};
    ck_assert(bpe_encode(ours, text, strlen(text), true, &ids, &k, &e));
    ck_assert_int_eq(ids[0], 'a');
    ck_assert_int_eq(ids[1], eot);
    ck_assert_int_eq(ids[2], pad);
    ck_assert_int_eq(ids[3], 'b');
    for (int i = 4; i < k; i++) ck_assert(!bpe_is_special(ours, ids[i]));
    ck_assert(bpe_decode(ours, ids, k, true, &back, NULL, &e));
    ck_assert_str_eq(back, text);
    free(back);
    ck_assert(bpe_decode(ours, ids, k, false, &back, NULL, &e));
    ck_assert_str_eq(back, "ab<|eot_id");
    free(back);
    free(ids);
    check_round_trip(ours, text, strlen(text)); /* plain text: no special id among them */
}
END_TEST

START_TEST(streaming)
{
    Rng r = rng_open(4, "stream");
    size_t room = bpe_stream_room(ours);
    char *piece = malloc(room), *all = malloc(room * 64), *whole;
    Error e = {0};
    for (int trial = 0; trial < 500; trial++) { /* random ids: fragments and rubbish too */
        int32_t ids[40];
        int n = 1 + (int)rng_below(&r, 40);
        for (int i = 0; i < n; i++) ids[i] = (int32_t)rng_below(&r, trial % 2 ? 256 : bpe_vocab_size(ours));
        BpeStream s = {0};
        size_t k = 0;
        for (int i = 0; i < n; i++) {
            size_t m = bpe_stream(ours, &s, ids[i], piece, room);
            ck_assert_uint_eq(m, strlen(piece) + (memchr(piece, 0, m) ? m - strlen(piece) : 0));
            ck_assert_uint_eq(utf8_valid_prefix(piece, m), m); /* every piece is whole characters */
            memcpy(all + k, piece, m);
            k += m;
        }
        k += bpe_stream_end(&s, all + k, 8);
        size_t m;
        ck_assert(bpe_decode(ours, ids, n, false, &whole, &m, &e));
        ck_assert_msg(m == k && !memcmp(all, whole, k), "trial %d", trial);
        ck_assert_uint_eq(utf8_valid_prefix(whole, m), m);
        free(whole);
    }
    BpeStream s = {0}; /* one character, byte by byte */
    ck_assert_uint_eq(bpe_stream(ours, &s, 0xE5, piece, room), 0);
    ck_assert_uint_eq(bpe_stream(ours, &s, 0xB7, piece, room), 0);
    ck_assert_uint_eq(bpe_stream(ours, &s, 0xA6, piece, room), 3);
    ck_assert_str_eq(piece, "左");
    bpe_stream(ours, &s, 0xE5, piece, room);
    ck_assert_uint_eq(bpe_stream_end(&s, piece, room), 3);
    ck_assert_str_eq(piece, "\uFFFD");
    ck_assert_uint_eq(bpe_stream_end(&s, piece, room), 0);
    free(piece);
    free(all);
}
END_TEST

START_TEST(invalid_text_and_ids)
{
    static const struct {
        const char *text;
        size_t at;
    } bad[] = {{"ab\xff", 2}, {"\xc0\x80", 0},         {"a\xed\xa0\x80", 1}, {"\xe5\xb7", 0},
               {"\x80", 0},   {"\xf4\x90\x80\x80", 0}, {"左\xe5\xb7x", 3}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Error e = {0};
        int32_t *ids = NULL;
        int k;
        char expect[80];
        ck_assert(!bpe_encode(ours, bad[i].text, strlen(bad[i].text), false, &ids, &k, &e));
        snprintf(expect, sizeof expect, "text to encode: byte %zu (0x%02X) is not UTF-8", bad[i].at,
                 (unsigned char)bad[i].text[bad[i].at]);
        ck_assert_str_eq(e.msg, expect);
        ck_assert_int_eq(e.code, ERROR_INPUT);
        ck_assert_ptr_null(ids);
    }
    Error e = {0};
    char *text;
    size_t n;
    ck_assert(!bpe_decode(ours, (const int32_t[]){65, 100000}, 2, false, &text, &n, &e));
    ck_assert(strstr(e.msg, "number 1 is 100000"));
    ck_assert_ptr_null(bpe_token(ours, -1, &n));
    ck_assert_uint_eq(n, 0);
}
END_TEST

int main(void)
{
    Error e = {0};
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    train(420, in_folder("tokenizer.json"));
    ours = bpe_open(in_folder("tokenizer.json"), &e);
    if (!ours) {
        fprintf(stderr, "%s\n", e.msg);
        return EXIT_FAILURE;
    }
    Suite *suite = suite_create("bpe");
    TCase *t = tcase_create("ours");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, split_pieces);
    tcase_add_test(t, trained_vocabulary);
    tcase_add_test(t, training_repeats);
    tcase_add_test(t, heap_merges_by_the_definition);
    tcase_add_test(t, random_round_trips);
    tcase_add_test(t, long_runs);
    tcase_add_test(t, encoders);
    tcase_add_test(t, specials_only_when_asked);
    tcase_add_test(t, streaming);
    tcase_add_test(t, invalid_text_and_ids);
    suite_add_tcase(suite, t);
    const char *given = getenv("PCRL_LLAMA3");
    if (given) {
        char path[1024];
        snprintf(path, sizeof path, "%s/tokenizer.json", given);
        if (access(path, F_OK)) snprintf(path, sizeof path, "%s/tokenizer.model", given);
        llama3 = bpe_open(path, &e);
        if (!llama3) {
            fprintf(stderr, "%s\n", e.msg);
            return EXIT_FAILURE;
        }
    }
    SRunner *sr = srunner_create(suite);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    bpe_close(ours);
    bpe_close(llama3);
    char *const names[] = {"tokenizer.json", "again.json", "small.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(in_folder(names[i]));
    rmdir(folder);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
