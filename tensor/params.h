/* All trainable weights in one contiguous f32 block, with parallel blocks for gradient and AdamW's moments:
 * zeroing, norm, update, all-reduce and checkpoint are each one call on one flat range. Declare first, then
 * allocate. */
#ifndef TENSOR_PARAMS_H
#define TENSOR_PARAMS_H
#include "tensor/tensor.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { PARAMS_NAME = 160 };

typedef struct ParamsEntry {
    char name[PARAMS_NAME];
    Tensor *tensor; /* data and grad point into the blocks after params_alloc */
    int64_t offset; /* elements from the start of the block */
} ParamsEntry;

typedef struct Params {
    Arena *state;
    ParamsEntry *entry;
    int n, room;
    int64_t len;                   /* elements, each tensor padded to 64 */
    Tensor *weight, *grad, *m, *v; /* (len), zeroed by params_alloc */
    bool allocated;
} Params;

void params_init(Params *p, Arena *state);
void params_close(Params *p); /* frees the list; the blocks belong to the arena */

/* A trainable tensor with needs_grad set and data NULL until params_alloc. Dies on a second use of a name. */
Tensor *params_add(Params *p, const char *name, int ndim, const int64_t *dim);
void params_alloc(Params *p);
Tensor *params_find(const Params *p, const char *name); /* NULL if absent */
void params_zero_grad(Params *p);
/* Elements of all tensors, without padding. */
int64_t params_count(const Params *p);

#ifdef __cplusplus
}
#endif
#endif
