/* A tensor: dtype, at most four dims, contiguous and row-major, on one backend. No strides, no broadcasting.
 * The only views are tensor_reshape and tensor_slice (leading dim). Activations are (N,H,W,C); conv weights
 * (O,kh,kw,I). */
#ifndef TENSOR_TENSOR_H
#define TENSOR_TENSOR_H
#include "tensor/arena.h"
#include "tensor/dtype.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { TENSOR_DIMS = 4 };

/* The scale plane of a planar 4-bit weight; the code plane is Tensor.data. Weight i (row-major) belongs to
 * block i/64. Either absmax is set, or (double quantisation) nested, nested_absmax and offset: absmax[b] =
 * quant_dynamic_map[nested[b]] * nested_absmax[b / 256] + offset. */
typedef struct Quant {
    float *absmax;        /* (blocks) */
    uint8_t *nested;      /* (blocks) */
    float *nested_absmax; /* (ceil(blocks / 256)) */
    float offset;
} Quant;

typedef struct Tensor {
    DType dtype;
    int ndim;
    int64_t dim[TENSOR_DIMS];
    const Backend *backend;
    void *data;
    const Quant *quant;  /* planes of a planar 4-bit weight, or NULL */
    struct Tensor *grad; /* f32, same shape; NULL until somebody adds to it */
    bool needs_grad;
    struct Tensor *base; /* a view's owner, or NULL: a view's gradient is a part of its owner's */
    int64_t base_offset; /* elements */
} Tensor;

/* Data undefined (zeroed under backend cpu only where asked). The header lives in the arena too. */
Tensor *tensor_new(Arena *a, DType dtype, int ndim, const int64_t *dim);
Tensor *tensor_zeros(Arena *a, DType dtype, int ndim, const int64_t *dim);
Tensor *tensor_like(Arena *a, const Tensor *x); /* same shape, f32 */

/* 1-D to 4-D in one call: tensor_f32(a, B, T, D, 0): dims until the first 0. */
Tensor *tensor_f32(Arena *a, int64_t d0, int64_t d1, int64_t d2, int64_t d3);

/* Inline, so that plug-ins have them too. */
static inline int64_t tensor_len(const Tensor *x)
{
    int64_t n = 1;
    for (int i = 0; i < x->ndim; i++) n *= x->dim[i];
    return n;
}
static inline int64_t tensor_last(const Tensor *x) { return x->dim[x->ndim - 1]; }
/* Rows when the last dim is folded away. */
static inline int64_t tensor_rows(const Tensor *x) { return tensor_len(x) / tensor_last(x); }
/* Whether x may be what a layer reads and writes: f32, or (not on cpu) bf16. */
static inline bool is_activation(const Tensor *x) { return x->dtype == DTYPE_f32 || x->dtype == DTYPE_bf16; }
size_t tensor_bytes(const Tensor *x); /* of data (the code plane of a planar 4-bit weight) */
bool tensor_same_shape(const Tensor *x, const Tensor *y);
/* "f32 (4,24,192)" into a static ring of buffers; for messages. */
const char *tensor_text(const Tensor *x);

/* Views: header in `a`, data shared; gradients flow into x. */
Tensor *tensor_reshape(Arena *a, Tensor *x, int ndim, const int64_t *dim); /* dies unless lengths agree */
Tensor *tensor_slice(Arena *a, Tensor *x, int64_t from, int64_t count);    /* along dim 0 */

/* tensor_bytes(x) bytes, as in a file: a backend may keep a blocked 4-bit weight otherwise (Backend.pack). */
void tensor_upload(Tensor *x, const void *host);
void tensor_download(const Tensor *x, void *host);
void tensor_fill(Tensor *x, float value); /* f32 */

#ifdef __cplusplus
}
#endif
#endif
