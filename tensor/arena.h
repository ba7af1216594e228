/* Where memory lives. One arena a lifetime: `weights` (frozen, read once), `state` (outlives a step:
 * trainables, moments, running statistics, caches), `step` (one forward and backward), `scratch` (one kernel).
 * There is no per-tensor free: an arena is a stack with marks. `step` has a second use of its upper end: a
 * first-fit pool, where gradients of intermediates live, because their lifetimes do not nest with the stack's.
 *
 * Tensor headers and nodes live in host memory on a parallel stack that the same marks cover. */
#ifndef TENSOR_ARENA_H
#define TENSOR_ARENA_H
#include "tensor/backend.h"
#include "tensor/error.h"
#include <stdbool.h>
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif

enum { ARENA_ALIGN = 256, ARENA_GUARD = 64 };

typedef struct ArenaBlock {
    size_t offset, bytes;
} ArenaBlock;

typedef struct Arena {
    const char *name;
    const Backend *backend;
    char *base;
    size_t capacity, used, peak; /* bytes; peak counts stack and pool together */
    size_t ready[2]; /* bytes from the base, and down from the end, that have memory (Backend.commit) */
    char *host;      /* headers: always in host memory */
    size_t host_capacity, host_used;
    ArenaBlock *pool; /* blocks in use, by rising distance from the end of the arena */
    int n_pool, pool_room;
    size_t pool_extent; /* bytes from the arena's end down to the lowest block */
    bool guard;         /* pattern behind every block, checked by arena_check */
    ArenaBlock *guarded;
    int n_guarded, guarded_room;
} Arena;

typedef struct ArenaMark {
    size_t used, host_used;
} ArenaMark;

/* Reserves `capacity` bytes (host backends commit pages only when they are touched). `name` is kept, not
 * copied. */
bool arena_open(Arena *a, const char *name, const Backend *backend, size_t capacity, Error *e);
void arena_close(Arena *a);

/* `bytes` aligned to ARENA_ALIGN, contents undefined. Running out of capacity is fatal with the arena's name,
 * need and room, and how to raise it (exit code ERROR_MEMORY): sizes are known before (see backend plan), so it
 * is not retried. */
void *arena_push(Arena *a, size_t bytes);
void *arena_push_host(Arena *a, size_t bytes); /* zeroed, 16-byte aligned */
ArenaMark arena_mark(const Arena *a);
void arena_pop(Arena *a, ArenaMark mark);

/* The pool at the upper end: first fit, deterministic. */
void *arena_pool_take(Arena *a, size_t bytes);
void arena_pool_give(Arena *a, void *p);

/* With a->guard: dies naming arena and offset if any byte behind a live block changed. */
void arena_check(const Arena *a);

#ifdef __cplusplus
}
#endif
#endif
