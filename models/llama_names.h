/* LLaMA files whose names are not Hugging Face's: Meta's consolidated.00.pth. */
#ifndef MODELS_LLAMA_NAMES_H
#define MODELS_LLAMA_NAMES_H
#include "data/tensor_file.h"

/* Gives f's tensors Hugging Face's names, marks the query and key rows that lie in Meta's order
 * (TensorEntry.heads), and sets the metadata that llama_open reads: llama.heads, llama.kv_heads,
 * llama.norm_eps, llama.rope_theta. Of Meta's they stand in params.json; config names it, NULL: beside the
 * weights. Files of other names stay as they are. */
bool llama_adopt(TensorFile *f, const char *config, Error *e);
#endif
