/* Special registers, by name; filled when a warp starts. */
#include "tests/ptx/ptx_parse.h"

static const char *const names[] = {"%tid.x",       "%tid.y",       "%tid.z",
                                    "%ntid.x",      "%ntid.y",      "%ntid.z",
                                    "%ctaid.x",     "%ctaid.y",     "%ctaid.z",
                                    "%nctaid.x",    "%nctaid.y",    "%nctaid.z",
                                    "%laneid",      "%warpid",      "%nwarpid",
                                    "%lanemask_eq", "%lanemask_lt", "%lanemask_le",
                                    "%lanemask_gt", "%lanemask_ge", "%dynamic_smem_size"};
enum {
    TID,
    NTID = 3,
    CTAID = 6,
    NCTAID = 9,
    LANEID = 12,
    WARPID,
    NWARPID,
    MASK_EQ,
    MASK_LT,
    MASK_LE,
    MASK_GT,
    MASK_GE
};

int ptx_special_find(const char *name, int n)
{
    for (size_t i = 0; *name == '%' && i < sizeof names / sizeof *names; i++)
        if (ptx_same(name, n, names[i])) return (int)i;
    return -1;
}

static uint32_t value(const Warp *w, int which, uint32_t lane)
{
    const Block *b = w->block;
    const unsigned thread = w->index * LANES + lane, x = b->dim[0], y = b->dim[1];
    const uint32_t bit = 1u << lane;
    switch (which) {
    case TID: return thread % x;
    case TID + 1: return thread / x % y;
    case TID + 2: return thread / x / y;
    case NTID:
    case NTID + 1:
    case NTID + 2: return b->dim[which - NTID];
    case CTAID:
    case CTAID + 1:
    case CTAID + 2: return b->id[which - CTAID];
    case NCTAID:
    case NCTAID + 1:
    case NCTAID + 2: return b->grid[which - NCTAID];
    case LANEID: return lane;
    case WARPID: return w->index;
    case NWARPID: return b->n_warps;
    case MASK_EQ: return bit;
    case MASK_LT: return bit - 1;
    case MASK_LE: return bit | (bit - 1);
    case MASK_GT: return ~(bit | (bit - 1));
    case MASK_GE: return ~(bit - 1);
    }
    return (uint32_t)b->shared_bytes - b->kernel->shared_bytes;
}

void ptx_special_fill(Warp *w, const Special *s)
{
    uint8_t *out = w->pool[POOL_REGISTERS] + s->at;
    for (uint32_t l = 0; l < LANES; l++)
        if (s->which < 0) /* a local variable */
            ((LaneD *)(void *)out)[l] = (uintptr_t)w->local + (uint64_t)l * w->block->kernel->local_bytes +
                                        (uint64_t)(-1 - (int64_t)s->which);
        else
            ((LaneW *)(void *)out)[l] = value(w, s->which, l);
}
