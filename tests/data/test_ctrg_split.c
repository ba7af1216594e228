#include "data/ctrg_split.h"
#include "data/file.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 6001 };
static uint8_t part[N];

static void check_range(int from, int to, SplitPart expected)
{
    for (int i = from; i < to; i++) ck_assert_msg(part[i] == expected, "position %d: %d", i, part[i]);
}

START_TEST(known_orders)
{
    Error e = {0};
    ck_assert(split_positions(SPLIT_PCRL, 1, N, part, &e));
    check_range(0, 4200, SPLIT_TRAIN);
    check_range(4200, 5400, SPLIT_TEST);
    check_range(5400, 6001, SPLIT_VALIDATION);
    ck_assert(split_positions(SPLIT_MEPNET, 1, N, part, &e));
    check_range(0, 4200, SPLIT_TRAIN);
    check_range(4200, 4801, SPLIT_VALIDATION);
    check_range(4801, 6001, SPLIT_TEST);
}
END_TEST

static void count(int n, int counts[SPLIT_PARTS])
{
    memset(counts, 0, SPLIT_PARTS * sizeof *counts);
    for (int i = 0; i < n; i++) counts[part[i]]++;
}

START_TEST(shares)
{
    static const struct {
        int n, counts[SPLIT_PARTS];
    } cases[] = {{0, {0, 0, 0}},  {1, {0, 1, 0}},   {5, {3, 1, 1}},
                 {10, {7, 1, 2}}, {20, {14, 2, 4}}, {N, {4200, 601, 1200}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (SplitKind k = SPLIT_PCRL; k < SPLIT_FILES; k++) {
            int counts[SPLIT_PARTS];
            ck_assert(split_positions(k, 7, cases[i].n, part, NULL));
            count(cases[i].n, counts);
            ck_assert_mem_eq(counts, cases[i].counts, sizeof counts);
        }
}
END_TEST

START_TEST(seeded)
{
    static uint8_t first[N];
    ck_assert(split_positions(SPLIT_SEED, 1, N, part, NULL));
    memcpy(first, part, N);
    ck_assert(split_positions(SPLIT_SEED, 1, N, part, NULL));
    ck_assert_mem_eq(first, part, N);
    ck_assert(split_positions(SPLIT_SEED, 2, N, part, NULL));
    int same = 0, early = 0;
    for (int i = 0; i < N; i++) same += part[i] == first[i], early += i < 4200 && part[i] == SPLIT_TRAIN;
    ck_assert_int_lt(same, 3600); /* 0.7^2 + 0.1^2 + 0.2^2 of 6001 is 3241 */
    ck_assert_int_gt(early, 2740);
    ck_assert_int_lt(early, 3140); /* 0.7 of 4200 is 2940 */
}
END_TEST

START_TEST(names)
{
    SplitKind k;
    for (SplitKind i = 0; i < SPLIT_KINDS; i++) ck_assert(split_from_name(split_name(i), &k) && k == i);
    ck_assert(!split_from_name("validation", &k));
    ck_assert_str_eq(split_part_name(SPLIT_VALIDATION), "validation");
}
END_TEST

/* printf '12\n0\n7\n' | sha256sum; and of nothing */
START_TEST(hashes)
{
    char hex[65];
    split_hash((const int64_t[]){12, 0, 7}, 3, hex);
    ck_assert_str_eq(hex, "8c6f44bef0120b9130338878ceac04fb16b80fe7c0deab341210b24f8ca16f8b");
    split_hash(NULL, 0, hex);
    ck_assert_str_eq(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
END_TEST

static char path[] = "/tmp/test-split-XXXXXX";

START_TEST(lists)
{
    static const struct {
        const char *json, *fault; /* after "PATH: "; NULL: 12, 0, 7 */
    } cases[] = {
        {"[\"12\", \"0\", \"7\"]", NULL},
        {"[12, 0, 7]", NULL},
        {"[{\"id\": \"12\", \"findings\": \"x\"}, {\"image_id\": \"0\"}, {\"id\": 7}]", NULL},
        {"{\"12\": [], \"0\": {\"id\": \"3\"}, \"7\": null}", NULL},
        {"[12, \"12\", 7]", "study 12 is there twice"},
        {"[12, \"x\", 7]", "entry 1 has no id"},
        {"[12, \"07\", 7]", "entry 1 has no id"},
        {"[12, -1, 7]", "entry 1 has no id"},
        {"[12, {\"name\": 3}, 7]", "entry 1 has no id"},
        {"[12, [7]]", "entry 1 has no id"},
        {"[12, 1.5]", "entry 1 has no id"},
        {"{\"12\": 1, \"a\": 2}", "entry 1 has no id"},
        {"12", "neither a list nor an object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error e = {0};
        int64_t *id = NULL;
        int n = 0;
        char expected[200];
        ck_assert(file_write(path, cases[i].json, strlen(cases[i].json), &e));
        bool ok = split_read_ids(path, &id, &n, &e);
        if (cases[i].fault) {
            snprintf(expected, sizeof expected, "%s: %s", path, cases[i].fault);
            ck_assert(!ok && e.code == ERROR_INPUT);
            ck_assert_str_eq(e.msg, expected);
            continue;
        }
        ck_assert_msg(ok && n == 3 && id[0] == 12 && id[1] == 0 && id[2] == 7, "%s: %s", cases[i].json, e.msg);
        free(id);
    }
}
END_TEST

/* The groups' own lists hold pictures' paths, and these hold names. */
START_TEST(quotes_nothing)
{
    static const char *const json[] = {
        "[{\"id\": \"1\", \"images\": [\"a\" \"NOBODY_02_0001 near _0001.jpg\"]}]",
        "[{\"id\": \"1\", \"NOBODY near \": 1, \"NOBODY near \": 2}]"};
    for (size_t i = 0; i < sizeof json / sizeof *json; i++) {
        Error e = {0};
        int64_t *id = NULL;
        int n = 0;
        ck_assert(file_write(path, json[i], strlen(json[i]), &e));
        ck_assert(!split_read_ids(path, &id, &n, &e) && e.code == ERROR_INPUT);
        ck_assert_msg(strstr(e.msg, ": not JSON: ") && !strstr(e.msg, "near") && !strstr(e.msg, "NOBODY"), "%s",
                      e.msg);
    }
}
END_TEST

int main(void)
{
    close(mkstemp(path));
    Suite *s = suite_create("ctrg_split");
    TCase *t = tcase_create("ctrg_split");
    tcase_add_test(t, known_orders);
    tcase_add_test(t, shares);
    tcase_add_test(t, seeded);
    tcase_add_test(t, names);
    tcase_add_test(t, hashes);
    tcase_add_test(t, lists);
    tcase_add_test(t, quotes_nothing);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    unlink(path);
    return failed != 0;
}
