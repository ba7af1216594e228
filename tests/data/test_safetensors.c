#include "data/safetensors.h"
#include "data/file.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"
#include "tests/data/safetensors_bad.h"

static char folder[] = "/tmp/test-safetensors-XXXXXX";
static char path[64];

static void put_file(const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

/* Opening must fail with exactly "PATH: message" or "PATH:message" (a place in the header). */
static void must_fail(const char *message)
{
    Error e = {0};
    TensorFile *s = safetensors_open(path, &e);
    ck_assert_msg(s == NULL, "opened; expected: %s", message);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    size_t n = strlen(path);
    ck_assert_msg(strncmp(e.msg, path, n) == 0 && e.msg[n] == ':', "%s", e.msg);
    const char *rest = e.msg + n + 1;
    ck_assert_str_eq(*rest == ' ' ? rest + 1 : rest, message);
}

/* Header text with ' for ", then zeros. Returns the file's length. */
static size_t put_header(const char *header, size_t data)
{
    static uint8_t bytes[8 + 200000];
    uint64_t n = strlen(header);
    ck_assert(8 + n + data <= sizeof bytes);
    memset(bytes, 0, 8 + n + data);
    memcpy(bytes, &n, 8);
    for (size_t i = 0; i < n; i++) bytes[8 + i] = header[i] == '\'' ? '"' : (uint8_t)header[i];
    put_file(bytes, 8 + n + data);
    return 8 + n + data;
}

START_TEST(bad_headers)
{
    const BadFile *b = &bad_files[_i];
    put_header(b->header, b->data);
    must_fail(b->message);
}
END_TEST

START_TEST(bad_lengths)
{
    static const struct {
        uint64_t length;
        size_t n;
        const char *message;
    } cases[] = {
        {0, 0, "0 bytes, a safetensors file has at least 8"},
        {2, 1, "1 bytes, a safetensors file has at least 8"},
        {2, 7, "7 bytes, a safetensors file has at least 8"},
        {0, 8, "the header is empty"},
        {0, 10, "the header is empty"},
        {2, 8, "a header of 2 bytes, only 0 are there"},
        {2, 9, "a header of 2 bytes, only 1 are there"},
        {3, 10, "a header of 3 bytes, only 2 are there"},
        {100000000, 10, "a header of 100000000 bytes, only 2 are there"},
        {100000001, 10, "a header of 100000001 bytes, expected at most 100000000"},
        {(uint64_t)1 << 63, 10, "a header of 9223372036854775808 bytes, expected at most 100000000"},
        {UINT64_MAX, 10, "a header of 18446744073709551615 bytes, expected at most 100000000"},
        {UINT64_MAX - 7, 10, "a header of 18446744073709551608 bytes, expected at most 100000000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[10] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
        memcpy(bytes, &cases[i].length, 8);
        put_file(bytes, cases[i].n);
        failing.largest = 0;
        must_fail(cases[i].message);
        ck_assert_uint_lt(failing.largest, 5000); /* nothing of the declared size was asked for */
    }
    put_header("{'a':0}", 0);
    FILE *f = fopen(path, "r+b"); /* a NUL after the text, inside the header */
    ck_assert(f && fseek(f, 14, SEEK_SET) == 0 && fputc(0, f) == 0 && fclose(f) == 0);
    must_fail("1:6: not JSON: '}' expected near end of file");
}
END_TEST

START_TEST(nesting)
{
    char header[100200];
    for (int depth = 63; depth <= 100000; depth = depth == 63 ? 64 : depth * 40) {
        size_t n = (size_t)snprintf(header, sizeof header, "{'a':");
        for (int i = 0; i < depth && n < 100100; i++) header[n++] = '[';
        header[n] = 0;
        put_header(header, 0);
        if (depth == 63) /* 64 levels with the object: read, and found to be unfinished */
            must_fail("1:68: not JSON: ']' expected near end of file");
        else
            must_fail("byte 68: nested deeper than 64 levels");
    }
    Error e = {0};
    put_header("{'__metadata__':{'k':'[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[['}}",
               0);
    TensorFile *s = safetensors_open(path, &e);
    ck_assert_msg(s != NULL, "%s", e.msg);
    tensor_file_close(s);
}
END_TEST

START_TEST(good_headers)
{
    static const struct {
        const char *header;
        size_t data;
        int n;
    } cases[] = {
        {"{}", 0, 0},
        {"{}      ", 0, 0},
        {"{'__metadata__':{}}", 0, 0},
        {"{'a':{'dtype':'F32','shape':[],'data_offsets':[0,4]}}", 4, 1},
        {"{'a':{'dtype':'F32','shape':[0,5],'data_offsets':[0,0]}}", 0, 1},
        {"{'a':{'dtype':'U8','shape':[1,1,1,1,1,1,1,3],'data_offsets':[0,3]}}", 3, 1},
        {"{'z':{'dtype':'U8','shape':[1],'data_offsets':[1,2]},'a':{'dtype':'I8','shape':[1],'data_offsets':[0,"
         "1]},"
         "'m':{'dtype':'BOOL','shape':[0],'data_offsets':[1,1]}}",
         2, 3},
        {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4],'more':1}}", 4, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error e = {0};
        put_header(cases[i].header, cases[i].data);
        TensorFile *s = safetensors_open(path, &e);
        ck_assert_msg(s != NULL, "%s", e.msg);
        ck_assert_int_eq(s->n, cases[i].n);
        for (int k = 1; k < s->n; k++) ck_assert(strcmp(s->entry[k - 1].name, s->entry[k].name) < 0);
        tensor_file_close(s);
    }
}
END_TEST

/* ---- what we write ---- */

static bool save_sample(Error *e)
{
    static const float x[6] = {1, 2, 3, 4, 5, -6};
    static const int16_t k[3] = {-1, 2, 3};
    static const uint16_t half[4] = {0x3c00, 0xc000, 0x0001, 0x7c00};
    StWriter *w = st_writer_new();
    st_writer_meta(w, "who", "测试");
    st_writer_meta(w, "step", "12");
    st_writer_add(w, "k", ST_I16, 1, (int64_t[]){3}, k);
    st_writer_add(w, "x", ST_F32, 2, (int64_t[]){2, 3}, x);
    st_writer_add(w, "half", ST_F16, 1, (int64_t[]){4}, half);
    st_writer_add(w, "empty", ST_F32, 2, (int64_t[]){0, 3}, NULL);
    st_writer_add(w, "scalar", ST_F32, 0, NULL, x);
    bool ok = st_writer_save(w, path, e);
    st_writer_free(w);
    return ok;
}

START_TEST(round_trip)
{
    Error e = {0};
    ck_assert_msg(save_sample(&e), "%s", e.msg);
    TensorFile *s = safetensors_open(path, &e);
    ck_assert_msg(s != NULL, "%s", e.msg);
    ck_assert_int_eq(s->n, 5);
    ck_assert_uint_eq(s->part[0].data % 8, 0);
    ck_assert_str_eq(tensor_file_meta(s, "who"), "测试");
    ck_assert_str_eq(s->meta_key[1], "step");
    ck_assert_ptr_null(tensor_file_meta(s, "x"));
    ck_assert_ptr_null(tensor_file_find(s, "y"));
    float y[6];
    ck_assert_msg(tensor_file_load_f32(s, "x", 2, (int64_t[]){2, 3}, y, &e), "%s", e.msg);
    ck_assert(y[0] == 1 && y[4] == 5 && y[5] == -6);
    ck_assert(tensor_file_load_f32(s, "k", 1, (int64_t[]){3}, y, &e) && y[0] == -1 && y[2] == 3);
    ck_assert(tensor_file_load_f32(s, "half", 1, (int64_t[]){4}, y, &e));
    ck_assert(y[0] == 1 && y[1] == -2 && y[2] == 0x1p-24f && isinf(y[3]));
    ck_assert(tensor_file_load_f32(s, "scalar", 0, NULL, y, &e) && y[0] == 1);
    int16_t part[2];
    ck_assert(tensor_file_read_part(s, tensor_file_find(s, "k"), 2, 4, part, &e) && part[0] == 2 &&
              part[1] == 3);
    char expected[200];
    ck_assert(!tensor_file_load_f32(s, "x", 2, (int64_t[]){3, 2}, y, &e) && e.code == ERROR_INPUT);
    snprintf(expected, sizeof expected, "%s: tensor \"x\": expected shape (3,2), found (2,3)", path);
    ck_assert_str_eq(e.msg, expected);
    ck_assert(!tensor_file_load_f32(s, "w", 1, (int64_t[]){3}, y, &e) && e.code == ERROR_INPUT);
    snprintf(expected, sizeof expected, "%s: tensor \"w\" (3) is missing", path);
    ck_assert_str_eq(e.msg, expected);
    tensor_file_close(s);
}
END_TEST

/* Every dtype's conversion, on values that need its range. */
START_TEST(conversions)
{
    static const struct {
        StDType dtype;
        uint64_t bits;
        double value;
    } cases[] = {
        {ST_F64, 0x3ff8000000000000, 1.5},
        {ST_F64, 0xfff0000000000000, -INFINITY},
        {ST_F32, 0xc2f60000, -123},
        {ST_F16, 0x3555, 0.333251953125},
        {ST_F16, 0x83ff, -0x1p-14 + 0x1p-24},
        {ST_F16, 0x0400, 0x1p-14},
        {ST_F16, 0x7bff, 65504},
        {ST_F16, 0xfc00, -INFINITY},
        {ST_F16, 0x7e01, NAN},
        {ST_BF16, 0xc2f6, -123},
        {ST_I64, (uint64_t)-5, -5},
        {ST_I32, 0x80000000, -2147483648.0},
        {ST_I16, 0x8000, -32768},
        {ST_I8, 0x80, -128},
        {ST_U64, 0xff00000000000000, 0xff00000000000000p0},
        {ST_U32, 0xffffff00, 4294967040.0},
        {ST_U16, 0xffff, 65535},
        {ST_U8, 0xff, 255},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error e = {0};
        StWriter *w = st_writer_new();
        st_writer_add(w, "x", cases[i].dtype, 1, (int64_t[]){1}, &cases[i].bits);
        ck_assert_msg(st_writer_save(w, path, &e), "%s", e.msg);
        st_writer_free(w);
        TensorFile *s = safetensors_open(path, &e);
        float x = 77;
        ck_assert_msg(s && tensor_file_load_f32(s, "x", 1, (int64_t[]){1}, &x, &e), "%s", e.msg);
        tensor_file_close(s);
        if (isnan(cases[i].value))
            ck_assert(isnan(x));
        else
            ck_assert_msg(x == cases[i].value, "%s: %g", st_dtype_name(cases[i].dtype), (double)x);
    }
    for (StDType d = ST_BOOL; d <= ST_F8_E5M2; d++) {
        Error e = {0};
        StWriter *w = st_writer_new();
        st_writer_add(w, "x", d, 1, (int64_t[]){1}, "");
        ck_assert(st_writer_save(w, path, &e));
        st_writer_free(w);
        TensorFile *s = safetensors_open(path, &e);
        float x;
        ck_assert(s && !tensor_file_load_f32(s, "x", 1, (int64_t[]){1}, &x, &e) && e.code == ERROR_INPUT);
        ck_assert_msg(strstr(e.msg, "tensor \"x\": expected a number type, found "), "%s", e.msg);
        tensor_file_close(s);
    }
}
END_TEST

START_TEST(long_conversion)
{
    enum { N = 70001 };
    Error e = {0};
    int16_t *k = malloc(N * sizeof *k);
    float *x = malloc(N * sizeof *x);
    for (int i = 0; i < N; i++) k[i] = (int16_t)(i % 60000 - 30000);
    StWriter *w = st_writer_new();
    st_writer_add(w, "k", ST_I16, 1, (int64_t[]){N}, k);
    ck_assert(st_writer_save(w, path, &e));
    st_writer_free(w);
    TensorFile *s = safetensors_open(path, &e);
    ck_assert(s && tensor_file_load_f32(s, "k", 1, (int64_t[]){N}, x, &e));
    int wrong = 0;
    for (int i = 0; i < N; i++) wrong += x[i] != k[i];
    ck_assert_int_eq(wrong, 0);
    /* the file loses its end behind our back */
    ck_assert(truncate(path, 70000) == 0);
    ck_assert(!tensor_file_load_f32(s, "k", 1, (int64_t[]){N}, x, &e) && e.code == ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, ": ends at byte 70000, "), "%s", e.msg);
    tensor_file_close(s);
    free(k);
    free(x);
}
END_TEST

/* Every prefix of a valid file is refused; the last is the file itself. */
START_TEST(prefixes)
{
    Error e = {0};
    uint8_t *bytes;
    size_t n;
    ck_assert(save_sample(&e) && file_read(path, 10000, &bytes, &n, &e));
    for (size_t k = 0; k < n; k++) {
        e.code = 0;
        put_file(bytes, k);
        TensorFile *s = safetensors_open(path, &e);
        ck_assert_msg(!s && e.code == ERROR_INPUT, "prefix of %zu bytes: %s", k, e.msg);
    }
    put_file(bytes, n);
    TensorFile *s = safetensors_open(path, &e);
    ck_assert(s != NULL);
    tensor_file_close(s);
    free(bytes);
}
END_TEST

/* Every byte of the header in turn becomes 0, 255 or its complement: refused or read, never worse. */
START_TEST(flips)
{
    Error e = {0};
    uint8_t *bytes;
    size_t n, read = 0;
    ck_assert(save_sample(&e) && file_read(path, 10000, &bytes, &n, &e));
    for (size_t k = 0; k < 3 * n; k++) {
        uint8_t old = bytes[k / 3];
        bytes[k / 3] = k % 3 == 0 ? 0 : k % 3 == 1 ? 255 : (uint8_t)~old;
        put_file(bytes, n);
        bytes[k / 3] = old;
        TensorFile *s = safetensors_open(path, &e);
        ck_assert(s || e.code == ERROR_INPUT);
        float x[6];
        for (int i = 0; s && i < s->n; i++) ck_assert(tensor_file_read(s, &s->entry[i], x, &e));
        read += s != NULL;
        tensor_file_close(s);
    }
    ck_assert_uint_gt(read, 0); /* changed data is not the format's to notice */
    free(bytes);
}
END_TEST

static bool open_sample(Error *e)
{
    TensorFile *s = safetensors_open(path, e);
    tensor_file_close(s);
    return s != NULL;
}

START_TEST(allocations)
{
    Error e = {0};
    ck_assert(save_sample(&e));
    ck_assert_int_gt(fail_each(open_sample), 50);
    /* a failed save leaves the old file as it was */
    struct stat before, after;
    ck_assert(stat(path, &before) == 0);
    failing.armed = true;
    failing.fired = false;
    failing.left = 5;
    bool saved = save_sample(&e);
    failing.armed = false;
    ck_assert(!saved && failing.fired);
    ck_assert(stat(path, &after) == 0 && before.st_ino == after.st_ino);
    ck_assert_int_gt(fail_each(save_sample), 50);
    ck_assert(open_sample(&e));
}
END_TEST

/* Bytes 7 i + 1, and how they were asked for. */
typedef struct Made {
    uint64_t next, stop; /* fails at `stop` */
    int begun;
} Made;

static bool make_bytes(void *context, uint64_t from, size_t n, void *to, Error *e)
{
    Made *m = context;
    if (!from) m->next = 0, m->begun++;
    ck_assert(from == m->next && n <= ST_CHUNK && n);
    m->next += n;
    if (m->next > m->stop) return error_set(e, ERROR_INTERRUPTED, "stopped");
    for (size_t i = 0; i < n; i++) ((uint8_t *)to)[i] = (uint8_t)(7 * (from + i) + 1);
    return true;
}

/* Bytes that are made while they are written are those that were there before. */
START_TEST(sources)
{
    const int64_t n = 2 * ST_CHUNK + 12345;
    Error e = {0};
    Made m = {.stop = UINT64_MAX};
    uint8_t *all = malloc((size_t)n), *bytes[2];
    size_t length[2];
    uint64_t told, hashed;
    char hex[2][65];
    for (int64_t i = 0; i < n; i++) all[i] = (uint8_t)(7 * i + 1);
    for (int k = 0; k < 2; k++) {
        StWriter *w = st_writer_new();
        st_writer_add(w, "a", ST_U8, 1, (int64_t[]){3}, "abc");
        if (k) {
            st_writer_add_from(w, "b", ST_U8, 1, &n, make_bytes, &m);
            st_writer_add_from(w, "none", ST_F32, 1, (int64_t[]){0}, make_bytes, &m);
        } else {
            st_writer_add(w, "b", ST_U8, 1, &n, all);
            st_writer_add(w, "none", ST_F32, 1, (int64_t[]){0}, NULL);
        }
        ck_assert(st_writer_size(w, path, &told, &e) && st_writer_hash(w, path, &hashed, hex[k], &e));
        ck_assert_msg(st_writer_save(w, path, &e), "%s", e.msg);
        ck_assert(file_read(path, 1 << 24, &bytes[k], &length[k], &e));
        ck_assert(told == length[k] && hashed == told);
        if (k) { /* none of it is left where a source fails */
            m.stop = ST_CHUNK;
            unlink(path);
            ck_assert(!st_writer_save(w, path, &e) && e.code == ERROR_INTERRUPTED && access(path, F_OK) != 0);
            ck_assert_str_eq(e.msg, "stopped");
            ck_assert_str_eq(hex[0], hex[1]);
            ck_assert(!st_writer_hash(w, path, &hashed, hex[1], &e));
        }
        st_writer_free(w);
    }
    ck_assert_uint_eq(length[0], length[1]);
    ck_assert_mem_eq(bytes[0], bytes[1], length[0]);
    ck_assert_int_eq(m.begun, 4); /* hash, save, and twice until it failed */
    free(bytes[0]);
    free(bytes[1]);
    free(all);
}
END_TEST

START_TEST(writer_faults)
{
    Error e = {0};
    char expected[200];
    StWriter *w = st_writer_new();
    st_writer_add(w, "a\xff", ST_F32, 1, (int64_t[]){0}, NULL);
    unlink(path);
    ck_assert(!st_writer_save(w, path, &e) && e.code == ERROR_INPUT);
    snprintf(expected, sizeof expected, "%s: tensor name \"a\xff\" is not UTF-8", path);
    ck_assert_str_eq(e.msg, expected);
    ck_assert(access(path, F_OK) != 0);
    st_writer_free(w);
    w = st_writer_new();
    st_writer_meta(w, "k", "\xed\xa0\x80");
    ck_assert(!st_writer_save(w, path, &e) && e.code == ERROR_INPUT);
    st_writer_free(w);
    w = st_writer_new();
    ck_assert(!st_writer_save(w, "/no/such/folder/x", &e) && e.code == ERROR_IO);
    ck_assert_str_eq(e.msg, "/no/such/folder/x: cannot create: No such file or directory");
    st_writer_free(w);
    ck_assert(!safetensors_open("/no/such/file", &e) && e.code == ERROR_IO);
    ck_assert_str_eq(e.msg, "/no/such/file: cannot open: No such file or directory");
    ck_assert(!safetensors_open(folder, &e) && e.code == ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, ": not a regular file"), "%s", e.msg);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/t.safetensors", folder);
    Suite *s = suite_create("safetensors");
    TCase *t = tcase_create("safetensors");
    tcase_add_loop_test(t, bad_headers, 0, sizeof bad_files / sizeof *bad_files);
    tcase_add_test(t, bad_lengths);
    tcase_add_test(t, nesting);
    tcase_add_test(t, good_headers);
    tcase_add_test(t, round_trip);
    tcase_add_test(t, conversions);
    tcase_add_test(t, long_conversion);
    tcase_add_test(t, prefixes);
    tcase_add_test(t, flips);
    tcase_add_test(t, allocations);
    tcase_add_test(t, sources);
    tcase_add_test(t, writer_faults);
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
