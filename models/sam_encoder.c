#include "models/sam_encoder.h"
#include <math.h>

static const float eps = 1e-6f;

/* ---- opening ---- */

static void check_config(Weights *w, const SamEncoderConfig *c)
{
    if (c->depth < 1 || c->depth > SAM_DEPTH || c->patch < 1 || c->image < c->patch || c->image % c->patch ||
        c->width < 1 || c->mlp < 1 || c->window < 1 || c->out < 1 || c->image > 1 << 14 || c->window > 1 << 14)
        weights_fail(w,
                     "SAM encoder: %d blocks of width %lld and %lld, images of %lld px in patches of %lld, "
                     "windows of %lld, %lld channels out",
                     c->depth, (long long)c->width, (long long)c->mlp, (long long)c->image, (long long)c->patch,
                     (long long)c->window, (long long)c->out);
    else if (c->heads < 1 || c->width % c->heads)
        weights_fail(w, "SAM encoder: width %lld does not divide into %lld heads", (long long)c->width,
                     (long long)c->heads);
}

static void open_block(const SamEncoder *net, Weights *w, SamBlock *b, int i)
{
    const SamEncoderConfig *c = &net->config;
    b->global = c->global >> i & 1;
    int64_t side = b->global ? net->grid : c->window;
    WeightSpec table = {{2 * side - 1, c->width / c->heads}, .init = INIT_ZEROS};
    b->norm1 = sam_norm_open(w, c->width, "image_encoder.blocks.%d.norm1", i);
    b->qkv = sam_linear_open(w, 3 * c->width, c->width, "image_encoder.blocks.%d.attn.qkv", i);
    b->proj = sam_linear_open(w, c->width, c->width, "image_encoder.blocks.%d.attn.proj", i);
    b->rel_h = weights_get(w, table, "image_encoder.blocks.%d.attn.rel_pos_h", i);
    b->rel_w = weights_get(w, table, "image_encoder.blocks.%d.attn.rel_pos_w", i);
    b->norm2 = sam_norm_open(w, c->width, "image_encoder.blocks.%d.norm2", i);
    b->lin1 = sam_linear_open(w, c->mlp, c->width, "image_encoder.blocks.%d.mlp.lin1", i);
    b->lin2 = sam_linear_open(w, c->width, c->mlp, "image_encoder.blocks.%d.mlp.lin2", i);
}

bool sam_encoder_create(SamEncoder *net, Weights *w, SamEncoderConfig config, Error *e)
{
    *net = (SamEncoder){.config = config};
    check_config(w, &config);
    if (!weights_ok(w, e)) return false;
    net->grid = config.image / config.patch;
    net->block =
        arena_push_host(w->trainable ? w->state : w->weights, (size_t)config.depth * sizeof *net->block);
    WeightSpec position = {{1, net->grid, net->grid, config.width}, .init = INIT_NORMAL, .a = 0.02f};
    net->position = weights_get(w, position, "image_encoder.pos_embed");
    net->patches = sam_conv_open(w, config.width, config.patch, 3, true, "image_encoder.patch_embed.proj");
    for (int i = 0; i < config.depth; i++) open_block(net, w, &net->block[i], i);
    net->neck[0] = sam_conv_open(w, config.out, 1, config.width, false, "image_encoder.neck.0");
    net->neck_norm[0] = sam_norm_open(w, config.out, "image_encoder.neck.1");
    net->neck[1] = sam_conv_open(w, config.out, 3, config.out, false, "image_encoder.neck.2");
    net->neck_norm[1] = sam_norm_open(w, config.out, "image_encoder.neck.3");
    return weights_ok(w, e);
}

/* Which blocks are global, and the side of the others' windows: from the lengths of their tables. */
static void read_windows(Weights *w, SamEncoderConfig *c)
{
    int64_t grid = c->image / c->patch, dim[2];
    for (int i = 0; i < c->depth; i++) {
        if (!weights_shape(w, 2, dim, "image_encoder.blocks.%d.attn.rel_pos_h", i)) return;
        if (dim[0] % 2 == 0)
            weights_fail(w, "tensor image_encoder.blocks.%d.attn.rel_pos_h: expected an odd length, found %lld",
                         i, (long long)dim[0]);
        if (dim[0] == 2 * grid - 1)
            c->global |= (uint64_t)1 << i;
        else
            c->window = (dim[0] + 1) / 2;
        c->heads = c->width / dim[1];
    }
    if (!c->window) c->window = grid;
}

bool sam_encoder_open(SamEncoder *net, Weights *w, Error *e)
{
    SamEncoderConfig c = {0};
    int64_t patches[4], position[4], dim[4];
    if (weights_shape(w, 4, patches, "image_encoder.patch_embed.proj.weight") &&
        weights_shape(w, 4, position, "image_encoder.pos_embed")) {
        c.width = patches[0];
        c.patch = patches[2];
        c.image = position[1] <= 1 << 14 && c.patch <= 1 << 14 ? position[1] * c.patch : 0;
    }
    while (c.depth <= SAM_DEPTH && weights_entry(w, "image_encoder.blocks.%d.norm1.weight", c.depth)) c.depth++;
    if (c.depth <= SAM_DEPTH) read_windows(w, &c);
    if (weights_shape(w, 2, dim, "image_encoder.blocks.0.mlp.lin1.weight")) c.mlp = dim[0];
    if (weights_shape(w, 4, dim, "image_encoder.neck.0.weight")) c.out = dim[0];
    if (!weights_ok(w, e)) return false;
    return sam_encoder_create(net, w, c, e);
}

/* ---- forward ---- */

/* Part i of three of the fused Linear: x (B,s,s,D) -> (B,s*s,heads,D/heads). */
static Tensor *project(Tape *t, const SamEncoder *net, const SamLinear *qkv, Tensor *x, int i)
{
    const int64_t D = net->config.width, H = net->config.heads;
    Tensor *weight = tensor_slice(t->step, qkv->weight, i * D, D);
    Tensor *y = op_linear(t, x, weight, tensor_slice(t->step, qkv->bias, i * D, D), NULL);
    return tensor_reshape(t->step, y, 4, (int64_t[]){x->dim[0], x->dim[1] * x->dim[2], H, D / H});
}

/* x (n,g,g,D). Projected after unwindow: no padded token needs it. */
static Tensor *attention(Tape *t, const SamEncoder *net, const SamBlock *b, Tensor *x)
{
    int g = (int)net->grid;
    Tensor *y = sam_norm(t, &b->norm1, x, eps);
    if (!b->global) y = op_window(t, y, (int)net->config.window, 0); /* (n*windows,s,s,D) */
    const int64_t dim[4] = {y->dim[0], y->dim[1], y->dim[2], y->dim[3]};
    Tensor *q = project(t, net, &b->qkv, y, 0), *k = project(t, net, &b->qkv, y, 1),
           *v = project(t, net, &b->qkv, y, 2);
    y = op_relpos_attention(t, q, k, v, b->rel_h, b->rel_w, 1 / sqrtf((float)q->dim[3]));
    y = tensor_reshape(t->step, y, 4, dim);
    if (!b->global) y = op_unwindow(t, y, g, g, 0);
    return sam_linear(t, &b->proj, y);
}

static Tensor *block_forward(Tape *t, const SamEncoder *net, const SamBlock *b, Tensor *x)
{
    ArenaMark mark = arena_mark(t->step);
    x = tape_keep(t, mark, op_add(t, x, attention(t, net, b, x)));
    Tensor *y = op_gelu(t, sam_linear(t, &b->lin1, sam_norm(t, &b->norm2, x, eps)));
    return op_add(t, x, sam_linear(t, &b->lin2, y));
}

Tensor *sam_encoder_forward(Tape *t, const SamEncoder *net, Tensor *x)
{
    const SamEncoderConfig *c = &net->config;
    if (x->ndim != 4 || x->dim[1] != c->image || x->dim[2] != c->image || x->dim[3] != 3)
        die("sam_encoder: expected images (n,%lld,%lld,3), got %s", (long long)c->image, (long long)c->image,
            tensor_text(x));
    ArenaMark mark = arena_mark(t->step);
    Tensor *position = tensor_reshape(t->step, net->position, 3, net->position->dim + 1);
    Tensor *y =
        op_conv2d(t, op_cast(t, x, t->compute), net->patches.weight, net->patches.bias, (int)c->patch, 0);
    y = tape_keep(t, mark, op_add_bias(t, y, position));
    tape_tap(t, y, "patches");
    for (int i = 0; i < c->depth; i++) {
        y = tape_keep(t, mark, block_forward(t, net, &net->block[i], y));
        tape_tap(t, y, "blocks.%d", i);
    }
    y = sam_norm(t, &net->neck_norm[0], op_conv2d(t, y, net->neck[0].weight, NULL, 1, 0), eps);
    y = sam_norm(t, &net->neck_norm[1], op_conv2d(t, y, net->neck[1].weight, NULL, 1, 1), eps);
    y = tape_keep(t, mark, op_cast(t, y, DTYPE_f32));
    tape_tap(t, y, "embedding");
    return y;
}
