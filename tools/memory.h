/* What a program's memory was, for its last lines. */
#ifndef TOOLS_MEMORY_H
#define TOOLS_MEMORY_H
#include "tensor/arena.h"
#include <stdio.h>

enum { MEMORY_ARENAS = 4 };

/* Peak bytes of the arenas weights, state, step and scratch, and of all. A plan's are those of a run, byte for
 * byte; scratch is the device's own: the plan's kernels do nothing. After a run also the process's own peak of
 * resident memory, where the system tells it. state: what that arena holds. */
void memory_print(const Arena *const arena[MEMORY_ARENAS], const char *state, FILE *out);
#endif
