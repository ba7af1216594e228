#include "models/visual.h"
#include <stdio.h>
#include <string.h>

static const char *const modes[] = {"local24", "concat48", "global24", "sum24"};
static const BatchnormParams batchnorm = {.eps = 1e-5f, .momentum = 0.1f};

const char *hv_name(HvMode mode) { return modes[mode]; }

bool hv_parse(const char *name, HvMode *mode)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(name, modes[i])) {
            *mode = (HvMode)i;
            return true;
        }
    return false;
}

int hv_slots(HvMode mode) { return mode == HV_CONCAT48 ? 2 * VISUAL_SLICES : VISUAL_SLICES; }

static VisualConv open_conv(Weights *w, int64_t C, int64_t k, const char *conv, const char *bn)
{
    WeightSpec one = {{C}, .init = INIT_ONES}, zero = {{C}, .init = INIT_ZEROS};
    VisualConv c = {0};
    c.weight =
        weights_get(w, (WeightSpec){{C, k, k, C}, WEIGHT_CONV, INIT_LINEAR, 0}, "local_res.%s.weight", conv);
    c.gamma = weights_get(w, one, "local_res.%s.weight", bn);
    c.beta = weights_get(w, zero, "local_res.%s.bias", bn);
    one.kind = zero.kind = WEIGHT_BUFFER;
    c.mean = weights_get(w, zero, "local_res.%s.running_mean", bn);
    c.var = weights_get(w, one, "local_res.%s.running_var", bn);
    return c;
}

static void open_linear(Weights *w, Tensor **weight, Tensor **bias, int64_t out, int64_t in, const char *name)
{
    *weight = weights_get(w, (WeightSpec){{out, in}, .init = INIT_LINEAR}, "%s.weight", name);
    *bias = weights_get(w, (WeightSpec){{out}, .init = INIT_LINEAR, .a = (float)in}, "%s.bias", name);
}

bool visual_create(Visual *v, Weights *w, int64_t channels, int64_t dim, HvMode mode, Error *e)
{
    *v = (Visual){.channels = channels, .dim = dim, .mode = mode};
    for (int b = 0; b < 2; b++)
        for (int i = 0; i < 2; i++) {
            char conv[32], bn[32];
            snprintf(conv, sizeof conv, "%d.conv%d", b, i + 1);
            snprintf(bn, sizeof bn, "%d.bn%d", b, i + 1);
            v->conv[b][i] = open_conv(w, channels, 3, conv, bn);
        }
    v->shortcut = open_conv(w, channels, 2, "0.downsample.0", "0.downsample.1");
    open_linear(w, &v->local_weight, &v->local_bias, dim, channels, "local_visual_projector");
    if (mode != HV_LOCAL24) {
        open_linear(w, &v->global_weight[0], &v->global_bias[0], dim, channels, "global_visual_projector.0");
        open_linear(w, &v->global_weight[1], &v->global_bias[1], dim, dim, "global_visual_projector.1");
    }
    weights_set_meta(w, "visual.hv", "%s", hv_name(mode));
    return weights_ok(w, e);
}

bool visual_open(Visual *v, Weights *w, Error *e)
{
    int64_t dim[2] = {0};
    HvMode mode = HV_LOCAL24;
    const char *name = weights_meta(w, "visual.hv");
    if (name && !hv_parse(name, &mode))
        weights_fail(w, "metadata visual.hv: expected local24, concat48, global24 or sum24, found \"%.40s\"",
                     name);
    if (!weights_shape(w, 2, dim, "local_visual_projector.weight")) return weights_ok(w, e);
    return visual_create(v, w, dim[1], dim[0], mode, e);
}

static Tensor *conv_norm(Tape *t, const VisualConv *c, Tensor *x, int stride, int pad, bool train)
{
    BatchnormParams p = batchnorm;
    p.train = train;
    Tensor *y = op_conv2d(t, x, c->weight, NULL, stride, pad);
    return op_batchnorm(t, y, c->gamma, c->beta, c->mean, c->var, p);
}

/* BasicBlock: x -> relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)). */
static Tensor *basic_block(Tape *t, const VisualConv conv[2], const VisualConv *shortcut, Tensor *x, bool train)
{
    int stride = shortcut ? 2 : 1;
    Tensor *y = op_relu(t, conv_norm(t, &conv[0], x, stride, 1, train));
    y = conv_norm(t, &conv[1], y, 1, 1, train);
    if (shortcut) x = conv_norm(t, shortcut, x, stride, 0, train);
    return op_relu(t, op_add(t, y, x));
}

Tensor *visual_local(Tape *t, const Visual *v, Tensor *grid, bool train)
{
    if (grid->ndim != 4 || grid->dim[3] != v->channels || grid->dim[1] % 2 || grid->dim[2] % 2)
        die("visual: expected a grid (M,h,w,%lld) of even sides, got %s", (long long)v->channels,
            tensor_text(grid));
    ArenaMark mark = arena_mark(t->step);
    Tensor *y = tape_keep(t, mark, basic_block(t, v->conv[0], &v->shortcut, grid, train));
    tape_tap(t, y, "local_res.0");
    y = tape_keep(t, mark, basic_block(t, v->conv[1], NULL, y, train));
    tape_tap(t, y, "local_res.1");
    return y;
}

static Tensor *local_tokens(Tape *t, const Visual *v, Tensor *grid, bool train)
{
    Tensor *V = visual_local(t, v, grid, train); /* (M,h/2,w/2,C) */
    const int64_t dim[2] = {V->dim[0], v->channels};
    Tensor *pooled = tensor_reshape(t->step, op_adaptive_pool(t, V, 1, 1), 2, dim); /* (M,C) */
    return op_linear(t, pooled, v->local_weight, v->local_bias, NULL);              /* (M,D) */
}

static Tensor *global_tokens(Tape *t, const Visual *v, Tensor *pooled)
{
    if (!pooled) die("visual: mode %s needs pooled features", hv_name(v->mode));
    Tensor *y = op_linear(t, pooled, v->global_weight[0], v->global_bias[0], NULL);
    return op_linear(t, y, v->global_weight[1], v->global_bias[1], NULL); /* (M,D) */
}

Tensor *visual_forward(Tape *t, const Visual *v, Tensor *grid, Tensor *pooled, bool train)
{
    int64_t M = v->mode == HV_GLOBAL24 ? pooled->dim[0] : grid->dim[0];
    if (M % VISUAL_SLICES) die("visual: %lld slices are not whole studies of %d", (long long)M, VISUAL_SLICES);
    const int64_t dim[3] = {M / VISUAL_SLICES, VISUAL_SLICES, v->dim};
    Tensor *hv = NULL, *local = NULL, *global = NULL;
    if (v->mode != HV_GLOBAL24) local = tensor_reshape(t->step, local_tokens(t, v, grid, train), 3, dim);
    if (v->mode != HV_LOCAL24) global = tensor_reshape(t->step, global_tokens(t, v, pooled), 3, dim);
    switch (v->mode) {
    case HV_LOCAL24: hv = local; break;
    case HV_GLOBAL24: hv = global; break;
    case HV_CONCAT48: hv = op_concat(t, local, global, 1); break;
    case HV_SUM24: hv = op_add(t, local, global); break;
    }
    tape_tap(t, hv, "hv");
    return hv;
}
