/* The trainable head against torch: train and eval mode, running statistics, every gradient, the four modes. */
#include "models/visual.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"
#include <string.h>
#include <unistd.h>

enum { C = 32, D = 20, M = 24 };

typedef struct Listener {
    SafeTensors *golden;
    const char *prefix;
    int seen;
} Listener;

static void listen(void *user, const char *name, Tensor *x)
{
    Listener *l = user;
    char full[64];
    snprintf(full, sizeof full, "%s.%s", l->prefix, name);
    golden_compare(l->golden, full, x, x->ndim == 4, GOLDEN_MAX, 1e-5);
    l->seen++;
}

static void open_head(Rig *r, Weights *w, Visual *v, HvMode mode)
{
    Error e = {0};
    rig_open(r, &backend_cpu);
    weights_init(w, &r->weights, &r->state, &r->params, 1);
    w->trainable = true;
    w->generator = golden_weight;
    ck_assert_msg(visual_create(v, w, C, D, 12, mode, &e), "%s", e.msg);
    params_alloc(&r->params);
    ck_assert_msg(weights_fill(w, &e), "%s", e.msg);
}

static void golden_step(Rig *r, Weights *w, const Visual *v, Listener *l, bool train)
{
    Tape *t = &r->tape;
    Tensor *grid = golden_fill(tensor_f32(&r->state, M, 14, 14, C), "grid2", GOLDEN_INPUTS, 2, true);
    Tensor *pooled = golden_fill(tensor_f32(&r->state, M, C, 0, 0), "pooled", GOLDEN_INPUTS, 2, false);
    Tensor *dy = golden_fill(tensor_f32(&r->state, 1, 48, D, 0), "hv.dy", GOLDEN_INPUTS, 1, false);
    char name[192];
    l->prefix = train ? "train" : "eval";
    l->seen = 0;
    params_zero_grad(&r->params);
    grid->needs_grad = true;
    grid->grad = tensor_zeros(&r->state, DTYPE_f32, 4, grid->dim);
    t->recording = true;
    Tensor *hv = visual_forward(t, v, grid, pooled, train); /* (1,48,D) */
    ck_assert_int_eq(l->seen, 3);
    tape_backward(t, op_sum(t, op_mul(t, hv, dy), 1));
    tape_reset(t);
    snprintf(name, sizeof name, "%s.dgrid", l->prefix);
    golden_compare(l->golden, name, grid->grad, true, GOLDEN_L2, 1e-5);
    for (int i = 0; i < w->n; i++) {
        const WeightsItem *item = &w->item[i];
        bool buffer = item->spec.kind == WEIGHT_BUFFER;
        bool in_hv = strstr(item->name, "local_res.") || strstr(item->name, "_projector.");
        if ((buffer && !train) || !in_hv) continue;
        snprintf(name, sizeof name, "%s.%s.%s", l->prefix, buffer ? "after" : "d", item->name);
        golden_compare(l->golden, name, buffer ? item->tensor : item->tensor->grad,
                       item->spec.kind == WEIGHT_CONV, buffer ? GOLDEN_MAX : GOLDEN_L2, 1e-5);
    }
}

/* In this order: the reference's eval pass follows its training pass. */
START_TEST(golden)
{
    Rig r;
    Weights w;
    Visual v;
    Listener l = {golden_open("tests/golden/visual.safetensors"), "", 0};
    open_head(&r, &w, &v, HV_CONCAT48);
    r.tape.tap = listen;
    r.tape.tap_user = &l;
    golden_step(&r, &w, &v, &l, true);
    golden_step(&r, &w, &v, &l, false);
    safetensors_close(l.golden);
    weights_close(&w);
    rig_close(&r);
}
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
    weights_close(&w);
    rig_close(&r);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {golden, modes_and_file, public_size};
    return run_tests("visual", tests, sizeof tests / sizeof *tests);
}
