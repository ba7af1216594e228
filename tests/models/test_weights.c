/* Weights: initialisation by name, layouts, prefixes, partial files, faults of plain and 4-bit files. Needs no
 * op. */
#include "models/weights.h"
#include "tensor/half.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include <unistd.h>

static void open_rig(Rig *r, Weights *w, bool trainable)
{
    rig_open(r, test_device());
    weights_init(w, &r->weights, &r->state, &r->params, 7);
    w->trainable = trainable;
}

static const WeightSpec conv = {{2, 3, 3, 4}, WEIGHT_CONV, INIT_KAIMING, 0};

/* Same seed and name, same values, frozen or trainable, in any order; the layout in memory is [o,kh,kw,i]. */
START_TEST(initialisation)
{
    Rig a, b;
    Weights wa, wb;
    Error e = {0};
    open_rig(&a, &wa, true);
    open_rig(&b, &wb, false);
    Tensor *x = weights_get(&wa, conv, "layer%d.weight", 1);
    Tensor *u = weights_get(&wa, (WeightSpec){{500}, .init = INIT_LINEAR, .a = 25}, "bias");
    params_alloc(&a.params);
    ck_assert(weights_fill(&wa, &e));
    Tensor *v = weights_get(&wb, (WeightSpec){{500}, .init = INIT_LINEAR, .a = 25}, "bias");
    Tensor *y = weights_get(&wb, conv, "layer%d.weight", 1);
    ck_assert(weights_ok(&wb, &e));
    float got[2][72], linear[2][500], most = 0;
    tensor_download(x, got[0]);
    tensor_download(y, got[1]);
    tensor_download(u, linear[0]);
    tensor_download(v, linear[1]);
    ck_assert_mem_eq(got[0], got[1], sizeof got[0]);
    ck_assert_mem_eq(linear[0], linear[1], sizeof linear[0]);
    for (int i = 0; i < 500; i++) most = fmaxf(most, fabsf(linear[0][i]));
    ck_assert(most <= 0.2f && most > 0.19f);
    Rng rng = rng_open(7, "layer1.weight");
    for (int o = 0; o < 2; o++)
        for (int i = 0; i < 4; i++)
            for (int p = 0; p < 9; p++)
                ck_assert_float_eq(got[0][(o * 9 + p) * 4 + i], (float)(sqrt(2.0 / 18) * rng_normal(&rng)));
    weights_close(&wa);
    weights_close(&wb);
    rig_close(&a);
    rig_close(&b);
}
END_TEST

static void write_file(const char *name, StDType dtype, int ndim, const int64_t *dim, const void *data)
{
    Error e = {0};
    StWriter *s = st_writer_new();
    st_writer_add(s, name, dtype, ndim, dim, data);
    ck_assert_msg(st_writer_save(s, test_path(), &e), "%s", e.msg);
    st_writer_free(s);
}

START_TEST(layout_and_prefix)
{
    static const char *const names[] = {"w", "module.w", "backbone.w", "module.backbone.w"};
    float x[2 * 4 * 9], got[72];
    for (int i = 0; i < 72; i++) x[i] = (float)i;
    for (int k = 0; k < 4; k++) {
        Rig r;
        Weights w;
        Error e = {0};
        write_file(names[k], ST_F32, 4, (int64_t[]){2, 4, 3, 3}, x);
        open_rig(&r, &w, true);
        ck_assert(weights_open(&w, test_path(), &e));
        Tensor *y = weights_get(&w, conv, "w");
        params_alloc(&r.params);
        ck_assert_msg(weights_fill(&w, &e), "%s", e.msg);
        tensor_download(y, got);
        for (int o = 0; o < 2; o++)
            for (int p = 0; p < 9; p++)
                for (int i = 0; i < 4; i++)
                    ck_assert_float_eq(got[(o * 9 + p) * 4 + i], x[(o * 4 + i) * 9 + p]);
        ck_assert(
            weights_save((Weights *[]){&w}, 1, false, (const char *[]){"key", "value", NULL}, test_path(), &e));
        TensorFile *file = safetensors_open(test_path(), &e);
        float back[72];
        ck_assert(tensor_file_load_f32(file, "w", 4, (int64_t[]){2, 4, 3, 3}, back, &e));
        ck_assert_mem_eq(back, x, sizeof x);
        ck_assert_str_eq(tensor_file_meta(file, "key"), "value");
        tensor_file_close(file);
        weights_close(&w);
        rig_close(&r);
    }
    unlink(test_path());
}
END_TEST

/* A part's own prefix: behind the file's in reading, part of the name in messages and in what is written. */
START_TEST(part)
{
    static const float x[6] = {1, 2, 3, 4, 5, 6};
    char longest[PARAMS_NAME + 1];
    Rig r;
    Weights w;
    Error e = {0};
    int64_t dim[2];
    write_file("module.text.w", ST_F32, 2, (int64_t[]){2, 3}, x);
    open_rig(&r, &w, true);
    ck_assert(weights_open(&w, test_path(), &e));
    ck_assert_ptr_null(weights_entry(&w, "w"));
    w.prefix = "text.";
    ck_assert(weights_entry(&w, "%s", "w") && weights_shape(&w, 2, dim, "w") && dim[0] == 2);
    weights_get(&w, (WeightSpec){{2, 3}, .init = INIT_ZEROS}, "w");
    params_alloc(&r.params);
    ck_assert_msg(weights_fill(&w, &e), "%s", e.msg);
    ck_assert(weights_save((Weights *[]){&w}, 1, false, NULL, test_path(), &e));
    TensorFile *file = safetensors_open(test_path(), &e);
    float back[6];
    ck_assert(tensor_file_load_f32(file, "text.w", 2, dim, back, &e));
    ck_assert_mem_eq(back, x, sizeof x);
    tensor_file_close(file);
    ck_assert_ptr_null(weights_get(&w, (WeightSpec){{2, 3}, .init = INIT_ZEROS}, "v"));
    ck_assert(!weights_ok(&w, &e));
    ck_assert_str_eq(after_path(e.msg), "tensor text.v is missing: expected shape [2,3]");
    memset(longest, 'p', PARAMS_NAME);
    longest[PARAMS_NAME] = 0;
    for (int cut = 0; cut < 2; cut++) { /* the prefix alone is too long; with the name it is */
        w.error = e = (Error){0};
        w.prefix = longest + cut;
        ck_assert_ptr_null(weights_entry(&w, "w"));
        ck_assert_ptr_null(weights_get(&w, (WeightSpec){{2, 3}, .init = INIT_ZEROS}, "w"));
        ck_assert(!weights_ok(&w, &e) && strstr(e.msg, "is longer than 159 bytes"));
    }
    unlink(test_path());
    weights_close(&w);
    rig_close(&r);
}
END_TEST

/* A frozen table stays bf16 where its file has bf16, bit for bit; a trainable one is f32, and so is one from an
 * f32 file. Without a file it is what Weights.table says. */
/* What a file has that no model asked for. */
START_TEST(unasked)
{
    static const float x[3] = {1, 2, 3};
    static const char *const names[] = {"a", "backbone.b", "module.backbone.num", "module.w", "z"};
    Rig r;
    Weights w;
    Error e = {0};
    StWriter *s = st_writer_new();
    for (int i = 0; i < 5; i++) st_writer_add(s, names[i], ST_F32, 1, (int64_t[]){3}, x);
    ck_assert_msg(st_writer_save(s, test_path(), &e), "%s", e.msg);
    st_writer_free(s);
    open_rig(&r, &w, false);
    ck_assert(weights_open(&w, test_path(), &e));
    weights_get(&w, (WeightSpec){{3}, .init = INIT_ZEROS}, "w");
    ck_assert_ptr_nonnull(weights_entry(&w, "a"));
    ck_assert_ptr_null(weights_entry(&w, "num."));
    static const int left[] = {1, 2, 4};
    static const char *const bare[] = {"b", "num", "z"};
    int at = 0;
    for (int i = 0; i < 3; i++) {
        const TensorEntry *entry = tensor_file_unasked(w.file, &at);
        ck_assert(entry && !strcmp(entry->name, names[left[i]]));
        ck_assert_str_eq(weights_bare(entry->name), bare[i]);
    }
    ck_assert_ptr_null(tensor_file_unasked(w.file, &at));
    unlink(test_path());
    weights_close(&w);
    rig_close(&r);
}
END_TEST

START_TEST(bf16_table)
{
    static const WeightSpec table = {{5, 3}, WEIGHT_TABLE, INIT_NORMAL, 0.02f};
    uint16_t half[15], back[15];
    float whole[15];
    Error e = {0};
    for (int i = 0; i < 15; i++) whole[i] = bf16_to_float(half[i] = (uint16_t)(0x3f81 + 77 * i));
    for (int file = 0; file < 3; file++) /* bf16, f32, none */
        for (int trainable = 0; trainable < 2; trainable++) {
            Rig r;
            Weights w;
            open_rig(&r, &w, trainable);
            w.table = DTYPE_bf16;
            if (file < 2) {
                write_file("w", file ? ST_F32 : ST_BF16, 2, table.dim, file ? (void *)whole : half);
                ck_assert(weights_open(&w, test_path(), &e));
            }
            Tensor *x = weights_get(&w, table, "w");
            if (trainable) params_alloc(&r.params);
            ck_assert_msg(weights_fill(&w, &e), "%s", e.msg);
            ck_assert_int_eq(x->dtype, !trainable && file != 1 ? DTYPE_bf16 : DTYPE_f32);
            ck_assert(weights_save((Weights *[]){&w}, 1, true, NULL, test_path(), &e));
            TensorFile *saved = safetensors_open(test_path(), &e);
            const TensorEntry *entry = tensor_file_find(saved, "w");
            float values[15];
            ck_assert_int_eq(entry->dtype, x->dtype == DTYPE_bf16 ? ST_BF16 : ST_F32);
            ck_assert(tensor_file_read_f32(saved, entry, values, &e));
            if (file < 2) ck_assert_mem_eq(values, whole, sizeof whole);
            if (x->dtype == DTYPE_bf16) {
                tensor_download(x, back);
                if (!file) ck_assert_mem_eq(back, half, sizeof half);
                for (int i = 0; i < 15; i++) ck_assert(values[i] == bf16_to_float(back[i]) && values[i] != 0);
            }
            tensor_file_close(saved);
            weights_close(&w);
            rig_close(&r);
        }
    unlink(test_path());
}
END_TEST

static void expect(const char *message, WeightSpec spec)
{
    Rig r;
    Weights w;
    Error e = {0};
    open_rig(&r, &w, false);
    ck_assert_msg(weights_open(&w, test_path(), &e), "%s", e.msg);
    Tensor *x = weights_get(&w, spec, "w");
    if (message) {
        ck_assert_ptr_null(x);
        ck_assert(!weights_ok(&w, &e));
        ck_assert_str_eq(after_path(e.msg), message);
        ck_assert_ptr_null(weights_get(&w, (WeightSpec){{1}, .init = INIT_ONES}, "another")); /* sticks */
    } else {
        ck_assert_msg(x && weights_ok(&w, &e), "%s", w.error.msg);
    }
    weights_close(&w);
    rig_close(&r);
}

/* A transposed conv: [i,o,kh,kw] in the file, (i,kh,kw,o) in memory, initialised within 1/sqrt(kh*kw*o). */
START_TEST(transposed)
{
    enum { I = 3, KH = 2, KW = 5, O = 4, N = I * KH * KW * O };
    const WeightSpec deconv = {{I, KH, KW, O}, WEIGHT_DECONV, INIT_LINEAR, 0};
    const int64_t dim[4] = {I, O, KH, KW};
    Rig r;
    Weights w;
    Error e = {0};
    float x[N], got[N], back[N], bound = (float)(1 / sqrt(KH * KW * O)), most = 0;
    Rng rng = rng_open(7, "w");
    for (int i = 0; i < N; i++) x[i] = (float)rng_range(&rng, -1 / sqrt(KH * KW * O), 1 / sqrt(KH * KW * O));
    for (int i = 0; i < N; i++) most = fmaxf(most, fabsf(x[i]));
    ck_assert(most <= bound && most > 0.95f * bound);
    for (int from_file = 0; from_file < 2; from_file++) {
        if (from_file)
            for (int i = 0; i < N; i++) x[i] = (float)i;
        write_file("w", ST_F32, 4, dim, x);
        open_rig(&r, &w, true);
        ck_assert(!from_file || weights_open(&w, test_path(), &e));
        Tensor *y = weights_get(&w, deconv, "w");
        params_alloc(&r.params);
        ck_assert_msg(weights_fill(&w, &e), "%s", e.msg);
        tensor_download(y, got);
        for (int i = 0; i < I; i++)
            for (int o = 0; o < O; o++)
                for (int p = 0; p < KH * KW; p++)
                    ck_assert_float_eq(got[(i * KH * KW + p) * O + o], x[(i * O + o) * KH * KW + p]);
        ck_assert_msg(weights_save((Weights *[]){&w}, 1, false, NULL, test_path(), &e), "%s", e.msg);
        TensorFile *file = safetensors_open(test_path(), &e);
        ck_assert_msg(tensor_file_load_f32(file, "w", 4, dim, back, &e), "%s", e.msg);
        ck_assert_mem_eq(back, x, sizeof x);
        tensor_file_close(file);
        weights_close(&w);
        rig_close(&r);
    }
    expect("tensor w: expected shape [3,2,4,5], found [3,4,2,5]",
           (WeightSpec){{I, 4, 5, 2}, WEIGHT_DECONV, INIT_ZEROS, 0});
    unlink(test_path());
}
END_TEST

START_TEST(faults)
{
    float x[72] = {0};
    write_file("other", ST_F32, 1, (int64_t[]){72}, x);
    expect("tensor w is missing: expected shape [2,4,3,3]", conv);
    write_file("w", ST_F32, 4, (int64_t[]){2, 3, 3, 4}, x);
    expect("tensor w: expected shape [1000000000,1000000000], found [2,3,3,4]",
           (WeightSpec){{1000000000, 1000000000}, WEIGHT_PLAIN, INIT_ZEROS, 0});
    expect("tensor w: expected shape [2,4,3,3], found [2,3,3,4]", conv);
    for (StDType d = ST_I64; d <= ST_BOOL; d++) {
        char message[64];
        snprintf(message, sizeof message, "tensor w: expected floats, found %s", st_dtype_name(d));
        write_file("w", d, 1, (int64_t[]){9}, x);
        expect(message, (WeightSpec){{9}, WEIGHT_PLAIN, INIT_ZEROS, 0});
    }
    unlink(test_path());
}
END_TEST

/* A 2 x 64 weight as bitsandbytes stores it, with one thing wrong at a time. */
static void write_four_bit(const char *state, int64_t absmax, StDType absmax_dtype, const float *map)
{
    static const uint8_t codes[64];
    static const float scale[4] = {1, 1, 1, 1};
    Error e = {0};
    StWriter *s = st_writer_new();
    int64_t n = (int64_t)strlen(state);
    st_writer_add(s, "w", ST_U8, 2, (int64_t[]){64, 1}, codes);
    if (absmax) st_writer_add(s, "w.absmax", absmax_dtype, 1, &absmax, scale);
    if (map) st_writer_add(s, "w.quant_map", ST_F32, 1, (int64_t[]){16}, map);
    st_writer_add(s, "w.quant_state.bitsandbytes__nf4", ST_U8, 1, &n, state);
    ck_assert_msg(st_writer_save(s, test_path(), &e), "%s", e.msg);
    st_writer_free(s);
}

#define STATE "{\"quant_type\":\"nf4\",\"blocksize\":64,\"dtype\":\"float32\",\"shape\":[2,64]"
#define FILE_ "tensor w"

START_TEST(four_bit_faults)
{
    const WeightSpec linear = {{2, 64}, WEIGHT_LINEAR, INIT_NORMAL, 0.02f};
    const float map[16] = {-1, -0.5f};
    write_four_bit(STATE "}", 2, ST_F32, NULL);
    expect(NULL, linear);
    expect(FILE_ ": expected shape [64,2], found [2,64]", (WeightSpec){{64, 2}, WEIGHT_LINEAR, INIT_ZEROS, 0});
    write_four_bit(STATE, 2, ST_F32, NULL);
    expect(FILE_ ".quant_state.bitsandbytes__nf4:1:67: not JSON: '}' expected near end of file", linear);
    write_four_bit("{\"quant_type\":\"fp4\"}", 2, ST_F32, NULL);
    expect(FILE_ ": expected quant_type nf4, found fp4", linear);
    write_four_bit("[1]", 2, ST_F32, NULL);
    expect(FILE_ ": expected quant_type nf4, found none", linear);
    write_four_bit("{\"quant_type\":\"nf4\",\"blocksize\":128}", 2, ST_F32, NULL);
    expect(FILE_ ": expected blocksize 64, found 128", linear);
    write_four_bit("{\"quant_type\":\"nf4\",\"blocksize\":64,\"shape\":[2,63]}", 2, ST_F32, NULL);
    expect(FILE_ ": expected shape [2,64], found [2,63]", linear);
    write_four_bit("{\"quant_type\":\"nf4\",\"blocksize\":64,\"shape\":[2147483647,2147483647]}", 2, ST_F32,
                   NULL);
    expect(FILE_ ": expected 2305843007066210305 elements of U8, found U8, 64 bytes",
           (WeightSpec){{INT32_MAX, INT32_MAX}, WEIGHT_LINEAR, INIT_ZEROS, 0});
    write_four_bit(STATE "}", 0, ST_F32, NULL);
    expect(FILE_ ".absmax: expected 2 elements of F32, found none, 0 bytes", linear);
    write_four_bit(STATE "}", 3, ST_F32, NULL);
    expect(FILE_ ".absmax: expected 2 elements of F32, found F32, 12 bytes", linear);
    write_four_bit(STATE "}", 2, ST_U8, NULL);
    expect(FILE_ ": expected nested_blocksize 256 and a nested_offset, found -1", linear);
    write_four_bit(STATE ",\"nested_blocksize\":256,\"nested_offset\":0.5}", 2, ST_U8, NULL);
    expect(FILE_ ".nested_absmax: expected 1 elements of F32, found none, 0 bytes", linear);
    write_four_bit(STATE "}", 2, ST_F32, map);
    expect(FILE_ ".quant_map: expected -0.696193 at 1, found -0.5", linear);
    unlink(test_path());
}
END_TEST

START_TEST(metadata)
{
    Rig r;
    Weights w;
    Error e = {0};
    StWriter *s = st_writer_new();
    st_writer_meta(s, "heads", "12");
    st_writer_meta(s, "bad", "12x");
    st_writer_meta(s, "nan", "nan");
    float one = 1;
    st_writer_add(s, "w", ST_F32, 1, (int64_t[]){1}, &one);
    ck_assert(st_writer_save(s, test_path(), &e));
    st_writer_free(s);
    open_rig(&r, &w, false);
    ck_assert(weights_open(&w, test_path(), &e));
    ck_assert_int_eq(weights_meta_int(&w, "heads", 3, 1, 64), 12);
    ck_assert_int_eq(weights_meta_int(&w, "absent", 3, 1, 64), 3);
    ck_assert(weights_ok(&w, &e));
    weights_meta_float(&w, "nan", 1, 0, 1);
    ck_assert(!weights_ok(&w, &e));
    ck_assert_str_eq(after_path(e.msg), "metadata nan: expected a number from 0 to 1, found "
                                        "\"nan\"");
    w.error = (Error){0};
    weights_meta_int(&w, "bad", 1, 1, 64);
    ck_assert(!weights_ok(&w, &e));
    ck_assert_str_eq(after_path(e.msg), "metadata bad: expected a whole number from 1 to 64, "
                                        "found \"12x\"");
    weights_close(&w);
    unlink(test_path());
    rig_close(&r);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {initialisation, layout_and_prefix, part,    unasked, transposed, bf16_table,
                                  faults,         four_bit_faults,   metadata};
    return run_tests("weights", tests, sizeof tests / sizeof *tests);
}
