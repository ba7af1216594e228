/* How well a segmentation finds the lesions, on the 14x14 grid of each slice. A cell is true if the focal
 * findings' masks together cover at least a quarter of it, predicted if its probability is at least 0.5;
 * diffuse findings are left out. Dice = 2 |true and predicted| / (|true| + |predicted|). */
#ifndef TOOLS_SCORE_MASKS_H
#define TOOLS_SCORE_MASKS_H
#include "tools/score.h"
#include "tools/train_data.h"

enum { MASK_CELLS = CTRG_SLICES * GRID_CELLS };

/* A study's true cells. */
typedef struct MaskTruth {
    uint8_t cell[MASK_CELLS];  /* [24][14][14] of 0 or 1 */
    bool healthy[CTRG_SLICES]; /* no pixel of a focal finding */
} MaskTruth;
bool mask_truth(const CtrgStudy *s, MaskTruth *t, Error *e);

/* Shares are NaN where there is nothing to count; intervals are over resampled studies. */
typedef struct MaskScore {
    int64_t slices, healthy; /* slices with a true cell; slices without a lesion, see MaskTruth */
    double dice;             /* mean over the slices with a true cell */
    double pooled;           /* the cells of all slices together */
    double alarm;            /* of the healthy slices: the share with a predicted cell */
    Interval dice_interval, pooled_interval, alarm_interval;
} MaskScore;
/* truth [n], prob [n][24][14][14]. False only without memory. */
bool mask_score(const MaskTruth *truth, const float *prob, int n, int repeats, uint64_t seed, MaskScore *out,
                Error *e);

typedef struct ScoreMasks {
    char name[64];
    MaskScore score;
} ScoreMasks;

/* path: a safetensors file, one tensor (24,14,14) of probabilities a study, named by its id, for every study of
 * t; others only if `unknown`. Bad input: a study without truth masks, a probability outside 0..1. Fills all
 * but the name. */
bool score_masks(const Ctrg *c, const ScoreTruth *t, const char *path, bool unknown, int repeats, uint64_t seed,
                 ScoreMasks *out, Error *e);

void score_masks_print(FILE *out, const ScoreMasks *m, int n);
json_t *score_masks_json(const ScoreMasks *m, int n); /* a new reference; NULL without memory */
#endif
