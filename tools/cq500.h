/* CQ500 (data/cq500.h) into data set folders: every study of reads.csv that is on disk becomes 24 slices
 * (data/study.h) with a labels block (data/cq500_labels.h), under its own number. */
#ifndef TOOLS_CQ500_H
#define TOOLS_CQ500_H
#include "data/study.h"
#include <stdio.h>

enum { CQ500_EVERY = 5 };

typedef struct Cq500Import {
    const char *root, *reads; /* reads NULL: root/reads.csv */
    const char *out;
    const char *validation; /* NULL, or the data set of every fifth study with a bleed and every fifth without,
                               in the order of their numbers and counted over all of reads.csv: the same ones
                               whatever is on disk */
    StudyOptions study;
    bool hu, skip_bad;
} Cq500Import;

/* A study's series are tried in the order of data/cq500.h until one is a head. What is there already with the
 * same votes and size is left as it is, so that a call that was stopped goes on, also where the study's folder
 * is gone since. A study that an earlier call wrote into the other of the two sets is an error. At the end the
 * sets hold what an import into empty folders would, in its order, and those studies without a folder: all
 * others of earlier calls are named, counted and taken out of the annotations, while their slices stay on disk.
 * A table of the labels goes to `table`. A study none of whose series will do is said when it is met, and
 * without skip_bad the result is false in the end with ERROR_INPUT and how many they were; all others are
 * written. Studies without a folder are counted and said. A missing dcm2niix and a full disk end it at once. */
bool cq500_import(const Cq500Import *o, FILE *table, Error *e);
#endif
