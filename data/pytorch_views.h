/* From a pickle's values to a TensorFile's entries, and the reading of views. */
#ifndef DATA_PYTORCH_VIEWS_H
#define DATA_PYTORCH_VIEWS_H
#include "data/pickle.h"

extern const TensorForm pytorch_form; /* whose part->own holds the strides of views that are not contiguous */
/* Entries for all tensors below root, whose storages have their places. */
bool pytorch_views(TensorFile *f, const PickleValue *root, Error *e);
#endif
