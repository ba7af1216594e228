/* Settings of automatic masks, and SAM as their source; see sam_masks.h. */
#include "models/sam_masks.h"
#include <math.h>
#include <stddef.h>
#include <stdio.h>

SamMaskSettings sam_mask_settings(void)
{
    return (SamMaskSettings){.points = 32,
                             .pred_iou = 0.88,
                             .stability = 0.95,
                             .offset = 1,
                             .box_nms = 0.7,
                             .crop_nms = 0.7,
                             .crop_overlap = 512.0 / 1500,
                             .crop_downscale = 1};
}

#define FIELD(name, member, whole, low, high, what)                                                            \
    {                                                                                                          \
        name, what, offsetof(SamMaskSettings, member), whole, low, high                                        \
    }
const SamMaskField sam_mask_field[SAM_MASK_FIELDS] = {
    FIELD("points_per_side", points, true, 1, 256, "points a side of the grid"),
    FIELD("pred_iou_thresh", pred_iou, false, -1e6, 1e6, "least predicted IoU; 0: any"),
    FIELD("stability_score_thresh", stability, false, 0, 1, "least stability; 0: any"),
    FIELD("stability_score_offset", offset, false, 0, 1e6, "of the logits' threshold, for the stability"),
    FIELD("mask_threshold", threshold, false, -1e6, 1e6, "of the logits"),
    FIELD("box_nms_thresh", box_nms, false, 0, 1, "boxes that overlap by more are one mask"),
    FIELD("crop_n_layers", crop_layers, true, 0, 4, "layers of crops, 4^i crops in layer i"),
    FIELD("crop_nms_thresh", crop_nms, false, 0, 1, "box_nms_thresh between crops"),
    FIELD("crop_overlap_ratio", crop_overlap, false, 0, 0.9, "of the first layer's crops"),
    FIELD("crop_n_points_downscale_factor", crop_downscale, true, 1, 256,
          "of points_per_side, from layer to layer"),
    FIELD("min_mask_region_area", min_area, true, 0, 1e9, "smaller holes and islands go, in pixels"),
};

double sam_mask_get(const SamMaskSettings *s, int field)
{
    const char *at = (const char *)s + sam_mask_field[field].offset;
    return sam_mask_field[field].whole ? *(const int *)(const void *)at : *(const double *)(const void *)at;
}

void sam_mask_set(SamMaskSettings *s, int field, double value)
{
    char *at = (char *)s + sam_mask_field[field].offset;
    if (sam_mask_field[field].whole)
        *(int *)(void *)at = (int)value;
    else
        *(double *)(void *)at = value;
}

void sam_mask_settings_read(SamMaskSettings *s, Weights *w)
{
    for (int i = 0; i < SAM_MASK_FIELDS; i++) {
        const SamMaskField *f = &sam_mask_field[i];
        char key[64];
        snprintf(key, sizeof key, "sam.masks.%s", f->name);
        double now = sam_mask_get(s, i);
        sam_mask_set(s, i,
                     f->whole
                         ? (double)weights_meta_int(w, key, (int64_t)now, (int64_t)f->low, (int64_t)f->high)
                         : weights_meta_float(w, key, now, f->low, f->high));
    }
}

bool sam_mask_settings_check(const SamMaskSettings *s, Error *e)
{
    if (s->points / pow(s->crop_downscale, s->crop_layers) >= 1) return true;
    return error_set(e, ERROR_USAGE,
                     "points_per_side %d: none are left in layer %d with crop_n_points_downscale_factor %d",
                     s->points, s->crop_layers, s->crop_downscale);
}

/* ---- SAM as the source ---- */

static void take_up(void *user, Tape *t, Tensor *x)
{
    SamSegmenter *s = user;
    ArenaMark mark = arena_mark(t->step);
    Tensor *embedding = tape_keep(t, mark, sam_encoder_forward(t, s->encoder, x));
    sam_image_open(&s->image, s->predictor, t, embedding);
}

static void predict(void *user, Tape *t, const double *point, int64_t n, float threshold, SamPrediction *y)
{
    SamSegmenter *s = user;
    int32_t *label = arena_push_host(t->step, (size_t)n * sizeof *label);
    for (int64_t i = 0; i < n; i++) label[i] = 1;
    SamPrompts p = {.n = n, .points = 1, .point = point, .label = label};
    sam_predict(t, &s->image, &p, true, threshold, y);
}

SamMaskSource sam_mask_source(SamSegmenter *s, const SamEncoder *encoder, const SamPredictor *predictor)
{
    *s = (SamSegmenter){.encoder = encoder, .predictor = predictor};
    return (SamMaskSource){.side = (int)encoder->config.image,
                           .low = 4 * (int)encoder->grid,
                           .user = s,
                           .image = take_up,
                           .predict = predict,
                           .masks = (int)predictor->net->config.masks};
}
