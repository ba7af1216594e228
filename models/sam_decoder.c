#include "models/sam_decoder.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const float eps = 1e-5f, image_eps = 1e-6f;

/* ---- opening ---- */

static void check_config(Weights *w, const SamDecoderConfig *c)
{
    if (c->image < 1 || c->image > 1 << 14 || c->dim < 8 || c->dim % 8 || c->inner < 1 || c->mlp < 1 ||
        c->iou_hidden < 1 || c->mask_hidden < 4 || c->mask_hidden % 4)
        weights_fail(
            w,
            "SAM decoder: %lld channels (expected a multiple of 8), %lld within attention, MLPs of %lld "
            "and %lld, masks of %lld (a multiple of 4), images of %lld px",
            (long long)c->dim, (long long)c->inner, (long long)c->mlp, (long long)c->iou_hidden,
            (long long)c->mask_hidden, (long long)c->image);
    else if (c->masks < 1 || c->masks > SAM_MASKS)
        weights_fail(w, "SAM decoder: expected 1 to %d mask tokens, found %lld", SAM_MASKS,
                     (long long)c->masks);
    else if (c->heads < 1 || c->dim % c->heads || c->inner % c->heads)
        weights_fail(w, "SAM decoder: %lld and %lld channels do not divide into %lld heads", (long long)c->dim,
                     (long long)c->inner, (long long)c->heads);
}

static SamAttention open_attention(Weights *w, int64_t C, int64_t inner, const char *name)
{
    return (SamAttention){.q = sam_linear_open(w, inner, C, "%s.q_proj", name),
                          .k = sam_linear_open(w, inner, C, "%s.k_proj", name),
                          .v = sam_linear_open(w, inner, C, "%s.v_proj", name),
                          .out = sam_linear_open(w, C, inner, "%s.out_proj", name)};
}

static void open_layer(SamDecoder *net, Weights *w, int i)
{
    const SamDecoderConfig *c = &net->config;
    SamLayer *l = &net->layer[i];
    char name[PARAMS_NAME];
    const char *const part[] = {"self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token"};
    SamAttention *const attention[] = {&l->self, &l->to_image, &l->to_token};
    for (int k = 0; k < 3; k++) {
        snprintf(name, sizeof name, "mask_decoder.transformer.layers.%d.%s", i, part[k]);
        *attention[k] = open_attention(w, c->dim, k ? c->inner : c->dim, name);
    }
    for (int k = 0; k < 4; k++)
        l->norm[k] = sam_norm_open(w, c->dim, "mask_decoder.transformer.layers.%d.norm%d", i, k + 1);
    l->mlp[0] = sam_linear_open(w, c->mlp, c->dim, "mask_decoder.transformer.layers.%d.mlp.lin1", i);
    l->mlp[1] = sam_linear_open(w, c->dim, c->mlp, "mask_decoder.transformer.layers.%d.mlp.lin2", i);
}

/* A ReLU MLP of three Linears. */
static void open_mlp(Weights *w, SamLinear *l, int64_t in, int64_t hidden, int64_t out, const char *name)
{
    for (int i = 0; i < SAM_MLP; i++)
        l[i] = sam_linear_open(w, i == SAM_MLP - 1 ? out : hidden, i ? hidden : in, "%s.layers.%d", name, i);
}

static void open_prompt_encoder(SamDecoder *net, Weights *w)
{
    const int64_t C = net->config.dim, H = net->config.mask_hidden;
    const WeightSpec token = {{1, C}, .init = INIT_NORMAL, .a = 1};
    const WeightSpec gauss = {{2, C / 2}, WEIGHT_BUFFER, INIT_NORMAL, 1};
    const char *const name = "prompt_encoder.mask_downscaling";
    net->gauss = weights_get(w, gauss, "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix");
    for (int i = 0; i < 4; i++)
        net->point[i] = weights_get(w, token, "prompt_encoder.point_embeddings.%d.weight", i);
    net->not_a_point = weights_get(w, token, "prompt_encoder.not_a_point_embed.weight");
    net->no_mask = weights_get(w, token, "prompt_encoder.no_mask_embed.weight");
    net->mask_conv[0] = sam_conv_open(w, H / 4, 2, 1, true, "prompt_encoder.mask_downscaling.0");
    net->mask_norm[0] = sam_norm_open(w, H / 4, "%s.1", name);
    net->mask_conv[1] = sam_conv_open(w, H, 2, H / 4, true, "prompt_encoder.mask_downscaling.3");
    net->mask_norm[1] = sam_norm_open(w, H, "%s.4", name);
    net->mask_conv[2] = sam_conv_open(w, C, 1, H, true, "prompt_encoder.mask_downscaling.6");
}

bool sam_decoder_create(SamDecoder *net, Weights *w, SamDecoderConfig config, Error *e)
{
    const int64_t C = config.dim;
    char name[PARAMS_NAME];
    *net = (SamDecoder){.config = config};
    check_config(w, &config);
    if (!weights_ok(w, e)) return false;
    open_prompt_encoder(net, w);
    net->iou_token =
        weights_get(w, (WeightSpec){{1, C}, .init = INIT_NORMAL, .a = 1}, "mask_decoder.iou_token.weight");
    net->mask_tokens = weights_get(w, (WeightSpec){{config.masks, C}, .init = INIT_NORMAL, .a = 1},
                                   "mask_decoder.mask_tokens.weight");
    for (int i = 0; i < SAM_LAYERS; i++) open_layer(net, w, i);
    net->final = open_attention(w, C, config.inner, "mask_decoder.transformer.final_attn_token_to_image");
    net->final_norm = sam_norm_open(w, C, "mask_decoder.transformer.norm_final_attn");
    net->up[0] = sam_deconv_open(w, C, 2, C / 4, "mask_decoder.output_upscaling.0");
    net->up_norm = sam_norm_open(w, C / 4, "mask_decoder.output_upscaling.1");
    net->up[1] = sam_deconv_open(w, C / 4, 2, C / 8, "mask_decoder.output_upscaling.3");
    for (int i = 0; i < config.masks; i++) {
        snprintf(name, sizeof name, "mask_decoder.output_hypernetworks_mlps.%d", i);
        open_mlp(w, net->hyper[i], C, C, C / 8, name);
    }
    open_mlp(w, net->iou, C, config.iou_hidden, config.masks, "mask_decoder.iou_prediction_head");
    weights_set_meta(w, "sam.decoder_heads", "%lld", (long long)config.heads);
    weights_set_meta(w, "sam.image_size", "%lld", (long long)config.image);
    return weights_ok(w, e);
}

bool sam_decoder_open(SamDecoder *net, Weights *w, Error *e)
{
    SamDecoderConfig c = {0};
    int64_t dim[4], patch[4];
    c.image = weights_meta_int(w, "sam.image_size", 1024, 1, 1 << 14);
    c.heads = weights_meta_int(w, "sam.decoder_heads", 8, 1, 1 << 10);
    if (weights_entry(w, "image_encoder.pos_embed") && weights_shape(w, 4, dim, "image_encoder.pos_embed") &&
        weights_shape(w, 4, patch, "image_encoder.patch_embed.proj.weight"))
        c.image = dim[1] <= 1 << 14 && patch[2] <= 1 << 14 ? dim[1] * patch[2] : 0;
    if (weights_shape(w, 2, dim, "mask_decoder.mask_tokens.weight")) {
        c.masks = dim[0];
        c.dim = dim[1];
    }
    if (weights_shape(w, 2, dim, "mask_decoder.transformer.final_attn_token_to_image.q_proj.weight"))
        c.inner = dim[0];
    if (weights_shape(w, 2, dim, "mask_decoder.transformer.layers.0.mlp.lin1.weight")) c.mlp = dim[0];
    if (weights_shape(w, 2, dim, "mask_decoder.iou_prediction_head.layers.0.weight")) c.iou_hidden = dim[0];
    if (weights_shape(w, 4, dim, "prompt_encoder.mask_downscaling.3.weight")) c.mask_hidden = dim[0];
    if (!weights_ok(w, e)) return false;
    return sam_decoder_create(net, w, c, e);
}

/* ---- parts ---- */

Tensor *sam_decoder_heads(Tape *t, const SamDecoder *net, const SamLinear *l, Tensor *x)
{
    const int64_t H = net->config.heads;
    Tensor *y = sam_linear(t, l, x);
    return tensor_reshape(t->step, y, 4, (int64_t[]){y->dim[0], y->dim[1], H, y->dim[2] / H});
}

/* out(attention(q(x), k(y), v(z))): x (n,T,C), y, z (n,S,C) -> (n,T,C). */
static Tensor *attention(Tape *t, const SamDecoder *net, const SamAttention *a, Tensor *x, Tensor *y, Tensor *z)
{
    Tensor *q = sam_decoder_heads(t, net, &a->q, x), *k = sam_decoder_heads(t, net, &a->k, y),
           *v = sam_decoder_heads(t, net, &a->v, z);
    Tensor *o = op_attention(t, q, k, v, NULL, 1 / sqrtf((float)q->dim[3]), false);
    o = tensor_reshape(t->step, o, 3, (int64_t[]){o->dim[0], o->dim[1], o->dim[2] * o->dim[3]});
    return sam_linear(t, &a->out, o);
}

Tensor *sam_decoder_self(Tape *t, const SamDecoder *net, int layer, Tensor *x, Tensor *t0)
{
    const SamLayer *l = &net->layer[layer];
    ArenaMark mark = arena_mark(t->step);
    Tensor *y = layer ? op_add(t, x, t0) : x;
    y = attention(t, net, &l->self, y, y, x);
    return tape_keep(t, mark, sam_norm(t, &l->norm[0], layer ? op_add(t, x, y) : y, eps));
}

Tensor *sam_decoder_mlp(Tape *t, const SamLayer *l, Tensor *x)
{
    ArenaMark mark = arena_mark(t->step);
    Tensor *y = sam_linear(t, &l->mlp[1], op_relu(t, sam_linear(t, &l->mlp[0], x)));
    return tape_keep(t, mark, sam_norm(t, &l->norm[2], op_add(t, x, y), eps));
}

static Tensor *mlp_forward(Tape *t, const SamLinear *l, Tensor *x)
{
    for (int i = 0; i < SAM_MLP; i++) {
        x = sam_linear(t, &l[i], x);
        if (i < SAM_MLP - 1) x = op_relu(t, x);
    }
    return x;
}

/* Token k of each prompt: (n,K,C) -> (n,C). */
static Tensor *token(Tape *t, Tensor *tokens, int64_t k)
{
    const int64_t n = tokens->dim[0], K = tokens->dim[1], C = tokens->dim[2];
    Tensor *index = tape_tensor(t, DTYPE_i32, 1, &n);
    int32_t *row = malloc((size_t)n * sizeof *row);
    if (!row) die_memory("the tokens of %lld prompts", (long long)n);
    for (int64_t i = 0; i < n; i++) row[i] = (int32_t)(i * K + k);
    tensor_upload(index, row);
    free(row);
    return op_select(t, tensor_reshape(t->step, tokens, 2, (int64_t[]){n * K, C}), index);
}

Tensor *sam_decoder_iou(Tape *t, const SamDecoder *net, Tensor *tokens)
{
    return mlp_forward(t, net->iou, token(t, tokens, 0));
}

Tensor *sam_decoder_hyper(Tape *t, const SamDecoder *net, Tensor *tokens)
{
    const int64_t dim[3] = {tokens->dim[0], 1, net->config.dim / 8};
    Tensor *all = NULL;
    for (int i = 0; i < net->config.masks; i++) {
        Tensor *one = mlp_forward(t, net->hyper[i], token(t, tokens, 1 + i));
        one = tensor_reshape(t->step, one, 3, dim);
        all = all ? op_concat(t, all, one, 1) : one;
    }
    return all;
}

Tensor *sam_decoder_upscale(Tape *t, const SamDecoder *net, Tensor *u, int64_t g)
{
    const int64_t n = u->dim[0], C = net->config.dim;
    ArenaMark mark = arena_mark(t->step);
    Tensor *y = tensor_reshape(t->step, u, 4, (int64_t[]){n, g, g, C});
    y = op_deconv2d(t, y, net->up[0].weight, net->up[0].bias, 2, 0);
    y = op_gelu(t, sam_norm(t, &net->up_norm, y, image_eps));
    y = tape_keep(t, mark, op_gelu(t, op_deconv2d(t, y, net->up[1].weight, net->up[1].bias, 2, 0)));
    tape_tap(t, y, "upscaled");
    return tensor_reshape(t->step, y, 3, (int64_t[]){n, 16 * g * g, C / 8});
}

/* ---- forward ---- */

/* u (n,S,C): each prompt's image with its mask's embedding. */
static Tensor *image_tokens(Tape *t, const SamDecoder *net, Tensor *embedding, const SamPrompts *p)
{
    const int64_t g = embedding->dim[1], C = net->config.dim, dim[3] = {p->n, g * g, C};
    Tensor *index = tape_tensor(t, DTYPE_i32, 1, dim);
    int32_t *image = calloc((size_t)p->n, sizeof *image);
    if (!image) die_memory("the images of %lld prompts", (long long)p->n);
    tensor_upload(index, p->image ? p->image : image);
    free(image);
    Tensor *u = op_select(t, embedding, index);
    if (!p->mask) {
        u = op_add_bias(t, u, tensor_reshape(t->step, net->no_mask, 1, &C));
        return tensor_reshape(t->step, u, 3, dim);
    }
    if (p->mask->ndim != 4 || p->mask->dim[0] != p->n || p->mask->dim[1] != 4 * g || p->mask->dim[2] != 4 * g ||
        p->mask->dim[3] != 1)
        die("sam_decoder: mask prompts %s for %lld prompts on %s", tensor_text(p->mask), (long long)p->n,
            tensor_text(embedding));
    Tensor *x = p->mask;
    for (int i = 0; i < 3; i++) {
        x = op_conv2d(t, x, net->mask_conv[i].weight, net->mask_conv[i].bias, i < 2 ? 2 : 1, 0);
        if (i < 2) x = op_gelu(t, sam_norm(t, &net->mask_norm[i], x, image_eps));
    }
    tape_tap(t, x, "dense");
    return tensor_reshape(t->step, op_add(t, u, x), 3, dim);
}

Tensor *sam_decoder_to_image(Tape *t, const SamDecoder *net, const SamAttention *a, const SamNorm *norm,
                             Tensor *x, Tensor *t0, Tensor *u, Tensor *pe)
{
    ArenaMark mark = arena_mark(t->step);
    Tensor *y = attention(t, net, a, op_add(t, x, t0), op_add_bias(t, u, pe), u);
    return tape_keep(t, mark, sam_norm(t, norm, op_add(t, x, y), eps));
}

Tensor *sam_decoder_to_token(Tape *t, const SamDecoder *net, const SamLayer *l, Tensor *x, Tensor *t0,
                             Tensor *u, Tensor *pe)
{
    ArenaMark mark = arena_mark(t->step);
    Tensor *y = attention(t, net, &l->to_token, op_add_bias(t, u, pe), op_add(t, x, t0), x);
    return tape_keep(t, mark, sam_norm(t, &l->norm[3], op_add(t, u, y), eps));
}

void sam_decoder_forward(Tape *t, const SamDecoder *net, Tensor *embedding, const SamPrompts *p, Tensor **masks,
                         Tensor **iou)
{
    const int64_t C = net->config.dim, M = net->config.masks, g = embedding->dim[1];
    if (embedding->ndim != 4 || embedding->dim[2] != g || embedding->dim[3] != C)
        die("sam_decoder: expected an embedding (m,g,g,%lld), got %s", (long long)C, tensor_text(embedding));
    Tensor *t0 = sam_decoder_tokens(t, net, p), *pe = sam_decoder_positions(t, net, g), *x = t0; /* (n,K,C) */
    Tensor *u = image_tokens(t, net, embedding, p);                                              /* (n,S,C) */
    for (int i = 0; i < SAM_LAYERS; i++) {
        const SamLayer *l = &net->layer[i];
        x = sam_decoder_self(t, net, i, x, t0);
        x = sam_decoder_to_image(t, net, &l->to_image, &l->norm[1], x, t0, u, pe);
        x = sam_decoder_mlp(t, l, x);
        u = sam_decoder_to_token(t, net, l, x, t0, u, pe);
        tape_tap(t, x, "layers.%d.queries", i);
        tape_tap(t, u, "layers.%d.keys", i);
    }
    x = sam_decoder_to_image(t, net, &net->final, &net->final_norm, x, t0, u, pe);
    tape_tap(t, x, "tokens");
    *iou = sam_decoder_iou(t, net, x);
    tape_tap(t, *iou, "iou");
    Tensor *hyper = sam_decoder_hyper(t, net, x), *up = sam_decoder_upscale(t, net, u, g);
    Tensor *y = op_matmul(t, hyper, up, NULL, NULL, false, true); /* (n,masks,16S) */
    *masks = tensor_reshape(t->step, y, 4, (int64_t[]){p->n, M, 4 * g, 4 * g});
    tape_tap(t, *masks, "masks");
}
