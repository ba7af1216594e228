/* GGUF: what the gguf package wrote and decodes, bit for bit (parity row 12); what is refused, and in which
 * words. */
#include "data/file.h"
#include "data/gguf.h"
#include "data/gguf_blocks.h"
#include "data/safetensors.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"
#include "tests/data/gguf_bad.h"

static char path[40]; /* of a file in memory */
static int fd;
static const char fixture[] = "tests/golden/gguf.gguf";

static void put_file(const void *bytes, size_t n)
{
    ck_assert(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, n, 0) == (ssize_t)n);
}

/* ---- files as words (gguf_bad.h) ---- */

typedef struct Bytes {
    uint8_t b[1 << 17];
    size_t n;
} Bytes;

static void put_number(Bytes *out, int size, uint64_t x)
{
    ck_assert(out->n + (size_t)size <= sizeof out->b);
    memcpy(out->b + out->n, &x, (size_t)size);
    out->n += (size_t)size;
}

static void put_word(Bytes *out, const char *word)
{
    const char *rest = word + 2;
    uint64_t x = strtoull(rest, NULL, 10);
    switch (*word) {
    case 'G': put_number(out, 4, 0x46554747); break;
    case '1':
    case '4':
    case '8': put_number(out, *word - '0', x); break;
    case 's':
        put_number(out, 8, strlen(rest));
        for (; *rest; rest++) put_number(out, 1, (uint8_t)*rest);
        break;
    case 'x':
        for (unsigned byte; sscanf(rest, "%2x", &byte) == 1; rest += 2) put_number(out, 1, byte);
        break;
    case 'z':
        while (x--) put_number(out, 1, 0);
        break;
    case '/':
        while (out->n % x) put_number(out, 1, 0);
        break;
    default: ck_abort_msg("no word %s", word);
    }
}

static size_t put_words(const char *words)
{
    static Bytes out;
    char copy[2000], *state = NULL;
    snprintf(copy, sizeof copy, "%s", words);
    out.n = 0;
    for (char *w = strtok_r(copy, " ", &state); w; w = strtok_r(NULL, " ", &state)) put_word(&out, w);
    put_file(out.b, out.n);
    return out.n;
}

START_TEST(bad)
{
    const BadFile *b = &bad_files[_i];
    char expected[600];
    Error e = {0};
    put_words(b->words);
    failing.largest = 0;
    TensorFile *f = gguf_open(path, &e);
    ck_assert_msg(f == NULL, "opened; expected: %s", b->message);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    snprintf(expected, sizeof expected, "%s: %s", path, b->message);
    ck_assert_str_eq(e.msg, expected);
    ck_assert_uint_lt(failing.largest, 140000); /* nothing of a declared size was asked for */
}
END_TEST

START_TEST(good)
{
    static const struct {
        const char *words;
        int n;
    } cases[] = {
        {FILE_OF("0", "0"), 0},
        {FILE_OF("0", "0") "z:8", 0},
        {"G 4:2 8:0 8:0", 0},
        {KEY("0", "1:7"), 0},
        {KEY("9", "4:8 8:0"), 0},
        {ONE("4:0 4:0 8:0") "z:4", 1},
        {ONE("4:0 4:0 8:0") "z:32", 1},
        {ONE(VECTOR("0", "0", "0")), 1},
        {ONE(MATRIX("32", "0", "2")), 1},
        {ONE("4:4 8:32 8:1 8:1 8:2 4:8 8:0") "z:68", 1},
        {FILE_OF("2", "0") "s:b " VECTOR("8", "0", "32") " s:a " VECTOR("7", "0", "0") " /:32 z:64", 2},
        {FILE_OF("2", "0") "s:b " VECTOR("0", "0", "0") " s:a " VECTOR("8", "0", "0") " /:32 z:32", 2},
        {FILE_OF("2", "1") "s:general.alignment 4:4 4:1 s:a " VECTOR("3", "24", "0") " s:b " VECTOR("3", "24",
                                                                                                    "3") " z:6",
         2},
        {FILE_OF("1", "1") "s:general.alignment 4:4 4:64 s:a " VECTOR("8", "0", "0") " /:64 z:64", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error e = {0};
        put_words(cases[i].words);
        TensorFile *f = gguf_open(path, &e);
        ck_assert_msg(f != NULL, "%s", e.msg);
        ck_assert_int_eq(f->n, cases[i].n);
        tensor_file_close(f);
    }
}
END_TEST

/* ---- the package's own file ---- */

static const char *meta(const TensorFile *f, const char *key)
{
    const char *text = tensor_file_meta(f, key);
    return text ? text : "(none)";
}

START_TEST(keys)
{
    Error e = {0};
    TensorFile *f = tensor_file_open(fixture, &e);
    ck_assert_msg(f != NULL, "%s", e.msg);
    ck_assert_str_eq(meta(f, "general.architecture"), "llama");
    ck_assert_str_eq(meta(f, "k.u8"), "255");
    ck_assert_str_eq(meta(f, "k.i8"), "-128");
    ck_assert_str_eq(meta(f, "k.u16"), "65535");
    ck_assert_str_eq(meta(f, "k.i16"), "-32768");
    ck_assert_str_eq(meta(f, "k.u32"), "4294967295");
    ck_assert_str_eq(meta(f, "k.i32"), "-2147483648");
    ck_assert_str_eq(meta(f, "k.u64"), "18446744073709551615");
    ck_assert_str_eq(meta(f, "k.i64"), "-9223372036854775808");
    ck_assert(strtof(meta(f, "k.f32"), NULL) == 1e-5f);
    ck_assert(strtod(meta(f, "k.f64"), NULL) == 0.1);
    ck_assert_str_eq(meta(f, "k.yes"), "true");
    ck_assert_str_eq(meta(f, "k.no"), "false");
    ck_assert_str_eq(meta(f, "k.text"), "右侧基底节");
    ck_assert_str_eq(meta(f, "list.i32"), "(none)");
    int n;
    const GgufArray *a = gguf_arrays(f, &n);
    ck_assert_int_eq(n, 4);
    ck_assert_str_eq(a[1].key, "list.i32");
    ck_assert_ptr_null(gguf_array(f, "k.u8"));
    a = gguf_array(f, "list.text");
    char **text;
    ck_assert(a && a->type == GGUF_STRING && a->n == 3);
    ck_assert_msg(gguf_read_strings(f, a, &text, &e), "%s", e.msg);
    ck_assert_str_eq(text[0], "<s>");
    ck_assert_str_eq(text[1], "Ġa");
    ck_assert_str_eq(text[2], "病");
    free(text);
    int32_t i[4];
    float x[2];
    uint8_t yes[3];
    ck_assert(gguf_read_array(f, gguf_array(f, "list.i32"), i, &e) && i[0] == -1 && i[3] == INT32_MAX);
    ck_assert(gguf_read_array(f, gguf_array(f, "list.f32"), x, &e) && x[0] == 0.5f && x[1] == -0.25f);
    ck_assert(gguf_read_array(f, gguf_array(f, "list.bool"), yes, &e) && yes[0] && !yes[1] && yes[2]);
    tensor_file_close(f);
}
END_TEST

/* Equal to the bit; of NaN that it is one. */
static void same_bits(const char *name, const float *got, const float *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        ck_assert_msg((isnan(got[i]) && isnan(want[i])) || !memcmp(&got[i], &want[i], sizeof *got),
                      "%s: value %lld is %a, the package's %a", name, (long long)i, (double)got[i],
                      (double)want[i]);
}

START_TEST(decoded)
{
    Error e = {0};
    TensorFile *f = tensor_file_open(fixture, &e), *g = safetensors_open("tests/golden/gguf.safetensors", &e);
    ck_assert_msg(f && g, "%s", e.msg);
    ck_assert_int_eq(f->n, 9);
    for (int i = 0; i < f->n; i++) {
        const TensorEntry *t = &f->entry[i], *w = tensor_file_find(g, t->name + 2);
        ck_assert_msg(w && !strncmp(t->name, "w.", 2), "%s", t->name);
        ck_assert_str_eq(st_dtype_name(t->dtype), t->name + 2);
        int64_t n = (int64_t)(w->size / sizeof(float));
        ck_assert_int_eq(t->ndim, w->ndim);
        ck_assert_mem_eq(t->dim, w->dim, (size_t)t->ndim * sizeof *t->dim);
        float *got = malloc(w->size), *want = malloc(w->size);
        ck_assert(tensor_file_read_f32(f, t, got, &e) && tensor_file_read_f32(g, w, want, &e));
        same_bits(t->name, got, want, n);
        free(got);
        free(want);
    }
    tensor_file_close(f);
    tensor_file_close(g);
}
END_TEST

/* Rows in Meta's order come in Hugging Face's, as raw blocks and as float. */
START_TEST(heads)
{
    Error e = {0};
    TensorFile *f = tensor_file_open(fixture, &e);
    ck_assert_msg(f != NULL, "%s", e.msg);
    TensorEntry *t = (TensorEntry *)tensor_file_find(f, "w.Q4_1");
    float plain[4 * 512], turned[4 * 512];
    uint8_t raw[4 * 320], raw_turned[4 * 320];
    ck_assert_uint_eq(t->size, sizeof raw);
    ck_assert(tensor_file_read_f32(f, t, plain, &e) && tensor_file_read(f, t, raw, &e));
    t->heads = 1;
    ck_assert(tensor_file_read_f32(f, t, turned, &e) && tensor_file_read(f, t, raw_turned, &e));
    static const int from[4] = {0, 2, 1, 3};
    for (int r = 0; r < 4; r++) {
        same_bits("row", turned + 512 * r, plain + 512 * from[r], 512);
        ck_assert_mem_eq(raw_turned + 320 * r, raw + 320 * from[r], 320);
    }
    tensor_file_close(f);
}
END_TEST

/* ---- damage ---- */

/* Opens what is at `path` and reads all of it; whether it opened. */
static bool open_all(Error *e)
{
    e->code = 0;
    TensorFile *f = tensor_file_open(path, e);
    if (!f) {
        ck_assert_msg(e->code == ERROR_INPUT && *e->msg && !strchr(e->msg, '\n'), "code %d: %s", e->code,
                      e->msg);
        return false;
    }
    int n;
    const GgufArray *a = gguf_arrays(f, &n);
    for (int i = 0; i < n; i++) {
        char **text, *bytes;
        if (a[i].type == GGUF_STRING) {
            if (gguf_read_strings(f, &a[i], &text, e)) free(text);
            continue;
        }
        ck_assert((bytes = malloc(a[i].size + 1)) && gguf_read_array(f, &a[i], bytes, e));
        free(bytes);
    }
    for (int i = 0; i < f->n; i++) {
        const TensorEntry *t = &f->entry[i];
        float *x = malloc(t->size / st_dtype_size(t->dtype) * (size_t)st_dtype_block(t->dtype) * sizeof *x + 1);
        ck_assert_msg(x && tensor_file_read_f32(f, t, x, e), "%s", e->msg);
        free(x);
    }
    tensor_file_close(f);
    return true;
}

static uint8_t *bytes;
static size_t n_bytes;
enum { HEADER = 960 }; /* of the fixture: where its data begins */

START_TEST(prefixes)
{
    Error e = {0};
    for (size_t k = 0; k < n_bytes - 26; k++) { /* the last tensor has 6 bytes, then come 26 of padding */
        if (k > HEADER && k % 61) continue;     /* every one of the header */
        put_file(bytes, k);
        ck_assert_msg(!open_all(&e), "a prefix of %zu bytes", k);
    }
    put_file(bytes, n_bytes - 26);
    ck_assert(open_all(&e));
    put_file(bytes, n_bytes);
    ck_assert(open_all(&e));
}
END_TEST

START_TEST(flips)
{
    Error e = {0};
    int opened = 0;
    for (size_t k = 0; k < 3 * HEADER; k++) {
        uint8_t old = bytes[k / 3];
        bytes[k / 3] = k % 3 == 0 ? 0 : k % 3 == 1 ? 0xff : old ^ 0x80;
        put_file(bytes, n_bytes);
        bytes[k / 3] = old;
        opened += open_all(&e);
    }
    ck_assert_int_gt(opened, 0); /* other names are names too */
}
END_TEST

/* At every place of the header, so also where one is, a number of 4 or 8 bytes. */
START_TEST(numbers)
{
    static const uint64_t values[] = {0, 1, UINT64_MAX, UINT64_MAX - 1, (uint64_t)1 << 31, (uint64_t)1 << 63};
    Error e = {0};
    for (size_t at = 0; at < HEADER; at++)
        for (size_t size = 4; size <= 8; size += 4)
            for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
                uint8_t old[8];
                memcpy(old, bytes + at, size);
                memcpy(bytes + at, &values[v], size);
                put_file(bytes, n_bytes);
                memcpy(bytes + at, old, size);
                failing.largest = 0;
                open_all(&e);
                ck_assert_uint_lt(failing.largest, 64 * n_bytes);
            }
}
END_TEST

/* A list whose bytes changed after the file was opened. */
START_TEST(changed_list)
{
    Error e = {0};
    char **text, expected[200];
    put_words(KEY("9", "4:8 8:2 s:ab s:c"));
    TensorFile *f = gguf_open(path, &e);
    ck_assert_msg(f != NULL, "%s", e.msg);
    const GgufArray *a = gguf_array(f, "k");
    static const char *const others[] = {"4:8 8:2 8:99 x:6162 s:c", "4:8 8:2 s:ab 8:2 x:63",
                                         "4:8 8:2 8:4 x:61626364 4:0 z:4", "4:8 8:2 s:ab 8:1 x:ff",
                                         "4:8 8:2 s:ab 8:1 x:00"};
    static const int string[] = {0, 1, 1, 1, 1};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char words[100];
        snprintf(words, sizeof words, "%s%s", KEY("9", ""), others[i]);
        put_words(words);
        ck_assert(!gguf_read_strings(f, a, &text, &e) && e.code == ERROR_INPUT);
        snprintf(expected, sizeof expected, "%s: key \"k\": string %d is not UTF-8, or has a NUL", path,
                 string[i]);
        ck_assert_str_eq(e.msg, expected);
    }
    tensor_file_close(f);
}
END_TEST

static bool open_and_list(Error *e)
{
    TensorFile *f = gguf_open(fixture, e);
    char **text;
    bool ok = f && gguf_read_strings(f, gguf_array(f, "list.text"), &text, e);
    if (ok) free(text);
    tensor_file_close(f);
    return ok;
}

START_TEST(allocations) { ck_assert_int_gt(fail_each(open_and_list), 50); }
END_TEST

START_TEST(no_file)
{
    Error e = {0};
    ck_assert(!gguf_open("/no/such/file", &e) && e.code == ERROR_IO);
    ck_assert_str_eq(e.msg, "/no/such/file: cannot open: No such file or directory");
    ck_assert(!gguf_open("/tmp", &e) && e.code == ERROR_INPUT);
    ck_assert(!gguf_open("/tmp", NULL));
}
END_TEST

int main(void)
{
    Error e = {0};
    fd = memfd_create("gguf", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || !file_read(fixture, 1 << 20, &bytes, &n_bytes, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    Suite *s = suite_create("gguf");
    TCase *t = tcase_create("gguf");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, bad, 0, sizeof bad_files / sizeof *bad_files);
    tcase_add_test(t, good);
    tcase_add_test(t, keys);
    tcase_add_test(t, decoded);
    tcase_add_test(t, heads);
    tcase_add_test(t, prefixes);
    tcase_add_test(t, flips);
    tcase_add_test(t, numbers);
    tcase_add_test(t, changed_list);
    tcase_add_test(t, allocations);
    tcase_add_test(t, no_file);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    free(bytes);
    close(fd);
    return failed != 0;
}
