/* The trainable head against torch: train and eval mode, running statistics, every gradient, the four modes. */
#include "models/visual.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include <string.h>
#include <unistd.h>

enum { C = 32, D = 20, E = 12, M = 24, MASKS = 6 };

typedef struct Listener {
    TensorFile *golden;
    const char *prefix;
    int seen;
} Listener;

static void listen(void *user, const char *name, Tensor *x)
{
    Listener *l = user;
    char full[64];
    snprintf(full, sizeof full, "%s.%s", l->prefix, name);
    golden_compare(l->golden, full, x, x->ndim == 4, GOLDEN_MAX, test_tolerance(TOL_HEAD));
    l->seen++;
}

static void open_head(Rig *r, Weights *w, Visual *v, HvMode mode)
{
    Error e = {0};
    rig_open(r, test_device());
    weights_init(w, &r->weights, &r->state, &r->params, 1);
    w->trainable = true;
    w->generator = golden_weight;
    ck_assert_msg(visual_create(v, w, C, D, E, mode, &e), "%s", e.msg);
    params_alloc(&r->params);
    ck_assert_msg(weights_fill(w, &e), "%s", e.msg);
}

/* Gradients of everything that "joint" or the slots alone reach, and running statistics. */
static void compare_weights(const Listener *l, const Weights *w)
{
    bool joint = !strcmp(l->prefix, "joint"), eval = !strcmp(l->prefix, "eval");
    for (int i = 0; i < w->n; i++) {
        const WeightsItem *item = &w->item[i];
        const WeightKind kind = item->spec.kind;
        bool buffer = kind == WEIGHT_BUFFER;
        bool in_hv = strstr(item->name, "local_res.") || strstr(item->name, "_projector.");
        char name[192];
        if ((buffer && eval) || (!joint && !in_hv) || strstr(item->name, "logit_scale_global")) continue;
        snprintf(name, sizeof name, "%s.%s.%s", l->prefix, buffer ? "after" : "d", item->name);
        golden_compare(l->golden, name, buffer ? item->tensor : item->tensor->grad,
                       kind == WEIGHT_CONV || kind == WEIGHT_DECONV, buffer ? GOLDEN_MAX : GOLDEN_L2,
                       test_tolerance(TOL_HEAD));
    }
}

/* sum of x * NAME.dy; x is a tap. */
static Tensor *weighted(Rig *r, Listener *l, const char *name, Tensor *x)
{
    char full[64];
    if (strcmp(name, "hv") && strcmp(name, "segment")) listen(l, name, x);
    snprintf(full, sizeof full, "%s.dy", name);
    Tensor *dy = tensor_f32(&r->state, x->dim[0], x->dim[1], x->dim[2], x->dim[3]);
    golden_fill(dy, full, GOLDEN_INPUTS, 1, x->ndim == 4);
    return op_sum(&r->tape, op_mul(&r->tape, x, dy), 1);
}

/* The segmentation head on six slices, the alignments' Linears, a contrast at the learnable scale. */
static Tensor *heads(Rig *r, Listener *l, const Visual *v, const VisualTokens *y)
{
    static const int32_t slice[MASKS] = {0, 3, 4, 11, 17, 23};
    Tape *t = &r->tape;
    Tensor *row = tensor_new(&r->state, DTYPE_i32, 1, (int64_t[]){MASKS});
    Tensor *local = golden_fill(tensor_f32(&r->state, MASKS, D, 0, 0), "local_text", GOLDEN_INPUTS, 2, false);
    Tensor *global = golden_fill(tensor_f32(&r->state, 1, D, 0, 0), "global_text", GOLDEN_INPUTS, 2, false);
    tensor_upload(row, slice);
    Tensor *most = op_reduce_max(t, tensor_reshape(t->step, y->global, 3, (int64_t[]){1, M, D})); /* (1,D) */
    Tensor *R_v = visual_linear(t, &v->local_visual, op_select(t, y->local, row)),
           *R_w = visual_linear(t, &v->local_text, local); /* (6,E) */
    Tensor *sum = weighted(r, l, "segment", visual_segment(t, v, op_select(t, y->V, row)));
    sum = op_add(t, sum, weighted(r, l, "local_visual", R_v));
    sum = op_add(t, sum, weighted(r, l, "local_text", R_w));
    sum = op_add(t, sum, weighted(r, l, "global_visual", visual_linear(t, &v->global_visual, most)));
    sum = op_add(t, sum, weighted(r, l, "global_text", visual_linear(t, &v->global_text, global)));
    Tensor *contrast = op_infonce(t, R_v, R_w, v->local_scale, NULL, (InfonceParams){1, 1, 0, true, true});
    listen(l, "contrast", contrast);
    return op_add(t, sum, contrast);
}

static void golden_step(Rig *r, Weights *w, const Visual *v, Listener *l, const char *mode)
{
    Tape *t = &r->tape;
    Tensor *grid = golden_fill(tensor_f32(&r->state, M, 14, 14, C), "grid2", GOLDEN_INPUTS, 2, true);
    Tensor *pooled = golden_fill(tensor_f32(&r->state, M, C, 0, 0), "pooled", GOLDEN_INPUTS, 2, false);
    char name[64];
    bool joint = !strcmp(mode, "joint");
    l->prefix = mode;
    l->seen = 0;
    params_zero_grad(&r->params);
    grid->needs_grad = true;
    grid->grad = tensor_zeros(&r->state, DTYPE_f32, 4, grid->dim);
    t->recording = true;
    VisualTokens y = visual_tokens(t, v, grid, pooled, true, strcmp(mode, "eval"));
    Tensor *sum = weighted(r, l, "hv", y.hv); /* hv (1,48,D) */
    if (joint) sum = op_add(t, sum, heads(r, l, v, &y));
    ck_assert_int_eq(l->seen, joint ? 9 : 3);
    tape_backward(t, sum);
    tape_reset(t);
    snprintf(name, sizeof name, "%s.dgrid", l->prefix);
    golden_compare(l->golden, name, grid->grad, true, GOLDEN_L2, test_tolerance(TOL_HEAD));
    compare_weights(l, w);
}

/* Modes in turn on one head: the reference's eval pass follows its training pass. */
static void check_golden(const char *const *mode, int n)
{
    Rig r;
    Weights w;
    Visual v;
    Listener l = {golden_open("tests/golden/visual.safetensors"), "", 0};
    open_head(&r, &w, &v, HV_CONCAT48);
    r.tape.tap = listen;
    r.tape.tap_user = &l;
    for (int i = 0; i < n; i++) golden_step(&r, &w, &v, &l, mode[i]);
    tensor_file_close(l.golden);
    weights_close(&w);
    rig_close(&r);
}

START_TEST(golden) { check_golden((const char *const[]){"train", "eval"}, 2); }
END_TEST
START_TEST(golden_joint) { check_golden((const char *const[]){"joint"}, 1); }
END_TEST

/* local24 and global24 are the halves of concat48, sum24 their sum; names and statistics survive a file. */
START_TEST(modes_and_file)
{
    Rig r;
    Weights w, again;
    Visual v, from_file;
    Error e = {0};
    float y[4][2 * 24 * D];
    open_head(&r, &w, &v, HV_CONCAT48);
    ck_assert_msg(weights_save((Weights *[]){&w}, 1, false, NULL, test_path(), &e), "%s", e.msg);
    weights_init(&again, &r.weights, &r.state, NULL, 0);
    ck_assert_msg(weights_open(&again, test_path(), &e) && visual_open(&from_file, &again, &e), "%s", e.msg);
    ck_assert_int_eq(from_file.mode, HV_CONCAT48);
    ck_assert_int_eq(from_file.channels, C);
    ck_assert_int_eq(from_file.dim, D);
    Tensor *grid = golden_fill(tensor_f32(&r.state, M, 14, 14, C), "grid2", GOLDEN_INPUTS, 2, true);
    Tensor *pooled = golden_fill(tensor_f32(&r.state, M, C, 0, 0), "pooled", GOLDEN_INPUTS, 2, false);
    for (int i = 0; i < 4; i++) {
        HvMode mode;
        ck_assert(hv_parse(hv_name((HvMode)i), &mode));
        from_file.mode = mode;
        Tensor *hv = visual_forward(&r.tape, &from_file, mode == HV_GLOBAL24 ? NULL : grid,
                                    mode == HV_LOCAL24 ? NULL : pooled, false);
        ck_assert_int_eq(hv->dim[1], hv_slots(mode));
        tensor_download(hv, y[i]);
    }
    ck_assert_mem_eq(y[HV_CONCAT48], y[HV_LOCAL24], 24 * D * sizeof(float));
    ck_assert_mem_eq(y[HV_CONCAT48] + 24 * D, y[HV_GLOBAL24], 24 * D * sizeof(float));
    for (int i = 0; i < 24 * D; i++) ck_assert_float_eq(y[HV_SUM24][i], y[HV_LOCAL24][i] + y[HV_GLOBAL24][i]);
    HvMode mode;
    ck_assert(!hv_parse("local", &mode));
    unlink(test_path());
    weights_close(&again);
    weights_close(&w);
    rig_close(&r);
}
END_TEST

START_TEST(public_size)
{
    Rig r;
    Weights w;
    Visual v;
    rig_open(&r, &backend_plan);
    weights_init(&w, &r.weights, &r.state, &r.params, 1);
    w.trainable = true;
    ck_assert(visual_create(&v, &w, 2048, 4096, 512, HV_CONCAT48, NULL));
    ck_assert_int_eq(params_count(&r.params), 226531331);
    ck_assert(visual_add_bert(&v, &w, 768, NULL));
    ck_assert_int_eq(params_count(&r.params), 226531331 + 787456);
    weights_close(&w);
    rig_close(&r);
}
END_TEST

/* A frozen weight is the same numbers as a trained one, whether its conv keeps a copy of it (small) or not (19
 * MB), and when it has changed since. */
START_TEST(frozen_convs)
{
    enum { SIDE = 4, SMALL = 48, LARGE = 720 };
    for (int64_t width = SMALL; width <= LARGE; width += LARGE - SMALL) {
        if (!test_affords("frozen_convs", 8 * 9e-9 * (double)(width * width * SIDE * SIDE))) continue;
        Rig r;
        rig_open(&r, test_device());
        int64_t n = width * 9 * width, area = SIDE * SIDE * width;
        Tensor *w = tensor_f32(&r.weights, width, 3, 3, width),
               *x = tensor_f32(&r.weights, 1, SIDE, SIDE, width);
        float *host = malloc((size_t)n * sizeof *host),
              *y[2] = {malloc((size_t)area * sizeof *host), malloc((size_t)area * sizeof *host)};
        rng_fill(host, area, 1, "x", 1);
        tensor_upload(x, host);
        for (uint32_t round = 0; round < 2; round++) {
            rng_fill(host, n, round, "w", 0.1f);
            tensor_upload(w, host);
            for (int trained = 0; trained < 2; trained++) {
                w->needs_grad = trained;
                tensor_download(op_conv2d(&r.tape, x, w, NULL, 1, 1), y[trained]);
                tape_reset(&r.tape);
            }
            ck_assert_msg(!memcmp(y[0], y[1], (size_t)area * sizeof *host), "%lld channels, round %u",
                          (long long)width, round);
        }
        free(host);
        free(y[0]);
        free(y[1]);
        rig_close(&r);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {golden, golden_joint, modes_and_file, public_size, frozen_convs};
    return run_tests("visual", tests, sizeof tests / sizeof *tests);
}
