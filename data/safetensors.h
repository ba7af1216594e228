/* The safetensors format: u64 little-endian header length, a JSON header, the data. Checkpoints, feature
 * caches, masks and goldens are in it, and the weights that this project writes. Reader rules as in the
 * reference: header at most 100,000,000 bytes and beginning with '{', no duplicate names, offsets in order
 * without holes or overlap covering the whole data part, sizes equal to shape times dtype. */
#ifndef DATA_SAFETENSORS_H
#define DATA_SAFETENSORS_H
#include "data/tensor_file.h"

enum { ST_HEADER_LIMIT = 100000000 }; /* bytes */
/* One safetensors file. NULL on error; tensor_file_close. */
TensorFile *safetensors_open(const char *path, Error *e);

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
/* The same for data that is made while it is written: source(context, from, n, to) puts bytes [from, from + n)
 * of the tensor at `to`. It is called in order, tensor after tensor, from 0 on: 0 begins anew. n is ST_CHUNK
 * but for a tensor's last bytes. False with *e set ends the save, which leaves no file. */
enum { ST_CHUNK = 1 << 20 };
typedef bool StSource(void *context, uint64_t from, size_t n, void *to, Error *e);
void st_writer_add_from(StWriter *w, const char *name, StDType dtype, int ndim, const int64_t *dim,
                        StSource *source, void *context);
bool st_writer_save(StWriter *w, const char *path, Error *e); /* does not free w */
/* The same as files of at most `limit` bytes of data (one weight with its planes is never parted): in `folder`,
 * which is made, model-0000K-of-0000N.safetensors and, last, model.safetensors.index.json. */
bool st_writer_save_shards(StWriter *w, const char *folder, uint64_t limit, Error *e);
/* Length, and SHA-256, of what st_writer_save would write; path is for messages only. */
bool st_writer_size(StWriter *w, const char *path, uint64_t *bytes, Error *e);
bool st_writer_hash(StWriter *w, const char *path, uint64_t *bytes, char hex[65], Error *e);
#endif
