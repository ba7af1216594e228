/* Intervals and paired tests against what statistics says of proportions, ratios and equal systems; how often
 * the interval covers, and how often the test errs. */
#include "losses/bootstrap.h"
#include "tensor/rng.h"
#include <check.h>
#include <stdlib.h>
#include "tests/data/fail_alloc.h"

#define CLOSE(x, y, tolerance)                                                                                 \
    ck_assert_msg(fabs((double)(x) - (double)(y)) <= (tolerance), "%s is %.17g, expected %.17g", #x,           \
                  (double)(x), (double)(y))

enum { N = 400 };

/* Two sums: score 0 their ratio, score 1 whether the second is more than 3 (else undefined). */
static void ratio(const void *context, const double *sum, double *score)
{
    (void)context;
    score[0] = sum[1] > 0 ? sum[0] / sum[1] : NAN;
    score[1] = sum[1] > 3 ? 1 : NAN;
}

enum { REPEATS = 4000 };
static double score_a[2][REPEATS], score_b[2][REPEATS], room[2 * REPEATS];

/* The interval of score 0; all (2) gets the scores. */
static Interval interval_of(const double *rows, int n, int repeats, uint64_t seed, double *all)
{
    Error e = {0};
    ck_assert_int_le(repeats, REPEATS);
    ck_assert(bootstrap_scores(rows, n, 2, ratio, NULL, 2, repeats, seed, all, score_a[0], &e));
    return bootstrap_interval(score_a[0], repeats, room);
}

static PairedTest test_of(const double *a, const double *b, int n, int repeats, uint64_t seed)
{
    Error e = {0};
    double all_a[2], all_b[2];
    ck_assert(bootstrap_scores(a, n, 2, ratio, NULL, 2, repeats, seed, all_a, score_a[0], &e));
    ck_assert(bootstrap_scores(b, n, 2, ratio, NULL, 2, repeats, seed, all_b, score_b[0], &e));
    return bootstrap_paired(score_a[0], score_b[0], all_a[0], all_b[0], repeats, room);
}

START_TEST(interval_of_a_proportion)
{
    double rows[N][2], all[2], sd = sqrt(0.6 * 0.4 / N);
    for (int i = 0; i < N; i++) rows[i][0] = i % 5 < 3, rows[i][1] = 1;
    Interval a = interval_of(rows[0], N, 2000, 1, all), b = interval_of(rows[0], N, 2000, 1, all),
             second = bootstrap_interval(score_a[0] + 2000, 2000, room),
             c = interval_of(rows[0], N, 2000, 2, all);
    ck_assert(all[0] == 0.6 && all[1] == 1);
    CLOSE(a.sd, sd, 0.05 * sd);
    CLOSE(a.low, 0.6 - 1.96 * sd, 0.15 * sd);
    CLOSE(a.high, 0.6 + 1.96 * sd, 0.15 * sd);
    ck_assert(a.low == b.low && a.high == b.high && a.sd == b.sd && a.n == 2000);
    ck_assert(a.sd != c.sd);
    ck_assert(second.low == 1 && second.high == 1 && second.sd == 0 && second.n == 2000);
}
END_TEST

/* The ratios of several columns have the intervals of the same ratios as scores: the draws are the same. */
START_TEST(ratios)
{
    enum { K = 3 };
    double part[N][K], whole[N][K], rows[N][2], all[2];
    Interval of[K];
    Error e = {0};
    Rng rng = rng_open(3, "ratios");
    for (int i = 0; i < N; i++)
        for (int j = 0; j < K; j++) {
            whole[i][j] = j == 2 ? 0 : (double)rng_below(&rng, 5);
            part[i][j] = whole[i][j] * (double)rng_below(&rng, 10) / 9;
        }
    ck_assert(bootstrap_ratios(part[0], whole[0], N, K, 500, 9, of, &e));
    for (int j = 0; j < K; j++) {
        for (int i = 0; i < N; i++) rows[i][0] = part[i][j], rows[i][1] = whole[i][j];
        Interval one = interval_of(rows[0], N, 500, 9, all);
        ck_assert_int_eq(of[j].n, j == 2 ? 0 : 500);
        if (j == 2) continue;
        ck_assert(of[j].low < all[0] - 0.01 && of[j].high > all[0] + 0.01);
        CLOSE(of[j].low, one.low, 1e-12);
        CLOSE(of[j].high, one.high, 1e-12);
        CLOSE(of[j].sd, one.sd, 1e-12);
    }
    ck_assert(of[0].low != of[1].low && isnan(of[2].low) && isnan(of[2].high));
    ck_assert(bootstrap_ratios(NULL, NULL, 0, K, 5, 1, of, &e) && isnan(of[0].low) && of[0].n == 0);
}
END_TEST

/* Of 0, 1, ..., 200 the percentiles are 5 and 195; of two numbers they lie 0.025 of the way in. */
START_TEST(percentiles)
{
    double x[202], all[2];
    for (int i = 0; i <= 200; i++) x[i] = i * 77 % 201;
    x[201] = NAN;
    Interval i = bootstrap_interval(x, 202, room);
    ck_assert(i.low == 5 && i.high == 195 && i.n == 201);
    CLOSE(i.sd, sqrt(201 * 202 / 12.0), 1e-9);
    i = bootstrap_interval((double[]){7, 5}, 2, room);
    CLOSE(i.low, 5.05, 1e-12);
    CLOSE(i.high, 6.95, 1e-12);
    i = bootstrap_interval((double[]){NAN, 5}, 2, room);
    ck_assert(i.n == 1 && isnan(i.low) && isnan(i.high));
    i = interval_of(NULL, 0, 3, 1, all);
    ck_assert(i.n == 0 && isnan(i.low) && isnan(all[0]));
    Interval a = {0, 1, 0, 9}, b = {1, 2, 0, 9}, c = {1.5, 2, 0, 9}, none = {NAN, NAN, 0, 0};
    ck_assert(intervals_overlap(&a, &b) && intervals_overlap(&b, &a) && intervals_overlap(&b, &c));
    ck_assert(!intervals_overlap(&a, &c) && !intervals_overlap(&c, &a) && !intervals_overlap(&a, &none));
}
END_TEST

/* A score that is defined in some resamples only: two studies, of which only the second has a whole. */
START_TEST(undefined_resamples)
{
    double rows[2][2] = {{0, 0}, {1, 1}}, all[2];
    Interval i = interval_of(rows[0], 2, 4000, 1, all);
    CLOSE(i.n, 3000, 150); /* 3 of 4 resamples have it */
    ck_assert(i.low == 1 && i.high == 1 && all[0] == 1 && isnan(all[1]));
}
END_TEST

/* One study has scores, but no interval and no test. */
START_TEST(one_study)
{
    double a[1][2] = {{3, 4}}, b[1][2] = {{1, 4}}, all[2];
    Interval i = interval_of(a[0], 1, 100, 1, all);
    ck_assert(all[0] == 0.75 && i.n == 0 && isnan(i.low) && isnan(i.high));
    PairedTest p = test_of(a[0], b[0], 1, 100, 1);
    ck_assert(p.difference == 0.5 && isnan(p.interval.low) && isnan(p.p));
}
END_TEST

/* Of 200 samples of 100 studies each, about 95 % of the intervals cover the true ratio; and of tests between
 * two systems that are the same but for chance about 5 % are below 0.05, and half below 0.5. */
START_TEST(coverage_and_level)
{
    enum { SAMPLES = 200, STUDIES = 100 };
    Rng rng = rng_open(7, "test");
    int covers = 0, below_5 = 0, below_50 = 0;
    for (int s = 0; s < SAMPLES; s++) {
        double a[STUDIES][2], b[STUDIES][2], all[2];
        for (int i = 0; i < STUDIES; i++) {
            a[i][1] = b[i][1] = 1;
            double shared = 0.5 * rng_normal(&rng);
            a[i][0] = 3 + shared + rng_normal(&rng);
            b[i][0] = 3 + shared + rng_normal(&rng);
        }
        Interval x = interval_of(a[0], STUDIES, 400, (uint64_t)s, all);
        PairedTest p = test_of(a[0], b[0], STUDIES, 400, (uint64_t)s);
        covers += x.low <= 3 && 3 <= x.high;
        below_5 += p.p < 0.05;
        below_50 += p.p < 0.5;
    }
    CLOSE(covers, 190, 9);
    CLOSE(below_5, 10, 9);
    CLOSE(below_50, 100, 21);
}
END_TEST

START_TEST(paired)
{
    double a[N][2], b[N][2];
    for (int i = 0; i < N; i++) {
        a[i][0] = i % 5 < 3, b[i][0] = i % 5 < 3 && i % 10 != 0; /* b errs wherever a does, and in 40 more */
        a[i][1] = b[i][1] = 1;
    }
    PairedTest p = test_of(a[0], b[0], N, 1000, 1), back = test_of(b[0], a[0], N, 1000, 1),
               same = test_of(a[0], a[0], N, 1000, 1);
    CLOSE(p.difference, 0.1, 1e-12);
    double sd = sqrt(0.1 * 0.9 / N); /* of the pairs' difference; unpaired it would be 0.034 */
    CLOSE(p.interval.sd, sd, 0.08 * sd);
    CLOSE(p.p, 2.0 / 1001, 1e-12);
    ck_assert(p.interval.low > 0.05 && p.interval.high < 0.15);
    CLOSE(back.difference, -p.difference, 1e-12);
    CLOSE(back.interval.low, -p.interval.high, 1e-12);
    CLOSE(back.p, p.p, 0);
    ck_assert(same.difference == 0 && same.p == 1 && same.interval.high == 0);
    p = test_of(NULL, NULL, 0, 10, 1);
    ck_assert(isnan(p.difference) && isnan(p.p));
}
END_TEST

static bool resample_once(Error *e)
{
    double rows[3][2] = {{1, 2}, {0, 1}, {2, 2}}, all[2];
    Interval of[2];
    return bootstrap_scores(rows[0], 3, 2, ratio, NULL, 2, 5, 1, all, score_a[0], e) &&
           bootstrap_ratios(rows[0], rows[1], 2, 2, 5, 1, of, e);
}

START_TEST(allocations) { ck_assert_int_eq(fail_each(resample_once), 5); }
END_TEST

int main(void)
{
    Suite *s = suite_create("bootstrap");
    TCase *t = tcase_create("bootstrap");
    tcase_add_test(t, interval_of_a_proportion);
    tcase_add_test(t, ratios);
    tcase_add_test(t, percentiles);
    tcase_add_test(t, undefined_resamples);
    tcase_add_test(t, one_study);
    tcase_add_test(t, coverage_and_level);
    tcase_add_test(t, paired);
    tcase_add_test(t, allocations);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
