/* How well the masks of galleries cover the true lesions, and how well retrieval finds them.
 *
 * What counts are the focal findings with masks. Their lesions (tools/lesions.h) are what a gallery should
 * cover: a lesion is covered if, in the slice where it is largest, a mask has an IoU of at least 0.5 with it.
 *
 * What retrieval should find is the finding: the clue whose entity its clause names is right if its mask has,
 * in the clue's slice, an IoU of at least 0.5 with the finding's mask of the left side, of the right side, or
 * of both; its Dice is the best of the three. A finding without such a clue is not found, Dice 0.
 *
 * A size is the diameter of the circle of a lesion's area; a finding has that of its largest lesion.
 * Intervals are over resampled studies. */
#ifndef TOOLS_SCORE_CLUES_H
#define TOOLS_SCORE_CLUES_H
#include "data/clue_filter.h"
#include "data/clues.h"
#include "tools/lesions.h"
#include "tools/score.h"

/* Sizes (< 6, 6-12, 12-24, >= 24, >= 12 mm, all) times kinds (all; without subarachnoid blood, whose mask is a
 * net of sulci; each finding). */
enum { CLUE_SIZES = 6, CLUE_KINDS = 2 + FINDING_COUNT, CLUE_CELLS = CLUE_KINDS * CLUE_SIZES };

/* Rows of a gallery: all masks, then what each filter leaves. */
enum { CLUE_FILTERS = 2, GALLERY_ROWS = 1 + CLUE_FILTERS };
enum { RETRIEVED_TOP, RETRIEVED_DICE, RETRIEVED_ROWS };

/* One study's share: part / whole is a row's ratio in each cell. */
void score_gallery_study(const CtrgStudy *s, const Lesion *lesion, int n, const Gallery *g,
                         const int64_t head[CTRG_SLICES], double part[GALLERY_ROWS][CLUE_CELLS],
                         double whole[CLUE_CELLS]);
/* clues NULL: the study has none. False without memory. */
bool score_clues_study(const CtrgStudy *s, const Lesion *lesion, int n, const StudyClues *clues,
                       double part[RETRIEVED_ROWS][CLUE_CELLS], double whole[CLUE_CELLS], Error *e);

typedef struct ClueRow {
    char name[96];
    bool of_gallery; /* counts lesions, else findings */
    int64_t count[CLUE_CELLS];
    double value[CLUE_CELLS]; /* NaN where there is nothing to count */
    Interval interval[CLUE_CELLS];
} ClueRow;

typedef struct ClueScores {
    int studies, skipped; /* skipped: without gallery or clues, left out */
    int n, room;
    ClueRow *row;
} ClueScores;

typedef struct ClueFile {
    const char *name, *path;
} ClueFile;

/* galleries: folder or NULL; file[0] is the model's, the rest its controls; n_files may be 0. truth: folder of
 * the data set, or its annotations.json. With galleries of 8 studies and more there is a control: the galleries
 * of the study 7 places on. partial: studies without gallery or without clues of the model are left out, and
 * unknown ones in the file ignored; else both are errors. */
bool score_clues(const char *truth, const char *galleries, const ClueFile *file, int n_files, bool partial,
                 int repeats, uint64_t seed, ClueScores *out, Error *e);
void score_clues_free(ClueScores *s);
void score_clues_print(FILE *out, const ClueScores *s);
json_t *score_clues_json(const ClueScores *s); /* a new reference; NULL without memory */
#endif
