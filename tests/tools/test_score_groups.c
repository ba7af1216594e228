/* Intervals of few studies and of more than are resampled one by one. */
#include "tools/score_measures.h"
#include "tensor/rng.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>

enum { REPEATS = 100 };

/* Of n studies the first in ten thousand parts have their one finding right. */
static Measures take(int n, int right_parts, uint64_t seed)
{
    static const uint8_t sided[1] = {1}, focal[1] = {1}, left = 1, missed = 0;
    TupleTable table = {1, sided, focal};
    TupleStudy *studies = calloc((size_t)n, sizeof *studies);
    double *text = calloc((size_t)n * TEXT_SUMS, sizeof *text);
    ClinicalLists lists;
    Error e = {0};
    ck_assert(clinical_lists_open(&lists, NULL, &e));
    uint8_t *labels = calloc((size_t)n, (size_t)lists.width);
    for (int i = 0; i < n; i++)
        studies[i] =
            (TupleStudy){&left, (int64_t)i * 10000 < (int64_t)right_parts * n ? &left : &missed, NULL, 0, 0};
    MeasureInput in = {n, &table, studies, text, &lists, labels, labels};
    Measures m;
    ck_assert_msg(measures_take(&in, REPEATS, seed, &m, &e), "%s", e.msg);
    free(studies);
    free(text);
    free(labels);
    return m;
}

/* The share of right studies has the standard deviation sqrt(p (1 - p) / n), in groups or not; they stand in an
 * order that groups of neighbours would not forgive. */
static void check_spread(int n)
{
    Measures m = take(n, 3000, 7);
    double p = 0.3, expected = sqrt(p * (1 - p) / n);
    const Interval *i = &m.interval[MEASURE_EXACT];
    ck_assert_msg(fabs(m.value[MEASURE_EXACT] - p) <= 1.0 / n, "%g", m.value[MEASURE_EXACT]);
    ck_assert_msg(fabs(i->sd / expected - 1) < 0.2, "%d studies: %g, expected %g", n, i->sd, expected);
    ck_assert(i->n == REPEATS && i->low < p && i->high > p);
    ck_assert(fabs((i->high - i->low) / (2 * 1.96 * expected) - 1) < 0.25);
    measures_free(&m);
}

START_TEST(spread)
{
    check_spread(1000);
    check_spread(MEASURE_GROUPS + 1);
    check_spread(4 * MEASURE_GROUPS + 3);
}
END_TEST

START_TEST(same_seed)
{
    Measures a = take(MEASURE_GROUPS + 10, 5000, 3), b = take(MEASURE_GROUPS + 10, 5000, 3),
             c = take(MEASURE_GROUPS + 10, 5000, 4);
    const Interval *x = a.interval, *y = b.interval, *z = c.interval;
    ck_assert(x[MEASURE_EXACT].low == y[MEASURE_EXACT].low && x[MEASURE_EXACT].sd == y[MEASURE_EXACT].sd);
    ck_assert(x[MEASURE_EXACT].sd != z[MEASURE_EXACT].sd);
    measures_free(&a), measures_free(&b), measures_free(&c);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("score_groups");
    TCase *t = tcase_create("score_groups");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, spread);
    tcase_add_test(t, same_seed);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
