/* BLEU-1..4 against the published numbers of tests/golden/metric_vectors.json and of three hand-cut pairs, and
 * against cases that can be worked out by hand. */
#include "tests/losses/corpus.h"
#include "tests/losses/vectors.h"
#include "tests/data/fail_alloc.h"

START_TEST(goldens)
{
    Error e = {0};
    json_t *root = vectors_open();
    for (int level = 0; level < 2; level++) {
        const json_t *expect = json_object_get(root, vectors_levels[level]);
        Words *w = words_open(&e);
        Tokens said[VECTORS], truth[VECTORS];
        double bleu[BLEU_ORDERS];
        vectors_tokens(root, level, w, said, truth);
        corpus_bleu(said, truth, VECTORS, bleu);
        for (size_t k = 0; k < BLEU_ORDERS; k++)
            CLOSE(bleu[k], vectors_number(json_object_get(expect, "BLEU"), k), 1e-12);
        for (size_t i = 0; i < VECTORS; i++) {
            corpus_bleu(&said[i], &truth[i], 1, bleu);
            for (size_t k = 0; k < BLEU_ORDERS; k++)
                CLOSE(bleu[k], vectors_number(json_array_get(json_object_get(expect, "BLEU_each"), k), i),
                      1e-12);
        }
        vectors_free(said, truth);
        words_close(w);
    }
    json_decref(root);
}
END_TEST

START_TEST(three_pairs)
{
    static const char *const truth_text[] = {
        "左侧 基底节 区见 小 片状 低密度 影 ， 边缘 欠 清晰 ， 无 占位 效应 。 ",
        "中线 结构 居中 ， 脑沟 、 脑池 稍 增宽 。 ", "双侧 大脑 半球 对称 ， 脑干 无异常 。 "};
    static const char *const said_text[] = {"右侧 基底节 区见 小 片状 低密度 影 ， 边缘 清晰 。 ",
                                            "中线 结构 居中 ， 脑沟 、 脑池 增宽 ， 脑回 变小 。 ",
                                            "双侧 大脑 半球 对称 ， 小脑 、 脑干 无异常 。 "};
    static const double expect[] = {0.79376032, 0.69836207, 0.64058404, 0.58470571};
    Error e = {0};
    Words *w = words_open(&e);
    Tokens said[3], truth[3];
    for (int i = 0; i < 3; i++)
        ck_assert(words_cut(w, said_text[i], WORDS_SPLIT, &said[i], &e) &&
                  words_cut(w, truth_text[i], WORDS_SPLIT, &truth[i], &e));
    double bleu[BLEU_ORDERS];
    corpus_bleu(said, truth, 3, bleu);
    for (int k = 0; k < BLEU_ORDERS; k++) CLOSE(bleu[k], expect[k], 1e-8);
    for (int i = 0; i < 3; i++) {
        tokens_free(&said[i]);
        tokens_free(&truth[i]);
    }
    words_close(w);
}
END_TEST

START_TEST(by_hand)
{
    double b[BLEU_ORDERS];
    /* "aaa" for "ab": one of three 1-grams (clipped), no 2-gram; longer than the truth, so no penalty */
    Tokens said = {(int32_t[]){1, 1, 1}, 3}, truth = {(int32_t[]){1, 2}, 2};
    corpus_bleu(&said, &truth, 1, b);
    CLOSE(b[0], 1.0 / 3, 1e-9);
    ck_assert(b[1] < 1e-6);
    /* the other way round: 1 of 2, times exp(1 - 3/2) */
    corpus_bleu(&truth, &said, 1, b);
    CLOSE(b[0], 0.5 * exp(-0.5), 1e-8);
    /* the same text is 1 in every order that it has */
    Tokens same = {(int32_t[]){5, 6, 7, 8, 5, 6}, 6};
    corpus_bleu(&same, &same, 1, b);
    for (int k = 0; k < BLEU_ORDERS; k++) CLOSE(b[k], 1.0, 1e-8);
    /* nothing said at all is finite */
    Tokens nothing = {NULL, 0};
    corpus_bleu(&nothing, &same, 1, b);
    ck_assert(b[0] >= 0 && b[0] < 1e-6);
}
END_TEST

START_TEST(cutting)
{
    Error e = {0};
    Words *w = words_open(&e);
    Tokens t;
    ck_assert(words_cut(w, " a  b a\n", WORDS_SPLIT, &t, &e));
    ck_assert_int_eq(t.n, 3);
    ck_assert(t.id[0] == t.id[2] && t.id[0] != t.id[1]);
    tokens_free(&t);
    ck_assert(words_cut(w, "a b ", WORDS_SPACES, &t, &e));
    ck_assert_int_eq(t.n, 3); /* a, b, and the empty word after the last space */
    tokens_free(&t);
    ck_assert(words_cut(w, "a  b", WORDS_SPACES, &t, &e));
    ck_assert_int_eq(t.n, 3);
    tokens_free(&t);
    Tokens none;
    ck_assert(words_cut(w, " ", WORDS_SPLIT, &t, &e) && words_cut(w, "None", WORDS_SPLIT, &none, &e));
    ck_assert(t.n == 1 && t.id[0] == none.id[0]);
    tokens_free(&t);
    tokens_free(&none);
    char many[4000] = "";
    for (int i = 0; i < 700; i++) sprintf(many + strlen(many), "%d ", i);
    ck_assert(words_cut(w, many, WORDS_SPLIT, &t, &e));
    ck_assert_int_eq(t.n, 700);
    for (int i = 1; i < 700; i++) ck_assert_int_ne(t.id[i], t.id[i - 1]);
    tokens_free(&t);
    /* every character that Python's split() takes for white space */
    ck_assert(words_cut(w,
                        "a\x1c"
                        "b\x1d"
                        "c\x1e"
                        "d\x1f"
                        "e\xc2\x85"
                        "f\u00a0g\u1680h\u2028i\u2029j\u202fk\u205fl",
                        WORDS_SPLIT, &t, &e));
    ck_assert_int_eq(t.n, 12);
    tokens_free(&t);
    ck_assert(words_characters("左 a\u3000\xff", &t, &e));
    ck_assert(t.n == 3 && t.id[0] == 0x5DE6 && t.id[1] == 'a' && t.id[2] == 0xFFFD);
    tokens_free(&t);
    ck_assert(words_characters(" \n", &t, &e) && t.n == 1);
    tokens_free(&t);
    words_close(w);
}
END_TEST

/* More words than there is room for at first; then scores of their texts. */
static bool score_once(Error *e)
{
    static char text[6000];
    Tokens t = {0}, characters = {0};
    BleuCounts sum[2];
    if (!*text)
        for (int i = 0, n = 0; i < 1000; i++) n += sprintf(text + n, "%d ", i);
    Words *w = words_open(e);
    bool ok = w && words_cut(w, text, WORDS_SPLIT, &t, e) && words_characters(text, &characters, e) &&
              bleu_count(&t, &characters, &sum[0], e) &&
              bleu_constants((const Tokens[]){t, characters}, 2, &t, 1, sum, e) && t.n == 1000;
    tokens_free(&t);
    tokens_free(&characters);
    words_close(w);
    return ok;
}

START_TEST(allocations) { ck_assert_int_gt(fail_each(score_once), 1000); }
END_TEST

int main(void)
{
    Suite *s = suite_create("bleu");
    TCase *t = tcase_create("bleu");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, goldens);
    tcase_add_test(t, three_pairs);
    tcase_add_test(t, by_hand);
    tcase_add_test(t, cutting);
    tcase_add_test(t, allocations);
    suite_add_tcase(s, t);
    return vectors_run(s);
}
