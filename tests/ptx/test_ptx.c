/* The interpreter against plain C: small kernels of every kind, compiled by nvcc; and what must fail, fails. */
#include "tests/ptx/test_ptx.h"
#include "tests/tensor/death.h"
#include <stdio.h>
#include <stdlib.h>

void test_launch(const char *symbol, const unsigned grid[3], const unsigned block[3], size_t dynamic_bytes,
                 const TestArg *args, size_t n)
{
    unsigned g[3], b[3];
    void *arg[16];
    size_t bytes[16];
    ck_assert_uint_le(n, 16);
    for (int i = 0; i < 3; i++) g[i] = grid[i] ? grid[i] : 1, b[i] = block[i] ? block[i] : 1;
    for (size_t i = 0; i < n; i++) arg[i] = (void *)(uintptr_t)args[i].value, bytes[i] = args[i].bytes;
    ptx_launch_symbol(symbol, g, b, dynamic_bytes, arg, bytes, (int)n);
}

void test_open(const char *name)
{
    const char *build = getenv("BUILD");
    char folder[400];
    Error e = {0};
    snprintf(folder, sizeof folder, "%s/ptx/%s", build ? build : "build/release", name);
    ck_assert_msg(ptx_open(folder, &e), "%s", e.msg);
}

float test_float(unsigned seed, unsigned i)
{
    unsigned h = seed * 0x9E3779B9u + i * 0x85EBCA6Bu;
    h = (h ^ h >> 15) * 0x2C1B3C6Du;
    h = (h ^ h >> 12) * 0x297A2D39u;
    return (float)((h ^ h >> 15) >> 8) * 0x1p-23f - 1;
}

START_TEST(names)
{
    test_open("kernels");
    ck_assert(test_names_run());
}
END_TEST

int main(int argc, char **argv)
{
    (void)argc, (void)argv;
    Suite *s = suite_create("ptx");
    TCase *c = tcase_create("ptx");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, names);
    test_kernels(c);
    test_exact(c);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad != 0;
}
