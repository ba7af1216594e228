/* A data set of brain CT studies on disk, in CTRG's schema: a folder with annotations.json, a list of
 *   { "id": "12", "findings": "...", "impression": "...", "images": [24 paths relative to the folder],
 *     "finding_entities": [...], "finding_entities_lession": [...], "finding_idx_images_contain_entity": [...],
 *     "truth": { ... } }
 * The 24 images are 8 layers x 3, caudal to cranial. Ids are decimal numbers (written as strings). The last
 * spelling is CTRG's own. `truth` is ours and optional; the phantom writes it:
 *   "truth": { "seed": n, "style": n, "size": [height, width], "pixel_mm": x, "findings": [
 *       { "entity": "基底节区", "side": "双", "density": "低", "clause": "...", "radius_mm": x, "volume_ml": x,
 *         "masks": [ { "slice": 9, "side": "左", "counts": "COCO run lengths" }, ... ] }, ... ] }
 * So is `labels` (data/cq500_labels.h): what three readers said of the whole study. */
#ifndef DATA_CTRG_H
#define DATA_CTRG_H
#include "data/cq500.h"
#include "data/findings.h"
#include "data/image.h"
#include "tensor/error.h"

enum { CTRG_SLICES = 24 };

typedef struct CtrgMask {
    int slice;    /* 0..23 */
    int label;    /* the finding's label on the side of this mask: 0..LABEL_COUNT-1 */
    char *counts; /* checked run lengths in text form; see data/rle.h */
} CtrgMask;

typedef struct CtrgTruth {
    int finding; /* 0..FINDING_COUNT-1 */
    Side side;
    char *clause;
    double radius_mm; /* of the largest lesion of this clause; 0 where it has none */
    double volume_ml;
    int n_masks;
    CtrgMask *mask;
} CtrgTruth;

typedef struct CtrgStudy {
    int64_t id;
    char *findings, *impression; /* impression may be ""; findings only in a study imported without a report */
    char *image[CTRG_SLICES];    /* relative to the folder */
    bool has_truth;
    uint64_t seed;
    int style, width, height; /* of the masks; 0 without truth */
    double pixel_mm;
    int n_truth;
    CtrgTruth *truth;
    bool has_votes; /* a labels block */
    uint8_t vote[CQ500_LABELS];
} CtrgStudy;

typedef struct Ctrg {
    char *folder;
    int n;
    CtrgStudy *study; /* in file order */
} Ctrg;

/* Called once for each problem found, with one line that names the file, the study and the offender. */
typedef void CtrgProblem(void *context, const char *line);

/* Reads folder/annotations.json and checks that every image file is there. All problems are reported to
 * `problem` (NULL allowed) in one pass; if there was any, NULL is returned and e holds the first and how many
 * more there were. The caller owns the result (ctrg_free). */
Ctrg *ctrg_open(const char *folder, CtrgProblem *problem, void *context, Error *e);
/* The same from memory; no image file is looked for. `what` names the text in messages. */
Ctrg *ctrg_parse(const char *json, size_t n, const char *what, CtrgProblem *problem, void *context, Error *e);
void ctrg_free(Ctrg *c); /* NULL allowed */

/* The 24 slices as one block u8[24][height][width] (malloc'ed, the caller's), converted to grey. All must have
 * one size. */
bool ctrg_read_slices(const Ctrg *c, const CtrgStudy *s, uint8_t **pixels, int *width, int *height, Error *e);

/* Decodes a mask of study s into u8[height][width] of 0 or 1. */
bool ctrg_read_mask(const CtrgStudy *s, const CtrgMask *m, uint8_t *mask, Error *e);

/* The findings of the truth block. */
FindingSet ctrg_findings(const CtrgStudy *s);
/* labels[i] bit l: label l has at least min_pixels mask pixels in slice i (diffuse findings included). */
bool ctrg_slice_labels(const CtrgStudy *s, int min_pixels, uint64_t labels[CTRG_SLICES], Error *e);
#endif
