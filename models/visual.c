#include "models/visual.h"
#include <stdio.h>
#include <string.h>

static const char *const modes[] = {"local24", "concat48", "global24", "sum24"};
static const float momentum = 0.1f;

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

static VisualLinear open_linear(Weights *w, int64_t out, int64_t in, const char *name)
{
    return (VisualLinear){
        weights_get(w, (WeightSpec){{out, in}, .init = INIT_LINEAR}, "%s.weight", name),
        weights_get(w, (WeightSpec){{out}, .init = INIT_LINEAR, .a = (float)in}, "%s.bias", name)};
}

static void open_local(Visual *v, Weights *w)
{
    int64_t C = v->channels;
    for (int b = 0; b < 2; b++)
        for (int i = 0; i < 2; i++) {
            char conv[32], bn[32];
            snprintf(conv, sizeof conv, "%d.conv%d", b, i + 1);
            snprintf(bn, sizeof bn, "%d.bn%d", b, i + 1);
            v->conv[b][i] = open_conv(w, C, 3, conv, bn);
        }
    v->shortcut = open_conv(w, C, 2, "0.downsample.0", "0.downsample.1");
    v->local = open_linear(w, v->dim, C, "local_visual_projector");
}

static void open_global(Visual *v, Weights *w)
{
    v->global[0] = open_linear(w, v->dim, v->channels, "global_visual_projector.0");
    v->global[1] = open_linear(w, v->dim, v->dim, "global_visual_projector.1");
}

static void open_segment(Visual *v, Weights *w)
{
    int64_t C = v->channels;
    WeightSpec up = {{C, 2, 2, C}, WEIGHT_DECONV, INIT_LINEAR, 0},
               cell = {{1, 1, 1, C}, WEIGHT_CONV, INIT_LINEAR, 0};
    v->up.weight = weights_get(w, up, "local_seg.0.weight");
    v->up.bias =
        weights_get(w, (WeightSpec){{C}, .init = INIT_LINEAR, .a = (float)(4 * C)}, "local_seg.0.bias");
    v->cell.weight = weights_get(w, cell, "local_seg.2.weight");
    v->cell.bias = weights_get(w, (WeightSpec){{1}, .init = INIT_LINEAR, .a = (float)C}, "local_seg.2.bias");
}

static void open_alignment(Visual *v, Weights *w)
{
    static const float scale = 2.6592f; /* ln(1/0.07) */
    WeightSpec one = {{1}, .init = INIT_CONSTANT, .a = scale};
    v->local_visual = open_linear(w, v->embed, v->dim, "local_visual_embed");
    v->local_text = open_linear(w, v->embed, v->dim, "local_text_embed");
    v->global_visual = open_linear(w, v->embed, v->dim, "global_visual_embed");
    v->global_text = open_linear(w, v->embed, v->dim, "global_text_embed");
    v->local_scale = weights_get(w, one, "local_alignment.logit_scale_local");
    v->global_scale = weights_get(w, one, "global_alignment.logit_scale_global");
}

bool visual_create(Visual *v, Weights *w, int64_t channels, int64_t dim, int64_t embed, HvMode mode, Error *e)
{
    *v = (Visual){.channels = channels, .dim = dim, .embed = embed, .mode = mode, .momentum = momentum};
    open_local(v, w);
    open_segment(v, w);
    open_global(v, w);
    open_alignment(v, w);
    weights_set_meta(w, "visual.hv", "%s", hv_name(mode));
    return weights_ok(w, e);
}

bool visual_add_bert(Visual *v, Weights *w, int64_t width, Error *e)
{
    v->local_text_bert = open_linear(w, v->embed, width, "local_text_embed_bert");
    v->global_text_bert = open_linear(w, v->embed, width, "global_text_embed_bert");
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
    *v = (Visual){.channels = dim[1], .dim = dim[0], .mode = mode, .momentum = momentum};
    open_local(v, w);
    if (weights_entry(w, "local_seg.0.weight")) open_segment(v, w);
    if (mode != HV_LOCAL24) open_global(v, w);
    return weights_ok(w, e);
}

static Tensor *conv_norm(Tape *t, const Visual *v, const VisualConv *c, Tensor *x, int stride, int pad,
                         bool train)
{
    const BatchnormParams p = {.eps = 1e-5f, .momentum = v->momentum, .train = train};
    Tensor *y = op_conv2d(t, x, c->weight, NULL, stride, pad);
    return op_batchnorm(t, y, c->gamma, c->beta, c->mean, c->var, p);
}

/* BasicBlock b: x -> relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)); of the second the shortcut is x itself.
 */
static Tensor *basic_block(Tape *t, const Visual *v, int b, Tensor *x, bool train)
{
    const VisualConv *conv = v->conv[b];
    int stride = b ? 1 : 2;
    Tensor *y = op_relu(t, conv_norm(t, v, &conv[0], x, stride, 1, train));
    y = conv_norm(t, v, &conv[1], y, 1, 1, train);
    if (!b) x = conv_norm(t, v, &v->shortcut, x, stride, 0, train);
    return op_relu(t, op_add(t, y, x));
}

Tensor *visual_local(Tape *t, const Visual *v, Tensor *grid, bool train)
{
    if (!grid) die("visual: mode %s needs the grid", hv_name(v->mode));
    if (grid->ndim != 4 || grid->dim[3] != v->channels || grid->dim[1] % 2 || grid->dim[2] % 2)
        die("visual: expected a grid (M,h,w,%lld) of even sides, got %s", (long long)v->channels,
            tensor_text(grid));
    ArenaMark mark = arena_mark(t->step);
    Tensor *x = op_cast(t, grid, t->compute), *y;
    y = tape_keep(t, mark, basic_block(t, v, 0, x, train));
    tape_tap(t, y, "local_res.0");
    y = tape_keep(t, mark, basic_block(t, v, 1, y, train));
    tape_tap(t, y, "local_res.1");
    return y;
}

Tensor *visual_segment(Tape *t, const Visual *v, Tensor *V)
{
    if (!v->up.weight) die("visual: this head has no local_seg");
    ArenaMark mark = arena_mark(t->step);
    Tensor *y = op_relu(t, op_deconv2d(t, V, v->up.weight, v->up.bias, 2, 0)); /* (n,2h,2w,C) */
    y = op_conv2d(t, y, v->cell.weight, v->cell.bias, 1, 0);
    y = tape_keep(t, mark, op_cast(t, y, DTYPE_f32));
    tape_tap(t, y, "segment");
    return y;
}

Tensor *visual_linear(Tape *t, const VisualLinear *l, Tensor *x)
{
    return op_linear(t, x, l->weight, l->bias, NULL);
}

/* P_l(mean over the cells of V). */
static Tensor *local_tokens(Tape *t, const Visual *v, Tensor *V)
{
    const int64_t dim[2] = {V->dim[0], v->channels};
    Tensor *mean = op_cast(t, op_adaptive_pool(t, V, 1, 1), DTYPE_f32);        /* (M,1,1,C) */
    return visual_linear(t, &v->local, tensor_reshape(t->step, mean, 2, dim)); /* (M,D) */
}

static Tensor *global_tokens(Tape *t, const Visual *v, Tensor *pooled)
{
    if (!pooled) die("visual: global tokens (mode %s) need pooled features", hv_name(v->mode));
    return visual_linear(t, &v->global[1], visual_linear(t, &v->global[0], pooled)); /* (M,D) */
}

VisualTokens visual_tokens(Tape *t, const Visual *v, Tensor *grid, Tensor *pooled, bool with_global, bool train)
{
    int64_t M = grid ? grid->dim[0] : pooled->dim[0];
    if (M % VISUAL_SLICES) die("visual: %lld slices are not whole studies of %d", (long long)M, VISUAL_SLICES);
    const int64_t dim[3] = {M / VISUAL_SLICES, VISUAL_SLICES, v->dim};
    VisualTokens y = {0};
    Tensor *local = NULL, *global = NULL;
    if (grid || v->mode != HV_GLOBAL24) {
        y.V = visual_local(t, v, grid, train);
        y.local = local_tokens(t, v, y.V);
        local = tensor_reshape(t->step, y.local, 3, dim);
    }
    if (v->mode != HV_LOCAL24 || with_global) {
        y.global = global_tokens(t, v, pooled);
        global = tensor_reshape(t->step, y.global, 3, dim);
    }
    switch (v->mode) {
    case HV_LOCAL24: y.hv = local; break;
    case HV_GLOBAL24: y.hv = global; break;
    case HV_CONCAT48: y.hv = op_concat(t, local, global, 1); break;
    case HV_SUM24: y.hv = op_add(t, local, global); break;
    }
    tape_tap(t, y.hv, "hv");
    return y;
}

Tensor *visual_forward(Tape *t, const Visual *v, Tensor *grid, Tensor *pooled, bool train)
{
    return visual_tokens(t, v, grid, pooled, false, train).hv;
}
