#include "data/json.h"
#include "data/file.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"

static char folder[] = "/tmp/test-json-XXXXXX";
static char path[64];

START_TEST(round_trip)
{
    Error e = {0};
    json_t *v = json_pack("{s:s,s:i,s:f}", "b", "左侧\n/\"", "a", 7, "c", 0.1);
    ck_assert_msg(json_write(path, v, &e), "%s", e.msg);
    json_t *w = json_read(path, &e);
    ck_assert_msg(w && json_equal(v, w), "%s", e.msg);
    json_decref(v);
    json_decref(w);
    uint8_t *bytes;
    size_t n;
    ck_assert(file_read(path, 1000, &bytes, &n, &e));
    ck_assert_str_eq((char *)bytes,
                     "{\n  \"b\": \"左侧\\n/\\\"\",\n  \"a\": 7,\n  \"c\": 0.10000000000000001\n}\n");
    free(bytes);
}
END_TEST

START_TEST(accessors)
{
    Error e = {0};
    static const char text[] = "{\"s\":\"x\",\"i\":-7,\"r\":2.5,\"a\":[1],\"o\":{},\"t\":true,\"n\":null}";
    json_t *v = json_parse(text, sizeof text - 1, "f", &e), *child = NULL;
    ck_assert_msg(v != NULL, "%s", e.msg);
    const char *s = NULL;
    int64_t i = 0;
    double x = 0;
    bool t = false;
    ck_assert(json_get_bool(v, "t", "f", &t, &e) && t);
    ck_assert(json_get_string(v, "s", "f", &s, &e) && strcmp(s, "x") == 0);
    ck_assert(json_get_int(v, "i", "f", &i, &e) && i == -7);
    ck_assert(json_get_number(v, "r", "f", &x, &e) && x == 2.5);
    ck_assert(json_get_number(v, "i", "f", &x, &e) && x == -7);
    ck_assert(json_get_array(v, "a", "f", &child, &e) && json_array_size(child) == 1);
    ck_assert(json_get_object(v, "o", "f", &child, &e) && json_is_object(child));
    ck_assert(e.code == 0);
#define REFUSED(call, message)                                                                                 \
    ck_assert(!(call) && e.code == ERROR_INPUT);                                                               \
    ck_assert_str_eq(e.msg, message)
    REFUSED(json_get_string(v, "i", "f", &s, &e), "f: key \"i\": expected a string, found an integer");
    REFUSED(json_get_string(v, "zz", "f", &s, &e), "f: key \"zz\" is missing (expected a string)");
    REFUSED(json_get_int(v, "r", "f", &i, &e), "f: key \"r\": expected an integer, found a real number");
    REFUSED(json_get_int(v, "s", "f", &i, &e), "f: key \"s\": expected an integer, found a string");
    REFUSED(json_get_number(v, "t", "f", &x, &e), "f: key \"t\": expected a number, found a boolean");
    REFUSED(json_get_bool(v, "i", "f", &t, &e), "f: key \"i\": expected a boolean, found an integer");
    REFUSED(json_get_bool(v, "zz", "f", &t, &e), "f: key \"zz\" is missing (expected a boolean)");
    REFUSED(json_get_array(v, "n", "f", &child, &e), "f: key \"n\": expected an array, found null");
    REFUSED(json_get_array(v, "o", "f", &child, &e), "f: key \"o\": expected an array, found an object");
    REFUSED(json_get_object(v, "a", "f", &child, &e), "f: key \"a\": expected an object, found an array");
    json_get_array(v, "a", "f", &child, &e);
    REFUSED(json_get_int(child, "k", "f", &i, &e), "f: expected an object with key \"k\", found an array");
    REFUSED(json_get_int(NULL, "k", "f", &i, &e), "f: expected an object with key \"k\", found nothing");
    ck_assert(i == -7 && x == -7);
    json_decref(v);
}
END_TEST

START_TEST(malformed)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "f:1:0: not JSON: unexpected token near end of file"},
        {"  ", "f:1:2: not JSON: unexpected token near end of file"},
        {"{\"a\":1,\"a\":1}", "f:1:10: not JSON: duplicate object key near '\"a\"'"},
        {"{\"a\":{\"b\":1,\"b\":2}}", "f:1:15: not JSON: duplicate object key near '\"b\"'"},
        {"\xef\xbb\xbf[]", "f: begins with a byte-order mark, expected JSON"},
        {"[1,]", "f:1:4: not JSON: unexpected token near ']'"},
        {"[1 2]", "f:1:4: not JSON: ']' expected near '2'"},
        {"[1]\n\n x", "f:3:2: not JSON: end of file expected near 'x'"},
        {"[NaN]", "f:1:4: not JSON: invalid token near 'NaN'"},
        {"[01]", "f:1:2: not JSON: invalid token near '0'"},
        {"[1e400]", "f:1:6: not JSON: real number overflow near '1e400'"},
        {"[99999999999999999999]", "f:1:21: not JSON: too big integer near '99999999999999999999'"},
        {"[\"\x80\"]", "f:1:2: not JSON: unable to decode byte 0x80 near '\"'"},
        {"[\"\xc3\"]", "f:1:2: not JSON: unable to decode byte 0xc3 near '\"'"},
        {"[\"\xf5\x80\x80\x80\"]", "f:1:2: not JSON: unable to decode byte 0xf5 near '\"'"},
        {"[\"\xe5\xb7\"]", "f:1:2: not JSON: unable to decode byte 0xe5 near '\"'"},
        {"[\"\t\"]", "f:1:2: not JSON: control character 0x9 near '\"'"},
        {"[\"\\q\"]", "f:1:4: not JSON: invalid escape near '\"\\q'"},
        {"[\"\\udc00\"]", "f:1:9: not JSON: invalid Unicode '\\uDC00' near '\"\\udc00\"'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error e = {0};
        size_t n = strlen(cases[i].text);
        char *text = malloc(n ? n : 1); /* not NUL-terminated: reading past the end is seen */
        memcpy(text, cases[i].text, n);
        ck_assert_msg(!json_parse(text, n, "f", &e) && e.code == ERROR_INPUT, "%zu", i);
        ck_assert_str_eq(e.msg, cases[i].message);
        free(text);
    }
}
END_TEST

START_TEST(depth)
{
    static char text[200000];
    for (int levels = 1; levels <= 100000; levels = levels < 66 ? levels + 1 : levels * 3) {
        for (int kind = 0; kind < 2; kind++) {
            size_t n = 0;
            for (int i = 0; i < levels; i++)
                n += (size_t)sprintf(text + n, kind && levels < 99 ? "{\"a\":" : "[");
            if (kind && levels < 99) text[n++] = '1';
            for (int i = 0; i < levels; i++) text[n++] = kind && levels < 99 ? '}' : ']';
            Error e = {0};
            json_t *v = json_parse(text, n, "f", &e);
            ck_assert_msg((v != NULL) == (levels <= 64), "%d levels: %s", levels, e.msg);
            if (!v) ck_assert_msg(strstr(e.msg, ": nested deeper than 64 levels"), "%s", e.msg);
            json_decref(v);
        }
    }
    Error e = {0};
    size_t n = 0;
    text[n++] = '"'; /* brackets in a string are text; so is the quote after a backslash */
    for (int i = 0; i < 100; i++) n += (size_t)sprintf(text + n, "[\\\"{");
    text[n++] = '"';
    json_t *v = json_parse(text, n, "f", &e);
    ck_assert_msg(v != NULL, "%s", e.msg);
    json_decref(v);
}
END_TEST

START_TEST(missing_files)
{
    Error e = {0};
    ck_assert(!json_read("/no/such/file.json", &e) && e.code == ERROR_IO);
    ck_assert_str_eq(e.msg, "/no/such/file.json: cannot open: No such file or directory");
    ck_assert(!json_write("/no/such/file.json", NULL, &e) && e.code == ERROR_IO);
}
END_TEST

static bool read_file(Error *e)
{
    json_t *v = json_read(path, e);
    json_decref(v);
    return v != NULL;
}

static char strings[200]; /* a text for read_strings */

static bool read_strings(Error *e)
{
    json_t *v = json_parse(strings, strlen(strings), "f", e);
    json_decref(v);
    return v != NULL;
}

/* Strings, escapes and numbers that end where the reader's buffer is full, at every length up to 70. */
START_TEST(lost_ends)
{
    static const char *const ends[] = {"\"", "\\n\"", "\\u00e9\"", "\\\"\"", "é\"", "\\\\\""};
    for (int n = 0; n < 70; n++)
        for (int i = 0; i < 6; i++) {
            Error e = {0};
            snprintf(strings, sizeof strings, "[{\"%.*s%s", n,
                     "0123456789012345678901234567890123456789012345678901234567890123456789", ends[i]);
            strcat(strings, ":-12345678901234567}]");
            ck_assert_msg(read_strings(&e), "%s", e.msg);
            ck_assert_int_gt(fail_each(read_strings), 4);
        }
}
END_TEST

static json_t *sample;
static bool write_file(Error *e) { return json_write(path, sample, e); }
static bool write_text(Error *e)
{
    char *text = json_text(sample, JSON_COMPACT);
    bool ok = text ? !strcmp(text, "{\"s\":\"x\",\"i\":-7,\"r\":2.5,\"a\":[1,[2,{\"k\":null}]],\"o\":{}}")
                   : error_set(e, ERROR_MEMORY, "no text");
    free(text);
    return ok;
}

static json_t *make_inner(const void *context)
{
    return json_pack("{s:[i, s], s:o}", "a", 1, (const char *)context, "b", json_object());
}
static json_t *make_sample(const void *context)
{
    json_t *list = json_array();
    for (int i = 0; i < 20; i++) json_array_append_new(list, json_make(make_inner, context));
    return list;
}
static bool make_once(Error *e)
{
    json_t *v = json_make(make_sample, "text");
    bool ok = v ? json_array_size(v) == 20 && json_object_size(json_array_get(v, 19)) == 2
                : error_set(e, ERROR_MEMORY, "no value");
    json_decref(v);
    return ok;
}

START_TEST(allocations)
{
    Error e = {0};
    static const char text[] = "{\"s\":\"x\",\"i\":-7,\"r\":2.5,\"a\":[1,[2,{\"k\":null}]],\"o\":{}}";
    sample = json_parse(text, sizeof text - 1, "f", &e);
    ck_assert(sample && write_file(&e));
    ck_assert_int_gt(fail_each(read_file), 10);
    ck_assert_int_gt(fail_each(write_file), 1);
    ck_assert_int_gt(fail_each(write_text), 0);
    ck_assert_int_gt(fail_each(make_once), 100);
    ck_assert(read_file(&e)); /* the failed writes left the old file */
    json_decref(sample);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/t.json", folder);
    Suite *s = suite_create("json");
    TCase *t = tcase_create("json");
    tcase_add_test(t, round_trip);
    tcase_add_test(t, accessors);
    tcase_add_test(t, malformed);
    tcase_add_test(t, depth);
    tcase_add_test(t, missing_files);
    tcase_add_test(t, lost_ends);
    tcase_add_test(t, allocations);
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
