#include "tensor/arena.h"
#include "tensor/checked.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_CAPACITY = 1 << 28, GUARD_BYTE = 0xA5 };

bool arena_open(Arena *a, const char *name, const Backend *backend, size_t capacity, Error *e)
{
    memset(a, 0, sizeof *a);
    capacity &= ~(size_t)(ARENA_ALIGN - 1);
    a->base = backend->alloc(capacity ? capacity : ARENA_ALIGN, e);
    if (!a->base) return false;
    a->host = backend_cpu.alloc(HOST_CAPACITY, e);
    if (!a->host) {
        backend->release(a->base, capacity);
        a->base = NULL;
        return false;
    }
    a->name = name;
    a->backend = backend;
    a->capacity = capacity;
    a->host_capacity = HOST_CAPACITY;
    return true;
}

void arena_close(Arena *a)
{
    if (!a->base) return;
    a->backend->release(a->base, a->capacity ? a->capacity : ARENA_ALIGN);
    backend_cpu.release(a->host, a->host_capacity);
    free(a->pool);
    free(a->guarded);
    memset(a, 0, sizeof *a);
}

static void full(const Arena *a, size_t bytes)
{
    die_memory(
        "arena %s has %zu of %zu bytes in use (%zu stack, %zu pool) and needs %zu more; raise --memory or make "
        "the batch smaller",
        a->name, a->used + a->pool_extent, a->capacity, a->used, a->pool_extent, bytes);
}

static void raise_peak(Arena *a)
{
    if (a->used + a->pool_extent > a->peak) a->peak = a->used + a->pool_extent;
}

/* The stack's end rose to `to` bytes, or the pool's (end 1) came down to as many. */
static void commit(Arena *a, int end, size_t to)
{
    if (!a->backend->commit || to <= a->ready[end]) return;
    size_t step = to - a->ready[end], from = end ? a->capacity - to : a->ready[0];
    if (!a->backend->commit(a->base + from, step))
        die_memory(
            "arena %s: device %s has no memory left for %zu bytes more (%zu in use); make the batch smaller",
            a->name, a->backend->name, step, a->used + a->pool_extent);
    a->ready[end] = to;
}

static void *grow(void *p, int *room, size_t size)
{
    *room = *room ? 2 * *room : 64;
    p = realloc(p, (size_t)*room * size);
    if (!p) die("out of host memory for %d arena records", *room);
    return p;
}

static void guard_block(Arena *a, size_t offset, size_t bytes)
{
    if (a->n_guarded == a->guarded_room) a->guarded = grow(a->guarded, &a->guarded_room, sizeof *a->guarded);
    a->guarded[a->n_guarded++] = (ArenaBlock){offset, bytes};
    unsigned char pattern[ARENA_GUARD];
    memset(pattern, GUARD_BYTE, sizeof pattern);
    a->backend->upload(a->base + offset + bytes, pattern, sizeof pattern);
}

void *arena_push(Arena *a, size_t bytes)
{
    uint64_t end;
    if (!u64_add(bytes, a->guard ? ARENA_GUARD : 0, &end) || !u64_align_up(end, ARENA_ALIGN, &end) ||
        end > a->capacity - a->used - a->pool_extent)
        full(a, bytes);
    size_t at = a->used;
    a->used += end;
    raise_peak(a);
    commit(a, 0, a->used);
    if (a->guard) guard_block(a, at, bytes);
    return a->base + at;
}

void *arena_push_host(Arena *a, size_t bytes)
{
    size_t need = (bytes + 15) & ~(size_t)15;
    if (need > a->host_capacity - a->host_used)
        die("arena %s: more than %zu bytes of headers", a->name, a->host_capacity);
    void *p = a->host + a->host_used;
    a->host_used += need;
    memset(p, 0, need);
    return p;
}

ArenaMark arena_mark(const Arena *a) { return (ArenaMark){a->used, a->host_used}; }

void arena_pop(Arena *a, ArenaMark mark)
{
    if (mark.used > a->used || mark.host_used > a->host_used)
        die("arena %s: popped to a mark above its top", a->name);
    a->used = mark.used;
    a->host_used = mark.host_used;
    while (a->n_guarded && a->guarded[a->n_guarded - 1].offset >= mark.used) a->n_guarded--;
}

/* Blocks are kept by their distance from the end of the arena: block i occupies [offset, offset + bytes)
 * counted downwards from the end. */
void *arena_pool_take(Arena *a, size_t bytes)
{
    uint64_t need;
    if (!u64_align_up(bytes ? bytes : 1, ARENA_ALIGN, &need)) full(a, bytes);
    if (a->n_pool == a->pool_room) a->pool = grow(a->pool, &a->pool_room, sizeof *a->pool);
    size_t at = 0;
    int i = 0;
    for (; i < a->n_pool; i++) {
        if (a->pool[i].offset - at >= need) break;
        at = a->pool[i].offset + a->pool[i].bytes;
    }
    if (need > a->capacity - a->used - at) full(a, bytes);
    memmove(a->pool + i + 1, a->pool + i, (size_t)(a->n_pool - i) * sizeof *a->pool);
    a->pool[i] = (ArenaBlock){at, need};
    a->n_pool++;
    if (at + need > a->pool_extent) a->pool_extent = at + need;
    raise_peak(a);
    commit(a, 1, a->pool_extent);
    return a->base + a->capacity - at - need;
}

void arena_pool_give(Arena *a, void *p)
{
    size_t low = (size_t)((char *)p - a->base);
    int i = 0;
    while (i < a->n_pool && a->capacity - a->pool[i].offset - a->pool[i].bytes != low) i++;
    if (i == a->n_pool) die("arena %s: gave back a block that is not in its pool", a->name);
    a->n_pool--;
    memmove(a->pool + i, a->pool + i + 1, (size_t)(a->n_pool - i) * sizeof *a->pool);
    a->pool_extent = a->n_pool ? a->pool[a->n_pool - 1].offset + a->pool[a->n_pool - 1].bytes : 0;
}

void arena_check(const Arena *a)
{
    if (a->backend->kernels == kernels_plan) return;
    for (int i = 0; i < a->n_guarded; i++) {
        unsigned char seen[ARENA_GUARD];
        a->backend->download(seen, a->base + a->guarded[i].offset + a->guarded[i].bytes, sizeof seen);
        for (int j = 0; j < ARENA_GUARD; j++)
            if (seen[j] != GUARD_BYTE)
                die("arena %s: byte %d behind the block of %zu bytes at offset %zu was overwritten", a->name, j,
                    a->guarded[i].bytes, a->guarded[i].offset);
    }
}
