/* The prompt around the visual slots, one for all tools: BOS "[Img]" | slots | "[/Img][MRG]" instruction |
 * findings EOS. Markers are plain text; no vocabulary rows are added. */
#ifndef TOOLS_PROMPT_H
#define TOOLS_PROMPT_H
#include "models/pcrl.h"
#include "tokenizer/bpe.h"

extern const char prompt_before[], prompt_after[];

typedef struct Prompt {
    Bpe *bpe;
    int32_t *before, *after; /* ids, BOS included */
    int32_t bos, eos;
    PcrlPrompt pcrl;
} Prompt;

/* Opens folder/tokenizer.json and encodes the prompt. */
bool prompt_open(Prompt *p, const char *folder, Error *e);
void prompt_close(Prompt *p);
#endif
