#include "models/swin.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DEPTH = 1000, PUBLIC_DIM = 768 };
static const float norm_eps = 1e-5f;

/* ---- opening ---- */

static SwinNorm open_norm(Weights *w, int64_t C, const char *name)
{
    return (SwinNorm){weights_get(w, (WeightSpec){{C}, .init = INIT_ONES}, "%s.weight", name),
                      weights_get(w, (WeightSpec){{C}, .init = INIT_ZEROS}, "%s.bias", name)};
}

static SwinLinear open_linear(Weights *w, int64_t out, int64_t in, float sd, bool bias, const char *name)
{
    WeightSpec weight = {{out, in}, WEIGHT_LINEAR, INIT_NORMAL, sd};
    return (SwinLinear){weights_get(w, weight, "%s.weight", name),
                        bias ? weights_get(w, (WeightSpec){{out}, .init = INIT_ZEROS}, "%s.bias", name) : NULL};
}

static float init_sd(const Swin *m) { return 0.02f * sqrtf((float)PUBLIC_DIM / (float)m->dim); }

static void open_block(Weights *w, const Swin *m, SwinBlock *b, int stage, int index)
{
    int64_t C = m->config.width << stage, F = m->config.ffn * C, side = 2 * m->config.window - 1;
    const struct {
        SwinLinear *to;
        const char *name;
        int64_t out, in;
    } linear[] = {
        {&b->q, "attention.self.query", C, C},          {&b->k, "attention.self.key", C, C},
        {&b->v, "attention.self.value", C, C},          {&b->dense, "attention.output.dense", C, C},
        {&b->intermediate, "intermediate.dense", F, C}, {&b->output, "output.dense", C, F},
    };
    char base[64], name[128];
    snprintf(base, sizeof base, "encoder.layers.%d.blocks.%d", stage, index);
    snprintf(name, sizeof name, "%s.layernorm_before", base);
    b->before = open_norm(w, C, name);
    for (size_t i = 0; i < sizeof linear / sizeof *linear; i++) {
        snprintf(name, sizeof name, "%s.%s", base, linear[i].name);
        *linear[i].to = open_linear(w, linear[i].out, linear[i].in, init_sd(m), true, name);
    }
    b->table = weights_get(w, (WeightSpec){{side * side, m->config.heads[stage]}, .init = INIT_ZEROS},
                           "%s.attention.self.relative_position_bias_table", base);
    snprintf(name, sizeof name, "%s.layernorm_after", base);
    b->after = open_norm(w, C, name);
}

static void open_stage(Weights *w, Swin *m, int stage)
{
    SwinStage *s = &m->stage[stage];
    int64_t C = m->config.width << stage, depth = m->config.depth[stage];
    char name[64];
    s->block = arena_push_host(w->trainable ? w->state : w->weights, (size_t)depth * sizeof *s->block);
    for (int b = 0; b < depth; b++) open_block(w, m, &s->block[b], stage, b);
    if (stage + 1 == m->config.stages) return;
    snprintf(name, sizeof name, "encoder.layers.%d.downsample.norm", stage);
    s->merge_norm = open_norm(w, 4 * C, name);
    snprintf(name, sizeof name, "encoder.layers.%d.downsample.reduction", stage);
    s->merge = open_linear(w, 2 * C, 4 * C, init_sd(m), false, name);
}

static void check_config(Weights *w, const SwinConfig *c)
{
    if (w->error.code) return;
    if (c->channels < 1 || c->patch < 1 || c->width < 1 || c->width > 1 << 16 || c->ffn < 1 || c->stages < 1 ||
        c->stages > SWIN_STAGES || c->window < 1 || c->window > 1 << 10) {
        weights_fail(w,
                     "Swin of patch %lld, width %lld, feed-forward %lld times as wide, %lld stages, window "
                     "%lld: sizes must be positive, stages at most %d",
                     (long long)c->patch, (long long)c->width, (long long)c->ffn, (long long)c->stages,
                     (long long)c->window, SWIN_STAGES);
        return;
    }
    for (int s = 0; s < c->stages; s++)
        if (c->depth[s] < 1 || c->depth[s] > MAX_DEPTH || c->heads[s] < 1 || (c->width << s) % c->heads[s])
            weights_fail(w, "Swin stage %d: %lld blocks of width %lld with %lld heads", s,
                         (long long)c->depth[s], (long long)(c->width << s), (long long)c->heads[s]);
}

bool swin_create(Swin *m, Weights *w, SwinConfig c, Error *e)
{
    *m = (Swin){.config = c};
    check_config(w, &c);
    if (!weights_ok(w, e)) return false;
    m->dim = c.width << (c.stages - 1);
    WeightSpec patch = {{c.width, c.patch, c.patch, c.channels}, WEIGHT_CONV, INIT_NORMAL, init_sd(m)};
    m->patch = weights_get(w, patch, "embeddings.patch_embeddings.projection.weight");
    m->patch_bias = weights_get(w, (WeightSpec){{c.width}, .init = INIT_ZEROS},
                                "embeddings.patch_embeddings.projection.bias");
    m->patch_norm = open_norm(w, c.width, "embeddings.norm");
    for (int s = 0; s < c.stages; s++) open_stage(w, m, s);
    m->norm = open_norm(w, m->dim, "layernorm");
    return weights_ok(w, e);
}

/* The window whose table has that many rows, (2 window - 1)^2; a sticky error if none has. */
static int64_t window_of(Weights *w, int64_t rows)
{
    int64_t side = (int64_t)(sqrt((double)rows) + 0.5);
    if (side * side == rows && side % 2) return (side + 1) / 2;
    weights_fail(w,
                 "tensor %sencoder.layers.0.blocks.0.attention.self.relative_position_bias_table: expected "
                 "(2 window - 1)^2 rows, found %lld",
                 w->prefix ? w->prefix : "", (long long)rows);
    return 1;
}

bool swin_open(Swin *m, Weights *w, Error *e)
{
    SwinConfig c = {0};
    int64_t patch[4] = {0}, table[2] = {0}, ffn[2] = {0};
    if (weights_shape(w, 4, patch, "embeddings.patch_embeddings.projection.weight")) {
        c.width = patch[0];
        c.channels = patch[1];
        c.patch = patch[2];
    }
    while (c.stages < SWIN_STAGES &&
           weights_entry(w, "encoder.layers.%d.blocks.0.layernorm_before.weight", (int)c.stages)) {
        int s = (int)c.stages++;
        while (c.depth[s] <= MAX_DEPTH &&
               weights_entry(w, "encoder.layers.%d.blocks.%d.layernorm_before.weight", s, (int)c.depth[s]))
            c.depth[s]++;
        if (weights_shape(w, 2, table, "encoder.layers.%d.blocks.0.attention.self.relative_position_bias_table",
                          s))
            c.heads[s] = table[1];
        if (!s && !w->error.code) c.window = window_of(w, table[0]);
    }
    if (weights_shape(w, 2, ffn, "encoder.layers.0.blocks.0.intermediate.dense.weight") && ffn[1] == c.width)
        c.ffn = ffn[0] / c.width;
    return swin_create(m, w, c, e);
}

bool swin_check_side(const Swin *m, int64_t side, Error *e)
{
    const SwinConfig *c = &m->config;
    int64_t least = (c->patch * c->window) << (c->stages - 1), step = c->patch << (c->stages - 1);
    if (side >= least && side % step == 0) return true;
    return error_set(e, ERROR_INPUT,
                     "images of %lld px for a Swin of patch %lld, window %lld and %lld stages: expected a "
                     "multiple of %lld, at least %lld",
                     (long long)side, (long long)c->patch, (long long)c->window, (long long)c->stages,
                     (long long)step, (long long)least);
}

/* ---- forward ---- */

static Tensor *linear(Tape *t, const SwinLinear *l, Tensor *x)
{
    return op_linear(t, x, l->weight, l->bias, NULL);
}

static Tensor *norm(Tape *t, const SwinNorm *n, Tensor *x)
{
    return op_layernorm(t, x, n->weight, n->bias, norm_eps);
}

/* x (N,h,w,C) -> (N,h,w,C). */
static Tensor *attention(Tape *t, const Swin *m, const SwinBlock *b, int64_t heads, int shift, Tensor *x)
{
    int64_t s = m->config.window, h = x->dim[1], w = x->dim[2], C = x->dim[3];
    int64_t rows = (h + s - 1) / s, columns = (w + s - 1) / s, M = x->dim[0] * rows * columns;
    const int64_t split[4] = {M, s * s, heads, C / heads}, whole[4] = {M, s, s, C};
    x = op_window(t, x, (int)s, shift); /* (M,s,s,C) */
    Tensor *q = tensor_reshape(t->step, linear(t, &b->q, x), 4, split);
    Tensor *k = tensor_reshape(t->step, linear(t, &b->k, x), 4, split);
    Tensor *v = tensor_reshape(t->step, linear(t, &b->v, x), 4, split);
    Tensor *y = op_window_attention(t, q, k, v, b->table, (int)rows, (int)columns, shift,
                                    1 / sqrtf((float)(C / heads))); /* (M,s*s,heads,d) */
    y = linear(t, &b->dense, tensor_reshape(t->step, y, 4, whole));
    return op_unwindow(t, y, (int)h, (int)w, shift);
}

static Tensor *block(Tape *t, const Swin *m, int stage, int index, Tensor *x)
{
    const SwinBlock *b = &m->stage[stage].block[index];
    int64_t s = m->config.window, least = x->dim[1] < x->dim[2] ? x->dim[1] : x->dim[2];
    int shift = index % 2 && least > s ? (int)(s / 2) : 0;
    Tensor *h = op_add(t, x, attention(t, m, b, m->config.heads[stage], shift, norm(t, &b->before, x)));
    Tensor *y = linear(t, &b->intermediate, norm(t, &b->after, h)); /* (N,h,w,F) */
    return op_add(t, h, linear(t, &b->output, op_gelu(t, y)));
}

/* x (N,h,w,C) -> (N,h/2,w/2,4C), the four of a group column by column. */
static Tensor *groups(Tape *t, Tensor *x)
{
    int64_t N = x->dim[0], h = x->dim[1], w = x->dim[2], C = x->dim[3], n = N * h * w;
    Tensor *index = tape_tensor(t, DTYPE_i32, 1, &n);
    int32_t *host = arena_push_host(t->step, (size_t)n * sizeof *host), *to = host;
    for (int64_t row = 0; row < N * h; row += 2)
        for (int64_t j = 0; j < w; j += 2)
            for (int k = 0; k < 4; k++) *to++ = (int32_t)((row + k % 2) * w + j + k / 2);
    tensor_upload(index, host);
    Tensor *y = op_select(t, tensor_reshape(t->step, x, 2, (const int64_t[]){n, C}), index);
    return tensor_reshape(t->step, y, 4, (const int64_t[]){N, h / 2, w / 2, 4 * C});
}

static Tensor *stage_forward(Tape *t, const Swin *m, int stage, Tensor *x, ArenaMark mark)
{
    const SwinStage *s = &m->stage[stage];
    for (int b = 0; b < m->config.depth[stage]; b++) {
        x = tape_keep(t, mark, block(t, m, stage, b, x));
        tape_tap(t, x, "stage.%d.block.%d", stage, b);
    }
    if (stage + 1 == m->config.stages) return x;
    x = tape_keep(t, mark, linear(t, &s->merge, norm(t, &s->merge_norm, groups(t, x))));
    tape_tap(t, x, "stage.%d.merge", stage);
    return x;
}

Tensor *swin_forward(Tape *t, const Swin *m, Tensor *x)
{
    const SwinConfig *c = &m->config;
    Error e;
    if (x->ndim != 4 || x->dim[1] != x->dim[2] || x->dim[3] != c->channels)
        die("swin: expected (N,side,side,%lld), got %s", (long long)c->channels, tensor_text(x));
    if (!swin_check_side(m, x->dim[1], &e)) die("swin: %s", e.msg);
    ArenaMark mark = arena_mark(t->step);
    x = op_conv2d(t, op_cast(t, x, t->compute), m->patch, m->patch_bias, (int)c->patch, 0); /* (N,h,w,C) */
    x = tape_keep(t, mark, norm(t, &m->patch_norm, x));
    tape_tap(t, x, "embeddings");
    for (int s = 0; s < c->stages; s++) x = stage_forward(t, m, s, x, mark);
    x = norm(t, &m->norm, x);
    tape_tap(t, x, "norm");
    const int64_t flat[2] = {x->dim[0], m->dim};
    x = tensor_reshape(t->step, op_cast(t, op_adaptive_pool(t, x, 1, 1), DTYPE_f32), 2, flat);
    x = tape_keep(t, mark, x);
    tape_tap(t, x, "pooled");
    return x;
}
