/* 4-bit weights in safetensors files. For weights.c. Every weight P has its codes as P (U8) and a JSON object
 * as the bytes of P.quant_state.FORM: quant_type, blocksize, dtype, shape [out,in].
 *
 * nf4, fp4, as bitsandbytes stores them: FORM bitsandbytes__nf4 or bitsandbytes__fp4; P [n/2,1], P.absmax F32
 * [n/64], P.quant_map F32 [16]. Nested: P.absmax U8, P.nested_absmax F32 [n/64/256], P.nested_quant_map F32
 * [256], and in the JSON nested_blocksize, nested_dtype, nested_offset. q4_0, of which bitsandbytes knows
 * nothing, in the same manner: FORM pcrl__q4_0; P [n/32 * 18], GGUF's blocks over the flat weight. */
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
/* The same of a GGUF file's Q4_0 tensor, whose blocks are ours as they are. */
Tensor *weights_read_blocks(Weights *w, const char *name, int64_t out, int64_t in);
/* What the bytes of a name in a file are. */
typedef enum { PLANE_VALUES, PLANE_CODES, PLANE_ABSMAX, PLANE_NESTED, PLANE_NESTED_ABSMAX } WeightsPlane;
/* Declares one; data in the memory of the tensor's backend. False when out of host memory. */
typedef bool WeightsAdd(void *context, const char *name, WeightsPlane plane, StDType dtype, int ndim,
                        const int64_t *dim, const void *data);
/* Declares the codes and planes of x through `add`, and adds code tables and quant_state, with that offset of
 * nested scales, to the writer. False when out of host memory. */
bool weights_write_quant(StWriter *writer, const char *name, const Tensor *x, float offset,
                         WeightsBuffers *buffers, WeightsAdd *add, void *context);

/* From weights.c: the entry behind any of the known prefixes; "[2,3]" into buffer. */
const TensorEntry *weights_find(const Weights *w, const char *name);
const char *weights_shape_text(int ndim, const int64_t *dim, char *buffer, size_t room);
#endif
