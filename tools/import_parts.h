/* Inside pcrl-import --ctrg: what reading and writing share. */
#ifndef TOOLS_IMPORT_PARTS_H
#define TOOLS_IMPORT_PARTS_H
#include "data/ctrg_clean.h"
#include "tools/import_ctrg.h"
#include <stdio.h>

/* A study on its way. */
typedef struct ImportStudy {
    BrainStudy *from;
    char *findings, *impression; /* cleaned, or as they were */
    SplitPart part;
    Error why; /* its pictures' */
} ImportStudy;

/* Texts of all studies that have one; findings that become empty are an issue. out[i] is study i of b. */
bool import_texts(const ImportCtrg *o, Brain *b, ImportStudy *out, CleanUse *use, Error *e);
void import_texts_free(ImportStudy *s, int n);

/* The part of every study that has an id; for SPLIT_FILES the lists', else by position. */
bool import_split(const ImportCtrg *o, const Brain *b, ImportStudy *s, Error *e);

/* Lines "note: ..." of what is no fault. */
void import_print_notes(FILE *out, const Brain *b);
void import_print_cleaning(FILE *out, const CleanUse *use);
#endif
