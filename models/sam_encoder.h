/* The image encoder of SAM (Kirillov et al. 2023), a plain ViT with windows (Li et al. 2022), at any size:
 * ViT-B, L, H of the public checkpoints (89,670,912, 308,278,272, 637,026,048 weights) and smaller ones.
 *
 *     x = patches(image) + pos_embed
 *     x += unwindow(attention(window(norm1 x)));  x += lin2(gelu(lin1(norm2 x)))     a block
 *     y = norm(conv3x3(norm(conv1x1(x))))                                             the neck
 *
 * Blocks attend within windows, padded with zeros after norm1: padded tokens are keys like any other; some
 * ("global") over the whole grid. Positions are relative ones, decomposed (op_relpos_attention). Norms have eps
 * 1e-6. Names are those of the public checkpoints (image_encoder.blocks.0.attn.qkv.weight). */
#ifndef MODELS_SAM_ENCODER_H
#define MODELS_SAM_ENCODER_H
#include "models/sam_parts.h"

enum { SAM_DEPTH = 64 }; /* blocks at most */

typedef struct SamEncoderConfig {
    int64_t image;        /* S, pixels a side: a multiple of patch */
    int64_t patch;        /* pixels a side; the grid is g = S / patch */
    int64_t width, heads; /* D channels; a head has D / heads */
    int64_t mlp;          /* hidden channels; 4 D in the public ones */
    int64_t window;       /* tokens a side */
    int64_t out;          /* C, channels of the embedding */
    uint64_t global;      /* bit i: block i attends over the whole grid */
    int depth;
} SamEncoderConfig;

typedef struct SamBlock {
    SamNorm norm1, norm2;
    SamLinear qkv, proj, lin1, lin2; /* qkv (3D,D), read in three slices */
    Tensor *rel_h, *rel_w;           /* (2s-1,D/heads), s the side of what it attends over */
    bool global;
} SamBlock;

typedef struct SamEncoder {
    SamEncoderConfig config;
    int64_t grid; /* g */
    SamConv patches;
    Tensor *position; /* (1,g,g,D) */
    SamBlock *block;  /* [depth], in the host stack of the arena that holds the weights */
    SamConv neck[2];
    SamNorm neck_norm[2];
} SamEncoder;

/* All sizes from the file's shapes; a block is global where its relative positions cover the grid. Trainable or
 * frozen as w says; one Weights may serve encoder and decoder. */
bool sam_encoder_open(SamEncoder *net, Weights *w, Error *e);
/* An encoder of the given configuration: from w's file if there is one (shapes must agree), else initialised:
 * Linears and convs as PyTorch does, pos_embed normal with sd 0.02, relative positions 0. */
bool sam_encoder_create(SamEncoder *net, Weights *w, SamEncoderConfig config, Error *e);

/* x (n,S,S,3), normalised by the caller -> (n,g,g,C), f32. Differentiable. Taps: "patches", "blocks.%d",
 * "embedding". */
Tensor *sam_encoder_forward(Tape *t, const SamEncoder *net, Tensor *x);
#endif
