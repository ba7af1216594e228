/* A data set held in memory for training: slices, labels per slice, and labels per cell of the 14x14 grid. */
#ifndef TOOLS_TRAIN_DATA_H
#define TOOLS_TRAIN_DATA_H
#include "data/ctrg.h"
#include "tensor/rng.h"

enum { GRID = 14, GRID_CELLS = GRID * GRID };

/* One positive grid cell of a slice. */
typedef struct GridCell {
    uint8_t label; /* 0..LABEL_COUNT-1, focal findings only */
    uint8_t cell;  /* row * GRID + column */
} GridCell;

typedef struct TrainData {
    Ctrg *ctrg;
    int n, width, height;
    uint8_t *pixel;   /* [n][24][height][width] */
    uint64_t *labels; /* [n][24]: labels drawn in the slice */
    int64_t *cell_at; /* [n * 24 + 1]: a slice's cells are cell[cell_at[i]] .. cell[cell_at[i + 1] - 1] */
    GridCell *cell;
    int64_t *focal; /* slices (study * 24 + slice) with at least one cell */
    int64_t n_focal;
} TrainData;

/* Reads folder's studies, at most `limit` of them (0: all). pixels false leaves `pixel` NULL. truth: labels and
 * cells are read, and a study without a truth block is an error; else there are none of either. A cell is
 * positive if a mask covers at least a fifth of it; the cell a mask covers most always is. */
TrainData *train_data_open(const char *folder, int limit, bool pixels, bool truth, Error *e);
/* The slices of study k from disk, u8[24][height][width]: malloc'ed, the caller's. Another size is an error. */
bool train_data_read(const TrainData *d, int64_t k, uint8_t **pixel, Error *e);
void train_data_close(TrainData *d);                                /* NULL allowed */
const uint8_t *train_data_slice(const TrainData *d, int64_t slice); /* [height][width] */

/* What every ResNet of ours is fed. */
static inline float slice_normal(uint8_t grey) { return ((float)grey - 60.0f) * (1.0f / 60.0f); }
/* dst[i] = slice_normal(src[i]) + offset, mirrored left to right if asked. */
void slice_normalise(const uint8_t *src, int width, int height, bool mirror, float offset, float *dst);
#endif
