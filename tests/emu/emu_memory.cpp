/* Shared memory, asynchronous copies, memory order. A block's arrays lie in one pool in the order of their
 * first use, each followed by guard bytes; array and guard are NaN as f32 and bf16, of different kinds. Under
 * TSan no address is used by two blocks of a launch: the runner's reuse is no order that a GPU has. */
#include "tests/emu/runner.h"
#include <sys/mman.h>

namespace emu
{
enum { GUARD = 256 };
static const uint16_t guard_pattern = 0xffa5;

/* rep stosb: sanitizers see no function that they know. */
void fill_nan(void *p, size_t bytes)
{
    __asm__ volatile("rep stosb" : "+D"(p), "+c"(bytes) : "a"(0xff) : "memory");
}

static void fill_guard(char *p)
{
    volatile uint16_t *g = (volatile uint16_t *)p;
    for (size_t i = 0; i < GUARD / sizeof *g; i++) g[i] = guard_pattern;
}

/* n bytes at 16 more than a multiple of 32: no kernel may count on more than 16. */
static char *take(size_t n)
{
    char *p = r.top + 16, *end = p + (n + 31) / 32 * 32 - 16;
    if (end + GUARD > r.pool + r.pool_bytes)
        fail({}, "the launch's blocks use more shared memory than the runner has");
    r.top = end + 16;
    return p;
}

static void carve(SharedArray *a)
{
    a->p = take(a->bytes + GUARD);
    ASAN_UNPOISON_MEMORY_REGION(a->p, a->bytes);
    fill_nan(a->p, a->bytes);
#ifndef __SANITIZE_ADDRESS__
    if (a->bytes % 2) a->p[a->bytes] = (char)0xa5;
    fill_guard(a->p + (a->bytes + 1) / 2 * 2);
#endif
}

static void check_guard(const SharedArray *a)
{
#ifdef __SANITIZE_ADDRESS__
    (void)a, (void)guard_pattern, (void)fill_guard;
#else
    const uint16_t *g = (const uint16_t *)(a->p + (a->bytes + 1) / 2 * 2);
    bool intact = a->bytes % 2 == 0 || a->p[a->bytes] == (char)0xa5;
    now.thread = NULL;
    for (size_t i = 0; i < GUARD / sizeof *g; i++)
        if (g[i] != guard_pattern || !intact)
            fail(a->site, "shared array %s (%zu bytes): byte %zu behind its end was written", a->name, a->bytes,
                 i * sizeof *g);
#endif
}

void shared_reset(void)
{
    if (!r.pool) {
#ifdef EMU_TSAN
        r.pool_bytes = (size_t)16 << 30;
#else
        r.pool_bytes = 256 << 10;
#endif
        r.pool = (char *)mmap(NULL, r.pool_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (r.pool == MAP_FAILED) fail({}, "no memory for shared arrays");
        ASAN_POISON_MEMORY_REGION(r.pool, r.pool_bytes);
    }
    r.top = r.pool;
}

void shared_begin(void)
{
    enum { SYNC = 64 + MAX_WARPS * WARP * 2 };
    static char order[SYNC];
    r.sync = order;
#ifdef EMU_TSAN
    r.sync = take(SYNC);
#endif
    r.n_arrays = 0;
    r.static_bytes = 0;
    r.dynamic = {NULL, "dynamic", {}, NULL, r.dynamic_bytes};
    carve(&r.dynamic);
}

void shared_end(void)
{
    check_guard(&r.dynamic);
    for (unsigned i = 0; i < r.n_arrays; i++) check_guard(&r.arrays[i]);
#ifndef EMU_TSAN
    ASAN_POISON_MEMORY_REGION(r.pool, (size_t)(r.top - r.pool));
    r.top = r.pool;
#endif
}

void *shared_array(const void *key, size_t bytes, const char *name, Site site)
{
    for (unsigned i = 0; i < r.n_arrays; i++)
        if (r.arrays[i].key == key) return r.arrays[i].p;
    if (r.n_arrays == SHARED_ARRAYS) fail(site, "more than %d shared arrays", SHARED_ARRAYS);
    r.static_bytes += (bytes + 15) / 16 * 16;
    size_t all = r.static_bytes + r.dynamic_bytes;
    if (r.static_bytes > STATIC_SHARED)
        fail(site, "with %s %zu bytes of static shared memory, at most %d", name, r.static_bytes,
             STATIC_SHARED);
    if (all > ALL_SHARED) fail(site, "with %s %zu bytes of shared memory, at most %d", name, all, ALL_SHARED);
    if (all > STATIC_SHARED && r.dynamic_bytes > allowed_dynamic(r.address))
        fail(site, "with %s %zu bytes of shared memory without ALLOW_DYN_SHARED", name, all);
    SharedArray *a = &r.arrays[r.n_arrays++];
    *a = {key, name, site, NULL, bytes};
    carve(a);
    return a->p;
}

void *dynamic_shared(void) { return r.dynamic.p; }

static bool inside(const SharedArray *a, const char *p, size_t bytes)
{
    return p >= a->p && p + bytes <= a->p + a->bytes;
}

unsigned shared_offset(const void *address, size_t bytes, size_t align, const char *what, Site site)
{
    const char *p = (const char *)address;
    if ((uintptr_t)p % align)
        fail(site, "%s: shared address %p is not aligned to %zu bytes", what, address, align);
    bool found = inside(&r.dynamic, p, bytes);
    for (unsigned i = 0; i < r.n_arrays && !found; i++) found = inside(&r.arrays[i], p, bytes);
    if (!found) fail(site, "%s: %p is not inside an array of shared memory", what, address);
    return (unsigned)(p - r.dynamic.p);
}

/* ---- asynchronous copies ---- */

void async_issue(void *dst, const void *src, bool ok, Site site)
{
    Fiber *f = running();
    shared_offset(dst, sizeof(Chunk), 16, "cp.async", site);
    if ((uintptr_t)src % 16) fail(site, "cp.async: source %p is not aligned to 16 bytes", src);
    if (ok && !is_device_memory(src)) fail(site, "cp.async: source %p is not device memory", src);
    if (f->pending == ASYNC_COPIES) fail(site, "more than %d cp.async of one thread wait", ASYNC_COPIES);
    f->copies[(f->first + f->pending++) % ASYNC_COPIES] = {dst, ok ? src : NULL, f->group, site};
}

void async_commit(void) { running()->group++; }

bool async_next(unsigned keep, AsyncCopy *copy)
{
    Fiber *f = running();
    if (!f->pending) return false;
    *copy = f->copies[f->first];
    if (copy->group + keep >= f->group) return false;
    f->first = (f->first + 1) % ASYNC_COPIES;
    f->pending--;
    return true;
}

void check_no_copies(const Fiber *f)
{
    if (f->pending)
        fail(f->copies[f->first].site, "the thread ends with %u cp.async that it never waited for", f->pending);
}

/* ---- memory order ---- */

void fence(void)
{
    Fiber *f = running();
    for (unsigned i = 0; i < min(f->n_touched, TOUCHED); i++) __tsan_acquire(f->touched[i]);
    f->n_touched = 0;
    f->fenced = true;
}

#ifdef EMU_TSAN
void atomic_before(void *p)
{
    Fiber *f = running();
    if (f->fenced) __tsan_release(p);
    f->fenced = false;
}

void atomic_after(void *p)
{
    Fiber *f = running();
    f->touched[f->n_touched++ % TOUCHED] = p;
}
#endif
} // namespace emu
