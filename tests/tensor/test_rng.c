/* Philox4x32-10 against Random123's known answers (kat_vectors: philox4x32 10), and the streams on top. */
#include "tensor/rng.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t known[][10] = {
    /* counter, key, result */
    {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
    {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6,
     0x6d5451fd},
    {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
     0x24126ea1},
};

START_TEST(known_answers)
{
    const uint32_t *k = known[_i];
    Philox p = philox4x32(k[0], k[1], k[2], k[3], k[4], k[5]);
    for (int j = 0; j < 4; j++) ck_assert_uint_eq(p.v[j], k[6 + j]);
}
END_TEST

START_TEST(fnv)
{
    ck_assert_uint_eq(fnv1a32(""), 0x811c9dc5u);
    ck_assert_uint_eq(fnv1a32("a"), 0xe40c292cu);
    ck_assert_uint_eq(fnv1a32("foobar"), 0xbf9cf968u);
}
END_TEST

START_TEST(fill_is_exact)
{
    float x[7];
    rng_fill(x, 7, 1234, "layers.0.weight", 0.5f);
    Philox p = philox4x32(1, 0, 0, 0, 1234, fnv1a32("layers.0.weight"));
    for (int i = 4; i < 7; i++) {
        float want = 0.5f * ((float)(p.v[i & 3] >> 8) / 8388608.0f - 1.0f);
        ck_assert(memcmp(&x[i], &want, 4) == 0);
        ck_assert(x[i] >= -0.5f && x[i] < 0.5f);
    }
}
END_TEST

START_TEST(streams_differ_and_replay)
{
    Rng a = rng_open(1, "order"), b = rng_open(1, "noise"), c = rng_open(1, "order"),
        d = rng_open(1ull << 32 | 1, "order");
    int same_name = 0, same_seed = 0;
    for (int i = 0; i < 1000; i++) {
        uint32_t u = rng_u32(&a);
        same_name += u == rng_u32(&b);
        same_seed += u == rng_u32(&d);
        ck_assert_uint_eq(u, rng_u32(&c));
    }
    ck_assert_int_lt(same_name, 3);
    ck_assert_int_lt(same_seed, 3);
}
END_TEST

START_TEST(moments)
{
    Rng r = rng_open(7, "moments");
    double sum = 0, square = 0, unit = 0;
    int64_t count[5] = {0};
    const int n = 200000;
    for (int i = 0; i < n; i++) {
        double x = rng_normal(&r), u = rng_unit(&r);
        ck_assert(u >= 0 && u < 1);
        sum += x, square += x * x, unit += u;
        count[rng_below(&r, 5)]++;
    }
    ck_assert_double_eq_tol(sum / n, 0, 0.01);
    ck_assert_double_eq_tol(square / n, 1, 0.02);
    ck_assert_double_eq_tol(unit / n, 0.5, 0.005);
    for (int i = 0; i < 5; i++) ck_assert_double_eq_tol((double)count[i] / n, 0.2, 0.005);
}
END_TEST

START_TEST(dropout_keeps_its_share)
{
    const int n = 100000;
    int kept = 0;
    for (int i = 0; i < n; i++) {
        float s = dropout_scale(3, 9, (uint64_t)i, 0.25f);
        ck_assert(s == 0 || fabsf(s - 4.0f / 3) < 1e-6f);
        kept += s > 0;
    }
    ck_assert_double_eq_tol((double)kept / n, 0.75, 0.01);
    ck_assert(dropout_scale(3, 9, 5, 0) == 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rng");
    TCase *c = tcase_create("rng");
    tcase_add_loop_test(c, known_answers, 0, 3);
    tcase_add_test(c, fnv);
    tcase_add_test(c, fill_is_exact);
    tcase_add_test(c, streams_differ_and_replay);
    tcase_add_test(c, moments);
    tcase_add_test(c, dropout_keeps_its_share);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
