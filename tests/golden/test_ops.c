/* Single ops against torch in double: convolution and its transpose, BatchNorm, pools, resizing, cross-entropy
 * at LLaMA 3's vocabulary, AdamW under a step schedule; and the shared generator itself. */
#include "tests/golden/op_case.h"
#include "tests/models/main.h"

static void change(Tensor *x, float (*f)(float))
{
    float *host = host_copy(x);
    for (int64_t i = 0; i < tensor_len(x); i++) host[i] = f(host[i]);
    tensor_upload(x, host);
    free(host);
}

START_TEST(shared_generator)
{
    TensorFile *p = golden_open("tests/golden/philox.safetensors");
    Error e = {0};
    float want[1023], got[1023];
    ck_assert(tensor_file_load_f32(p, "fill", 1, (int64_t[]){1023}, want, &e));
    rng_fill(got, 1023, 1234, "model.layers.0.self_attn.q_proj.weight", 0.05f);
    ck_assert_mem_eq(got, want, sizeof got);
    ck_assert(tensor_file_load_f32(p, "dropout", 1, (int64_t[]){1023}, want, &e));
    for (uint64_t i = 0; i < 1023; i++)
        ck_assert_float_eq(dropout_scale((uint64_t)8244 << 32 | 77, 5, i, 0.05f), want[i]);
    tensor_file_close(p);
}
END_TEST

/* The sides and, in turn, the channels of convolution and BatchNorm. */
static const int64_t grid_side[4] = {7, 14, 15, 33},
                     grid_channels[4][2] = {{8, 16}, {64, 64}, {16, 8}, {64, 16}};

START_TEST(conv2d)
{
    static const struct {
        const char *name;
        int64_t k;
        int stride, pad;
    } kinds[] = {{"conv7", 7, 2, 3},
                 {"conv3", 3, 1, 1},
                 {"conv3s2", 3, 2, 1},
                 {"conv1s2", 1, 2, 0},
                 {"conv2s2", 2, 2, 0}};
    for (int i = 0; i < 5 * 4; i++) {
        Rig r;
        char name[32], at[16];
        rig_open(&r, test_device());
        r.tape.recording = true;
        int64_t side = grid_side[i % 4], k = kinds[i / 4].k, c = grid_channels[(i / 4 + i) % 4][0],
                o = grid_channels[(i / 4 + i) % 4][1];
        snprintf(at, sizeof at, "%s.%d", kinds[i / 4].name, (int)side);
        snprintf(name, sizeof name, "%s.x", at);
        Tensor *x = leaf(&r, name, 2, side, side, c, GOLDEN_INPUTS, 1);
        snprintf(name, sizeof name, "%s.w", at);
        Tensor *w = leaf(&r, name, o, k, k, c, GOLDEN_INPUTS, 0.3f);
        snprintf(name, sizeof name, "%s.b", at);
        Tensor *b = leaf(&r, name, o, 0, 0, 0, GOLDEN_INPUTS, 1);
        backward(&r, at, op_conv2d(&r.tape, x, w, b, kinds[i / 4].stride, kinds[i / 4].pad), GOLDEN_MAX,
                 test_tolerance(TOL_PRODUCT));
        gradient(at, "x", x, test_tolerance(TOL_PRODUCT));
        gradient(at, "w", w, test_tolerance(TOL_PRODUCT));
        gradient(at, "b", b, test_tolerance(TOL_PRODUCT));
        rig_close(&r);
    }
}
END_TEST

START_TEST(deconv2d)
{
    static const struct {
        const char *name;
        int64_t c, o, side, k;
        int pad;
    } cases[] = {{"deconv7", 8, 16, 7, 2, 0},
                 {"deconv14", 64, 8, 14, 2, 0},
                 {"deconv15", 16, 64, 15, 2, 0},
                 {"deconv33", 32, 16, 33, 2, 0},
                 {"deconv4", 8, 8, 15, 4, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Rig r;
        char name[32];
        rig_open(&r, test_device());
        r.tape.recording = true;
        int64_t c = cases[i].c, o = cases[i].o, side = cases[i].side, k = cases[i].k;
        snprintf(name, sizeof name, "%s.x", cases[i].name);
        Tensor *x = leaf(&r, name, 2, side, side, c, GOLDEN_INPUTS, 1);
        snprintf(name, sizeof name, "%s.w", cases[i].name);
        Tensor *w = leaf(&r, name, c, k, k, o, GOLDEN_INPUTS, 0.3f);
        snprintf(name, sizeof name, "%s.b", cases[i].name);
        Tensor *b = leaf(&r, name, o, 0, 0, 0, GOLDEN_INPUTS, 1);
        backward(&r, cases[i].name, op_deconv2d(&r.tape, x, w, b, 2, cases[i].pad), GOLDEN_MAX,
                 test_tolerance(TOL_PRODUCT));
        gradient(cases[i].name, "x", x, test_tolerance(TOL_PRODUCT));
        gradient(cases[i].name, "w", w, test_tolerance(TOL_PRODUCT));
        gradient(cases[i].name, "b", b, test_tolerance(TOL_PRODUCT));
        rig_close(&r);
    }
}
END_TEST

static float raised(float x) { return x + 1.5f; }

/* Three steps of training, then one that uses what they left. */
static void batchnorm_at(int64_t side, int64_t c)
{
    Rig r;
    char at[16], name[32];
    rig_open(&r, test_device());
    BatchnormParams p = {.eps = 1e-5f, .momentum = 0.1f};
    snprintf(at, sizeof at, "bn.%d", (int)side);
    snprintf(name, sizeof name, "%s.w", at);
    Tensor *w = leaf(&r, name, c, 0, 0, 0, GOLDEN_INPUTS, 1);
    snprintf(name, sizeof name, "%s.b", at);
    Tensor *b = leaf(&r, name, c, 0, 0, 0, GOLDEN_INPUTS, 1);
    Tensor *mean = tensor_f32(&r.state, c, 0, 0, 0), *var = tensor_f32(&r.state, c, 0, 0, 0);
    tensor_fill(mean, 0);
    tensor_fill(var, 1);
    change(w, raised);
    for (int step = 0; step < 4; step++) {
        p.train = step < 3;
        r.tape.recording = true;
        tensor_fill(w->grad, 0);
        tensor_fill(b->grad, 0);
        snprintf(name, sizeof name, "%s.x%d", at, step % 3);
        Tensor *x = leaf(&r, name, 2, side, side, c, GOLDEN_INPUTS, 2),
               *y = op_batchnorm(&r.tape, x, w, b, mean, var, p);
        if (step < 2) {
            tape_reset(&r.tape);
            continue;
        }
        snprintf(name, sizeof name, "%s.%s", at, p.train ? "train" : "eval");
        backward(&r, name, y, GOLDEN_MAX, 1e-5);
        gradient(name, "x", x, 1e-5);
        gradient(name, "w", w, 1e-5);
        gradient(name, "b", b, 1e-5);
        snprintf(name, sizeof name, "%s.mean", at);
        golden_compare(g, name, mean, false, GOLDEN_MAX, 1e-5);
        snprintf(name, sizeof name, "%s.var", at);
        golden_compare(g, name, var, false, GOLDEN_MAX, 1e-5);
    }
    rig_close(&r);
}

START_TEST(batchnorm)
{
    for (int i = 0; i < 4; i++) batchnorm_at(grid_side[i], grid_channels[i][0]);
}
END_TEST

START_TEST(pools)
{
    static const struct {
        const char *name;
        int64_t side;
        int out, pad; /* out 0: max-pool 3x3 stride 2; pad -1: none, in ceil mode */
    } cases[] = {{"max33", 33, 0, 1},       {"max14", 14, 0, -1},      {"max15", 15, 0, -1},
                 {"adaptive16", 16, 14, 0}, {"adaptive17", 17, 14, 0}, {"adaptive14", 14, 14, 0},
                 {"global7", 7, 1, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Rig r;
        char name[32];
        int out = cases[i].out, pad = cases[i].pad;
        rig_open(&r, test_device());
        r.tape.recording = true;
        snprintf(name, sizeof name, "%s.x", cases[i].name);
        Tensor *x = leaf(&r, name, 2, cases[i].side, cases[i].side, 8, GOLDEN_INPUTS, 1);
        backward(&r, cases[i].name,
                 out ? op_adaptive_pool(&r.tape, x, out, out)
                     : op_max_pool(&r.tape, x, 3, 2, pad < 0 ? 0 : pad, pad < 0),
                 GOLDEN_MAX, 1e-5);
        gradient(cases[i].name, "x", x, 1e-5);
        rig_close(&r);
    }
}
END_TEST

/* Nearest bit by bit; area is adaptive pooling. */
START_TEST(resize)
{
    static const int sides[] = {14, 28, 7};
    Rig r;
    Error e = {0};
    float want[28 * 28], got[28 * 28];
    rig_open(&r, test_device());
    r.tape.recording = true;
    Tensor *mask = leaf(&r, "resize.mask", 1, 512, 512, 1, GOLDEN_INPUTS, 1);
    for (int i = 0; i < 3; i++) {
        char name[32];
        int side = sides[i];
        snprintf(name, sizeof name, "nearest%d", side);
        ck_assert_msg(tensor_file_load_f32(g, name, 2, (int64_t[]){side, side}, want, &e), "%s", e.msg);
        Tensor *y = op_resize(&r.tape, mask, side, side, RESIZE_NEAREST);
        tensor_download(y, got);
        ck_assert_mem_eq(got, want, (size_t)(side * side) * sizeof *want);
    }
    golden_compare(g, "area14", op_resize(&r.tape, mask, 14, 14, RESIZE_AREA), true, GOLDEN_MAX, 1e-6);
    tape_reset(&r.tape);
    Tensor *x = leaf(&r, "bilinear.x", 1, 256, 256, 1, GOLDEN_INPUTS, 1);
    Tensor *up = op_resize(&r.tape, x, 1024, 1024, RESIZE_BILINEAR);
    golden_compare(g, "bilinear.up", up, true, GOLDEN_MAX, 1e-6);
    backward(&r, "bilinear", op_resize(&r.tape, up, 512, 512, RESIZE_BILINEAR), GOLDEN_MAX, 1e-6);
    gradient("bilinear", "x", x, 1e-6);
    x = leaf(&r, "ragged.x", 2, 33, 15, 3, GOLDEN_INPUTS, 1);
    backward(&r, "ragged", op_resize(&r.tape, x, 14, 70, RESIZE_BILINEAR), GOLDEN_MAX, 1e-6);
    gradient("ragged", "x", x, 1e-6);
    x = leaf(&r, "adaptive17.x", 2, 17, 17, 8, GOLDEN_INPUTS, 1);
    backward(&r, "adaptive17", op_resize(&r.tape, x, 14, 14, RESIZE_AREA), GOLDEN_MAX, 1e-6);
    gradient("adaptive17", "x", x, 1e-6);
    rig_close(&r);
}
END_TEST

static float quarters(float x) { return floorf(4 * x); }

/* Eight values in rows of twelve: the gradient says which of equal maxima won. */
START_TEST(maximum_with_ties)
{
    Rig r;
    rig_open(&r, test_device());
    r.tape.recording = true;
    Tensor *x = leaf(&r, "reduce_max.x", 2, 12, 10, 0, GOLDEN_INPUTS, 1);
    change(x, quarters);
    backward(&r, "reduce_max", op_reduce_max(&r.tape, x), GOLDEN_MAX, 1e-6);
    gradient("reduce_max", "x", x, 1e-6);
    rig_close(&r);
}
END_TEST

START_TEST(unit_length)
{
    Rig r;
    rig_open(&r, test_device());
    r.tape.recording = true;
    Tensor *x = leaf(&r, "l2norm.x", 37, 64, 0, 0, GOLDEN_INPUTS, 2);
    backward(&r, "l2norm", op_l2norm(&r.tape, x), GOLDEN_MAX, 1e-6);
    gradient("l2norm", "x", x, 1e-6);
    rig_close(&r);
}
END_TEST

START_TEST(cross_entropy)
{
    enum { R = 70, D = 16, V = 128256 };
    Rig r;
    Error e = {0};
    int32_t label[R];
    rig_open(&r, test_device());
    r.tape.recording = true;
    Tensor *h = leaf(&r, "ce.h", R, D, 0, 0, GOLDEN_INPUTS, 2),
           *w = leaf(&r, "ce.w", V, D, 0, 0, GOLDEN_WEIGHTS, 1);
    const TensorEntry *entry = tensor_file_find(g, "ce.label");
    ck_assert(entry && entry->size == sizeof label && tensor_file_read(g, entry, label, &e));
    Tensor *labels = tensor_new(&r.state, DTYPE_i32, 1, (int64_t[]){R});
    tensor_upload(labels, label);
    Tensor *loss = op_cross_entropy(&r.tape, h, w, labels, true);
    golden_compare(g, "ce.loss", loss, false, GOLDEN_MAX, 1e-5);
    tape_backward(&r.tape, loss);
    golden_compare(g, "ce.dh", h->grad, false, GOLDEN_L2, test_tolerance(TOL_PRODUCT));
    golden_compare(g, "ce.dw", w->grad, false, GOLDEN_L2, test_tolerance(TOL_PRODUCT));
    rig_close(&r);
}
END_TEST

START_TEST(adamw)
{
    Rig r;
    rig_open(&r, test_device());
    Tensor *w = leaf(&r, "adamw.w", 64, 0, 0, 0, GOLDEN_INPUTS, 1);
    Tensor *m = tensor_zeros(&r.state, DTYPE_f32, 1, w->dim), *v = tensor_zeros(&r.state, DTYPE_f32, 1, w->dim);
    AdamwParams p = {1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f, 1, 0};
    for (int step = 1; step <= 100; step++) {
        char name[32];
        snprintf(name, sizeof name, "adamw.g%d", step);
        golden_fill(w->grad, name, GOLDEN_INPUTS, 1, false);
        p.step = step;
        p.lr = (float)(1e-3 * pow(0.85, (step - 1) / 10));
        op_adamw(&r.tape, w, w->grad, m, v, p);
        if (step != 1 && step != 10 && step != 50 && step != 100) continue;
        snprintf(name, sizeof name, "adamw.%d", step);
        golden_compare(g, name, w, false, GOLDEN_MAX, 1e-6);
    }
    rig_close(&r);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {shared_generator,  conv2d,      deconv2d,      batchnorm, pools, resize,
                                  maximum_with_ties, unit_length, cross_entropy, adamw};
    Error e = {0};
    g = safetensors_open("tests/golden/ops.safetensors", &e);
    if (!g) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    int failed = run_tests("ops", tests, sizeof tests / sizeof *tests);
    tensor_file_close(g);
    return failed;
}
