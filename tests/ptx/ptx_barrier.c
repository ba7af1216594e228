/* Barriers of a block, fences, and what else ends or does nothing. A warp at a barrier waits with all its
 * threads; those that left do not count. */
#include "tests/ptx/ptx_code.h"

static uint32_t uniform(const Warp *w, const Ins *i, uint32_t n)
{
    const uint32_t first = (uint32_t)__builtin_ctz(w->live), v = (uint32_t)ptx_lane(w, &i->arg[n], (int)first);
    PTX_LANES(w->live,
              if ((uint32_t)ptx_lane(w, &i->arg[n], l) != v) ptx_fault(w, l, "the barrier's operands differ");)
    return v;
}

static void together(Warp *w, const Ins *i, uint32_t mask) { (void)w, (void)i, (void)mask; }

static uint32_t barrier_of(const Warp *w, const Ins *i)
{
    const uint32_t id = uniform(w, i, i->run == together ? 0 : 1);
    if (id >= BARRIERS) ptx_fault(w, __builtin_ctz(w->live), "barrier %u of %d", id, BARRIERS);
    return id;
}

/* Threads it waits for; 0: all of the block. */
static uint32_t expected_of(const Warp *w, const Ins *i)
{
    return i->run == together && i->n_args > 1 ? uniform(w, i, 1) : 0;
}

static void arrive(Warp *w, const Ins *i, uint32_t mask)
{
    (void)mask;
    const uint32_t id = uniform(w, i, 0);
    if (id >= BARRIERS) ptx_fault(w, __builtin_ctz(w->live), "barrier %u of %d", id, BARRIERS);
    w->block->arrived[id] += LANES;
}

/* How many of the waiting threads say yes, and how many there are. */
static uint32_t count(const Warp *w, const Ins *i, uint32_t *threads)
{
    const Block *b = w->block;
    uint32_t yes = 0;
    *threads = 0;
    for (unsigned k = 0; k < b->n_warps; k++) {
        const Warp *v = &b->warps[k];
        if (!v->waiting || v->ins != i) continue;
        yes += (uint32_t)__builtin_popcount(ptx_predicate(v, &i->arg[2]) & v->live);
        *threads += (uint32_t)__builtin_popcount(v->live);
    }
    return yes;
}

static void reduce_and(Warp *w, const Ins *i, uint32_t mask)
{
    uint32_t threads, yes = count(w, i, &threads);
    ptx_set_predicate(w, &i->arg[0], mask, yes == threads ? mask : 0);
}

static void reduce_or(Warp *w, const Ins *i, uint32_t mask)
{
    uint32_t threads, yes = count(w, i, &threads);
    ptx_set_predicate(w, &i->arg[0], mask, yes ? mask : 0);
}

static void reduce_popc(Warp *w, const Ins *i, uint32_t mask)
{
    uint32_t threads, yes = count(w, i, &threads);
    LaneW *d = PTX_ARG(LaneW, 0);
    PTX_LANES(mask, d[l] = yes;)
}

/* One barrier: lets its warps go when all are there. A barrier without a count takes every warp of the block,
 * at one place in the program. */
static bool release(Block *b, uint32_t id)
{
    Warp *first = NULL;
    uint32_t there = b->arrived[id], expected = 0;
    bool all = true;
    for (unsigned k = 0; k < b->n_warps; k++) {
        Warp *w = &b->warps[k];
        if (!w->live) continue;
        if (!w->waiting || barrier_of(w, w->ins) != id) {
            all = false;
            continue;
        }
        there += LANES;
        if (!first) first = w, expected = expected_of(w, w->ins);
        if (expected_of(w, w->ins) != expected)
            ptx_fault(w, 0, "barrier %u waits for other numbers of threads", id);
        if (!expected && w->ins != first->ins)
            ptx_fault(w, __builtin_ctz(w->live), "divergent barrier: its warp waits here, others at line %u",
                      first->ins->line);
    }
    if (!first || (expected ? there < expected : !all)) return false;
    if (expected && there > expected)
        ptx_fault(first, __builtin_ctz(first->live), "%u threads at a barrier of %u", there, expected);
    const Ins *at[1024 / LANES];
    for (unsigned k = 0; k < b->n_warps; k++) {
        Warp *w = &b->warps[k];
        at[k] = w->waiting && barrier_of(w, w->ins) == id ? w->ins : NULL;
        if (at[k]) at[k]->run(w, at[k], w->live);
    }
    for (unsigned k = 0; k < b->n_warps; k++) {
        Warp *w = &b->warps[k];
        if (!at[k]) continue;
        PTX_LANES(w->live, w->pc[l]++;)
        w->parked = 0;
        w->waiting = false;
    }
    b->arrived[id] = 0;
    return true;
}

bool ptx_barrier_release(Block *b)
{
    bool any = false;
    const Warp *stuck = NULL;
    for (uint32_t id = 0; id < BARRIERS; id++) any |= release(b, id);
    for (unsigned k = 0; k < b->n_warps; k++)
        if (b->warps[k].live) stuck = &b->warps[k];
    if (stuck && !any)
        ptx_fault(stuck, __builtin_ctz(stuck->live), "waits at barrier %u for threads that wait elsewhere",
                  barrier_of(stuck, stuck->ins));
    return any;
}

static void trap(Warp *w, const Ins *i, uint32_t mask)
{
    (void)i;
    ptx_fault(w, __builtin_ctz(mask), "trap");
}

#define BAR(what, tail)                                                                                        \
    "bar." what tail " bar.cta." what tail " barrier." what tail " barrier." what ".aligned" tail              \
    " barrier.cta." what tail " barrier.cta." what ".aligned" tail
const Row ptx_flow_rows[] = {
    {"bra bra.uni", "L", NULL, FLOW_BRANCH, 0},
    {"brx.idx brx.idx.uni", "wT", NULL, FLOW_TABLE, 0},
    {"ret ret.uni exit", "", NULL, FLOW_EXIT, 0},
    {BAR("sync", ""), "w?w", together, FLOW_BARRIER, 0},
    {BAR("arrive", ""), "ww", arrive, FLOW_COLLECTIVE, MEMBERS_LIVE},
    {BAR("red.and", ".pred"), "pwp", reduce_and, FLOW_BARRIER, 0},
    {BAR("red.or", ".pred"), "pwp", reduce_or, FLOW_BARRIER, 0},
    {BAR("red.popc", ".u32"), "wwp", reduce_popc, FLOW_BARRIER, 0},
    {"membar.cta membar.gl membar.sys fence.sc.cta fence.sc.gpu fence.sc.sys fence.acq_rel.cta "
     "fence.acq_rel.gpu "
     "fence.acq_rel.sys",
     "", together, FLOW_NEXT, 0},
    {"prefetch.global.L1 prefetch.global.L2 prefetchu.L1", "a", together, FLOW_NEXT, 0},
    {"nanosleep.u32", "w", together, FLOW_NEXT, 0},
    {"trap", "", trap, FLOW_NEXT, 0},
    {0},
};
