/* A model in several files: what is written, and indices that do not say what is there. */
#include "data/file.h"
#include "data/json.h"
#include "data/safetensors.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"
#include "tests/data/shards_bad.h"

static char folder[] = "/tmp/test-shards-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[8][128];
    static int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void remove_all(void)
{
    static const char *const names[] = {"model-00001-of-00003.safetensors",
                                        "model-00002-of-00003.safetensors",
                                        "model-00003-of-00003.safetensors",
                                        "model-00001-of-00002.safetensors",
                                        "model-00002-of-00002.safetensors",
                                        "model-00001-of-00001.safetensors",
                                        "model.safetensors.index.json",
                                        "model.safetensors",
                                        "a",
                                        "b",
                                        "x.index.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(in_folder(names[i]));
}

static void one_file(const char *name, const char *tensor, const char *other, float value)
{
    Error e = {0};
    StWriter *w = st_writer_new();
    st_writer_meta(w, "from", name);
    st_writer_add(w, tensor, ST_F32, 1, (int64_t[]){1}, &value);
    if (other) st_writer_add(w, other, ST_F32, 1, (int64_t[]){1}, &value);
    ck_assert_msg(st_writer_save(w, in_folder(name), &e), "%s", e.msg);
    st_writer_free(w);
}

/* ' stands for ". a has x and y, b has z. */
static TensorFile *open_index(const char *text, Error *e)
{
    char json[2000];
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) json[i] = text[i] == '\'' ? '"' : text[i];
    one_file("a", "x", "y", 1);
    one_file("b", "z", NULL, 2);
    ck_assert_msg(file_write(in_folder("x.index.json"), json, n, e), "%s", e->msg);
    return tensor_file_open(in_folder("x.index.json"), e);
}

START_TEST(bad_index)
{
    Error e = {0};
    char expected[400];
    TensorFile *f = open_index(bad_indices[_i].index, &e);
    ck_assert_msg(!f, "opened; expected: %s", bad_indices[_i].message);
    bool file = bad_indices[_i].message[0] == '/';
    snprintf(expected, sizeof expected, "%s%s%s%s", folder,
             file ? "" : "/x.index.json:", file || bad_indices[_i].message[1] == ':' ? "" : " ",
             bad_indices[_i].message);
    ck_assert_str_eq(e.msg, expected);
    ck_assert_int_eq(e.code, strstr(e.msg, "cannot open") ? ERROR_IO : ERROR_INPUT);
}
END_TEST

START_TEST(twice)
{
    Error e = {0};
    char expected[400];
    TensorFile *f = open_index("{'weight_map':{'x':'a','y':'a','z':'b'}}", &e);
    ck_assert_msg(f != NULL, "%s", e.msg);
    ck_assert_int_eq(f->n_part, 2);
    ck_assert_str_eq(tensor_file_meta(f, "from"), "a");
    float x;
    ck_assert(tensor_file_load_f32(f, "z", 1, (int64_t[]){1}, &x, &e) && x == 2);
    ck_assert(tensor_file_load_f32(f, "y", 1, (int64_t[]){1}, &x, &e) && x == 1);
    tensor_file_close(f);
    one_file("b", "z", "x", 2); /* in both files */
    ck_assert(!tensor_file_open(in_folder("x.index.json"), &e));
    snprintf(expected, sizeof expected, "%s: tensor \"x\" is there twice", in_folder("x.index.json"));
    ck_assert_str_eq(e.msg, expected);
    ck_assert(file_write(in_folder("b"), "{}", 2, &e) && !tensor_file_open(in_folder("x.index.json"), &e));
    ck_assert_msg(strstr(e.msg, "/b: 2 bytes, a safetensors file has at least 8"), "%s", e.msg);
    ck_assert(!tensor_file_open(folder, &e));
    snprintf(expected, sizeof expected, "%s: expected one of model.safetensors, ", folder);
    ck_assert_msg(!strncmp(e.msg, expected, strlen(expected)), "%s", e.msg);
}
END_TEST

/* The first file's alone: that of 200,000 keys is not compared with each other's. */
START_TEST(metadata)
{
    static const char text[] = "{\"weight_map\":{\"x\":\"a\",\"y\":\"a\",\"z\":\"b\"}}";
    Error e = {0};
    float value = 2;
    one_file("a", "x", "y", 1);
    StWriter *w = st_writer_new();
    st_writer_meta(w, "from", "b");
    st_writer_meta(w, "other", "b");
    st_writer_add(w, "z", ST_F32, 1, (int64_t[]){1}, &value);
    ck_assert(st_writer_save(w, in_folder("b"), &e));
    st_writer_free(w);
    ck_assert(file_write(in_folder("x.index.json"), text, sizeof text - 1, &e));
    TensorFile *f = tensor_file_open(in_folder("x.index.json"), &e);
    ck_assert_msg(f != NULL, "%s", e.msg);
    ck_assert_int_eq(f->n_meta, 1);
    ck_assert_str_eq(tensor_file_meta(f, "from"), "a");
    tensor_file_close(f);
}
END_TEST

START_TEST(prefixes)
{
    static const char text[] = "{'weight_map':{'x':'a','y':'a','z':'b'}}";
    for (size_t n = 0; n < sizeof text; n++) {
        Error e = {0};
        char part[sizeof text] = "";
        memcpy(part, text, n);
        TensorFile *f = open_index(part, &e);
        ck_assert_msg((f != NULL) == (n == sizeof text - 1), "%zu: %s", n, e.msg);
        tensor_file_close(f);
    }
}
END_TEST

/* ---- writing ---- */

static bool save(uint64_t limit, Error *e)
{
    static const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    StWriter *w = st_writer_new();
    st_writer_meta(w, "who", "us");
    st_writer_add(w, "c", ST_F32, 2, (int64_t[]){2, 4}, x);    /* 32 bytes */
    st_writer_add(w, "a", ST_F32, 1, (int64_t[]){4}, x);       /* 16 */
    st_writer_add(w, "b.plane", ST_F32, 1, (int64_t[]){2}, x); /* 8, stays with b */
    st_writer_add(w, "b", ST_F32, 1, (int64_t[]){3}, x + 1);   /* 12 */
    st_writer_add(w, "bc", ST_I16, 1, (int64_t[]){2}, x);      /* 4 */
    bool ok = st_writer_save_shards(w, folder, limit, e);
    st_writer_free(w);
    return ok;
}

static void check(int parts, const char *shard_of_b)
{
    Error e = {0};
    float x[8];
    TensorFile *f = tensor_file_open(folder, &e);
    ck_assert_msg(f != NULL, "%s", e.msg);
    ck_assert_int_eq(f->n_part, parts);
    ck_assert_int_eq(f->n, 5);
    ck_assert_str_eq(tensor_file_meta(f, "who"), "us");
    ck_assert(tensor_file_load_f32(f, "b", 1, (int64_t[]){3}, x, &e) && x[0] == 2 && x[2] == 4);
    ck_assert(tensor_file_load_f32(f, "c", 2, (int64_t[]){2, 4}, x, &e) && x[7] == 8);
    ck_assert_int_eq(tensor_file_find(f, "b")->part, tensor_file_find(f, "b.plane")->part);
    tensor_file_close(f);
    json_t *index = json_read(in_folder("model.safetensors.index.json"), &e);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(index, "metadata"), "total_size")), 72);
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(index, "weight_map"), "b.plane")),
                     shard_of_b);
    json_decref(index);
    remove_all();
}

START_TEST(written)
{
    Error e = {0};
    char expected[300];
    ck_assert_msg(save(1, &e), "%s", e.msg); /* each alone: a; b with its plane; bc; c */
    unlink(in_folder("model-00004-of-00004.safetensors"));
    ck_assert(!tensor_file_open(folder, &e) && e.code == ERROR_IO);
    for (int k = 1; k < 4; k++) {
        char name[64];
        snprintf(name, sizeof name, "model-%05d-of-00004.safetensors", k);
        ck_assert(unlink(in_folder(name)) == 0);
    }
    remove_all();
    ck_assert(save(36, &e));
    check(2, "model-00001-of-00002.safetensors"); /* 16 + 20; 4 + 32 */
    ck_assert(save(35, &e));
    check(3, "model-00002-of-00003.safetensors"); /* 16; 20 + 4; 32 */
    ck_assert(save(72, &e));
    check(1, "model-00001-of-00001.safetensors");
    ck_assert(save(UINT64_MAX, &e));
    check(1, "model-00001-of-00001.safetensors");
    one_file("model.safetensors", "x", NULL, 1);
    ck_assert(!save(36, &e));
    snprintf(expected, sizeof expected, "%s is there, and would be read instead of the shards",
             in_folder("model.safetensors"));
    ck_assert_str_eq(e.msg, expected);
    remove_all();
    /* none at all */
    StWriter *w = st_writer_new();
    ck_assert(st_writer_save_shards(w, folder, 5, &e));
    st_writer_free(w);
    TensorFile *f = tensor_file_open(folder, &e);
    ck_assert(f && f->n == 0 && f->n_part == 0);
    tensor_file_close(f);
}
END_TEST

static bool save_36(Error *e) { return save(36, e); }
static bool open_folder(Error *e)
{
    TensorFile *f = tensor_file_open(folder, e);
    tensor_file_close(f);
    return f != NULL;
}

START_TEST(allocations)
{
    ck_assert_int_gt(fail_each(save_36), 50);
    ck_assert_int_gt(fail_each(open_folder), 50);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder) || mkdir(in_folder("d"), 0700) != 0) return 1;
    Suite *s = suite_create("shards");
    TCase *t = tcase_create("shards");
    tcase_add_loop_test(t, bad_index, 0, sizeof bad_indices / sizeof *bad_indices);
    tcase_add_test(t, twice);
    tcase_add_test(t, metadata);
    tcase_add_test(t, prefixes);
    tcase_add_test(t, written);
    tcase_add_test(t, allocations);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    remove_all();
    rmdir(in_folder("d"));
    rmdir(folder);
    return failed != 0;
}
