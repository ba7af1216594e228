/* What stage sam learns from: points in slices, each with the mask it asks for. A point in a true mask asks for
 * that mask (the smallest, where several overlap); any other point of the head for the 4-connected region of
 * its grey class, so that ventricles, skull and brain are masks too and healthy tissue does not look like a
 * lesion. */
#ifndef TOOLS_SAM_DATA_H
#define TOOLS_SAM_DATA_H
#include "tools/train_data.h"

enum { SLICE_MASKS = 40, SLICE_MIN_AREA = 20 };

/* Grey classes of slices smoothed over 3x3 pixels (window 40/80). Low-density lesions are fluid. */
enum { GREY_AIR, GREY_FLUID, GREY_TISSUE, GREY_BRIGHT, GREY_BONE };

/* One slice with its true masks of at least SLICE_MIN_AREA pixels. */
typedef struct SamSlice {
    int width, height;
    int n;
    int finding[SLICE_MASKS], label[SLICE_MASKS], truth[SLICE_MASKS]; /* truth: row of CtrgStudy.truth */
    int64_t area[SLICE_MASKS];
    uint8_t *mask;        /* [SLICE_MASKS][height][width] */
    const uint8_t *pixel; /* [height][width], the data's */
    bool classified;
    uint8_t *grey;    /* [height][width], once classified */
    int32_t *stack;   /* [height * width], of the flood fill */
    int64_t n_inside; /* pixels of the head */
    int32_t *inside;
} SamSlice;

void sam_slice_open(SamSlice *s, int width, int height);
void sam_slice_close(SamSlice *s);
/* Slice `at` (study * 24 + slice), its true masks; what regions need is made when one is asked for. */
bool sam_slice_read(SamSlice *s, const TrainData *d, int64_t at, Error *e);

/* A point and what it asks for. x, y in pixels, the middle of the first pixel at 0. */
typedef struct SamPoint {
    double x, y;
    int of;       /* the true mask's number in the slice; -1: a region */
    int64_t area; /* of the target, pixels */
} SamPoint;

/* A point in true mask `of`, or, with of < 0, anywhere in the head, in fluid, tissue, bright and bone equally
 * often where they can be found: most of a head is tissue; target u8 [height][width]. False where the slice has
 * no point for it: no head, or only specks under SLICE_MIN_AREA. */
bool sam_slice_point(SamSlice *s, int of, Rng *rng, SamPoint *p, uint8_t *target);
/* Grey classes and the head's pixels. */
void sam_slice_classify(SamSlice *s);
/* The region of the grey class at pixel `at`; returns its area. */
int64_t sam_slice_region(SamSlice *s, int64_t at, uint8_t *target);

/* The true masks of a data set by finding. */
typedef struct SamIndex {
    struct SamItem {
        int64_t slice; /* study * 24 + slice */
        int finding, truth, label;
        int64_t area;
    } * item; /* sorted by finding */
    int64_t n;
    int64_t first[FINDING_COUNT + 1]; /* finding f: first[f] .. first[f + 1] - 1 */
    int n_findings;                   /* those with items */
    int finding[FINDING_COUNT];
} SamIndex;

bool sam_index_open(SamIndex *x, const TrainData *d, Error *e);
void sam_index_close(SamIndex *x);
/* One item, its finding drawn evenly among those there are; -1: none at all. */
int64_t sam_index_draw(const SamIndex *x, Rng *rng);
#endif
