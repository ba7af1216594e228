/* Warp operations: lanes of a mask meet, the last one to come computes everybody's result. */
#include "tests/emu/runner.h"

namespace emu
{
static const char *const names[] = {"__syncwarp", "shuffle",  "ballot",   "reduce", "reduce",
                                    "reduce",     "ldmatrix", "ldmatrix", "mma"};

void check_no_meeting(const Fiber *f)
{
    const Warp *w = &r.warps[f->warp];
    for (unsigned open = w->open; open; open &= open - 1) {
        const Meeting *m = &w->meetings[__builtin_ctz(open)];
        if (m->mask >> f->lane & 1)
            fail(m->site, "lane %u ends while lanes %08x wait for it at this %s (mask %08x)", f->lane,
                 m->arrived, names[m->kind], m->mask);
    }
}

static Meeting *open_meeting(Warp *w, Collective kind, unsigned mask, const Fiber *f, Site site)
{
    if (!(mask >> f->lane & 1))
        fail(site, "%s: lane %u is not in its own mask %08x", names[kind], f->lane, mask);
    if (mask & ~lanes_of(f->warp))
        fail(site, "%s: mask %08x names lanes that the block does not have", names[kind], mask);
    for (unsigned l = 0; l < WARP; l++)
        if (mask >> l & 1 && fiber_at(f->warp, l)->state == DONE)
            fail(site, "%s: mask %08x names lane %u, which has ended", names[kind], mask, l);
    unsigned i = (unsigned)__builtin_ctz(~w->open);
    Meeting *m = &w->meetings[i];
    w->open |= 1u << i;
    m->kind = kind;
    m->site = site;
    m->mask = mask;
    m->arrived = 0;
    return m;
}

static Meeting *find_meeting(Warp *w, Collective kind, unsigned mask, const Fiber *f, Site site)
{
    for (unsigned open = w->open; open; open &= open - 1) {
        Meeting *m = &w->meetings[__builtin_ctz(open)];
        if (!(m->mask & mask)) continue;
        if (m->mask != mask || m->kind != kind || !same_site(m->site, site))
            fail(site, "divergent %s: lane %u (mask %08x); lanes %08x wait at %s:%d (%s, mask %08x)",
                 names[kind], f->lane, mask, m->arrived, m->site.file, m->site.line, names[m->kind], m->mask);
        return m;
    }
    return open_meeting(w, kind, mask, f, site);
}

#define EACH_LANE(l, mask)                                                                                     \
    for (unsigned l = 0; l < WARP; l++)                                                                        \
        if ((mask) >> l & 1)

static void shuffle_all(const Meeting *m)
{
    EACH_LANE(l, m->mask)
    {
        Shuffle *s = (Shuffle *)m->mine[l];
        if (s->source < 0 || s->source >= WARP || !(m->mask >> s->source & 1))
            fail(m->site, "shuffle: lane %u reads lane %d, which is not in mask %08x", l, s->source, m->mask);
        s->result = ((const Shuffle *)m->mine[s->source])->value;
    }
}

static void ballot_all(const Meeting *m)
{
    unsigned all = 0;
    EACH_LANE(l, m->mask) all |= ((const Vote *)m->mine[l])->value << l;
    EACH_LANE(l, m->mask)((Vote *)m->mine[l])->result = all;
}

static void reduce_all(const Meeting *m)
{
    bool begun = false;
    int64_t all = 0;
    EACH_LANE(l, m->mask)
    {
        int64_t v = ((const Reduce *)m->mine[l])->value;
        if (!begun)
            all = v;
        else
            all = m->kind == REDUCE_ADD ? all + v : m->kind == REDUCE_MIN ? min(all, v) : max(all, v);
        begun = true;
    }
    EACH_LANE(l, m->mask)((Reduce *)m->mine[l])->result = all;
}

/* Four 8x8 matrices of 16 bits; lane 8m + i brought row i of matrix m. Lane l gets, of each, row l/4's elements
 * 2(l%4) and the next; transposed: column l/4's. */
static void ldmatrix_all(const Meeting *m)
{
    Ldmatrix *const *x = (Ldmatrix *const *)m->mine;
    for (int l = 0; l < WARP; l++)
        for (int k = 0; k < 4; k++) {
            int g = l / 4, t = l % 4 * 2;
            unsigned low, high;
            if (m->kind == LDMATRIX_TRANS) {
                low = x[8 * k + t]->row[g];
                high = x[8 * k + t + 1]->row[g];
            } else {
                low = x[8 * k + g]->row[t];
                high = x[8 * k + g]->row[t + 1];
            }
            x[l]->result[k] = low | high << 16;
        }
}

static inline float low_half(unsigned u) { return __uint_as_float(u << 16); }
static inline float high_half(unsigned u) { return __uint_as_float(u & 0xffff0000u); }

/* d (16,8) += a (16,16) b (16,8), the fragments of m16n8k16: with g = lane / 4 and t = lane % 4 * 2, a[0] holds
 * row g, a[1] row g + 8, columns t and t + 1; a[2], a[3] the same rows, columns t + 8, t + 9; b[0] column g,
 * rows t, t + 1, b[1] rows t + 8, t + 9; d row g and (2, 3) g + 8, columns t and t + 1. */
static void mma_all(const Meeting *m)
{
    Mma *const *x = (Mma *const *)m->mine;
    /* A row at a time: most of what this runner computes is here. */
    typedef float Row __attribute__((vector_size(8 * sizeof(float))));
    float A[16][16];
    Row B[16], D[16];
    for (int l = 0; l < WARP; l++) {
        int g = l / 4, t = l % 4 * 2;
        for (int i = 0; i < 4; i++) {
            float *to = &A[g + i % 2 * 8][t + i / 2 * 8];
            to[0] = low_half(x[l]->a[i]);
            to[1] = high_half(x[l]->a[i]);
        }
        for (int i = 0; i < 2; i++) {
            B[t + i * 8][g] = low_half(x[l]->b[i]);
            B[t + i * 8 + 1][g] = high_half(x[l]->b[i]);
        }
    }
    for (int i = 0; i < 16; i++) {
        Row sum = {};
        for (int k = 0; k < 16; k++) sum += A[i][k] * B[k];
        D[i] = sum;
    }
    for (int l = 0; l < WARP; l++)
        for (int i = 0; i < 4; i++) x[l]->d[i] += D[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
}

void meet(Collective kind, unsigned mask, void *mine, Site site)
{
    Fiber *f = running();
    Warp *w = &r.warps[f->warp];
    if (kind >= LDMATRIX && mask != ~0u) fail(site, "%s: not all lanes", names[kind]);
    Meeting *m = find_meeting(w, kind, mask, f, site);
    m->arrived |= 1u << f->lane;
    m->mine[f->lane] = mine;
    /* Of all warp operations only __syncwarp orders memory. */
    char *order = r.sync + 64 + (f->warp * WARP + (unsigned)(m - w->meetings)) * 2 + (m->generation & 1);
    if (kind == SYNCWARP) __tsan_release(order);
    if (m->arrived == mask) {
        if (kind == SHUFFLE) shuffle_all(m);
        if (kind == BALLOT) ballot_all(m);
        if (kind >= REDUCE_ADD && kind <= REDUCE_MAX) reduce_all(m);
        if (kind == LDMATRIX || kind == LDMATRIX_TRANS) ldmatrix_all(m);
        if (kind == MMA) mma_all(m);
        w->open &= ~(1u << (m - w->meetings));
        m->generation++;
        make_ready(f->warp, mask & ~(1u << f->lane));
        maybe_yield();
    } else {
        suspend(AT_WARP, site);
    }
    if (kind == SYNCWARP) __tsan_acquire(order);
}
} // namespace emu
