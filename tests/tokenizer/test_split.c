/* LLaMA-3's pre-tokens: by hand and by PCRE2 from the pattern itself, the same pieces. */
#include "tests/golden/strings.h"
#include "tokenizer/split.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static Split *hand, *regex, *unassigned;
static SplitWalk *a, *b; /* of the first two */

/* The first piece's end that differs, or -1. */
static long difference(const char *text, size_t n)
{
    Error e = {0};
    split_again(a, text, n);
    split_again(b, text, n);
    size_t start[2], end[2] = {0, 0};
    long found = -1;
    for (int more = 1; more && found < 0;) {
        more = split_next(a, &start[0], &end[0], &e);
        int other = split_next(b, &start[1], &end[1], &e);
        if (more < 0 || other < 0) ck_abort_msg("%s", e.msg);
        if (more != other || (more && end[0] != end[1])) found = (long)end[0];
    }
    return found;
}

/* Each character after a letter, before one, doubled, after a number and before a sign. What PCRE2's Unicode
 * does not know yet may differ. */
START_TEST(every_character)
{
    int differ = 0;
    for (uint32_t c = 0; c < 0x110000; c++) {
        if (c >= 0xD800 && c < 0xE000) continue;
        char one[8], text[64];
        size_t k = string_put(one, c), n = 0;
        static const char *const around[] = {"a", "a", "", "1", "!"};
        for (size_t i = 0; i < 5; i++) {
            n += (size_t)(stpcpy(text + n, around[i]) - (text + n));
            memcpy(text + n, one, k);
            n += k;
        }
        if (difference(text, n) < 0) continue;
        Error e = {0};
        SplitWalk *w = split_begin(unassigned, text, n, &e);
        size_t start, end;
        ck_assert_int_eq(split_next(w, &start, &end, &e), 1);
        split_end(w);
        ck_assert_msg(end == 1, "U+%04X is split differently", c);
        differ++;
    }
    if (differ) printf("%d characters are newer than PCRE2's Unicode and split differently\n", differ);
    ck_assert_int_lt(differ, 20000);
}
END_TEST

/* Every string of at most five of what the pattern tells apart. */
START_TEST(short_strings)
{
    static const char *const part[] = {"a", "1", " ", "\n", "\r", "!", "'", "s", "L", "\u3000", "左", "é", "ſ"};
    enum { PARTS = sizeof part / sizeof *part };
    for (int length = 1, strings = PARTS; length <= 5; length++, strings *= PARTS)
        for (int i = 0; i < strings; i++) {
            char text[64] = "", *end = text;
            for (int k = 0, rest = i; k < length; k++, rest /= PARTS) end = stpcpy(end, part[rest % PARTS]);
            long at = difference(text, (size_t)(end - text));
            if (at >= 0) ck_abort_msg("'%s' differs at %ld", text, at);
        }
}
END_TEST

START_TEST(random_strings)
{
    static char text[STRING_ROOM];
    for (uint32_t i = 0; i < 3000; i++) {
        size_t n = string_make(latin_rows, sizeof latin_rows / sizeof *latin_rows, "split", 1, 40, i, text);
        long at = difference(text, n);
        ck_assert_msg(at < 0, "string %u differs at %ld", i, at);
    }
}
END_TEST

/* A walk begun again walks the other text. */
START_TEST(walks_again)
{
    Error e = {0};
    const Split *const split[] = {hand, regex};
    for (int k = 0; k < 2; k++) {
        SplitWalk *w = split_begin(split[k], "left right", 10, &e);
        size_t start, end;
        ck_assert_int_eq(split_next(w, &start, &end, &e), 1);
        ck_assert_uint_eq(end, 4);
        split_again(w, "a1", 2);
        ck_assert_int_eq(split_next(w, &start, &end, &e), 1);
        ck_assert(start == 0 && end == 1);
        ck_assert_int_eq(split_next(w, &start, &end, &e), 1);
        ck_assert(start == 1 && end == 2);
        ck_assert_int_eq(split_next(w, &start, &end, &e), 0);
        split_end(w);
    }
}
END_TEST

int main(void)
{
    Error e = {0};
    hand = split_open(SPLIT_LLAMA3, "by hand", &e);
    regex = split_open("(?:" SPLIT_LLAMA3 ")", "by PCRE2", &e);
    unassigned = split_open("\\p{Cn}+", "unassigned", &e);
    a = hand ? split_begin(hand, "", 0, &e) : NULL;
    b = regex ? split_begin(regex, "", 0, &e) : NULL;
    if (!a || !b || !unassigned) {
        fprintf(stderr, "%s\n", e.msg);
        return EXIT_FAILURE;
    }
    const TTest *const tests[] = {every_character, short_strings, random_strings, walks_again};
    Suite *suite = suite_create("split");
    TCase *t = tcase_create("split");
    tcase_set_timeout(t, 0);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) tcase_add_test(t, tests[i]);
    suite_add_tcase(suite, t);
    SRunner *sr = srunner_create(suite);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    split_end(a);
    split_end(b);
    split_close(hand);
    split_close(regex);
    split_close(unassigned);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
