#include "models/sam_predict.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const float eps = 1e-5f;

/* A chunk on its way through the decoder. */
typedef struct Chunk {
    const SamImage *image;
    const SamDecoder *net;
    bool absorbs;
    int64_t Q, K, S;  /* prompts, tokens of each, cells */
    Tensor *t0, *x;   /* (Q,K,C) */
    Tensor *u, *u_pe; /* (Q,S,C); not before the end of layer 0 */
} Chunk;

static Tensor *shaped(Tape *t, Tensor *x, int64_t a, int64_t b, int64_t c)
{
    return tensor_reshape(t->step, x, 3, (int64_t[]){a, b, c});
}

void sam_image_open(SamImage *image, const SamPredictor *p, Tape *t, Tensor *embedding)
{
    const SamDecoder *net = p->net;
    const int64_t C = net->config.dim, g = embedding->dim[1], S = g * g;
    if (embedding->ndim != 4 || embedding->dim[0] != 1 || embedding->dim[2] != g || embedding->dim[3] != C)
        die("sam_image: expected one embedding (1,g,g,%lld), got %s", (long long)C, tensor_text(embedding));
    if (t->recording) die("sam_image: prediction has no gradient");
    *image = (SamImage){.predictor = p, .grid = g};
    image->pe = sam_decoder_positions(t, net, g);
    Tensor *u = op_add_bias(t, embedding, tensor_reshape(t->step, net->no_mask, 1, &C));
    image->u = tensor_reshape(t->step, u, 2, (int64_t[]){S, C});
    image->u_pe = op_add(t, image->u, image->pe);
    const SamLayer *l = &net->layer[0];
    Tensor *one = shaped(t, image->u, 1, S, C), *one_pe = shaped(t, image->u_pe, 1, S, C);
    image->k = sam_decoder_heads(t, net, &l->to_image.k, one_pe);
    image->v = sam_decoder_heads(t, net, &l->to_image.v, one);
    image->q = sam_linear(t, &l->to_token.q, one_pe);
}

/* ---- the first layer: its image side is there ---- */

/* All prompts' tokens are queries of one sequence. */
static Tensor *first_to_image(Tape *t, const Chunk *c)
{
    const SamLayer *l = &c->net->layer[0];
    const SamImage *image = c->image;
    const int64_t H = image->k->dim[2], D = image->k->dim[3];
    ArenaMark mark = arena_mark(t->step);
    Tensor *q = sam_linear(t, &l->to_image.q, op_add(t, c->x, c->t0)); /* (Q,K,inner) */
    q = tensor_reshape(t->step, q, 4, (int64_t[]){1, c->Q * c->K, H, D});
    Tensor *y = op_attention(t, q, image->k, image->v, NULL, 1 / sqrtf((float)D), false);
    y = sam_linear(t, &l->to_image.out, shaped(t, y, c->Q, c->K, H * D));
    return tape_keep(t, mark, sam_norm(t, &l->norm[1], op_add(t, c->x, y), eps));
}

/* Without absorption: the shared queries, for each prompt. */
static Tensor *first_to_token(Tape *t, const Chunk *c)
{
    const SamLayer *l = &c->net->layer[0];
    const SamImage *image = c->image;
    const int64_t H = image->k->dim[2], D = image->k->dim[3];
    ArenaMark mark = arena_mark(t->step);
    Tensor *index = tape_tensor(t, DTYPE_i32, 1, &c->Q);
    tensor_upload(index, (int32_t[SAM_CHUNK]){0});
    Tensor *q = tensor_reshape(t->step, op_select(t, image->q, index), 4, (int64_t[]){c->Q, c->S, H, D});
    Tensor *k = sam_decoder_heads(t, c->net, &l->to_token.k, op_add(t, c->x, c->t0)),
           *v = sam_decoder_heads(t, c->net, &l->to_token.v, c->x);
    Tensor *y = op_attention(t, q, k, v, NULL, 1 / sqrtf((float)D), false);
    y = sam_linear(t, &l->to_token.out, shaped(t, y, c->Q, c->S, H * D));
    return tape_keep(t, mark, sam_norm(t, &l->norm[3], op_add_bias(t, y, image->u), eps));
}

/* ---- absorbed ---- */

/* norm(x + out(softmax(q (u + pe)^T) u)); attention i, which is layer i's or the final one. */
static Tensor *absorbed_to_image(Tape *t, const Chunk *c, int i, const SamNorm *norm)
{
    const SamPredictor *p = c->image->predictor;
    const int64_t H = c->net->config.heads, C = c->net->config.dim;
    ArenaMark mark = arena_mark(t->step);
    Tensor *q = sam_linear(t, &p->to_image[i].q, op_add(t, c->x, c->t0)); /* (Q,K,H*C) */
    q = shaped(t, q, c->Q, c->K * H, C);
    Tensor *s = op_softmax(t, op_matmul(t, q, c->u_pe, NULL, NULL, false, true), 1); /* (Q,K*H,S) */
    Tensor *y = op_matmul(t, s, c->u, NULL, NULL, false, false);                     /* (Q,K*H,C) */
    y = sam_linear(t, &p->to_image[i].out, shaped(t, y, c->Q, c->K, H * C));
    return tape_keep(t, mark, sam_norm(t, norm, op_add(t, c->x, y), eps));
}

/* norm4(u + softmax over tokens and within heads of ((u + pe) k^T) v) */
static Tensor *absorbed_to_token(Tape *t, const Chunk *c, int i)
{
    const SamPredictor *p = c->image->predictor;
    const int64_t H = c->net->config.heads, C = c->net->config.dim, Q = c->Q, K = c->K, S = c->S;
    ArenaMark mark = arena_mark(t->step);
    Tensor *own = op_add(t, c->x, c->t0), *bias = i ? sam_linear(t, &p->to_token[i].bias, own) : NULL;
    Tensor *k = sam_linear(t, &p->to_token[i].k, own), *v = sam_linear(t, &p->to_token[i].v, c->x);
    k = shaped(t, k, Q, K * H, tensor_last(k) / H);
    Tensor *q = i ? c->u_pe : tensor_reshape(t->step, c->image->q, 2, c->image->q->dim + 1);
    Tensor *s = op_matmul(t, k, q, NULL, NULL, false, true); /* (Q,K*H,S) */
    s = op_softmax_columns(t, tensor_reshape(t->step, s, 4, (int64_t[]){Q, K, H, S}), bias, 1);
    Tensor *y = op_matmul(t, shaped(t, s, Q, K * H, S), shaped(t, v, Q, K * H, C), NULL, NULL, true, false);
    y = i ? op_add(t, y, c->u) : op_add_bias(t, y, c->image->u); /* (Q,S,C) */
    return tape_keep(t, mark, sam_norm(t, &c->net->layer[i].norm[3], y, eps));
}

/* ---- a chunk ---- */

static void layer(Tape *t, Chunk *c, int i)
{
    const SamLayer *l = &c->net->layer[i];
    c->x = sam_decoder_self(t, c->net, i, c->x, c->t0);
    c->x = !i ? first_to_image(t, c)
           : c->absorbs
               ? absorbed_to_image(t, c, i, &l->norm[1])
               : sam_decoder_to_image(t, c->net, &l->to_image, &l->norm[1], c->x, c->t0, c->u, c->image->pe);
    c->x = sam_decoder_mlp(t, l, c->x);
    c->u = c->absorbs ? absorbed_to_token(t, c, i)
           : !i       ? first_to_token(t, c)
                      : sam_decoder_to_token(t, c->net, l, c->x, c->t0, c->u, c->image->pe);
    if (c->absorbs) c->u_pe = op_add_bias(t, c->u, c->image->pe);
}

/* x and u at the end of the transformer. */
static void chunk_run(Tape *t, Chunk *c)
{
    const SamDecoder *net = c->net;
    c->x = c->t0;
    for (int i = 0; i < SAM_LAYERS; i++) layer(t, c, i);
    c->x = c->absorbs
               ? absorbed_to_image(t, c, SAM_LAYERS, &net->final_norm)
               : sam_decoder_to_image(t, net, &net->final, &net->final_norm, c->x, c->t0, c->u, c->image->pe);
}

/* Prompts from..from+SAM_CHUNK-1, the last one again where there are no more. */
static Tensor *chunk_tokens(Tape *t, const SamDecoder *net, const SamPrompts *p, int64_t from)
{
    const size_t P = (size_t)p->points;
    SamPrompts part = {.n = SAM_CHUNK, .points = p->points};
    double *point = malloc(SAM_CHUNK * (2 * P + 4) * sizeof *point), *box = point + SAM_CHUNK * 2 * P;
    int32_t *label = malloc(SAM_CHUNK * (P + 1) * sizeof *label);
    if (!point || !label) die_memory("a chunk of prompts");
    for (size_t i = 0; i < SAM_CHUNK; i++) {
        size_t at = (size_t)(from + (int64_t)i < p->n ? from + (int64_t)i : p->n - 1);
        if (P) memcpy(point + 2 * P * i, p->point + 2 * P * at, 2 * P * sizeof *point);
        if (P) memcpy(label + P * i, p->label + P * at, P * sizeof *label);
        if (p->box) memcpy(box + 4 * i, p->box + 4 * at, 4 * sizeof *box);
    }
    part.point = point;
    part.label = label;
    part.box = p->box ? box : NULL;
    Tensor *t0 = sam_decoder_tokens(t, net, &part);
    free(label);
    free(point);
    return t0;
}

/* ---- masks ---- */

/* All masks of prompt i of a chunk: (masks,16S). */
static Tensor *prompt_masks(Tape *t, const Chunk *c, Tensor *hyper, int64_t i)
{
    Tensor *up = sam_decoder_upscale(t, c->net, tensor_slice(t->step, c->u, i, 1), c->image->grid);
    return op_matmul(t, tensor_slice(t->step, hyper, i, 1), up, NULL, NULL, false, true);
}

/* What prompt `at` of all, i of the chunk, leaves in y; `all` has room for every mask. */
static void keep_masks(Tape *t, const Chunk *c, Tensor *hyper, int64_t at, int64_t i, bool several,
                       float threshold, Tensor *all, SamPrediction *y)
{
    const int64_t M = c->net->config.masks, from = several && M > 1 ? 1 : 0, to = several ? M : 1;
    const float *iou = y->iou + at * M;
    bool any = c->image->predictor->savings < SAM_FILTER;
    for (int64_t m = from; m < to; m++) any = any || iou[m] > threshold;
    if (!any) return;
    ArenaMark mark = arena_mark(t->step);
    Tensor *masks = prompt_masks(t, c, hyper, i);
    const size_t bytes = tensor_bytes(masks) / (size_t)M;
    for (int64_t m = from; m < to; m++) {
        if (!(iou[m] > threshold)) continue;
        all->backend->move((char *)all->data + (size_t)y->kept * bytes, (char *)masks->data + (size_t)m * bytes,
                           bytes);
        y->prompt[y->kept] = (int32_t)at;
        y->mask[y->kept++] = (int32_t)m;
    }
    arena_pop(t->step, mark);
}

static void predict_chunk(Tape *t, Chunk *c, const SamPrompts *p, int64_t from, bool several, float threshold,
                          Tensor *all, SamPrediction *y)
{
    const int64_t M = c->net->config.masks, count = p->n - from < c->Q ? p->n - from : c->Q;
    float iou[SAM_CHUNK * SAM_MASKS];
    c->t0 = chunk_tokens(t, c->net, p, from);
    chunk_run(t, c);
    tensor_download(sam_decoder_iou(t, c->net, c->x), iou);
    memcpy(y->iou + from * M, iou, (size_t)(count * M) * sizeof *iou);
    Tensor *hyper = sam_decoder_hyper(t, c->net, c->x);
    for (int64_t i = 0; i < count; i++) keep_masks(t, c, hyper, from + i, i, several, threshold, all, y);
}

void sam_predict(Tape *t, const SamImage *image, const SamPrompts *prompts, bool several, float threshold,
                 SamPrediction *y)
{
    const SamDecoder *net = image->predictor->net;
    const int64_t M = net->config.masks, n = prompts->n, side = 4 * image->grid;
    const int64_t most = n * (several && M > 1 ? M - 1 : 1);
    if (prompts->mask || prompts->image || t->recording)
        die("sam_predict: neither mask prompts, nor prompts about several images, nor gradients");
    *y = (SamPrediction){.iou = arena_push_host(t->step, (size_t)(n * M) * sizeof *y->iou),
                         .prompt = arena_push_host(t->step, (size_t)most * sizeof *y->prompt),
                         .mask = arena_push_host(t->step, (size_t)most * sizeof *y->mask)};
    Tensor *all = tape_tensor(t, DTYPE_f32, 3, (int64_t[]){most, side, side});
    Chunk c = {.image = image, .net = net, .Q = SAM_CHUNK, .S = image->grid * image->grid};
    c.K = sam_decoder_token_count(net, prompts);
    c.absorbs = image->predictor->savings >= SAM_ABSORB && c.K * net->config.heads < net->config.inner;
    for (int64_t from = 0; from < n; from += SAM_CHUNK) {
        ArenaMark mark = arena_mark(t->step);
        predict_chunk(t, &c, prompts, from, several, threshold, all, y);
        arena_pop(t->step, mark);
    }
    if (y->kept) y->logits = tensor_slice(t->step, all, 0, y->kept);
}
