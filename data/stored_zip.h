/* The members of a zip archive that lie in it as they are (STORED), by name. libzip reads the directory, zip64
 * too; the bytes are left to whoever knows their place. */
#ifndef DATA_STORED_ZIP_H
#define DATA_STORED_ZIP_H
#include "data/tensor_file.h"

typedef struct StoredZip StoredZip;
/* Of an open file, which must outlive it. NULL on error. */
StoredZip *stored_zip_open(const TensorPart *part, Error *e);
void stored_zip_close(StoredZip *z); /* NULL allowed */
int64_t stored_zip_count(const StoredZip *z);
const char *stored_zip_name(const StoredZip *z, int64_t i); /* UTF-8 */
bool stored_zip_has(const StoredZip *z, const char *name);
/* Where a member's bytes lie in the file; they are all there. Refuses one that is missing, compressed or
 * encrypted. */
bool stored_zip_find(StoredZip *z, const char *name, uint64_t *offset, uint64_t *size, Error *e);
#endif
