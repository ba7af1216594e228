/* Registers, operands and labels. */
#include "tests/ptx/ptx_parse.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { CONSTANT_BYTES = LANES * 8 };

uint32_t ptx_place(uint32_t *end, uint32_t bytes, uint32_t align)
{
    const uint32_t at = (*end + align - 1) / align * align;
    *end = at + bytes;
    return at;
}

uint32_t ptx_register(Kernel *k, unsigned bits)
{
    const uint32_t bytes = bits == 1 ? 4 : bits == 64 ? LANES * 8 : LANES * 4;
    return ptx_place(&k->register_bytes, bytes, bits == 1 ? 4 : 64);
}

void ptx_declare_registers(Parser *p)
{
    const int type = p->token.kind == TOKEN_WORD ? ptx_type(p->token.at + 1, p->token.n - 1) : -1;
    if (type < 0 || ptx_types[type].bits == 8)
        ptx_refuse(p, "registers of unknown type '%.*s'", p->token.n, p->token.at);
    const unsigned bits = ptx_types[type].bits;
    do {
        ptx_next(p);
        Symbol s = {SYMBOL_REGISTER, p->token.n, p->token.at, (uint8_t)bits, .count = 1};
        if (p->token.kind != TOKEN_WORD) ptx_refuse(p, "expected a register's name");
        ptx_next(p);
        if (ptx_accept(p, "<")) {
            int is_float;
            s.kind = SYMBOL_RANGE;
            s.count = (uint32_t)ptx_number(p, &is_float);
            ptx_expect(p, ">");
        }
        for (uint32_t i = 0; i < s.count; i++) {
            const uint32_t at = ptx_register(p->kernel, bits);
            if (i == 0) s.value = at;
        }
        *PTX_PUSH(p->symbols, p->n_symbols) = s;
    } while (ptx_is(p, ","));
    ptx_expect(p, ";");
}

/* The symbol that a token names; of a range the number within. */
static Symbol *find(const Parser *p, const Token *t, uint32_t *number)
{
    for (uint32_t i = p->n_symbols; i-- > 0;) {
        Symbol *s = &p->symbols[i];
        *number = 0;
        if (t->n < s->n || memcmp(s->name, t->at, (size_t)s->n)) continue;
        if (s->kind != SYMBOL_RANGE) {
            if (t->n == s->n) return s;
            continue;
        }
        int c = s->n;
        for (; c < t->n && isdigit((unsigned char)t->at[c]); c++)
            *number = *number * 10 + (uint32_t)(t->at[c] - '0');
        if (c == t->n && c > s->n && *number < s->count) return s;
    }
    return NULL;
}

static Arg register_arg(unsigned bits, uint64_t at)
{
    return (Arg){.pool = POOL_REGISTERS, .bits = (uint8_t)bits, .at = (uint32_t)at};
}

static Arg new_constant(Kernel *k, uint64_t v, unsigned bits)
{
    Arg a = {.pool = POOL_CONSTANTS, .bits = (uint8_t)bits, .at = k->n_constants * CONSTANT_BYTES};
    k->constants = ptx_grow(k->constants, k->n_constants++, CONSTANT_BYTES);
    for (int l = 0; l < LANES; l++) memcpy(k->constants + a.at + 8 * l, &v, 8);
    return a;
}

/* A register of the constants' pool that holds the value in every lane, whether those have 4 bytes or 8. */
static Arg constant(Parser *p, uint64_t v, unsigned bits)
{
    if (!bits) bits = 64;
    if (bits == 16) v &= UINT16_MAX;
    if (bits < 64) v = (v & UINT32_MAX) * 0x100000001u;
    for (uint32_t i = 0; i < p->n_known; i++)
        if (p->known[i].v == v)
            return (Arg){.pool = POOL_CONSTANTS, .bits = (uint8_t)bits, .at = p->known[i].at};
    const Arg a = new_constant(p->kernel, v, bits);
    *PTX_PUSH(p->known, p->n_known) = (Known){v, a.at};
    return a;
}

static Arg symbol_arg(Parser *p, const Token *t, Symbol *s, uint32_t number, unsigned bits)
{
    Kernel *k = p->kernel;
    if (s->kind == SYMBOL_REGISTER || s->kind == SYMBOL_RANGE) {
        const uint32_t step = s->bits == 64 ? LANES * 8 : s->bits == 1 ? 4 : LANES * 4;
        if (bits && bits != s->bits) ptx_refuse(p, "%.*s has %d bits, not %u", t->n, t->at, s->bits, bits);
        return register_arg(s->bits, s->value + (uint64_t)number * step);
    }
    int is_float;
    const uint64_t add = ptx_accept(p, "+") ? ptx_number(p, &is_float) : 0;
    if (s->kind == SYMBOL_LOCAL) {
        if (add) ptx_refuse(p, "local memory with an offset: '%.*s'", t->n, t->at);
        return register_arg(64, s->value);
    }
    if (s->kind == SYMBOL_DYNAMIC) {
        Arg a = new_constant(k, 0, bits ? bits : 32);
        a.add = (int64_t)add;
        *PTX_PUSH(p->dynamic, p->n_dynamic) = a;
        a.add = 0;
        return a;
    }
    if (s->kind == SYMBOL_SHARED && s->user != k) {
        s->user = k;
        s->value = ptx_place(&k->shared_bytes, s->bytes, s->align);
    }
    return constant(p, s->value + add, bits);
}

/* %tid.x and its kind become registers that a warp finds filled. */
static Arg special_arg(Parser *p, const Token *t, int which, unsigned bits)
{
    Kernel *k = p->kernel;
    if (bits && bits != 32) ptx_refuse(p, "%.*s has 32 bits, not %u", t->n, t->at, bits);
    for (uint32_t i = 0; i < k->n_specials; i++)
        if (k->specials[i].which == which) return register_arg(32, k->specials[i].at);
    const Special s = {which, ptx_register(k, 32)};
    *PTX_PUSH(k->specials, k->n_specials) = s;
    return register_arg(32, s.at);
}

/* Any operand but an address; bits 0: of any width. */
static Arg value(Parser *p, unsigned bits)
{
    if (p->token.kind == TOKEN_NUMBER || ptx_is(p, "-")) {
        int float_bits;
        uint64_t v = ptx_number(p, &float_bits);
        if (float_bits && bits && (unsigned)float_bits != bits)
            ptx_refuse(p, "a number of %d bits where %u are expected", float_bits, bits);
        return constant(p, bits == 1 && v ? UINT64_MAX : v, bits ? bits : (unsigned)float_bits);
    }
    const Token t = p->token;
    if (t.kind != TOKEN_WORD) ptx_refuse(p, "expected an operand, found '%.*s'", t.n, t.at);
    ptx_next(p);
    if (ptx_same(t.at, t.n, "_")) return (Arg){.pool = POOL_SINK, .bits = (uint8_t)(bits ? bits : 64)};
    if (ptx_same(t.at, t.n, "WARP_SZ")) return constant(p, LANES, bits);
    uint32_t number;
    const int which = ptx_special_find(t.at, t.n);
    if (which >= 0) return special_arg(p, &t, which, bits);
    Symbol *s = find(p, &t, &number);
    if (!s) ptx_refuse(p, "unknown name '%.*s'", t.n, t.at);
    return symbol_arg(p, &t, s, number, bits);
}

static Arg address(Parser *p)
{
    ptx_expect(p, "[");
    Arg a = value(p, 0);
    if (a.bits < 32) ptx_refuse(p, "an address of %d bits", a.bits);
    int is_float;
    if (ptx_accept(p, "+")) a.add = (int64_t)ptx_number(p, &is_float);
    ptx_expect(p, "]");
    return a;
}

static void fixup(Parser *p, bool table, uint32_t at)
{
    *PTX_PUSH(p->fixups, p->n_fixups) = (Fixup){p->token.at, p->token.n, p->line, table, at};
    ptx_next(p);
}

static const Label *label(const Parser *p, const char *name, int n, bool table)
{
    for (uint32_t i = 0; i < p->n_labels; i++) {
        const Label *l = &p->labels[i];
        if (l->table == table && l->n == n && !memcmp(l->name, name, (size_t)n)) return l;
    }
    return NULL;
}

void ptx_operands(Parser *p, Ins *i, const char *pattern)
{
    Kernel *k = p->kernel;
    const uint32_t self = k->n_code; /* the place this instruction will get */
    bool first = true;
    for (const char *s = pattern; *s; s++) {
        if (*s == '?') {
            if (ptx_is(p, ";")) break;
            continue;
        }
        if (*s == '}') {
            ptx_expect(p, "}");
            first = false;
            continue;
        }
        if (*s == '|') {
            const bool there = ptx_accept(p, "|");
            *PTX_PUSH(k->args, k->n_args) = there ? value(p, 1) : (Arg){.pool = POOL_SINK, .bits = 1};
            s++;
            continue;
        }
        if (!first) ptx_expect(p, ",");
        first = *s == '{';
        if (*s == '{') {
            ptx_expect(p, "{");
        } else if (*s == 'L') {
            fixup(p, false, self);
        } else if (*s == 'T') {
            const Label *l = label(p, p->token.at, p->token.n, true);
            if (!l) ptx_refuse(p, "unknown branch table '%.*s'", p->token.n, p->token.at);
            i->target = l->at;
            ptx_next(p);
        } else if (*s == 'a') {
            Arg a = address(p);
            *PTX_PUSH(k->args, k->n_args) = a;
        } else {
            const bool negated = *s == 'p' && ptx_accept(p, "!");
            Arg a = value(p, *s == 'h' ? 16 : *s == 'w' || *s == 'n' ? 32 : *s == 'd' ? 64 : *s == 'p' ? 1 : 0);
            a.negated = negated;
            if (*s == 'n' && a.pool != POOL_CONSTANTS) ptx_refuse(p, "a register where a number is expected");
            *PTX_PUSH(k->args, k->n_args) = a;
        }
    }
}

void ptx_guard(Parser *p, Ins *i)
{
    const bool negated = ptx_accept(p, "!");
    i->guard = value(p, 1);
    i->guard.negated = negated;
}

void ptx_add_label(Parser *p, const Token *t, bool table)
{
    const Kernel *k = p->kernel;
    if (label(p, t->at, t->n, table)) ptx_refuse(p, "a second label '%.*s'", t->n, t->at);
    *PTX_PUSH(p->labels, p->n_labels) = (Label){t->at, t->n, table, table ? k->n_targets : k->n_code};
}

/* $L_brx_0: .branchtargets A, B; */
void ptx_branch_targets(Parser *p)
{
    Kernel *k = p->kernel;
    const uint32_t head = k->n_targets;
    *PTX_PUSH(k->targets, k->n_targets) = 0;
    do {
        ptx_next(p);
        fixup(p, true, k->n_targets);
        *PTX_PUSH(k->targets, k->n_targets) = 0;
        k->targets[head]++;
    } while (ptx_is(p, ","));
    ptx_expect(p, ";");
}

void ptx_place_labels(Parser *p)
{
    Kernel *k = p->kernel;
    for (uint32_t i = 0; i < p->n_fixups; i++) {
        const Fixup *f = &p->fixups[i];
        const Label *l = label(p, f->name, f->n, false);
        p->line = f->line;
        if (!l) ptx_refuse(p, "unknown label '%.*s'", f->n, f->name);
        *(f->table ? &k->targets[f->at] : &k->code[f->at].target) = l->at;
    }
}
