/* libzip does not say where a member's bytes begin. It reads the archive through a source of ours, which
 * remembers the offset of the last read: of a STORED member's first byte, that is the place. */
#include "data/stored_zip.h"
#include <stdlib.h>
#include <string.h>
#include <zip.h>

struct StoredZip {
    const TensorPart *part;
    zip_t *zip;
    zip_error_t fault;
    uint64_t at, last; /* where the next read begins; where the last one did */
};

static zip_int64_t read_bytes(StoredZip *z, void *data, zip_uint64_t n)
{
    uint64_t left = z->part->size > z->at ? z->part->size - z->at : 0;
    if (n > left) n = left;
    if (!tensor_part_read(z->part, z->at, data, n, NULL)) {
        zip_error_set(&z->fault, ZIP_ER_READ, 0);
        return -1;
    }
    z->last = z->at;
    z->at += n;
    return (zip_int64_t)n;
}

static zip_int64_t seek(StoredZip *z, void *data, zip_uint64_t n)
{
    zip_int64_t to = zip_source_seek_compute_offset(z->at, z->part->size, data, n, &z->fault);
    if (to < 0) return -1;
    z->at = (uint64_t)to;
    return 0;
}

static zip_int64_t put_stat(const StoredZip *z, zip_stat_t *st)
{
    zip_stat_init(st);
    st->valid = ZIP_STAT_SIZE;
    st->size = z->part->size;
    return sizeof *st;
}

static zip_int64_t source(void *user, void *data, zip_uint64_t n, zip_source_cmd_t command)
{
    StoredZip *z = user;
    switch (command) {
    case ZIP_SOURCE_OPEN: z->at = 0; return 0;
    case ZIP_SOURCE_READ: return read_bytes(z, data, n);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE: return 0;
    case ZIP_SOURCE_STAT: return put_stat(z, data);
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&z->fault, data, n);
    case ZIP_SOURCE_SEEK: return seek(z, data, n);
    case ZIP_SOURCE_TELL: return (zip_int64_t)z->at;
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
                                              ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE,
                                              ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_SUPPORTS, -1);
    default: zip_error_set(&z->fault, ZIP_ER_OPNOTSUPP, 0); return -1;
    }
}

/* With ZIP_CHECKCONS in flags, local headers must say what the directory says. */
static zip_t *open_archive(StoredZip *z, int flags, zip_error_t *why)
{
    zip_source_t *from = zip_source_function_create(source, z, why);
    zip_t *zip = from ? zip_open_from_source(from, ZIP_RDONLY | flags, why) : NULL;
    if (from && !zip) zip_source_free(from);
    return zip;
}

static bool cannot_open(StoredZip *z, zip_error_t *why, Error *e)
{
    const char *path = z->part->path;
    zip_error_t second;
    zip_error_init(&second);
    z->zip = open_archive(z, 0, &second);
    zip_error_fini(&second);
    if (z->zip)
        return error_set(e, ERROR_INPUT, "%s: the zip archive's directory and its members disagree", path);
    bool memory = zip_error_code_zip(why) == ZIP_ER_MEMORY;
    error_set(e, memory ? ERROR_MEMORY : ERROR_INPUT, "%s: the zip archive cannot be read: %s", path,
              zip_error_strerror(why));
    return false;
}

StoredZip *stored_zip_open(const TensorPart *part, Error *e)
{
    StoredZip *z = calloc(1, sizeof *z);
    if (!z) {
        error_set(e, ERROR_MEMORY, "%s: out of memory reading the zip archive", part->path);
        return NULL;
    }
    zip_error_t why;
    zip_error_init(&z->fault);
    zip_error_init(&why);
    z->part = part;
    z->zip = open_archive(z, ZIP_CHECKCONS, &why);
    bool ok = z->zip || cannot_open(z, &why, e);
    zip_error_fini(&why);
    if (ok) return z;
    stored_zip_close(z);
    return NULL;
}

void stored_zip_close(StoredZip *z)
{
    if (!z) return;
    if (z->zip) zip_discard(z->zip);
    zip_error_fini(&z->fault);
    free(z);
}

int64_t stored_zip_count(const StoredZip *z) { return zip_get_num_entries(z->zip, 0); }

const char *stored_zip_name(const StoredZip *z, int64_t i)
{
    const char *name = zip_get_name(z->zip, (zip_uint64_t)i, ZIP_FL_ENC_GUESS);
    return name ? name : "";
}

bool stored_zip_has(const StoredZip *z, const char *name) { return zip_name_locate(z->zip, name, 0) >= 0; }

/* Opens the member and reads its first byte, to see where that is. */
static bool find_place(StoredZip *z, zip_uint64_t index, const char *name, uint64_t size, uint64_t *offset,
                       Error *e)
{
    char byte;
    zip_file_t *file = zip_fopen_index(z->zip, index, 0);
    bool ok = file && (!size || zip_fread(file, &byte, 1) == 1);
    if (!ok)
        error_set(e, ERROR_INPUT, "%s: member \"%.120s\" cannot be read: %s", z->part->path, name,
                  file ? zip_file_strerror(file) : zip_strerror(z->zip));
    *offset = size ? z->last : 0;
    if (file) zip_fclose(file);
    return ok;
}

bool stored_zip_find(StoredZip *z, const char *name, uint64_t *offset, uint64_t *size, Error *e)
{
    const char *path = z->part->path;
    zip_stat_t st;
    zip_int64_t index = zip_name_locate(z->zip, name, 0);
    if (index < 0) return error_set(e, ERROR_INPUT, "%s: member \"%.120s\" is missing", path, name);
    if (zip_stat_index(z->zip, (zip_uint64_t)index, 0, &st) != 0)
        return error_set(e, ERROR_INPUT, "%s: member \"%.120s\" cannot be read: %s", path, name,
                         zip_strerror(z->zip));
    if (st.encryption_method != ZIP_EM_NONE)
        return error_set(e, ERROR_INPUT, "%s: member \"%.120s\" is encrypted", path, name);
    if (st.comp_method != ZIP_CM_STORE || st.comp_size != st.size)
        return error_set(e, ERROR_INPUT, "%s: member \"%.120s\": expected it stored as it is, found method %u",
                         path, name, (unsigned)st.comp_method);
    if (st.size > z->part->size)
        return error_set(e, ERROR_INPUT, "%s: member \"%.120s\": %llu bytes in a file of %llu", path, name,
                         (unsigned long long)st.size, (unsigned long long)z->part->size);
    if (!find_place(z, (zip_uint64_t)index, name, st.size, offset, e)) return false;
    if (st.size > z->part->size - *offset)
        return error_set(e, ERROR_INPUT, "%s: member \"%.120s\": %llu bytes, %llu are there", path, name,
                         (unsigned long long)st.size, (unsigned long long)(z->part->size - *offset));
    *size = st.size;
    return true;
}
