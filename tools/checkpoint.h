/* The checkpoints of a run folder: at every instant, also of a crash or of lost power, the newest complete one
 * is found again.
 *
 *   RUN/step_00000012/   tensors.safetensors, state.json, MANIFEST.json (step; length and SHA-256 of the two)
 *   RUN/step_00000012.1/ a second save at the same step
 *   RUN/latest           one line: the name of the folder of the newest checkpoint
 *   RUN/best             the same, of the best one
 *   RUN/lock             held by the trainer at work
 *
 * What is being written or removed is called NAME.tmp-PID. */
#ifndef TOOLS_CHECKPOINT_H
#define TOOLS_CHECKPOINT_H
#include "data/json.h"
#include "data/safetensors.h"

/* Writes a checkpoint next to the others, reads it back from the disk and compares the hashes; then `latest`
 * (and `best` before it, if asked for) names it; then all others go but the one `best` names and the previous
 * one. run exists; state is an object; step >= 0. On error the folder's checkpoints are those of before (or the
 * new one is complete and named) and nothing half-written is left; ERROR_IO where there is no room, saying how
 * many bytes are needed and how many free. Temporary files of earlier savers are removed: the caller holds
 * checkpoint_lock. Data is hashed three times over (before writing, after it, and the previous
 * checkpoint). */
bool checkpoint_save(const char *run, int64_t step, StWriter *tensors, const json_t *state, bool best,
                     Error *e);

/* Removes all checkpoints of the run folder, if there is one. */
bool checkpoint_clear(const char *run, Error *e);

/* The folder that "latest" or "best" names, into path[4096], if its manifest verifies. For "latest" otherwise
 * the newest that does, with a note on stderr of what is damaged. *found is false, without an error, where
 * there is none at all; that none verifies is an error naming the first damaged file. */
bool checkpoint_find(const char *run, const char *which, char *path, bool *found, Error *e);

/* Opens a checkpoint's folder whose manifest verifies; both results are the caller's. */
bool checkpoint_open(const char *path, TensorFile **tensors, json_t **state, Error *e);

/* One trainer a run folder: refuses while another process holds RUN/lock, naming its pid. The lock ends with
 * checkpoint_unlock or with the process, however that dies. */
bool checkpoint_lock(const char *run, int *fd, Error *e);
void checkpoint_unlock(int fd);
#endif
