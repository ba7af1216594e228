#include "data/file.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/test-file-XXXXXX";
static char path[64];

static size_t entries(void)
{
    char command[128];
    snprintf(command, sizeof command, "ls -A %s | wc -l", folder);
    FILE *p = popen(command, "r");
    int n = -1;
    ck_assert_int_eq(fscanf(p, "%d", &n), 1);
    pclose(p);
    return (size_t)n;
}

START_TEST(round_trip)
{
    Error e = {0};
    uint8_t *bytes = NULL;
    size_t n = 0;
    snprintf(path, sizeof path, "%s/a", folder);
    ck_assert_msg(file_write(path, "hello", 5, &e), "%s", e.msg);
    ck_assert_msg(file_read(path, 5, &bytes, &n, &e), "%s", e.msg);
    ck_assert(n == 5 && memcmp(bytes, "hello", 6) == 0);
    free(bytes);
    ck_assert(!file_read(path, 4, &bytes, &n, &e) && e.code == ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, "/a: 5 bytes, more than the limit of 4"), "%s", e.msg);
    ck_assert(file_write(path, NULL, 0, &e) && file_read(path, 0, &bytes, &n, &e));
    ck_assert(n == 0 && bytes[0] == 0);
    free(bytes);
    ck_assert_uint_eq(entries(), 1);
    unlink(path);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    Suite *s = suite_create("file");
    TCase *t = tcase_create("file");
    tcase_add_test(t, round_trip);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    rmdir(folder);
    return failed != 0;
}
