/* The log of a run folder as curves. log.jsonl holds one JSON object a line:
 *
 *   {"stage": "pcrl", "step": 50, "seconds": 27.6, "loss": 0.251, "lr": 0.000996, "skipped": 1}
 *   {"stage": "pcrl", "step": 50, "validation": true, "loss": 0.27, "tuple_f1": 0.41, "score": 0.41}
 *
 * Stages may follow one another. Every number besides step, seconds, skipped and a validation's score is a
 * point of the curve of its name, training and validation apart; null is no point, texts and booleans are not
 * drawn. Several runs in one log say which they are, "arm": "paper"; such a line is of stage "paper pcrl". */
#ifndef TOOLS_RUN_LOG_H
#define TOOLS_RUN_LOG_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>

enum { RUN_STAGES = 32, RUN_CURVES = 64 };

typedef struct RunPoint {
    double step, value;
} RunPoint;

typedef struct RunCurve {
    char *name;
    bool validation;
    RunPoint *point; /* steps rise */
    size_t n, room;
} RunCurve;

typedef struct RunStage {
    char *name;
    double step;                /* the newest */
    double seconds, before;     /* of the newest line's process; of those before it */
    RunCurve curve[RUN_CURVES]; /* in the order of their first points */
    int n;
    RunCurve skipped; /* value: updates skipped in a row, up to that step */
    RunCurve score;   /* of validations: what the best one goes by */
} RunStage;

typedef struct RunLog {
    RunStage stage[RUN_STAGES]; /* in the order of their first lines */
    int n;
    int last; /* the stage of the last line; -1: no line */
} RunLog;

/* Where a training line's step is lower than the one before it, training went on from an older checkpoint: what
 * was logged from that step on is replaced. A last line that is cut off (no newline, not JSON) is left out;
 * anything else malformed is an error naming the line. NULL on error; the caller's (run_log_free). */
RunLog *run_log_read(const char *path, Error *e);
void run_log_free(RunLog *log); /* NULL allowed */

/* NULL if there is none. */
const RunCurve *run_curve(const RunStage *s, const char *name, bool validation);

/* The names to draw, training terms first, then what only validations have, then "lr" and "rate"; their
 * number. */
int run_curve_names(const RunStage *s, const char *name[RUN_CURVES]);

/* Validations as rows: every step that has one. Start with *row = (RunRow){0}; false after the last. */
typedef struct RunRow {
    double step;
    double value[RUN_CURVES]; /* of s->curve[i]; NAN: none at this step, or a training curve */
    size_t at[RUN_CURVES];    /* where each curve stands */
} RunRow;
bool run_next_row(const RunStage *s, RunRow *row);

/* The validation with the highest score, of several the first, as the trainer has it; NULL if none has a score.
 */
const RunPoint *run_best(const RunStage *s);
#endif
