/* What stage pcrl learns from besides features: findings and clues of every study, as ids and grid masks. */
#ifndef TOOLS_PCRL_TEXTS_H
#define TOOLS_PCRL_TEXTS_H
#include "kernels/ops.h"
#include "tokenizer/bpe.h"
#include "tools/train_data.h"

typedef struct ClueText {
    int slice, n_ids;
    int32_t *ids;
    int32_t same; /* equal numbers: equal texts, of findings and clues together */
    float *mask;  /* [GRID_CELLS] in [0,1]; NULL: none */
} ClueText;

typedef struct StudyText {
    int n_ids, n_clues;
    int32_t *ids; /* of the findings */
    int32_t same;
    ClueText *clue;
} StudyText;

typedef struct PcrlTexts {
    int n;
    StudyText *study;     /* in the data's order */
    int64_t clues, masks; /* in all */
    /* With `keep`: the different texts by their number `same`, and room for a feature of each, NULL until
     * somebody allocates one (pcrl_texts_close frees them). */
    int n_texts;
    char **text;
    float **feature;
} PcrlTexts;

typedef struct PcrlTextOptions {
    const char *clues; /* clue file; NULL: findings alone */
    bool merge;        /* one unit a slice, else one an entity */
    bool paper24;      /* the list of 24 entities */
    ResizeMode resize; /* of masks to the grid */
    bool keep;         /* the texts themselves, for a BERT */
} PcrlTextOptions;

/* Texts are cut after so many ids. */
enum { PCRL_MAX_TEXT = 384 };

/* t: resizes masks, and is reset. A study without clues in the file has none. Masks may have another size than
 * the slices, of which they cover the same field. */
bool pcrl_texts_open(PcrlTexts *x, Tape *t, const TrainData *d, const Bpe *bpe, const PcrlTextOptions *o,
                     Error *e);
void pcrl_texts_close(PcrlTexts *x);
#endif
