/* GGUF, versions 2 and 3 (of version 3 the little-endian form): "GGUF", u32 version, u64 tensors, u64 keys; the
 * keys, each a string, a u32 type and a value; the tensors, each a name, u32 dims, u64 dim fastest first, u32
 * type, u64 offset; zeros up to a multiple of general.alignment (32); the data, each tensor at such a multiple.
 * A string is a u64 length and so many bytes.
 *
 * As a TensorFile: dims in C order; keys with one value are its metadata (true, false; whole numbers; %.9g of a
 * float, %.17g of a double, so that they read back exactly; strings, which must be UTF-8). Lists, a tokenizer's
 * vocabulary for one, stay in the file and are read by the calls below.
 *
 * Every count and length is compared with the bytes that are left before anything is allocated. Refused
 * besides: keys or names that are there twice, lists of lists, more than 4 dims, rows that are no whole number
 * of blocks, types that data/tensor_file.h does not have, holes, overlaps, data that is longer than its
 * tensors. */
#ifndef DATA_GGUF_H
#define DATA_GGUF_H
#include "data/tensor_file.h"

/* As files number them. */
typedef enum {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
} GgufType;
const char *gguf_type_name(GgufType type); /* "u32" */

/* A key whose value is a list. */
typedef struct GgufArray {
    char *key;
    GgufType type;         /* of an element; not GGUF_ARRAY */
    uint64_t n;            /* elements */
    uint64_t offset, size; /* where they lie in the file, and how many bytes they are */
} GgufArray;

TensorFile *gguf_open(const char *path, Error *e);
bool gguf_is(const void *first4); /* whether a file begins so */

/* The lists of a file that gguf_open opened, in file order (n: how many), and one of them (NULL if absent). */
const GgufArray *gguf_arrays(const TensorFile *f, int *n);
const GgufArray *gguf_array(const TensorFile *f, const char *key);
/* The elements of a list of numbers or bools as they lie in the file, a->size bytes. */
bool gguf_read_array(const TensorFile *f, const GgufArray *a, void *dst, Error *e);
/* The elements of a list of strings, NUL-terminated UTF-8. *text (a->n pointers, and what they point to) is the
 * caller's to free, in one free. */
bool gguf_read_strings(const TensorFile *f, const GgufArray *a, char ***text, Error *e);
#endif
