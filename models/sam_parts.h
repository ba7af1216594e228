/* What SAM's encoder and decoder are made of. */
#ifndef MODELS_SAM_PARTS_H
#define MODELS_SAM_PARTS_H
#include "kernels/ops.h"
#include "models/weights.h"

typedef struct SamLinear {
    Tensor *weight, *bias; /* (out,in) (out) */
} SamLinear;

typedef struct SamNorm {
    Tensor *weight, *bias; /* (C) */
} SamNorm;

typedef struct SamConv {
    Tensor *weight, *bias; /* (O,k,k,I), of a transposed one (I,k,k,O); bias NULL where there is none */
} SamConv;

/* NAME.weight and NAME.bias, NAME in printf's format; initialised as PyTorch does. */
SamLinear sam_linear_open(Weights *w, int64_t out, int64_t in, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
SamNorm sam_norm_open(Weights *w, int64_t C, const char *format, ...) __attribute__((format(printf, 3, 4)));
SamConv sam_conv_open(Weights *w, int64_t O, int64_t k, int64_t I, bool bias, const char *name);
SamConv sam_deconv_open(Weights *w, int64_t I, int64_t k, int64_t O, const char *name);

Tensor *sam_linear(Tape *t, const SamLinear *l, Tensor *x);
Tensor *sam_norm(Tape *t, const SamNorm *n, Tensor *x, float eps);
#endif
