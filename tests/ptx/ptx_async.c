/* cp.async: a copy from global to shared memory lands when its thread waits for its group, and not before;
 * until then the place holds 0xFF (NaN). */
#include "tests/ptx/ptx_parse.h"
#include <string.h>

/* [to], [from], bytes, bytes that are read: the rest becomes zero */
static void issue(Warp *w, const Ins *i, uint32_t mask)
{
    const unsigned bytes = i->bytes;
    for (uint32_t rest = mask; rest; rest &= rest - 1) {
        const int l = __builtin_ctz(rest);
        uint8_t *to = ptx_address(w, &i->arg[0], l, bytes, SPACE_SHARED);
        const uint64_t valid = i->n_args > 3 ? ptx_lane(w, &i->arg[3], l) : bytes;
        if (valid > bytes) ptx_fault(w, l, "cp.async reads %llu of %u bytes", (unsigned long long)valid, bytes);
        const Copy c = {.lane = (uint32_t)l,
                        .group = w->groups[l],
                        .to = (uint32_t)(to - w->block->shared),
                        .bytes = (uint8_t)bytes,
                        .valid = (uint8_t)valid,
                        .from = valid ? ptx_address(w, &i->arg[1], l, bytes, SPACE_GLOBAL) : NULL};
        memset(to, 0xFF, bytes);
        *PTX_PUSH(w->copies, w->n_copies) = c;
    }
}

static void commit(Warp *w, const Ins *i, uint32_t mask)
{
    (void)i;
    for (int l = 0; l < LANES; l++) w->groups[l] += mask >> l & 1;
}

static void land(Warp *w, uint32_t mask, uint32_t pending)
{
    uint32_t kept = 0;
    for (uint32_t n = 0; n < w->n_copies; n++) {
        const Copy *c = &w->copies[n];
        if ((mask >> c->lane & 1) && c->group + pending < w->groups[c->lane]) {
            uint8_t *to = w->block->shared + c->to;
            memset(to, 0, c->bytes);
            if (c->valid) memcpy(to, c->from, c->valid);
        } else {
            w->copies[kept++] = *c;
        }
    }
    w->n_copies = kept;
}

static void wait_group(Warp *w, const Ins *i, uint32_t mask) { land(w, mask, *PTX_ARG(const LaneW, 0)); }

static void wait_all(Warp *w, const Ins *i, uint32_t mask)
{
    commit(w, i, mask);
    land(w, mask, 0);
}

void ptx_async_exit(const Warp *w, uint32_t mask)
{
    for (uint32_t n = 0; n < w->n_copies; n++)
        if (mask >> w->copies[n].lane & 1)
            ptx_fault(w, (int)w->copies[n].lane, "leaves with a cp.async under way that nothing waited for");
}

/* cp.async.ca|cg.shared.global[.L2::...], cp.async.commit_group, .wait_group, .wait_all */
void ptx_decode_cp(Parser *p, Ins *i, const Words *w)
{
    if (!ptx_word(w, 0, "async")) return;
    if (w->count == 2) {
        i->run = ptx_word(w, 1, "commit_group") ? commit
                 : ptx_word(w, 1, "wait_group") ? wait_group
                 : ptx_word(w, 1, "wait_all")   ? wait_all
                                                : NULL;
        if (i->run) ptx_operands(p, i, i->run == wait_group ? "n" : "");
        return;
    }
    const bool ca = ptx_word(w, 1, "ca"),
               hint = ptx_word(w, 4, "L2::64B") || ptx_word(w, 4, "L2::128B") || ptx_word(w, 4, "L2::256B");
    if ((!ca && !ptx_word(w, 1, "cg")) || (!ptx_word(w, 2, "shared") && !ptx_word(w, 2, "shared::cta")) ||
        !ptx_word(w, 3, "global") || w->count != 4 + hint)
        return;
    i->run = issue;
    ptx_operands(p, i, "aan?w");
    const Arg *bytes = &p->kernel->args[i->first + 2];
    uint32_t n;
    memcpy(&n, p->kernel->constants + bytes->at, 4);
    if (n != 16 && !(ca && (n == 4 || n == 8))) ptx_refuse(p, "cp.async of %u bytes", n);
    i->bytes = (uint8_t)n;
}
