/* PyTorch's .pth, .pt and .bin, as torch.save writes them: a zip archive with a pickle (ROOT/data.pkl) and one
 * member a storage (ROOT/data/KEY), or, before version 1.6, pickles one after the other and then the storages.
 * The pickle is read by data/pickle.h and runs nothing.
 *
 * The tensors of a dict of any depth get dotted names ("optimizer.state.0.exp_avg"); what is no tensor is
 * passed over. A dict "state_dict" or "model" that holds all tensors there are adds nothing to their names.
 * Views of any strides are read in C order; for one that is not contiguous, its span of the storage is in
 * memory while it is read, and such views of one file are read by one thread at a time. */
#ifndef DATA_PYTORCH_H
#define DATA_PYTORCH_H
#include "data/tensor_file.h"

/* Whether a file that begins with these n bytes is for pytorch_open, be it to say why it cannot be read. */
bool pytorch_begins(const uint8_t *bytes, size_t n);
/* NULL on error; tensor_file_close. */
TensorFile *pytorch_open(const char *path, Error *e);
#endif
