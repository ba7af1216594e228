/* ResNet with bottleneck blocks (He et al. 2016), any width and depth, as a feature extractor: grid features by
 * adaptive average pooling to 14 x 14 and pooled features by the mean over all positions. Names are
 * torchvision's (conv1.weight, layer1.0.bn2.running_mean, layer2.0.downsample.0.weight).
 *
 * A frozen network has BatchNorm folded into its convs (in double, from the running statistics); a trainable
 * one keeps it and updates the running statistics while `train`. */
#ifndef MODELS_RESNET_H
#define MODELS_RESNET_H
#include "kernels/ops.h"
#include "models/weights.h"

enum { RESNET_STAGES = 4, RESNET_GRID = 14 };

typedef struct ResnetConfig {
    int64_t in_channels;          /* 1 or 3 */
    int64_t stem;                 /* channels after the 7x7 stride 2 stem */
    int64_t width[RESNET_STAGES]; /* of the 3x3; a stage's output has 4 times as many channels */
    int depth[RESNET_STAGES];     /* blocks */
    int stride[RESNET_STAGES];    /* of a stage's first block; 1,2,2,2 by default */
    bool caffe; /* stride on the first 1x1 and max-pool without padding, in ceil mode; else v1.5:
                   stride on the 3x3, max-pool with padding 1 */
} ResnetConfig;

extern const ResnetConfig resnet_101; /* torchvision's, without its classifier */

typedef struct ResnetConv {
    Tensor *weight;       /* (O,kh,kw,I) */
    Tensor *bias;         /* (O) of a folded conv, else NULL */
    Tensor *gamma, *beta; /* (O), NULL when folded */
    Tensor *mean, *var;   /* running statistics, NULL when folded */
} ResnetConv;

typedef struct ResnetBlock {
    ResnetConv conv[3];
    ResnetConv shortcut; /* weight NULL: identity */
    int stride;
} ResnetBlock;

typedef struct Resnet {
    ResnetConfig config;
    ResnetConv stem;
    ResnetBlock *block[RESNET_STAGES]; /* [depth], in the host stack of the arena that holds the weights */
    int64_t channels;                  /* of the grid: 4 * width[3] */
    bool folded;
} Resnet;

/* Widths and depths from the file's names and shapes; "resnet.strides" ("1,2,2,2"), "resnet.style" ("v1.5" or
 * "caffe") from its metadata. Trainable or frozen as w says. */
bool resnet_open(Resnet *net, Weights *w, Error *e);
/* A network of the given configuration: from w's file if there is one (shapes must agree), else initialised:
 * convs kaiming-normal fan-out, gamma 1, and 0 for each block's last gamma, so that every block starts as the
 * identity. */
bool resnet_create(Resnet *net, Weights *w, ResnetConfig config, Error *e);

/* Side of the grid before adaptive pooling, for square input of that side. */
int64_t resnet_native_grid(const ResnetConfig *c, int64_t side);
/* False and an Error naming both sizes if images of that side would have to be upsampled to 14 x 14. Tools ask
 * before they run; resnet_forward dies. */
bool resnet_check_side(const Resnet *net, int64_t side, Error *e);

/* x (N,H,W,in_channels), normalised by the caller. grid (N,14,14,C) and pooled (N,C); either pointer may be
 * NULL, then it is not computed. train: batch statistics (trainable networks only). Taps: "stem", "layer%d"
 * (1-4), "grid", "pooled". */
void resnet_forward(Tape *t, const Resnet *net, Tensor *x, bool train, Tensor **grid, Tensor **pooled);
/* The features before any pooling, (N,h,w,C). */
Tensor *resnet_features(Tape *t, const Resnet *net, Tensor *x, bool train);
#endif
