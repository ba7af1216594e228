/* Many prompts about one image: what sam_decoder_forward computes, by less arithmetic, nothing approximated.
 *
 * 1. The image side of the first layer is the same for all prompts: its keys, values and queries are made once.
 *
 * 2. Where K tokens of H heads face S cells, projections go to the token side (as in latent attention): S C K H
 * multiplications in place of S C inner, so only where K H < inner; no (n,S,inner) is made. Head h of tokens t:
 *
 *     to image:  score = (Wk_h^T (Wq_h (t + t0) + bq_h)) . (u + pe); the key's bias moves no softmax
 *                out = sum_h Wo_h Wv_h (sum_s p_s u_s) + Wo bv + bo
 *     to tokens: score = (Wq_h^T k) . (u + pe) + bq_h . k, with k = Wk_h (t + t0) + bk_h
 *                out = sum over h and t of p Wo_h (Wv_h t + bv_h) + bo
 *
 * 3. The predicted IoU depends on tokens alone: what it rejects is not upscaled.
 *
 * Prompts go through in chunks of SAM_CHUNK, the last one padded: a prompt's answer does not depend on how many
 * are asked, nor on its place among them, bit for bit. */
#ifndef MODELS_SAM_PREDICT_H
#define MODELS_SAM_PREDICT_H
#include "models/sam_decoder.h"

enum { SAM_CHUNK = 4 };

/* How many of the three savings are made; all, but for measurements and tests. */
typedef enum { SAM_SHARE = 1, SAM_ABSORB, SAM_FILTER } SamSavings;

typedef struct SamPredictor {
    const SamDecoder *net;
    SamSavings savings;
    struct {
        SamLinear q, out;       /* (H*C,C) (C,H*C) */
    } to_image[SAM_LAYERS + 1]; /* of layers 1.., and the final one; layer 0 needs none */
    struct {
        SamLinear k, bias, v; /* (H*C,C) (H,C) (H*C,C); of layer 0 (H*inner,C), none, (H*C,C) */
    } to_token[SAM_LAYERS];
} SamPredictor;

/* Multiplies the projections of net as they are now, in double; the products live in `home`. */
void sam_predictor_open(SamPredictor *p, const SamDecoder *net, Arena *home);

typedef struct SamImage {
    const SamPredictor *predictor;
    int64_t grid;     /* g; S = g*g */
    Tensor *pe;       /* (S,C) */
    Tensor *u, *u_pe; /* (S,C): embedding + no_mask; + pe */
    Tensor *k, *v;    /* (1,S,H,inner/H): of the first tokens-to-image attention */
    Tensor *q;        /* (1,S,inner): of the first image-to-tokens attention */
} SamImage;

/* What all prompts about one image share, on t's step stack. embedding (1,g,g,C). */
void sam_image_open(SamImage *image, const SamPredictor *p, Tape *t, Tensor *embedding);

typedef struct SamPrediction {
    float *iou;      /* [n][masks]: predicted for every prompt and mask token */
    int64_t kept;    /* pairs of prompt and mask */
    int32_t *prompt; /* [kept], rising */
    int32_t *mask;   /* [kept]: mask token, rising within a prompt */
    Tensor *logits;  /* (kept,4g,4g); NULL where nothing is kept */
} SamPrediction;

/* Answers all prompts about the image; keeps masks 1.. (or mask 0, without `several`) with a predicted IoU
 * above `threshold`. Everything lies on t's step stack, room for n * (masks - 1) masks included, until the
 * caller pops it. No mask prompts, and t must not record. Under backend plan nothing passes but a negative
 * threshold. */
void sam_predict(Tape *t, const SamImage *image, const SamPrompts *prompts, bool several, float threshold,
                 SamPrediction *y);
#endif
