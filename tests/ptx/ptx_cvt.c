/* cvt: conversions between all types. The usual ones have a loop of their own, the others go lane by lane. */
#include "tests/ptx/ptx_half.h"
#include "tests/ptx/ptx_lane.h"
#include "tests/ptx/ptx_parse.h"
#include <math.h>
#include <string.h>

#define USUAL(D, A) LANE_RUN1(cvt_##D##_##A, D, A, (TYPE_##D)a)
USUAL(U64, U32)
USUAL(S64, S32)
USUAL(U32, U64)
USUAL(U16, U32)
USUAL(U32, U16)
USUAL(S32, S16)
USUAL(F32, S32)
USUAL(F32, U32)
USUAL(F64, F32)
USUAL(F32, F64)
#undef USUAL

static const struct {
    const char *to, *from;
    Run *run;
} usual[] = {{"u64", "u32", cvt_U64_U32}, {"s64", "s32", cvt_S64_S32}, {"u32", "u64", cvt_U32_U64},
             {"u16", "u32", cvt_U16_U32}, {"u32", "u16", cvt_U32_U16}, {"s32", "s16", cvt_S32_S16},
             {"f32", "s32", cvt_F32_S32}, {"f32", "u32", cvt_F32_U32}, {"f64", "f32", cvt_F64_F32},
             {"f32", "f64", cvt_F32_F64}};

static double float_value(uint64_t v, const Type *t)
{
    if (t->kind == 'g') return (double)bf16_float((uint16_t)v);
    return t->bits == 16   ? (double)f16_float((uint16_t)v)
           : t->bits == 32 ? (double)bits_float((uint32_t)v)
                           : bits_double(v);
}

static int64_t int_value(uint64_t v, const Type *t)
{
    const int unused = 64 - t->bits;
    return t->kind == 's' ? (int64_t)(v << unused) >> unused : (int64_t)(v << unused >> unused);
}

static double to_integral(double v, char how)
{
    return how == 'n' ? nearbyint(v) : how == 'z' ? trunc(v) : how == 'm' ? floor(v) : ceil(v);
}

/* A value out of range becomes the nearest bound; NaN is 0, and of 64 bits the top bit. */
static uint64_t float_to_int(double v, const Type *t)
{
    if (v != v) return t->bits == 64 ? (uint64_t)1 << 63 : 0;
    const double high = ldexp(1, t->kind == 's' ? t->bits - 1 : t->bits), low = t->kind == 's' ? -high : 0;
    const int64_t top = (int64_t)(UINT64_MAX >> (64 - t->bits) >> (t->kind == 's'));
    if (v >= high) return (uint64_t)top;
    if (v <= low) return t->kind == 's' ? ~(uint64_t)top : 0;
    return v < 0 ? (uint64_t)(int64_t)v : (uint64_t)v;
}

/* .sat of integers: into the range of the result's type. */
static int64_t saturated(int64_t v, const Type *from, const Type *to)
{
    const uint64_t top = UINT64_MAX >> (64 - to->bits) >> (to->kind == 's');
    if (from->kind == 's' && v < 0) {
        const int64_t low = to->kind == 's' ? ~(int64_t)top : 0;
        return v < low ? low : v;
    }
    return (uint64_t)v > top ? (int64_t)top : v;
}

static uint64_t to_float(double v, const Ins *i, const Type *to)
{
    if (i->saturate) v = v > 0 ? v < 1 ? v : 1 : 0;
    if (i->relu && v < 0) v = 0;
    if (to->bits == 64) return double_bits(v);
    if (to->bits == 32) {
        const float f = round_float(v, i->round);
        return float_bits(i->flush ? flushed(f) : f);
    }
    if (to->kind == 'g' && i->round == 'z') return v != v ? 0x7FFF : float_bits(round_float(v, 'z')) >> 16;
    return to->kind == 'g' ? float_bf16(float_odd(v)) : float_f16(float_odd(v));
}

static uint64_t convert(uint64_t v, const Ins *i, const Type *from, const Type *to)
{
    const bool from_float = from->kind == 'f' || from->kind == 'g',
               to_float_ = to->kind == 'f' || to->kind == 'g';
    if (!from_float && !to_float_) {
        const int64_t n = int_value(v, from);
        return (uint64_t)(i->saturate ? saturated(n, from, to) : n);
    }
    if (!from_float) {
        const int64_t n = int_value(v, from);
        if (to->bits == 32 && i->round == 'n')
            return float_bits(from->kind == 's' ? (float)n : (float)(uint64_t)n);
        return to_float(from->kind == 's' ? (double)n : (double)(uint64_t)n, i, to);
    }
    double x = float_value(v, from);
    if (i->flush && from->bits == 32) x = (double)flushed((float)x);
    if (i->integral) x = to_integral(x, i->round);
    return to_float_ ? to_float(x, i, to) : float_to_int(x, to);
}

static void cvt(Warp *w, const Ins *i, uint32_t mask)
{
    const Type *from = &ptx_types[i->from], *to = &ptx_types[i->to];
    const int unused = 64 - to->bits;
    PTX_LANES(mask, {
        uint64_t v = convert(ptx_lane(w, &i->arg[1], l), i, from, to) << unused;
        v = to->kind == 's' ? (uint64_t)((int64_t)v >> unused) : v >> unused;
        ptx_set_lane(w, &i->arg[0], l, v);
    })
}

/* d = {a in the upper half, b in the lower} */
static void cvt_pair(Warp *w, const Ins *i, uint32_t mask)
{
    const LaneW *a = PTX_ARG(const LaneW, 1), *b = PTX_ARG(const LaneW, 2);
    LaneW *d = PTX_ARG(LaneW, 0);
    const Type *to = &ptx_types[i->to];
    PTX_LANES(mask, {
        const uint64_t high = to_float((double)bits_float(a[l]), i, to),
                       low = to_float((double)bits_float(b[l]), i, to);
        d[l] = (uint32_t)(high << 16 | low);
    })
}

static void cvt_tf32(Warp *w, const Ins *i, uint32_t mask)
{
    const LaneW *a = PTX_ARG(const LaneW, 1);
    LaneW *d = PTX_ARG(LaneW, 0);
    PTX_LANES(mask, d[l] = (a[l] + 0x1000) & 0xFFFFE000u;) /* to nearest, ties away from zero */
}

/* Directed rounding is exact only from what a double holds. */
static bool supported(const Ins *i, const Type *from, const Type *to)
{
    const bool from_float = from->kind == 'f' || from->kind == 'g',
               to_float_ = to->kind == 'f' || to->kind == 'g';
    if (i->flush && from->bits != 32 && to->bits != 32) return false;
    if (i->relu && to->bits != 16) return false;
    if (from_float && to_float_ && !i->integral && to->bits < from->bits && !i->round) return false;
    if (!from_float && to_float_)
        return i->round && (from->bits <= 32 || i->round == 'n') &&
               (to->bits >= 32 || (from->bits <= 32 && i->round == 'n'));
    if (from_float && !to_float_) return i->integral && !i->saturate; /* it always saturates */
    if (to_float_ && to->bits == 16) return i->round == 'n' || (to->kind == 'g' && i->round == 'z');
    return true;
}

/* cvt[.rnd][.ftz][.relu][.sat].to.from */
void ptx_decode_cvt(Parser *p, Ins *i, const Words *w)
{
    int at = 0;
    if (ptx_word(w, 0, "rna") && ptx_word(w, 1, "tf32") && ptx_word(w, 2, "f32") && w->count == 3) {
        i->run = cvt_tf32;
        ptx_operands(p, i, "ww");
        return;
    }
    if (w->count > 2 && w->at[0][0] == 'r' && (w->n[0] == 2 || w->n[0] == 3)) {
        i->round = w->at[0][1];
        i->integral = w->n[0] == 3;
        if (!strchr("nzmp", i->round) || (i->integral && w->at[0][2] != 'i')) return;
        at = 1;
    }
    for (; at < w->count - 2; at++)
        if (ptx_word(w, at, "ftz"))
            i->flush = true;
        else if (ptx_word(w, at, "relu"))
            i->relu = true;
        else if (ptx_word(w, at, "sat"))
            i->saturate = true;
        else
            return;
    if (w->count - at != 2) return;
    const bool pair = w->n[at] > 2 && !strncmp(w->at[at] + w->n[at] - 2, "x2", 2);
    const int to = ptx_type(w->at[at], w->n[at] - 2 * pair), from = ptx_type(w->at[at + 1], w->n[at + 1]);
    if (to < 0 || from < 0 || ptx_types[to].kind == 'b' || ptx_types[from].kind == 'b') return;
    i->to = (uint8_t)to, i->from = (uint8_t)from;
    if (!supported(i, &ptx_types[from], &ptx_types[to])) return;
    if (pair) {
        if (ptx_types[to].bits != 16 || !ptx_word(w, at + 1, "f32")) return;
        i->run = cvt_pair;
        ptx_operands(p, i, "www");
        return;
    }
    i->run = cvt;
    ptx_operands(p, i, "xx");
    const Arg *arg = &p->kernel->args[i->first];
    const bool plain = at == 0 || (at == 1 && i->round == 'n' && !i->integral);
    for (size_t u = 0; plain && u < sizeof usual / sizeof *usual; u++)
        if (ptx_word(w, at, usual[u].to) && ptx_word(w, at + 1, usual[u].from) &&
            arg[0].bits == ptx_types[to].bits && arg[1].bits == ptx_types[from].bits)
            i->run = usual[u].run;
}
