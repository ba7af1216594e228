/* Swin against transformers' SwinModel: Swin-T whole, a small one block by block with all gradients; sizes from
 * files; faults. */
#include "models/swin.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"

static const char vision[] = "vision_model.model.";
static const SwinConfig swin_t = {3, 4, 96, 4, 4, 7, {2, 2, 6, 2}, {3, 6, 12, 24}},
                        tiny = {3, 2, 24, 4, 2, 4, {2, 2}, {3, 6}};

/* Wide products without optimisation take minutes. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
enum { LARGE = 0 };
#else
enum { LARGE = 1 };
#endif

typedef struct Listener {
    TensorFile *golden;
    const char *prefix;
    int seen;
} Listener;

static void listen(void *user, const char *name, Tensor *x)
{
    Listener *l = user;
    char full[64];
    snprintf(full, sizeof full, "%s%s", l->prefix, name);
    golden_compare(l->golden, full, x, false, GOLDEN_MAX, test_tolerance(TOL_SWIN));
    l->seen++;
}

static void open_model(Rig *r, Weights *w, Swin *m, SwinConfig c, bool trainable)
{
    Error e = {0};
    rig_open(r, test_device());
    weights_init(w, &r->weights, &r->state, &r->params, 1);
    w->trainable = trainable;
    w->generator = golden_weight;
    w->prefix = vision;
    ck_assert_msg(swin_create(m, w, c, &e), "%s", e.msg);
    params_alloc(&r->params);
    ck_assert_msg(weights_fill(w, &e), "%s", e.msg);
}

START_TEST(swin_t_whole)
{
    if (!LARGE || !test_affords("swin_t_whole", 9)) return;
    Rig r;
    Weights w;
    Swin m;
    Listener l = {golden_open("tests/golden/swin.safetensors"), "full.", 0};
    open_model(&r, &w, &m, swin_t, false);
    r.tape.tap = listen;
    r.tape.tap_user = &l;
    Tensor *x = golden_fill(tensor_f32(&r.state, 1, 224, 224, 3), "image224", GOLDEN_INPUTS, 2, true);
    swin_forward(&r.tape, &m, x);
    ck_assert_int_eq(l.seen, 1 + 12 + 3 + 2);
    tensor_file_close(l.golden);
    weights_close(&w);
    rig_close(&r);
}
END_TEST

START_TEST(swin_small)
{
    Rig r;
    Weights w;
    Swin m;
    Listener l = {golden_open("tests/golden/swin.safetensors"), "tiny.", 0};
    open_model(&r, &w, &m, tiny, true);
    Tape *t = &r.tape;
    t->tap = listen;
    t->tap_user = &l;
    t->recording = true;
    Tensor *x = golden_fill(tensor_f32(&r.state, 2, 36, 36, 3), "image36", GOLDEN_INPUTS, 2, true);
    x->needs_grad = true;
    x->grad = tensor_zeros(&r.state, DTYPE_f32, 4, x->dim);
    Tensor *y = swin_forward(t, &m, x);
    ck_assert_int_eq(l.seen, 1 + 4 + 1 + 2);
    Tensor *dy = golden_fill(tensor_f32(&r.state, 2, 48, 0, 0), "pooled.dy", GOLDEN_INPUTS, 1, false);
    tape_backward(t, op_sum(t, op_mul(t, y, dy), 1));
    golden_compare(l.golden, "tiny.dx", x->grad, true, GOLDEN_L2, test_tolerance(TOL_SWIN));
    for (int i = 0; i < w.n; i++) {
        const WeightsItem *item = &w.item[i];
        char name[192];
        if (strstr(item->name, "key.bias")) continue; /* moves a query's scores alike: 0 but for rounding */
        snprintf(name, sizeof name, "tiny.d.%s", item->name);
        golden_compare(l.golden, name, item->tensor->grad, item->spec.kind == WEIGHT_CONV, GOLDEN_L2,
                       test_tolerance(TOL_SWIN));
    }
    tensor_file_close(l.golden);
    weights_close(&w);
    rig_close(&r);
}
END_TEST

/* Sizes come back from a file's shapes, and so does the feature, bit for bit. */
START_TEST(file)
{
    Rig r;
    Weights w, again;
    Swin m, from_file;
    Error e = {0};
    float y[2][2 * 48];
    open_model(&r, &w, &m, tiny, true);
    ck_assert_msg(weights_save((Weights *[]){&w}, 1, false, NULL, test_path(), &e), "%s", e.msg);
    weights_init(&again, &r.weights, &r.state, NULL, 0);
    again.prefix = vision;
    ck_assert_msg(weights_open(&again, test_path(), &e) && swin_open(&from_file, &again, &e), "%s", e.msg);
    ck_assert_mem_eq(&from_file.config, &m.config, sizeof tiny);
    Tensor *x = golden_fill(tensor_f32(&r.state, 2, 36, 36, 3), "image36", GOLDEN_INPUTS, 2, true);
    tensor_download(swin_forward(&r.tape, &m, x), y[0]);
    tensor_download(swin_forward(&r.tape, &from_file, x), y[1]);
    ck_assert_mem_eq(y[0], y[1], sizeof y[0]);
    unlink(test_path());
    weights_close(&again);
    weights_close(&w);
    rig_close(&r);
}
END_TEST

static void expect_open_error(const char *drop, const char *resized, const char *message)
{
    Rig r;
    Weights w;
    Swin m;
    Error e = {0};
    open_model(&r, &w, &m, tiny, true);
    for (int i = w.n - 1; i >= 0; i--) {
        if (drop && strstr(w.item[i].name, drop)) w.item[i] = w.item[--w.n];
        if (resized && strstr(w.item[i].name, resized)) w.item[i].tensor->dim[0]--, w.item[i].spec.dim[0]--;
    }
    ck_assert(weights_save((Weights *[]){&w}, 1, false, NULL, test_path(), &e));
    weights_close(&w);
    weights_init(&w, &r.weights, &r.state, NULL, 1);
    w.prefix = vision;
    ck_assert(weights_open(&w, test_path(), &e));
    ck_assert(!swin_open(&m, &w, &e));
    ck_assert_str_eq(after_path(e.msg), message);
    ck_assert_int_eq(e.code, ERROR_INPUT);
    weights_close(&w);
    unlink(test_path());
    rig_close(&r);
}

START_TEST(file_faults)
{
    expect_open_error("projection.weight", NULL,
                      "tensor vision_model.model.embeddings.patch_embeddings.projection.weight is missing");
    expect_open_error("layers.1.blocks.1.output.dense.bias", NULL,
                      "tensor vision_model.model.encoder.layers.1.blocks.1.output.dense.bias is missing: "
                      "expected shape [48]");
    expect_open_error(
        NULL, "layers.0.blocks.0.attention.self.relative_position_bias_table",
        "tensor vision_model.model.encoder.layers.0.blocks.0.attention.self.relative_position_bias_table: "
        "expected "
        "(2 window - 1)^2 rows, found 48");
    expect_open_error(NULL, "layers.1.blocks.0.attention.self.relative_position_bias_table",
                      "tensor vision_model.model.encoder.layers.1.blocks.0.attention.self."
                      "relative_position_bias_table: expected shape [49,6], found [48,6]");
    expect_open_error(NULL, "layers.0.blocks.0.intermediate.dense.weight",
                      "tensor vision_model.model.encoder.layers.0.blocks.0.intermediate.dense.weight: expected "
                      "shape [72,24], found [95,24]");
}
END_TEST

START_TEST(sides)
{
    Swin m = {.config = swin_t};
    Error e = {0};
    ck_assert(swin_check_side(&m, 224, &e));
    ck_assert(swin_check_side(&m, 256, &e));
    ck_assert(!swin_check_side(&m, 192, &e));
    ck_assert_str_eq(e.msg,
                     "images of 192 px for a Swin of patch 4, window 7 and 4 stages: expected a multiple "
                     "of 32, at least 224");
    ck_assert(!swin_check_side(&m, 240, &e));
    m.config = tiny;
    ck_assert(swin_check_side(&m, 36, &e));
    ck_assert(!swin_check_side(&m, 38, &e));
    ck_assert(!swin_check_side(&m, 12, &e));
}
END_TEST

/* Swin-T, and that a deeper one needs no more memory to run. */
static size_t inference_peak(SwinConfig c, int64_t side, int64_t params)
{
    Rig r;
    Weights w;
    Swin m;
    rig_open(&r, &backend_plan);
    weights_init(&w, &r.weights, &r.state, &r.params, 1);
    w.trainable = true;
    ck_assert(swin_create(&m, &w, c, NULL));
    if (params) ck_assert_int_eq(params_count(&r.params), params);
    params_alloc(&r.params);
    swin_forward(&r.tape, &m, tensor_f32(&r.state, 2, side, side, 3));
    size_t peak = r.step.peak;
    weights_close(&w);
    rig_close(&r);
    return peak;
}

START_TEST(public_size)
{
    SwinConfig deep = tiny;
    deep.depth[0] = 9;
    inference_peak(swin_t, 224, 27519354);
    ck_assert_uint_eq(inference_peak(deep, 36, 0), inference_peak(tiny, 36, 0));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {swin_t_whole, swin_small, file, file_faults, sides, public_size};
    return run_tests("swin", tests, sizeof tests / sizeof *tests);
}
