/* ROUGE-L against the published numbers of tests/golden/metric_vectors.json, the exact mode with its empty last
 * words, and a brute-force longest common subsequence. */
#include "losses/rouge.h"
#include "tensor/rng.h"
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
        double score, mean = 0;
        vectors_tokens(root, level, w, said, truth);
        for (size_t i = 0; i < VECTORS; i++) {
            ck_assert(rouge_l(&said[i], &truth[i], &score, &e));
            CLOSE(score, vectors_number(json_object_get(expect, "ROUGE_each"), i), 1e-12);
            mean += score / VECTORS;
        }
        CLOSE(mean, json_number_value(json_object_get(expect, "ROUGE_L")), 1e-12);
        vectors_free(said, truth);
        words_close(w);
    }
    json_decref(root);
}
END_TEST

/* Every text ends in a space: cut at single spaces, both sides get one empty word, and the two match. */
START_TEST(empty_last_words)
{
    static const char *const truth_text[] = {
        "左侧 基底节 区见 小 片状 低密度 影 ， 边缘 欠 清晰 ， 无 占位 效应 。 ",
        "中线 结构 居中 ， 脑沟 、 脑池 稍 增宽 。 ", "双侧 大脑 半球 对称 ， 脑干 无异常 。 "};
    static const char *const said_text[] = {"右侧 基底节 区见 小 片状 低密度 影 ， 边缘 清晰 。 ",
                                            "中线 结构 居中 ， 脑沟 、 脑池 增宽 ， 脑回 变小 。 ",
                                            "双侧 大脑 半球 对称 ， 小脑 、 脑干 无异常 。 "};
    static const double expect[] = {0.73574561, 0.84604716, 0.91652755};
    Error e = {0};
    Words *w = words_open(&e);
    Tokens said[3], truth[3];
    double score, mean = 0;
    for (int i = 0; i < 3; i++) {
        ck_assert(words_cut(w, said_text[i], WORDS_SPACES, &said[i], &e) &&
                  words_cut(w, truth_text[i], WORDS_SPACES, &truth[i], &e));
        ck_assert(rouge_l(&said[i], &truth[i], &score, &e));
        CLOSE(score, expect[i], 1e-8);
        mean += score / 3;
    }
    CLOSE(mean, 0.83277344, 1e-8);
    for (int i = 0; i < 3; i++) {
        tokens_free(&said[i]);
        tokens_free(&truth[i]);
    }
    words_close(w);
}
END_TEST

/* Longest common subsequence by trying every subset of a. */
static int common_brute(const Tokens *a, const Tokens *b)
{
    int best = 0;
    for (int mask = 0; mask < 1 << a->n; mask++) {
        int taken = 0, matched = 0, j = 0;
        for (int i = 0; i < a->n; i++) {
            if (!(mask >> i & 1)) continue;
            taken++;
            while (j < b->n && b->id[j] != a->id[i]) j++;
            if (j == b->n) break;
            matched++;
            j++;
        }
        if (matched == taken && taken > best) best = taken;
    }
    return best;
}

START_TEST(against_brute_force)
{
    Rng r = rng_open(1, "rouge");
    Error e = {0};
    for (int trial = 0; trial < 300; trial++) {
        int32_t x[10], y[12];
        Tokens a = {x, 1 + (int)rng_below(&r, 10)}, b = {y, 1 + (int)rng_below(&r, 12)};
        for (int i = 0; i < a.n; i++) x[i] = (int32_t)rng_below(&r, 4);
        for (int i = 0; i < b.n; i++) y[i] = (int32_t)rng_below(&r, 4);
        double score, p = (double)common_brute(&a, &b) / a.n, rec = p * a.n / b.n;
        ck_assert(rouge_l(&a, &b, &score, &e));
        CLOSE(score, p > 0 ? 2.44 * p * rec / (rec + 1.44 * p) : 0.0, 1e-12);
    }
    Tokens none = {NULL, 0}, one = {(int32_t[]){1}, 1};
    double score;
    ck_assert(rouge_l(&none, &one, &score, &e) && score == 0);
    ck_assert(rouge_l(&one, &none, &score, &e) && score == 0);
}
END_TEST

static bool score_once(Error *e)
{
    const Tokens t = {(int32_t[]){1, 2, 3}, 3};
    double score;
    return rouge_l(&t, &t, &score, e) && score == 1;
}

START_TEST(allocations) { ck_assert_int_eq(fail_each(score_once), 1); }
END_TEST

int main(void)
{
    Suite *s = suite_create("rouge");
    TCase *t = tcase_create("rouge");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, goldens);
    tcase_add_test(t, empty_last_words);
    tcase_add_test(t, against_brute_force);
    tcase_add_test(t, allocations);
    suite_add_tcase(s, t);
    return vectors_run(s);
}
