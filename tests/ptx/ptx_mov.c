/* mov: a register, a number, an address, or two or four registers packed into one and back. */
#include "tests/ptx/ptx_parse.h"
#include <string.h>

static void mov_w(Warp *w, const Ins *i, uint32_t mask)
{
    LaneW *d = PTX_ARG(LaneW, 0);
    const LaneW *a = PTX_ARG(const LaneW, 1);
    PTX_LANES(mask, d[l] = a[l];)
}

static void mov_d(Warp *w, const Ins *i, uint32_t mask)
{
    LaneD *d = PTX_ARG(LaneD, 0);
    const LaneD *a = PTX_ARG(const LaneD, 1);
    PTX_LANES(mask, d[l] = a[l];)
}

/* d = {lowest, ..., highest}; count parts of `bytes` bytes */
static void pack(Warp *w, const Ins *i, uint32_t mask)
{
    const uint64_t keep = UINT64_MAX >> (64 - 8 * i->bytes);
    PTX_LANES(mask, {
        uint64_t v = 0;
        for (int k = 0; k < i->count; k++) v |= (ptx_lane(w, &i->arg[k + 1], l) & keep) << (8 * i->bytes * k);
        ptx_set_lane(w, &i->arg[0], l, v);
    })
}

static void unpack(Warp *w, const Ins *i, uint32_t mask)
{
    const uint64_t keep = UINT64_MAX >> (64 - 8 * i->bytes);
    PTX_LANES(mask, {
        const uint64_t v = ptx_lane(w, &i->arg[i->count], l);
        for (int k = 0; k < i->count; k++) ptx_set_lane(w, &i->arg[k], l, v >> (8 * i->bytes * k) & keep);
    })
}

/* Members of a vector: the width of the whole by their number, which the text has to tell. */
static int members(const Parser *p)
{
    int n = 1;
    for (const char *s = p->at; *s && *s != '}' && *s != ';'; s++) n += *s == ',';
    return n;
}

void ptx_decode_mov(Parser *p, Ins *i, const Words *w)
{
    const int t = w->count == 1 ? ptx_type(w->at[0], w->n[0]) : -1;
    if (t < 0 || ptx_types[t].bits < 16) return;
    const int bits = ptx_types[t].bits;
    const char whole = bits == 64 ? 'd' : bits == 32 ? 'w' : 'h';
    const bool from_vector = p->token.kind == TOKEN_WORD && strcspn(p->at, "{") < strcspn(p->at, ";");
    if (!from_vector && !ptx_is(p, "{")) {
        const char pattern[] = {whole, whole, 0};
        i->run = bits == 64 ? mov_d : mov_w;
        ptx_operands(p, i, pattern);
        return;
    }
    Parser ahead = *p;
    if (from_vector)
        while (!ptx_is(&ahead, "{")) ptx_next(&ahead);
    const int n = members(&ahead), part = n == 2 || n == 4 ? bits / n : 0;
    const char v = part == 32 ? 'w' : 'h';
    if (part < 16 || ptx_types[t].kind != 'b') return;
    char pattern[8] = {'{', v, v, v, v, '}', 0};
    if (n == 2) memcpy(pattern, (char[]){'{', v, v, '}', 0}, 5);
    i->count = (uint8_t)n, i->bytes = (uint8_t)(part / 8);
    i->run = from_vector ? pack : unpack;
    char both[9] = {from_vector ? whole : 0, 0};
    strcat(both, pattern);
    if (!from_vector) strcat(both, (char[]){whole, 0});
    ptx_operands(p, i, both);
}
