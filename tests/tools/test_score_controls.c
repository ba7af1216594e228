/* The controls: chosen on training reports alone, dealt to wrong studies only; diversity by hand. */
#include "tests/losses/corpus.h"
#include "tools/score_controls.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two normal reports, the commonest; one lesion that three others share in part; one odd one. */
static const char *const TRAIN[] = {
    "左侧丘脑见小片状低密度影，中线结构居中。",
    "脑实质内未见明显异常密度影，中线结构居中。",
    "双侧基底节区见斑点状低密度影，脑沟增宽，中线结构居中。",
    "脑实质内未见明显异常密度影，中线结构居中。",
    "双侧基底节区见斑点状低密度影，脑沟增宽。",
    "双侧基底节区见斑点状低密度影，脑沟增宽，脑干未见异常。",
    "右侧顶叶见高密度影。",
};
enum { N = sizeof TRAIN / sizeof *TRAIN };
static const ControlTrain train = {N, TRAIN};

START_TEST(commonest)
{
    ControlChoice c;
    Error e = {0};
    ck_assert(control_commonest(&train, &c, &e));
    ck_assert(c.report == TRAIN[1] && c.times == 2 && c.tried == 6 && fabs(c.score - 2.0 / 7) < 1e-15);
    ck_assert(control_commonest(&(ControlTrain){3, TRAIN + 4}, &c, &e)); /* all once: the first */
    ck_assert(c.report == TRAIN[4] && c.times == 1 && c.tried == 3);
}
END_TEST

START_TEST(best_findings)
{
    ControlChoice c;
    Error e = {0};
    ck_assert(control_best_findings(&train, &c, &e));
    ck_assert(c.report == TRAIN[2] && c.times == 1 &&
              c.tried == 6);                            /* three have the same findings: the first */
    ck_assert(fabs(c.score - 12.0 / (14 + 8)) < 1e-15); /* 6 right, 14 said, 8 true */
}
END_TEST

/* BLEU-4 of one report given to every study, over characters. */
static double text_score(const char *report)
{
    Tokens said[N], truth[N];
    double bleu[BLEU_ORDERS];
    Error e = {0};
    for (int i = 0; i < N; i++)
        ck_assert(words_characters(report, &said[i], &e) && words_characters(TRAIN[i], &truth[i], &e));
    corpus_bleu(said, truth, N, bleu);
    for (int i = 0; i < N; i++) {
        tokens_free(&said[i]);
        tokens_free(&truth[i]);
    }
    return bleu[BLEU_ORDERS - 1];
}

START_TEST(best_text)
{
    ControlChoice c;
    Error e = {0};
    ck_assert(control_best_text(&train, &c, &e));
    double best = 0, score = 0;
    for (int i = 0; i < N; i++) {
        score = text_score(TRAIN[i]);
        if (score > best) best = score;
    }
    ck_assert(best > 0.2 && best < 0.9 && c.tried == 6 && c.score == best && text_score(c.report) == best);
    ck_assert(score < best);                                           /* the last is not the best */
    const char *const same[] = {"甲乙丙丁", "甲乙丙丁", "甲乙丙丁戊"}; /* by hand: 12 of 12, 13 characters */
    ck_assert(control_best_text(&(ControlTrain){3, same}, &c, &e));
    ck_assert(c.report == same[0] && c.times == 2 && fabs(c.score - exp(1 - 13.0 / 12)) < 1e-9);
    /* the 41st commonest is not looked at, however good */
    const char *many[3 * CONTROL_COMMONEST + 100];
    char text[CONTROL_COMMONEST][8];
    int n = 0;
    for (int i = 0; i < CONTROL_COMMONEST; i++) {
        sprintf(text[i], "%c%c", 'a' + i % 26, 'a' + i / 26);
        for (int k = 0; k < 2; k++) many[n++] = text[i];
    }
    many[n++] = TRAIN[5];
    ck_assert(control_best_text(&(ControlTrain){n, many}, &c, &e));
    ck_assert_int_eq(c.tried, CONTROL_COMMONEST);
    ck_assert(c.report != TRAIN[5]);
}
END_TEST

START_TEST(random_reports)
{
    const char *a[300], *b[300], *c[300];
    control_random(&train, 300, 1, a);
    control_random(&train, 300, 1, b);
    control_random(&train, 300, 2, c);
    int times[N] = {0}, differ = 0;
    for (int i = 0; i < 300; i++) {
        for (int k = 0; k < N; k++) times[k] += !strcmp(a[i], TRAIN[k]);
        ck_assert_ptr_eq(a[i], b[i]);
        differ += a[i] != c[i];
    }
    for (int k = 0; k < N; k++) /* 1 and 3 are one text */
        ck_assert(abs(times[k] - (k == 1 || k == 3 ? 86 : 43)) < 25);
    ck_assert_int_gt(differ, 200);
}
END_TEST

/* Every n: nobody keeps a report, each is dealt once; for n = 4 all six cycles, about equally often. */
START_TEST(shuffled)
{
    int from[200], seen[200], times[4][4] = {0};
    for (int n = 2; n < 200; n++) {
        memset(seen, 0, sizeof seen);
        control_shuffled(n, 5, from);
        for (int i = 0; i < n; i++) {
            ck_assert_int_ne(from[i], i);
            ck_assert(from[i] >= 0 && from[i] < n);
            ck_assert_int_eq(seen[from[i]]++, 0);
        }
    }
    for (uint64_t seed = 0; seed < 1200; seed++) {
        control_shuffled(4, seed, from);
        for (int i = 0; i < 4; i++) times[i][from[i]]++;
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) ck_assert(i == j ? !times[i][j] : abs(times[i][j] - 400) < 80);
    control_shuffled(1, 5, from);
    ck_assert_int_eq(from[0], 0);
    control_shuffled(0, 5, from);
}
END_TEST

START_TEST(diversity)
{
    static const char *const reports[] = {"甲，乙。丙", "甲，乙。丙", " 甲 ,, 乙;丁.\n丙\t。", "", "甲"};
    Diversity d;
    Error e = {0};
    ck_assert(diversity_count(reports, 5, &d, &e));
    ck_assert(d.reports == 5 && d.distinct_reports == 4 && d.commonest == 2);
    ck_assert(d.clauses == 11 && d.distinct_clauses == 4);
    ck_assert(diversity_count(reports, 0, &d, &e));
    ck_assert(d.reports == 0 && d.distinct_reports == 0 && d.clauses == 0 && d.commonest == 0);
    static const char *const empty[] = {"", "，。"};
    ck_assert(diversity_count(empty, 2, &d, &e) && d.clauses == 0 && d.distinct_reports == 2);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("score_controls");
    TCase *t = tcase_create("score_controls");
    tcase_add_test(t, commonest);
    tcase_add_test(t, best_findings);
    tcase_add_test(t, best_text);
    tcase_add_test(t, random_reports);
    tcase_add_test(t, shuffled);
    tcase_add_test(t, diversity);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
