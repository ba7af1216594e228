/* CTRG-Brain's 7:1:2 splits, which go by position:
 *   pcrl     training, then test, then validation: of 6,001 studies 0..4199, 4200..5399, 5400..6000
 *   mepnet   training, then validation, then test: 0..4199, 4200..4800, 4801..6000
 *   seed     pcrl's after a shuffle of the positions
 *   files    as the groups' own lists say
 * Of n studies n * 7 / 10 are for training, n * 2 / 10 for the test, the rest for validation. */
#ifndef DATA_CTRG_SPLIT_H
#define DATA_CTRG_SPLIT_H
#include "tensor/error.h"
#include <stdint.h>

typedef enum SplitKind { SPLIT_PCRL, SPLIT_MEPNET, SPLIT_SEED, SPLIT_FILES, SPLIT_KINDS } SplitKind;
typedef enum SplitPart { SPLIT_TRAIN, SPLIT_VALIDATION, SPLIT_TEST, SPLIT_PARTS } SplitPart;
const char *split_name(SplitKind kind);
const char *split_part_name(SplitPart part); /* train, validation, test */
bool split_from_name(const char *name, SplitKind *kind);

/* part[i] of position i; not for SPLIT_FILES. */
bool split_positions(SplitKind kind, uint64_t seed, int n, uint8_t *part, Error *e);

/* The ids that a JSON file has, in its order: a list of ids or of objects with "id" or "image_id", or an object
 * whose keys are ids. An id that is none or is there twice is an error. malloc'ed, the caller's. */
bool split_read_ids(const char *path, int64_t **id, int *n, Error *e);

/* SHA-256 of the ids in their order, each in decimal with a newline after it. */
void split_hash(const int64_t *id, int n, char hex[65]);
#endif
