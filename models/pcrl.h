/* The report path: visual slots spliced into a prompt, and the findings after it.
 *
 *     before ("<BOS>[Img]") | H_v | after ("[/Img][MRG] instruction") | findings | EOS
 *
 * Visual slots have embeddings but no ids. Only findings and EOS are predicted (equation 1's sum); positions
 * count from 0, padding is on the right. Token ids come from the caller: models know no tokenizer. */
#ifndef MODELS_PCRL_H
#define MODELS_PCRL_H
#include "models/llama.h"
#include "models/sampler.h"

typedef struct PcrlPrompt {
    const int32_t *before,
        *after; /* before ends with the marker that opens the image; at least one id in all */
    int n_before, n_after;
    int32_t eos;
} PcrlPrompt;

/* What the loss needs: the hidden state of every predicted position, and the id it must predict. */
typedef struct PcrlRows {
    Tensor *h;     /* (R,D) after the final norm */
    Tensor *label; /* (R) i32 */
} PcrlRows;

/* hv (B,slots,D), or NULL for text alone. findings[b]: n[b] ids (0 is allowed: EOS alone is predicted), b < B.
 */
PcrlRows pcrl_rows(Tape *t, const Llama *m, Tensor *hv, const PcrlPrompt *p, int64_t B,
                   const int32_t *const *findings, const int *n);

/* Reports for hv (B,slots,D) or NULL: ids out (B,max_tokens), n[B]. o->stop should hold EOS. cache: B rows with
 * room for pcrl_prefix_length + max_tokens. */
void pcrl_generate(Tape *t, const Llama *m, LlamaCache *cache, Tensor *hv, const PcrlPrompt *p, int64_t B,
                   const SamplerOptions *o, int32_t *out, int *n);

/* The representation instruction around a text: before | text | after, and which hidden state stands for it. */
typedef struct PcrlTextPrompt {
    const int32_t *before, *after; /* before begins with BOS */
    int n_before, n_after;
    int32_t pad;
    bool pool_padded; /* the last column of the padded batch, as the authors' code: padding for all but the
                         longest */
} PcrlTextPrompt;

/* R of equations 5 and 8 before its Linear: the hidden state after the final norm of the last real token of
 * each text, with whatever LoRA m carries. text[b]: n[b] ids, b < B -> (B,D). Tap "text". */
Tensor *pcrl_text(Tape *t, const Llama *m, const PcrlTextPrompt *p, int64_t B, const int32_t *const *text,
                  const int *n);

/* Positions before the first finding. */
int64_t pcrl_prefix_length(const PcrlPrompt *p, int64_t slots);
#endif
