/* What pcrl-masks is made of: SAM from a model folder, a study's slices, their gallery, all studies over
 * several processes, and the picture of it. */
#ifndef TOOLS_MASKS_H
#define TOOLS_MASKS_H
#include "data/ctrg.h"
#include "data/gallery.h"
#include "models/sam_masks.h"
#include "tools/cli.h"

typedef struct MaskOptions {
    CliCommon common;
    const char *model;  /* folder with sam.safetensors */
    const char *random; /* "vit-b", ...: a SAM of that size and random weights instead */
    const char *out;    /* gallery folder, or NULL */
    const char *overlay;
    bool set[SAM_MASK_FIELDS]; /* on the command line */
    double value[SAM_MASK_FIELDS];
    int batch;
    uint32_t slices; /* bit i: slice i */
    int64_t id;      /* of one study; -1: all */
    double pixel_mm; /* of studies that do not say; 0: not known */
} MaskOptions;

/* ---- SAM ---- */

typedef struct MaskModel {
    Arena weights, state, step, scratch;
    Tape tape;
    Weights part;
    SamEncoder encoder;
    SamDecoder decoder;
    SamPredictor predictor;
    SamSegmenter segmenter;
    SamMaskSource source;
    SamMaskSettings settings; /* the public tool's, then the model's own, then the command line's */
} MaskModel;

/* What --random takes, for messages. */
extern const char mask_model_sizes[];
bool mask_model_known(const char *random);
/* The public configuration of that size; false where there is none. */
bool mask_model_size(const char *name, SamEncoderConfig *encoder, SamDecoderConfig *decoder);
/* On false nothing stays open. */
bool mask_model_open(MaskModel *m, const MaskOptions *o, Error *e);
void mask_model_close(MaskModel *m);

/* What a gallery was made with: settings by the public tool's names and which model it was (a hash of its
 * file). Two galleries with equal ones hold equal masks. NULL and an Error. */
json_t *mask_settings_json(const MaskModel *m, const MaskOptions *o, Error *e);

/* ---- a study ---- */

typedef struct MaskStudy {
    int64_t id;
    double pixel_mm;
    int n, width, height, channels;
    uint8_t *pixel; /* [n][height][width][channels] */
} MaskStudy;

bool mask_study_read(MaskStudy *s, const Ctrg *data, const CtrgStudy *study, const MaskOptions *o, Error *e);
/* At most 24 PNG or JPEG files of one size, in the order of their names (numbers by value). */
bool mask_study_folder(MaskStudy *s, const char *folder, const MaskOptions *o, Error *e);
bool mask_study_file(MaskStudy *s, const char *path, Error *e);
void mask_study_free(MaskStudy *s);

typedef void MaskTick(void *context);
/* Masks of the slices that o names, or rather of those that are there. tick, NULL allowed, is called after
 * each. NULL and an Error, which has code ERROR_INTERRUPTED after an interrupt. */
Gallery *mask_study_gallery(MaskModel *m, const MaskOptions *o, const MaskStudy *s, const json_t *settings,
                            SamMaskTimes *times, MaskTick *tick, void *context, Error *e);
int mask_slices(const MaskOptions *o, int n); /* how many of n are named */

/* ---- all studies ---- */

typedef struct MaskCounts {
    int64_t studies, slices, skipped, remade;
    SamMaskTimes times; /* of all processes together */
    double seconds;
    int processes;
} MaskCounts;

/* Galleries of n studies into the folder o->out, by as many processes as --threads has threads (one where the
 * device is not the CPU), among which --memory is divided. A study whose gallery is there, made with the same
 * settings and slices, is skipped. */
bool mask_run(const MaskOptions *o, const Ctrg *data, CtrgStudy *const *study, int n, MaskCounts *counts,
              Error *e);

/* ---- the picture ---- */

/* The slices as they lie in a montage (a single image as it is), masks tinted and outlined, the largest below.
 */
bool mask_draw(const MaskStudy *s, const Gallery *g, const char *path, Error *e);
#endif
