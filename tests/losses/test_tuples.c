/* Tuple scores on a worked example, degenerate sets, and the bootstrap against the formula for a proportion. */
#include "losses/tuples.h"
#include "tensor/rng.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>

#define CLOSE(a, b, tol)                                                                                       \
    ck_assert_msg(fabs((a) - (b)) <= (tol), #a " = %.12g, expected %.12g", (double)(a), (double)(b))
enum { L = 1, R = 2, BOTH = 3, MID = 4 };

/* Findings: 0 and 1 focal and sided, 2 focal without sides, 3 sided but diffuse, 4 neither. */
static const uint8_t sided[] = {1, 1, 0, 1, 0}, focal[] = {1, 1, 1, 0, 0};
static const TupleTable table = {5, sided, focal};

START_TEST(worked_example)
{
    static const uint8_t truth[3][5] = {{L, 0, MID, R, 0}, {BOTH, R, 0, 0, MID}, {0, 0, 0, 0, 0}};
    static const uint8_t said[3][5] = {{L, 0, MID, L, 0}, {L, R, 0, 0, 0}, {0, 0, 0, R, 0}};
    static const double radius[3][5] = {{5, 0, 8, 0, 0}, {20, 6, 0, 0, 0}, {9, 9, 9, 9, 9}};
    TupleStudy s[3];
    for (int i = 0; i < 3; i++) s[i] = (TupleStudy){truth[i], said[i], radius[i], 0, i == 2};
    TupleScores t;
    tuples_score(&table, s, 3, &t);
    /* right: 0L, 2M, 1R. said: 3 + 2 + 1 + 1 outside the table. truth: 3 + 3. */
    ck_assert_int_eq(t.all.right, 3);
    ck_assert_int_eq(t.all.said, 7);
    ck_assert_int_eq(t.all.truth, 6);
    CLOSE(t.all.precision, 3 / 7., 1e-15);
    CLOSE(t.all.recall, 0.5, 1e-15);
    CLOSE(t.all.f1, 6 / 13., 1e-15);
    /* found on a side: 0 twice (one right), 1 once (right), 3 once (wrong) */
    ck_assert_int_eq(t.all.side_n, 4);
    CLOSE(t.all.side, 0.5, 1e-15);
    /* F1 of 0..4: 1/2, 1, 1, 0, 0; all five are named somewhere */
    CLOSE(t.finding[0].f1, 0.5, 1e-15);
    ck_assert_int_eq(t.all.macro_n, 5);
    CLOSE(t.all.macro, 2.5 / 5, 1e-15);
    CLOSE(t.exact, 0, 0);
    ck_assert_int_eq(t.focal.right, 3);
    ck_assert_int_eq(t.focal.said, 4);
    ck_assert_int_eq(t.focal.truth, 4);
    CLOSE(t.focal.f1, 0.75, 1e-15);
    CLOSE(t.focal.macro, 2.5 / 3, 1e-15);
    CLOSE(t.focal.side, 2 / 3., 1e-15);
    /* sizes: 5 | 6, 8 | - | 20; only the largest is on the wrong side. Radii of absent lesions do not count. */
    static const int64_t in_bin[] = {1, 2, 0, 1}, right[] = {1, 2, 0, 0}, found[] = {1, 2, 0, 1};
    for (int b = 0; b < TUPLES_SIZE_BINS; b++) {
        ck_assert_int_eq(t.focal_size[b].truth, in_bin[b]);
        ck_assert_int_eq(t.focal_size[b].right, right[b]);
        ck_assert_int_eq(t.focal_size[b].found, found[b]);
        ck_assert_int_eq(t.size[b].truth, in_bin[b]);
    }
    CLOSE(t.focal_size[1].recall, 1.0, 0);
    CLOSE(t.focal_size[1].f1, 2 * 0.75 / 1.75, 1e-15); /* precision of all sizes 3/4, recall 1 */
    CLOSE(t.focal_size[3].side, 0.0, 0);
    ck_assert(isnan(t.focal_size[2].side));
    ck_assert(isinf(t.focal_size[3].high_mm) && t.focal_size[0].low_mm == 0);
}
END_TEST

START_TEST(degenerate)
{
    static const uint8_t none[5] = {0}, some[5] = {L, R, MID, BOTH, MID};
    TupleScores t;
    TupleStudy quiet = {none, none, NULL, 0, 0}, perfect = {some, some, NULL, 0, 0},
               missed = {some, none, NULL, 1, 0};
    tuples_score(&table, &quiet, 1, &t);
    CLOSE(t.all.f1, 0, 0);
    CLOSE(t.exact, 1, 0);
    ck_assert(isnan(t.all.side));
    ck_assert_int_eq(t.all.macro_n, 0);
    tuples_score(&table, &perfect, 1, &t);
    CLOSE(t.all.f1, 1, 0);
    CLOSE(t.all.macro, 1, 0);
    CLOSE(t.all.side, 1, 0);
    CLOSE(t.focal.f1, 1, 0);
    CLOSE(t.exact, 1, 0);
    tuples_score(&table, &missed, 1, &t);
    CLOSE(t.all.recall, 0, 0);
    ck_assert_int_eq(t.all.truth, 6); /* five and one outside the table */
    CLOSE(t.exact, 0, 0);
    tuples_score(&table, NULL, 0, &t);
    CLOSE(t.exact, 0, 0);
}
END_TEST

/* One finding, always true and always said, on the right side in 60 % of 200 studies: the side's sd is that of
 * a proportion. */
START_TEST(bootstrap)
{
    static const uint8_t left[5] = {L}, right[5] = {R};
    TupleStudy s[200];
    for (int i = 0; i < 200; i++) s[i] = (TupleStudy){left, i % 5 < 3 ? left : right, NULL, 0, 0};
    TupleSpread a, b, c;
    Error e = {0};
    ck_assert(tuples_bootstrap(&table, s, 200, 1000, 1, &a, &e));
    ck_assert(tuples_bootstrap(&table, s, 200, 1000, 1, &b, &e));
    ck_assert(tuples_bootstrap(&table, s, 200, 1000, 2, &c, &e));
    double expect = sqrt(0.6 * 0.4 / 200);
    CLOSE(a.side, expect, 0.1 * expect);
    CLOSE(a.f1, expect, 0.1 * expect);
    CLOSE(a.exact, expect, 0.1 * expect);
    CLOSE(a.side, b.side, 0); /* the same seed */
    ck_assert(a.side != c.side);
    ck_assert(tuples_bootstrap(&table, s, 0, 10, 1, &a, &e) && a.f1 == 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tuples");
    TCase *t = tcase_create("tuples");
    tcase_add_test(t, worked_example);
    tcase_add_test(t, degenerate);
    tcase_add_test(t, bootstrap);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
