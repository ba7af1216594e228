/* CTRG-Brain as it is on disk (data/ctrg_brain.h) -> three data sets of ours, or a list of all that is wrong
 * with it. */
#ifndef TOOLS_IMPORT_CTRG_H
#define TOOLS_IMPORT_CTRG_H
#include "data/ctrg_brain.h"
#include "data/ctrg_split.h"

enum { IMPORT_ORDERS = 8 };

typedef struct ImportCtrg {
    const char *root, *out, *annotations, *manifest;
    const char *splits; /* folder of the files' split; NULL: ROOT/splits */
    const char
        *order[IMPORT_ORDERS]; /* files whose ids, one after the other, give the positions; none: annotations */
    int n_order;
    SplitKind split;
    uint64_t seed;
    bool most, clean, skip_bad;
    StudyOptions study;
} ImportCtrg;

/* Prints every issue, one a line, then counts, on stdout; pixels are read too. ERROR_INPUT if there was any. */
bool ctrg_verify(const ImportCtrg *o, Error *e);

/* Writes OUT/train, OUT/validation and OUT/test, OUT/split.json with the ids of each and their SHA-256; prints
 * parts, hashes, uses of the cleaning rules and what is no fault. Goes on where an earlier run stopped. Issues
 * go to stderr; a study that has one is an error, or with skip_bad left out. */
bool ctrg_import(const ImportCtrg *o, Error *e);
#endif
