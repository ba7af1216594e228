/* Trains a small byte-level BPE vocabulary on report text and writes it as a tokenizer.json that tokenizer/bpe
 * reads (and the tokenizers library too). */
#ifndef TOKENIZER_BPE_TRAIN_H
#define TOKENIZER_BPE_TRAIN_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>

/* Trains on n_texts UTF-8 strings. vocab_size counts everything: 256 bytes, the merges, and 4 special tokens,
 * which are the last ids in this order: <|begin_of_text|>, <|end_of_text|>, <|eot_id|>, <|pad|>. At least 260.
 * When the texts have fewer pairs that occur twice, the vocabulary is smaller than asked for: read its size
 * with bpe_vocab_size. Deterministic: the commonest pair is merged first; on ties the pair with the smaller
 * ids. Tokens are whole characters, or a prefix of one: none joins the rest of one character with the next.
 * Errors: invalid UTF-8 (names the text's number and byte), no memory, writing. */
bool bpe_train(const char *const *texts, size_t n_texts, int vocab_size, const char *path, Error *e);
#endif
