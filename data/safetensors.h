/* The safetensors format: u64 little-endian header length, a JSON header, the data. One file format for
 * weights, checkpoints, feature caches, masks and goldens. Reader rules as in the reference: header at most
 * 100,000,000 bytes and beginning with '{', no duplicate names, offsets in order without holes or overlap
 * covering the whole data part, sizes equal to shape times dtype. */
#ifndef DATA_SAFETENSORS_H
#define DATA_SAFETENSORS_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>

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
} StDType;
const char *st_dtype_name(StDType d); /* "F32" */
size_t st_dtype_size(StDType d);      /* bytes of one element */

typedef struct StEntry {
    char *name;
    StDType dtype;
    int ndim; /* 0 for a scalar; at most 8 */
    int64_t dim[8];
    uint64_t offset, size; /* bytes, from the start of the data part */
} StEntry;

/* An open file: the header is parsed and checked, the data stays on disk and is read with pread. */
typedef struct SafeTensors {
    char *path;
    int fd;
    uint64_t data_offset; /* of the data part in the file */
    int n;
    StEntry *entry; /* sorted by name */
    int n_meta;
    char **meta_key, **meta_value; /* __metadata__, in file order */
} SafeTensors;

/* NULL on error. */
SafeTensors *safetensors_open(const char *path, Error *e);
void safetensors_close(SafeTensors *s);                                  /* NULL allowed */
const StEntry *safetensors_find(const SafeTensors *s, const char *name); /* NULL if absent */
const char *safetensors_meta(const SafeTensors *s, const char *key);     /* NULL if absent */
/* The raw bytes of an entry into dst (entry->size bytes). */
bool safetensors_read(const SafeTensors *s, const StEntry *entry, void *dst, Error *e);
/* `count` bytes from byte `from` of the entry. */
bool safetensors_read_part(const SafeTensors *s, const StEntry *entry, uint64_t from, uint64_t count, void *dst,
                           Error *e);
/* The entry as float (from F64, F32, F16, BF16, any integer), dst has as many elements as the shape says. */
bool safetensors_read_f32(const SafeTensors *s, const StEntry *entry, float *dst, Error *e);
/* find + shape check + read_f32; the error names file, tensor, expected and found shape. */
bool safetensors_load_f32(const SafeTensors *s, const char *name, int ndim, const int64_t *dim, float *dst,
                          Error *e);

/* Writing: entries are declared first, then the file is written in one go, crash-safe. Names must be unique
 * (dies). The writer keeps copies of names and metadata; data is read by st_writer_save and may be NULL only
 * where there are no bytes. Where memory is short st_writer_new gives NULL, which the other calls accept;
 * st_writer_save reports it. */
typedef struct StWriter StWriter;
StWriter *st_writer_new(void);
void st_writer_free(StWriter *w);
void st_writer_meta(StWriter *w, const char *key, const char *value);
void st_writer_add(StWriter *w, const char *name, StDType dtype, int ndim, const int64_t *dim,
                   const void *data);
bool st_writer_save(StWriter *w, const char *path, Error *e); /* does not free w */
/* Length and SHA-256 of what st_writer_save would write; path is for messages only. */
bool st_writer_hash(StWriter *w, const char *path, uint64_t *bytes, char hex[65], Error *e);
#endif
