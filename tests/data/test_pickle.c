/* The machine alone: what it makes of sound pickles, and what it says to others. */
#include "data/pickle.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/data/fail_alloc.h"
#include "tests/data/pickle_bad.h"

typedef struct Bytes {
    const char *at;
    size_t n;
} Bytes;

static bool read_bytes(void *user, uint64_t offset, void *dst, uint64_t n, Error *e)
{
    const Bytes *b = user;
    if (offset > b->n || n > b->n - offset) return error_set(e, ERROR_IO, "read past the end");
    if (n) memcpy(dst, b->at + offset, (size_t)n);
    return true;
}

static Pickle *parse(const char *bytes, size_t n, uint64_t *next, Error *e)
{
    Bytes b = {bytes, n};
    return pickle_read(&(PickleSource){read_bytes, &b, 0, n, "t"}, next, e);
}

/* Exactly "t: byte N: message". */
START_TEST(bad)
{
    const BadPickle *b = &bad_pickles[_i];
    Error e = {0};
    Pickle *p = parse(b->bytes, b->n, NULL, &e);
    ck_assert_msg(!p, "read; expected: %s", b->message);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    ck_assert_msg(!strncmp(e.msg, "t: byte ", 8), "%s", e.msg);
    ck_assert_str_eq(e.msg + 8, b->message);
}
END_TEST

#define READ(bytes) parse(bytes, sizeof(bytes) - 1, NULL, &e)

START_TEST(values)
{
    Error e = {0};
    Pickle *p = READ(P2 "](K\377M\377\377J\377\377\377\377\212\0\212\1\377\212\2\0\200\212\10\1\2\3\4\5\6\7\210"
                        "G\277\370\0\0\0\0\0\0N\210\211X\2\0\0\0\303\251U\1x)\212\11\1\2\3\4\5\6\7\10\11e.");
    ck_assert_msg(p != NULL, "%s", e.msg);
    const PickleValue *v = pickle_root(p);
    static const int64_t whole[] = {255, 65535, -1, 0, -1, -32768, (int64_t)0x8807060504030201};
    ck_assert(v->type == PICKLE_LIST && v->size == 15);
    for (int i = 0; i < 7; i++) ck_assert(v->item[i]->type == PICKLE_INT && v->item[i]->whole == whole[i]);
    ck_assert(v->item[7]->type == PICKLE_FLOAT && v->item[7]->real == -1.5);
    ck_assert(v->item[8]->type == PICKLE_NONE && v->item[9]->type == PICKLE_BOOL && v->item[9]->whole == 1);
    ck_assert(v->item[10]->whole == 0);
    ck_assert_str_eq(v->item[11]->text, "é");
    ck_assert_str_eq(v->item[12]->text, "x");
    ck_assert(v->item[13]->type == PICKLE_TUPLE && v->item[13]->size == 0);
    ck_assert(v->item[14]->type == PICKLE_LONG && v->item[14]->size == 9 && v->item[14]->text[8] == 9);
    pickle_free(p);
}
END_TEST

START_TEST(memo_and_dicts)
{
    Error e = {0};
    uint64_t next = 0;
    /* of protocol 4, with a frame, entries numbered by MEMOIZE; a value that holds itself is one value */
    static const char bytes[] =
        "\200\4\225\30\0\0\0\0\0\0\0}\224(\214\1a\224h\1\214\1bh\0\214\1ah\0K\7h\1u.rest";
    Pickle *p = parse(bytes, sizeof bytes - 1, &next, &e);
    ck_assert_msg(p != NULL, "%s", e.msg);
    ck_assert_uint_eq(next, sizeof bytes - 1 - 4);
    const PickleValue *v = pickle_root(p);
    ck_assert(v->type == PICKLE_DICT && v->size == 8);
    ck_assert_ptr_eq(pickle_get(v, "b"), v);
    ck_assert_ptr_eq(pickle_get(v, "a"), v); /* the later of two */
    ck_assert_ptr_null(pickle_get(v, "c"));
    ck_assert_ptr_null(pickle_get(v->item[0], "c"));
    pickle_free(p);
}
END_TEST

/* Tuples of one to three, OrderedDict empty and of pairs, its attributes dropped. */
START_TEST(calls)
{
    Error e = {0};
    Pickle *p = READ(P2 "(N\205NN\206NNN\207" DICT "X\1\0\0\0aK\1s}X\11\0\0\0_metadataNsb"
                        "ccollections\nOrderedDict\n](](U\1kK\2eNN\206e0");
    ck_assert(!p && strstr(e.msg, "opcode '0'"));
    p = READ(P2 "(N\205NN\206NNN\207" DICT "X\1\0\0\0aK\1s}X\11\0\0\0_metadataNsb"
                "ccollections\nOrderedDict\n](](U\1kK\2eU\1l]\206e\205Rt.");
    ck_assert_msg(p != NULL, "%s", e.msg);
    const PickleValue *v = pickle_root(p);
    ck_assert(v->size == 5 && v->item[0]->size == 1 && v->item[1]->size == 2 && v->item[2]->size == 3);
    ck_assert(v->item[3]->type == PICKLE_DICT && v->item[3]->size == 2 &&
              pickle_get(v->item[3], "a")->whole == 1);
    ck_assert(v->item[4]->type == PICKLE_DICT && pickle_get(v->item[4], "k")->whole == 2);
    ck_assert(pickle_get(v->item[4], "l")->type == PICKLE_LIST);
    pickle_free(p);
}
END_TEST

START_TEST(tensors)
{
    Error e = {0};
    Pickle *p = READ(P2 "(" V2 STORAGE("Float", "0", "\6") "K\1" DIMS("\2", "\2") DIMS(
        "\3", "\1") "\211" DICT "tR" /* a view */
                    "ctorch._utils\n_rebuild_tensor\n(" STORAGE(
                        "Half", "1",
                        "\1") "K\0))tR" /* a scalar */
                              "ctorch._utils\n_rebuild_parameter\n" V2 STORAGE("Long", "2",
                                                                               "\0") "K\0" DIMS("\0", "\3")
                                  DIMS("\3", "\1") "\211" DICT "tR\210" DICT "\207R" /* empty */
                                                   "ctorch._utils\n_rebuild_tensor_v3\n(" UNTYPED(
                                                       "3",
                                                       "\4") "K\1K\1\205K\1\205\211" DICT
                                                             "ctorch\nuint16\n}tR" /* a dtype of its own */
                                                             "ctorch.nn.parameter\nParameter\n" V2 STORAGE_VIEW(
                                                                 "Char", "4", "\12", "K\3",
                                                                 "K\4") "K\1K\3\205K\1\205\211" DICT
                                                                        "tR\205\201\210\211" DICT
                                                                        "\207b" /* an older Parameter, of a
                                                                                   storage's view */
                                                                        "t.");
    ck_assert_msg(p != NULL, "%s", e.msg);
    const PickleValue *v = pickle_root(p);
    ck_assert_int_eq(v->size, 5);
    static const struct {
        StDType dtype;
        int ndim;
        int64_t dim[2], stride[2];
        uint64_t offset, elements, span;
        const char *key;
    } want[] = {
        {ST_F32, 2, {2, 2}, {3, 1}, 1, 4, 5, "0"}, {ST_F16, 0, {0}, {0}, 0, 1, 1, "1"},
        {ST_I64, 2, {0, 3}, {3, 1}, 0, 0, 0, "2"}, {ST_U16, 1, {1}, {1}, 1, 1, 1, "3"},
        {ST_I8, 1, {3}, {1}, 4, 3, 3, "4"},
    };
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(v->item[i]->type, PICKLE_TENSOR);
        const PickleTensor *t = v->item[i]->tensor;
        ck_assert(t->dtype == want[i].dtype && t->ndim == want[i].ndim && t->offset == want[i].offset);
        ck_assert(t->elements == want[i].elements && t->span == want[i].span);
        ck_assert(!memcmp(t->dim, want[i].dim, sizeof want->dim) &&
                  !memcmp(t->stride, want[i].stride, sizeof want->dim));
        ck_assert_str_eq(t->storage->key, want[i].key);
    }
    int storages = 0;
    for (const PickleStorage *s = pickle_storages(p); s; s = s->next) storages++;
    ck_assert_int_eq(storages, 5);
    pickle_free(p);
}
END_TEST

/* What is larger than the limits, written out. */
START_TEST(limits)
{
    enum { N = 6 << 20 };
    Error e = {0};
    char *bytes = malloc(N);
    memset(bytes, 'N', N);
    memcpy(bytes, "\200\2", 2);
    ck_assert(!parse(bytes, N, NULL, &e));
    ck_assert_str_eq(e.msg, "t: byte 65538: more than 65536 values on the stack");
    memset(bytes + 2, '(', N - 2);
    ck_assert(!parse(bytes, N, NULL, &e));
    ck_assert_str_eq(e.msg, "t: byte 65538: more than 65536 values on the stack");
    bytes[2] = ']'; /* a list of ever more lists */
    for (int i = 3; i + 1 < N; i += 2) memcpy(bytes + i, "]a", 2);
    ck_assert(!parse(bytes, N, NULL, &e));
    ck_assert_msg(strstr(e.msg, ": its values take more than 134217728 bytes"), "%s", e.msg);
    memcpy(bytes + 2, "Nr\377\377\17\0", 6); /* the memo's last, after 8 bytes */
    ck_assert(!parse(bytes, N, NULL, &e));
    ck_assert_str_eq(e.msg, "t: byte 3: memo entry 1048575 after 8 bytes");
    free(bytes);
}
END_TEST

/* A declared length is compared with what is there before anything of it is allocated. */
START_TEST(no_large_allocation)
{
    Error e = {0};
    failing.largest = 0;
    ck_assert(!READ(P2 "X\377\377\377\177abc."));
    ck_assert_str_eq(e.msg, "t: byte 2: a text of 2147483647 bytes, 4 are left");
    ck_assert(!READ(P2 "\225\377\377\377\377\377\377\377\377."));
    ck_assert_str_eq(e.msg, "t: byte 2: a frame of 18446744073709551615 bytes, 1 are left");
    ck_assert_uint_lt(failing.largest, 10000);
}
END_TEST

static const char sample[] = P2 "}q\0(X\1\0\0\0aq\1" V2 STORAGE("Float", "0", "\6") "K\0" DIMS("\2", "\3")
    DIMS("\3", "\1") "\211" DICT "tRq\2X\1\0\0\0b](K\1h\2eX\1\0\0\0cG\0\0\0\0\0\0\0\0u.";

START_TEST(prefixes)
{
    for (size_t n = 0; n < sizeof sample; n++) {
        Error e = {0};
        Pickle *p = parse(sample, n, NULL, &e);
        ck_assert_msg((p != NULL) == (n == sizeof sample - 1), "%zu bytes: %s", n, e.msg);
        ck_assert(p || e.code == ERROR_INPUT);
        pickle_free(p);
    }
}
END_TEST

/* What is compared again and again for what stands in the file once. */
START_TEST(long_searches)
{
    static const char head[] = P2 V2 STORAGE("Float", "0", "\6") "K\0K\6\205K\1\205" HOOKS "}(";
    static const char id[] = P2 "(U\7storagectorch\nFloatStorage\nX\0\1\0\0";
    char bytes[1024], expected[200];
    for (int entries = 64; entries < 66; entries++) {
        Error e = {0};
        size_t n = sizeof head - 1;
        memcpy(bytes, head, n);
        for (int i = 0; i < entries; i++, n += 3) memcpy(bytes + n, "K\1N", 3);
        memcpy(bytes + n, "utR.", 4);
        Pickle *p = parse(bytes, n + 4, NULL, &e);
        ck_assert_msg((p != NULL) == (entries == 64), "%s", e.msg);
        snprintf(expected, sizeof expected, "t: byte %zu: a tensor's metadata: 65 entries, expected at most 64",
                 n + 2);
        if (!p) ck_assert_str_eq(e.msg, expected);
        pickle_free(p);
    }
    Error e = {0};
    memcpy(bytes, id, sizeof id - 1);
    memset(bytes + sizeof id - 1, 'k', 256);
    memcpy(bytes + sizeof id + 255, "U\3cpuK\1tQ.", 10);
    ck_assert(!parse(bytes, sizeof id + 265, NULL, &e));
    ck_assert_msg(strstr(e.msg, ": a storage's key of 256 bytes, expected at most 255"), "%s", e.msg);
}
END_TEST

static bool parse_sample(Error *e)
{
    Pickle *p = parse(sample, sizeof sample - 1, NULL, e);
    pickle_free(p);
    return p != NULL;
}

START_TEST(allocations) { ck_assert_int_gt(fail_each(parse_sample), 3); }
END_TEST

int main(void)
{
    Suite *s = suite_create("pickle");
    TCase *t = tcase_create("pickle");
    tcase_add_loop_test(t, bad, 0, sizeof bad_pickles / sizeof *bad_pickles);
    tcase_add_test(t, values);
    tcase_add_test(t, memo_and_dicts);
    tcase_add_test(t, calls);
    tcase_add_test(t, tensors);
    tcase_add_test(t, limits);
    tcase_add_test(t, no_large_allocation);
    tcase_add_test(t, long_searches);
    tcase_add_test(t, prefixes);
    tcase_add_test(t, allocations);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
