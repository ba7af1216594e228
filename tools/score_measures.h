/* The numbers by which systems are compared, each with its 95 % interval under resampled studies. All of them
 * come from sums over studies, so that a thousand resamples cost a thousand sums; CIDEr's document frequencies
 * stay those of all studies. */
#ifndef TOOLS_SCORE_MEASURES_H
#define TOOLS_SCORE_MEASURES_H
#include "losses/bootstrap.h"
#include "losses/tuples.h"
#include "tools/score_clinical.h"
#include "tools/score_text.h"

enum {
#define MEASURE(id, key, name, value) MEASURE_##id,
#include "tools/score_measures.def"
    MEASURE_COUNT
};
const char *measure_key(int measure);
const char *measure_name(int measure);
/* The keywords' measures are there only with a file of keywords. */
bool measure_there(const ClinicalLists *l, int measure);

/* A system's studies. */
typedef struct MeasureInput {
    int n;
    const TupleTable *table;
    const TupleStudy *tuples; /* (n) */
    const double *text;       /* (n, TEXT_SUMS) */
    const ClinicalLists *lists;
    const uint8_t *truth, *said; /* (n, lists->width) */
} MeasureInput;

typedef struct Measures {
    LabelScores list[LIST_COUNT];
    LabelScore *label; /* (lists->width) */
    double value[MEASURE_COUNT];
    Interval interval[MEASURE_COUNT];
    double *resampled; /* (MEASURE_COUNT, repeats) */
} Measures;
/* Of more studies than these, groups are resampled, dealt at random and alike in size: the spread of a sum is
 * the same, and a million studies take the memory and time of these. */
enum { MEASURE_GROUPS = 10000 };

/* repeats >= 2. Same seed, same numbers. False only without memory. The caller frees. */
bool measures_take(const MeasureInput *in, int repeats, uint64_t seed, Measures *out, Error *e);
void measures_free(Measures *m);

/* Two systems of the same studies, repeats and seed. */
bool measures_compare(const Measures *a, const Measures *b, int repeats, PairedTest out[MEASURE_COUNT],
                      Error *e);
#endif
