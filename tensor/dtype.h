/* Element types, from dtype.def. */
#ifndef TENSOR_DTYPE_H
#define TENSOR_DTYPE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
#define DTYPE(name, id, bytes)          DTYPE_##name = id,
#define QUANT(name, id, block)          DTYPE_##name = id,
#define BLOCKED(name, id, block, bytes) DTYPE_##name = id,
#include "tensor/dtype.def"
#undef DTYPE
#undef QUANT
#undef BLOCKED
} DType;

const char *dtype_name(DType d); /* "f32" */
bool dtype_is_quant(DType d);    /* 4-bit, planar or blocked */
bool dtype_is_planar(DType d);   /* 4-bit with scales in planes of their own */
int64_t dtype_block(DType d);    /* elements that share a scale; 1 for plain types */
/* Bytes of n elements; for a planar format the bytes of its code plane, (n + 1) / 2. A last block that is not
 * full takes the bytes of a full one. */
size_t dtype_bytes(DType d, int64_t n);

#ifdef __cplusplus
}
#endif
#endif
