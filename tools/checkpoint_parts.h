/* What saving (checkpoint_save.c) and finding (checkpoint.c) share. */
#ifndef TOOLS_CHECKPOINT_PARTS_H
#define TOOLS_CHECKPOINT_PARTS_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>

enum { CHECKPOINT_PATH = 4096, CHECKPOINT_NAME = 48, CHECKPOINT_FILES = 2 };
extern const char *const checkpoint_file[CHECKPOINT_FILES]; /* tensors.safetensors, state.json */
#define CHECKPOINT_MANIFEST "MANIFEST.json"
#define CHECKPOINT_FORMAT   "pcrl checkpoint"

/* step_00000012, and step_00000012.1 for a second save at that step. */
typedef struct CheckpointName {
    char text[CHECKPOINT_NAME];
    int64_t step;
    long again;
} CheckpointName;
void checkpoint_name(CheckpointName *n); /* writes text */

/* "FOLDER/NAME", or an error where that is too long. */
bool checkpoint_join(char path[CHECKPOINT_PATH], const char *folder, const char *name, Error *e);

/* ERROR_IO: "PATH: cannot VERB: " and what errno says. */
bool checkpoint_io_error(Error *e, const char *path, const char *verb);

/* All checkpoints of the run folder, newest first; none where there is no such folder. *list is the caller's.
 */
bool checkpoint_list(const char *run, CheckpointName **list, size_t *n, Error *e);

/* The name in RUN/latest or RUN/best; its text is "" where there is no such pointer. */
bool checkpoint_pointer(const char *run, const char *which, CheckpointName *name, Error *e);

/* The manifest and the files it lists. ERROR_INPUT is damage; other codes: it could not be told. from_disk: the
 * system is asked to forget its copy of the files first. */
bool checkpoint_verify(const char *folder, bool from_disk, Error *e);
#endif
