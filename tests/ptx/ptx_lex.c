/* PTX text to tokens. */
#include "tests/ptx/ptx_parse.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const Type ptx_types[] = {
    {"b8", 'b', 8},   {"b16", 'b', 16}, {"b32", 'b', 32}, {"b64", 'b', 64},  {"u8", 'u', 8},   {"u16", 'u', 16},
    {"u32", 'u', 32}, {"u64", 'u', 64}, {"s8", 's', 8},   {"s16", 's', 16},  {"s32", 's', 32}, {"s64", 's', 64},
    {"f16", 'f', 16}, {"f32", 'f', 32}, {"f64", 'f', 64}, {"bf16", 'g', 16}, {"pred", 'p', 1}};

int ptx_type(const char *name, int n)
{
    for (size_t i = 0; i < sizeof ptx_types / sizeof *ptx_types; i++)
        if (ptx_same(name, n, ptx_types[i].name)) return (int)i;
    return -1;
}

bool ptx_same(const char *a, int n, const char *b) { return !strncmp(a, b, (size_t)n) && !b[n]; }

void ptx_refuse(Parser *p, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (p->error) {
        p->error->code = ERROR_INPUT;
        snprintf(p->error->msg, sizeof p->error->msg, "%s:%d: %s%s%s", p->file, p->line,
                 p->kernel ? p->kernel->name : "", p->kernel ? ": " : "", text);
    }
    longjmp(p->fail, 1);
}

static void skip_blanks(Parser *p)
{
    for (;; p->at++) {
        if (*p->at == '\n') {
            p->line++;
        } else if (p->at[0] == '/' && p->at[1] == '/') {
            p->at += strcspn(p->at, "\n") - 1;
        } else if (p->at[0] == '/' && p->at[1] == '*') {
            const char *end = strstr(p->at + 2, "*/");
            if (!end) ptx_refuse(p, "comment without an end");
            for (; p->at <= end; p->at++) p->line += *p->at == '\n';
        } else if (!isspace((unsigned char)*p->at)) {
            return;
        }
    }
}

static int word_length(const char *s)
{
    int n = 0;
    for (;; n++)
        if (s[n] == ':' && s[n + 1] == ':')
            n++; /* shared::cta */
        else if (!isalnum((unsigned char)s[n]) && (!s[n] || !strchr("_$%.", s[n])))
            return n;
}

void ptx_next(Parser *p)
{
    skip_blanks(p);
    Token *t = &p->token;
    *t = (Token){TOKEN_MARK, 1, p->at};
    if (!*p->at) {
        *t = (Token){TOKEN_END, 0, p->at};
    } else if (isdigit((unsigned char)*p->at)) {
        t->kind = TOKEN_NUMBER;
        while (isalnum((unsigned char)p->at[t->n]) || p->at[t->n] == '.') t->n++;
    } else if (*p->at == '"') {
        const char *end = strchr(p->at + 1, '"');
        if (!end) ptx_refuse(p, "string without an end");
        *t = (Token){TOKEN_STRING, (int)(end - p->at) + 1, p->at};
    } else if (isalpha((unsigned char)*p->at) || strchr("_$%.", *p->at)) {
        t->kind = TOKEN_WORD;
        t->n = word_length(p->at);
    }
    p->at += t->n;
}

bool ptx_is(const Parser *p, const char *text) { return ptx_same(p->token.at, p->token.n, text); }

bool ptx_accept(Parser *p, const char *text)
{
    if (!ptx_is(p, text)) return false;
    ptx_next(p);
    return true;
}

void ptx_expect(Parser *p, const char *text)
{
    if (!ptx_accept(p, text)) ptx_refuse(p, "expected '%s', found '%.*s'", text, p->token.n, p->token.at);
}

uint64_t ptx_number(Parser *p, int *float_bits)
{
    bool minus = ptx_accept(p, "-");
    if (p->token.kind != TOKEN_NUMBER)
        ptx_refuse(p, "expected a number, found '%.*s'", p->token.n, p->token.at);
    char text[64], *end;
    snprintf(text, sizeof text, "%.*s", p->token.n, p->token.at);
    const char form = text[0] == '0' ? text[1] : 0;
    uint64_t v;
    *float_bits = form == 'f' || form == 'F' ? 32 : form == 'd' || form == 'D' ? 64 : 0;
    if (*float_bits)
        v = strtoull(text + 2, &end, 16);
    else if (form == 'b' || form == 'B')
        v = strtoull(text + 2, &end, 2);
    else
        v = strtoull(text, &end, 0);
    if (*end == 'U' && !*float_bits) end++;
    if (*end || (minus && *float_bits))
        ptx_refuse(p, "not a number that is known: '%s%s'", minus ? "-" : "", text);
    ptx_next(p);
    return minus ? -v : v;
}
