/* The Swin transformer (Liu et al. 2021) as an image tower: attention in windows, every second block's shifted
 * by half a window, patches merged 2 x 2 between stages, pre-norm, GELU by erf. Names are Hugging Face's
 * (embeddings.patch_embeddings.projection.weight, encoder.layers.0.blocks.1.attention.self.query.weight) behind
 * w->prefix; the index that goes with each bias table is computed, not read.
 *
 *     x = norm(patches(image))
 *     h = x + dense(unwindow(attention(window(norm(x)))));  y = h + output(gelu(intermediate(norm(h))))
 *     x = reduction(norm([x(2i,2j) x(2i+1,2j) x(2i,2j+1) x(2i+1,2j+1)])) between stages
 *
 * Windows are cut from a map padded with zeros to whole ones; a stage of a single window is not shifted. */
#ifndef MODELS_SWIN_H
#define MODELS_SWIN_H
#include "kernels/ops.h"
#include "models/weights.h"

enum { SWIN_STAGES = 6 };

typedef struct SwinConfig {
    int64_t channels, patch, width, ffn; /* ffn: as a multiple of a stage's width */
    int64_t stages, window;
    int64_t depth[SWIN_STAGES], heads[SWIN_STAGES];
} SwinConfig;

typedef struct SwinNorm {
    Tensor *weight, *bias;
} SwinNorm;

typedef struct SwinLinear {
    Tensor *weight, *bias; /* (out,in), (out) or NULL */
} SwinLinear;

typedef struct SwinBlock {
    SwinNorm before, after;
    SwinLinear q, k, v, dense, intermediate, output;
    Tensor *table; /* ((2 window - 1)^2,heads) */
} SwinBlock;

typedef struct SwinStage {
    SwinBlock *block; /* [depth] */
    SwinNorm merge_norm;
    SwinLinear merge; /* (2C,4C); of all stages but the last */
} SwinStage;

typedef struct Swin {
    SwinConfig config;
    int64_t dim; /* of the last stage: width << (stages - 1) */
    Tensor *patch, *patch_bias;
    SwinNorm patch_norm, norm;
    SwinStage stage[SWIN_STAGES];
} Swin;

/* All sizes from names and shapes. */
bool swin_open(Swin *m, Weights *w, Error *e);
/* Of the given configuration: from w's file if there is one, else normal with sd 0.02 sqrt(768 / dim) (0.02 for
 * Swin-T), biases and bias tables 0, norms 1. */
bool swin_create(Swin *m, Weights *w, SwinConfig config, Error *e);
/* False and an Error unless images of that side divide into patches, merge to the last stage and give each
 * stage a window. */
bool swin_check_side(const Swin *m, int64_t side, Error *e);

/* x (N,side,side,channels), normalised by the caller -> (N,dim), f32: the mean over the last stage's map after
 * the final norm. Taps: "embeddings" (N,h,w,C), "stage.%d.block.%d", "stage.%d.merge" (N,h/2,w/2,2C), "norm",
 * "pooled". */
Tensor *swin_forward(Tape *t, const Swin *m, Tensor *x);
#endif
