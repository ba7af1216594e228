/* Tuple scores on a worked example, degenerate sets and scores from sums. */
#include "losses/tuples.h"
#include "tensor/rng.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include "tests/data/fail_alloc.h"

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

static void same_scores(const TupleScore *a, const TupleScore *b)
{
    ck_assert(a->right == b->right && a->said == b->said && a->truth == b->truth &&
              a->side_right == b->side_right && a->side_n == b->side_n);
    ck_assert(a->f1 == b->f1 && a->precision == b->precision && a->recall == b->recall &&
              a->macro == b->macro && a->macro_n == b->macro_n &&
              (a->side == b->side || (isnan(a->side) && isnan(b->side))));
}

/* Random studies, the empty and the exact among them: their rows' sum has the scores of all. */
START_TEST(sums)
{
    enum { N = 60 };
    uint8_t truth[N][5], said[N][5];
    TupleStudy s[N];
    double row[TUPLE_SUMS(5)], sum[TUPLE_SUMS(5)] = {0};
    Rng r = rng_open(3, "test");
    for (int i = 0; i < N; i++) {
        for (int f = 0; f < 5; f++) {
            truth[i][f] = rng_below(&r, 2) ? (uint8_t)rng_below(&r, 4) : 0;
            said[i][f] = i % 3 ? (uint8_t)rng_below(&r, 3) : truth[i][f];
        }
        s[i] = (TupleStudy){truth[i], said[i], NULL, i == 3 || i == 10, i == 9 ? 2 : 0};
        tuples_row(&table, &s[i], row);
        for (int j = 0; j < TUPLE_SUMS(5); j++) sum[j] += row[j];
    }
    TupleScores a, b;
    tuples_score(&table, s, N, &a);
    tuples_from_sums(&table, sum, &b);
    same_scores(&a.all, &b.all);
    same_scores(&a.focal, &b.focal);
    for (int f = 0; f < 5; f++) same_scores(&a.finding[f], &b.finding[f]);
    CLOSE(b.exact, a.exact, 0);
    ck_assert(a.exact > 0.2 && a.all.f1 > 0.1 && a.all.f1 < 0.9);
    double none[TUPLE_SUMS(5)] = {0};
    tuples_from_sums(&table, none, &b);
    ck_assert(b.all.f1 == 0 && b.exact == 0 && isnan(b.all.side));
}
END_TEST

/* Pairs of patients 0..4, each with its truths: two mirrored, one removed, and twins of 0 and of 3. */
enum { PAIRS = 5 };
static const uint8_t first[PAIRS][5] = {
    {L, 0, MID, 0, 0}, {0, R, 0, BOTH, 0}, {L, R, 0, 0, MID}, {L, 0, MID, 0, 0}, {0, 0, 0, R, 0}};
static const uint8_t second[PAIRS][5] = {
    {R, 0, MID, 0, 0}, {0, L, 0, BOTH, 0}, {L, 0, 0, 0, MID}, {L, 0, MID, 0, 0}, {0, 0, 0, R, 0}};
static const double radius[PAIRS][5] = {{5, 0, 20, 0, 0}, {0, 7, 0, 30, 0}, {5, 14, 0, 0, 0}};

static TuplePairScores pair_scores(const uint8_t (*a)[5], const uint8_t (*b)[5], int other)
{
    TuplePair p[PAIRS];
    TuplePairScores s;
    Error e = {0};
    for (int i = 0; i < PAIRS; i++)
        p[i] = (TuplePair){{first[i], a[i], radius[i], 0, 0},
                           {second[i], b[i], NULL, 0, i == 0 ? other : 0},
                           i < 3 ? i : i - 3};
    ck_assert(tuples_pairs(&table, p, PAIRS, 100, 1, &s, &e));
    return s;
}

START_TEST(pairs_of_perfect_reports)
{
    TuplePairScores s = pair_scores(first, second, 0);
    ck_assert(s.changed.n == 3 && s.mirrored.n == 2 && s.removed.n == 1 && s.same.n == 2);
    CLOSE(s.changed.follow_share, 1, 0);
    CLOSE(s.changed.still_share, 0, 0);
    ck_assert(s.changed.follow_interval.low == 1 && s.changed.follow_interval.high == 1);
    ck_assert(isnan(s.size[2].follow_interval.low));
    CLOSE(s.mirrored.follow_share, 1, 0);
    CLOSE(s.removed.follow_share, 1, 0);
    CLOSE(s.same.still_share, 1, 0); /* no twin changed */
    /* the changed lesion's radius, not the largest: 5, 7, 14 */
    static const int64_t in_bin[] = {1, 1, 0, 1};
    for (int b = 0; b < TUPLES_SIZE_BINS; b++) ck_assert_int_eq(s.size[b].n, in_bin[b]);
    ck_assert(isnan(s.size[2].follow_share));
    s = pair_scores(first, second, 1); /* a tuple outside the table, of one report only */
    ck_assert_int_eq(s.changed.follow, 2);
}
END_TEST

START_TEST(pairs_that_ignore_the_change)
{
    TuplePairScores s = pair_scores(first, first, 0); /* right for the original, and then the same again */
    CLOSE(s.changed.follow_share, 0, 0);
    CLOSE(s.changed.still_share, 1, 0);
    CLOSE(s.same.still_share, 1, 0);
    static const uint8_t constant[PAIRS][5] = {
        {L, R, 0, 0, 0}, {L, R, 0, 0, 0}, {L, R, 0, 0, 0}, {L, R, 0, 0, 0}, {L, R, 0, 0, 0}};
    s = pair_scores(constant, constant, 0);
    CLOSE(s.changed.follow_share, 0, 0);
    CLOSE(s.changed.still_share, 1, 0);
    CLOSE(s.same.still_share, 1, 0);
}
END_TEST

START_TEST(pairs_of_flawed_reports)
{
    /* 0: follows, though a false alarm stands in both; 1: the changed finding is right, another one moves;
     * 2: the lesion goes, but its first side was wrong; twin of 0: a finding is lost. */
    static const uint8_t a[PAIRS][5] = {
        {L, R, MID, 0, 0}, {0, R, 0, BOTH, 0}, {L, L, 0, 0, MID}, {L, 0, MID, 0, 0}, {0, 0, 0, L, 0}};
    static const uint8_t b[PAIRS][5] = {
        {R, R, MID, 0, 0}, {0, L, 0, L, 0}, {L, 0, 0, 0, MID}, {L, 0, 0, 0, 0}, {0, 0, 0, L, 0}};
    TuplePairScores s = pair_scores(a, b, 0);
    ck_assert(s.changed.follow == 1 && s.mirrored.follow == 1 && s.removed.follow == 0 && s.changed.still == 0);
    ck_assert(s.size[0].follow == 1 && s.size[1].follow == 0 && s.size[3].follow == 0);
    CLOSE(s.same.still_share, 0.5, 0);
    ck_assert(s.changed.follow_interval.low == 0 && s.changed.follow_interval.high == 1);
    ck_assert(s.same.still_interval.low == 0 && s.same.still_interval.high == 1);
    TuplePairScores none;
    Error e = {0};
    ck_assert(tuples_pairs(&table, NULL, 0, 10, 1, &none, &e));
    ck_assert(none.changed.n == 0 && isnan(none.changed.follow_share) && isnan(none.same.still_share));
}
END_TEST

/* Twins of one patient are drawn together: 100 patients with 3 twins each, all three or none of them the same
 * as the original. */
START_TEST(patients_are_resampled)
{
    static const uint8_t left[5] = {L}, right[5] = {R};
    TuplePair p[300];
    TuplePairScores s;
    Error e = {0};
    for (int i = 0; i < 300; i++)
        p[i] = (TuplePair){{left, left, NULL, 0, 0}, {left, i / 3 % 2 ? left : right, NULL, 0, 0}, i / 3};
    ck_assert(tuples_pairs(&table, p, 300, 2000, 1, &s, &e));
    CLOSE(s.same.still_share, 0.5, 0);
    CLOSE(s.same.still_interval.sd, 0.05, 0.004);
    CLOSE(s.same.still_interval.low, 0.5 - 1.96 * 0.05, 0.011);
    CLOSE(s.same.still_interval.high, 0.5 + 1.96 * 0.05, 0.011);
}
END_TEST

static bool score_once(Error *e)
{
    TuplePair p = {{first[0], first[0], radius[0], 0, 0}, {second[0], second[0], NULL, 0, 0}, 1};
    TuplePairScores s;
    return tuples_pairs(&table, &p, 1, 10, 1, &s, e) && s.changed.follow == 1;
}

START_TEST(allocations) { ck_assert_int_eq(fail_each(score_once), 4); }
END_TEST

int main(void)
{
    Suite *s = suite_create("tuples");
    TCase *t = tcase_create("tuples");
    tcase_add_test(t, worked_example);
    tcase_add_test(t, degenerate);
    tcase_add_test(t, sums);
    tcase_add_test(t, pairs_of_perfect_reports);
    tcase_add_test(t, pairs_that_ignore_the_change);
    tcase_add_test(t, pairs_of_flawed_reports);
    tcase_add_test(t, patients_are_resampled);
    tcase_add_test(t, allocations);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
