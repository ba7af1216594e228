/* The trainable head between frozen grid features and the language model: two residual blocks on each slice
 * (local_res), projectors to the language model's width, a segmentation head, and the Linears into the space in
 * which images and texts are aligned.
 *
 *     V = local_res(G)                  (M,14,14,C) -> (M,7,7,C), M = studies * 24
 *     local  = P_l(mean over 7x7 of V)  (M,D)
 *     global = P_g2(P_g1(f))            (M,D), f the pooled features
 *     segment = conv1x1(relu(convT2x2(V)))   (M,14,14,1) logits
 *     R_v = E_v(local of a slice), R_v^t = G_v(max over a study's 24 global)   (n,E)
 *     R_w = E_w(text feature),     R_w^t = G_w(text feature)                   (n,E)
 *
 * BasicBlock 1 has stride 2 and a 2x2 stride 2 shortcut conv with BatchNorm; BasicBlock 2 keeps its input.
 * Names: local_res.{0,1}.{conv1,bn1,conv2,bn2}, local_res.0.downsample.{0,1}, local_seg.{0,2},
 * local_visual_projector, global_visual_projector.{0,1}, local_visual_embed (E_v), local_text_embed (E_w),
 * global_visual_embed (G_v), global_text_embed (G_w), local_alignment.logit_scale_local,
 * global_alignment.logit_scale_global. At the paper's sizes (C 2048, D 4096, E 512) 226,531,331 weights.
 *
 * Table 2's row e reads texts with a BERT; its features go through Linears of their own in the place of E_w and
 * G_w: local_text_embed_bert, global_text_embed_bert. At the paper's sizes (BERT's width 768) 787,456 more. */
#ifndef MODELS_VISUAL_H
#define MODELS_VISUAL_H
#include "kernels/ops.h"
#include "models/weights.h"

enum { VISUAL_SLICES = 24 };

/* What the language model sees. */
typedef enum {
    HV_LOCAL24,  /* the local tokens (the paper's) */
    HV_CONCAT48, /* local, then global */
    HV_GLOBAL24,
    HV_SUM24, /* local + global */
} HvMode;
const char *hv_name(HvMode mode); /* "local24" */
bool hv_parse(const char *name, HvMode *mode);
int hv_slots(HvMode mode); /* 24 or 48 */

typedef struct VisualConv {
    Tensor *weight, *gamma, *beta, *mean, *var;
} VisualConv;

typedef struct VisualLinear {
    Tensor *weight, *bias; /* (out,in) (out) */
} VisualLinear;

typedef struct Visual {
    int64_t channels, dim, embed; /* C, D, E; embed 0: opened without the alignment layers */
    HvMode mode;
    float
        momentum; /* a training batch's share in the running statistics, 0.1; 1/k in batch k: the mean of all */
    VisualConv conv[2][2], shortcut; /* [block][conv] */
    VisualLinear local;              /* P_l */
    VisualLinear global[2];          /* P_g1, P_g2; NULL where neither mode nor alignment needs them */
    VisualLinear up, cell;           /* local_seg.0 (C,2,2,C) and local_seg.2 (1,1,1,C); NULL: no such head */
    VisualLinear local_visual, local_text, global_visual, global_text; /* E_v, E_w, G_v, G_w */
    Tensor *local_scale, *global_scale;             /* (1): ln(1/tau) of the two alignments */
    VisualLinear local_text_bert, global_text_bert; /* NULL until visual_add_bert */
} Visual;

/* What reports need, and the segmentation head if the file has one. Sizes from shapes, mode from metadata
 * "visual.hv" (local24 if absent). */
bool visual_open(Visual *v, Weights *w, Error *e);
/* The whole head of the paper. channels: of the grid; dim: of the language model; embed: of the alignment
 * space. From w's file if there is one, else PyTorch's defaults and scales of 2.6592. */
bool visual_create(Visual *v, Weights *w, int64_t channels, int64_t dim, int64_t embed, HvMode mode, Error *e);

/* After visual_create: row e's Linears, from BERT's width to the alignment space; from w's file if there is
 * one, else PyTorch's defaults. w may be another part than the head's. */
bool visual_add_bert(Visual *v, Weights *w, int64_t width, Error *e);

/* V: grid (M,h,w,C), f32 or bf16, -> (M,h/2,w/2,C). train: batch statistics. Taps "local_res.0", "local_res.1".
 */
Tensor *visual_local(Tape *t, const Visual *v, Tensor *grid, bool train);
/* V (n,h,w,C) -> logits (n,2h,2w,1); their sigmoid is the probability of a lesion in the cell. Tap "segment".
 */
Tensor *visual_segment(Tape *t, const Visual *v, Tensor *V);

/* All of one pass. grid (M,h,w,C), NULL allowed in mode global24 (V and local are NULL then); pooled (M,C),
 * needed for global tokens; global is NULL unless the mode or `with_global` asks for it. Tap "hv". */
typedef struct VisualTokens {
    Tensor *V;              /* (M,h/2,w/2,C) */
    Tensor *local, *global; /* (M,D) */
    Tensor *hv;             /* (M/24,slots,D) */
} VisualTokens;
VisualTokens visual_tokens(Tape *t, const Visual *v, Tensor *grid, Tensor *pooled, bool with_global,
                           bool train);
/* Its hv alone. */
Tensor *visual_forward(Tape *t, const Visual *v, Tensor *grid, Tensor *pooled, bool train);

/* x (n,in) through one of the Linears. */
Tensor *visual_linear(Tape *t, const VisualLinear *l, Tensor *x);
#endif
