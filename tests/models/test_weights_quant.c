/* 4-bit weights in files: malformed ones, every prefix, every byte changed, allocations that fail. */
#include "models/weights.h"
#include "data/file.h"
#include "kernels/quant.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include "tests/models/quant_bad.h"
#include <unistd.h>
#include "tests/data/fail_alloc.h"

static const WeightSpec linear = {{2, 64}, WEIGHT_LINEAR, INIT_NORMAL, 0.02f};

/* Entry `part` of the good file as bad says, if it is the one. */
static void add(StWriter *s, const BadQuant *bad, const char *part, StDType dtype, int64_t n, const void *data)
{
    static float map[256];
    static const uint8_t zeros[1 << 17];
    char name[64];
    snprintf(name, sizeof name, "w%s%s", *part ? "." : "", part);
    if (bad && !strcmp(bad->part, part)) {
        if (bad->n < 0) return;
        if (bad->value != 0) {
            memcpy(map, data, (size_t)n * sizeof *map);
            map[bad->at] = bad->value;
            data = map;
        } else {
            n = bad->n;
            dtype = bad->dtype;
            data = zeros;
        }
    }
    st_writer_add(s, name, dtype, 1, &n, data);
}

static void add_state(StWriter *s, const BadQuant *bad, bool nested)
{
    static const uint8_t zeros[1 << 17];
    static char text[1024];
    const char *json = bad && !strcmp(bad->part, "state") && bad->json ? bad->json
                       : nested                                        ? NF4 NESTED "}"
                                                                       : NF4 "}";
    int64_t n = (int64_t)strlen(json);
    for (int64_t i = 0; i < n; i++) text[i] = json[i] == '\'' ? '"' : json[i];
    bool other = bad && !strcmp(bad->part, "state") && !bad->json;
    st_writer_add(s, "w.quant_state.bitsandbytes__nf4", other ? bad->dtype : ST_U8, 1, other ? &bad->n : &n,
                  other ? (const void *)zeros : text);
}

/* The 2 x 64 weight in test_path(); bad: NULL, or what is wrong. more: another entry, or NULL. */
static void write_weight(const BadQuant *bad, bool nested, const char *more)
{
    static const uint8_t codes[64] = {0x12, 0x9f};
    static const float scale[2] = {1, 2};
    Error e = {0};
    StWriter *s = st_writer_new();
    add(s, bad, "", ST_U8, 64, codes);
    add(s, bad, "absmax", nested ? ST_U8 : ST_F32, 2, nested ? (const void *)codes : scale);
    add(s, bad, "quant_map", ST_F32, 16, quant_levels(DTYPE_nf4));
    if (nested) {
        add(s, bad, "nested_absmax", ST_F32, 1, scale);
        add(s, bad, "nested_quant_map", ST_F32, 256, quant_dynamic_map());
    }
    add_state(s, bad, nested);
    if (more) st_writer_add(s, more, ST_U8, 1, (int64_t[]){2}, "{}");
    ck_assert_msg(st_writer_save(s, test_path(), &e), "%s", e.msg);
    st_writer_free(s);
}

/* Reads w; false and *e. */
static bool read_weight(Error *e)
{
    Rig r;
    Weights w;
    rig_open(&r, &backend_cpu);
    weights_init(&w, &r.weights, &r.state, NULL, 7);
    bool ok = weights_open(&w, test_path(), e);
    if (ok) {
        Tensor *x = weights_get(&w, linear, "w");
        ok = weights_ok(&w, e);
        ck_assert(ok == (x != NULL) && (!x || x->dtype == DTYPE_nf4));
    }
    weights_close(&w);
    rig_close(&r);
    return ok;
}

static void expect(const char *message)
{
    Error e = {0};
    ck_assert_msg(!read_weight(&e), "read, wants: %s", message);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    ck_assert_str_eq(after_path(e.msg), message);
}

START_TEST(good)
{
    for (int nested = 0; nested < 2; nested++) {
        Error e = {0};
        write_weight(NULL, nested, NULL);
        ck_assert_msg(read_weight(&e), "%s", e.msg);
    }
    unlink(test_path());
}
END_TEST

/* Codes as elements of another type, as bnb_4bit_quant_storage has them; no map; a whole number for the offset.
 */
START_TEST(tolerated)
{
    static const BadQuant fine[] = {
        {false, "", ST_BF16, 32, 0, 0, NULL, NULL},
        {false, "", ST_F32, 16, 0, 0, NULL, NULL},
        {false, "quant_map", ST_F32, -1, 0, 0, NULL, NULL},
        {true, "nested_quant_map", ST_F32, -1, 0, 0, NULL, NULL},
        {true, "state", ST_U8, 0, 0, 0, NF4 ",'nested_blocksize':256,'nested_offset':1,'more':{}}", NULL},
        {true, "state", ST_U8, 0, 0, 0, NF4 ",'nested_blocksize':256,'nested_offset':-0.5}", NULL}};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        Error e = {0};
        write_weight(&fine[i], fine[i].nested, NULL);
        ck_assert_msg(read_weight(&e), "%zu: %s", i, e.msg);
    }
    unlink(test_path());
}
END_TEST

START_TEST(malformed)
{
    ck_assert_uint_ge(sizeof bad_quants / sizeof *bad_quants, 60);
    for (size_t i = 0; i < sizeof bad_quants / sizeof *bad_quants; i++) {
        write_weight(&bad_quants[i], bad_quants[i].nested, NULL);
        expect(bad_quants[i].message);
    }
    write_weight(NULL, false, "w.quant_state.bitsandbytes__fp4");
    expect("tensor w: expected one quant_state, found quant_state.bitsandbytes__fp4 and "
           "quant_state.bitsandbytes__nf4");
    write_weight(NULL, false, "w.quant_state.");
    expect("tensor w: expected one quant_state, found quant_state. and quant_state.bitsandbytes__nf4");
    unlink(test_path());
}
END_TEST

/* A single quant_state under names that are none, and without any. */
START_TEST(forms)
{
    static const struct {
        const char *name, *message;
    } cases[] = {
        {"w.quant_state.bitsandbytes__int8",
         "tensor w: expected a quant_state of nf4, fp4 or q4_0, found bitsandbytes__int8"},
        {"w.quant_state.", "tensor w: expected a quant_state of nf4, fp4 or q4_0, found "},
        {"w.quant_state.bitsandbytes__nf4x",
         "tensor w: expected a quant_state of nf4, fp4 or q4_0, found bitsandbytes__nf4x"},
        {"w.quant_state.bitsandbytes__fp4", "tensor w: expected quant_type fp4, found none"},
        {"w.quant_state.pcrl__q4_0", "tensor w: expected quant_type q4_0, found none"},
        {"w.quant_states.bitsandbytes__nf4", "tensor w: expected shape [2,64], found [64,1]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error e = {0};
        StWriter *s = st_writer_new();
        static const uint8_t codes[64];
        st_writer_add(s, "w", ST_U8, 2, (int64_t[]){64, 1}, codes);
        st_writer_add(s, cases[i].name, ST_U8, 1, (int64_t[]){2}, "{}");
        ck_assert_msg(st_writer_save(s, test_path(), &e), "%s", e.msg);
        st_writer_free(s);
        expect(cases[i].message);
    }
    unlink(test_path());
}
END_TEST

static void put_file(const void *bytes, size_t n)
{
    FILE *f = fopen(test_path(), "w");
    ck_assert(f && fwrite(bytes, 1, n, f) == n && !fclose(f));
}

START_TEST(prefixes_and_flips)
{
    Error e = {0};
    uint8_t *bytes;
    size_t n, read = 0;
    write_weight(NULL, true, NULL);
    ck_assert(file_read(test_path(), 10000, &bytes, &n, &e));
    for (size_t k = 0; k < n; k++) {
        e.code = 0;
        put_file(bytes, k);
        ck_assert_msg(!read_weight(&e) && e.code == ERROR_INPUT, "prefix of %zu bytes: %s", k, e.msg);
    }
    for (size_t k = 0; k < 2 * n; k++) {
        uint8_t old = bytes[k / 2];
        bytes[k / 2] = k % 2 ? 255 : (uint8_t)~old;
        put_file(bytes, n);
        bytes[k / 2] = old;
        bool ok = read_weight(&e);
        ck_assert(ok || e.code == ERROR_INPUT);
        read += ok;
    }
    ck_assert(read > 2 * 64 && read < 2 * n - 2 * 200);
    free(bytes);
    unlink(test_path());
}
END_TEST

static Rig rig;
/* Without a word to check, which allocates as well. */
static bool attempt(Error *e)
{
    Weights w;
    ArenaMark mark = arena_mark(&rig.weights);
    weights_init(&w, &rig.weights, &rig.state, NULL, 7);
    bool ok = weights_open(&w, test_path(), e);
    if (ok) {
        weights_get(&w, linear, "w");
        ok = weights_ok(&w, e);
    }
    weights_close(&w);
    arena_pop(&rig.weights, mark);
    return ok;
}

START_TEST(allocations)
{
    rig_open(&rig, &backend_cpu);
    write_weight(NULL, true, NULL);
    ck_assert_int_gt(fail_each(attempt), 30);
    rig_close(&rig);
    unlink(test_path());
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {good, tolerated, malformed, forms, prefixes_and_flips, allocations};
    return run_tests("weights_quant", tests, sizeof tests / sizeof *tests);
}
