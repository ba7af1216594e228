/* Launches, fibers, barriers. One fiber per thread of a block, blocks one after the other. A fiber runs until
 * it has to wait, then switches straight to another one that can go on: of its warp if there is one, of any
 * other warp otherwise; under a seed sometimes of another warp at once. */
#include "tests/emu/runner.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

namespace emu
{
Now now;
Runner r;

static const size_t stack_bytes = 256 << 10, page = 4096;
#ifdef EMU_TSAN
enum { SETS = 2 };
#else
enum { SETS = 1 };
#endif

uint64_t random_bits(void)
{
    r.random ^= r.random << 13;
    r.random ^= r.random >> 7;
    r.random ^= r.random << 17;
    return r.random;
}

void where(char *text, size_t room)
{
    const char *k = r.kernel;
    *text = 0;
    if (!k) return;
    int len = (int)strlen(k), most = (int)room / 2;
    bool parentheses = k[0] == '(' && k[len - 1] == ')';
    len -= 2 * parentheses;
    int n = snprintf(text, room, "kernel %.*s", len < most ? len : most, k + parentheses);
    if (r.running)
        n += snprintf(text + n, room - n, ", block (%u,%u,%u)", now.block.x, now.block.y, now.block.z);
    if (r.running && now.thread)
        n += snprintf(text + n, room - n, ", thread (%u,%u,%u)", now.thread->index.x, now.thread->index.y,
                      now.thread->index.z);
    snprintf(text + n, room - n, ", seed %u: ", r.seed);
}

void fail(Site site, const char *format, ...)
{
    char text[512], message[1024];
    where(text, sizeof text);
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (site.file)
        fprintf(stderr, "emu: %s%s:%d: %s\n", text, site.file, site.line, message);
    else
        fprintf(stderr, "emu: %s%s\n", text, message);
    abort();
}

/* ---- contexts ---- */

#ifndef __x86_64__
#error "switching fibers is written for x86-64 alone"
#endif
extern "C" void emu_switch(void **save, void *load);
__asm__(".text\n.p2align 4\n.globl emu_switch\n.hidden emu_switch\n.type emu_switch,@function\nemu_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
        ".size emu_switch,.-emu_switch\n");

/* What a context does first when it is switched to. */
static void arrived(void)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(r.active->fake, &r.left->stack, &r.left->stack_bytes);
#endif
}

static void switch_to(Context *to)
{
    Context *from = r.active;
    r.left = from;
    r.active = to;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&from->fake, to->stack, to->stack_bytes);
#endif
#ifdef EMU_TSAN
    __tsan_switch_to_fiber(to->tsan, 1); /* 1: no order is implied */
#endif
    emu_switch(&from->sp, to->sp);
    arrived();
}

static void fiber_main(void);

static void make_fiber(Fiber *f)
{
    char *p = (char *)mmap(NULL, page + stack_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    f->copies = (AsyncCopy *)calloc(ASYNC_COPIES, sizeof *f->copies);
    if (p == MAP_FAILED || mprotect(p, page, PROT_NONE) || !f->copies)
        fail({}, "no memory for a thread's stack");
    f->context.stack = p + page;
    f->context.stack_bytes = stack_bytes;
    /* six saved registers, fiber_main's address, and the return address that it would have */
    void **sp = (void **)(p + page + stack_bytes) - 8;
    sp[6] = (void *)fiber_main;
    f->context.sp = sp;
#ifdef EMU_TSAN
    f->context.tsan = __tsan_create_fiber(0);
#endif
}

/* ---- scheduling ---- */

static unsigned bit_after(unsigned mask, unsigned last)
{
    unsigned start = (r.seed ? (unsigned)random_bits() : last + 1) & 31;
    unsigned rotated = mask >> start | mask << (-start & 31);
    return (start + (unsigned)__builtin_ctz(rotated)) & 31;
}

void make_ready(unsigned warp, unsigned lanes)
{
    if (!lanes) return;
    r.warps[warp].ready |= lanes;
    r.warps_ready |= 1u << warp;
}

/* Takes a ready fiber; NULL: there is none. */
static Fiber *next_ready(void)
{
    if (!r.warps_ready) return NULL;
    if (!(r.warps_ready >> r.warp & 1) || (r.seed && random_bits() % r.patience == 0))
        r.warp = bit_after(r.warps_ready, r.warp);
    Warp *w = &r.warps[r.warp];
    r.lane = bit_after(w->ready, r.lane);
    w->ready &= ~(1u << r.lane);
    if (!w->ready) r.warps_ready &= ~(1u << r.warp);
    return fiber_at(r.warp, r.lane);
}

static void deadlock(void)
{
    char text[768] = "";
    size_t n = 0;
    for (unsigned i = 0; i < r.n_threads && n < sizeof text - 200; i++) {
        const Fiber *f = &r.fibers[i];
        bool told = f->state == DONE;
        for (unsigned j = 0; j < i && !told; j++)
            told = r.fibers[j].state == f->state && same_site(r.fibers[j].site, f->site);
        if (!told)
            n += snprintf(text + n, sizeof text - n, "%s thread %u at %s:%d (%s)", n ? "," : "", i,
                          f->site.file, f->site.line, f->state == AT_BARRIER ? "barrier" : "warp operation");
    }
    now.thread = NULL;
    fail({}, "deadlock: nothing can go on; waiting are%s; %u of %u threads have ended", text, r.n_done,
         r.n_threads);
}

static void go_on(void)
{
    Fiber *f = next_ready();
    if (!f && r.n_done < r.n_threads) deadlock();
    now.thread = f;
    Context *to = f ? &f->context : &r.host;
    if (to != r.active) switch_to(to);
}

void suspend(State state, Site site)
{
    Fiber *f = running();
    f->state = state;
    f->site = site;
    go_on();
    f->state = READY;
}

void maybe_yield(void)
{
    if (!r.seed || random_bits() & 3) return;
    make_ready(running()->warp, 1u << running()->lane);
    go_on();
}

static void thread_ends(Fiber *f)
{
    check_no_copies(f);
    check_no_meeting(f);
    if (r.barrier.waiting)
        fail(r.barrier.site, "this thread ends while %u others wait at this barrier", r.barrier.waiting);
    f->state = DONE;
    r.n_done++;
}

/* Never returns: between blocks a fiber sleeps in go_on. */
static void fiber_main(void)
{
    arrived();
    for (;;) {
        __tsan_acquire(&r.launch_begins);
        r.body(r.argument);
        __tsan_release(&r.launch_ends);
        thread_ends(running());
        go_on();
    }
}

/* ---- barriers ---- */

int barrier(Barrier kind, int predicate, Site site)
{
    Fiber *f = running();
    auto &b = r.barrier;
    if (r.n_done) fail(site, "barrier: %u threads of the block have ended", r.n_done);
    if (!b.waiting) {
        b.kind = kind;
        b.site = site;
        b.value = kind == BARRIER_AND;
    } else if (b.kind != kind || !same_site(b.site, site)) {
        fail(site, "divergent barrier: %u other threads wait at %s:%d", b.waiting, b.site.file, b.site.line);
    }
    if (kind == BARRIER_OR) b.value |= predicate != 0;
    if (kind == BARRIER_AND) b.value &= predicate != 0;
    if (kind == BARRIER_COUNT) b.value += predicate != 0;
    /* A variable and a result for each of two generations: whoever leaves late must not take order from the
     * next one. */
    unsigned phase = b.generation & 1;
    char *order = r.sync + phase;
    __tsan_release(order);
    if (++b.waiting < r.n_threads) {
        suspend(AT_BARRIER, site);
    } else {
        b.waiting = 0;
        b.generation++;
        b.result[phase] = b.value;
        for (unsigned w = 0; w < r.n_warps; w++)
            make_ready(w, lanes_of(w) & ~(w == f->warp ? 1u << f->lane : 0));
        maybe_yield();
    }
    __tsan_acquire(order);
    return b.result[phase];
}

/* ---- launches ---- */

static void check_limits(dim3 grid, dim3 block, size_t dynamic_bytes, Site site)
{
    uint64_t threads = (uint64_t)block.x * block.y * block.z;
    if (!threads || block.x > 1024 || block.y > 1024 || block.z > 64 || threads > MAX_THREADS)
        fail(site, "block of %u x %u x %u threads", block.x, block.y, block.z);
    if (!grid.x || !grid.y || !grid.z || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535)
        fail(site, "grid of %u x %u x %u blocks", grid.x, grid.y, grid.z);
    if (dynamic_bytes > ALL_SHARED)
        fail(site, "%zu bytes of dynamic shared memory, at most %d", dynamic_bytes, ALL_SHARED);
    if (dynamic_bytes > STATIC_SHARED && dynamic_bytes > allowed_dynamic(r.address))
        fail(site, "%zu bytes of dynamic shared memory without ALLOW_DYN_SHARED", dynamic_bytes);
}

/* Who is launched, for messages: before anything is checked. */
static void announce(const char *name)
{
    const char *seed = getenv("EMU_SEED");
    r.kernel = name;
    r.seed = seed ? (unsigned)strtoul(seed, NULL, 10) : 0;
}

static void prepare(dim3 block)
{
    for (int s = 0; s < SETS; s++) {
        if (!r.sets[s]) r.sets[s] = (Fiber *)calloc(MAX_THREADS, sizeof(Fiber));
        if (!r.sets[s]) fail({}, "no memory for threads");
        for (; r.made[s] < r.n_threads; r.made[s]++) make_fiber(&r.sets[s][r.made[s]]);
        for (unsigned i = 0; i < r.n_threads; i++) {
            Fiber *f = &r.sets[s][i];
            f->lane = i % WARP;
            f->warp = i / WARP;
            f->index = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
        }
    }
    r.random = 0x9E3779B97F4A7C15u * (r.seed + 1);
    for (int i = 0; i < 8; i++) random_bits();
    /* how long a warp runs before others may overtake it: short, long and nearly never */
    r.patience = 1u << (2 + 3 * (r.seed % 4));
#ifdef EMU_TSAN
    r.host.tsan = __tsan_get_current_fiber();
#endif
    r.active = &r.host;
    shared_reset();
}

static void run_block(void)
{
    shared_begin();
    r.n_done = 0;
    memset(&r.barrier, 0, sizeof r.barrier);
    r.warp = r.n_warps - 1;
    r.lane = WARP - 1;
    for (unsigned i = 0; i < r.n_threads; i++) {
        Fiber *f = &r.fibers[i];
        f->first = f->pending = f->group = 0;
        f->fenced = false;
        f->n_touched = 0;
        f->state = READY;
    }
    for (unsigned w = 0; w < r.n_warps; w++) make_ready(w, lanes_of(w));
    go_on();
    shared_end();
}

static uint64_t gcd(uint64_t a, uint64_t b) { return b ? gcd(b, a % b) : a; }

void launch(const char *name, const void *kernel, dim3 grid, dim3 block, size_t dynamic_bytes, Body *body,
            void *argument, Site site)
{
    if (r.running) fail(site, "a launch inside a kernel");
    announce(name);
    note(name);
    r.address = kernel;
    r.body = body;
    r.argument = argument;
    r.dynamic_bytes = dynamic_bytes;
    check_limits(grid, block, dynamic_bytes, site);
    r.n_threads = block.x * block.y * block.z;
    r.n_warps = (r.n_threads + WARP - 1) / WARP;
    prepare(block);
    now.block_dim = block;
    now.grid_dim = grid;
    uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z, step = 1, start = 0;
    if (r.seed) {
        start = random_bits() % blocks;
        do step = 1 + random_bits() % blocks;
        while (gcd(step, blocks) != 1);
    }
    Access access;
    r.running = true;
    __tsan_release(&r.launch_begins);
    for (uint64_t i = 0, b = start; i < blocks; i++, b = (b + step) % blocks) {
        now.block = {(unsigned)(b % grid.x), (unsigned)(b / grid.x % grid.y),
                     (unsigned)(b / ((uint64_t)grid.x * grid.y))};
        r.fibers = r.sets[i % SETS];
        run_block();
    }
    __tsan_acquire(&r.launch_ends);
    r.running = false;
}

void check_pointer(const char *kernel, const void *p, int parameter, Site site)
{
    if (!p || is_device_memory(p)) return;
    announce(kernel);
    fail(site, "parameter %d is %p, which is not device memory", parameter, p);
}
} // namespace emu
