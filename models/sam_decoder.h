/* SAM's prompt encoder and mask decoder (Kirillov et al. 2023, appendix A), at any size; at the public ones
 * (256 channels, 8 heads, 4 mask tokens) 6,220 and 4,058,340 weights.
 *
 *     tokens t0 = [iou token, mask tokens, prompts]            (K,C)
 *     image  u  = embedding + (no_mask or the mask's embedding) (S,C), S = g*g cells, with positions pe
 *     twice:  t = norm1(t + self(t + t0));                  the first time norm1(self(t))
 *             t = norm2(t + attention(t + t0 -> u + pe, u)); t = norm3(t + mlp(t))
 *             u = norm4(u + attention(u + pe -> t + t0, t))
 *     t = norm(t + attention(t + t0 -> u + pe, u))
 *     mask m = hyper_m(t[1+m]) . upscaled(u), iou = head(t[0])
 *
 * Norms have eps 1e-5, those of images 1e-6; the MLPs are ReLU. Names are those of the public checkpoints
 * (prompt_encoder., mask_decoder.), in one file with the image encoder. This is the naive path: differentiable,
 * for training, and the oracle of models/sam_predict.h. */
#ifndef MODELS_SAM_DECODER_H
#define MODELS_SAM_DECODER_H
#include "models/sam_parts.h"

enum {
    SAM_LAYERS = 2,
    SAM_MLP = 3,
    SAM_MASKS = 8 /* mask tokens at most */,
    SAM_POINTS = 1 << 10 /* of a prompt, at most */
};

typedef struct SamDecoderConfig {
    int64_t image;       /* S, pixels a side of the encoder's input: what prompts are counted in */
    int64_t dim, heads;  /* C; heads divides C and inner */
    int64_t inner;       /* of attention between tokens and image; C / 2 in the public ones */
    int64_t mlp;         /* hidden channels between them; 2048 in the public ones */
    int64_t masks;       /* mask tokens, 4: one for a prompt that is clear, three for one that is not */
    int64_t iou_hidden;  /* of the IoU head; 256 in the public ones */
    int64_t mask_hidden; /* channels of a mask prompt before C; 16 in the public ones, a multiple of 4 */
} SamDecoderConfig;

typedef struct SamAttention {
    SamLinear q, k, v, out;
} SamAttention;

typedef struct SamLayer {
    SamAttention self, to_image, to_token; /* tokens to tokens, tokens to image, image to tokens */
    SamNorm norm[4];
    SamLinear mlp[2];
} SamLayer;

typedef struct SamDecoder {
    SamDecoderConfig config;
    Tensor *gauss;                  /* (2,C/2), frequencies of the Fourier features; not trained */
    Tensor *point[4], *not_a_point; /* (1,C): background, foreground, a box's two corners; padding */
    Tensor *no_mask;                /* (1,C) */
    SamConv mask_conv[3];           /* 2x2 stride 2, 2x2 stride 2, 1x1 */
    SamNorm mask_norm[2];
    Tensor *iou_token, *mask_tokens; /* (1,C) (masks,C) */
    SamLayer layer[SAM_LAYERS];
    SamAttention final; /* tokens to image */
    SamNorm final_norm, up_norm;
    SamConv up[2]; /* transposed, 2x2 stride 2: C -> C/4 -> C/8 */
    SamLinear hyper[SAM_MASKS][SAM_MLP], iou[SAM_MLP];
} SamDecoder;

/* What is asked of images: n prompts with as many points each, and a box, or a mask, or neither. Coordinates
 * are x, y in pixels of the encoder's input, in double up to the division by S, as the reference has them. */
typedef struct SamPrompts {
    int64_t n;
    int points;           /* of a prompt; 0 allowed */
    const double *point;  /* [n][points][2] */
    const int32_t *label; /* [n][points]: 1 foreground, 0 background, -1 none */
    const double *box;    /* [n][4]: x0, y0, x1, y1; or NULL */
    Tensor *mask;         /* (n,4g,4g,1), logits of an earlier answer; or NULL */
    const int32_t *image; /* [n]: index into the embedding's dim 0; NULL: all 0 */
} SamPrompts;

/* Sizes from the file's shapes; heads from metadata "sam.decoder_heads" (8 if absent); S from the encoder's
 * shapes in the same file, else from metadata "sam.image_size" (1024 if absent). Trainable or frozen as w. */
bool sam_decoder_open(SamDecoder *net, Weights *w, Error *e);
/* A decoder of the given configuration: from w's file if there is one (shapes must agree), else initialised as
 * PyTorch does: Linears and convs uniform, tokens and frequencies standard normal. */
bool sam_decoder_create(SamDecoder *net, Weights *w, SamDecoderConfig config, Error *e);

/* embedding (m,g,g,C) f32 -> masks (n,masks,4g,4g) logits and iou (n,masks). Mask 0 is the answer to a clear
 * prompt, 1.. those to one that is not. Differentiable, the mask prompt and the embedding included. Taps:
 * "sparse", "dense" (mask prompts only), "layers.%d.queries", "layers.%d.keys", "tokens", "upscaled", "masks",
 * "iou". */
void sam_decoder_forward(Tape *t, const SamDecoder *net, Tensor *embedding, const SamPrompts *p, Tensor **masks,
                         Tensor **iou);

/* ---- its parts, for models/sam_predict.h ---- */

/* t0 (n,K,C): iou token, mask tokens, prompts; K = 1 + masks + points + (2 with a box, else 1 with points). */
Tensor *sam_decoder_tokens(Tape *t, const SamDecoder *net, const SamPrompts *p);
int64_t sam_decoder_token_count(const SamDecoder *net, const SamPrompts *p);
/* pe (g*g,C): the Fourier features of the cells' centres. */
Tensor *sam_decoder_positions(Tape *t, const SamDecoder *net, int64_t g);
/* Of tokens alone: attention among them with norm1; norm3(x + mlp(x)). x, t0 (n,K,C). */
Tensor *sam_decoder_self(Tape *t, const SamDecoder *net, int layer, Tensor *x, Tensor *t0);
Tensor *sam_decoder_mlp(Tape *t, const SamLayer *l, Tensor *x);
/* Between tokens x and image u (n,S,C): norm(x + attention(x + t0 -> u + pe, u)), (n,K,C);
 * norm4(u + attention(u + pe -> x + t0, x)), (n,S,C). */
Tensor *sam_decoder_to_image(Tape *t, const SamDecoder *net, const SamAttention *a, const SamNorm *norm,
                             Tensor *x, Tensor *t0, Tensor *u, Tensor *pe);
Tensor *sam_decoder_to_token(Tape *t, const SamDecoder *net, const SamLayer *l, Tensor *x, Tensor *t0,
                             Tensor *u, Tensor *pe);
/* (n,S,C) -> (n,16S,C/8) */
Tensor *sam_decoder_upscale(Tape *t, const SamDecoder *net, Tensor *u, int64_t g);
/* From the tokens (n,K,C): (n,masks) and (n,masks,C/8). */
Tensor *sam_decoder_iou(Tape *t, const SamDecoder *net, Tensor *tokens);
Tensor *sam_decoder_hyper(Tape *t, const SamDecoder *net, Tensor *tokens);
/* An attention's projection, cut into heads: (n,T,C) -> (n,T,heads,inner/heads). */
Tensor *sam_decoder_heads(Tape *t, const SamDecoder *net, const SamLinear *l, Tensor *x);
#endif
