#include "data/json.h"
#include "data/file.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"

static char folder[] = "/tmp/test-json-XXXXXX";
static char path[64];

START_TEST(round_trip)
{
    Error e = {0};
    json_t *v = json_pack("{s:s,s:i,s:f}", "b", "左侧", "a", 7, "c", 0.1);
    ck_assert_msg(json_write(path, v, &e), "%s", e.msg);
    json_t *w = json_read(path, &e);
    ck_assert_msg(w && json_equal(v, w), "%s", e.msg);
    const char *s;
    int64_t i;
    double x;
    ck_assert(json_get_string(w, "b", path, &s, &e) && strcmp(s, "左侧") == 0);
    ck_assert(json_get_int(w, "a", path, &i, &e) && i == 7);
    ck_assert(json_get_number(w, "c", path, &x, &e) && x == 0.1);
    ck_assert(!json_get_int(w, "c", "f.json", &i, &e));
    ck_assert_str_eq(e.msg, "f.json: key \"c\": expected an integer, found a real number");
    ck_assert(!json_get_int(w, "d", "f.json", &i, &e));
    ck_assert_str_eq(e.msg, "f.json: key \"d\" is missing (expected an integer)");
    json_decref(v);
    json_decref(w);
    uint8_t *bytes;
    size_t n;
    ck_assert(file_read(path, 1000, &bytes, &n, &e));
    ck_assert_str_eq((char *)bytes, "{\n  \"b\": \"左侧\",\n  \"a\": 7,\n  \"c\": 0.10000000000000001\n}\n");
    free(bytes);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/t.json", folder);
    Suite *s = suite_create("json");
    TCase *t = tcase_create("json");
    tcase_add_test(t, round_trip);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    unlink(path);
    rmdir(folder);
    return failed != 0;
}
