/* 4-bit weights: encode, decode, and the tensors that hold them. Facts on nf4 and fp4, the planar formats:
 * Dettmers et al. 2023 (QLoRA) and the packing of bitsandbytes: flatten [out,in] row-major, pairs (e0,e1) ->
 * byte e0 << 4 | e1, absmax per 64 elements, value = level[code] * absmax. Double quantisation: the absmax
 * minus their mean, as 8-bit codes of the dynamic map in blocks of 256. q4_0 is GGUF's: the same flat order, in
 * blocks of 32 elements that hold their scale. The per-format inline functions are in kernels/quant_<format>.h,
 * one source for every compiler. */
#ifndef KERNELS_QUANT_H
#define KERNELS_QUANT_H
#include "tensor/tensor.h"
#ifdef __cplusplus
extern "C" {
#endif

/* The 256 values of the signed dynamic map, ascending (7 exponent bits). */
const float *quant_dynamic_map(void);

/* The 16 levels of a planar format, in order of their codes. */
const float *quant_levels(DType dtype);

/* Quantises w (n values) to dtype's codes (dtype_bytes(dtype, n)) and, planar, absmax (ceil(n/64)); absmax is
 * not used by a blocked format. Host memory. */
void quant_encode(DType dtype, const float *w, int64_t n, uint8_t *codes, float *absmax);
void quant_decode(DType dtype, const uint8_t *codes, const float *absmax, int64_t n, float *w);

/* Double quantisation of absmax (blocks values): nested codes, nested_absmax (ceil(blocks/256)), offset. */
void quant_nest(const float *absmax, int64_t blocks, uint8_t *nested, float *nested_absmax, float *offset);
void quant_unnest(const uint8_t *nested, const float *nested_absmax, float offset, int64_t blocks,
                  float *absmax);

/* A quantised tensor (2-D, [out,in]) in `a` from host f32 values; nested: with double quantisation (planar
 * only). */
Tensor *quant_tensor(Arena *a, DType dtype, int64_t out, int64_t in, const float *w, bool nested);
/* The same from values that come in strips: values(context, from, n, w) gives w[from .. from + n), at most
 * `strip` (a multiple of 64) at a time. NULL when it fails. */
typedef bool QuantValues(void *context, int64_t from, int64_t n, float *w);
Tensor *quant_tensor_strips(Arena *a, DType dtype, int64_t out, int64_t in, bool nested, int64_t strip,
                            QuantValues *values, void *context);
/* The same from stored codes and planes (absmax NULL: nested; planes NULL: blocked). Host pointers, copied. */
Tensor *quant_tensor_from(Arena *a, DType dtype, int64_t out, int64_t in, const uint8_t *codes,
                          const Quant *planes);
/* absmax of block b, whatever the form. Host backends. */
float quant_absmax(const Quant *q, int64_t b);

#ifdef __cplusplus
}
#endif
#endif
