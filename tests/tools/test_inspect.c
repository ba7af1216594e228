/* pcrl-inspect on one file of each kind, sound and damaged. */
#include "data/file.h"
#include "data/image.h"
#include "data/json.h"
#include "data/nifti.h"
#include "data/safetensors.h"
#include "kernels/ops.h"
#include "tests/tools/run.h"
#include <check.h>
#include <math.h>

static char folder[] = "/tmp/test-inspect-XXXXXX";
static Run r;

static const char *in_folder(const char *name)
{
    static char path[8][128];
    static int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void run(const char *a, const char *b, const char *c, const char *d)
{
    run_tool(&r, "pcrl-inspect", (const char *const[]){a, b, c, d, NULL});
}

static void write_tensors(const char *path)
{
    Error e = {0};
    static const float x[4] = {1, -3, NAN, INFINITY};
    StWriter *w = st_writer_new();
    st_writer_meta(w, "kind", "头");
    st_writer_add(w, "head.weight", ST_F32, 2, (int64_t[]){2, 2}, x);
    st_writer_add(w, "bad\nname", ST_U8, 1, (int64_t[]){3}, "\1\2\6");
    st_writer_add(w, "flag", ST_BOOL, 0, NULL, "\1");
    ck_assert_msg(st_writer_save(w, path, &e), "%s", e.msg);
    st_writer_free(w);
}

START_TEST(tensors)
{
    char expected[1000];
    const char *path = in_folder("t.safetensors");
    write_tensors(path);
    run("--stats", path, NULL, NULL);
    ck_assert_msg(r.code == 0, "%s", r.err);
    snprintf(expected, sizeof expected,
             "file             %s\n"
             "format           safetensors\n"
             "tensors in file  3\n"
             "elements         8\n"
             "bytes of data    20\n"
             "metadata:\n"
             "  kind  头\n"
             "tensors:\n"
             "  name         dtype  shape  bytes  min  max  mean      rms  nan  inf\n"
             "  bad?name     U8     (3)        3    1    6     3  3.69685    0    0\n"
             "  flag         BOOL   ()         1    -    -     -        -    -    -\n"
             "  head.weight  F32    (2,2)     16   -3    1    -1  2.23607    1    1\n",
             path);
    ck_assert_str_eq(r.out, expected);
    run("--json", "--tensor=head", path, NULL);
    Error e = {0};
    json_t *j = json_parse(r.out, strlen(r.out), "out", &e), *list = json_object_get(j, "tensors");
    ck_assert_msg(j && json_array_size(list) == 1, "%s", r.out);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 0), "name")), "head.weight");
    ck_assert_int_eq(json_integer_value(json_object_get(j, "tensors in file")), 3);
    json_decref(j);
}
END_TEST

START_TEST(pictures_and_volumes)
{
    Error e = {0};
    uint8_t pixel[6] = {0, 10, 20, 30, 40, 50};
    float hu[8] = {-1000, 0, 40, 80, 0, 0, 0, 0};
    const char *png = in_folder("a.png"), *nii = in_folder("a.nii.gz");
    ck_assert(image_write_png(png, &(Image){3, 2, 1, pixel}, &e));
    ck_assert(nifti_write(nii, &(Volume){2, 2, 2, 0.5, 0.5, 5, hu}, NIFTI_I16, &e));
    run("--stats", png, nii, NULL);
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert_ptr_nonnull(
        strstr(r.out, "format    PNG\nwidth     3\nheight    2\nchannels  grey\nmin       0\nmax       50\n"));
    ck_assert_ptr_nonnull(strstr(r.out,
                                 "axes in the file  LPS\naxes as read      LPS\nvoxels            (2,2,2)\n"
                                 "spacing in mm     (0.5,0.5,5)\nmin               -1000\n"));
}
END_TEST

START_TEST(gguf)
{
    run("tests/golden/gguf_tokenizer.gguf", "tests/golden/llama_gguf.gguf", "--tensor=blk.0.attn_q", NULL);
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert_ptr_nonnull(strstr(r.out, "tokenizer.ggml.pre           smollm\n"));
    ck_assert_ptr_nonnull(strstr(r.out, "lists:\n"
                                        "  tokenizer.ggml.tokens      530 string\n"
                                        "  tokenizer.ggml.token_type  530 i32\n"
                                        "  tokenizer.ggml.merges      271 string\n"
                                        "tokenizer:\n"
                                        "  tokens          530\n"
                                        "  special tokens  2\n"));
    ck_assert_ptr_nonnull(strstr(r.out, "blk.0.attn_q.weight  Q4_0   (64,64)   2304\n"));
    ck_assert_ptr_nonnull(strstr(r.out, "llama.rope.freq_base                    20000\n"));
}
END_TEST

START_TEST(texts)
{
    Error e = {0};
    static const char object[] = "{\"step\":3,\"rates\":[1,2],\"deep\":{\"a\":[]},\"name\":\"x\"}";
    static const char lines[] = "{\"step\":1}\n\n{\"step\":2,\"loss\":0.5}";
    const char *json = in_folder("a.json"), *jsonl = in_folder("log.jsonl");
    ck_assert(file_write(json, object, strlen(object), &e) && file_write(jsonl, lines, strlen(lines), &e));
    run(json, jsonl, NULL, NULL);
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert_ptr_nonnull(
        strstr(r.out, "members:\n  step   3\n  rates  (1,2)\n  deep   object of 1 members\n  name   x\n"));
    ck_assert_ptr_nonnull(strstr(r.out, "lines   2\nfirst:\n  step  1\nlast:\n  step  2\n  loss  0.5\n"));
    ck_assert(file_write(jsonl, "{}\n{\n", 5, &e));
    run(jsonl, NULL, NULL, NULL);
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "log.jsonl: line 2:1:1: not JSON: "), "%s", r.err);
}
END_TEST

/* Every row of the table, in its order. */
START_TEST(ops)
{
    run("--ops", "--json", NULL, NULL);
    ck_assert_int_eq(r.code, 0);
    Error e = {0};
    json_t *j = json_parse(r.out, strlen(r.out), "out", &e), *list = json_object_get(j, "ops");
    ck_assert_msg(j && json_array_size(list) == (size_t)kernel_count, "%s", e.msg);
    for (int i = 0; i < kernel_count; i++) {
        const json_t *row = json_array_get(list, (size_t)i);
        ck_assert_str_eq(json_string_value(json_object_get(row, "op")), kernel_names[i]);
        ck_assert_str_eq(json_string_value(json_object_get(row, "cpu backward")),
                         kernels_cpu[i].backward ? "yes" : "none");
    }
    json_decref(j);
}
END_TEST

/* One line for each bad file, and on with the next. */
START_TEST(faults)
{
    char expected[600];
    Error e = {0};
    const char *good = in_folder("t.safetensors"), *bad = in_folder("b.safetensors"), *what = in_folder("what");
    write_tensors(good);
    uint8_t *bytes;
    size_t n;
    ck_assert(file_read(good, 10000, &bytes, &n, &e) && file_write(bad, bytes, n - 1, &e));
    free(bytes);
    ck_assert(file_write(what, "what", 4, &e));
    run(bad, "/no/such", what, good);
    ck_assert_int_eq(r.code, 2);
    snprintf(expected, sizeof expected,
             "pcrl-inspect: %s: tensor \"flag\": 1 bytes from 19, the data part has 19\n"
             "pcrl-inspect: /no/such: cannot open: No such file or directory\n"
             "pcrl-inspect: %s: begins with 77 68 61 74: neither weights, NIfTI, PNG, JPEG nor JSON\n",
             bad, what);
    ck_assert_str_eq(r.err, expected);
    ck_assert_ptr_nonnull(strstr(r.out, "tensors in file  3"));
    ck_assert(file_write(what, "", 0, &e));
    run(what, folder, NULL, NULL);
    ck_assert_int_eq(r.code, 2);
    snprintf(
        expected, sizeof expected,
        "pcrl-inspect: %s: is empty\npcrl-inspect: %s: neither annotations.json nor weights in this folder\n",
        what, folder);
    ck_assert_str_eq(r.err, expected);
    run("/no/such", NULL, NULL, NULL);
    ck_assert_int_eq(r.code, 3);
    run(NULL, NULL, NULL, NULL);
    ck_assert_int_eq(r.code, 1);
    ck_assert_msg(strstr(r.err, "expected a file, or --ops"), "%s", r.err);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    Suite *s = suite_create("inspect");
    TCase *t = tcase_create("inspect");
    tcase_add_test(t, tensors);
    tcase_add_test(t, pictures_and_volumes);
    tcase_add_test(t, gguf);
    tcase_add_test(t, texts);
    tcase_add_test(t, ops);
    tcase_add_test(t, faults);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    static const char *const names[] = {"t.safetensors", "b.safetensors", "a.png", "a.nii.gz",
                                        "a.json",        "log.jsonl",     "what"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(in_folder(names[i]));
    rmdir(folder);
    return failed != 0;
}
