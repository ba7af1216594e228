/* Stage pcrl, its parts: what the warm-up, the joint training, validation and the dry run share. */
#ifndef TOOLS_TRAIN_PCRL_H
#define TOOLS_TRAIN_PCRL_H
#include "tools/bert_texts.h"
#include "tools/features.h"
#include "tools/pcrl_step.h"
#include "tools/pcrl_texts.h"
#include "tools/prompt.h"
#include "tools/score.h"
#include "tools/train.h"

enum { PCRL_PATH = 4096 };

/* A typical worst batch at the paper's sizes, 4 studies: 28 descriptions of 80 tokens and findings of 220 with
 * their instruction, reports of 300 with prompt and visual slots. */
enum {
    PAPER_BATCH = 4,
    PAPER_CLUES = 7,
    PAPER_CLUE_TOKENS = 65,
    PAPER_FINDINGS_TOKENS = 205,
    PAPER_CHANNELS = 2048,
    PAPER_EMBED = 512
};
enum { PAPER_MARKER = 5, PAPER_INSTRUCTION = 66, PAPER_BEFORE = 14, PAPER_AFTER = 1 };

/* Studies with their cached features. */
typedef struct PcrlSet {
    TrainData *data;
    Features features;
    PcrlTexts texts; /* joint training only */
} PcrlSet;

typedef struct PcrlStage {
    const TrainOptions *o;
    PcrlSet train, validation; /* validation.data NULL: none */
    Prompt prompt;
    TextPrompt text;
    char resnet[PCRL_PATH], llama[PCRL_PATH], warm[PCRL_PATH], heads[PCRL_PATH], clues[PCRL_PATH];
    char bert[PCRL_PATH], vocab[PCRL_PATH]; /* --text-features bert only */
} PcrlStage;

/* Features of B studies on the step stack: grid (B*24,14,14,C), pooled (B*24,C). */
bool pcrl_read_features(const PcrlSet *s, Tape *t, int64_t B, const int64_t *study, Tensor **grid,
                        Tensor **pooled, Error *e);
/* B different studies (with repeats only where there are fewer than B). */
void pcrl_draw(Rng *rng, int64_t n, int64_t B, int64_t *study);

/* The head alone, towards the slot embeddings of the true labels; writes stage->warm. */
bool pcrl_warmup(PcrlStage *s, Error *e);

/* The joint training's model and its batch in host memory. */
typedef struct PcrlJob {
    PcrlStage *stage;
    Weights base, head, adapter, embeds; /* embeds: the Linears after BERT's features */
    BertTexts bert;                      /* --text-features bert only */
    Llama llama;
    Visual visual;
    StepModel model;
    StepOptions step;
    StepBatch batch;
    int64_t *study;           /* [B] */
    const int32_t **findings; /* [B] */
    int *n_findings;
    int32_t *same;
    StepClue *clue;
    const float **findings_feature, **clue_feature; /* as findings, as clue */
    int room;                                       /* of clue */
} PcrlJob;

/* Points the batch at B studies of the set: findings, clues, masks, and BERT's features of the texts where it
 * reads them, each computed when it is first needed. The visual features are left alone. */
bool pcrl_fill_batch(PcrlJob *j, Tape *t, const PcrlSet *s, int64_t B, const int64_t *study, Error *e);

/* TrainerValidate: the losses over the validation studies, and greedy reports of them: tuple F1 (the score) and
 * BLEU-4 over characters. context: a PcrlJob. */
bool pcrl_validate(Trainer *t, void *context, TrainerValidation *v, Error *e);

/* A batch as long as they come, without data: for the dry run. paper: batch 4, 7 clues a study; else the
 * longest texts of the training set. */
void pcrl_dry_batch(PcrlJob *j, Trainer *t, bool paper);
#endif
