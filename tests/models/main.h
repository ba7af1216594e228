/* The main() of a test program: runs tests, all in one process (libgomp does not survive a fork). */
#ifndef TESTS_MODELS_MAIN_H
#define TESTS_MODELS_MAIN_H
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A file of this process alone. */
static inline const char *test_path(void)
{
    static char path[64];
    if (!*path) snprintf(path, sizeof path, "/tmp/test-%ld.safetensors", (long)getpid());
    return path;
}

/* A message must begin with the file's path; what follows it. */
static inline const char *after_path(const char *message)
{
    size_t n = strlen(test_path());
    ck_assert_msg(!strncmp(message, test_path(), n) && !strncmp(message + n, ": ", 2), "no path in: %s",
                  message);
    return message + n + 2;
}

static inline int run_tests(const char *name, const TTest *const *tests, size_t n)
{
    Suite *s = suite_create(name);
    TCase *c = tcase_create(name);
    tcase_set_timeout(c, 0);
    for (size_t i = 0; i < n; i++) tcase_add_test(c, tests[i]);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
#endif
