/* LLaMA (Touvron et al. 2023; LLaMA 3): RMSNorm, rotary positions in the HF layout, grouped-query attention,
 * SwiGLU, no biases. Names are Hugging Face's (model.layers.0.self_attn.q_proj.weight); a missing
 * lm_head.weight means that the head is tied to the embedding.
 *
 *     h = x + o(attention(rope(q(n)), rope(k(n)), v(n))),  n = rmsnorm(x)
 *     y = h + down(silu(gate(m)) * up(m)),                 m = rmsnorm(h)
 *
 * The base is f32 (frozen or trainable) or 4-bit (frozen). Low-rank updates (LoRA, Hu et al. 2021) sit on q and
 * v under PEFT's names (base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight). */
#ifndef MODELS_LLAMA_H
#define MODELS_LLAMA_H
#include "kernels/ops.h"
#include "models/weights.h"

typedef struct LlamaConfig {
    int64_t vocab, dim, layers, heads, kv_heads, head_dim, ffn;
    float norm_eps, rope_theta;
    bool tied;
} LlamaConfig;

extern const LlamaConfig llama_3_8b; /* the paper's */

typedef struct LlamaLayer {
    Tensor *input_norm, *post_norm; /* (D) */
    Tensor *q, *k, *v, *o;          /* (H*d,D) (G*d,D) (G*d,D) (D,H*d) */
    Tensor *gate, *up, *down;       /* (F,D) (F,D) (D,F) */
    Lora q_lora, v_lora;            /* A NULL: none */
} LlamaLayer;

/* What training keeps of a block: everything; everything but the feed-forward half, which is run again in
 * backward (its two inner activations are the widest); or the block's input alone. Same gradients, bit for bit.
 */
typedef enum { RECOMPUTE_NONE, RECOMPUTE_MEDIUM, RECOMPUTE_FULL } Recompute;

typedef struct Llama {
    LlamaConfig config;
    Tensor *embed; /* (V,D) */
    Tensor *norm;  /* (D) */
    Tensor *head;  /* (V,D); embed itself when tied */
    LlamaLayer *layer;
    Recompute recompute;
} Llama;

/* From any form of file (models/llama_names.h). Sizes from shapes; "llama.heads", "llama.kv_heads" (or
 * "llama.head_dim"), "llama.norm_eps" (1e-5), "llama.rope_theta" from the file's metadata; a file without
 * rope_theta is refused, one that says nothing of heads has them of 128. "llama.tied" "true": tied though the
 * file has a lm_head.weight. */
bool llama_open(Llama *m, Weights *w, Error *e);
/* Of the given configuration: from w's file if there is one, else normal with sd 0.02, norms 1. */
bool llama_create(Llama *m, Weights *w, LlamaConfig config, Error *e);
/* Adds LoRA on q and v from its own part (A uniform +-1/sqrt(in), B zero where there is no file). rank 0: read
 * from the file's shapes. Rank, alpha and dropout in a file's metadata ("lora.alpha", "lora.dropout") win over
 * the arguments. */
bool llama_add_lora(Llama *m, Weights *adapter, int rank, float alpha, float dropout, Error *e);

/* Keys and values after RoPE, one pair a layer, and where each row stands. */
typedef struct LlamaCache {
    int64_t B, S;    /* rows, capacity in tokens */
    Tensor **k, **v; /* [layers] (B,S,G,d) */
    Tensor *place;   /* (2,B) i32: the last token's position, and the tokens stored with it */
    int32_t *host;   /* [2 B] for uploads of it */
} LlamaCache;
/* In `state`, of type `compute` (the tape's); popping the state arena's mark frees it. */
LlamaCache llama_cache(Arena *state, const Llama *m, int64_t B, int64_t S, DType compute);
/* position[b]: of row b's last token. */
void llama_place(LlamaCache *cache, const int32_t *position);

/* Embeddings of ids (...) i32 -> (...,D) of type t->compute; -1 gives a zero row. */
Tensor *llama_embed(Tape *t, const Llama *m, Tensor *id);

/* x (B,T,D) embeddings of type t->compute, right-padded; length (B) i32 or NULL (all T) -> hidden states after
 * the final norm (B,T,D). Rows past a length are computed but mean nothing. cache (or NULL) is filled from
 * position 0 on and its places set to each row's last (host copy `lengths`, B values or NULL for T). Taps:
 * "layers.%d.attn" (the block's attention output after o), "layers.%d" (its output), "norm". */
Tensor *llama_forward(Tape *t, const Llama *m, Tensor *x, Tensor *length, LlamaCache *cache,
                      const int32_t *lengths);

/* One token for each row of the cache, at cache->place, which the caller has moved on to it (op_next_token, or
 * llama_place): x (B,1,D) -> hidden (B,1,D). Nothing comes from the host, so it can be replayed
 * (tensor/replay.h). A place past the cache dies. Not recorded. */
Tensor *llama_step(Tape *t, const Llama *m, Tensor *x, LlamaCache *cache);

/* h (R,D) -> logits (R,V), f32. */
Tensor *llama_logits(Tape *t, const Llama *m, Tensor *h);
#endif
