/* What the files of weights.h share: weights.c (names, shapes, lists), weights_values.c (reading and
 * initialising), weights_quant.c (4-bit weights in files), weights_save.c (writing). */
#ifndef MODELS_WEIGHTS_PARTS_H
#define MODELS_WEIGHTS_PARTS_H
#include "models/weights_quant.h"

/* ---- weights.c ---- */

int spec_dims(const WeightSpec *s);
int64_t spec_len(const WeightSpec *s);
/* Whether the file has [a,b,kh,kw] where memory has (a,kh,kw,b). */
bool spec_turned(const WeightSpec *s);
/* The shape in a file's layout. */
int spec_file_dims(const WeightSpec *s, int64_t dim[TENSOR_DIMS]);

/* False and a sticky error unless the file's entry has the shape of s, or there is no file. */
bool weights_check_shape(Weights *w, const WeightSpec *s, const char *name);

/* ---- weights_values.c ---- */

/* [o,i,kh,kw] -> (o,kh,kw,i), or back; of a transposed conv, [i,o,kh,kw] -> (i,kh,kw,o). */
void weights_turn(const WeightSpec *s, const float *from, float *to, bool to_file);
/* For random weights that are made in any order: uniform in middle +- width, with the standard deviation of the
 * rule; what the rule makes constant is not quite, so that errors show: zeros have 0.02, ones are within 0.8
 * and 1.2. */
void weights_range(const WeightSpec *s, float *middle, float *width);

/* The values in memory layout, from file, generator or rule; false and a sticky error. */
bool weights_read_values(Weights *w, const WeightSpec *s, const char *name, float *x);
/* The same into a tensor (f32 or bf16). Beside it a file takes memory for a strip, a rule for one tensor. */
bool weights_load(Weights *w, const WeightSpec *s, const char *name, Tensor *x);
/* A frozen tensor, of the type it is kept in: 4-bit, bf16 or f32. NULL and a sticky error. */
Tensor *weights_load_frozen(Weights *w, const WeightSpec *s, const char *name);
#endif
