#include "tools/cli.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

START_TEST(numbers)
{
    int64_t i = 77;
    ck_assert(cli_int("-12", -20, 20, &i) && i == -12);
    i = 77;
    static const char *const bad[] = {"",   " 1",  "1 ", "1.0", "0x10", "9999999999999999999",
                                      "21", "-21", "+",  "-"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        ck_assert_msg(!cli_int(bad[k], -20, 20, &i), "%s", bad[k]);
    ck_assert_int_eq(i, 77);
    double x = 7;
    ck_assert(cli_number("-1.5e1", -20, 20, &x) && x == -15);
    ck_assert(!cli_number("nan", -20, 20, &x) && !cli_number("inf", -20, 20, &x) &&
              !cli_number("1e999", 0, 1, &x));
    ck_assert(!cli_number("", -20, 20, &x) && !cli_number("1,5", -20, 20, &x) && x == -15);
}
END_TEST

START_TEST(sizes)
{
    uint64_t n = 1;
    ck_assert(cli_size("512", &n) && n == 512);
    ck_assert(cli_size("4G", &n) && n == 4ull << 30);
    ck_assert(cli_size("3k", &n) && n == 3072);
    ck_assert(!cli_size("", &n) && !cli_size("4GB", &n) && !cli_size("-1", &n) && !cli_size("17000000T", &n));
    ck_assert(!cli_size("99999999999999999999", &n) && n == 3072);
}
END_TEST

START_TEST(lists)
{
    double v[3] = {0};
    ck_assert(cli_numbers("1,2.5,-3", ',', 3, v) && v[0] == 1 && v[1] == 2.5 && v[2] == -3);
    ck_assert(!cli_numbers("1,2", ',', 3, v) && !cli_numbers("1,2,3,4", ',', 3, v) &&
              !cli_numbers("1,,3", ',', 3, v));
    ck_assert(cli_numbers("40:160", ':', 2, v) && v[0] == 40 && v[1] == 160 && v[2] == -3);
}
END_TEST

/* How long the program's threads spin, as OpenMP says it. */
static bool spins_briefly(const char *environment)
{
    char command[512];
    snprintf(command, sizeof command,
             "env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT OMP_DISPLAY_ENV=verbose %s %s/bin/pcrl-synth --version "
             "2>&1 | "
             "grep -q \"GOMP_SPINCOUNT = '1000'\"",
             environment, getenv("BUILD"));
    return !system(command);
}

START_TEST(spinning)
{
    ck_assert(spins_briefly(""));
    ck_assert(!spins_briefly("OMP_WAIT_POLICY=active"));
    ck_assert(!spins_briefly("GOMP_SPINCOUNT=20"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cli");
    TCase *t = tcase_create("numbers");
    tcase_add_test(t, numbers);
    tcase_add_test(t, sizes);
    tcase_add_test(t, lists);
    tcase_add_test(t, spinning);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
