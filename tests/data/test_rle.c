/* COCO run lengths against masks drawn here, against text forms made by hand from the format's definition, and
 * against broken text. */
#include "data/rle.h"
#include "tensor/rng.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

START_TEST(column_major_counts)
{
    /* 2 rows, 3 columns:  0 1 1
     *                     0 1 0   read down the columns: 0 0 1 1 1 0 */
    const uint8_t mask[] = {0, 1, 1, 0, 9, 0};
    const uint32_t want[] = {2, 3, 1};
    Rle r;
    Error e = {0};
    ck_assert(rle_encode(mask, 3, 2, &r, &e));
    ck_assert_uint_eq(r.n, 3);
    ck_assert_mem_eq(r.count, want, sizeof want);
    ck_assert_uint_eq(rle_area(&r), 3);
    rle_free(&r);
}
END_TEST

START_TEST(a_mask_that_begins_with_ones)
{
    const uint8_t mask[] = {1, 1, 0, 0};
    Rle r;
    Error e = {0};
    ck_assert(rle_encode(mask, 1, 4, &r, &e));
    ck_assert_uint_eq(r.n, 3);
    ck_assert_uint_eq(r.count[0], 0);
    ck_assert_uint_eq(r.count[1], 2);
    rle_free(&r);
}
END_TEST

typedef struct TextCase {
    int width, height;
    size_t n;
    int64_t count[8];
    const char *text;
} TextCase;

/* Groups of five bits, low first; bit 5 = more; + 48. 6 -> "6"; 16 -> 16|32, 0 -> "`0"; 100 = 4 + 3*32 -> 4|32,
 * 3
 * -> "T3"; a difference of -1 -> 31 -> "O"; -16 -> 16 -> "@"; -17 -> 15|32, 31 -> "_O". */
static const TextCase texts[] = {
    {1, 6, 1, {6}, "6"},
    {1, 16, 1, {16}, "`0"},
    {10, 10, 1, {100}, "T3"},
    {5, 4, 4, {3, 5, 4, 8}, "3543"},       /* the fourth as 8 - 5 = 3 */
    {4, 4, 4, {4, 5, 3, 4}, "453O"},       /* 4 - 5 = -1 */
    {10, 5, 4, {4, 20, 22, 4}, "4d0f0@"},  /* 4 - 20 = -16 */
    {10, 6, 4, {4, 21, 31, 4}, "4e0o0_O"}, /* 4 - 21 = -17 */
};

START_TEST(text_form)
{
    const TextCase *c = &texts[_i];
    Rle r, back;
    Error e = {0};
    ck_assert_msg(rle_from_counts(c->count, c->n, c->width, c->height, &r, &e), "%s", e.msg);
    char *text = rle_to_text(&r);
    ck_assert_str_eq(text, c->text);
    ck_assert_msg(rle_from_text(text, strlen(text), c->width, c->height, &back, &e), "%s", e.msg);
    ck_assert_uint_eq(back.n, c->n);
    for (size_t k = 0; k < c->n; k++) ck_assert_int_eq(back.count[k], c->count[k]);
    free(text);
    rle_free(&r);
    rle_free(&back);
}
END_TEST

START_TEST(random_masks_come_back)
{
    Rng rng = rng_open(11, "rle");
    for (int round = 0; round < 300; round++) {
        int w = 1 + (int)rng_below(&rng, 60), h = 1 + (int)rng_below(&rng, 60);
        double p = round % 3 == 0 ? 0.5 : round % 3 == 1 ? 0.02 : 0.98;
        size_t n = (size_t)w * (size_t)h, area = 0;
        uint8_t *mask = malloc(n), *back = malloc(n);
        for (size_t i = 0; i < n; i++) area += mask[i] = rng_unit(&rng) < p;
        Rle a, b;
        Error e = {0};
        ck_assert(rle_encode(mask, w, h, &a, &e));
        ck_assert_uint_eq(rle_area(&a), area);
        char *text = rle_to_text(&a);
        ck_assert_msg(rle_from_text(text, strlen(text), w, h, &b, &e), "%s", e.msg);
        rle_decode(&b, back);
        ck_assert_mem_eq(mask, back, n);
        free(text);
        free(mask);
        free(back);
        rle_free(&a);
        rle_free(&b);
    }
}
END_TEST

typedef struct BadText {
    const char *text;
    int width, height;
    const char *error;
} BadText;

static const BadText bad[] = {
    {"", 2, 3, "mask: 0 run lengths for 2 x 3 pixels"},
    {"5", 2, 3, "mask: runs cover 5 pixels, expected 6 (2 x 3)"},
    {"7", 2, 3, "mask: run 0 is 7, expected 0..6 (2 x 3 pixels)"},
    {"3O4", 2, 3, "mask: run 1 is -1, expected 0..3 (2 x 3 pixels)"},
    {"`", 4, 4, "mask: run lengths broken at character 0 of 1"},
    {"6 ", 2, 3, "mask: run lengths broken at character 1 of 2"},
    {"6\x7f", 2, 3, "mask: run lengths broken at character 1 of 2"},
    {"oooooooo0", 2, 3, "mask: run lengths broken at character 0 of 9"},
    {"6", 0, 3, "mask: size 0 x 3, expected 1..16384 each way"},
    {"6", 20000, 3, "mask: size 20000 x 3, expected 1..16384 each way"},
    {"00000000", 2, 3, "mask: 8 run lengths for 2 x 3 pixels"},
};

START_TEST(broken_text_is_named)
{
    const BadText *c = &bad[_i];
    Rle r = {0};
    Error e = {0};
    ck_assert(!rle_from_text(c->text, strlen(c->text), c->width, c->height, &r, &e));
    ck_assert_str_eq(e.msg, c->error);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    ck_assert_ptr_null(r.count);
}
END_TEST

/* Any bytes: refused or understood, and what is understood covers the mask exactly. */
START_TEST(any_text_is_safe)
{
    Rng rng = rng_open(12, "rle");
    uint8_t mask[64];
    for (int round = 0; round < 200000; round++) {
        char text[12];
        size_t n = (size_t)rng_below(&rng, sizeof text);
        for (size_t i = 0; i < n; i++) text[i] = (char)(48 + rng_below(&rng, 66) - 1);
        Rle r;
        Error e = {0};
        if (!rle_from_text(text, n, 8, 8, &r, &e)) continue;
        rle_decode(&r, mask);
        rle_free(&r);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rle");
    TCase *c = tcase_create("rle");
    tcase_add_test(c, column_major_counts);
    tcase_add_test(c, a_mask_that_begins_with_ones);
    tcase_add_loop_test(c, text_form, 0, sizeof texts / sizeof *texts);
    tcase_add_test(c, random_masks_come_back);
    tcase_add_loop_test(c, broken_text_is_named, 0, sizeof bad / sizeof *bad);
    tcase_add_test(c, any_text_is_safe);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
