/* nf4: the golden bytes, edges of blocks, and double quantisation. */
#include "kernels/quant.h"
#include "kernels/quant_nf4.h"
#include "tensor/rng.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(golden_bytes)
{
    static const char want[] =
        "79bcddcb8642212357acdeedb9532111247bdeeeec9521001247befffed9521012347aceeedb8531111247bd"
        "eeeec9521101247bdeffec9521001148cefffec9";
    float w[128], back[128], absmax[2];
    uint8_t codes[64];
    char got[129];
    double error = 0;
    for (int k = 0; k < 128; k++) w[k] = sinf(0.37f * (float)k) * (1 + (float)k / 64);
    quant_encode(DTYPE_nf4, w, 128, codes, absmax);
    for (int i = 0; i < 64; i++) snprintf(got + 2 * i, 3, "%02x", codes[i]);
    ck_assert_str_eq(got, want);
    ck_assert(absmax[0] == 1.9217268228530884f);
    ck_assert(absmax[1] == 2.9191627502441406f);
    quant_decode(DTYPE_nf4, codes, absmax, 128, back);
    for (int k = 0; k < 128; k++) error += fabs((double)w[k] - (double)back[k]) / 128;
    ck_assert_msg(fabs(error - 0.10589427) <= 2e-8, "mean abs error %.10f", error);
}
END_TEST

/* Every code decodes to a value that encodes to the same code, and the even element is in the high nibble. */
START_TEST(levels_round_trip)
{
    float level[16], absmax, one = 1;
    uint8_t codes[8], again[8];
    for (int i = 0; i < 8; i++) codes[i] = (uint8_t)((2 * i) << 4 | (2 * i + 1));
    quant_decode(DTYPE_nf4, codes, &one, 16, level);
    for (int i = 0; i < 16; i++) ck_assert(level[i] == nf4_level(i));
    for (int i = 1; i < 16; i++) ck_assert(level[i] > level[i - 1]);
    quant_encode(DTYPE_nf4, level, 16, again, &absmax);
    ck_assert(absmax == 1);
    ck_assert_mem_eq(again, codes, 8);
}
END_TEST

/* The code is the nearest level. */
START_TEST(nearest_level)
{
    for (int k = -1000; k <= 1000; k++) {
        float x = (float)k / 1000;
        int best = 0;
        for (int i = 1; i < 16; i++)
            if (fabsf(x - nf4_level(i)) < fabsf(x - nf4_level(best))) best = i;
        int code = nf4_encode(x);
        ck_assert_msg(fabsf(x - nf4_level(code)) <= fabsf(x - nf4_level(best)) + 1e-6f, "%g: code %d, not %d",
                      (double)x, code, best);
    }
}
END_TEST

START_TEST(zero_block_and_ragged_end)
{
    enum { N = 64 + 64 + 5 };
    float w[N], back[N + 1], absmax[3];
    uint8_t codes[(N + 1) / 2 + 1];
    for (int i = 0; i < N; i++) w[i] = i < 64 ? 0 : i < 128 ? (i == 100 ? -1000.0f : 0.001f) : (float)(i - 130);
    codes[(N + 1) / 2] = 0xA5;
    back[N] = 77;
    quant_encode(DTYPE_nf4, w, N, codes, absmax);
    ck_assert_int_eq(codes[(N + 1) / 2], 0xA5);
    quant_decode(DTYPE_nf4, codes, absmax, N, back);
    ck_assert(back[N] == 77);
    ck_assert(absmax[0] == 0 && absmax[1] == 1000 && absmax[2] == 2);
    for (int i = 0; i < 64; i++) ck_assert(back[i] == 0);
    ck_assert(back[100] == -1000);
    ck_assert(back[99] == 0);
    ck_assert(back[128] == -2 && back[130] == 0 && back[132] == 2);
}
END_TEST

START_TEST(dynamic_map)
{
    const float *map = quant_dynamic_map();
    for (int i = 1; i < 256; i++) ck_assert(map[i] > map[i - 1]);
    ck_assert(map[255] == 1);
    ck_assert(map[127] == 0);
    ck_assert(map[0] == -0.99296875f);
    ck_assert(map[128] == 5.5e-7f && map[126] == -5.5e-7f);
    for (int i = 0; i < 127; i++) ck_assert(map[i] == -map[254 - i]);
}
END_TEST

START_TEST(double_quantisation)
{
    enum { BLOCKS = 700 };
    float absmax[BLOCKS], back[BLOCKS], outer[3], offset;
    uint8_t nested[BLOCKS];
    Rng rng = rng_open(1, "absmax");
    double mean = 0;
    for (int b = 0; b < BLOCKS; b++) {
        absmax[b] = (float)rng_range(&rng, 0.5, 1.5);
        mean += (double)absmax[b] / BLOCKS;
    }
    quant_nest(absmax, BLOCKS, nested, outer, &offset);
    ck_assert_double_eq_tol((double)offset, mean, 1e-6);
    quant_unnest(nested, outer, offset, BLOCKS, back);
    const float *map = quant_dynamic_map();
    for (int b = 0; b < BLOCKS; b++) {
        float best = INFINITY, scale = outer[b / 256];
        for (int i = 0; i < 256; i++) best = fminf(best, fabsf(map[i] * scale + offset - absmax[b]));
        ck_assert_msg(fabsf(back[b] - absmax[b]) <= best + 1e-6f, "block %d: off by %g, the nearest by %g", b,
                      (double)(back[b] - absmax[b]), (double)best);
    }
}
END_TEST

/* A tensor's planes, in both forms, give what the functions give; equal absmax nest without a division by 0. */
START_TEST(tensors)
{
    enum { OUT = 6, IN = 100, BLOCKS = (OUT * IN + 63) / 64 };
    Arena arena;
    Error e = {0};
    ck_assert(arena_open(&arena, "weights", &backend_cpu, 1 << 20, &e));
    float w[OUT * IN], absmax[BLOCKS], restored[BLOCKS], outer, offset;
    uint8_t codes[OUT * IN / 2], nested[BLOCKS];
    rng_fill(w, OUT * IN, 7, "w", 1);
    quant_encode(DTYPE_nf4, w, OUT * IN, codes, absmax);
    quant_nest(absmax, BLOCKS, nested, &outer, &offset);
    quant_unnest(nested, &outer, offset, BLOCKS, restored);
    for (int form = 0; form < 2; form++) {
        Tensor *x = quant_tensor(&arena, DTYPE_nf4, OUT, IN, w, form);
        ck_assert_int_eq(x->dim[0], OUT);
        ck_assert_int_eq(x->dim[1], IN);
        ck_assert_mem_eq(x->data, codes, sizeof codes);
        ck_assert((x->quant->absmax != NULL) == !form);
        for (int b = 0; b < BLOCKS; b++) ck_assert(quant_absmax(x->quant, b) == (form ? restored : absmax)[b]);
    }
    float same[2] = {0.25f, 0.25f};
    quant_nest(same, 2, nested, &outer, &offset);
    quant_unnest(nested, &outer, offset, 2, restored);
    ck_assert(restored[0] == 0.25f && restored[1] == 0.25f);
    arena_close(&arena);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("quant");
    TCase *c = tcase_create("nf4");
    tcase_add_test(c, golden_bytes);
    tcase_add_test(c, levels_round_trip);
    tcase_add_test(c, nearest_level);
    tcase_add_test(c, zero_block_and_ragged_end);
    tcase_add_test(c, dynamic_map);
    tcase_add_test(c, double_quantisation);
    tcase_add_test(c, tensors);
    suite_add_tcase(s, c);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
