/* One step of the paper's training: the four branches over one visual encoder and one language model, and their
 * joint loss (equation 10). models/ and losses/ know nothing of each other; here they meet.
 *
 *   report   L_g    findings from the visual slots                                   equation 1
 *   segment  L_seg  masks of described lesions on the grid of their slice            equation 3
 *   entity   L_CLe  a slice's local token with what is said of it                    equations 4-6
 *   theme    L_CLt  the maximum of a study's global tokens with its whole findings   equations 7-9
 *
 * Branch by branch, each is run forward and backward on its own while the encoder's outputs gather its
 * gradient, and the encoder's backward comes last: one branch's activations in memory at a time, the same
 * gradient up to rounding. */
#ifndef TOOLS_PCRL_STEP_H
#define TOOLS_PCRL_STEP_H
#include "losses/align.h"
#include "models/pcrl.h"
#include "models/visual.h"

typedef enum { TERM_REPORT, TERM_SEGMENT, TERM_ENTITY, TERM_THEME, STEP_TERMS } StepTerm;
extern const char *const step_term_name[STEP_TERMS]; /* "report", ... */

/* What one pair of the entity branch is about. */
typedef struct StepClue {
    int32_t study, slice; /* study of the batch 0..B-1; 0..23 */
    const int32_t *text;  /* ids of its description */
    int n_text;
    int32_t same;      /* equal numbers: equal texts */
    const float *mask; /* [h*w] of the grid in [0,1], or NULL: not segmented */
} StepClue;

typedef struct StepBatch {
    int64_t B;
    Tensor *grid, *pooled;          /* (B*24,h,w,C) (B*24,C) */
    const int32_t *const *findings; /* [B] ids */
    const int *n_findings;          /* [B] */
    const int32_t *same_findings;   /* [B] equal numbers: equal findings */
    const StepClue *clue;           /* [n_clues], 0 allowed */
    int n_clues;
    /* Where a BERT reads the texts that are aligned: its features of them, `width` floats each, on the host. */
    int64_t width; /* 0: the language model reads them */
    const float *const *findings_feature, *const
                                              *clue_feature; /* [B] [n_clues]; NULL: that branch is not run */
} StepBatch;

typedef struct StepOptions {
    float weight[STEP_TERMS]; /* 0: the branch is not run */
    bool lm_mean;             /* L_g over tokens: mean, else sum */
    bool dice_smooth;         /* op_dice */
    AlignOptions align;
    bool learn_tau;      /* the logit scales in the place of align.tau */
    bool sample_scope;   /* entity pairs are contrasted within their study only */
    bool mask_identical; /* pairs with equal texts are no negatives of each other */
    bool joint;          /* one graph and one backward in the place of branch by branch */
} StepOptions;

typedef struct StepModel {
    const Visual *visual;
    const Llama *llama;
    const PcrlPrompt *prompt;
    const PcrlTextPrompt *text;
} StepModel;

/* While t records: forward in training mode and backward of the weighted sum, gradients added. Else forward
 * alone, with running statistics: validation. term (STEP_TERMS) gets the unweighted losses, on the device; NaN
 * where a branch was not run (weight 0), 0 where it had nothing to learn from (no clue, no mask, one pair).
 * Waits for nothing. Resets nothing: the caller ends with tape_reset. */
void pcrl_step(Tape *t, const StepModel *m, const StepBatch *b, const StepOptions *o, Tensor *term);
#endif
