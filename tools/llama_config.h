/* The config.json with which Hugging Face's transformers opens a folder of LLaMA weights. */
#ifndef TOOLS_LLAMA_CONFIG_H
#define TOOLS_LLAMA_CONFIG_H
#include "models/llama.h"

/* Writes folder/config.json for m, whose Linears are in `quant` (nf4 or fp4: with the quantization_config under
 * which bitsandbytes reads them; q4_0, which it does not know, or f32: without). What the config.json beside
 * the weights `from` says of other things (ids of special tokens, longest text) is kept, where there is one of
 * a LLaMA. */
bool llama_config_save(const char *folder, const char *from, const Llama *m, DType quant, bool nested,
                       Error *e);
#endif
