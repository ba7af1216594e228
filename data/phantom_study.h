/* A phantom on disk: its 24 slices as PNG files and its entry of annotations.json (schema: data/ctrg.h). */
#ifndef DATA_PHANTOM_STUDY_H
#define DATA_PHANTOM_STUDY_H
#include "data/phantom.h"
#include <jansson.h>

/* A patient's id is its seed, below 900000000; its counterfactual and its k-th twin in noise have ids so much
 * (k times so much) higher. */
#define PHANTOM_COUNTERFACTUAL_ID INT64_C(1000000000)
#define PHANTOM_TWIN_ID           INT64_C(2000000000)

/* The annotation of a 24-slice phantom under `id`; masks as COCO run lengths, images as images/<id>/NN.png.
 * NULL on error; the caller's (json_decref). */
json_t *phantom_annotation(const Phantom *p, int64_t id, Error *e);

/* Writes folder/images/<id>/00.png .. 23.png and then, crash-safe, study.json beside them: a study is complete
 * exactly if its study.json is there. */
bool phantom_write_study(const Phantom *p, const char *folder, int64_t id, Error *e);

/* Whether folder/images/<id>/study.json is there and was drawn by this version from this seed and these
 * options; *entry is then its content (the caller's), else NULL. A study.json that cannot be read counts as
 * absent. */
bool phantom_find_study(const char *folder, int64_t id, uint64_t seed, const PhantomOptions *o, json_t **entry);
#endif
