/* LLaMA weights under their publishers' names: one name for each tensor, Hugging Face's, and one way of saying
 * what shapes do not tell.
 *
 *   Hugging Face   model.layers.0.self_attn.q_proj.weight   config.json beside the weights
 *   GGUF           blk.0.attn_q.weight                      keys of the file itself
 *   Meta           layers.0.attention.wq.weight             params.json beside the weights
 *
 * Rows of q and k lie in Meta's order in its own files and in GGUF's of architecture llama: they are marked
 * (TensorEntry.heads), and every read turns them. */
#ifndef MODELS_LLAMA_NAMES_H
#define MODELS_LLAMA_NAMES_H
#include "data/tensor_file.h"
#include <stddef.h>

/* Gives f Hugging Face's names, and the metadata that llama_open reads: llama.heads, llama.kv_heads,
 * llama.head_dim, llama.norm_eps, llama.rope_theta, llama.tied. config: the path of a config.json or
 * params.json; NULL: that beside the weights, if there is one. A file that has llama.heads already (ours, or
 * adopted before) is left alone unless a config is given; so is one with Hugging Face's names and no config,
 * which llama_open refuses: its shapes do not tell.
 * False and one line in *e where the model is not a LLaMA, is one that is not computed here (scaled positions,
 * biases, experts), or where sizes and tensors contradict each other; f is then good for closing only. */
bool llama_adopt(TensorFile *f, const char *config, Error *e);

/* ---- its parts ---- */

/* What a file says of its model. 0: nothing, but of norm_eps. */
typedef struct LlamaSaid {
    int64_t vocab, dim, layers, heads, kv_heads, head_dim, ffn;
    double norm_eps, rope_theta;
    bool tied;
} LlamaSaid;
/* Checks that against the tensors, which have Hugging Face's names by now, and makes it metadata. */
bool llama_say(TensorFile *f, const LlamaSaid *s, Error *e);
/* The path of `name` beside the weights; false where there is no such file. */
bool llama_beside(const TensorFile *f, const char *name, char *path, size_t room);
/* For Meta's files, which must have a params.json. */
bool llama_is_meta(const TensorFile *f);
bool llama_adopt_meta(TensorFile *f, const char *config, Error *e);
#endif
