/* What stage medclip learns from: masked slices with the English query of what the report says of them. */
#ifndef TOOLS_MEDCLIP_DATA_H
#define TOOLS_MEDCLIP_DATA_H
#include "data/clue_query.h"
#include "tools/sam_data.h"

/* The queries whose answer the masks of truth row `truth` are: those of the entities that its clause names,
 * each with all that the report says of it. mirror: of the mirrored patient. The number of queries; query[i] is
 * malloc'ed (the caller's), entity[i] whose it is. */
int truth_queries(const CtrgStudy *s, int truth, bool mirror, int most, char **query, int *entity);

/* What the masks of no lesion go with. malloc'ed, the caller's. */
char *region_query(void);

/* The slice's grey where the mask is, 0 elsewhere; to u8 [height][width]. */
void masked_slice(const uint8_t *grey, const uint8_t *mask, int width, int height, bool mirror, uint8_t *to);

/* As a mask that was found would differ from the true one: grown or shrunk by a pixel, moved by one, each or
 * none at random; never to nothing. mask and spare: u8 [height][width]. */
void mask_disturb(uint8_t *mask, uint8_t *spare, int width, int height, Rng *rng);

/* Whether some true mask of the slice has an IoU of at least `least` with this one of `area` pixels. */
bool region_is_truth(const SamSlice *s, const uint8_t *mask, int64_t area, double least);
#endif
