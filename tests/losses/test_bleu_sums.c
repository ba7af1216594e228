/* What BLEU is computed from, by hand; of constant texts, against the sums of their pairs. */
#include "tensor/rng.h"
#include "tests/losses/corpus.h"

enum { N = 30, LONGEST = 40 };
static int32_t ids[2][N][LONGEST];
static Tokens said[N], truth[N];

/* Texts of 0 to 39 of six words. */
static void draw(void)
{
    Rng r = rng_open(1, "texts");
    for (int i = 0; i < 2 * N; i++) {
        int32_t *id = ids[i / N][i % N];
        for (int k = 0; k < LONGEST; k++) id[k] = (int32_t)rng_below(&r, 6);
        Tokens t = {id, (int)rng_below(&r, LONGEST)};
        if (i < N)
            said[i] = t;
        else
            truth[i - N] = t;
    }
}

START_TEST(pairs)
{
    BleuCounts one;
    Error e = {0};
    static int32_t aab[] = {1, 1, 2}, ab[] = {1, 2}; /* by hand: one 1 is clipped */
    ck_assert(bleu_count(&(Tokens){aab, 3}, &(Tokens){ab, 2}, &one, &e));
    ck_assert(one.correct[0] == 2 && one.guess[0] == 3 && one.correct[1] == 1 && one.guess[1] == 2 &&
              one.guess[2] == 1 && one.guess[3] == 0 && one.said == 3 && one.truth == 2);
}
END_TEST

START_TEST(constants)
{
    BleuCounts sum[N];
    Error e = {0};
    ck_assert(bleu_constants(said, N, truth, N, sum, &e));
    for (int j = 0; j < N; j++) {
        Tokens same[N];
        double a[BLEU_ORDERS], b[BLEU_ORDERS];
        for (int i = 0; i < N; i++) same[i] = said[j];
        bleu_from_counts(&sum[j], a);
        corpus_bleu(same, truth, N, b);
        for (int k = 0; k < BLEU_ORDERS; k++) ck_assert(a[k] == b[k]);
    }
    ck_assert(bleu_constants(said, 1, NULL, 0, sum, &e) && sum[0].said == 0 && sum[0].guess[0] == 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("bleu_sums");
    TCase *t = tcase_create("bleu_sums");
    tcase_add_unchecked_fixture(t, draw, NULL);
    tcase_add_test(t, pairs);
    tcase_add_test(t, constants);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
