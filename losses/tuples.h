/* How well reports name the lesions: scores over tuples (entity, side, density).
 *
 * A finding is an (entity, density) pair, numbered 0..n_findings-1; a report claims each finding at most once,
 * with one side, so a set of tuples is one byte for each finding: 0 not claimed, else the side's number. A
 * tuple is right when finding and side both are. */
#ifndef LOSSES_TUPLES_H
#define LOSSES_TUPLES_H
#include "losses/bootstrap.h"

enum { TUPLES_MAX_FINDINGS = 64, TUPLES_SIZE_BINS = 4 };

typedef struct TupleTable {
    int n_findings;
    const uint8_t *sided; /* (n_findings) 1: left and right are told apart; side accuracy looks at these only */
    const uint8_t *focal; /* (n_findings) 1: a lesion of the brain tissue with a place, the "focal" scores */
} TupleTable;

typedef struct TupleStudy {
    const uint8_t *truth, *said; /* (n_findings) */
    const double *radius_mm; /* (n_findings) of the truth's largest lesion; 0: has no size. NULL: none has */
    int truth_other, said_other; /* tuples outside the table: a said one is wrong, one of the truth is missed */
} TupleStudy;

typedef struct TupleScore {
    int64_t right, said, truth; /* tuples */
    double precision, recall;   /* right/said, right/truth; 0 where nothing was said or true */
    double f1;                  /* micro: 2 right / (said + truth); 0 where both are 0 */
    double macro;               /* mean F1 over the findings that the truth or a report names */
    int macro_n;                /* how many those are */
    int64_t side_right, side_n; /* sided findings in both sets, and those of them with the right side */
    double side;                /* side_right / side_n; NaN when side_n is 0 */
} TupleScore;

/* Lesions of one size: of the truth's tuples in [low, high) mm how many were named. A false alarm has no size,
 * so f1 combines this recall with the precision of all sizes together. */
typedef struct TupleBin {
    double low_mm, high_mm;                          /* high is infinite in the last bin */
    int64_t truth, right, found, side_n, side_right; /* found: named, on whichever side */
    double recall, f1, side;
} TupleBin;

typedef struct TupleScores {
    TupleScore all, focal;
    double exact;                            /* share of studies with exactly the right set */
    TupleScore finding[TUPLES_MAX_FINDINGS]; /* each alone; macro is its f1 */
    TupleBin size[TUPLES_SIZE_BINS];         /* every finding that has a size */
    TupleBin focal_size[TUPLES_SIZE_BINS];
} TupleScores;

/* dies when the table has more than TUPLES_MAX_FINDINGS. */
void tuples_score(const TupleTable *t, const TupleStudy *studies, int n, TupleScores *out);

/* The same from sums, which is how scores are resampled: a study's row of TUPLE_SUMS(n_findings) numbers, and
 * the scores of the sum of any number of rows, but for those by size, which are left 0. Row: right, said,
 * truth, side_right, side_n of each finding; then said and true tuples outside the table, 1 if the set is
 * exactly right, and 1 for the study. */
#define TUPLE_SUMS(n) (5 * (n) + 4)
void tuples_row(const TupleTable *t, const TupleStudy *s, double *row);
void tuples_from_sums(const TupleTable *t, const double *sum, TupleScores *out);

/* Two studies of one patient that differ in a known way: by one lesion, or in noise alone. The truths say
 * which: SAME they are equal, REMOVED a finding is in one of them only, MIRRORED findings differ in their side.
 */
typedef enum TupleChange { TUPLES_SAME, TUPLES_MIRRORED, TUPLES_REMOVED } TupleChange;
typedef struct TuplePair {
    TupleStudy a, b; /* a: the original; sizes are a's */
    int64_t patient; /* pairs of one patient stand together */
} TuplePair;

/* What the reports of n pairs do. Shares are NaN when n is 0; their intervals are over resampled patients. */
typedef struct TupleShift {
    double low_mm, high_mm; /* of the pairs' lesions, [low, high); 0 and infinity where size does not matter */
    int64_t n;
    int64_t follow; /* the said sets differ as the truths do: a finding whose truth is the same in a and b is
                     * claimed alike in both (rightly or not), any other as the truth of each is; and as many
                     * tuples outside the table are said of a as of b */
    int64_t still;  /* the said sets are equal */
    double follow_share, still_share;
    Interval follow_interval, still_interval;
} TupleShift;

typedef struct TuplePairScores {
    TupleShift changed, mirrored, removed; /* counterfactuals: all, and by what changed */
    TupleShift same;                       /* twins; follow and still are the same here */
    TupleShift size[TUPLES_SIZE_BINS];     /* counterfactuals by the changed lesion's radius */
} TuplePairScores;

/* repeats >= 2. Same seed, same numbers. False only without memory. */
bool tuples_pairs(const TupleTable *t, const TuplePair *pairs, int n, int repeats, uint64_t seed,
                  TuplePairScores *out, Error *e);
#endif
