/* CIDEr against the numbers of tests/golden/metric_vectors.json, against the formula summed pair by pair of
 * n-grams, and on many texts. */
#include "losses/cider.h"
#include "tensor/rng.h"
#include "tests/losses/vectors.h"
#include <time.h>
#include "tests/data/fail_alloc.h"

START_TEST(goldens)
{
    Error e = {0};
    json_t *root = vectors_open();
    for (int level = 0; level < 2; level++) {
        const json_t *expect = json_object_get(root, vectors_levels[level]);
        Words *w = words_open(&e);
        Tokens said[VECTORS], truth[VECTORS];
        double each[VECTORS], mean = 0;
        vectors_tokens(root, level, w, said, truth);
        ck_assert(cider_score(said, truth, VECTORS, each, &e));
        for (size_t i = 0; i < VECTORS; i++) {
            CLOSE(each[i], vectors_number(json_object_get(expect, "CIDEr_each"), i), 1e-12);
            mean += each[i] / VECTORS;
        }
        CLOSE(mean, json_number_value(json_object_get(expect, "CIDEr")), 1e-12);
        vectors_free(said, truth);
        words_close(w);
    }
    json_decref(root);
}
END_TEST

static int occurrences(const Tokens *t, const int32_t *gram, int k)
{
    int count = 0;
    for (int i = 0; i + k <= t->n; i++) count += !memcmp(t->id + i, gram, (size_t)k * sizeof *gram);
    return count;
}

/* Has an earlier place of t the k-gram at i? */
static bool is_repeated(const Tokens *t, int i, int k)
{
    for (int j = 0; j < i; j++)
        if (!memcmp(t->id + j, t->id + i, (size_t)k * sizeof *t->id)) return true;
    return false;
}

static double weight(const Tokens *truth, int n, const int32_t *gram, int k)
{
    int documents = 0;
    for (int i = 0; i < n; i++) documents += occurrences(&truth[i], gram, k) > 0;
    return log(n) - log(documents > 1 ? documents : 1);
}

static double by_definition(const Tokens *said, const Tokens *truth, int n, int at)
{
    const Tokens *s = &said[at], *t = &truth[at];
    double sum = 0;
    for (int k = 1; k <= 4; k++) {
        double dot = 0, square_s = 0, square_t = 0;
        for (int i = 0; i + k <= s->n; i++) {
            if (is_repeated(s, i, k)) continue;
            double w = weight(truth, n, s->id + i, k), h = occurrences(s, s->id + i, k) * w,
                   r = occurrences(t, s->id + i, k) * w;
            dot += fmin(h, r) * r;
            square_s += h * h;
        }
        for (int i = 0; i + k <= t->n; i++)
            if (!is_repeated(t, i, k))
                square_t += pow(occurrences(t, t->id + i, k) * weight(truth, n, t->id + i, k), 2);
        if (square_s > 0 && square_t > 0) sum += dot / sqrt(square_s * square_t);
    }
    int delta = (s->n ? s->n - 1 : 0) - (t->n ? t->n - 1 : 0);
    return 10 * sum / 4 * exp(-delta * delta / 72.0);
}

START_TEST(by_definition_too)
{
    enum { N = 12, LONG = 40 };
    static int32_t id[2 * N][LONG];
    Rng r = rng_open(3, "cider");
    Error e = {0};
    for (int trial = 0; trial < 40; trial++) {
        Tokens said[N], truth[N];
        int64_t kinds = 1 + rng_below(&r, 9), longest = 1 + rng_below(&r, LONG + 1);
        for (int i = 0; i < 2 * N; i++) {
            Tokens *t = i < N ? &said[i] : &truth[i - N];
            *t = (Tokens){id[i], (int)rng_below(&r, longest)}; /* none too */
            for (int k = 0; k < t->n; k++) id[i][k] = (int32_t)(rng_below(&r, kinds) * 200000003);
        }
        double each[N];
        ck_assert(cider_score(said, truth, N, each, &e));
        for (int i = 0; i < N; i++) CLOSE(each[i], by_definition(said, truth, N, i), 1e-10);
    }
}
END_TEST

START_TEST(edges)
{
    Error e = {0};
    double each[2];
    ck_assert(cider_score(NULL, NULL, 0, NULL, &e));
    Tokens a = {(int32_t[]){1, 2, 3, 4, 5}, 5}, none = {NULL, 0};
    ck_assert(cider_score(&a, &a, 1, each, &e) && each[0] == 0); /* log 1 is 0 */
    Tokens said[] = {a, none}, truth[] = {a, none};
    ck_assert(cider_score(said, truth, 2, each, &e));
    CLOSE(each[0], 10.0, 1e-12);
    ck_assert(each[1] == 0);
    said[0] = (Tokens){(int32_t[]){INT32_MAX, -1, INT32_MIN, 0}, 4}; /* any number is a token */
    ck_assert(cider_score(said, truth, 2, each, &e) && each[0] == 0 && each[1] == 0);
}
END_TEST

/* A million short pairs, then one of a million tokens: a quadratic step would take days. */
START_TEST(many)
{
    enum { PAIRS = 1000000, LENGTH = 12 };
    int32_t *id = malloc(sizeof *id * (PAIRS + LENGTH));
    Tokens *said = malloc(sizeof *said * PAIRS), *truth = malloc(sizeof *truth * PAIRS);
    double *each = malloc(sizeof *each * PAIRS), sum = 0;
    ck_assert(id && said && truth && each);
    Rng r = rng_open(4, "many");
    for (int i = 0; i < PAIRS + LENGTH; i++) id[i] = (int32_t)rng_below(&r, 60);
    for (int i = 0; i < PAIRS; i++) {
        truth[i] = (Tokens){id + i, LENGTH};
        said[i] = i % 2 ? truth[i] : (Tokens){id + (i + 1), LENGTH - 1};
    }
    Error e = {0};
    clock_t start = clock();
    ck_assert(cider_score(said, truth, PAIRS, each, &e));
    for (int i = 0; i < PAIRS; i++) sum += each[i];
    ck_assert(sum > 5.0 * PAIRS && sum < 10.0 * PAIRS);
    Tokens whole[] = {{id, PAIRS}, truth[0]};
    ck_assert(cider_score(whole, whole, 2, each, &e));
    CLOSE(each[0], 10.0, 1e-9);
    ck_assert(each[1] == 0); /* what the second has, the first has too */
    printf("cider: a million pairs in %.1f s\n", (double)(clock() - start) / CLOCKS_PER_SEC);
    free(id);
    free(said);
    free(truth);
    free(each);
}
END_TEST

/* Texts of more n-grams than there is room for at first. */
static bool score_once(Error *e)
{
    int32_t id[400];
    double each[2];
    for (int i = 0; i < 400; i++) id[i] = i;
    const Tokens text[2] = {{id, 400}, {id + 200, 200}};
    return cider_score(text, text, 2, each, e) && each[0] > 9;
}

START_TEST(allocations) { ck_assert_int_gt(fail_each(score_once), 10); }
END_TEST

int main(void)
{
    Suite *s = suite_create("cider");
    TCase *t = tcase_create("cider");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, goldens);
    tcase_add_test(t, by_definition_too);
    tcase_add_test(t, edges);
    tcase_add_test(t, many);
    tcase_add_test(t, allocations);
    suite_add_tcase(s, t);
    return vectors_run(s);
}
