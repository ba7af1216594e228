/* The paper's experiments as tables: what runs left behind, read and brought together.
 *
 * One run trains one row of Table 2 with one seed, scores it, and leaves RUN/result.json:
 *   { "row": "a", "preset": "paper", "seed": 1, "commit": "...", "seconds": 312, "train": { settings },
 *     "scores": what pcrl-score --json printed for the test studies, controls included,
 *     "held_out": the same for studies with lesions in places that training has not seen them in } */
#ifndef TOOLS_TABLE_H
#define TOOLS_TABLE_H
#include "data/findings.h"
#include "data/json.h"
#include <stdio.h>

/* The rows of Table 2, in its order: what is trained beside report generation (equation 1). */
enum { ROW_BASELINE, ROW_A, ROW_B, ROW_C, ROW_D, ROW_E, ROW_OURS, ROW_RELEASE, TABLE_ROWS };
typedef struct TableRow {
    const char *key;          /* "baseline", "a" .. "e", "ours", "ours-release" */
    const char *row, *preset; /* as result.json says them */
    const char *name;         /* for people */
    const char *losses;       /* of S segmentation, E entities, T themes; "-" none */
    const char *texts;        /* who reads the clues' texts: "LLaMA", "BERT"; "-" nobody */
} TableRow;
const TableRow *table_row(int row);

/* The metrics, in the tables' order. All but CIDEr (0..10) are shares of 1. */
enum {
    METRIC_LESION,
    METRIC_MACRO,
    METRIC_FOCAL,
    METRIC_SIDE,
    METRIC_HELD_OUT,
    METRIC_MENTION,
    METRIC_FINDING,
    METRIC_BLEU4,
    METRIC_METEOR,
    METRIC_ROUGE,
    METRIC_CIDER,
    TABLE_METRICS
};
typedef struct TableMetric {
    const char *key, *name; /* in files; for people */
    const char *path; /* where pcrl-score --json has it, at the top or in a control's object: nested keys */
    bool held_out;    /* of the held-out studies; NaN for controls that were not scored there */
    bool checked;     /* table_check compares it */
} TableMetric;
const TableMetric *table_metric(int metric);

enum { TABLE_SYSTEMS = 16 }; /* the model and its controls */

typedef struct TableRun {
    char path[256];
    int row;
    int64_t seed, studies, held_out_studies;
    double seconds, noise; /* noise: of lesion F1, see table_noise */
    char commit[72];
    double value[TABLE_SYSTEMS][TABLE_METRICS]; /* NaN: undefined (side accuracy of reports without a side) */
    json_t *json;                               /* the whole file */
} TableRun;

typedef struct Table {
    int n, n_systems;
    char system[TABLE_SYSTEMS][64]; /* "model", then the controls; every run has the same */
    char split[32];                 /* how texts were cut; likewise */
    TableRun *run;                  /* by row, then seed */
} Table;

/* Bad input: a missing or unknown key or row, a value that is no number in its range, a row twice with the same
 * seed, controls that differ from the first file's. The caller owns the result (table_free). */
bool table_read(const char *const *path, int n, Table *out, Error *e);
void table_free(Table *t);

/* Of the held-out combinations (data/held_out.def), in a system's entry of "systems": held_out_f1 is their F1.
 * Bad input: none is true. mirrored: of their mirror images, which may all be missing. */
typedef struct TableCounts {
    int64_t right, said, truth;
} TableCounts;
bool table_held_out(const json_t *system, const char *what, bool mirrored, TableCounts *out, Error *e);

/* Over runs; NaN where undefined in all of them. */
typedef struct TableRange {
    int n; /* runs in which it is defined */
    double min, mean, max;
} TableRange;
TableRange table_range_of(const double *x, int n); /* NaN does not count */
TableRange table_range(const Table *t, int row, int system, int metric);
TableRange table_seconds(const Table *t, int row);
int table_runs(const Table *t, int row);
/* A control that needs no image and no model has the same scores in every run. */
bool table_shared(const Table *t, int system);

/* A number with its 95 % interval. */
typedef struct Estimate {
    int n; /* 0: not measured, or undefined */
    double value, low, high;
} Estimate;
/* The number at `path` of a score, its interval at the same path below "intervals" (a pair of numbers).
 * n is 0 where the number or its interval is null. */
bool table_estimate(const json_t *o, const char *path, const char *what, Estimate *out, Error *e);
/* Of right among n independent ones: Wilson's interval. */
Estimate table_wilson(int64_t right, int64_t n);
/* 1: a lies above b, -1: below, 0: the intervals overlap. */
int table_apart(const Estimate *a, const Estimate *b);
/* The standard deviation that goes with it. */
double table_sd(const Estimate *x);
const json_t *table_find(const json_t *o, const char *path); /* at nested keys; NULL: nothing there */

/* What a clue does: one row against another, seed by seed. */
enum { TABLE_PAIRS = 9 };
typedef struct TablePair {
    int row, against;
    const char *what; /* that differs */
} TablePair;
const TablePair *table_pair(int pair);
/* The differences row - against over the seeds that both have. */
TableRange table_difference(const Table *t, const TablePair *p, int metric);
/* One standard deviation of the lesion F1 of a single run under resampling of its studies, the mean over all
 * runs. */
double table_noise(const Table *t);
/* "helps" or "harms" if the differences of at least three seeds all have one sign and their mean is larger than
 * the noise, else "does not help"; of fewer "one seed" or "two seeds"; "-" no pair. */
const char *table_verdict(const TableRange *difference, double noise);

/* Table 2 for people: each row with its controls, then what each clue does. */
void table_print(FILE *out, const Table *t);

/* The committed ranges: commits, seeds, seconds, and for each row and control each metric's min, mean and max.
 * Crash-safe. */
bool table_write(const char *path, const Table *t, Error *e);
/* Whether every checked metric of every run lies within the range of `path` for its row, widened by `margin` on
 * both sides; prints a line for each that does not, and how many were compared. *outside counts them: a row of
 * the file without a run counts too. False: the file is not what table_write wrote. */
bool table_check(const char *path, const Table *t, double margin, FILE *out, int *outside, Error *e);

/* The parts of it, for other tables. A number of a file at nested keys "a/b/c", 0..most; NaN for null. */
bool table_number(const json_t *o, const char *path, const char *what, double most, double *out, Error *e);
json_t *table_range_json(const TableRange *r); /* {min, mean, max}, nulls where undefined; a new reference */
typedef struct TableComparison {
    const char *path;
    double margin;
    FILE *out;
    int compared, outside;
} TableComparison;
/* x with the range at `key` of an object that `what` names in errors; `label` stands before a number outside.
 */
bool table_compare(TableComparison *c, const json_t *ranges, const char *key, double x, const char *what,
                   const char *label, Error *e);
#endif
