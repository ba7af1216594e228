/* What torch.save of two versions wrote, and what nobody's torch.save would write. */
#include "data/file.h"
#include "data/pytorch.h"
#include "data/safetensors.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"
#include "tests/data/pickle_bad.h"
#include "tests/data/pytorch_fixture.h"
#include "tests/data/pytorch_bad.h"

static char folder[] = "/tmp/test-pytorch-XXXXXX";
static char path[64];
static Buffer made;

static void put_file(const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

/* Opening must fail with exactly "PATH: message". */
static void must_fail(const char *message)
{
    Error e = {0};
    TensorFile *f = tensor_file_open(path, &e);
    ck_assert_msg(f == NULL, "opened; expected: %s", message);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    size_t n = strlen(path);
    ck_assert_msg(strncmp(e.msg, path, n) == 0 && !strncmp(e.msg + n, ": ", 2), "%s", e.msg);
    ck_assert_str_eq(e.msg + n + 2, message);
}

START_TEST(bad_zip)
{
    const BadZip *b = &bad_zips[_i];
    size_t n = 0;
    while (n < 5 && b->member[n].name) n++;
    make_zip(&made, b->member, n, b->entries);
    put_file(made.bytes, made.n);
    must_fail(b->message);
}
END_TEST

START_TEST(bad_run)
{
    const BadRun *b = &bad_runs[_i];
    put_file(b->bytes, b->n);
    must_fail(b->message);
}
END_TEST

START_TEST(not_pytorch)
{
    uint8_t tar[1024] = "sys_info";
    memcpy(tar + 257, "ustar\0", 6);
    put_file(tar, sizeof tar);
    must_fail("the tar form of PyTorch before 0.1.10 is not read: save it anew with any later version");
    put_file("PK\3\4", 4);
    must_fail("the zip archive cannot be read: Not a zip archive");
    put_file("PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22);
    must_fail("0 members FOLDER/data.pkl, a file of torch.save has one");
}
END_TEST

/* One tensor, 400 times in a list that is 400 times in another. */
START_TEST(names_without_end)
{
    static Buffer pickle;
    pickle.n = 0;
#define PUT(text) put(&pickle, text, sizeof(text) - 1)
    PUT(P2 "}(U\1T" V2 STORAGE("Float", "0", "\1") "K\0K\1\205K\1\205" HOOKS "tRq\1U\1A](");
    for (int i = 0; i < 400; i++) PUT("h\1");
    PUT("eq\2U\1B](");
    for (int i = 0; i < 400; i++) PUT("h\2");
    PUT("eu.");
#undef PUT
    const Member members[] = {{.name = "a/data.pkl", .bytes = (const char *)pickle.bytes, .n = pickle.n},
                              {.name = "a/data/0", .bytes = "1234", .n = 4}};
    make_zip(&made, members, 2, 0);
    put_file(made.bytes, made.n);
    must_fail("\"B.326.271\": more than 131072 tensors");
}
END_TEST

/* Numbers of entries and bytes in a zip64 end that nothing in the file bears out. */
START_TEST(bad_zip64)
{
    static const struct {
        uint64_t entries, bytes, offset;
    } cases[] = {
        {(uint64_t)1 << 36, 0, 0},
        {(uint64_t)1 << 36, (uint64_t)46 << 36, 0},
        {1 << 26, 200, 4},
        {1 << 26, (uint64_t)1 << 62, 4},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX},
        {1, 200, UINT64_MAX - 100},
        {1, UINT64_MAX - 3, 4},
        {0, 0, (uint64_t)1 << 63},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        made.n = 0;
        put(&made, "PK\3\4", 4);
        put(&made, (uint8_t[200]){0}, 200);
        put(&made, "PK\6\6", 4);
        put_number(&made, 44, 8);
        put_number(&made, 45 | 45 << 16, 4);
        put_number(&made, 0, 8);
        put_number(&made, cases[i].entries, 8);
        put_number(&made, cases[i].entries, 8);
        put_number(&made, cases[i].bytes, 8);
        put_number(&made, cases[i].offset, 8);
        put(&made, "PK\6\7\0\0\0\0", 8);
        put_number(&made, 204, 8);
        put_number(&made, 1, 4);
        put(&made, "PK\5\6\0\0\0\0\377\377\377\377\377\377\377\377\377\377\377\377\0\0", 22);
        put_file(made.bytes, made.n);
        Error e = {0};
        ck_assert(!tensor_file_open(path, &e) && e.code == ERROR_INPUT);
        ck_assert_msg(strstr(e.msg, ": the zip archive cannot be read: ") || strstr(e.msg, ": 0 members "),
                      "%s", e.msg);
    }
}
END_TEST

/* ---- goldens ---- */

static const char *const fixtures[] = {
    "pytorch-old-zip.pth",       "pytorch-old-legacy.pth",  "pytorch-old-p4.pth",
    "pytorch-old-legacy-p3.pth", "pytorch-old-train.pth",   "pytorch-new-zip.pth",
    "pytorch-new-legacy.pth",    "pytorch-new-p4.pth",      "pytorch-new-legacy-p3.pth",
    "pytorch-new-train.pth",     "pytorch-old-wrapped.pth", "pytorch-new-wrapped.pth",
};

/* All bytes at once, and in parts that no element ends with. */
static void check_bytes(const TensorFile *f, const TensorEntry *t, const uint8_t *want)
{
    Error e = {0};
    uint8_t *got = malloc(t->size + 1);
    ck_assert_msg(tensor_file_read(f, t, got, &e), "%s", e.msg);
    ck_assert_msg(!memcmp(got, want, t->size), "%s: %s differs", f->path, t->name);
    memset(got, 0, t->size);
    for (uint64_t from = 0; from < t->size; from += 7) {
        uint64_t count = t->size - from < 7 ? t->size - from : 7;
        ck_assert_msg(tensor_file_read_part(f, t, from, count, got + from, &e), "%s", e.msg);
    }
    ck_assert_msg(!memcmp(got, want, t->size), "%s: %s differs in parts", f->path, t->name);
    free(got);
}

START_TEST(golden)
{
    Error e = {0};
    char name[128], key[256], is[256], shape[200];
    snprintf(name, sizeof name, "tests/golden/%s", fixtures[_i]);
    TensorFile *f = tensor_file_open(name, &e), *g = tensor_file_open("tests/golden/pytorch.safetensors", &e);
    ck_assert_msg(f && g, "%s", e.msg);
    int expected = 0;
    for (int i = 0; i < g->n; i++) expected += !strncmp(g->entry[i].name, fixtures[_i], strlen(fixtures[_i]));
    ck_assert_int_eq(f->n, expected);
    for (int i = 0; i < f->n; i++) {
        const TensorEntry *t = &f->entry[i];
        snprintf(key, sizeof key, "%s/%s", fixtures[_i], t->name);
        const TensorEntry *want = tensor_file_find(g, key);
        ck_assert_msg(want != NULL, "%s is not expected", key);
        snprintf(is, sizeof is, "%s %s", st_dtype_name(t->dtype),
                 tensor_file_shape(t->ndim, t->dim, shape, sizeof shape));
        ck_assert_str_eq(is, tensor_file_meta(g, key));
        ck_assert_uint_eq(t->size, want->size);
        uint8_t *bytes = malloc(want->size + 1);
        ck_assert_msg(tensor_file_read(g, want, bytes, &e), "%s", e.msg);
        check_bytes(f, t, bytes);
        free(bytes);
    }
    ck_assert_str_eq(f->part[0].form->name, "PyTorch");
    tensor_file_close(g);
    tensor_file_close(f);
}
END_TEST

/* Every prefix is refused; with every byte changed in turn a file is refused or read. All in memory. */
static void damage(const char *name)
{
    Error e = {0};
    uint8_t *bytes;
    size_t n, read = 0;
    int fd = memfd_create("t", 0);
    char open_path[64];
    snprintf(open_path, sizeof open_path, "/proc/self/fd/%d", fd);
    ck_assert_msg(file_read(name, 100000, &bytes, &n, &e), "%s", e.msg);
    ck_assert(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    for (size_t k = 0; k < 3 * n; k++) {
        uint8_t old = bytes[k / 3], changed = k % 3 == 0 ? 0 : k % 3 == 1 ? 255 : (uint8_t)(old ^ 0x80);
        ck_assert(pwrite(fd, &changed, 1, (off_t)(k / 3)) == 1);
        TensorFile *f = tensor_file_open(open_path, &e);
        ck_assert(f || e.code == ERROR_INPUT);
        for (int i = 0; f && i < f->n; i++) {
            uint8_t x[1024];
            ck_assert(f->entry[i].size <= sizeof x && tensor_file_read(f, &f->entry[i], x, &e));
        }
        read += f != NULL;
        tensor_file_close(f);
        ck_assert(pwrite(fd, &old, 1, (off_t)(k / 3)) == 1);
    }
    ck_assert_uint_gt(read, 0);
    for (size_t k = n; k-- > 0;) {
        e.code = 0;
        ck_assert(ftruncate(fd, (off_t)k) == 0);
        TensorFile *f = tensor_file_open(open_path, &e);
        ck_assert_msg(!f && e.code == ERROR_INPUT, "%s: prefix of %zu bytes: %s", name, k, e.msg);
    }
    close(fd);
    free(bytes);
}

START_TEST(damaged_zip) { damage("tests/golden/pytorch-old-wrapped.pth"); }
END_TEST
START_TEST(damaged_run) { damage("tests/golden/pytorch-old-legacy.pth"); }
END_TEST
START_TEST(damaged_views) { damage("tests/golden/pytorch-new-p4.pth"); }
END_TEST

/* Shards may be of any form. */
START_TEST(in_an_index)
{
    static const char index[] = "{\"weight_map\":{\"a.weight\":\"t.pth\",\"b.0\":\"t.pth\",\"c\":\"u\"}}";
    Error e = {0};
    char name[80], other[80];
    float x[2];
    uint8_t *bytes;
    size_t n;
    ck_assert(file_read("tests/golden/pytorch-new-wrapped.pth", 100000, &bytes, &n, &e));
    put_file(bytes, n);
    free(bytes);
    snprintf(name, sizeof name, "%s/pytorch_model.bin.index.json", folder);
    snprintf(other, sizeof other, "%s/u", folder);
    StWriter *w = st_writer_new();
    st_writer_add(w, "c", ST_F32, 1, (int64_t[]){1}, &(float){7});
    ck_assert(st_writer_save(w, other, &e) && file_write(name, index, sizeof index - 1, &e));
    st_writer_free(w);
    TensorFile *f = tensor_file_open(folder, &e);
    ck_assert_msg(f && f->n == 3 && f->n_part == 2, "%s", e.msg);
    ck_assert(tensor_file_load_f32(f, "a.weight", 1, (int64_t[]){2}, x, &e) && x[1] == 1);
    ck_assert(tensor_file_load_f32(f, "c", 1, (int64_t[]){1}, x, &e) && x[0] == 7);
    ck_assert_str_eq(f->part[tensor_file_find(f, "a.weight")->part].form->name, "PyTorch");
    ck_assert_str_eq(f->part[tensor_file_find(f, "c")->part].form->name, "safetensors");
    tensor_file_close(f);
    unlink(name);
    unlink(other);
}
END_TEST

static const char *subject;
static bool open_and_read(Error *e)
{
    TensorFile *f = tensor_file_open(subject, e);
    bool ok = f;
    uint8_t x[1024];
    for (int i = 0; ok && i < f->n; i++) ok = tensor_file_read(f, &f->entry[i], x, e);
    tensor_file_close(f);
    return ok;
}

START_TEST(allocations)
{
    subject = "tests/golden/pytorch-new-zip.pth";
    ck_assert_int_gt(fail_each(open_and_read), 40);
    subject = "tests/golden/pytorch-old-legacy-p3.pth";
    ck_assert_int_gt(fail_each(open_and_read), 40);
}
END_TEST

/* A file that loses its end behind our back. */
START_TEST(shrunk)
{
    Error e = {0};
    uint8_t *bytes, x[1024];
    size_t n;
    ck_assert(file_read("tests/golden/pytorch-old-legacy.pth", 100000, &bytes, &n, &e));
    put_file(bytes, n);
    free(bytes);
    TensorFile *f = tensor_file_open(path, &e);
    ck_assert_msg(f != NULL, "%s", e.msg);
    ck_assert(truncate(path, 2700) == 0);
    ck_assert(!tensor_file_read(f, tensor_file_find(f, "turned"), x, &e) && e.code == ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, ": ends at byte 2716, 96 bytes missing"), "%s", e.msg);
    tensor_file_close(f);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/t.pth", folder);
    Suite *s = suite_create("pytorch");
    TCase *t = tcase_create("pytorch");
    tcase_set_timeout(t, 0);
    tcase_add_loop_test(t, bad_zip, 0, sizeof bad_zips / sizeof *bad_zips);
    tcase_add_loop_test(t, bad_run, 0, sizeof bad_runs / sizeof *bad_runs);
    tcase_add_test(t, not_pytorch);
    tcase_add_test(t, names_without_end);
    tcase_add_test(t, bad_zip64);
    tcase_add_loop_test(t, golden, 0, sizeof fixtures / sizeof *fixtures);
    tcase_add_test(t, damaged_zip);
    tcase_add_test(t, damaged_run);
    tcase_add_test(t, damaged_views);
    tcase_add_test(t, allocations);
    tcase_add_test(t, shrunk);
    tcase_add_test(t, in_an_index);
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
