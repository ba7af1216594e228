/* Label scores, which are made of sums of rows, on a table counted by hand. */
#include "tests/losses/corpus.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>

#define CLOSE(x, y) ck_assert_msg(fabs((x) - (y)) < 1e-15, "%s is %.17g, expected %.17g", #x, (double)(x), (y))

enum { N = 5, K = 5 };
/* Label 3 is only said, label 4 never; study 4 is empty in both. */
static const uint8_t truth[N * K] = {1, 1, 0, 0, 0, /* */
                                     1, 0, 1, 0, 0, /* */
                                     0, 1, 0, 0, 0, /* */
                                     1, 0, 0, 0, 0, /* */
                                     0, 0, 0, 0, 0};
static const uint8_t said[N * K] = {1, 1, 0, 0, 0, /* P 1, R 1 */
                                    1, 1, 0, 1, 0, /* P 1/3, R 1/2, F1 2/5 */
                                    0, 0, 0, 0, 0, /* nothing said: 0, 0, 0 */
                                    1, 0, 1, 0, 0, /* P 1/2, R 1, F1 2/3 */
                                    0, 0, 0, 0, 0};

START_TEST(by_hand)
{
    LabelScores s;
    LabelScore each[K];
    corpus_labels(truth, said, N, K, &s, each);
    static const int64_t right[K] = {3, 1, 0, 0, 0}, n_said[K] = {3, 2, 1, 1, 0}, n_truth[K] = {3, 2, 1, 0, 0};
    static const double f1[K] = {1, 0.5, 0, 0, 0};
    for (int j = 0; j < K; j++) {
        ck_assert_int_eq(each[j].right, right[j]);
        ck_assert_int_eq(each[j].said, n_said[j]);
        ck_assert_int_eq(each[j].truth, n_truth[j]);
        CLOSE(each[j].f1, f1[j]);
        CLOSE(each[j].recall, n_truth[j] ? (double)right[j] / (double)n_truth[j] : 0);
    }
    CLOSE(s.micro.precision, 4.0 / 7);
    CLOSE(s.micro.recall, 4.0 / 6);
    CLOSE(s.micro.f1, 8.0 / 13);
    ck_assert_int_eq(s.macro_n, 4);
    CLOSE(s.macro_f1, 1.5 / 4);
    CLOSE(s.macro_precision, 1.5 / 4);
    CLOSE(s.macro_recall, 1.5 / 4);
    CLOSE(s.macro_all_f1, 1.5 / 5);
    CLOSE(s.example_precision, (1 + 1.0 / 3 + 0 + 0.5 + 1) / 5);
    CLOSE(s.example_recall, (1 + 0.5 + 0 + 1 + 1) / 5);
    CLOSE(s.example_f1, (1 + 0.4 + 0 + 2.0 / 3 + 1) / 5);
    ck_assert_int_eq(s.empty, 1);
    corpus_labels(truth, said, 0, K, &s, each);
    ck_assert(s.micro.f1 == 0 && s.macro_f1 == 0 && s.example_f1 == 0 && s.macro_n == 0 && each[0].f1 == 0);
    corpus_labels(truth, truth, N, K, &s, NULL);
    ck_assert(s.micro.f1 == 1 && s.macro_f1 == 1 && s.example_f1 == 1 && s.macro_n == 3);
}
END_TEST

/* A wrong side is an error of each kind. */
START_TEST(sides)
{
    static const uint8_t here[3] = {1, 2, 3}, there[3] = {1, 1, 1};
    LabelScores s;
    corpus_labels(here, there, 1, 3, &s, NULL);
    ck_assert(s.micro.right == 1 && s.micro.said == 3 && s.micro.truth == 3);
    CLOSE(s.micro.f1, 1.0 / 3);
    CLOSE(s.example_f1, 1.0 / 3);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("labels");
    TCase *t = tcase_create("labels");
    tcase_add_test(t, by_hand);
    tcase_add_test(t, sides);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
