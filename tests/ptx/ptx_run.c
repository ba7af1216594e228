/* The machine: blocks one after the other; of a block each warp until it waits at a barrier; of a warp the
 * threads at the lowest place in the program, until that place reaches the next ones'. */
#include "tests/ptx/ptx_code.h"
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t step_limit; /* instructions of a block, warp by warp; more is a loop without an end */
static const Warp *running; /* for the handler of bad addresses */

void ptx_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("fatal: ptx: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

void ptx_fault(const Warp *w, int lane, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const Block *b = w->block;
    const unsigned t = w->index * LANES + (unsigned)lane, x = b->dim[0], y = b->dim[1];
    ptx_die("%s:%u: %s block (%u,%u,%u) thread (%u,%u,%u): %s", b->kernel->file, w->ins->line, b->kernel->name,
            b->id[0], b->id[1], b->id[2], t % x, t / x % y, t / x / y, text);
}

void ptx_past_end(Warp *w, const Ins *i, uint32_t mask)
{
    (void)i;
    ptx_fault(w, __builtin_ctz(mask), "runs past the end of the kernel");
}

static void bad_address(int signal)
{
    (void)signal;
    ptx_fault(running, __builtin_ctz(running->mask), "a thread of its warp accesses memory that is not there");
}

static void set_pc(Warp *w, uint32_t mask, uint32_t at) { PTX_LANES(mask, w->pc[l] = at;) }

/* The member mask of a collective, as lane l says it. */
static uint32_t members(const Warp *w, const Ins *i, int l)
{
    return i->members == MEMBERS_ALL    ? UINT32_MAX
           : i->members == MEMBERS_LIVE ? w->live
                                        : ((const LaneW *)ptx_at(w, &i->arg[i->members]))[l];
}

/* All lanes of the group, and no others, are the members. */
static bool complete(const Warp *w, const Ins *i, uint32_t mask)
{
    for (uint32_t rest = mask; rest; rest &= rest - 1)
        if (members(w, i, __builtin_ctz(rest)) != mask) return false;
    return true;
}

/* Lanes that arrived at a collective: it runs for those whose members are all there, the others wait. */
static void collective(Warp *w, const Ins *i, uint32_t arrived, uint32_t at)
{
    uint32_t present = arrived;
    PTX_LANES(w->parked, present |= (uint32_t)(w->pc[l] == at) << l;)
    while (arrived) {
        const int first = __builtin_ctz(arrived);
        const uint32_t m = members(w, i, first);
        if (!(m >> first & 1)) ptx_fault(w, first, "is not in its own member mask 0x%08x", m);
        if ((m & present) == m) {
            for (uint32_t rest = m; rest; rest &= rest - 1) {
                const int l = __builtin_ctz(rest);
                if (members(w, i, l) != m)
                    ptx_fault(w, l, "names members 0x%08x, lane %d 0x%08x", members(w, i, l), first, m);
            }
            i->run(w, i, m);
            w->parked &= ~m;
            set_pc(w, m, at + 1);
        } else {
            w->parked |= arrived & m;
        }
        arrived &= ~m;
    }
}

/* The group no longer goes one way: every lane gets its own place. */
static void turn(Warp *w, const Ins *i, uint32_t mask, uint32_t active, uint32_t at)
{
    set_pc(w, mask, at + 1);
    if (!active) return;
    switch (i->flow) {
    case FLOW_BRANCH: set_pc(w, active, i->target); return;
    case FLOW_TABLE: {
        const uint32_t *table = w->block->kernel->targets + i->target;
        PTX_LANES(active, {
            const uint32_t k = PTX_ARG(const LaneW, 0)[l];
            if (k >= table[0]) ptx_fault(w, l, "branch %u of a table of %u", k, table[0]);
            w->pc[l] = table[1 + k];
        })
        return;
    }
    case FLOW_EXIT:
        ptx_async_exit(w, active);
        w->live &= ~active;
        return;
    case FLOW_COLLECTIVE:
        set_pc(w, active, at);
        collective(w, i, active, at);
        return;
    case FLOW_BARRIER:
        set_pc(w, active, at);
        w->parked |= active;
        return;
    case FLOW_NEXT: return;
    }
}

/* Runs lanes `mask` from `at` until they part or reach `limit`, where others are. */
static void group(Warp *w, uint32_t mask, uint32_t at, uint32_t limit)
{
    Block *b = w->block;
    const Ins *code = b->kernel->code;
    w->mask = mask;
    while (at < limit) {
        const Ins *i = &code[at];
        const uint32_t active = i->guard.bits ? mask & ptx_predicate(w, &i->guard) : mask;
        w->ins = i;
        if (++b->steps > step_limit) ptx_fault(w, __builtin_ctz(mask), "does not come to an end");
        if (i->flow == FLOW_NEXT ||
            (i->flow == FLOW_COLLECTIVE && !w->parked && active && complete(w, i, active))) {
            if (active) i->run(w, i, active);
            at++;
        } else if (i->flow == FLOW_BRANCH && (active == mask || !active)) {
            at = active ? i->target : at + 1;
        } else {
            turn(w, i, mask, active, at);
            return;
        }
    }
    set_pc(w, mask, at);
}

/* No lane can go on: they wait at one barrier together, or for each other in vain. */
static void wait_or_fail(Warp *w)
{
    const Ins *code = w->block->kernel->code;
    const int first = __builtin_ctz(w->live);
    const Ins *i = &code[w->pc[first]];
    uint32_t here = 0;
    PTX_LANES(w->live, here |= (uint32_t)(w->pc[l] == w->pc[first]) << l;)
    w->ins = i;
    if (i->flow == FLOW_BARRIER && here == w->live) {
        w->waiting = true;
        return;
    }
    const uint32_t elsewhere = w->live & ~here;
    if (!elsewhere)
        ptx_fault(w, first, "waits for lanes 0x%08x, of which 0x%08x are gone", members(w, i, first),
                  members(w, i, first) & ~here);
    ptx_fault(w, first, "divergent %s: lanes 0x%08x wait here, lanes 0x%08x at line %u",
              i->flow == FLOW_BARRIER ? "barrier" : "warp", here, elsewhere,
              code[w->pc[__builtin_ctz(elsewhere)]].line);
}

static void warp_run(Warp *w)
{
    running = w;
    while (!w->waiting && w->live) {
        uint32_t low = UINT32_MAX, next = UINT32_MAX, mask = 0;
        for (uint32_t rest = w->live & ~w->parked; rest; rest &= rest - 1) {
            const uint32_t l = (uint32_t)__builtin_ctz(rest), pc = w->pc[l];
            if (pc < low)
                next = low, low = pc, mask = 1u << l;
            else if (pc == low)
                mask |= 1u << l;
            else if (pc < next)
                next = pc;
        }
        if (mask)
            group(w, mask, low, next);
        else
            wait_or_fail(w);
    }
}

static void warp_start(Warp *w)
{
    const Kernel *k = w->block->kernel;
    memset(w->pool[POOL_REGISTERS], 0xFF, k->register_bytes);
    memset(w->local, 0xFF, (size_t)k->local_bytes * LANES);
    memset(w->pc, 0, sizeof w->pc);
    memset(w->groups, 0, sizeof w->groups);
    w->live = w->threads == LANES ? UINT32_MAX : (1u << w->threads) - 1;
    w->parked = w->carry = 0;
    w->waiting = false;
    for (uint32_t i = 0; i < k->n_specials; i++) ptx_special_fill(w, &k->specials[i]);
}

static void block_run(Block *b)
{
    memset(b->shared, 0xFF, b->shared_bytes);
    memset(b->arrived, 0, sizeof b->arrived);
    b->steps = 0;
    for (unsigned i = 0; i < b->n_warps; i++) warp_start(&b->warps[i]);
    do
        for (unsigned i = 0; i < b->n_warps; i++) warp_run(&b->warps[i]);
    while (ptx_barrier_release(b));
}

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(256, (bytes + 511) / 256 * 256);
    if (!p) ptx_die("out of memory: %zu bytes", bytes);
    return p;
}

static void warps_open(Block *b, unsigned threads, uint8_t **registers, uint8_t **local)
{
    const Kernel *k = b->kernel;
    const size_t register_bytes = (k->register_bytes + 63u) / 64 * 64,
                 local_bytes = (size_t)k->local_bytes * LANES;
    b->n_warps = (threads + LANES - 1) / LANES;
    b->warps = memory(sizeof(Warp) * b->n_warps);
    *registers = memory(register_bytes * b->n_warps);
    *local = memory(local_bytes * b->n_warps);
    memset(b->warps, 0, sizeof(Warp) * b->n_warps);
    for (unsigned i = 0; i < b->n_warps; i++) {
        Warp *w = &b->warps[i];
        w->block = b, w->index = i, w->ins = k->code;
        w->threads = threads - i * LANES < LANES ? threads - i * LANES : LANES;
        w->pool[POOL_REGISTERS] = *registers + i * register_bytes;
        w->pool[POOL_CONSTANTS] = k->constants;
        w->pool[POOL_SINK] = w->sink;
        w->local = *local + i * local_bytes;
    }
}

void ptx_run(Kernel *k, const unsigned grid[PTX_DIMS], const unsigned block[PTX_DIMS], size_t dynamic_bytes)
{
    static uint8_t window[SHARED_WINDOW] __attribute__((aligned(1024)));
    const char *steps = getenv("PTX_STEPS");
    step_limit = steps ? strtoull(steps, NULL, 10) : (uint64_t)1 << 30;
    Block b = {.kernel = k, .shared = window, .shared_bytes = k->shared_bytes + dynamic_bytes};
    uint8_t *registers, *local;
    memcpy(b.grid, grid, sizeof b.grid);
    memcpy(b.dim, block, sizeof b.dim);
    warps_open(&b, block[0] * block[1] * block[2], &registers, &local);
    struct sigaction act = {.sa_handler = bad_address, .sa_flags = SA_NODEFER}, before[2];
    sigaction(SIGSEGV, &act, &before[0]);
    sigaction(SIGBUS, &act, &before[1]);
    for (b.id[2] = 0; b.id[2] < grid[2]; b.id[2]++)
        for (b.id[1] = 0; b.id[1] < grid[1]; b.id[1]++)
            for (b.id[0] = 0; b.id[0] < grid[0]; b.id[0]++) block_run(&b);
    sigaction(SIGSEGV, &before[0], NULL);
    sigaction(SIGBUS, &before[1], NULL);
    for (unsigned i = 0; i < b.n_warps; i++) free(b.warps[i].copies);
    free(b.warps);
    free(registers);
    free(local);
    k->ran = true;
}
