/* What the threads of a warp do together: shuffles, votes, matches, reductions. They run for all lanes of their
 * member mask at once. */
#include "tests/ptx/ptx_code.h"

/* d|p, a, b, c, members; `from`: the lane that is read, `ok`: whether it lies in the segment. */
#define SHUFFLE(name, j, ok)                                                                                   \
    static void name(Warp *w, const Ins *i, uint32_t mask)                                                     \
    {                                                                                                          \
        LaneW *d = PTX_ARG(LaneW, 0), y[LANES];                                                                \
        const LaneW *a = PTX_ARG(const LaneW, 2), *pb = PTX_ARG(const LaneW, 3),                               \
                    *pc = PTX_ARG(const LaneW, 4);                                                             \
        uint32_t inside = 0;                                                                                   \
        for (int l = 0; l < LANES; l++) {                                                                      \
            if (!(mask >> l & 1)) continue;                                                                    \
            const int b = pb[l] & 31, segment = pc[l] >> 8 & 31, first = l & segment;                          \
            const int last = first | (int)(pc[l] & 31 & ~(uint32_t)segment);                                   \
            (void)segment, (void)last;                                                                         \
            const int from = (ok) ? (j) : l;                                                                   \
            inside |= (uint32_t)(ok) << l;                                                                     \
            if (!(mask >> from & 1)) ptx_fault(w, l, "shuffle from lane %d, which takes no part", from);       \
            y[l] = a[from];                                                                                    \
        }                                                                                                      \
        PTX_LANES(mask, d[l] = y[l];)                                                                          \
        ptx_set_predicate(w, &i->arg[1], mask, inside);                                                        \
    }
SHUFFLE(shfl_up, l - b, l - b >= last)
SHUFFLE(shfl_down, l + b, l + b <= last)
SHUFFLE(shfl_bfly, l ^ b, (l ^ b) <= last)
SHUFFLE(shfl_idx, first | (b & ~segment), (first | (b & ~segment)) <= last)

static void vote_all(Warp *w, const Ins *i, uint32_t mask)
{
    ptx_set_predicate(w, &i->arg[0], mask, (ptx_predicate(w, &i->arg[1]) & mask) == mask ? mask : 0);
}

static void vote_any(Warp *w, const Ins *i, uint32_t mask)
{
    ptx_set_predicate(w, &i->arg[0], mask, ptx_predicate(w, &i->arg[1]) & mask ? mask : 0);
}

static void vote_uni(Warp *w, const Ins *i, uint32_t mask)
{
    const uint32_t v = ptx_predicate(w, &i->arg[1]) & mask;
    ptx_set_predicate(w, &i->arg[0], mask, v == 0 || v == mask ? mask : 0);
}

static void give(Warp *w, const Ins *i, uint32_t mask, uint32_t v)
{
    LaneW *d = PTX_ARG(LaneW, 0);
    PTX_LANES(mask, d[l] = v;)
}

static void vote_ballot(Warp *w, const Ins *i, uint32_t mask)
{
    give(w, i, mask, ptx_predicate(w, &i->arg[1]) & mask);
}

static void activemask(Warp *w, const Ins *i, uint32_t mask) { give(w, i, mask, mask); }

/* The lanes with this lane's value. */
static uint32_t alike(const Warp *w, const Arg *a, uint32_t mask, int lane)
{
    uint32_t same = 0;
    const uint64_t v = ptx_lane(w, a, lane);
    PTX_LANES(mask, same |= (uint32_t)(ptx_lane(w, a, l) == v) << l;)
    return same;
}

static void match_any(Warp *w, const Ins *i, uint32_t mask)
{
    uint32_t y[LANES] = {0};
    LaneW *d = PTX_ARG(LaneW, 0);
    PTX_LANES(mask, y[l] = alike(w, &i->arg[1], mask, l);)
    PTX_LANES(mask, d[l] = y[l];)
}

static void match_all(Warp *w, const Ins *i, uint32_t mask)
{
    const bool all = alike(w, &i->arg[2], mask, __builtin_ctz(mask)) == mask;
    give(w, i, mask, all ? mask : 0);
    ptx_set_predicate(w, &i->arg[1], mask, all ? mask : 0);
}

#define REDUCE(name, T, y)                                                                                     \
    static void name(Warp *w, const Ins *i, uint32_t mask)                                                     \
    {                                                                                                          \
        const LaneW *p = PTX_ARG(const LaneW, 1);                                                              \
        T a = (T)p[__builtin_ctz(mask)];                                                                       \
        for (uint32_t rest = mask & (mask - 1); rest; rest &= rest - 1) {                                      \
            const T b = (T)p[__builtin_ctz(rest)];                                                             \
            a = (y);                                                                                           \
        }                                                                                                      \
        give(w, i, mask, (uint32_t)a);                                                                         \
    }
REDUCE(redux_add, uint32_t, a + b)
REDUCE(redux_and, uint32_t, a &b)
REDUCE(redux_or, uint32_t, a | b)
REDUCE(redux_xor, uint32_t, a ^ b)
REDUCE(redux_min_u, uint32_t, a < b ? a : b)
REDUCE(redux_max_u, uint32_t, a > b ? a : b)
REDUCE(redux_min_s, int32_t, a < b ? a : b)
REDUCE(redux_max_s, int32_t, a > b ? a : b)

static void together(Warp *w, const Ins *i, uint32_t mask) { (void)w, (void)i, (void)mask; }

#define ROW(spellings, operands, run, members)                                                                 \
    {                                                                                                          \
        spellings, operands, run, FLOW_COLLECTIVE, members                                                     \
    }
const Row ptx_warp_rows[] = {
    ROW("shfl.sync.up.b32", "w|pwwww", shfl_up, 5),
    ROW("shfl.sync.down.b32", "w|pwwww", shfl_down, 5),
    ROW("shfl.sync.bfly.b32", "w|pwwww", shfl_bfly, 5),
    ROW("shfl.sync.idx.b32", "w|pwwww", shfl_idx, 5),
    ROW("vote.sync.all.pred", "ppw", vote_all, 2),
    ROW("vote.sync.any.pred", "ppw", vote_any, 2),
    ROW("vote.sync.uni.pred", "ppw", vote_uni, 2),
    ROW("vote.sync.ballot.b32", "wpw", vote_ballot, 2),
    ROW("match.any.sync.b32", "www", match_any, 2),
    ROW("match.any.sync.b64", "wdw", match_any, 2),
    ROW("match.all.sync.b32", "w|pww", match_all, 3),
    ROW("match.all.sync.b64", "w|pdw", match_all, 3),
    ROW("redux.sync.add.u32 redux.sync.add.s32", "www", redux_add, 2),
    ROW("redux.sync.and.b32", "www", redux_and, 2),
    ROW("redux.sync.or.b32", "www", redux_or, 2),
    ROW("redux.sync.xor.b32", "www", redux_xor, 2),
    ROW("redux.sync.min.u32", "www", redux_min_u, 2),
    ROW("redux.sync.max.u32", "www", redux_max_u, 2),
    ROW("redux.sync.min.s32", "www", redux_min_s, 2),
    ROW("redux.sync.max.s32", "www", redux_max_s, 2),
    ROW("bar.warp.sync", "w", together, 0),
    {"activemask.b32", "w", activemask, FLOW_NEXT, 0},
    {0},
};
