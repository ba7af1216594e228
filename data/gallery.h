/* The masks of one study's slices, before any filter: GALLERY/ID.json.
 *
 *   { "version": 1, "id": "12", "size": [height, width], "pixel_mm": 0.9 or null, "settings": {...},
 *     "slices": [ { "slice": 0, "masks": [ { "segmentation": {"size": [height, width], "counts": "COCO run
 *         lengths"}, "area": n, "bbox": [x, y, w, h], "predicted_iou": x, "point_coords": [[x, y]],
 *         "stability_score": x, "crop_box": [x, y, w, h] }, ... ] }, ... ] }
 *
 * The records are those of the public Segment Anything tool. Its boxes end at the last pixel that is in, so a
 * mask of one column has w = 0; its crop boxes end behind it. A slice that is not listed was not segmented; one
 * without masks was, and nothing was found. */
#ifndef DATA_GALLERY_H
#define DATA_GALLERY_H
#include "data/json.h"

typedef struct GalleryMask {
    char *counts; /* run lengths, checked, at least one pixel; malloc'ed */
    int64_t area; /* pixels */
    int bbox[4];  /* x, y, w, h */
    double predicted_iou, stability;
    double point[2]; /* x, y of the prompt, pixels */
    int crop_box[4]; /* x, y, w, h */
} GalleryMask;

typedef struct GallerySlice {
    int slice; /* 0..23 */
    int n;
    GalleryMask *mask; /* in file order */
} GallerySlice;

typedef struct Gallery {
    char *path; /* of the file, for messages; NULL when it was not read from one */
    int64_t id;
    int width, height;
    double pixel_mm;  /* 0: not known */
    json_t *settings; /* what made it: an object, owned; NULL is written as {} */
    int n;
    GallerySlice *slice; /* ascending, each once */
} Gallery;

/* The file of a study in a gallery folder. False if the path is too long. */
bool gallery_path(const char *folder, int64_t id, char path[4096], Error *e);

/* Everything in the file is checked: run lengths, areas against them, boxes and points inside the image. NULL
 * on error. The caller's (gallery_free). */
Gallery *gallery_read(const char *path, Error *e);
/* The same from memory; `what` names the text in messages. */
Gallery *gallery_parse(const char *text, size_t n, const char *what, Error *e);
/* The study's file in the folder; it must be of this id. A file that is not there is ERROR_IO. */
Gallery *gallery_open(const char *folder, int64_t id, Error *e);
void gallery_free(Gallery *g); /* NULL allowed; what it holds, and itself */

/* Crash-safe. What is written reads back equal, doubles included. Dies on a gallery that could not be read. */
bool gallery_write(const Gallery *g, const char *path, Error *e);

/* A mask's record, as in the file; NULL without memory. */
json_t *gallery_mask_json(const Gallery *g, const GalleryMask *m);

/* The slice's masks; NULL if it is not listed. */
const GallerySlice *gallery_slice(const Gallery *g, int slice);
/* A mask as u8[height][width] of 0 or 1. False only without memory. */
bool gallery_mask(const Gallery *g, const GalleryMask *m, uint8_t *plane, Error *e);
#endif
