/* The runner's own state, all of it, and what its files share. Never instrumented by TSan: what it does is no
 * part of the program under test. */
#ifndef TESTS_EMU_RUNNER_H
#define TESTS_EMU_RUNNER_H
#include "tests/emu/emu.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif
#ifdef EMU_TSAN /* the kernels are instrumented, the runner is not */
extern "C" {
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_acquire(void *p);
void __tsan_release(void *p);
}
#else
#define __tsan_acquire(p) ((void)(p))
#define __tsan_release(p) ((void)(p))
#endif

namespace emu
{
/* sm_89. */
enum { WARP = 32, MAX_THREADS = 1024, MAX_WARPS = MAX_THREADS / WARP };
enum { STATIC_SHARED = 48 << 10, ALL_SHARED = 99 << 10 };
enum { ASYNC_COPIES = 256, SHARED_ARRAYS = 64, TOUCHED = 8 };

enum State : unsigned char { READY, AT_WARP, AT_BARRIER, DONE };

struct Context {
    void *sp;
    const void *stack; /* lowest address */
    size_t stack_bytes;
    void *fake, *tsan;
};

struct Fiber : Thread {
    Context context;
    State state;
    Site site; /* where it waits */
    /* cp.async, a ring; copies of group `group` are not committed yet */
    AsyncCopy *copies;
    unsigned first, pending, group;
    /* memory order: a fence not yet used by an atomic; the last atomics since then */
    bool fenced;
    void *touched[TOUCHED];
    unsigned n_touched;
};

/* Lanes of one mask at one warp operation. */
struct Meeting {
    Collective kind;
    Site site;
    unsigned mask, arrived, generation;
    void *mine[WARP];
};
struct Warp {
    unsigned ready; /* lanes */
    unsigned open;  /* meetings */
    Meeting meetings[WARP];
};

struct SharedArray {
    const void *key;
    const char *name;
    Site site;
    char *p;
    size_t bytes;
};

struct Runner {
    /* the launch */
    const char *kernel;
    const void *address;
    Body *body;
    void *argument;
    bool running;
    unsigned seed, patience;
    uint64_t random;
    size_t dynamic_bytes;
    unsigned n_threads, n_warps, n_done;

    /* scheduling; under TSan blocks take turns with two sets of fibers: a set's order is no order of blocks */
    Context host, *active, *left;
    Fiber *sets[2], *fibers;
    unsigned made[2];
    Warp warps[MAX_WARPS];
    unsigned warps_ready, warp, lane;

    struct {
        unsigned waiting, generation;
        Barrier kind;
        int value, result[2];
        Site site;
    } barrier;

    /* shared memory of the running block */
    char *pool, *top;
    size_t pool_bytes, static_bytes;
    SharedArray arrays[SHARED_ARRAYS], dynamic;
    unsigned n_arrays;

    /* what TSan hangs its order on: fresh addresses for each block */
    char *sync;
    char launch_begins, launch_ends;
};
extern Runner r;

/* "kernel k, block (..), thread (..), seed n: " of what runs, or of the last launch; "" before the first. */
void where(char *text, size_t room);

void make_ready(unsigned warp, unsigned lanes);
/* The running fiber waits in `state` until it is made ready. */
void suspend(State state, Site site);
/* Under a seed: others may go first. */
void maybe_yield(void);
uint64_t random_bits(void);
static inline Fiber *running(void) { return static_cast<Fiber *>(now.thread); }
/* The lanes that a warp has. */
static inline unsigned lanes_of(unsigned warp)
{
    unsigned left = r.n_threads - warp * WARP;
    return left < WARP ? (1u << left) - 1 : ~0u;
}
static inline Fiber *fiber_at(unsigned warp, unsigned lane) { return &r.fibers[warp * WARP + lane]; }
static inline bool same_site(Site a, Site b)
{
    return a.line == b.line && (a.file == b.file || !strcmp(a.file, b.file));
}

/* emu_warp.cpp */
void check_no_meeting(const Fiber *f);
/* emu_memory.cpp */
void shared_reset(void); /* before a launch; the other two around a block */
void shared_begin(void);
void shared_end(void);
void check_no_copies(const Fiber *f);
void fill_nan(void *p, size_t bytes);
/* graph.cpp */
bool capturing(void);
void not_captured(const char *call); /* fails while the stream is captured */
int dry(void);                       /* what EMU_DRY says; 0: things are done */
void note(const char *call);         /* a line of the file that EMU_CALLS names */
/* cudart.cpp */
size_t allowed_dynamic(const void *kernel);
bool is_device_memory(const void *p);
} // namespace emu
#endif
