/* The stack with its marks, the first-fit pool at the upper end, guards, peaks, and what happens when room runs
 * out. */
#include "tensor/arena.h"
#include "tests/tensor/death.h"

enum { UNIT = ARENA_ALIGN, CAPACITY = 64 * UNIT };

static Arena opened(const Backend *backend, size_t capacity)
{
    Arena a;
    Error e = {0};
    if (!arena_open(&a, "step", backend, capacity, &e)) ck_abort_msg("%s", e.msg);
    return a;
}

START_TEST(stack_and_marks)
{
    Arena a = opened(&backend_cpu, CAPACITY);
    char *p = arena_push(&a, 1);
    ck_assert_uint_eq((size_t)p % UNIT, 0);
    ck_assert_uint_eq(a.used, UNIT);
    ArenaMark mark = arena_mark(&a);
    char *q = arena_push(&a, UNIT + 1), *h = arena_push_host(&a, 5);
    ck_assert_ptr_eq(q, p + UNIT);
    ck_assert_uint_eq((size_t)h % 16, 0);
    ck_assert_uint_eq(a.used, 3 * UNIT);
    ck_assert_uint_eq(a.host_used, 16);
    for (int i = 0; i < 5; i++) ck_assert_int_eq(h[i], 0);
    memset(h, 1, 5);
    arena_pop(&a, mark);
    ck_assert_uint_eq(a.used, UNIT);
    ck_assert_uint_eq(a.host_used, 0);
    ck_assert_ptr_eq(arena_push(&a, 7), q);
    char *again = arena_push_host(&a, 5);
    ck_assert_ptr_eq(again, h);
    for (int i = 0; i < 5; i++) ck_assert_int_eq(again[i], 0); /* zeroed every time */
    ck_assert_uint_eq(a.peak, 3 * UNIT);
    arena_close(&a);
    ck_assert_ptr_null(a.base);
    arena_close(&a); /* closing twice is nothing */
}
END_TEST

START_TEST(all_of_the_capacity_can_be_used)
{
    Arena a = opened(&backend_cpu, CAPACITY + UNIT - 1); /* rounded down to whole units */
    ck_assert_uint_eq(a.capacity, CAPACITY);
    memset(arena_push(&a, CAPACITY - UNIT), 1, CAPACITY - UNIT);
    memset(arena_pool_take(&a, UNIT), 2, UNIT);
    ck_assert_uint_eq(a.peak, CAPACITY);
    arena_close(&a);
}
END_TEST

/* Blocks lie at the end and grow downwards; the lowest distance from the end that fits is taken. */
START_TEST(pool_is_first_fit)
{
    Arena a = opened(&backend_cpu, CAPACITY);
    char *end = a.base + a.capacity;
    char *p[4];
    for (int i = 0; i < 4; i++) p[i] = arena_pool_take(&a, UNIT);
    for (int i = 0; i < 4; i++) ck_assert_ptr_eq(p[i], end - (i + 1) * UNIT);
    ck_assert_uint_eq(a.pool_extent, 4 * UNIT);

    arena_pool_give(&a, p[1]);
    ck_assert_uint_eq(a.pool_extent, 4 * UNIT);
    char *two = arena_pool_take(&a, 2 * UNIT); /* the hole is too small */
    ck_assert_ptr_eq(two, end - 6 * UNIT);
    ck_assert_ptr_eq(arena_pool_take(&a, 1), p[1]); /* and fits one */

    arena_pool_give(&a, p[1]);
    arena_pool_give(&a, p[2]);
    ck_assert_ptr_eq(arena_pool_take(&a, 2 * UNIT), end - 3 * UNIT); /* two neighbours join */

    arena_pool_give(&a, two);
    ck_assert_uint_eq(a.pool_extent, 4 * UNIT);
    arena_pool_give(&a, p[3]);
    ck_assert_uint_eq(a.pool_extent, 3 * UNIT);
    ck_assert_uint_eq(a.peak, 6 * UNIT);
    ck_assert_int_eq(a.n_pool, 2);
    arena_close(&a);
}
END_TEST

START_TEST(peak_counts_both_ends)
{
    Arena a = opened(&backend_cpu, CAPACITY);
    ArenaMark mark = arena_mark(&a);
    arena_push(&a, 10 * UNIT);
    void *p = arena_pool_take(&a, 5 * UNIT);
    ck_assert_uint_eq(a.peak, 15 * UNIT);
    arena_pop(&a, mark);
    arena_push(&a, 8 * UNIT); /* 13 */
    ck_assert_uint_eq(a.peak, 15 * UNIT);
    arena_pool_give(&a, p);
    arena_push(&a, 9 * UNIT); /* 17 */
    ck_assert_uint_eq(a.peak, 17 * UNIT);
    arena_close(&a);
}
END_TEST

/* Many takes and gives never overlap, and the same sequence gives the same addresses. */
START_TEST(pool_blocks_never_overlap)
{
    size_t first[400] = {0};
    for (int round = 0; round < 2; round++) {
        Arena a = opened(&backend_cpu, 1 << 20);
        char *block[40] = {0};
        size_t bytes[40];
        uint32_t state = 1;
        for (int i = 0; i < 400; i++) {
            state = state * 1664525u + 1013904223u;
            int k = (int)(state >> 8) % 40;
            if (block[k]) {
                for (size_t j = 0; j < bytes[k]; j++) ck_assert_int_eq(block[k][j], k);
                arena_pool_give(&a, block[k]);
                block[k] = NULL;
                continue;
            }
            bytes[k] = 1 + (state >> 16) % 3000;
            block[k] = arena_pool_take(&a, bytes[k]);
            memset(block[k], k, bytes[k]);
            size_t at = (size_t)(block[k] - a.base);
            if (round) ck_assert_uint_eq(at, first[i]);
            first[i] = at;
        }
        arena_close(&a);
    }
}
END_TEST

START_TEST(guards_hold)
{
    Arena a = opened(&backend_cpu, CAPACITY);
    a.guard = true;
    ArenaMark mark = arena_mark(&a);
    memset(arena_push(&a, 100), 1, 100);
    memset(arena_push(&a, UNIT), 1, UNIT); /* a full unit: its guard needs another */
    ck_assert_uint_eq(a.used, 3 * UNIT);
    arena_check(&a);
    arena_pop(&a, mark);
    ck_assert_int_eq(a.n_guarded, 0);
    memset(arena_push(&a, 200), 1, 200);
    arena_check(&a);
    arena_close(&a);
}
END_TEST

/* The plan has addresses and peaks, and no memory behind them. */
START_TEST(plan_reserves_only)
{
    Arena a = opened(&backend_plan, (size_t)1 << 40);
    a.guard = true;
    arena_push(&a, (size_t)1 << 39);
    arena_check(&a);
    arena_pool_take(&a, (size_t)1 << 38);
    ck_assert_uint_gt(a.peak, (size_t)3 << 38);
    arena_close(&a);
}
END_TEST

START_TEST(too_much_is_an_error)
{
    Arena a;
    Error e = {0};
    ck_assert(!arena_open(&a, "weights", &backend_cpu, (size_t)1 << 62, &e));
    ck_assert_int_eq(e.code, ERROR_MEMORY);
    ck_assert_msg(strstr(e.msg, "cannot reserve 4611686018427387904 bytes"), "%s", e.msg);
}
END_TEST

static void die_full(void)
{
    Arena a = opened(&backend_cpu, CAPACITY);
    arena_push(&a, 60 * UNIT);
    arena_push(&a, 5 * UNIT);
}

static void die_pool_full(void)
{
    Arena a = opened(&backend_cpu, CAPACITY);
    arena_push(&a, 60 * UNIT);
    arena_pool_take(&a, 2 * UNIT);
    arena_pool_take(&a, 3 * UNIT);
}

static void die_huge(void)
{
    Arena a = opened(&backend_cpu, CAPACITY);
    arena_push(&a, SIZE_MAX - 8);
}

static void die_pool_huge(void)
{
    Arena a = opened(&backend_cpu, CAPACITY);
    arena_pool_take(&a, UNIT);
    arena_pool_take(&a, SIZE_MAX - UNIT + 1); /* the sum with what is there is 0 */
}

static void die_pop_above(void)
{
    Arena a = opened(&backend_cpu, CAPACITY);
    ArenaMark low = arena_mark(&a);
    arena_push(&a, 1);
    ArenaMark high = arena_mark(&a);
    arena_pop(&a, low);
    arena_pop(&a, high);
}

static void die_give_twice(void)
{
    Arena a = opened(&backend_cpu, CAPACITY);
    void *p = arena_pool_take(&a, 1);
    arena_pool_give(&a, p);
    arena_pool_give(&a, p);
}

static void die_overrun(void)
{
    Arena a = opened(&backend_cpu, CAPACITY);
    a.guard = true;
    arena_push(&a, 40);
    char *p = arena_push(&a, 100);
    arena_check(&a);
    p[103] = 0;
    arena_check(&a);
}

static const DeathCase deaths[] = {
    {"full", die_full},           {"pool full", die_pool_full}, {"huge", die_huge},
    {"pool huge", die_pool_huge}, {"pop above", die_pop_above}, {"give twice", die_give_twice},
    {"overrun", die_overrun},
};

START_TEST(running_out_ends_with_code_6)
{
    assert_death(
        "full", ERROR_MEMORY,
        "out of memory: arena step has 15360 of 16384 bytes in use (15360 stack, 0 pool) and needs 1280 "
        "more; raise --memory or make the batch smaller\n");
    assert_death("pool full", ERROR_MEMORY,
                 "arena step has 15872 of 16384 bytes in use (15360 stack, 512 pool) and needs 768 more");
    assert_death("huge", ERROR_MEMORY, "needs 18446744073709551607 more");
    assert_death("pool huge", ERROR_MEMORY, "needs 18446744073709551360 more");
}
END_TEST

START_TEST(misuse_dies)
{
    assert_death("pop above", DEATH_ABORT, "fatal: arena step: popped to a mark above its top\n");
    assert_death("give twice", DEATH_ABORT, "fatal: arena step: gave back a block that is not in its pool\n");
    assert_death("overrun", DEATH_ABORT,
                 "fatal: arena step: byte 3 behind the block of 100 bytes at offset 256 was overwritten\n");
}
END_TEST

int main(int argc, char **argv)
{
    DEATH_MAIN(deaths, argc, argv);
    Suite *s = suite_create("arena");
    TCase *c = tcase_create("arena");
    tcase_add_test(c, stack_and_marks);
    tcase_add_test(c, all_of_the_capacity_can_be_used);
    tcase_add_test(c, pool_is_first_fit);
    tcase_add_test(c, peak_counts_both_ends);
    tcase_add_test(c, pool_blocks_never_overlap);
    tcase_add_test(c, guards_hold);
    tcase_add_test(c, plan_reserves_only);
    tcase_add_test(c, too_much_is_an_error);
    tcase_add_test(c, running_out_ends_with_code_6);
    tcase_add_test(c, misuse_dies);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
