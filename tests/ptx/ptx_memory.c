/* ld, st, atom, red: addresses, widths, vectors. Stores of lanes to one place: the highest lane's stays. */
#include "tests/ptx/ptx_parse.h"
#include <string.h>

static uint8_t *shared(const Warp *w, int lane, uint64_t at, unsigned bytes)
{
    const Block *b = w->block;
    if (at > b->shared_bytes || bytes > b->shared_bytes - at)
        ptx_fault(w, lane, "%u bytes at %llu of shared memory's %zu", bytes, (unsigned long long)at,
                  b->shared_bytes);
    return b->shared + at;
}

static bool in_local(const Warp *w, int lane, uint64_t at, unsigned bytes)
{
    const uint64_t size = w->block->kernel->local_bytes,
                   from = at - (uintptr_t)(w->local + (size_t)lane * size);
    return from < size && bytes <= size - from;
}

static inline uint8_t *address(const Warp *w, const Arg *a, int lane, unsigned bytes, Space space)
{
    uint64_t at = ptx_lane(w, a, lane) + (uint64_t)a->add;
    if (a->bits == 32) at = (uint32_t)at;
    if (at & (bytes - 1))
        ptx_fault(w, lane, "%u bytes at the misaligned address 0x%llx", bytes, (unsigned long long)at);
    if (space == SPACE_SHARED) return shared(w, lane, at, bytes);
    if (a->bits == 32) ptx_fault(w, lane, "an address of 32 bits outside shared memory");
    const uint64_t window = at - (uintptr_t)w->block->shared;
    if (window < SHARED_WINDOW) {
        if (space != SPACE_GENERIC) ptx_fault(w, lane, "a shared address where another space is meant");
        return shared(w, lane, window, bytes);
    }
    if (at < 65536) ptx_fault(w, lane, "%u bytes at the address 0x%llx", bytes, (unsigned long long)at);
    if (space == SPACE_LOCAL && !in_local(w, lane, at, bytes))
        ptx_fault(w, lane, "%u bytes outside the thread's local memory", bytes);
    if (space == SPACE_PARAM) {
        const Kernel *k = w->block->kernel;
        const uint64_t from = at - (uintptr_t)k->param;
        if (from > k->param_bytes || bytes > k->param_bytes - from)
            ptx_fault(w, lane, "%u bytes outside the parameters", bytes);
    }
    return (uint8_t *)(uintptr_t)at;
}

uint8_t *ptx_address(const Warp *w, const Arg *a, int lane, unsigned bytes, Space space)
{
    return address(w, a, lane, bytes, space);
}

#define LOAD(name, T)                                                                                          \
    static void name(Warp *w, const Ins *i, uint32_t mask)                                                     \
    {                                                                                                          \
        const uint32_t n = i->count;                                                                           \
        PTX_LANES(mask, {                                                                                      \
            const uint8_t *p = address(w, &i->arg[n], l, (unsigned)(n * sizeof(T)), i->space);                 \
            for (uint32_t k = 0; k < n; k++) {                                                                 \
                T v;                                                                                           \
                memcpy(&v, p + k * sizeof v, sizeof v);                                                        \
                ptx_set_lane(w, &i->arg[k], l, (uint64_t)v);                                                   \
            }                                                                                                  \
        })                                                                                                     \
    }
LOAD(ld_u8, uint8_t)
LOAD(ld_s8, int8_t)
LOAD(ld_u16, uint16_t)
LOAD(ld_s16, int16_t)
LOAD(ld_u32, uint32_t)
LOAD(ld_s32, int32_t)
LOAD(ld_64, uint64_t)

#define STORE(name, T)                                                                                         \
    static void name(Warp *w, const Ins *i, uint32_t mask)                                                     \
    {                                                                                                          \
        const uint32_t n = i->count;                                                                           \
        PTX_LANES(mask, {                                                                                      \
            uint8_t *p = address(w, &i->arg[0], l, (unsigned)(n * sizeof(T)), i->space);                       \
            for (uint32_t k = 0; k < n; k++) {                                                                 \
                const T v = (T)ptx_lane(w, &i->arg[k + 1], l);                                                 \
                memcpy(p + k * sizeof v, &v, sizeof v);                                                        \
            }                                                                                                  \
        })                                                                                                     \
    }
STORE(st_8, uint8_t)
STORE(st_16, uint16_t)
STORE(st_32, uint32_t)
STORE(st_64, uint64_t)

static const struct {
    const char *name;
    Space space;
} spaces[] = {{"global", SPACE_GLOBAL}, {"shared", SPACE_SHARED}, {"shared::cta", SPACE_SHARED},
              {"local", SPACE_LOCAL},   {"const", SPACE_CONST},   {"param", SPACE_PARAM}};

/* Words that change nothing where threads run one after the other and memory has no caches. */
static const char hints[] = "nc ca cg cs lu cv wb wt weak volatile relaxed acquire release acq_rel cta gpu sys "
                            "L1::no_allocate L1::evict_last L1::evict_first L1::evict_normal "
                            "L1::evict_unchanged L2::64B L2::128B L2::256B";

static bool listed(const char *list, const char *s, int n)
{
    for (; *list; list += strcspn(list, " "), list += *list == ' ')
        if ((int)strcspn(list, " ") == n && !strncmp(list, s, (size_t)n)) return true;
    return false;
}

static bool take_space(Ins *i, const Words *w, int at)
{
    for (size_t s = 0; s < sizeof spaces / sizeof *spaces; s++)
        if (ptx_word(w, at, spaces[s].name)) {
            i->space = spaces[s].space;
            return true;
        }
    return false;
}

static bool take_hint(const Words *w, int at) { return listed(hints, w->at[at], w->n[at]); }

/* .space.hints.v2.type: the type, or NULL for what is not known. */
static const Type *access_of(Ins *i, const Words *w)
{
    i->count = 1;
    for (int k = 0; k < w->count - 1; k++) {
        if (ptx_word(w, k, "v2") || ptx_word(w, k, "v4"))
            i->count = (uint8_t)(w->at[k][1] - '0');
        else if (!take_space(i, w, k) && !take_hint(w, k))
            return NULL;
    }
    const int t = w->count ? ptx_type(w->at[w->count - 1], w->n[w->count - 1]) : -1;
    if (t < 0 || ptx_types[t].bits < 8) return NULL;
    i->bytes = ptx_types[t].bits / 8;
    return i->bytes * i->count > 16 ? NULL : &ptx_types[t];
}

static const char *vector(uint32_t n) { return n == 4 ? "{xxxx}" : n == 2 ? "{xx}" : "x"; }

void ptx_decode_ld(Parser *p, Ins *i, const Words *w)
{
    const Type *t = access_of(i, w);
    if (!t) return;
    const bool s = t->kind == 's';
    char pattern[8] = {0};
    strcat(strcpy(pattern, vector(i->count)), "a");
    i->run = i->bytes == 1   ? (s ? ld_s8 : ld_u8)
             : i->bytes == 2 ? (s ? ld_s16 : ld_u16)
             : i->bytes == 4 ? (s ? ld_s32 : ld_u32)
                             : ld_64;
    ptx_operands(p, i, pattern);
}

void ptx_decode_st(Parser *p, Ins *i, const Words *w)
{
    if (!access_of(i, w)) return;
    char pattern[8] = "a";
    i->run = i->bytes == 1 ? st_8 : i->bytes == 2 ? st_16 : i->bytes == 4 ? st_32 : st_64;
    ptx_operands(p, i, strcat(pattern, vector(i->count)));
}

/* Atomics on integers; those on floats have no fixed order, so no kernel here may use them. */
typedef uint64_t Atomic(uint64_t old, uint64_t b, uint64_t c);
static uint64_t atomic_add(uint64_t old, uint64_t b, uint64_t c) { return (void)c, old + b; }
static uint64_t atomic_and(uint64_t old, uint64_t b, uint64_t c) { return (void)c, old & b; }
static uint64_t atomic_or(uint64_t old, uint64_t b, uint64_t c) { return (void)c, old | b; }
static uint64_t atomic_xor(uint64_t old, uint64_t b, uint64_t c) { return (void)c, old ^ b; }
static uint64_t atomic_exch(uint64_t old, uint64_t b, uint64_t c) { return (void)c, (void)old, b; }
static uint64_t atomic_min_u(uint64_t old, uint64_t b, uint64_t c) { return (void)c, old < b ? old : b; }
static uint64_t atomic_max_u(uint64_t old, uint64_t b, uint64_t c) { return (void)c, old > b ? old : b; }
static uint64_t atomic_min_s(uint64_t old, uint64_t b, uint64_t c)
{
    return (void)c, (int64_t)old < (int64_t)b ? old : b;
}
static uint64_t atomic_max_s(uint64_t old, uint64_t b, uint64_t c)
{
    return (void)c, (int64_t)old > (int64_t)b ? old : b;
}
static uint64_t atomic_inc(uint64_t old, uint64_t b, uint64_t c) { return (void)c, old >= b ? 0 : old + 1; }
static uint64_t atomic_dec(uint64_t old, uint64_t b, uint64_t c)
{
    return (void)c, old == 0 || old > b ? b : old - 1;
}
static uint64_t atomic_cas(uint64_t old, uint64_t b, uint64_t c) { return old == b ? c : old; }

static const struct {
    const char *name, *types;
    Atomic *f;
} atomics[] = {
    {"add", "u32 s32 u64", atomic_add}, {"and", "b32 b64", atomic_and},   {"or", "b32 b64", atomic_or},
    {"xor", "b32 b64", atomic_xor},     {"exch", "b32 b64", atomic_exch}, {"cas", "b16 b32 b64", atomic_cas},
    {"min", "u32 u64", atomic_min_u},   {"min", "s32 s64", atomic_min_s}, {"max", "u32 u64", atomic_max_u},
    {"max", "s32 s64", atomic_max_s},   {"inc", "u32", atomic_inc},       {"dec", "u32", atomic_dec}};

static void atom(Warp *w, const Ins *i, uint32_t mask)
{
    /* d, [a], b, c; red has no d */
    const Arg *to = i->n_args && i->to ? &i->arg[0] : NULL, *a = &i->arg[i->to], *b = a + 1,
              *c = i->logic ? a + 2 : b;
    for (uint32_t rest = mask; rest; rest &= rest - 1) {
        const int l = __builtin_ctz(rest);
        uint8_t *p = address(w, a, l, i->bytes, i->space);
        const int unused = 64 - 8 * i->bytes;
        uint64_t old = 0, x = ptx_lane(w, b, l) << unused, y = ptx_lane(w, c, l);
        memcpy(&old, p, i->bytes);
        uint64_t wide = old << unused;
        if (i->is_signed)
            wide = (uint64_t)((int64_t)wide >> unused), x = (uint64_t)((int64_t)x >> unused);
        else
            wide >>= unused, x >>= unused;
        const uint64_t v = atomics[i->from].f(wide, x, y);
        memcpy(p, &v, i->bytes);
        if (to) ptx_set_lane(w, to, l, old);
    }
}

static void decode_atomic(Parser *p, Ins *i, const Words *w, bool result)
{
    if (w->count < 2) return;
    const char *type = w->at[w->count - 1];
    const int n = w->n[w->count - 1], t = ptx_type(type, n);
    for (int k = 0; k < w->count - 2; k++)
        if (!take_space(i, w, k) && !take_hint(w, k)) return;
    for (size_t a = 0; a < sizeof atomics / sizeof *atomics; a++)
        if (ptx_word(w, w->count - 2, atomics[a].name) && listed(atomics[a].types, type, n))
            i->run = atom, i->from = (uint8_t)a;
    if (!i->run) return;
    i->logic = atomics[i->from].f == atomic_cas;
    i->is_signed = ptx_types[t].kind == 's';
    i->bytes = ptx_types[t].bits / 8;
    i->to = result;
    const char v = i->bytes == 8 ? 'd' : i->bytes == 4 ? 'w' : 'h';
    const char pattern[] = {v, 'a', v, i->logic ? v : 0, 0};
    ptx_operands(p, i, pattern + !result);
}

void ptx_decode_atom(Parser *p, Ins *i, const Words *w) { decode_atomic(p, i, w, true); }
void ptx_decode_red(Parser *p, Ins *i, const Words *w) { decode_atomic(p, i, w, false); }
