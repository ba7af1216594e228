/* What is in a file: one JSON object for every kind of file that this project reads or writes. */
#ifndef TOOLS_INSPECT_H
#define TOOLS_INSPECT_H
#include "tensor/error.h"
#include <jansson.h>
#include <stdio.h>

typedef struct InspectOptions {
    bool stats;         /* read the data too: smallest, largest, mean, root mean square, NaN and infinite */
    const char *tensor; /* only tensors whose name contains this; NULL: all */
} InspectOptions;

/* "file" and "format" ("safetensors", "NIfTI", "PNG", "JPEG", "JSON", "JSON lines", "data set", "tokenizer")
 * come first. The kind is told by content; a folder is a data set. NULL on error. The caller owns the
 * reference. */
json_t *inspect_file(const char *path, const InspectOptions *o, Error *e);

/* The table of ops, from kernels/ops.def: {"ops": [{"op", "cpu forward", ...}], ...}. NULL when memory is
 * short. */
json_t *inspect_ops(void);

/* The object as text: members one a line, lists of objects as tables. */
void inspect_print(FILE *out, const json_t *object);
#endif
