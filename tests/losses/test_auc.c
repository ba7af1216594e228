/* The area under the ROC curve against all pairs counted, with ties, and where it has no value. */
#include "losses/auc.h"
#include "tensor/rng.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include "tests/data/fail_alloc.h"

static double auc(const double *score, const uint8_t *truth, int64_t n)
{
    double x;
    Error e = {0};
    ck_assert(auc_score(score, truth, n, &x, &e));
    return x;
}

START_TEST(worked_examples)
{
    static const double score[] = {0.1, 0.4, 0.35, 0.8};
    ck_assert_double_eq(auc(score, (const uint8_t[]){0, 0, 1, 1}, 4), 0.75);
    ck_assert_double_eq(auc(score, (const uint8_t[]){0, 1, 0, 1}, 4), 1);
    ck_assert_double_eq(auc(score, (const uint8_t[]){1, 0, 1, 0}, 4), 0);
    ck_assert_double_eq(auc((const double[]){5, 5, 5}, (const uint8_t[]){0, 1, 0}, 3), 0.5);
    ck_assert_double_eq(auc((const double[]){1, 1, 2}, (const uint8_t[]){0, 1, 1}, 3), 0.75);
    ck_assert_double_eq(auc((const double[]){-INFINITY, INFINITY, 0}, (const uint8_t[]){0, 1, 1}, 3), 1);
    ck_assert_double_eq(auc((const double[]){-0.0, 0.0}, (const uint8_t[]){0, 1}, 2), 0.5);
}
END_TEST

START_TEST(no_value)
{
    static const double score[] = {1, 2, NAN};
    ck_assert(isnan(auc(score, (const uint8_t[]){1, 1}, 2)));
    ck_assert(isnan(auc(score, (const uint8_t[]){0, 0}, 2)));
    ck_assert(isnan(auc(score, (const uint8_t[]){0, 1, 0}, 3)));
    ck_assert(isnan(auc(score, NULL, 0)));
}
END_TEST

START_TEST(all_pairs)
{
    Rng rng = rng_open(3, "auc");
    for (int round = 0; round < 200; round++) {
        int n = 2 + (int)rng_below(&rng, 80), levels = 1 + (int)rng_below(&rng, round % 2 ? 5 : 1000);
        double score[82];
        uint8_t truth[82];
        int64_t twice = 0, pairs = 0;
        for (int i = 0; i < n; i++) {
            score[i] = (double)rng_below(&rng, levels) / 7 - 3;
            truth[i] = (uint8_t)rng_below(&rng, 2);
        }
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++)
                if (truth[i] && !truth[j]) {
                    pairs++;
                    twice += score[i] > score[j] ? 2 : score[i] == score[j];
                }
        double got = auc(score, truth, n);
        if (pairs)
            ck_assert_double_eq(got, (double)twice / (2 * (double)pairs));
        else
            ck_assert(isnan(got));
    }
}
END_TEST

/* A million scores: no number overflows. */
START_TEST(many)
{
    enum { N = 1000000 };
    double *score = malloc(N * sizeof *score);
    uint8_t *truth = malloc(N);
    for (int i = 0; i < N; i++) {
        truth[i] = (uint8_t)(i & 1);
        score[i] = i & 1 ? i : -i;
    }
    ck_assert_double_eq(auc(score, truth, N), 1);
    for (int i = 0; i < N; i++) score[i] = 1;
    ck_assert_double_eq(auc(score, truth, N), 0.5);
    free(score);
    free(truth);
}
END_TEST

static bool score_once(Error *e)
{
    double x;
    return auc_score((const double[]){1, 2}, (const uint8_t[]){0, 1}, 2, &x, e) && x == 1;
}

START_TEST(allocations) { ck_assert_int_eq(fail_each(score_once), 1); }
END_TEST

int main(void)
{
    Suite *s = suite_create("auc");
    TCase *t = tcase_create("auc");
    tcase_add_test(t, worked_examples);
    tcase_add_test(t, no_value);
    tcase_add_test(t, all_pairs);
    tcase_add_test(t, many);
    tcase_add_test(t, allocations);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
