/* A file of named tensors, in whichever public form it comes: safetensors, PyTorch's .pth and .bin, GGUF, or a
 * model in several files (shards) with an index. Opening reads and checks what the file declares; the data
 * stays on disk and is read with pread, one tensor or a part of it at a time. */
#ifndef DATA_TENSOR_FILE_H
#define DATA_TENSOR_FILE_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>

/* Under safetensors' names; then GGUF's blocks of 32 or 256 elements. */
typedef enum {
    ST_F64,
    ST_F32,
    ST_F16,
    ST_BF16,
    ST_I64,
    ST_I32,
    ST_I16,
    ST_I8,
    ST_U64,
    ST_U32,
    ST_U16,
    ST_U8,
    ST_BOOL,
    ST_F8_E4M3,
    ST_F8_E5M2,
    ST_Q4_0,
    ST_Q4_1,
    ST_Q8_0,
    ST_Q4_K,
    ST_Q6_K,
} StDType;
const char *st_dtype_name(StDType d); /* "F32" */
int st_dtype_block(StDType d);        /* elements of a block; 1 but for GGUF's */
size_t st_dtype_size(StDType d);      /* bytes of one element, or of one block */

typedef struct TensorEntry {
    char *name;
    StDType dtype;
    int ndim; /* 0 for a scalar; at most 8 */
    int64_t dim[8];
    uint64_t size;   /* bytes, in C order */
    uint64_t offset; /* where they begin, as the form counts */
    int part;        /* index of the file they are in */
    int own;         /* the form's */
    int64_t heads;   /* not 0: the rows of each of so many heads lie in Meta's order, pairs (2j, 2j+1) side by
                        side; every read gives them in Hugging Face's, pairs (j, j + half) */
    bool asked;      /* tensor_file_find has given it out */
} TensorEntry;

typedef struct TensorFile TensorFile;
typedef struct TensorPart TensorPart;

/* What a form does with its files. */
typedef struct TensorForm {
    const char *name; /* "safetensors" */
    /* `count` bytes from byte `from` of the entry, both within it, in C order. */
    bool (*raw)(const TensorFile *f, const TensorEntry *entry, uint64_t from, uint64_t count, void *dst,
                Error *e);
    void (*close)(TensorPart *part); /* frees own; NULL: there is none */
} TensorForm;

struct TensorPart {
    const TensorForm *form;
    char *path;
    int fd;              /* -1: none open */
    uint64_t data, size; /* where data begins, bytes of the file */
    void *own;           /* the form's */
};

struct TensorFile {
    char *path;
    int n;
    TensorEntry *entry; /* sorted by name, each name once */
    int n_meta;
    char **meta_key, **meta_value; /* in file order */
    int n_part;
    TensorPart *part;
};

/* Any form, told by the content: a file; an index ("weight_map": {tensor: file}) whose shards lie beside it (of
 * their metadata that of the first which has any counts); or
 * a folder with one of model.safetensors, model.safetensors.index.json, pytorch_model.bin,
 * pytorch_model.bin.index.json, consolidated.00.pth. NULL on error. */
TensorFile *tensor_file_open(const char *path, Error *e);
/* The path of the file that it takes from a folder; false: there is none of them. */
bool tensor_file_in_folder(const char *folder, char *path, size_t room);
/* Whether a file that begins with these n bytes is one; an index is told by its name. */
bool tensor_file_begins(const uint8_t *bytes, size_t n);
bool tensor_file_is_index(const char *path);
/* Whether `path` is one of the files that f reads: what is written there would take its place. */
bool tensor_file_holds(const TensorFile *f, const char *path);
void tensor_file_close(TensorFile *f);                                      /* NULL allowed */
const TensorEntry *tensor_file_find(const TensorFile *f, const char *name); /* NULL if absent */
/* The next entry from *at on, moved behind it, that tensor_file_find never gave out; NULL at the end. */
const TensorEntry *tensor_file_unasked(const TensorFile *f, int *at);
const char *tensor_file_meta(const TensorFile *f, const char *key); /* NULL if absent */
/* The raw bytes of an entry into dst (entry->size bytes). */
bool tensor_file_read(const TensorFile *f, const TensorEntry *entry, void *dst, Error *e);
/* `count` bytes from byte `from` of the entry. */
bool tensor_file_read_part(const TensorFile *f, const TensorEntry *entry, uint64_t from, uint64_t count,
                           void *dst, Error *e);
/* The entry as float (from any float, integer or block type), dst has as many elements as the shape says. */
bool tensor_file_read_f32(const TensorFile *f, const TensorEntry *entry, float *dst, Error *e);
/* `count` elements from element `from` of it, both whole blocks. */
bool tensor_file_read_f32_part(const TensorFile *f, const TensorEntry *entry, int64_t from, int64_t count,
                               float *dst, Error *e);
/* find + shape check + read_f32; the error names file, tensor, expected and found shape. */
bool tensor_file_load_f32(const TensorFile *f, const char *name, int ndim, const int64_t *dim, float *dst,
                          Error *e);

/* ---- for the forms, and for those who give names another spelling ---- */

/* An empty one of one part, opened (a regular file) with its size. NULL on error. */
TensorFile *tensor_file_new(const char *path, const TensorForm *form, Error *e);
/* Exactly n bytes at `offset` of a part: the file may have shrunk since it was opened. */
bool tensor_part_read(const TensorPart *p, uint64_t offset, void *dst, uint64_t n, Error *e);
/* Sorts entries by name; false and an error naming one that is there twice. Anew after names have changed. */
bool tensor_file_sort(TensorFile *f, Error *e);
/* By offset, of equals the shorter first: as one who looks for holes and overlaps wants them. */
void tensor_file_sort_offsets(TensorFile *f);
/* Sets ERROR_MEMORY; false. */
bool tensor_file_no_memory(const char *path, Error *e);
/* Sets or replaces. */
bool tensor_file_set_meta(TensorFile *f, const char *key, const char *value, Error *e);
/* malloc'ed; NULL when out of memory. */
char *tensor_file_copy(const char *text);
/* "(3,4)" into buffer. */
const char *tensor_file_shape(int ndim, const int64_t *dim, char *buffer, size_t room);
#endif
