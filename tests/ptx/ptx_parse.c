/* The statements of a PTX module: variables, entries, their bodies. */
#include "tests/ptx/ptx_parse.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Token word(Parser *p)
{
    Token t = p->token;
    if (t.kind != TOKEN_WORD) ptx_refuse(p, "expected a name, found '%.*s'", t.n, t.at);
    ptx_next(p);
    return t;
}

static uint32_t count(Parser *p)
{
    int is_float;
    return (uint32_t)ptx_number(p, &is_float);
}

static void skip_to(Parser *p, const char *mark)
{
    while (p->token.kind != TOKEN_END && !ptx_is(p, mark)) ptx_next(p);
    ptx_expect(p, mark);
}

static void skip_body(Parser *p)
{
    int depth = 0;
    do {
        depth += ptx_is(p, "{") - ptx_is(p, "}");
        if (p->token.kind == TOKEN_END) ptx_refuse(p, "a body without an end");
        ptx_next(p);
    } while (depth);
}

/* = 3, = {1, 2}: numbers of the type's width; what they leave out is zero. */
static void initialise(Parser *p, uint8_t *to, uint32_t bytes, uint32_t element)
{
    const bool list = ptx_accept(p, "{");
    uint32_t at = 0;
    do {
        if (list && ptx_is(p, ",")) ptx_next(p);
        int is_float;
        uint64_t v = ptx_number(p, &is_float);
        if (at + element > bytes) ptx_refuse(p, "more initial values than fit");
        memcpy(to + at, &v, element);
        at += element;
    } while (list && ptx_is(p, ","));
    if (list) ptx_expect(p, "}");
}

/* Behind .global, .const, .shared or .local: [.align N] [.v4] .type name[n][m] [= ...]; */
static void variable(Parser *p, Space space)
{
    Symbol s = {SYMBOL_VALUE, .align = 1};
    uint32_t vector = 1;
    int type = -1;
    bool open = false, aligned = false;
    while (type < 0) {
        const Token t = word(p);
        if (ptx_same(t.at, t.n, ".align"))
            s.align = count(p), aligned = true;
        else if (ptx_same(t.at, t.n, ".v2") || ptx_same(t.at, t.n, ".v4"))
            vector = (uint32_t)(t.at[2] - '0');
        else if ((type = ptx_type(t.at + 1, t.n - 1)) < 0)
            ptx_refuse(p, "variable of unknown type '%.*s'", t.n, t.at);
    }
    const uint32_t element = ptx_types[type].bits / 8u;
    if (!aligned) s.align = element * vector;
    const Token name = word(p);
    s.name = name.at, s.n = name.n, s.bytes = element * vector;
    while (ptx_accept(p, "[")) {
        if (ptx_is(p, "]"))
            open = true;
        else
            s.bytes *= count(p);
        ptx_expect(p, "]");
    }
    if (open && space != SPACE_SHARED) ptx_refuse(p, "array of unknown length '%.*s'", name.n, name.at);
    if (space == SPACE_LOCAL) {
        /* every thread's own address, which the warp fills in */
        const Special local = {
            -1 - (int)ptx_place(&p->kernel->local_bytes, s.bytes, s.align < 16 ? 16 : s.align),
            ptx_register(p->kernel, 64)};
        *PTX_PUSH(p->kernel->specials, p->kernel->n_specials) = local;
        s.kind = SYMBOL_LOCAL, s.value = local.at;
    } else if (space == SPACE_SHARED) {
        s.kind = open ? SYMBOL_DYNAMIC : SYMBOL_SHARED;
        if (open && s.align > p->dynamic_align) p->dynamic_align = s.align;
        if (!open && p->kernel)
            s.user = p->kernel, s.value = ptx_place(&p->kernel->shared_bytes, s.bytes, s.align);
    } else {
        uint8_t *memory = ptx_keep(s.bytes);
        s.value = (uintptr_t)memory;
        if (ptx_accept(p, "=")) initialise(p, memory, s.bytes, element);
    }
    ptx_expect(p, ";");
    *PTX_PUSH(p->symbols, p->n_symbols) = s;
}

/* (.param .u64 name, .param .align 8 .b8 name[24]) */
static void parameters(Parser *p)
{
    Kernel *k = p->kernel;
    if (!ptx_accept(p, "(")) return;
    const uint32_t first = p->n_symbols;
    while (!ptx_accept(p, ")")) {
        if (k->n_params) ptx_expect(p, ",");
        ptx_expect(p, ".param");
        uint32_t align = 0, bytes = 0;
        while (p->token.kind == TOKEN_WORD && *p->token.at == '.') {
            const Token t = word(p);
            const int type = ptx_type(t.at + 1, t.n - 1);
            if (ptx_same(t.at, t.n, ".align"))
                align = count(p);
            else if (ptx_same(t.at, t.n, ".ptr"))
                bytes = 8; /* what follows describes what it points to */
            else if (type >= 0)
                bytes = ptx_types[type].bits / 8u;
            else if (bytes != 8)
                ptx_refuse(p, "parameter of unknown type '%.*s'", t.n, t.at);
            if (bytes == 8 && ptx_is(p, ".align")) ptx_next(p), (void)count(p);
        }
        const Token name = word(p);
        if (!align) align = bytes;
        if (ptx_accept(p, "[")) bytes *= count(p), ptx_expect(p, "]");
        if (!bytes || !align) ptx_refuse(p, "parameter without a type: '%.*s'", name.n, name.at);
        Param q = {ptx_place(&k->param_bytes, bytes, align), bytes};
        *PTX_PUSH(k->params, k->n_params) = q;
        *PTX_PUSH(p->symbols, p->n_symbols) =
            (Symbol){SYMBOL_VALUE, name.n, name.at, .bits = 64, .value = q.at};
    }
    k->param = ptx_keep(k->param_bytes + 16);
    for (uint32_t i = first; i < p->n_symbols; i++) p->symbols[i].value += (uintptr_t)k->param;
}

/* .maxntid 128, 1, 1 and its kind, between an entry's parameters and its body. */
static void limits(Parser *p)
{
    Kernel *k = p->kernel;
    k->max_threads = 1024;
    while (!ptx_is(p, "{")) {
        const Token t = word(p);
        uint32_t v[PTX_DIMS] = {1, 1, 1};
        if (ptx_same(t.at, t.n, ".noreturn")) continue;
        v[0] = count(p);
        for (int i = 1; i < PTX_DIMS && ptx_accept(p, ","); i++) v[i] = count(p);
        if (ptx_same(t.at, t.n, ".maxntid"))
            k->max_threads = v[0] * v[1] * v[2];
        else if (ptx_same(t.at, t.n, ".reqntid"))
            memcpy(k->required, v, sizeof v);
        else if (!ptx_same(t.at, t.n, ".minnctapersm") && !ptx_same(t.at, t.n, ".maxnreg"))
            ptx_refuse(p, "unknown directive '%.*s'", t.n, t.at);
    }
}

static void instruction(Parser *p, const Token *opcode, int line, const Arg *guard)
{
    Kernel *k = p->kernel;
    Ins i = {.guard = *guard, .line = (uint32_t)line, .first = k->n_args};
    ptx_decode(p, &i, opcode->at, opcode->n);
    i.n_args = k->n_args - i.first;
    ptx_expect(p, ";");
    *PTX_PUSH(k->code, k->n_code) = i;
}

static void directive(Parser *p, const Token *t)
{
    static const struct {
        const char *name;
        Space space;
    } spaces[] = {
        {".shared", SPACE_SHARED}, {".local", SPACE_LOCAL}, {".global", SPACE_GLOBAL}, {".const", SPACE_CONST}};
    for (int i = 0; i < 4; i++)
        if (ptx_same(t->at, t->n, spaces[i].name)) {
            variable(p, spaces[i].space);
            return;
        }
    if (ptx_same(t->at, t->n, ".reg"))
        ptx_declare_registers(p);
    else if (ptx_same(t->at, t->n, ".pragma") || ptx_same(t->at, t->n, ".loc"))
        skip_to(p, ";");
    else
        ptx_refuse(p, "unknown directive '%.*s'", t->n, t->at);
}

/* One statement of a body. */
static void statement(Parser *p)
{
    Ins guarded = {0};
    if (ptx_accept(p, "@")) ptx_guard(p, &guarded);
    const int line = p->line;
    const Token t = word(p);
    if (ptx_is(p, ":")) {
        ptx_next(p);
        const bool table = ptx_is(p, ".branchtargets");
        ptx_add_label(p, &t, table);
        if (table) ptx_branch_targets(p);
    } else if (*t.at == '.') {
        directive(p, &t);
    } else {
        instruction(p, &t, line, &guarded.guard);
    }
}

static void body(Parser *p)
{
    do {
        if (ptx_accept(p, "{")) {
            *PTX_PUSH(p->scopes, p->n_scopes) = p->n_symbols;
        } else if (ptx_accept(p, "}")) {
            p->n_symbols = p->scopes[--p->n_scopes];
        } else {
            if (p->token.kind == TOKEN_END) ptx_refuse(p, "a body without an end");
            statement(p);
        }
    } while (p->n_scopes);
}

/* What could be said only at the end: where dynamic shared memory begins, where labels are. */
static void finish(Parser *p)
{
    Kernel *k = p->kernel;
    *PTX_PUSH(k->code, k->n_code) = (Ins){.run = ptx_past_end, .line = (uint32_t)p->line, .first = k->n_args};
    ptx_place_labels(p);
    const uint32_t dynamic = ptx_place(&k->shared_bytes, 0, p->dynamic_align);
    for (uint32_t i = 0; i < p->n_dynamic; i++) {
        const Arg *a = &p->dynamic[i];
        for (int l = 0; l < LANES; l++) {
            void *lane = k->constants + a->at;
            if (a->bits == 64)
                ((LaneD *)lane)[l] = dynamic + (uint64_t)a->add;
            else
                ((LaneW *)lane)[l] = dynamic + (uint32_t)a->add;
        }
    }
    for (uint32_t i = 0; i < k->n_code; i++) k->code[i].arg = k->args + k->code[i].first;
    k->local_bytes = (k->local_bytes + 15) / 16 * 16;
}

static void entry(Parser *p)
{
    const uint32_t outer = p->n_symbols;
    const Token name = word(p);
    Kernel *k = ptx_add_kernel();
    char *copy = ptx_keep((size_t)name.n + 1);
    snprintf(copy, (size_t)name.n + 1, "%.*s", name.n, name.at);
    k->name = copy, k->file = p->file;
    p->kernel = k;
    p->n_labels = p->n_fixups = p->n_known = p->n_dynamic = 0;
    parameters(p);
    limits(p);
    body(p);
    finish(p);
    p->kernel = NULL;
    p->n_symbols = outer;
}

/* Functions are skipped: a call of one is an error where it stands. */
static void function(Parser *p)
{
    while (!ptx_is(p, "{") && !ptx_is(p, ";")) {
        if (p->token.kind == TOKEN_END) ptx_refuse(p, "a function without an end");
        ptx_next(p);
    }
    if (!ptx_accept(p, ";")) skip_body(p);
}

void ptx_parse(Parser *p)
{
    bool external = false;
    p->dynamic_align = 16;
    ptx_next(p);
    while (p->token.kind != TOKEN_END) {
        const Token t = word(p);
        if (ptx_same(t.at, t.n, ".version") || ptx_same(t.at, t.n, ".target") ||
            ptx_same(t.at, t.n, ".address_size")) {
            do ptx_next(p);
            while (ptx_is(p, ","));
        } else if (ptx_same(t.at, t.n, ".entry")) {
            entry(p);
        } else if (ptx_same(t.at, t.n, ".func")) {
            function(p);
        } else if (!ptx_same(t.at, t.n, ".visible") && !ptx_same(t.at, t.n, ".extern") &&
                   !ptx_same(t.at, t.n, ".weak")) {
            if (external && !ptx_same(t.at, t.n, ".shared"))
                ptx_refuse(p, "a variable of another module: '%.*s'", p->token.n, p->token.at);
            directive(p, &t);
        }
        external = ptx_same(t.at, t.n, ".extern");
    }
}
