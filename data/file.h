/* Reading files whole and writing them so that a crash never leaves a half-written one: temporary name in the
 * same folder, fsync, rename over the target, fsync of the folder. */
#ifndef DATA_FILE_H
#define DATA_FILE_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Reads at most `limit` bytes (a longer file is an error naming both sizes). *bytes is malloc'ed,
 * NUL-terminated one past *n, and the caller's. */
bool file_read(const char *path, size_t limit, uint8_t **bytes, size_t *n, Error *e);

/* An atomic write in progress. After file_create, write to w.stream; file_commit makes it visible, file_abandon
 * drops it. Any write error is found at commit, which then removes the temporary file and names path and errno.
 */
typedef struct FileWriter {
    FILE *stream;
    char path[4096], temporary[4160];
} FileWriter;
bool file_create(FileWriter *w, const char *path, Error *e);
bool file_commit(FileWriter *w, Error *e);
void file_abandon(FileWriter *w);

/* file_create + fwrite + file_commit. */
bool file_write(const char *path, const void *bytes, size_t n, Error *e);

/* False and an Error with both numbers unless the file system of `path` (it, or the folder it will be in, is
 * there) has `bytes` free: asked before a large file is begun. */
bool file_check_room(const char *path, uint64_t bytes, Error *e);

/* fsync of the folder that holds path: makes a rename in it survive a crash. */
bool file_sync_folder(const char *path, Error *e);

/* mkdir -p; what is new survives a crash. */
bool file_make_folder(const char *path, Error *e);
#endif
