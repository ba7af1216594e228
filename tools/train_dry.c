/* The dry run of stage pcrl: the same step on backend plan, on a batch as long as they come. */
#include "tools/train_pcrl.h"
#include <stdlib.h>

typedef struct Lengths {
    int64_t B, channels;
    int clues, clue_tokens, findings_tokens;
} Lengths;

static Lengths longest(const PcrlJob *j)
{
    const PcrlSet *s = &j->stage->train;
    Lengths l = {.B = j->stage->o->batch, .channels = s->features.channels};
    for (int k = 0; k < s->texts.n; k++) {
        const StudyText *x = &s->texts.study[k];
        if (x->n_ids > l.findings_tokens) l.findings_tokens = x->n_ids;
        if (x->n_clues > l.clues) l.clues = x->n_clues;
        for (int i = 0; i < x->n_clues; i++)
            if (x->clue[i].n_ids > l.clue_tokens) l.clue_tokens = x->clue[i].n_ids;
    }
    return l;
}

/* BERT reads one text, as long as it can be; every text has that feature. */
static void plan_bert(PcrlJob *j, Tape *t)
{
    StepBatch *b = &j->batch;
    int64_t n = j->bert.model.config.positions, most = b->B > b->n_clues ? b->B : b->n_clues;
    int32_t *ids = arena_push_host(t->step, (size_t)n * sizeof *ids);
    b->width = j->bert.model.config.dim;
    float *feature = arena_push_host(t->step, (size_t)b->width * sizeof *feature);
    const float **all = arena_push_host(t->step, (size_t)(most + 1) * sizeof *all);
    bert_texts_ids(&j->bert, t, ids, n, feature);
    for (int64_t i = 0; i < most; i++) all[i] = feature;
    b->findings_feature = b->clue_feature = all;
}

void pcrl_dry_batch(PcrlJob *j, Trainer *t, bool paper)
{
    static const int32_t no_ids[512]; /* of the paper's prompts: their lengths alone matter */
    static const PcrlPrompt prompt = {no_ids, no_ids, PAPER_MARKER, PAPER_INSTRUCTION, 0};
    static const PcrlTextPrompt text = {no_ids, no_ids, PAPER_BEFORE, PAPER_AFTER, 0, false};
    static const float mask[GRID_CELLS];
    Lengths l = paper ? (Lengths){j->stage->o->batch, PAPER_CHANNELS, PAPER_CLUES, PAPER_CLUE_TOKENS,
                                  PAPER_FINDINGS_TOKENS}
                      : longest(j);
    if (paper) {
        j->model.prompt = &prompt;
        j->model.text = &text;
    }
    int most = l.findings_tokens > l.clue_tokens ? l.findings_tokens : l.clue_tokens;
    int32_t *ids = arena_push_host(t->tape.step, (size_t)(most + 1) * sizeof *ids);
    const int32_t **findings = arena_push_host(t->tape.step, (size_t)l.B * sizeof *findings);
    int *n = arena_push_host(t->tape.step, (size_t)l.B * sizeof *n);
    int32_t *same = arena_push_host(t->tape.step, (size_t)l.B * sizeof *same);
    StepClue *clue = arena_push_host(t->tape.step, (size_t)(l.B * l.clues + 1) * sizeof *clue);
    for (int64_t b = 0; b < l.B; b++) {
        findings[b] = ids;
        n[b] = l.findings_tokens;
        for (int i = 0; i < l.clues; i++)
            clue[b * l.clues + i] = (StepClue){(int32_t)b, i % CTRG_SLICES, ids, l.clue_tokens, 0, mask};
    }
    j->batch = (StepBatch){
        .B = l.B,
        .grid =
            tape_tensor(&t->tape, DTYPE_bf16, 4, (const int64_t[]){l.B * CTRG_SLICES, GRID, GRID, l.channels}),
        .pooled = tape_tensor(&t->tape, DTYPE_f32, 2, (const int64_t[]){l.B * CTRG_SLICES, l.channels}),
        .findings = findings,
        .n_findings = n,
        .same_findings = same,
        .clue = clue,
        .n_clues = (int)(l.B * l.clues)};
    if (j->stage->o->text_features == TEXTS_BERT) plan_bert(j, &t->tape);
}
