#include "data/safetensors.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"

static char folder[] = "/tmp/test-safetensors-XXXXXX";
static char path[64];

START_TEST(round_trip)
{
    Error e = {0};
    float x[6] = {1, 2, 3, 4, 5, -6};
    int16_t k[3] = {-1, 2, 3};
    uint16_t half[4] = {0x3c00, 0xc000, 0x0001, 0x7c00};
    StWriter *w = st_writer_new();
    st_writer_meta(w, "who", "测试");
    st_writer_add(w, "k", ST_I16, 1, (int64_t[]){3}, k);
    st_writer_add(w, "x", ST_F32, 2, (int64_t[]){2, 3}, x);
    st_writer_add(w, "half", ST_F16, 1, (int64_t[]){4}, half);
    st_writer_add(w, "empty", ST_F32, 2, (int64_t[]){0, 3}, NULL);
    st_writer_add(w, "scalar", ST_F32, 0, NULL, x);
    ck_assert_msg(st_writer_save(w, path, &e), "%s", e.msg);
    st_writer_free(w);
    SafeTensors *s = safetensors_open(path, &e);
    ck_assert_msg(s != NULL, "%s", e.msg);
    ck_assert_int_eq(s->n, 5);
    ck_assert_uint_eq(s->data_offset % 8, 0);
    ck_assert_str_eq(safetensors_meta(s, "who"), "测试");
    ck_assert_ptr_null(safetensors_meta(s, "x"));
    ck_assert_ptr_null(safetensors_find(s, "y"));
    float y[6];
    ck_assert_msg(safetensors_load_f32(s, "x", 2, (int64_t[]){2, 3}, y, &e), "%s", e.msg);
    ck_assert_mem_eq(x, y, sizeof x);
    ck_assert(safetensors_load_f32(s, "k", 1, (int64_t[]){3}, y, &e) && y[0] == -1 && y[2] == 3);
    ck_assert(safetensors_load_f32(s, "half", 1, (int64_t[]){4}, y, &e));
    ck_assert(y[0] == 1 && y[1] == -2 && y[2] == 0x1p-24f && y[3] > 1e38f);
    ck_assert(safetensors_load_f32(s, "scalar", 0, NULL, y, &e) && y[0] == 1);
    ck_assert(!safetensors_load_f32(s, "x", 2, (int64_t[]){3, 2}, y, &e) && e.code == ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, "tensor \"x\": expected shape (3,2), found (2,3)"), "%s", e.msg);
    safetensors_close(s);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/t.safetensors", folder);
    Suite *s = suite_create("safetensors");
    TCase *t = tcase_create("safetensors");
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
