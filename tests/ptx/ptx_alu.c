/* Integer and bit instructions, predicates, selection. The formulas are in ptx_alu.def. */
#include "tests/ptx/ptx_lane.h"

static inline int64_t clamp_s32(int64_t v) { return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v; }
static inline uint64_t pair(uint32_t low, uint32_t high) { return (uint64_t)high << 32 | low; }

static inline uint32_t dp4a_signed(uint32_t a, uint32_t b)
{
    int32_t sum = 0;
    for (int k = 0; k < 32; k += 8) sum += (int8_t)(a >> k) * (int8_t)(b >> k);
    return (uint32_t)sum;
}

static inline uint32_t dp4a_unsigned(uint32_t a, uint32_t b)
{
    uint32_t sum = 0;
    for (int k = 0; k < 32; k += 8) sum += (a >> k & 255) * (b >> k & 255);
    return sum;
}

static inline uint64_t reverse(uint64_t v)
{
    v = (v >> 1 & 0x5555555555555555u) | (v & 0x5555555555555555u) << 1;
    v = (v >> 2 & 0x3333333333333333u) | (v & 0x3333333333333333u) << 2;
    v = (v >> 4 & 0x0F0F0F0F0F0F0F0Fu) | (v & 0x0F0F0F0F0F0F0F0Fu) << 4;
    return __builtin_bswap64(v);
}

static inline uint32_t find_signed(int32_t a)
{
    const uint32_t v = (uint32_t)(a < 0 ? ~a : a);
    return v ? 31 - (uint32_t)__builtin_clz(v) : UINT32_MAX;
}

/* bfe: `count` bits from `at`; the sign is the topmost bit taken, or the value's where fewer are left. */
static inline uint64_t extract(uint64_t v, uint32_t at, uint32_t count, uint32_t width, bool is_signed)
{
    at &= 255, count &= 255;
    const uint64_t top = v >> (width - 1) & 1;
    if (count == 0) return 0;
    const uint32_t last = at + count - 1 < width - 1 ? at + count - 1 : width - 1;
    const uint64_t fill = is_signed ? -(at < width ? v >> last & 1 : top) : 0;
    if (at >= width) return fill;
    const uint32_t n = last - at + 1;
    const uint64_t keep = n == 64 ? UINT64_MAX : ((uint64_t)1 << n) - 1;
    return (v >> at & keep) | (fill & ~keep);
}

/* bfi: `count` bits of a into b from `at`. */
static inline uint64_t insert(uint64_t a, uint64_t b, uint32_t at, uint32_t count, uint32_t width)
{
    at &= 255, count &= 255;
    if (at >= width || count == 0) return b;
    const uint64_t keep = (count >= 64 ? UINT64_MAX : ((uint64_t)1 << count) - 1) << at;
    return (a << at & keep) | (b & ~keep);
}

static inline uint32_t permute(uint32_t a, uint32_t b, uint32_t selectors)
{
    const uint64_t bytes = pair(a, b);
    uint32_t y = 0;
    for (int k = 0; k < 4; k++) {
        const uint32_t s = selectors >> 4 * k & 15;
        uint32_t v = (uint32_t)(bytes >> 8 * (s & 7)) & 255;
        if (s & 8) v = v & 128 ? 255 : 0;
        y |= v << 8 * k;
    }
    return y;
}

static inline uint32_t logic3(uint32_t a, uint32_t b, uint32_t c, uint32_t table)
{
    uint32_t y = 0;
    for (int k = 0; k < 8; k++)
        if (table >> k & 1) y |= (k & 4 ? a : ~a) & (k & 2 ? b : ~b) & (k & 1 ? c : ~c);
    return y;
}

typedef unsigned __int128 Wide;

/* The carry flag is a bit a lane. */
#define LANE_CARRY(T, W, x, in, out)                                                                           \
    const uint32_t carried = w->carry >> l & 1;                                                                \
    const W sum = (x) + ((in) ? carried : 0);                                                                  \
    out_[l] = (TYPE_##T)sum;                                                                                   \
    if (out) w->carry = (w->carry & ~(1u << l)) | (uint32_t)(sum >> 8 * sizeof(TYPE_##T) & 1) << l;
#define OP1(name, spellings, D, A, y)          LANE_RUN1(name, D, A, y)
#define OP2(name, spellings, D, A, B, y)       LANE_RUN2(name, D, A, B, y)
#define OP3(name, spellings, D, A, B, C, y)    LANE_RUN3(name, D, A, B, C, y)
#define OP4(name, spellings, R, A, B, C, D, y) LANE_RUN4(name, R, A, B, C, D, y)
#define CARRY2(name, spellings, T, W, x, in, out)                                                              \
    static void name(Warp *w, const Ins *i, uint32_t mask)                                                     \
    {                                                                                                          \
        LANE_RESULT(T)                                                                                         \
        LANE_SOURCE(a, 1, T) LANE_SOURCE(b, 2, T) for (int l = 0; l < LANES; l++) if (mask >> l & 1)           \
        {                                                                                                      \
            LANE_VALUE(a, T) LANE_VALUE(b, T) LANE_CARRY(T, W, x, in, out)                                     \
        }                                                                                                      \
    }
#define CARRY3(name, spellings, T, W, x, in, out)                                                              \
    static void name(Warp *w, const Ins *i, uint32_t mask)                                                     \
    {                                                                                                          \
        LANE_RESULT(T)                                                                                         \
        LANE_SOURCE(a, 1, T)                                                                                   \
        LANE_SOURCE(b, 2, T) LANE_SOURCE(c, 3, T) for (int l = 0; l < LANES; l++) if (mask >> l & 1)           \
        {                                                                                                      \
            LANE_VALUE(a, T) LANE_VALUE(b, T) LANE_VALUE(c, T) LANE_CARRY(T, W, x, in, out)                    \
        }                                                                                                      \
    }
#include "tests/ptx/ptx_alu.def"
#undef OP1
#undef OP2
#undef OP3
#undef OP4
#undef CARRY2
#undef CARRY3

#define PREDICATES(name, y)                                                                                    \
    static void name(Warp *w, const Ins *i, uint32_t mask)                                                     \
    {                                                                                                          \
        const uint32_t a = ptx_predicate(w, &i->arg[1]), b = i->n_args > 2 ? ptx_predicate(w, &i->arg[2]) : 0; \
        (void)b;                                                                                               \
        ptx_set_predicate(w, &i->arg[0], mask, y);                                                             \
    }
PREDICATES(mov_pred, a)
PREDICATES(not_pred, ~a)
PREDICATES(and_pred, a &b)
PREDICATES(or_pred, a | b)
PREDICATES(xor_pred, a ^ b)

#define SELECT(name, T)                                                                                        \
    static void name(Warp *w, const Ins *i, uint32_t mask)                                                     \
    {                                                                                                          \
        LANE_RESULT(T)                                                                                         \
        LANE_SOURCE(a, 1, T) LANE_SOURCE(b, 2, T) const uint32_t p = ptx_predicate(w, &i->arg[3]);             \
        PTX_LANES(mask, LANE_VALUE(a, T) LANE_VALUE(b, T) out_[l] = p >> l & 1 ? a : b;)                       \
    }
SELECT(selp_h, U16)
SELECT(selp_w, U32)
SELECT(selp_d, U64)

#define OP1 LANE_ROW1
#define OP2 LANE_ROW2
#define OP3 LANE_ROW3
#define OP4 LANE_ROW4
#define CARRY2(name, spellings, T, W, x, in, out)                                                              \
    {spellings, LETTER_##T LETTER_##T LETTER_##T, name, FLOW_NEXT, 0},
#define CARRY3(name, spellings, T, W, x, in, out)                                                              \
    {spellings, LETTER_##T LETTER_##T LETTER_##T LETTER_##T, name, FLOW_NEXT, 0},
const Row ptx_alu_rows[] = {
#include "tests/ptx/ptx_alu.def"
    {"mov.pred", "pp", mov_pred, FLOW_NEXT, 0},
    {"not.pred", "pp", not_pred, FLOW_NEXT, 0},
    {"and.pred", "ppp", and_pred, FLOW_NEXT, 0},
    {"or.pred", "ppp", or_pred, FLOW_NEXT, 0},
    {"xor.pred", "ppp", xor_pred, FLOW_NEXT, 0},
    {"selp.b16 selp.u16 selp.s16 selp.f16 selp.bf16", "hhhp", selp_h, FLOW_NEXT, 0},
    {"selp.b32 selp.u32 selp.s32 selp.f32", "wwwp", selp_w, FLOW_NEXT, 0},
    {"selp.b64 selp.u64 selp.s64 selp.f64", "dddp", selp_d, FLOW_NEXT, 0},
    {0},
};
