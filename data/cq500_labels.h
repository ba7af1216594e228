/* The labels block of a study in a data set (data/ctrg.h):
 *   "labels": { "source": "CQ500", "study": "CQ500-CT-12", "batch": "B1", "series": "CT Plain", "votes": {
 *       "ICH": 3, ... "MidlineShift": 0 } }
 * `votes` says how many of three readers saw the finding in the whole study, 0 to 3; two of them make it the
 * study's. No reader said in which slices it is. */
#ifndef DATA_CQ500_LABELS_H
#define DATA_CQ500_LABELS_H
#include "data/cq500.h"
#include "data/json.h"

/* The block's votes; all fourteen must be there. `what` names file and study in messages. */
bool cq500_votes(const json_t *block, const char *what, uint8_t vote[CQ500_LABELS], Error *e);
/* A new block; NULL: no memory, or the name is not UTF-8. */
json_t *cq500_block(const Cq500Read *read, const char *series);
/* Whether the block is of that study with those votes. */
bool cq500_block_is(const json_t *block, const Cq500Read *read);
#endif
