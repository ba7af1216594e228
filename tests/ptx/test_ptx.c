/* The interpreter against plain C: small kernels of every kind, compiled by nvcc; and what must fail, fails. */
#include "tests/ptx/test_ptx.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void test_launch(const char *symbol, const unsigned grid[3], const unsigned block[3], size_t dynamic_bytes,
                 const TestArg *args, size_t n)
{
    unsigned g[3], b[3];
    void *arg[16];
    size_t bytes[16];
    if (n > 16) abort();
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
    if (!ptx_open(folder, &e)) ck_abort_msg("%s", e.msg);
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

/* Last: what all tests before it ran. */
static char covered[] = "/tmp/pcrl-ptx-XXXXXX";

static int uncovered(const char *file, char *said, size_t room)
{
    const char *build = getenv("BUILD");
    char command[600];
    snprintf(command, sizeof command, "tests/ptx/coverage.sh %s/ptx/kernels %s",
             build ? build : "build/release", file);
    FILE *f = popen(command, "r");
    if (!f) return -1;
    said[fread(said, 1, room - 1, f)] = 0;
    return pclose(f);
}

START_TEST(coverage)
{
    char said[4096];
    ptx_close();
    ck_assert_msg(uncovered(covered, said, sizeof said) == 0, "%s", said);
    ck_assert(truncate(covered, 0) == 0);
    test_open("kernels");
    ck_assert(test_names_run());
    ptx_close();
    ck_assert(uncovered(covered, said, sizeof said) > 0);
    ck_assert_ptr_nonnull(strstr(said, "never run: place_kernel(int*)"));
    ck_assert_ptr_null(strstr(said, "axpy"));
    unlink(covered);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--death")) return test_fault_run(argv[2]);
    const int fd = mkstemp(covered);
    if (fd < 0 || setenv("PTX_COVERAGE", covered, 1)) return 1;
    close(fd);
    Suite *s = suite_create("ptx");
    TCase *c = tcase_create("ptx");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, names);
    test_kernels(c);
    test_exact(c);
    test_paths(c);
    test_faults(c);
    tcase_add_test(c, coverage);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int bad = srunner_ntests_failed(r);
    srunner_free(r);
    unsetenv("PTX_COVERAGE");
    return bad != 0;
}
