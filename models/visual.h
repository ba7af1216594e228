/* The trainable head between frozen grid features and the language model: two residual blocks on each slice
 * (local_res), and a projector to the language model's width.
 *
 *     V = local_res(G)                  (M,14,14,C) -> (M,7,7,C), M = studies * 24
 *     local  = P_l(mean over 7x7 of V)  (M,D)
 *     global = P_g2(P_g1(f))            (M,D), f the pooled features
 *
 * BasicBlock 1 has stride 2 and a 2x2 stride 2 shortcut conv with BatchNorm; BasicBlock 2 keeps its input.
 * Names: local_res.{0,1}.{conv1,bn1,conv2,bn2}, local_res.0.downsample.{0,1}, local_visual_projector,
 * global_visual_projector.{0,1}. */
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

typedef struct Visual {
    int64_t channels, dim;
    HvMode mode;
    VisualConv conv[2][2], shortcut;           /* [block][conv] */
    Tensor *local_weight, *local_bias;         /* (D,C) (D) */
    Tensor *global_weight[2], *global_bias[2]; /* (D,C) (D,D); NULL in mode local24 */
} Visual;

/* Sizes from shapes, mode from metadata "visual.hv" (local24 if absent). */
bool visual_open(Visual *v, Weights *w, Error *e);
/* channels: of the grid; dim: of the language model. From w's file if there is one, else PyTorch's defaults. */
bool visual_create(Visual *v, Weights *w, int64_t channels, int64_t dim, HvMode mode, Error *e);

/* V: grid (M,h,w,C) -> (M,h/2,w/2,C). train: batch statistics. Taps "local_res.0", "local_res.1". */
Tensor *visual_local(Tape *t, const Visual *v, Tensor *grid, bool train);
/* H_v: grid (M,h,w,C), pooled (M,C) (NULL allowed in mode local24) -> (M/24, slots, D). Tap "hv". */
Tensor *visual_forward(Tape *t, const Visual *v, Tensor *grid, Tensor *pooled, bool train);
#endif
