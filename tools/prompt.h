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

/* The representation instruction around a text whose hidden state is wanted (equations 5 and 8). */
typedef struct TextPrompt {
    int32_t *before, *after;
    PcrlTextPrompt pcrl;
} TextPrompt;

/* The paper's: BOS instruction "\n" text "\n". release: the text first and the instruction after it, as a chat
 * turn where the vocabulary has LLaMA-3's header tokens; pool_padded: the last column of the padded batch. */
bool text_prompt_open(TextPrompt *p, const Prompt *prompt, const char *instruction, bool release,
                      bool pool_padded, Error *e);
void text_prompt_close(TextPrompt *p);

/* Opens a model folder's tokenizer and encodes the prompt: tokenizer.json or tokenizer.model, in the folder or
 * with the language model in its folder llama, or what llama.gguf holds. */
bool prompt_open(Prompt *p, const char *folder, Error *e);
void prompt_close(Prompt *p);
#endif
