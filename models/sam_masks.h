/* Automatic masks of a picture (Kirillov et al. 2023, section 5 and appendix B): SAM is asked at every point of
 * a grid, and of its three answers to each those stay that it thinks well of, that hardly depend on the
 * threshold and that are not nearly another one. Records, and their order, are those of the public tool,
 * segment-anything 1.0:
 *
 *   for each crop (the whole picture first), for each point:
 *     keep masks whose predicted IoU is above pred_iou; then whose stability, the share of the pixels above
 * threshold
 *     - offset that lie above threshold + offset, is at least `stability`; then whose box ends nowhere within
 * 20 pixels of a side of the crop that is not one of the picture non-maximum suppression of their boxes by
 * predicted IoU suppression between crops, smaller crops first holes, then islands below min_area pixels go;
 * suppression again, masks first that had none
 *
 * The order is fixed and sorting stable. One thing differs: an empty mask is no record, whatever the
 * thresholds. */
#ifndef MODELS_SAM_MASKS_H
#define MODELS_SAM_MASKS_H
#include "data/gallery.h"
#include "data/image.h"
#include "data/rle.h"
#include "models/sam_encoder.h"
#include "models/sam_predict.h"

typedef struct SamMaskSettings {
    int points;          /* a side of the grid */
    double pred_iou;     /* 0 or less: all stay */
    double stability;    /* 0 or less: all stay */
    double offset;       /* of the two thresholds that stability compares */
    double threshold;    /* of logits: 0 */
    double box_nms;      /* overlap within a crop */
    int crop_layers;     /* layer i = 1.. has 2^i x 2^i crops; 0: the whole picture alone */
    double crop_nms;     /* overlap between crops */
    double crop_overlap; /* of the first layer's crops, as a share of the picture's shorter side */
    int crop_downscale;  /* points / crop_downscale^i a side in layer i */
    int min_area;        /* pixels; 0: nothing is removed */
    int batch; /* points asked at once, without effect on the result; 0: what the step arena has room for */
} SamMaskSettings;

/* The public tool's. */
SamMaskSettings sam_mask_settings(void);

/* All but batch, by the public tool's names. */
typedef struct SamMaskField {
    const char *name, *what;
    size_t offset;
    bool whole; /* an int, else a double */
    double low, high;
} SamMaskField;
enum { SAM_MASK_FIELDS = 11 };
extern const SamMaskField sam_mask_field[SAM_MASK_FIELDS];
double sam_mask_get(const SamMaskSettings *s, int field);
void sam_mask_set(SamMaskSettings *s, int field, double value);

/* What a model recommends: its file's metadata "sam.masks.NAME", where there are any. Faults stick
 * (weights_ok). */
void sam_mask_settings_read(SamMaskSettings *s, Weights *w);
/* False and an Error (ERROR_USAGE) if the crops of some layer would have no points. */
bool sam_mask_settings_check(const SamMaskSettings *s, Error *e);

/* Where logits come from. image takes up a picture x (1,side,side,3), normalised and padded; predict answers n
 * points (x, y in pixels of x), as sam_predict does with `several`. What they make may lie on t's step stack,
 * and is dropped in that order. */
typedef struct SamMaskSource {
    int side, low; /* of x; of logits */
    void *user;
    void (*image)(void *user, Tape *t, Tensor *x);
    void (*predict)(void *user, Tape *t, const double *point, int64_t n, float threshold, SamPrediction *y);
    int masks; /* mask tokens, at least 2; answers are those from 1 on */
} SamMaskSource;

/* SAM itself. */
typedef struct SamSegmenter {
    const SamEncoder *encoder;
    const SamPredictor *predictor;
    SamImage image;
} SamSegmenter;
SamMaskSource sam_mask_source(SamSegmenter *s, const SamEncoder *encoder, const SamPredictor *predictor);

/* Seconds, added up: image encoder with what precedes it, prompts and decoder, statistics of masks,
 * suppression, masks and their run lengths. */
typedef struct SamMaskTimes {
    double encoder, decoder, tail, nms, rle;
    int64_t points, above_iou, stable, records; /* counts */
} SamMaskTimes;

/* Masks of an image of 1 (grey) or 3 channels, for out->mask and out->n (gallery_masks_free). times: added to;
 * NULL allowed. t must not record; its step arena is given back as it was. False only without memory or for a
 * picture too small for its crops. */
bool sam_masks(Tape *t, const SamMaskSource *source, const SamMaskSettings *s, const Image *image,
               GallerySlice *out, SamMaskTimes *times, Error *e);
void sam_masks_free(GallerySlice *s);

/* ---- its parts ---- */

/* x (1,side,side,3) on t's step stack: the longer side becomes `side` (Pillow's bilinear), less the mean and by
 * the deviation of ImageNet, zeros on the right and below. input: height and width before the zeros. NULL as
 * above. */
Tensor *sam_mask_input(Tape *t, const Image *image, int side, int input[2], Error *e);

typedef struct SamCrop {
    int box[4]; /* x0, y0, x1, y1; the last two exclusive */
    int layer;
} SamCrop;
/* How many crops there are, and the crops where `crop` is not NULL. */
int sam_crops(const SamMaskSettings *s, int width, int height, SamCrop *crop);

/* Fills holes, or removes islands, of fewer than `area` pixels (8-connected; if every island is smaller, the
 * largest stays). False if there is nothing to do. label: [2*width*height] to work in. */
bool sam_remove_small(uint8_t *mask, int width, int height, int area, bool holes, int32_t *label);
#endif
