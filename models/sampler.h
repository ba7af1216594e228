/* Batched generation from prefix embeddings: greedy, or temperature then top-p. Rows end at a stop id; the
 * batch ends when all rows have. */
#ifndef MODELS_SAMPLER_H
#define MODELS_SAMPLER_H
#include "models/llama.h"

typedef struct SamplerOptions {
    float temperature; /* 0: greedy */
    float top_p;
    uint64_t seed; /* a draw depends on (seed, row, step) */
    int max_tokens;
    const int32_t *stop; /* ids that end a row; not part of its output */
    int n_stop;
} SamplerOptions;

/* prefix (B,T,D), right-padded, lengths[b] real positions of row b (NULL: all T). cache: B rows, room for T +
 * max_tokens, contents replaced. out (B,max_tokens) and n[B]: ids and count of each row. The tape must not be
 * recording; the step arena is given back as it was. */
void sampler_generate(Tape *t, const Llama *m, LlamaCache *cache, Tensor *prefix, const int32_t *lengths,
                      const SamplerOptions *o, int32_t *out, int *n);
#endif
