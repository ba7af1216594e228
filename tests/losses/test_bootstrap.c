/* Intervals and paired tests against what statistics says of proportions, ratios and equal systems; how often
 * the interval covers, and how often the test errs. */
#include "losses/bootstrap.h"
#include "tensor/rng.h"
#include <check.h>
#include <stdlib.h>

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

START_TEST(interval_of_a_proportion)
{
    double rows[N][2];
    for (int i = 0; i < N; i++) rows[i][0] = i % 5 < 3, rows[i][1] = 1;
    Interval a[2], b[2], c[2];
    Error e = {0};
    ck_assert(bootstrap_intervals(rows[0], N, 2, ratio, NULL, 2, 2000, 1, a, &e));
    ck_assert(bootstrap_intervals(rows[0], N, 2, ratio, NULL, 2, 2000, 1, b, &e));
    ck_assert(bootstrap_intervals(rows[0], N, 2, ratio, NULL, 2, 2000, 2, c, &e));
    double sd = sqrt(0.6 * 0.4 / N);
    CLOSE(a[0].sd, sd, 0.05 * sd);
    CLOSE(a[0].low, 0.6 - 1.96 * sd, 0.15 * sd);
    CLOSE(a[0].high, 0.6 + 1.96 * sd, 0.15 * sd);
    ck_assert(a[0].low == b[0].low && a[0].high == b[0].high && a[0].sd == b[0].sd && a[0].n == 2000);
    ck_assert(a[0].sd != c[0].sd);
    ck_assert(a[1].low == 1 && a[1].high == 1 && a[1].sd == 0);
    double old; /* the same draws as the older form */
    double part[N], whole[N];
    for (int i = 0; i < N; i++) part[i] = rows[i][0], whole[i] = rows[i][1];
    ck_assert(bootstrap_ratios(part, whole, N, 1, 2000, 1, &old, &e));
    CLOSE(a[0].sd, old, 1e-12);
}
END_TEST

/* Two resamples x < y: the percentiles lie 0.025 of the way in, and the sd is (y - x) / sqrt 2. */
START_TEST(percentiles)
{
    double rows[3][2] = {{5, 1}, {7, 1}, {12, 1}};
    Interval out[2];
    Error e = {0};
    ck_assert(bootstrap_intervals(rows[0], 3, 2, ratio, NULL, 2, 2, 1, out, &e));
    ck_assert(out[0].sd > 0.1 && out[0].n == 2);
    CLOSE(out[0].high - out[0].low, 0.95 * sqrt(2) * out[0].sd, 1e-12);
    ck_assert(out[1].n == 0 && isnan(out[1].low) && isnan(out[1].high)); /* never defined */
    ck_assert(bootstrap_intervals(NULL, 0, 2, ratio, NULL, 2, 3, 1, out, &e));
    ck_assert(out[0].n == 0 && isnan(out[0].low));
    Interval a = {0, 1, 0, 9}, b = {1, 2, 0, 9}, c = {1.5, 2, 0, 9}, none = {NAN, NAN, 0, 0};
    ck_assert(intervals_overlap(&a, &b) && intervals_overlap(&b, &a) && intervals_overlap(&b, &c));
    ck_assert(!intervals_overlap(&a, &c) && !intervals_overlap(&c, &a) && !intervals_overlap(&a, &none));
}
END_TEST

/* A score that is defined in some resamples only: two studies, of which only the second has a whole. */
START_TEST(undefined_resamples)
{
    double rows[2][2] = {{0, 0}, {1, 1}};
    Interval out[2];
    Error e = {0};
    ck_assert(bootstrap_intervals(rows[0], 2, 2, ratio, NULL, 2, 4000, 1, out, &e));
    CLOSE(out[0].n, 3000, 150); /* 3 of 4 resamples have it */
    ck_assert(out[0].low == 1 && out[0].high == 1);
}
END_TEST

/* Of 200 samples of 100 studies each, about 95 % of the intervals cover the true ratio; and of tests between
 * two systems that are the same but for chance about 5 % are below 0.05, spread evenly. */
START_TEST(coverage_and_level)
{
    enum { SAMPLES = 200, STUDIES = 100 };
    Rng rng = rng_open(7, "test");
    int covers = 0, below_5 = 0, below_50 = 0;
    for (int s = 0; s < SAMPLES; s++) {
        double a[STUDIES][2], b[STUDIES][2];
        for (int i = 0; i < STUDIES; i++) {
            a[i][1] = b[i][1] = 1;
            double shared = 0.5 * rng_normal(&rng);
            a[i][0] = 3 + shared + rng_normal(&rng);
            b[i][0] = 3 + shared + rng_normal(&rng);
        }
        Interval x[2];
        PairedTest p[2];
        Error e = {0};
        ck_assert(bootstrap_intervals(a[0], STUDIES, 2, ratio, NULL, 2, 400, (uint64_t)s, x, &e));
        ck_assert(bootstrap_paired(a[0], b[0], STUDIES, 2, ratio, NULL, 2, 400, (uint64_t)s, p, &e));
        covers += x[0].low <= 3 && 3 <= x[0].high;
        below_5 += p[0].p < 0.05;
        below_50 += p[0].p < 0.5;
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
    PairedTest p[2], back[2], same[2];
    Error e = {0};
    ck_assert(bootstrap_paired(a[0], b[0], N, 2, ratio, NULL, 2, 1000, 1, p, &e));
    ck_assert(bootstrap_paired(b[0], a[0], N, 2, ratio, NULL, 2, 1000, 1, back, &e));
    ck_assert(bootstrap_paired(a[0], a[0], N, 2, ratio, NULL, 2, 1000, 1, same, &e));
    CLOSE(p[0].difference, 0.1, 1e-12);
    double sd = sqrt(0.1 * 0.9 / N); /* of the pairs' difference; unpaired it would be 0.034 */
    CLOSE(p[0].interval.sd, sd, 0.08 * sd);
    CLOSE(p[0].p, 2.0 / 1001, 1e-12);
    ck_assert(p[0].interval.low > 0.05 && p[0].interval.high < 0.15);
    CLOSE(back[0].difference, -p[0].difference, 1e-12);
    CLOSE(back[0].interval.low, -p[0].interval.high, 1e-12);
    CLOSE(back[0].p, p[0].p, 0);
    ck_assert(same[0].difference == 0 && same[0].p == 1 && same[0].interval.high == 0);
    ck_assert(bootstrap_paired(NULL, NULL, 0, 2, ratio, NULL, 2, 10, 1, same, &e));
    ck_assert(isnan(same[0].difference) && isnan(same[0].p));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("bootstrap");
    TCase *t = tcase_create("bootstrap");
    tcase_add_test(t, interval_of_a_proportion);
    tcase_add_test(t, percentiles);
    tcase_add_test(t, undefined_resamples);
    tcase_add_test(t, coverage_and_level);
    tcase_add_test(t, paired);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
