/* Batched generation from prefix embeddings: greedy, or temperature then top-p. Rows end at a stop id; the
 * batch ends when all rows have.
 *
 * A step depends on device memory alone (last ids, places, step number and seed), so that it is captured once a
 * call and replayed (tensor/replay.h). The host looks every SAMPLER_LOOK steps, where there are graphs, whether
 * all rows have ended; what is computed past that is thrown away. */
#ifndef MODELS_SAMPLER_H
#define MODELS_SAMPLER_H
#include "models/llama.h"

/* A look costs the device some 20 us of waiting, a step too many a step: 0.1 % and 0.5 % of 300 steps of 5 ms,
 * 2 % and 0.5 % of steps of 0.3 ms. */
enum { SAMPLER_LOOK = 4 };

/* Seconds of the prefix and of the steps after it, and how many these were; added to. */
typedef struct SamplerTimes {
    double prefix, steps;
    int64_t n;
} SamplerTimes;

typedef struct SamplerOptions {
    float temperature; /* 0: greedy */
    float top_p;
    uint64_t seed; /* a draw depends on (seed, row, step) */
    int max_tokens;
    const int32_t *stop; /* ids that end a row; not part of its output */
    int n_stop;
    SamplerTimes *times; /* NULL: not wanted; the device is waited for once more where it is */
} SamplerOptions;

/* prefix (B,T,D), right-padded, lengths[b] real positions of row b (NULL: all T). cache: B rows, room for T +
 * max_tokens, contents replaced. out (B,max_tokens) and n[B]: ids and count of each row. The tape must not be
 * recording; the step arena is given back as it was. */
void sampler_generate(Tape *t, const Llama *m, LlamaCache *cache, Tensor *prefix, const int32_t *lengths,
                      const SamplerOptions *o, int32_t *out, int *n);
#endif
