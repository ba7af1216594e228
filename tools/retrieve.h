/* Mask retrieval: for each entity that a report describes, the one mask of the study's gallery whose picture is
 * most like what is said of it (cosine of a model's embeddings), and with it the slice. What a mask's picture
 * is: the whole slice with all pixels outside the mask black (as the paper's released code), or the mask's box
 * with a margin, cut out.
 *
 * Candidates of an entity: the masks that the filter leaves (data/clue_filter.h), in the slices of its layers.
 * Of equal cosines the lowest slice wins, then the earlier mask. An entity of which only normal things are said
 * is left out unless asked for. */
#ifndef TOOLS_RETRIEVE_H
#define TOOLS_RETRIEVE_H
#include "data/clue_filter.h"
#include "data/clue_query.h"
#include "data/image.h"

/* What embeds: vectors of length 1, `dim` numbers each. */
typedef struct RetrieveModel {
    void *user;
    int dim, batch;                                                             /* batch: pictures at a time */
    bool (*images)(void *user, const Image *item, int n, float *out, Error *e); /* [n][dim] */
    bool (*text)(void *user, const char *query, float *out, Error *e);          /* [dim] */
} RetrieveModel;

typedef struct RetrieveOptions {
    const ClueFilter *filter;
    ClueLayers layers;
    ClueQueryMode query;
    bool crop;   /* pictures are cut out: the mask's box and RETRIEVE_MARGIN of its sides all round */
    bool normal; /* entities of which only normal things are said, too */
    bool random; /* a control: any candidate, drawn by seed, study and entity; the model is not asked */
    uint64_t seed;
} RetrieveOptions;

#define RETRIEVE_MARGIN 0.10

/* What became of the studies and entities; adds up over studies. */
typedef struct RetrieveCounts {
    int64_t studies, no_gallery, empty_gallery, no_entity; /* empty: no mask that the filter leaves */
    int64_t described, normal, no_candidate, clues; /* entities: described = normal + no_candidate + clues */
    int64_t masks, kept, embedded; /* masks of the galleries, those left by the filter, pictures embedded */
} RetrieveCounts;

/* The clues of one study: pixel u8[24][height][width], of the gallery's size. g NULL: there is no gallery, so
 * no clues. *out is the caller's to pass to clues_add; its size is the gallery's, without one the slices'. */
bool retrieve_study(const RetrieveModel *m, const RetrieveOptions *o, int64_t id, const char *findings,
                    const uint8_t *pixel, int width, int height, const Gallery *g, StudyClues *out,
                    RetrieveCounts *counts, Error *e);

/* The picture of a mask of the slice; pixels malloc'ed. */
bool retrieve_item(const Gallery *g, const GalleryMask *m, const uint8_t *slice, bool crop, Image *item,
                   Error *e);
#endif
