#include "models/resnet.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const BatchnormParams batchnorm = {.eps = 1e-5f, .momentum = 0.1f};
enum { EXPANSION = 4, MAX_DEPTH = 1000 };

const ResnetConfig resnet_101 = {
    .in_channels = 3, .stem = 64, .width = {64, 128, 256, 512}, .depth = {3, 4, 23, 3}, .stride = {1, 2, 2, 2}};

/* ---- opening ---- */

/* w' = w g / sqrt(var + eps), b' = beta - mean g / sqrt(var + eps), in double. */
static void fold(Weights *w, ResnetConv *c, WeightSpec spec, bool last, const char *conv, const char *bn)
{
    int64_t O = spec.dim[0], K = spec.dim[1] * spec.dim[2] * spec.dim[3];
    WeightSpec one = {{O}, .init = INIT_ONES}, zero = {{O}, .init = INIT_ZEROS}, gamma = last ? zero : one;
    if (!weights_expect(w, spec, "%s.weight", conv)) return;
    float *x = malloc((size_t)(O * K + 5 * O) * sizeof *x);
    if (!x) {
        error_set(&w->error, ERROR_MEMORY, "out of host memory for tensor %s", conv);
        return;
    }
    float *g = x + O * K, *beta = g + O, *mean = beta + O, *var = mean + O, *bias = var + O;
    weights_read(w, spec, x, "%s.weight", conv);
    weights_read(w, gamma, g, "%s.weight", bn);
    weights_read(w, zero, beta, "%s.bias", bn);
    weights_read(w, zero, mean, "%s.running_mean", bn);
    weights_read(w, one, var, "%s.running_var", bn);
    for (int64_t o = 0; !w->error.code && o < O; o++) {
        double k = (double)g[o] / sqrt((double)var[o] + (double)batchnorm.eps);
        for (int64_t i = 0; i < K; i++) x[o * K + i] = (float)((double)x[o * K + i] * k);
        bias[o] = (float)((double)beta[o] - (double)mean[o] * k);
    }
    if (!w->error.code) {
        c->weight = tensor_new(w->weights, DTYPE_f32, 4, spec.dim);
        c->bias = tensor_new(w->weights, DTYPE_f32, 1, &O);
        tensor_upload(c->weight, x);
        tensor_upload(c->bias, bias);
    }
    free(x);
}

/* A conv (O,k,k,I) and its BatchNorm. last: gamma starts at 0. */
static ResnetConv open_conv(Weights *w, int64_t O, int64_t k, int64_t I, bool last, const char *conv,
                            const char *bn)
{
    ResnetConv c = {0};
    WeightSpec spec = {{O, k, k, I}, WEIGHT_CONV, INIT_KAIMING, 0};
    if (!w->trainable) {
        fold(w, &c, spec, last, conv, bn);
        return c;
    }
    c.weight = weights_get(w, spec, "%s.weight", conv);
    c.gamma = weights_get(w, (WeightSpec){{O}, .init = last ? INIT_ZEROS : INIT_ONES}, "%s.weight", bn);
    c.beta = weights_get(w, (WeightSpec){{O}, .init = INIT_ZEROS}, "%s.bias", bn);
    c.mean = weights_get(w, (WeightSpec){{O}, WEIGHT_BUFFER, INIT_ZEROS, 0}, "%s.running_mean", bn);
    c.var = weights_get(w, (WeightSpec){{O}, WEIGHT_BUFFER, INIT_ONES, 0}, "%s.running_var", bn);
    return c;
}

static void open_block(Weights *w, ResnetBlock *b, int stage, int index, int64_t in, int64_t width, int stride)
{
    const int64_t channels[4] = {in, width, width, EXPANSION * width};
    char conv[64], bn[64];
    b->stride = stride;
    for (int i = 0; i < 3; i++) {
        snprintf(conv, sizeof conv, "layer%d.%d.conv%d", stage + 1, index, i + 1);
        snprintf(bn, sizeof bn, "layer%d.%d.bn%d", stage + 1, index, i + 1);
        b->conv[i] = open_conv(w, channels[i + 1], i == 1 ? 3 : 1, channels[i], i == 2, conv, bn);
    }
    if (stride == 1 && in == EXPANSION * width) return;
    snprintf(conv, sizeof conv, "layer%d.%d.downsample.0", stage + 1, index);
    snprintf(bn, sizeof bn, "layer%d.%d.downsample.1", stage + 1, index);
    b->shortcut = open_conv(w, EXPANSION * width, 1, in, false, conv, bn);
}

static void check_config(Weights *w, const ResnetConfig *c)
{
    for (int s = 0; s < RESNET_STAGES; s++)
        if (c->depth[s] < 1 || c->depth[s] > MAX_DEPTH || c->width[s] < 1 || c->stride[s] < 1 ||
            c->stride[s] > 4)
            weights_fail(w, "ResNet stage %d: %d blocks of width %lld, stride %d", s + 1, c->depth[s],
                         (long long)c->width[s], c->stride[s]);
    if (c->in_channels != 1 && c->in_channels != 3)
        weights_fail(w, "ResNet: expected 1 or 3 input channels, found %lld", (long long)c->in_channels);
}

bool resnet_create(Resnet *net, Weights *w, ResnetConfig config, Error *e)
{
    *net = (Resnet){.config = config, .channels = EXPANSION * config.width[3], .folded = !w->trainable};
    check_config(w, &config);
    if (!weights_ok(w, e)) return false;
    Arena *home = w->trainable ? w->state : w->weights;
    net->stem = open_conv(w, config.stem, 7, config.in_channels, false, "conv1", "bn1");
    int64_t in = config.stem;
    for (int s = 0; s < RESNET_STAGES; s++) {
        net->block[s] = arena_push_host(home, (size_t)config.depth[s] * sizeof *net->block[s]);
        for (int b = 0; b < config.depth[s]; b++, in = EXPANSION * config.width[s])
            open_block(w, &net->block[s][b], s, b, in, config.width[s], b ? 1 : config.stride[s]);
    }
    weights_set_meta(w, "resnet.strides", "%d,%d,%d,%d", config.stride[0], config.stride[1], config.stride[2],
                     config.stride[3]);
    weights_set_meta(w, "resnet.style", "%s", config.caffe ? "caffe" : "v1.5");
    return weights_ok(w, e);
}

static void read_metadata(Weights *w, ResnetConfig *c)
{
    const char *strides = weights_meta(w, "resnet.strides"), *style = weights_meta(w, "resnet.style");
    int end = 0, *s = c->stride;
    s[0] = 1;
    s[1] = s[2] = s[3] = 2;
    if (strides && (sscanf(strides, "%d,%d,%d,%d%n", &s[0], &s[1], &s[2], &s[3], &end) != 4 || strides[end]))
        weights_fail(w, "metadata resnet.strides: expected four numbers like 1,2,2,2, found \"%.40s\"",
                     strides);
    if (style && strcmp(style, "v1.5") && strcmp(style, "caffe"))
        weights_fail(w, "metadata resnet.style: expected v1.5 or caffe, found \"%.40s\"", style);
    c->caffe = style && !strcmp(style, "caffe");
}

bool resnet_open(Resnet *net, Weights *w, Error *e)
{
    ResnetConfig c = {0};
    int64_t dim[4];
    if (weights_shape(w, 4, dim, "conv1.weight")) {
        c.stem = dim[0];
        c.in_channels = dim[1];
    }
    for (int s = 0; s < RESNET_STAGES; s++) {
        if (weights_shape(w, 4, dim, "layer%d.0.conv2.weight", s + 1)) c.width[s] = dim[0];
        while (c.depth[s] <= MAX_DEPTH && weights_entry(w, "layer%d.%d.conv2.weight", s + 1, c.depth[s]))
            c.depth[s]++;
    }
    read_metadata(w, &c);
    return resnet_create(net, w, c, e);
}

/* ---- sizes ---- */

int64_t resnet_native_grid(const ResnetConfig *c, int64_t side)
{
    int64_t n = (side - 1) / 2 + 1;
    if (c->caffe) {
        int64_t out = n < 3 ? 1 : (n - 3 + 1) / 2 + 1;
        n = (out - 1) * 2 >= n ? out - 1 : out;
    } else {
        n = (n - 1) / 2 + 1;
    }
    for (int s = 0; s < RESNET_STAGES; s++) n = (n - 1) / c->stride[s] + 1;
    return n;
}

bool resnet_check_side(const Resnet *net, int64_t side, Error *e)
{
    int64_t n = resnet_native_grid(&net->config, side);
    if (n >= RESNET_GRID) return true;
    return error_set(
        e, ERROR_INPUT,
        "images of %lld px give this ResNet a grid of %lld x %lld: expected at least %d x %d, grids "
        "are never upsampled",
        (long long)side, (long long)n, (long long)n, RESNET_GRID, RESNET_GRID);
}

/* ---- forward ---- */

static Tensor *conv_norm(Tape *t, const ResnetConv *c, Tensor *x, int stride, bool train)
{
    int pad = (int)(c->weight->dim[1] / 2);
    Tensor *y = op_conv2d(t, x, c->weight, c->bias, stride, pad); /* (N,h,w,O) */
    if (!c->gamma) {
        if (train) die("resnet: a folded network has no batch statistics to train");
        return y;
    }
    BatchnormParams p = batchnorm;
    p.train = train;
    return op_batchnorm(t, y, c->gamma, c->beta, c->mean, c->var, p);
}

static Tensor *block_forward(Tape *t, const ResnetBlock *b, Tensor *x, bool caffe, bool train)
{
    Tensor *y = op_relu(t, conv_norm(t, &b->conv[0], x, caffe ? b->stride : 1, train));
    y = op_relu(t, conv_norm(t, &b->conv[1], y, caffe ? 1 : b->stride, train));
    y = conv_norm(t, &b->conv[2], y, 1, train);
    if (b->shortcut.weight) x = conv_norm(t, &b->shortcut, x, b->stride, train);
    return op_relu(t, op_add(t, y, x));
}

Tensor *resnet_features(Tape *t, const Resnet *net, Tensor *x, bool train)
{
    bool caffe = net->config.caffe;
    ArenaMark mark = arena_mark(t->step);
    Tensor *y = op_relu(t, conv_norm(t, &net->stem, op_cast(t, x, t->compute), 2, train));
    y = tape_keep(t, mark, op_max_pool(t, y, 3, 2, caffe ? 0 : 1, caffe));
    tape_tap(t, y, "stem");
    for (int s = 0; s < RESNET_STAGES; s++) {
        for (int b = 0; b < net->config.depth[s]; b++)
            y = tape_keep(t, mark, block_forward(t, &net->block[s][b], y, caffe, train));
        tape_tap(t, y, "layer%d", s + 1);
    }
    return y;
}

void resnet_forward(Tape *t, const Resnet *net, Tensor *x, bool train, Tensor **grid, Tensor **pooled)
{
    Tensor *f = resnet_features(t, net, x, train); /* (N,h,w,C) */
    if (grid) {
        if (f->dim[1] < RESNET_GRID || f->dim[2] < RESNET_GRID)
            die("resnet: %s from %s would be upsampled to %d x %d", tensor_text(f), tensor_text(x), RESNET_GRID,
                RESNET_GRID);
        bool native = f->dim[1] == RESNET_GRID && f->dim[2] == RESNET_GRID;
        *grid = op_cast(t, native ? f : op_adaptive_pool(t, f, RESNET_GRID, RESNET_GRID), DTYPE_f32);
        tape_tap(t, *grid, "grid");
    }
    if (pooled) {
        const int64_t dim[2] = {f->dim[0], f->dim[3]};
        *pooled = tensor_reshape(t->step, op_cast(t, op_adaptive_pool(t, f, 1, 1), DTYPE_f32), 2, dim);
        tape_tap(t, *pooled, "pooled");
    }
}
