/* CTRG-Brain as it is handed out:
 *   ROOT/origin_anno.json             [{"id": "12", "impression": "...", "findings": "..."}, ...]; COCO's form
 * too,
 *                                     {"annotations": [{"image_id": "12", "caption": "..."}, ...]}
 *   ROOT/samples/12/NAME_02_0007_0007.jpg   series 02, slice 7 (written twice), numbered from caudal to
 * cranial; windowed, 8 bits. A folder of which no name has that form is read in the order of its names (numbers
 * by value), as series 0 and slices 1, 2, ...; so is ROOT/png_process/12/, where there is no samples/
 *   ROOT/total_image_list_final.json  {"12": [24 paths]}, 8 layers x 3; made on another machine, so only what
 * follows samples/ counts. Optional: where there is no manifest, 24 slices are taken evenly from the first to
 * the last (data/study.h).
 *
 * NAME is a patient's. No message here has it: slices are called by id, series and number, entries and rows
 * without a sound id by their place, and faults of JSON do not quote it. */
#ifndef DATA_CTRG_BRAIN_H
#define DATA_CTRG_BRAIN_H
#include "data/image.h"
#include "data/study.h"

typedef enum BrainIssue {
#define BRAIN_ISSUE(name, out, words) BRAIN_##name,
#include "data/ctrg_brain.def"
    BRAIN_ISSUES
} BrainIssue;
const char *brain_issue_words(BrainIssue i);

typedef struct BrainFile {
    int series, number;
    char *name; /* in its study's folder; not for messages */
    int64_t bytes;
} BrainFile;

typedef struct BrainStudy {
    int64_t id;
    char *findings, *impression; /* as in the file, U+007F for bytes that are not UTF-8; NULL: none */
    int n_files;
    BrainFile *file;        /* the folder's pictures by series and number; only plain names: series 0 */
    bool good;              /* no issue that keeps it out */
    bool folder;            /* it is there */
    int pick[STUDY_SLICES]; /* of file, caudal to cranial; of good studies */
} BrainStudy;

/* Told once for each issue, with one line that names place, study and offender. */
typedef void BrainReport(void *context, BrainIssue issue, const char *line);

typedef struct BrainOptions {
    const char *annotations, *manifest; /* NULL: those of ROOT */
    bool most;                          /* of mixed series the one of most slices; else an issue */
    BrainReport *report;                /* NULL allowed */
    void *context;
} BrainOptions;

typedef struct Brain {
    char *root, *folder, *annotations, *manifest; /* paths; manifest NULL: there is none */
    BrainOptions o;
    int n;
    BrainStudy *study; /* in the annotations' order */
    int64_t issue[BRAIN_ISSUES];
    /* What is no fault: studies that repeat or skip slices of their series and how many, folders of several
     * series of which the manifest takes one, studies of plain names, other files, pictures in all. */
    int64_t repeat_studies, repeats, skip_studies, skips, several, plain, others, pictures;
    int *by_id; /* indices of the studies with an id, by it */
    int n_ids;
} Brain;

/* Reads everything but the pixels and lists every issue in one pass. NULL (and e) only where there is nothing
 * to go on with: no annotations, no pictures' folder, no memory. The caller owns the result. */
Brain *brain_open(const char *root, const BrainOptions *o, Error *e);
void brain_free(Brain *b); /* NULL allowed */

/* A decimal number of at most 18 digits without leading zeros. */
bool brain_id(const char *text, int64_t *id);

/* The study of this id, or NULL. */
BrainStudy *brain_find(const Brain *b, int64_t id);

/* Counts an issue, tells it, and marks the study, if there is one. */
void brain_issue(Brain *b, BrainStudy *s, BrainIssue issue, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

enum { BRAIN_PATH = 4096 };
/* Where file k of s is, and how messages call it. */
bool brain_file_path(const Brain *b, const BrainStudy *s, int k, char path[BRAIN_PATH], Error *e);
void brain_file_words(const Brain *b, const BrainStudy *s, int k, char *words, size_t room);
bool brain_read_file(const Brain *b, const BrainStudy *s, int k, Image *image, Error *e);
#endif
