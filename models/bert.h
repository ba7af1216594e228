/* BERT (Devlin et al. 2019), the encoder: post-norm layers, GELU by erf, learnt positions, all tokens of type
 * 0. Names are Hugging Face's (embeddings.word_embeddings.weight, encoder.layer.0.attention.self.query.weight)
 * behind w->prefix; the pooler is not read, nothing uses it.
 *
 *     x = norm(word[id] + position[i] + type[0])
 *     h = norm(x + dense(attention(q(x), k(x), v(x))))
 *     y = norm(h + output(gelu(intermediate(h)))) */
#ifndef MODELS_BERT_H
#define MODELS_BERT_H
#include "kernels/ops.h"
#include "models/weights.h"

typedef struct BertConfig {
    int64_t vocab, dim, layers, heads, ffn, positions, types;
} BertConfig;

typedef struct BertNorm {
    Tensor *weight, *bias; /* (D) */
} BertNorm;

typedef struct BertLinear {
    Tensor *weight, *bias; /* (out,in) (out) */
} BertLinear;

typedef struct BertLayer {
    BertLinear q, k, v, dense, intermediate, output;
    BertNorm attention_norm, output_norm;
} BertLayer;

typedef struct Bert {
    BertConfig config;
    Tensor *word, *position, *type; /* (V,D) (positions,D) (types,D) */
    BertNorm norm;
    BertLayer *layer;
} Bert;

/* Sizes from shapes; "bert.heads" from the file's metadata, without it heads of 64 as in all public ones. */
bool bert_open(Bert *m, Weights *w, Error *e);
/* Of the given configuration: from w's file if there is one, else normal with sd 0.02 sqrt(768 / D) (0.02 at
 * the public width), biases 0, norms 1. */
bool bert_create(Bert *m, Weights *w, BertConfig config, Error *e);
/* Values of `from` into `to`, which has the same configuration; false and an Error naming both otherwise. */
bool bert_copy(Bert *to, const Bert *from, Error *e);

/* ids (B,T) i32, T at most `positions` -> (B,T,D) of type t->compute. */
Tensor *bert_embed(Tape *t, const Bert *m, Tensor *ids);
/* Layer i: x (B,T,D); length (B) i32 or NULL (all T): keys past it are masked. */
Tensor *bert_layer(Tape *t, const Bert *m, int64_t i, Tensor *x, Tensor *length);
/* Both: the last hidden states (B,T,D). Taps: "embeddings", "layer.%d" (its output). */
Tensor *bert_forward(Tape *t, const Bert *m, Tensor *ids, Tensor *length);

/* A text's feature: the means over all positions of the hidden states 1, 2 and last (what layers 0, 1 and the
 * last put out), and their mean (B,D), f32. lengths: B values on the host or NULL (all T); with it each row is
 * pooled over its own tokens alone, so padding changes nothing but rounding. Needs two layers. Taps: as
 * bert_forward, "pooled". */
Tensor *bert_pool(Tape *t, const Bert *m, Tensor *ids, const int32_t *lengths);

/* The masked-language-model head: norm(gelu(dense(h))) against the word embeddings, with a bias a word. Names
 * cls.predictions.transform.{dense,LayerNorm}.*, cls.predictions.bias; w->prefix is for the encoder alone. */
typedef struct BertHead {
    BertLinear dense;
    BertNorm norm;
    Tensor *bias; /* (V) */
} BertHead;
bool bert_head_create(BertHead *head, const Bert *m, Weights *w, Error *e);
/* h (R,D): hidden states of the rows that are predicted. */
Tensor *bert_head_logits(Tape *t, const Bert *m, const BertHead *head, Tensor *h); /* (R,V), f32 */
/* Mean cross-entropy over the rows with label (R) >= 0 -> (1). */
Tensor *bert_head_loss(Tape *t, const Bert *m, const BertHead *head, Tensor *h, Tensor *label);
#endif
