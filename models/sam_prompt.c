/* The prompts of SAM as tokens, and the positions of the image's cells: both are Fourier features of
 * coordinates, made on the host as the reference makes them, in f32 from the division by S on. */
#include "models/sam_decoder.h"
#include <math.h>
#include <stdlib.h>

/* Rows of the table that sam_decoder_tokens looks embeddings up in. */
enum { ROW_NONE, ROW_BACKGROUND, ROW_FOREGROUND, ROW_CORNER };

/* y (C): sines, then cosines, of 2 pi (2c - 1) G; G (2,C/2). */
static void fourier(const float *G, int64_t C, float cx, float cy, float *y)
{
    const float turn = (float)(2 * M_PI), x = 2 * cx - 1, z = 2 * cy - 1;
    for (int64_t i = 0; i < C / 2; i++) {
        float angle = turn * (x * G[i] + z * G[C / 2 + i]);
        y[i] = sinf(angle);
        y[C / 2 + i] = cosf(angle);
    }
}

static void *host_room(size_t bytes)
{
    void *p = calloc(1, bytes);
    if (!p) die_memory("a prompt's features");
    return p;
}

static float *frequencies(const SamDecoder *net)
{
    float *G = host_room(tensor_bytes(net->gauss));
    tensor_download(net->gauss, G);
    return G;
}

Tensor *sam_decoder_positions(Tape *t, const SamDecoder *net, int64_t g)
{
    const int64_t C = net->config.dim;
    Tensor *pe = tape_tensor(t, DTYPE_f32, 2, (int64_t[]){g * g, C});
    float *G = frequencies(net), *y = host_room(tensor_bytes(pe)), side = (float)g;
    for (int64_t i = 0; i < g * g; i++)
        fourier(G, C, ((float)(i % g) + 0.5f) / side, ((float)(i / g) + 0.5f) / side, y + i * C);
    tensor_upload(pe, y);
    free(y);
    free(G);
    return pe;
}

/* Prompt tokens of one prompt: its points, a padding one unless there is a box, the box's corners. */
static int64_t prompt_tokens(const SamPrompts *p) { return p->points + (p->box ? 2 : p->points ? 1 : 0); }

int64_t sam_decoder_token_count(const SamDecoder *net, const SamPrompts *p)
{
    return 1 + net->config.masks + prompt_tokens(p);
}

/* Features y (C) and row of token k of prompt i; y is zeroed. */
static int32_t prompt_token(const SamDecoder *net, const SamPrompts *p, const float *G, int64_t i, int64_t k,
                            float *y)
{
    const double S = (double)net->config.image;
    const double *at;
    int32_t row;
    if (k < p->points) {
        int32_t label = p->label[i * p->points + k];
        if (label < -1 || label > 1)
            die("sam_decoder: label %d of point %lld of prompt %lld", label, (long long)k, (long long)i);
        at = p->point + 2 * (i * p->points + k);
        row = label < 0 ? ROW_NONE : label ? ROW_FOREGROUND : ROW_BACKGROUND;
    } else {
        at = p->box ? p->box + 4 * i + 2 * (k - p->points) : NULL;
        row = p->box ? ROW_CORNER + (int32_t)(k - p->points) : ROW_NONE;
    }
    if (row != ROW_NONE) fourier(G, net->config.dim, (float)((at[0] + 0.5) / S), (float)((at[1] + 0.5) / S), y);
    return row;
}

/* (n,prompt_tokens,C) */
static Tensor *embed_prompts(Tape *t, const SamDecoder *net, const SamPrompts *p)
{
    const int64_t C = net->config.dim, K = prompt_tokens(p), dim[3] = {p->n, K, C};
    Tensor *feature = tape_tensor(t, DTYPE_f32, 2, (int64_t[]){p->n * K, C});
    Tensor *index = tape_tensor(t, DTYPE_i32, 1, (int64_t[]){p->n * K});
    float *G = frequencies(net), *y = host_room(tensor_bytes(feature));
    int32_t *row = host_room(tensor_bytes(index));
    for (int64_t i = 0; i < p->n * K; i++) row[i] = prompt_token(net, p, G, i / K, i % K, y + i * C);
    tensor_upload(feature, y);
    tensor_upload(index, row);
    free(row);
    free(y);
    free(G);
    Tensor *table = net->not_a_point; /* (5,C) */
    for (int i = 0; i < 4; i++) table = op_concat(t, table, net->point[i], 0);
    Tensor *x = op_add(t, feature, op_select(t, table, index));
    return tensor_reshape(t->step, x, 3, dim);
}

Tensor *sam_decoder_tokens(Tape *t, const SamDecoder *net, const SamPrompts *p)
{
    const int64_t C = net->config.dim, M = 1 + net->config.masks;
    if (p->n < 1 || p->points < 0 || p->points > SAM_POINTS)
        die("sam_decoder: %lld prompts of %d points", (long long)p->n, p->points);
    Tensor *index = tape_tensor(t, DTYPE_i32, 1, (int64_t[]){p->n});
    int32_t *zero = host_room(tensor_bytes(index));
    tensor_upload(index, zero);
    free(zero);
    Tensor *own = op_concat(t, net->iou_token, net->mask_tokens, 0); /* (1+masks,C) */
    own = op_select(t, tensor_reshape(t->step, own, 3, (int64_t[]){1, M, C}), index);
    if (!prompt_tokens(p)) return own;
    Tensor *sparse = embed_prompts(t, net, p);
    tape_tap(t, sparse, "sparse");
    return op_concat(t, own, sparse, 1);
}
