/* setp and set: comparisons of two registers, one bit a lane. */
#include "tests/ptx/ptx_half.h"
#include "tests/ptx/ptx_lane.h"
#include "tests/ptx/ptx_parse.h"

#define COMPARE(name, T, test)                                                                                 \
    static uint32_t name##_##T(const void *pa, const void *pb)                                                 \
    {                                                                                                          \
        const LANE_##T *a_ = pa, *b_ = pb;                                                                     \
        uint32_t y = 0;                                                                                        \
        for (int l = 0; l < LANES; l++) { LANE_VALUE(a, T) LANE_VALUE(b, T) y |= (uint32_t)(test) << l; }      \
        return y;                                                                                              \
    }
#define COMPARE_ORDER(T)                                                                                       \
    COMPARE(eq, T, a == b)                                                                                     \
    COMPARE(ne, T, !(a == b))                                                                                  \
    COMPARE(lt, T, a < b) COMPARE(le, T, a <= b) COMPARE(gt, T, a > b) COMPARE(ge, T, a >= b)
COMPARE_ORDER(S16)
COMPARE_ORDER(U16)
COMPARE_ORDER(S32)
COMPARE_ORDER(U32)
COMPARE_ORDER(S64)
COMPARE_ORDER(U64)

/* eq ... ge are false where there is a NaN, ne too; equ ... geu are true. FLOAT_x: the value of a lane's bits.
 */
#define FLOAT_F32(v) (v)
#define FLOAT_F64(v) (v)
#define FLOAT_H(v)   f16_float(v)
#define FLOAT_B(v)   bf16_float(v)
#define TYPE_B       uint16_t
#define LANE_B       LaneW
#define COMPARE_FLOAT_ONE(name, T, test)                                                                       \
    static uint32_t name##_##T(const void *pa, const void *pb)                                                 \
    {                                                                                                          \
        const LANE_##T *a_ = pa, *b_ = pb;                                                                     \
        uint32_t y = 0;                                                                                        \
        for (int l = 0; l < LANES; l++) {                                                                      \
            const double a = (double)FLOAT_##T((TYPE_##T)a_[l]), b = (double)FLOAT_##T((TYPE_##T)b_[l]);       \
            y |= (uint32_t)(test) << l;                                                                        \
        }                                                                                                      \
        return y;                                                                                              \
    }
#define COMPARE_FLOAT(T)                                                                                       \
    COMPARE_FLOAT_ONE(eq, T, a == b)                                                                           \
    COMPARE_FLOAT_ONE(ne, T, a<b || a> b)                                                                      \
    COMPARE_FLOAT_ONE(lt, T, a < b)                                                                            \
    COMPARE_FLOAT_ONE(le, T, a <= b)                                                                           \
    COMPARE_FLOAT_ONE(gt, T, a > b)                                                                            \
    COMPARE_FLOAT_ONE(ge, T, a >= b)                                                                           \
    COMPARE_FLOAT_ONE(equ, T, !(a < b || a > b))                                                               \
    COMPARE_FLOAT_ONE(neu, T, a != b)                                                                          \
    COMPARE_FLOAT_ONE(ltu, T, !(a >= b))                                                                       \
    COMPARE_FLOAT_ONE(leu, T, !(a > b))                                                                        \
    COMPARE_FLOAT_ONE(gtu, T, !(a <= b))                                                                       \
    COMPARE_FLOAT_ONE(geu, T, !(a < b))                                                                        \
    COMPARE_FLOAT_ONE(num, T, a == a && b == b) COMPARE_FLOAT_ONE(nan, T, a != a || b != b)
COMPARE_FLOAT(F32)
COMPARE_FLOAT(F64)
COMPARE_FLOAT(H)
COMPARE_FLOAT(B)

#define ONE(name, type, T)                                                                                     \
    {                                                                                                          \
#name, type, name##_##T                                                                                \
    }
#define EQUAL(type, T) ONE(eq, type, T), ONE(ne, type, T)
#define ORDER(type, T) EQUAL(type, T), ONE(lt, type, T), ONE(le, type, T), ONE(gt, type, T), ONE(ge, type, T)
#define FLOATS(type, T)                                                                                        \
    ORDER(type, T), ONE(equ, type, T), ONE(neu, type, T), ONE(ltu, type, T), ONE(leu, type, T),                \
        ONE(gtu, type, T), ONE(geu, type, T), ONE(num, type, T), ONE(nan, type, T)
/* the unsigned comparisons' other names */
#define LOWER(type, T)                                                                                         \
    {"lo", type, lt_##T}, {"ls", type, le_##T}, {"hi", type, gt_##T}, { "hs", type, ge_##T }
static const struct {
    const char *name, *type;
    Compare *compare;
} compares[] = {ORDER("s16", S16), ORDER("s32", S32), ORDER("s64", S64),  ORDER("u16", U16),
                ORDER("u32", U32), ORDER("u64", U64), LOWER("u16", U16),  LOWER("u32", U32),
                LOWER("u64", U64), EQUAL("b16", U16), EQUAL("b32", U32),  EQUAL("b64", U64),
                FLOATS("f16", H),  FLOATS("bf16", B), FLOATS("f32", F32), FLOATS("f64", F64)};

static uint32_t combined(const Warp *w, const Ins *i, uint32_t y, const Arg *c)
{
    if (!i->logic) return y;
    const uint32_t other = ptx_predicate(w, c);
    return i->logic == '&' ? y & other : i->logic == '|' ? y | other : y ^ other;
}

/* p|q, a, b, c: p = (a ? b) op c, q = !(a ? b) op c */
static void setp(Warp *w, const Ins *i, uint32_t mask)
{
    const uint32_t y = i->compare(ptx_at(w, &i->arg[2]), ptx_at(w, &i->arg[3]));
    const uint32_t p = combined(w, i, y, &i->arg[4]), q = combined(w, i, ~y, &i->arg[4]);
    ptx_set_predicate(w, &i->arg[0], mask, p);
    ptx_set_predicate(w, &i->arg[1], mask, q);
}

static void set(Warp *w, const Ins *i, uint32_t mask)
{
    const uint32_t y = combined(w, i, i->compare(ptx_at(w, &i->arg[1]), ptx_at(w, &i->arg[2])), &i->arg[3]);
    const Type *t = &ptx_types[i->to];
    const uint64_t yes = t->kind == 'f'   ? t->bits == 16 ? 0x3C00 : 0x3F800000
                         : t->kind == 'g' ? 0x3F80
                                          : UINT32_MAX;
    PTX_LANES(mask, ptx_set_lane(w, &i->arg[0], l, y >> l & 1 ? yes : 0);)
}

/* .compare[.and|.or|.xor] from words[0]; how many words that was. */
static int decode_compare(Ins *i, const Words *w, const char *type, int n)
{
    for (size_t c = 0; c < sizeof compares / sizeof *compares; c++)
        if (ptx_word(w, 0, compares[c].name) && ptx_same(type, n, compares[c].type))
            i->compare = compares[c].compare;
    if (!i->compare) return 0;
    i->logic = ptx_word(w, 1, "and") ? '&' : ptx_word(w, 1, "or") ? '|' : ptx_word(w, 1, "xor") ? '^' : 0;
    return i->logic ? 2 : 1;
}

static char letter(const char *type, int n)
{
    const int t = ptx_type(type, n);
    const int bits = t < 0 ? 0 : ptx_types[t].bits;
    return bits == 16 ? 'h' : bits == 32 ? 'w' : bits == 64 ? 'd' : 0;
}

void ptx_decode_setp(Parser *p, Ins *i, const Words *w)
{
    if (w->count < 2) return;
    const char *type = w->at[w->count - 1];
    const int n = w->n[w->count - 1], used = decode_compare(i, w, type, n);
    if (!used || used + 1 != w->count) return;
    const char v = letter(type, n), pattern[] = {'p', '|', 'p', v, v, i->logic ? 'p' : 0, 0};
    i->run = setp;
    ptx_operands(p, i, pattern);
}

void ptx_decode_set(Parser *p, Ins *i, const Words *w)
{
    if (w->count < 3) return;
    const char *type = w->at[w->count - 1], *to = w->at[w->count - 2];
    const int n = w->n[w->count - 1], n_to = w->n[w->count - 2], used = decode_compare(i, w, type, n);
    const char v = letter(type, n), d = letter(to, n_to);
    const char pattern[] = {d, v, v, i->logic ? 'p' : 0, 0};
    if (!used || used + 2 != w->count || !d || d == 'd') return;
    i->to = (uint8_t)ptx_type(to, n_to);
    i->run = set;
    ptx_operands(p, i, pattern);
}
