/* Scoring a set of reports against the true ones: what pcrl-score prints. */
#ifndef TOOLS_SCORE_H
#define TOOLS_SCORE_H
#include "data/ctrg.h"
#include "data/json.h"
#include "data/report_list.h"
#include "tools/score_controls.h"
#include "tools/score_measures.h"
#include <stdio.h>

enum { SCORE_SYSTEMS = 40 };

/* The studies that are scored, in file order. */
typedef struct ScoreTruth {
    int n;
    int64_t *id;                     /* NULL where the truth is a list of texts */
    char **name;                     /* the id as text */
    char **report;                   /* the true findings text */
    FindingSet *set;                 /* of the truth block, or parsed from the text where there is none */
    double (*radius)[FINDING_COUNT]; /* mm, largest lesion of each finding; 0: no size. NULL as id */
    int all;                         /* studies before score_keep_reported */
    ReportCounts counts;             /* of a list of texts */
} ScoreTruth;
bool score_truth(const Ctrg *c, ScoreTruth *out, Error *e);
/* Of texts alone, in any form of data/report_list.h. */
bool score_truth_list(const ReportList *l, ScoreTruth *out, Error *e);
void score_truth_free(ScoreTruth *t);
/* Of study i, NULL where there is none. */
static inline const double *score_radius(const ScoreTruth *t, int i) { return t->radius ? t->radius[i] : NULL; }
/* Drops the studies i with reports[i] == NULL, from truth and reports alike. */
void score_keep_reported(ScoreTruth *t, char **reports);

/* The file itself: path, or annotations.json in it where it is a folder. */
bool score_annotations_path(const char *path, char file[4096], Error *e);
/* Reads annotations.json (or the folder it lies in) without looking for the images. */
Ctrg *score_open_annotations(const char *path, Error *e);

/* Reads reports in any form of data/report_list.h. *reports is t->n strings in the truth's order, malloc'ed
 * with their array (score_reports_free). An id that is not in the truth is an error, unless `unknown`; so is a
 * study without a report, unless `missing`, when it is NULL. counts (NULL allowed): of the file. */
bool score_read_reports(const char *path, const ScoreTruth *t, bool missing, bool unknown, char ***reports,
                        ReportCounts *counts, Error *e);
void score_reports_free(char **reports, int n);

/* How texts are cut: by[split] or NULL. The main split's numbers are those that stand at the top. */
typedef struct ScoreCutters {
    Cutter *by[SPLIT_COUNT];
    TextSplit main;
} ScoreCutters;
void score_cutters_close(ScoreCutters *c);

typedef struct ScoreSystem {
    char name[64], how[256]; /* how: what a control is, one line; "" for the model */
    bool against;            /* another model, not a control */
    TupleScores tuples;
    bool has_text[SPLIT_COUNT];
    TextScores text[SPLIT_COUNT]; /* where has_text */
    FindingSet *said;             /* (studies) */
    uint8_t *labels;              /* (studies, lists.width) */
    Measures measures;
    PairedTest paired[MEASURE_COUNT]; /* the model less this system */
    Diversity diversity;
    int empty;           /* reports without a word, of those that are scored */
    const char *path;    /* of the reports, or NULL */
    ReportCounts counts; /* of that file */
} ScoreSystem;
void score_system_free(ScoreSystem *s);

/* The findings for losses/tuples; it borrows both arrays. */
TupleTable score_table(uint8_t sided[FINDING_COUNT], uint8_t focal[FINDING_COUNT]);

/* Fills tuples, text, said and empty. The caller frees. */
bool score_system(const ScoreTruth *t, char *const *reports, const ScoreCutters *cutters, ScoreSystem *out,
                  Error *e);

/* All that is printed of reports. */
typedef struct ScoreSheet {
    const char *truth_path;
    ScoreTruth truth;
    ScoreCutters cutters;
    ClinicalLists lists;
    uint8_t *labels;                   /* (studies, lists.width), of the truth */
    Diversity diversity;               /* of the truth */
    ScoreSystem system[SCORE_SYSTEMS]; /* the first is the model, then its controls, then other models */
    int n, bootstrap;
    uint64_t seed;
} ScoreSheet;
void score_sheet_free(ScoreSheet *s);

/* What each printed number is: the average it is, and how it is computed. Ends with a row of NULLs. */
typedef struct ScoreAbout {
    const char *metric, *average, *how;
} ScoreAbout;
extern const ScoreAbout score_about[];

/* Tables for people. */
void score_print(FILE *out, const ScoreSheet *s);
/* Rows in the layout of the paper's table of results, times 100; F1: micro, of the keywords mentioned. */
void score_print_rows(FILE *out, const ScoreSheet *s);
/* The same as one JSON object, a new reference; undefined numbers are null, bytes of paths that are not UTF-8
 * are U+FFFD. NULL without memory. */
json_t *score_json(const ScoreSheet *s);
/* Writes the scores of each study, a JSON object a line. */
bool score_write_each(const char *path, const ScoreSheet *s, Error *e);
/* x, or null where it is undefined; [low, high], likewise. */
json_t *score_number(double x);
json_t *score_interval(const Interval *i);
#endif
