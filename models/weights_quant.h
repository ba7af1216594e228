/* 4-bit weights in safetensors files, under bitsandbytes' names: see weights.h. For weights.c. */
#ifndef MODELS_WEIGHTS_QUANT_H
#define MODELS_WEIGHTS_QUANT_H
#include "kernels/quant.h"
#include "models/weights.h"

/* Host blocks that must live until a file is written. */
typedef struct WeightsBuffers {
    void **block;
    int n, room;
} WeightsBuffers;
/* Takes ownership of p (malloc'ed) even when it fails for want of memory. */
bool weights_buffers_keep(WeightsBuffers *b, void *p);
void weights_buffers_free(WeightsBuffers *b);

/* Whether the file stores `name` as 4-bit codes. */
bool weights_is_quant(const Weights *w, const char *name);
/* (out,in) as its quant_state says; false and a sticky error if it does not. */
bool weights_quant_shape(Weights *w, const char *name, int64_t dim[2]);
/* The (out,in) weight of that name in the weights arena; NULL and a sticky error when its planes or its
 * quant_state are not what they should be. */
Tensor *weights_read_quant(Weights *w, const char *name, int64_t out, int64_t in);
/* Adds all planes of x to the writer. False when out of host memory. */
bool weights_write_quant(StWriter *writer, const char *name, const Tensor *x, WeightsBuffers *buffers);

/* From weights.c: the entry behind any of the known prefixes; "[2,3]" into buffer. */
const StEntry *weights_find(const Weights *w, const char *name);
const char *weights_shape_text(int ndim, const int64_t *dim, char *buffer, size_t room);
#endif
